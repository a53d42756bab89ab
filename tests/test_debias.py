"""Debiasing: a planted bias has the size that it was given and goes, a step is Newton's, and each rule goes red where it is broken."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import recall_score
from torch import nn
from torch.func import functional_call, jacrev

import untrain
from untrain.audits.bias import Bias
from untrain.cli.app import main
from untrain.core import curvature, fmd
from untrain.core import rest as rest_module
from untrain.core.audit import audit
from untrain.core.data import Samples
from untrain.core.data.pairs import Pairs
from untrain.core.engine import seeded
from untrain.core.errors import BadArgument, BadData
from untrain.core.fmd import FMD, Replacing, debias, split_of_pairs
from untrain.core.network import Network
from untrain.core.rest import Rest, beside
from untrain.evidence import record as records
from untrain.evidence.biased import of_a_bias
from untrain.evidence.record import schema
from untrain.metrics.bias import bootstrapped, conflicting, opportunity, parity, shifts, worst
from untrain.report import page
from untrain.verbs import debiasing
from untrain.verbs.inputs import Inputs

ROOT = Path(__file__).resolve().parents[1]


def flip(x):
    """The colour, which is the last entry, turned round."""
    return torch.cat([x[:, :-1], -x[:, -1:]], 1)


def planted(n, seed, ratio=0.95):
    """Two classes told by two numbers and, in so many of ten, by a colour of -1 or 1."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (n,), generator=g)
    colour = torch.where(torch.rand(n, generator=g) < ratio, y, 1 - y)
    x = torch.cat([torch.randn(n, 2, generator=g) + (y[:, None] * 2 - 1), colour[:, None] * 2.0 - 1], 1)
    return Samples(x, y, columns={"colour": [str(c) for c in colour.tolist()]})


def trained(samples):
    """A linear model, fitted by torch's own L-BFGS with a small ridge."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2))
    x, y = samples.batch(torch.arange(len(samples)))
    solver = torch.optim.LBFGS(module.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def value():
        solver.zero_grad()
        found = F.cross_entropy(module(x), y) + 1e-3 * sum(p.square().sum() for p in module.parameters())
        found.backward()
        return found

    solver.step(value)
    return module.eval()


def answers(model, pairs, **more):
    (entry,) = audit(model, split_of_pairs(pairs), [Bias(**more)])
    return {row["name"]: row["values"]["unlearned"][0] for row in entry["rows"]}


@pytest.fixture(scope="module")
def case():
    train = planted(1500, 1)
    return trained(train), train, Pairs.of(planted(600, 2, 1.0), flip), Pairs.of(planted(1000, 3, 1.0), flip)


def test_a_planted_colour_bias_is_found_and_its_size_is_right():
    """Logits (0, s + w c): of each pair the bias is |sigma(s + w) - sigma(s - w)|, whose mean over s is an integral."""
    w = 0.7
    module = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.0, 0.0], [1.0, w]]))
        module[0].bias.zero_()
    # The quantiles of the normal distribution in the place of draws, so that what is off is not chance.
    s = torch.special.ndtri((torch.arange(4000, dtype=torch.float64) + 0.5) / 4000).float()
    pairs = Pairs.of(Samples(torch.stack([s, torch.ones(4000)], 1), torch.arange(4000) % 2), flip)
    grid = torch.linspace(-8, 8, 20001, dtype=torch.float64)
    due = float(torch.trapezoid((torch.sigmoid(grid + w) - torch.sigmoid(grid - w)) * torch.exp(-(grid**2) / 2) / (2 * torch.pi) ** 0.5, grid))
    found = answers(module.eval(), pairs)["counterfactual bias"]
    assert found["low"] < due < found["high"]
    assert found["high"] - found["low"] < 0.01
    assert abs(found["value"] - due) < 1e-3


def test_the_interval_of_the_bias_holds_the_mean_as_often_as_it_says(case):
    """Of many small samples of pairs, about 95 of 100 intervals hold the mean of all."""
    model, _, _, measured = case
    x, y = (side.batch(torch.arange(1000)) for side in (measured.one, measured.other))
    every = shifts(model(x[0]).detach(), model(y[0]).detach(), x[1])
    g, hits = torch.Generator().manual_seed(0), 0
    for _ in range(100):
        low, high = bootstrapped(every[torch.randint(1000, (100,), generator=g)], 200)
        hits += low < float(every.mean()) < high
    assert 88 <= hits <= 99


@pytest.mark.parametrize(
    ("method", "left"),
    [(FMD(), 0.05), (FMD(layers=1, solver="exact"), 0.05), (FMD(solver="ekfac"), 0.05), (FMD(way="paper"), 0.3), (Replacing(), 0.1), (Replacing(way="paper"), 0.98)],
    ids=["fit", "exact", "ekfac", "paper", "training", "training-paper"],
)
def test_the_bias_goes_and_the_given_model_stays(case, method, left):
    model, train, steps, measured = case
    before, kept = answers(model, measured), copy.deepcopy(model.state_dict())
    result = debias(model, steps, training=Pairs.of(train, flip) if isinstance(method, Replacing) else None, method=method)
    after = answers(result.model, measured)
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert after["counterfactual bias"]["value"] < left * before["counterfactual bias"]["value"]
    assert after["accuracy, other side"]["value"] > before["accuracy, other side"]["value"]


def test_a_network_in_double_precision_is_debiased_alike(case):
    model, _, steps, _ = case
    once, twice = (debias(m, steps).model.state_dict() for m in (model, copy.deepcopy(model).double()))
    assert all(value.dtype == torch.float64 and torch.allclose(value.float(), once[name], rtol=1e-3, atol=1e-4) for name, value in twice.items())


def test_a_pair_of_several_sources_is_a_sample_and_what_was_made_of_it():
    one, other = planted(5, 0), planted(5, 1)
    both = (one + other)[torch.tensor([0, 5, 1, 8, 9, 2])]
    pairs = Pairs.of(both, flip)
    x, y = (side.batch(torch.arange(6)) for side in (pairs.one, pairs.other))
    assert torch.equal(y[0], flip(x[0]))
    assert torch.equal(y[1], x[1])


def test_of_one_layer_the_head_moves_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2)).eval()
    moved = debias(model, Pairs.of(planted(100, 4), flip), method=FMD(layers=1)).model.state_dict()
    assert [name for name, value in model.state_dict().items() if not torch.equal(value, moved[name])] == ["3.weight", "3.bias"]


# The step.


def deep():
    """Two layers, the first of which mixes the colour into everything that the head reads."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).eval()


def _stepped(module, one, other, held, method):
    """How one step moves the weights, and the way that is due, by torch's own derivatives of the answers in all weights at once."""
    network = Network(copy.deepcopy(module))
    with seeded(0):
        rest = Rest.of(network, method.layers, one)
        x, z, a, b = (rest.read(network, side) for side in (one, other, *held))
        method.stepped(network, rest, beside(z, x), beside(a, b))
    names = [name for name, _ in module.named_parameters() if name.split(".")[0] in [n.split(".")[-1] for n in rest.names]]
    before = {name: p.detach().double() for name, p in module.named_parameters()}
    flat = torch.cat([before[name].flatten() for name in names])
    sizes, inputs = [before[name].numel() for name in names], [side.batch(torch.arange(len(side))) for side in (one, other)]
    y, twin = inputs[0][1], copy.deepcopy(module).double()

    def said(flat):
        weights = before | {name: part.view(before[name].shape) for name, part in zip(names, torch.split(flat, sizes), strict=True)}
        return [functional_call(twin, weights, (x.double(),)) for x, _ in inputs]

    def off(flat):
        p, q = (answers.softmax(1)[torch.arange(len(y)), y] for answers in said(flat))
        return p - q

    pull = 0.0 if method.way == "paper" else method.pull
    slopes, apart = jacrev(said)(flat), jacrev(off)(flat)
    G = 2 * pull * apart.T @ apart / len(y)
    for answers, J in zip(said(flat), slopes, strict=True):
        p = answers.softmax(1)
        G = G + torch.einsum("ncp,ncd,ndq->pq", J, torch.diag_embed(p) - p[:, :, None] * p[:, None], J) / (2 * len(y))
    if method.way == "paper":
        slope = jacrev(lambda f: F.cross_entropy(said(f)[1], y) - F.cross_entropy(said(f)[0], y))(flat)
    else:
        slope = jacrev(lambda f: sum(F.cross_entropy(answers, y) for answers in said(f)) / 2 + pull * off(f).square().mean())(flat)
    after = dict(network.module.named_parameters())
    assert all(torch.equal(after[name].double(), before[name]) for name in before.keys() - {*names})
    moved = torch.cat([after[name].detach().double().flatten() for name in names]) - flat
    return moved, -torch.linalg.solve(G + method.damping * torch.eye(len(G), dtype=G.dtype), slope)


def check_a_step_is_newtons(method, case):
    """It goes along -(G + damping I)^-1 grad J, by one of the lengths."""
    _, _, steps, _ = case
    module = case[0] if method.layers == 1 else deep()
    moved, due = _stepped(module, steps.one[:200], steps.other[:200], (steps.one[400:], steps.other[400:]), replace(method, steps=1, give=1.0))
    length = float(moved @ due / (due @ due))
    assert float((moved - length * due).norm()) < 1e-3 * float(moved.norm())
    assert min(abs(length - t) for t in fmd.LENGTHS) < 1e-3


def check_the_bias_on_pairs_held_back_falls(method, case):
    """Each step has less of it than the one before, and accuracy there is kept."""
    model, _, steps, _ = case
    held = split_of_pairs(steps)
    result = debias(model, steps, method=method)
    losses = result.trace["step"].losses
    assert all(b < a for a, b in pairwise(losses))
    assert losses[-1] < 0.02
    assert answers(result.model, Pairs(held.parts["pairs"], held.parts["twins"]))["counterfactual bias"]["value"] < 0.02


STEPS = [FMD(layers=1, solver="exact", damping=0.05, pull=30.0), FMD(layers=1, damping=0.05, pull=30.0), FMD(layers=1, solver="exact", damping=0.05, way="paper")]
DEEP = FMD(damping=0.05, pull=30.0, solve_steps=100)


@pytest.mark.parametrize("method", [*STEPS, DEEP], ids=repr)
def test_a_step_is_newtons(method, case):
    check_a_step_is_newtons(method, case)


def test_the_bias_on_pairs_held_back_falls(case):
    check_the_bias_on_pairs_held_back_falls(FMD(), case)


def test_pairs_held_back_are_none_of_those_stepped_by_and_stay_pairs(case):
    model, _, steps, _ = case
    with seeded(0):
        _, sides, held, _ = FMD(held=0.25).reads(Network(model), steps.one[:40], steps.other[:40])
    read = [[side.batch(torch.arange(len(side)))[0] for side in part] for part in (sides, held)]
    assert [len(one) for one, _ in read] == [30, 10]
    assert all(torch.equal(other, flip(one)) for one, other in read)
    every = torch.cat([one for one, _ in read]).tolist()
    assert sorted(every) == sorted(steps.one.batch(torch.arange(40))[0].double().tolist())


def test_accuracy_on_pairs_held_back_is_given_up_as_far_as_it_may(case):
    """The steps go by labels turned round, and lead away from what is right of the pairs held back."""
    model, _, steps, _ = case
    both = beside(steps.one, steps.other)
    both = Samples(both.batch(torch.arange(len(both)))[0].double(), both.y)
    held, wrong = both[400:], both[:400].labelled(1 - both.y[:400])

    def right(give):
        network = Network(copy.deepcopy(model))
        with seeded(0):
            rest = Rest.of(network, 1, steps.one)
            was = rest.told(held)[2]
            FMD(give=give, pull=1000.0).stepped(network, rest, wrong, held)
            return was, rest.told(held)[2]

    was, lost = right(1.0)
    assert lost < was - 0.1
    assert right(0.005)[1] >= was - 0.005 - 1e-9


class Scripted(Rest):
    """Tells of a bias, an accuracy and a loss (of answers that are as sure as this) by a list, whatever the weights."""

    def told(self, pairs, batch=500):
        sure, bias, right = self.script.pop(0)
        return sure * F.one_hot(pairs.y, 2).repeat_interleave(2, 0).double(), bias, right


def _scripted(case, steps, script):
    """How far the weights went, in units of the first step's way, and what the step's phase has kept."""
    model, _, pairs, _ = case
    method = FMD(layers=1, pull=0.0, steps=steps)
    with seeded(0):
        network = Network(copy.deepcopy(model))
        real = Rest.of(network, 1, pairs.one)
        both = beside(*(real.read(network, side) for side in (pairs.one[:100], pairs.other[:100])))
        rest = Scripted(real.network, real.names)
        object.__setattr__(rest, "script", script)
        start, loss = [w.detach().clone() for w in rest.network.trainable()], fmd.OfPairs(0.0)
        slope, _ = fmd.gradients(rest.network, lambda x, y: loss(rest.network(x), y), both, phase="gradient", batch=500)
        way, _ = method.solved(rest.network, loss, both, slope)
        trace = method.stepped(network, rest, both, both)
    moved = torch.cat([(a - w.detach()).flatten() for a, w in zip(start, rest.network.trainable(), strict=True)])
    way = torch.cat([w.flatten() for w in way])
    assert float((moved - (moved @ way / (way @ way)) * way).norm()) < 1e-6
    return float(moved @ way / (way @ way)), trace["step"].losses if "step" in trace else [], script


def test_of_the_lengths_that_of_the_least_loss_is_taken(case):
    """1, 1/2, 1/4: the second has the least loss, though the third has the least bias."""
    length, kept, left = _scripted(case, 1, [(1.0, 0.5, 0.8)] * 2 + [(2.0, 0.4, 0.8), (3.0, 0.3, 0.8), (2.5, 0.1, 0.8)])
    assert (length, kept, left) == (pytest.approx(0.5), [0.3], [])


def test_a_length_that_raises_the_loss_or_the_bias_or_costs_accuracy_is_not_taken(case):
    """Accuracy may fall by `give` of the best so far and not of what there was at first; after each step the bias asked of the next is that after it."""
    first = [(1.0, 0.5, 0.8), (2.0, 0.4, 0.9), (1.5, 0.3, 0.9)]
    refused = {"loss": (1.9, 0.3, 0.9), "bias": (3.0, 0.45, 0.9), "accuracy": (3.0, 0.3, 0.88)}
    for said in refused.values():
        assert _scripted(case, 2, [first[0], *first, first[1], *[said] * 7])[:2] == (pytest.approx(1.0), [0.4])


def test_a_model_without_a_bias_is_given_none(case):
    """One that says nothing: what the classes would gain by a step is no reason for it."""
    silent = nn.Sequential(nn.Linear(3, 2)).eval()
    with torch.no_grad():
        silent[0].weight.zero_()
        silent[0].bias.zero_()
    for method in (FMD(layers=1), FMD()):
        made = debias(silent, case[2], method=method)
        assert not any(p.any() for p in made.model.parameters())
        assert "unchanged" in made.marks


# Layers ahead of the head.


class Branched(nn.Module):
    """The last layer but one adds to what lies ahead of it, by functions; the classes are told by more than it reads."""

    def __init__(self, beside=False):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.head, self.beside = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2), beside

    def forward(self, x):
        read = F.relu(self.first(x))
        return self.head(torch.tanh(self.last(read)) + (read if self.beside else 0))


def test_the_rest_of_a_network_answers_as_the_network_does():
    samples = planted(50, 0)
    module = Branched().eval()
    with seeded(0):
        network = Network(module)
        rest = Rest.of(network, 2, samples)
        read = rest.read(network, samples)
        told = rest.network(beside(read, read).batch(torch.arange(50))[0])
    assert rest.names == ("last", "head")
    assert torch.allclose(told[::2], module(samples.batch(torch.arange(50))[0]), atol=1e-6)
    assert torch.allclose(told[::2], told[1::2], atol=1e-6)


def test_as_many_layers_move_as_answer_by_what_the_first_of_them_reads():
    """Where the last layer's output is added to what it read, the head alone moves: what is kept of pairs would lack the other part."""
    pairs = Pairs.of(planted(100, 4), flip)
    for module, moves in ((Branched(), {"last", "head"}), (Branched(beside=True), {"head"})):
        made = debias(module.eval(), pairs, method=FMD(give=1.0)).model.state_dict()
        assert {name.split(".")[0] for name, value in module.state_dict().items() if not torch.equal(value, made[name])} == moves


class Shared(nn.Module):
    """The layer ahead of the head has a parameter that one ahead of it has too."""

    def __init__(self, key):
        super().__init__()
        torch.manual_seed(0)
        self.put, self.first, self.last, self.head = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        setattr(self.last, key, getattr(self.first, key))

    def forward(self, x):
        return self.head(torch.tanh(self.last(torch.tanh(self.first(torch.tanh(self.put(x)))))))


@pytest.mark.parametrize("key", ["weight", "bias"])
def test_a_layer_that_shares_what_would_move_with_one_ahead_stays(key):
    """Where both moved, what was kept of pairs would be read of another network: the bias told of would not be the one that is there."""
    module, pairs = Shared(key).eval(), Pairs.of(planted(200, 4), flip)
    result = debias(module, pairs, method=FMD(give=1.0))
    made = result.model.state_dict()
    assert {name.split(".")[0] for name, value in module.state_dict().items() if not torch.equal(value, made[name])} == {"head"}


@pytest.mark.parametrize("layers", [1, 2])
def test_no_more_pairs_than_a_batch_are_looked_at_at_once(case, layers):
    """Those held back neither, of which the length of a step is told; it is told the same."""
    model, _, steps, _ = (deep(), *case[1:])
    sizes = []
    with seeded(0):
        network = Network(model)
        rest = Rest.of(network, layers, steps.one)
        held = beside(*(rest.read(network, side) for side in (steps.one, steps.other)))
        whole = rest.told(held, 600)
        rest.network.module.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
        pieces = rest.told(held, 70)
        assert torch.allclose(whole[0], pieces[0], atol=1e-6)
        assert pieces[1:] == pytest.approx(whole[1:], abs=1e-6)
        FMD(layers=layers, batch=70, steps=1).stepped(network, rest, held[:300], held[300:])
    assert max(sizes) == 70


def check_what_no_head_reaches_the_layer_ahead_does(method, case):
    """A body that hands on the colour and the classes in one number: no head tells them apart, and the layer that made it does."""
    _, _, steps, measured = case
    module = nn.Sequential(nn.Linear(3, 1), nn.Tanh(), nn.Linear(1, 2)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.3, 0.3, 0.9]]))
        module[2].weight.copy_(torch.tensor([[-2.0], [2.0]]))
        module[0].bias.zero_()
        module[2].bias.zero_()
    before, head, both = (answers(m, measured) for m in (module, debias(module, steps, method=replace(method, layers=1)).model, debias(module, steps, method=method).model))
    assert both["counterfactual bias"]["value"] < 0.1 * before["counterfactual bias"]["value"]
    assert both["accuracy, other side"]["value"] > 0.85
    assert head["accuracy, other side"]["value"] < 0.8


def test_what_no_head_reaches_the_layer_ahead_does(case):
    check_what_no_head_reaches_the_layer_ahead_does(FMD(), case)


def check_the_harmful_are_those_the_bias_comes_from(case):
    """Without those that are called most harmful the model that is fitted anew has less bias than without as many of the others; most of them carry the colour of their class."""
    model, train, _, measured = case
    with seeded(0):
        network = Network(model)
        rest = Rest.of(network, 1, train)
        read = [rest.read(network, s) for s in (train, *(Pairs.of(train, flip).other,), measured.one, measured.other)]
        found, _ = Replacing(layers=1, solver="exact").weighed(rest.network, beside(*read[:2]), beside(*read[2:]))
    order = found.argsort(descending=True)
    biases = [answers(trained(train[kept.sort().values]), measured)["counterfactual bias"]["value"] for kept in (order[150:], order[:-150])]
    assert biases[0] < biases[1] - 0.02


def test_the_harmful_are_those_the_bias_comes_from(case):
    check_the_harmful_are_those_the_bias_comes_from(case)


def test_what_a_sample_is_weighed_by_is_the_whole_formula(case):
    """-grad B' (G + damping I)^-1 grad CE(z) of a linear model, by torch's own derivatives: of the first side of each alone, and B a mean of sizes."""
    model, train, _, measured = case
    some, turned = train[:60], torch.arange(80) % 2 == 0
    (x, y), (c, labels), (d, _) = (side.batch(torch.arange(len(side))) for side in (some, measured.one[:80], measured.other[:80]))
    # Of every other pair the sides change places, so that what is taken without its size is nothing.
    one, other = (torch.where(turned[:, None], a, b) for a, b in ((c, d), (d, c)))
    with seeded(0):
        network = Network(model)
        rest = Rest.of(network, 1, some)
        read = [rest.read(network, Samples(z, t)) for z, t in ((x, y), (flip(x), y), (one, labels), (other, labels))]
        found, _ = Replacing(layers=1, solver="exact", damping=0.05).weighed(rest.network, beside(*read[:2]), beside(*read[2:]))
    start = torch.cat([model[0].weight, model[0].bias[:, None]], 1).detach().double().flatten()

    def said(flat, z):
        return torch.cat([z.double(), torch.ones(len(z), 1, dtype=torch.float64)], 1) @ flat.view(2, 4).T

    def bias(flat):
        p, q = (said(flat, z).softmax(1)[torch.arange(80), labels] for z in (one, other))
        return (p - q).abs().mean()

    def losses(flat):
        return F.cross_entropy(said(flat, x), y, reduction="none")

    G = torch.autograd.functional.hessian(lambda flat: losses(flat).mean(), start) + 0.05 * torch.eye(8, dtype=torch.float64)
    due = -jacrev(losses)(start) @ torch.linalg.solve(G, jacrev(bias)(start))
    torch.testing.assert_close(found.double(), due, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("harmful", [0.25, 1.0])
def test_what_is_weighed_most_gives_way_to_its_counterfactual_and_the_rest_stays(case, monkeypatch, harmful):
    """What is stepped by has the first side of each pair in its loss: the counterfactual of so many, the sample itself of the others."""
    model, train, steps, _ = case
    seen, weights = {}, torch.randn(40, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(Replacing, "weighed", lambda self, network, training, pairs: (weights, fmd.Trace()))
    monkeypatch.setattr(FMD, "stepped", lambda self, model, rest, pairs, held, **more: seen.update(more, pairs=pairs) or fmd.Trace())
    x, _ = train[:40].batch(torch.arange(40))
    with seeded(0):
        Replacing(layers=1, harmful=harmful)(Network(model), retain=train[:40], replaced=Samples(flip(x), train.y[:40]), pairs=steps.one, twins=steps.other)
    gone = weights >= weights.sort(descending=True).values[round(harmful * 40) - 1]
    due = torch.cat([torch.stack([x, flip(x)], 1)[~gone], torch.stack([flip(x), x], 1)[gone]])
    rows = lambda t: sorted(t.float().flatten(1).tolist())  # noqa: E731
    assert rows(seen["pairs"].batch(torch.arange(40))[0]) == rows(due)
    assert rows(seen["swapped"].batch(torch.arange(int(gone.sum())))[0]) == rows(due[int((~gone).sum()) :])
    assert seen["both"] is False


def test_no_more_pairs_than_are_asked_for_say_how_it_curves(case, monkeypatch):
    seen = []
    monkeypatch.setattr(fmd, "solve", lambda network, loss, pairs, *a, **k: seen.append((len(pairs), k["steps"], k["damping"])) or curvature.solve(network, loss, pairs, *a, **k))
    debias(case[0], case[2], method=FMD(curved=50, solve_steps=3, damping=0.2, steps=1))
    assert seen == [(50, 3, 0.2)]


def _wrapped(function, change):
    return lambda *a, **k: change(function(*a, **k))


def _other_way(found):
    return [-w for w in found[0]], found[1]


def _positive(found):
    return [g.abs() for g in found[0]], found[1]


def _minus(found):
    return -found[0], found[1]


def _undamped(*a, damping, **k):
    return curvature.exact(*a, damping=1e-9, **k)


def _undamped_products(*a, damping, **k):
    return curvature.solve(*a, damping=1e-9, **k)


UP_TO_HEAD = rest_module.up_to_head


def _last_alone(model):
    return dict(list(UP_TO_HEAD(model).items())[-1:])


EXACT = STEPS[0]
MUTANTS = {
    "the step goes the other way": (fmd.FMD, "solved", _wrapped(fmd.FMD.solved, _other_way), check_a_step_is_newtons, EXACT),
    "the Hessian lacks its damping": (fmd, "exact", _undamped, check_a_step_is_newtons, EXACT),
    "the products lack their damping": (fmd, "solve", _undamped_products, check_a_step_is_newtons, DEEP),
    "the Hessian lacks the penalty": (fmd.OfPairs, "bent", lambda s, network, pairs: None, check_a_step_is_newtons, EXACT),
    "the slope lacks the penalty": (fmd, "_shift", _wrapped(fmd._shift, lambda found: found * 0), check_a_step_is_newtons, DEEP),
    "the penalty does not change sides": (fmd, "_shift_slope", _wrapped(fmd._shift_slope, torch.abs), check_a_step_is_newtons, DEEP),
    "the gradient without the Hessian": (fmd.FMD, "solved", lambda s, network, loss, pairs, slope: (slope, fmd.Phase("hessian")), check_a_step_is_newtons, EXACT),
    "the absolute value of gradients": (fmd, "gradients", _wrapped(fmd.gradients, _positive), check_a_step_is_newtons, EXACT),
    "one side stands on both": (fmd, "beside", lambda one, other: beside(one, one), check_the_bias_on_pairs_held_back_falls, FMD()),
    "the head alone moves": (rest_module, "up_to_head", _last_alone, check_what_no_head_reaches_the_layer_ahead_does, FMD()),
    "what moved is not put back": (Rest, "put", lambda rest, model: None, check_what_no_head_reaches_the_layer_ahead_does, FMD()),
    "influence with the other sign": (fmd, "influence", _wrapped(fmd.influence, _minus), check_the_harmful_are_those_the_bias_comes_from, None),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_break_goes_red(name, case, monkeypatch):
    where, what, broken, law, method = MUTANTS[name]
    monkeypatch.setattr(where, what, broken)
    with pytest.raises((AssertionError, KeyError)):
        law(case) if method is None else law(method, case)


# Measures, by hand and by scikit-learn.


def test_measures_by_group_are_those_of_scikit_learn():
    g = torch.Generator().manual_seed(0)
    y, said, group = (torch.randint(0, 2, (300,), generator=g) for _ in range(3))
    groups = [str(v) for v in group.tolist()]
    rates = [float((said[group == v] == 1).double().mean()) for v in (0, 1)]
    recalls = [recall_score(y[group == v].numpy(), said[group == v].numpy()) for v in (0, 1)]
    assert parity(said, groups) == pytest.approx(abs(rates[0] - rates[1]))
    assert opportunity(said, y, groups) == pytest.approx(abs(recalls[0] - recalls[1]))
    cells = [(said == y)[(y == c) & (group == v)].double().mean() for c in (0, 1) for v in (0, 1)]
    assert float(worst(said == y, y, groups).double().mean()) == pytest.approx(float(min(cells)))


def _numbers(seed, classes, n=400):
    """Labels, answers that hang on a group, and groups of three names."""
    rng = np.random.default_rng(seed)
    groups, y = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]), rng.integers(0, classes, n)
    said = np.where(rng.random(n) < np.where(groups == "a", 0.9, 0.5), y, rng.integers(0, classes, n))
    return y, said, groups


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("classes", [2, 4])
def test_parity_and_opportunity_are_those_of_fairlearn(seed, classes):
    """Of more than two classes fairlearn is asked of each against the rest."""
    fairness = pytest.importorskip("fairlearn.metrics")
    y, said, groups = _numbers(seed, classes)
    told = [1] if classes == 2 else range(classes)
    rates = [fairness.demographic_parity_difference(y == c, said == c, sensitive_features=groups) for c in told]
    recalls = [fairness.equal_opportunity_difference(y == c, said == c, sensitive_features=groups) for c in told]
    assert parity(torch.tensor(said), groups.tolist()) == pytest.approx(max(rates))
    assert opportunity(torch.tensor(said), torch.tensor(y), groups.tolist()) == pytest.approx(max(recalls))


def test_every_row_of_the_audit_is_counted_by_hand():
    """The model answers with what it reads, so answers, classes and groups are what is put in; two groups, of which the training data give each class its own."""
    rng = np.random.default_rng(0)
    one, other, test = (rng.normal(size=(n, 2)) for n in (61, 61, 200))
    labels, y = rng.integers(0, 2, 61), rng.integers(0, 2, 200)
    groups = np.where(rng.random(200) < 0.6, "left", "right")
    test[np.arange(200), y] += np.where(groups == "left", 1.5, 0.3)
    same = nn.Sequential(nn.Linear(2, 2, dtype=torch.float64)).eval()
    with torch.no_grad():
        same[0].weight.copy_(torch.eye(2))
        same[0].bias.zero_()
    parts = split_of_pairs(
        Pairs(*(Samples(torch.tensor(side), labels.tolist()) for side in (one, other))), test=Samples(torch.tensor(test), y.tolist(), columns={"side": groups.tolist()})
    )
    # Class 0 is mostly left here, and class 1 right; in the test data it is, by chance, the other way about.
    assert (groups[y == 0] == "left").mean() < (groups[y == 1] == "left").mean()
    parts = parts.replaced(retain=Samples(torch.zeros(6, 2, dtype=torch.float64), [0, 0, 0, 1, 1, 1], columns={"side": ["left", "left", "right", "right", "right", "left"]}))
    (entry,) = audit(same, parts, [Bias(group="side", draws=20)])
    found = {row["name"]: row["values"]["unlearned"][0] for row in entry["rows"]}
    p, q = (np.exp(side)[np.arange(61), labels] / np.exp(side).sum(1) for side in (one, other))
    said = test.argmax(1)
    right = said == y
    recalls = {g: [right[(groups == g) & (y == c)].mean() for c in (0, 1)] for g in ("left", "right")}
    shares = {g: (said[groups == g] == 1).mean() for g in ("left", "right")}
    conflict = ((y == 0) & (groups == "right")) | ((y == 1) & (groups == "left"))
    due = {
        "counterfactual bias": np.abs(p - q).mean(),
        "pairs with two answers": (one.argmax(1) != other.argmax(1)).mean(),
        "accuracy, other side": (other.argmax(1) == labels).mean(),
        "accuracy, test": right.mean(),
        "accuracy, bias-conflicting": right[conflict].mean(),
        "accuracy, worst group": min(min(r) for r in recalls.values()),
        "demographic parity difference": abs(shares["left"] - shares["right"]),
        "equal opportunity difference": abs(recalls["left"][1] - recalls["right"][1]),
    }
    assert {name: value["value"] for name, value in found.items()} == pytest.approx(due)
    low, high = bootstrapped(torch.tensor(np.abs(p - q)), 20)
    assert (found["counterfactual bias"]["low"], found["counterfactual bias"]["high"]) == pytest.approx((low, high))
    assert found["accuracy, bias-conflicting"]["n"] == conflict.sum()


def test_of_three_classes_it_is_the_farthest():
    said, y = torch.tensor([0, 1, 2, 0, 0, 2]), torch.tensor([0, 1, 2, 0, 1, 2])
    assert parity(said, list("aaabbb")) == pytest.approx(1 / 3)
    assert opportunity(said, y, list("aaabbb")) == pytest.approx(1.0)


def test_conflicting_is_what_the_training_data_speak_against():
    """Men are the larger group of both classes, and still stand out for class 1 alone."""
    taught, groups = torch.tensor([0] * 70 + [1] * 30), ["m"] * 40 + ["w"] * 30 + ["m"] * 27 + ["w"] * 3
    assert conflicting(torch.tensor([0, 0, 1, 1]), ["m", "w", "m", "w"], taught, groups).tolist() == [True, False, False, True]


# What is refused.


def test_pairs_that_do_not_pair_are_refused():
    x = planted(10, 0)
    with pytest.raises(BadData, match="10 samples on one side and 9 on the other"):
        Pairs(x, x[:9])
    with pytest.raises(BadData, match=r"10 of 10 have another label on the other side, the first at 0 \(0 and 1\)"):
        Pairs(x, x.labelled(1 - x.y))
    with pytest.raises(BadData, match="nothing was flipped"):
        Pairs(x, x)
    with pytest.raises(BadData, match="there are no pairs"):
        Pairs(x[:0], x[:0])
    with pytest.raises(BadArgument, match=r"gave float32 \[10, 2\] of float32 \[10, 3\]"):
        Pairs.of(x, lambda x: x[:, :2])


class Twice(nn.Module):
    """Its answers are not linear in what its last layer reads."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(x) * 3


def test_a_head_that_is_not_linear_and_too_few_pairs_are_refused(case):
    with pytest.raises(BadArgument, match="not a linear function of what the head 'head' reads"):
        debias(Twice(), case[2], head="head")
    with pytest.raises(BadArgument, match="of 1 pairs 0 would be held back"):
        debias(case[0], case[2][:1])
    for method in (FMD(layers=0), FMD(solver="exact")):
        with pytest.raises(BadArgument, match="give layers=1"):
            debias(case[0], case[2], method=method)
    tied = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    tied[2].weight = tied[0].weight
    with pytest.raises(BadData, match=r"the head '2' shares its weight with '0.weight', which would move with it; untie them first"):
        debias(tied.eval(), case[2])
    with pytest.raises(BadArgument, match="Replacing takes training samples"):
        debias(case[0], case[2], method=Replacing())


# The verdict, and the verb.


def _rows(before, after, width=0.01):
    value = lambda v: [{"value": v, "low": v - width, "high": v + width, "n": 100, "beyond": False}]  # noqa: E731
    return [
        {"name": "bias", "rows": [{"name": "counterfactual bias", "unit": "share", "knows": 0, "values": {"original": value(before), "unlearned": value(after)}}], "skipped": None}
    ]


@pytest.mark.parametrize(
    ("before", "after", "marks", "code"),
    [
        (0.5, 0.05, [], "BIAS_GONE"),
        (0.5, 0.051, [], "BIAS_LESS"),
        (0.5, 0.485, [], "BIAS_LEFT"),
        (0.5, 0.6, [], "BIAS_LEFT"),
        (0.01, 0.0005, [], "BIAS_LEFT"),
        (0.5, 0.0, ["collapsed"], "COLLAPSED"),
        (0.5, 0.5, ["unchanged"], "UNCHANGED"),
    ],
)
def test_the_verdict_says_what_was_measured(before, after, marks, code):
    found = of_a_bias(_rows(before, after), marks, {"forget": "nothing", "classes": [], "names": [], "bias": "flip:sex"})
    assert found["code"] == code
    assert code in ("COLLAPSED", "UNCHANGED") or (f"{after:.1%}" in found["sentence"] and "flip:sex" in found["sentence"])
    assert of_a_bias([], [], {"forget": "nothing", "classes": [], "names": [], "bias": "flip:sex"})["code"] == "INCONCLUSIVE"


def test_the_verdict_says_what_it_cost_and_flags_what_is_left():
    def cost(name, before, after):
        values = {c: [{"value": x, "low": None, "high": None, "n": 9, "beyond": False}] for c, x in (("original", before), ("unlearned", after))}
        return {"name": name, "unit": "share", "knows": 1, "values": values}

    for after, flagged in ((0.01, []), (0.2, ["counterfactual bias"]), (0.5, ["counterfactual bias"])):
        (entry,) = _rows(0.5, after)
        entry["rows"] += [cost("accuracy, test", 0.91, 0.82), cost("accuracy, worst group", 0.13, 0.34)]
        found = of_a_bias([entry], [], {"forget": "nothing", "classes": [], "names": [], "bias": "flip:sex"})
        assert found["flagged"] == flagged
        assert found["reasons"][1:] == ["accuracy, test 82.0%, before 91.0%", "accuracy, worst group 34.0%, before 13.0%"]
        assert all(reason in found["sentence"] for reason in found["reasons"])


def test_the_verb_writes_a_record_and_a_page_like_any_other(tmp_path, capsys):
    (tmp_path / "darker.py").write_text("def darker(x):\n    y = x.clone()\n    y[..., :3] = 0\n    return y\n")
    run = tmp_path / "run"
    command = ["debias", "--model", "digits", "--data", "digits", "--pairs", f"{tmp_path / 'darker.py'}:darker", "--count", "600", "--out", str(run)]
    code = main([*command, "--json"])
    record = json.loads(capsys.readouterr().out)
    jsonschema.validate(record, schema())
    assert record["verdict"]["code"] in ("BIAS_LESS", "BIAS_GONE")
    assert code == (0 if record["verdict"]["code"] == "BIAS_GONE" else 3)
    assert record["request"]["bias"] == "darker.py:darker"
    assert str(tmp_path) not in json.dumps(record)
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "Remove the bias over" in page
    assert "counterfactual bias" in page
    assert main(["verify", str(run)]) == 0
    capsys.readouterr()
    assert main(["audit", str(run)]) == 2
    assert "which has measured and judged its model" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "other"), "--pairs", "flip:sex"]) == 2


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, -0.8, 0.8]]))
    def forward(self, numbers, categories):
        return self.head(torch.cat([numbers, nn.functional.one_hot(categories[:, 0], 3).float()], 1))

def net():
    return Net()
"""


SIDES = """
from untrain.core.data import Samples
from untrain.zoo.sets import digits

def plain():
    return digits().test[:80]

def darker():
    one = plain()
    x = one.batch(range(80))[0].clone()
    x[..., :3] = 0
    return Samples(x, one.y, names=one.names)
"""


def test_a_column_of_a_table_is_flipped(tmp_path, capsys):
    """The model adds .8 to one logit for a man and takes it away for a woman; hours decide the label."""
    g = torch.Generator().manual_seed(0)
    hours, sex = torch.randn(600, generator=g), torch.randint(0, 2, (600,), generator=g)
    lines = [f"{h:.4f},{'man' if m else 'woman'},{'rich' if h + 0.3 * e > 0 else 'poor'}" for h, m, e in zip(hours, sex.tolist(), torch.randn(600, generator=g), strict=True)]
    (tmp_path / "people.csv").write_text("\n".join(["hours,sex,income", *lines]))
    (tmp_path / "nets.py").write_text(NET)
    run = tmp_path / "run"
    command = ["debias", "--model", f"{tmp_path / 'nets.py'}:net", "--data", str(tmp_path / "people.csv"), "--label-column", "income", "--out"]
    code = main([*command, str(run), "--pairs", "flip:sex", "--json"])
    record = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row["values"] for row in record["audits"][0]["rows"]}
    assert rows["counterfactual bias"]["original"][0]["value"] > 0.15
    assert (code, record["verdict"]["code"]) == (0, "BIAS_GONE"), record["verdict"]["sentence"]
    assert {"accuracy, worst group", "demographic parity difference", "equal opportunity difference"} <= rows.keys()
    for pairs, said in (("flip:age", "no column 'age' of facts"), ("flip:sex=man/child", "holds no 'child'"), ("flip:hours", "say which two are flipped")):
        assert main([*command, str(tmp_path / "other"), "--pairs", pairs]) == 2
        assert said in capsys.readouterr().err
    assert main([*command, str(tmp_path / "other"), "--pairs", "flip:sex", "--group", "age"]) == 2
    assert "--group age: no column says which group a test sample is of" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_another_bias_is_another_request_and_the_hash_says_which_pairs_were_drawn(tmp_path, capsys):
    """All flips of a table had one hash, so that a bias over another column stood on the page as an attempt at the same."""
    lines = [f"{i % 23},{['man', 'woman'][i // 2 % 2]},{['yes', 'no'][i % 2]},{['rich', 'poor'][i // 4 % 2]}" for i in range(240)]
    (tmp_path / "people.csv").write_text("\n".join(["hours,sex,spouse,income", *lines]))
    (tmp_path / "nets.py").write_text(
        NET.replace("Linear(4, 2)", "Linear(7, 2)")
        .replace("[-1.0, 0, 0, 0], [1.0, 0, -0.8, 0.8]", "[-1.0, 0, 0, 0, 0, 0, 0], [1.0, 0, -0.8, 0.8, 0, -0.5, 0.5]")
        .replace("categories[:, 0], 3)", "categories, 3).flatten(1)")
    )
    command = ["debias", "--model", f"{tmp_path / 'nets.py'}:net", "--data", str(tmp_path / "people.csv"), "--label-column", "income", "--count", "40"]
    for name, pairs, seed in (("a", "flip:sex", 0), ("b", "flip:spouse", 0), ("c", "flip:sex", 1)):
        assert main([*command, "--pairs", pairs, "--seed", str(seed), "--out", str(tmp_path / name)]) in (0, 3)
    made = {name: records.read(tmp_path / name) for name in "abc"}
    assert {name: len(record["chain"]["attempts"]) for name, record in made.items()} == {"a": 0, "b": 0, "c": 1}
    assert len({record["request"]["sha256"] for record in made.values()}) == 2
    assert made["a"]["request"]["sha256"] == made["b"]["request"]["sha256"]
    # What goes on from there says that a bias was removed, and not that samples were forgotten.
    assert main([*command, "--pairs", "flip:spouse", "--weights", str(tmp_path / "a" / "model.safetensors"), "--out", str(tmp_path / "d")]) in (0, 3)
    after = records.read(tmp_path / "d")
    assert [entry["bias"] for entry in after["chain"]["requests"]] == ["flip:sex"]
    said = " ".join(re.sub("<.*?>", "", page.render(after)).split())
    assert f"Carried out on this model before: remove the bias over flip:sex: {made['a']['verdict']['code'].replace('_', ' ')}; not looked at again" in said
    assert main(["verify", str(tmp_path / "d"), "--model", f"{tmp_path / 'nets.py'}:net"]) == 0
    assert "earlier request 1" in capsys.readouterr().out


class Enough(Exception):
    """What is looked at has been seen."""


def test_what_is_stepped_by_is_the_hold_out_and_what_is_measured_the_test_part(tmp_path, monkeypatch):
    """And seed, norm, head, group and count come to who needs them; three kinds of rows, told apart by their hours, of whom those without either value are in no pair."""
    sexes = ["man", "woman", "unsaid"]
    for part, hours in (("train", 100), ("test", 200), ("held", 300)):
        lines = [f"{hours + i % 30},{sexes[i % 3]},{sexes[i % 2]},{['rich', 'poor'][i % 2]}" for i in range(60)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["hours,sex,spouse,income", *lines]))
    net = (
        NET.replace("Linear(4, 2)", "Linear(5, 2)")
        .replace("[-1.0, 0, 0, 0], [1.0, 0, -0.8, 0.8]", "[-1.0, 0, 0, 0, 0], [1.0, 0, -0.8, 0.8, 0]")
        .replace("[:, 0], 3)", "[:, 0], 4)")
    )
    (tmp_path / "nets.py").write_text(net)
    seen = {}

    def stepped(module, pairs, *, training, **more):
        seen.update(more, pairs=pairs, training=training)
        return debias(module, pairs, training=training, **more)

    def asked(model, parts, audits, **more):
        seen["audit"] = (parts, audits, more)
        raise Enough

    monkeypatch.setattr(debiasing, "debias", stepped)
    monkeypatch.setattr(debiasing, "audit", asked)
    inputs = Inputs(
        model=f"{tmp_path / 'nets.py'}:net",
        data=str(tmp_path / "train.csv"),
        test=str(tmp_path / "test.csv"),
        holdout=str(tmp_path / "held.csv"),
        label_column="income",
        head="head",
        seed=7,
    )

    def hours(samples):
        """As they were written: the column is scaled by what the training part spans."""
        x = samples.batch(torch.arange(len(samples)))[0]["numbers"][:, 0]
        return (x * spread + middle).round().tolist()

    train = torch.tensor([100.0 + i % 30 for i in range(60)])
    opened = inputs.open()
    told = opened.data.train.batch(torch.arange(60))[0]["numbers"][:, 0]
    spread = float((train[1] - train[0]) / (told[1] - told[0]))
    middle = float(train[0] - told[0] * spread)
    for pairs, holdout, due in (("flip:sex=man/woman", True, 300), ("flip:sex=man/woman", False, 100)):
        with pytest.raises(Enough):
            debiasing.remove(inputs if holdout else replace(inputs, holdout=None), tmp_path / f"run-{due}", pairs=pairs, count=12, method=Replacing())
        assert len(seen["pairs"]) == 12
        assert all(due <= h < due + 30 for h in hours(seen["pairs"].one))
        assert (seen["seed"], seen["head"], seen["norm"]) == (7, "head", opened.model.norm)
        assert len(seen["training"]) == 40
        assert all(100 <= h < 130 for h in hours(seen["training"].one))
        split, (bias,), told = seen["audit"]
        parts = split.parts
        assert len(parts["pairs"]) == 40
        assert [round(min(hours(part)) / 100) for part in (split.test, parts["pairs"], split.retain)] == [2, 2, 1]
        assert (len(split.test), len(split.retain), bias.group) == (60, 60, "sex")
        assert (told["head"], told["norm"], told["original"]) == ("head", opened.model.norm, told["original"])
        for one, other in ((seen["pairs"].one, seen["pairs"].other), (parts["pairs"], parts["twins"])):
            x, z = (side.batch(torch.arange(len(side)))[0] for side in (one, other))
            assert torch.equal(x["numbers"], z["numbers"])
            assert torch.equal(x["categories"][:, 1], z["categories"][:, 1])
            # Codes are given in the order of the alphabet, from 1: man, unsaid, woman.
            assert torch.equal(x["categories"][:, 0] + z["categories"][:, 0], torch.full((len(one),), 4))


def test_of_two_parts_one_half_is_stepped_by_and_the_other_measured():
    one = planted(31, 0)
    both = Pairs(one, Samples(flip(one.batch(torch.arange(31))[0]), one.y))
    opened = SimpleNamespace(data=None, inputs=SimpleNamespace(seed=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(debiasing, "_part", lambda _, name: {"a": both.one, "b": both.other}[name])
        for count, due in ((2000, 15), (4, 4)):
            steps, measured, training = debiasing._pairs(opened, "a", "b", count, False)
            assert (len(steps), len(measured), training) == (due, 16, None)
            rows = [[tuple(row) for row in part.one.batch(torch.arange(len(part)))[0].tolist()] for part in (steps, measured)]
            assert not {*rows[0]} & {*rows[1]}
            assert all(torch.equal(part.other.batch(torch.arange(len(part)))[0], flip(part.one.batch(torch.arange(len(part)))[0])) for part in (steps, measured))


def test_code_that_gives_a_side_of_the_pairs_is_told_of_and_hashed(tmp_path, capsys):
    """Both sides by functions of the user's, which are run because the command names them."""
    (tmp_path / "sides.py").write_text(SIDES)
    pairs, twins = (f"{tmp_path / 'sides.py'}:{side}" for side in ("plain", "darker"))
    command = ["debias", "--model", "digits", "--data", "digits", "--pairs", pairs, "--twins", twins, "--out", str(tmp_path / "run")]
    assert main([*command, "--json"]) in (0, 3)
    told = capsys.readouterr()
    record = json.loads(told.out)
    assert record["code"] == dict.fromkeys(("pairs", "twins"), hashlib.sha256(SIDES.encode()).hexdigest())
    assert "sides.py:plain runs your code" in told.err
    assert "sides.py:darker runs your code" in told.err
    assert str(tmp_path) not in json.dumps(record)
    for more, said in ((["--training"], "and no --twins"), (["--holdout", pairs], "leave one of them out")):
        unread = [str(tmp_path / "never-read") if word == "digits" and command[n - 1] == "--data" else word for n, word in enumerate(command[:-1])]
        assert main([*unread, str(tmp_path / "other"), *more]) == 2
        assert said in capsys.readouterr().err


def test_the_page_is_drawn_from_its_records():
    spec = importlib.util.spec_from_file_location("debias_page", ROOT / "benchmarks" / "debias_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "docs" / "debias.md").read_text(encoding="utf-8")
    assert module.page(text) == text
    drawn = {mark[1] for mark in module.MARK.findall(text)}
    assert {path.stem.rpartition("-s")[0] for path in module.RECORDS.glob("*.json")} == drawn


def test_the_names_are_public():
    assert untrain.debias is debias
    assert untrain.Pairs is Pairs
    assert untrain.FMD is FMD
