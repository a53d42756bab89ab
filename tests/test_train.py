"""minimize, fit, predict and the run around them: a naive loop's bits, counted passes, and a killed run that ends as if it had not been."""

from __future__ import annotations

import copy
import math
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sometimes import one_in
from untrain.core import files, resume
from untrain.core.data import CropFlip, Samples, Split, mix
from untrain.core.engine import current, seeded
from untrain.core.errors import Diverged, Resources
from untrain.core.lean import lean
from untrain.core.network import Network
from untrain.core.site import site_of
from untrain.core.train import fit, minimize, predict, rate
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune
from untrain.methods.neggrad import NegGrad
from untrain.methods.retrain import Retrain
from untrain.methods.unsir import UNSIR

law = settings(deadline=None, max_examples=40)


def blobs(n=90, classes=3, features=6, seed=0):
    """Gaussian clusters, one a class."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    return Samples(torch.randn(n, features, generator=g) + 2 * torch.randn(classes, features, generator=g)[y], y)


def mlp(dropout=0.0, seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))


def convnet(seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def small_split(n=90):
    samples = blobs(n)
    return Split.by_class(samples, samples, forget=[1])


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# The rate


@law
@given(steps=st.integers(1, 400))
def test_rates_are_those_of_the_formulas(steps):
    k = np.arange(steps)
    assert [rate("constant", i, steps) for i in k] == [1.0] * steps
    np.testing.assert_allclose([rate("cosine", i, steps) for i in k], (1 + np.cos(np.pi * k / steps)) / 2)
    # A triangle that is 0 one step before the first, 1 at 30 % of the way, and 0 one step after the last.
    np.testing.assert_allclose([rate("onecycle", i, steps) for i in k], np.interp(k, [-1, 0.3 * steps, steps], [0, 1, 0]))
    assert all(0 < rate("onecycle", i, steps) <= 1 for i in k)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_the_rate_that_is_used_is_the_schedules(schedule):
    weight = torch.zeros(1, requires_grad=True)
    seen = []

    def loss(x, y):
        seen.append(float(weight.detach()))
        return weight.sum()

    with seeded(0):
        minimize(loss, [weight], Samples(torch.zeros(10, 1), [0] * 10).batches(1), phase="p", lr=0.5, optimizer="sgd", momentum=0.0, schedule=schedule)
    steps = len(seen)
    np.testing.assert_allclose(-np.diff([*seen, float(weight.detach())]), [0.5 * rate(schedule, k, steps) for k in range(steps)], rtol=1e-5)


# A naive loop


def a_naive_loop(model, batches, steps_done, *, optimizer, lr, momentum=0.9, weight_decay=0.0, schedule="constant"):
    """What a reader of a tutorial would write."""
    if optimizer == "adam":
        stepper = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    else:
        stepper = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, nesterov=momentum > 0, weight_decay=weight_decay)
    model.train()
    losses = []
    for step, (x, y) in enumerate(batches):
        share = {"constant": 1.0, "cosine": 0.5 * (1 + math.cos(math.pi * step / steps_done))}[schedule]
        for group in stepper.param_groups:
            group["lr"] = lr * share
        stepper.zero_grad()
        value = F.cross_entropy(model(x), y)
        value.backward()
        stepper.step()
        losses.append(value.item())
    return losses


@pytest.mark.parametrize("build", [mlp, convnet])
@pytest.mark.parametrize(
    "how",
    [
        {"optimizer": "adam", "lr": 0.01},
        {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.1, "schedule": "cosine"},
        {"optimizer": "sgd", "lr": 0.1},
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.01},
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.5, "schedule": "cosine"},
    ],
    ids=repr,
)
def test_fit_is_a_naive_loop_bit_for_bit(build, how):
    ours = build().eval()  # fit trains in training mode, whatever it is given
    naive = copy.deepcopy(ours)
    samples = blobs() if build is mlp else Samples(torch.rand(50, 1, 4, 4), torch.arange(50) % 3, augment=CropFlip(1))
    read = []

    class Spied(Network):
        def __call__(self, x):
            read.append(x.clone())
            return super().__call__(x)

    # The batches themselves have tests of their own; the loop is given those of the run's first call, channels last as all networks are.
    plan = [(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x, y) for x, y, _ in samples.batches(16, epochs=3, augment=True).run(mix(5, 1))]
    with seeded(5):
        phase = fit(Spied(ours), samples, phase="p", batch=16, epochs=3, augment=True, **how)
    assert all(torch.equal(a, b) for a, (b, _) in zip(read, plan, strict=True))
    losses = a_naive_loop(naive, plan, len(plan), **how)
    assert same(ours, naive)
    assert phase.losses == losses
    assert phase.steps == len(losses)
    assert not same(ours, build())


def test_minimize_climbs_what_it_is_told_to_and_returns_each_steps_loss():
    weight = torch.tensor([3.0], requires_grad=True)
    with seeded(0):
        phase = minimize(
            lambda x, y: (weight - 1).square().sum(), [weight], Samples(torch.zeros(4, 1), [0] * 4).batches(2, epochs=2), phase="p", lr=0.1, optimizer="sgd", momentum=0
        )
    # (w - 1)^2 by steps of 0.1 * 2 (w - 1): the gap shrinks by 0.8 a step.
    np.testing.assert_allclose(phase.losses, [4 * 0.64**k for k in range(4)], rtol=1e-5)


# Gradients and passes


class _Watch(torch.autograd.Function):
    """A matrix product that says which gradients its backward was asked for."""

    @staticmethod
    def forward(ctx, x, weight, log):
        ctx.save_for_backward(x, weight)
        ctx.log = log
        return x @ weight.T

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, _ = ctx.needs_input_grad
        ctx.log.append((wants_x, wants_weight))
        return (g @ weight if wants_x else None), (g.T @ x if wants_weight else None), None


class WatchedNet(nn.Module):
    """Two watched layers and a head."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 8, bias=False), nn.Linear(8, 8, bias=False), nn.Linear(8, 3)
        self.log = []

    def forward(self, x):
        x = torch.relu(_Watch.apply(x, self.one.weight, self.log))
        return self.head(torch.relu(_Watch.apply(x, self.two.weight, self.log)))


def test_noise_is_learned_by_input_gradients_alone():
    module = WatchedNet()
    before = copy.deepcopy(module.state_dict())
    with seeded(0):
        UNSIR(noise_steps=3).learn_noise(site_of(Network(module), blobs()), blobs(), (1,))
    assert len(module.log) == 3 * 2
    assert set(module.log) == {(True, False)}
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


def test_only_the_given_parameters_are_moved_and_only_their_gradients_computed():
    module = mlp()
    before = copy.deepcopy(module)
    computed = set()
    for name, parameter in module.named_parameters():
        parameter.register_hook(lambda g, name=name: computed.add(name))
    network = Network(module)
    with seeded(0):
        network.eval()
        minimize(lambda x, y: F.cross_entropy(network(x), y), list(module[-1].parameters()), blobs().batches(16), phase="p", lr=0.1)
    assert computed == {"4.weight", "4.bias"}
    moved = {n for n, v in module.state_dict().items() if not torch.equal(v, before.state_dict()[n])}
    assert moved == {"4.weight", "4.bias"}
    assert all(p.grad is None for p in module.parameters())


def test_a_parameter_that_wants_no_gradient_stays():
    module = mlp()
    module[0].requires_grad_(False)
    before = copy.deepcopy(module)
    result = unlearn(module, small_split(), FineTune(epochs=2, batch=16))
    assert torch.equal(result.model[0].weight, before[0].weight)
    assert not torch.equal(result.model[4].weight, before[4].weight)
    assert [p.requires_grad for p in result.model.parameters()] == [p.requires_grad for p in module.parameters()]


class Products(TorchDispatchMode):
    """Counts the multiplications of matrix products as they are carried out."""

    done = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.mm.default:
            self.done += args[0].shape[0] * args[0].shape[1] * args[1].shape[1]
        return func(*args, **(kwargs or {}))


def deep(width=64, depth=6):
    """Nothing but matrix products, whose work can be counted."""
    return nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(depth)))


def test_a_pass_is_a_forwards_worth_of_work():
    """Forward 1, backward to the input 1, full backward 2: the multiplications that are carried out say the same."""
    width, depth, n = 64, 6, 10
    forward = n * width * width * depth
    samples = Samples(torch.randn(n, width), torch.arange(n))
    network = Network(deep(width, depth))
    images = torch.randn(n, width, requires_grad=True)

    def work(call):
        with seeded(0) as run, Products() as products:
            call()
            return products.done / forward, run.passes / n

    with torch.no_grad():
        assert work(lambda: network(images)) == (1, 1)
    with network.frozen():
        whole = samples.batches(n, shuffle=False)
        assert work(lambda: minimize(lambda x, y: F.cross_entropy(network(images), y), [images], whole, phase="p", lr=0.1)) == (2, 2)
    done, counted = work(lambda: fit(network, samples, phase="p", lr=0.1, epochs=1, batch=n))
    # The first layer's backward to its input is not needed: a sixth of a pass less.
    assert (done, counted) == (3 - 1 / depth, 3)
    assert work(lambda: predict(network, samples)) == (1, 1)
    assert work(lambda: predict(network, samples, features=True)) == (1, 1)


@pytest.mark.parametrize(("repair", "each"), [("labels", 3), ("distill", 4)])
@pytest.mark.parametrize("noise_steps", [0, 5])
def test_the_passes_of_unsir_are_those_of_the_definition(repair, each, noise_steps):
    method = UNSIR(noise=0.5, copies=4, noise_steps=noise_steps, impair_epochs=2, repair=repair, repair_epochs=3, batch=16, floor=0)
    result = unlearn(mlp(), small_split(), method)
    kept = 60
    count, distinct = 30, 8  # half a noise image for each retained sample, each of them four times
    assert result.trace["impair"].passes == 2 * (kept + count) * 3
    assert result.trace["repair"].passes == 3 * kept * each
    if noise_steps:
        assert result.trace["noise"].passes == noise_steps * distinct * 2
    assert result.passes == sum(p.passes for p in result.trace.values())
    assert all(p.seconds > 0 for p in result.trace.values() if p.steps)
    assert sum(p.seconds for p in result.trace.values()) <= result.seconds


def test_predict_answers_in_order_and_leaves_the_modes():
    module, samples = mlp(dropout=0.5), blobs(37)
    module.train()
    module[1].eval()
    with torch.no_grad():
        wanted = copy.deepcopy(module).eval()(samples.batch(torch.arange(37))[0])
    before = copy.deepcopy(module)
    for size in (5, 37, 500):
        out, labels, read = predict(Network(module), samples, batch=size, features=True)
        torch.testing.assert_close(out, wanted)
        assert labels.tolist() == samples.y.tolist()
        torch.testing.assert_close(read @ module[4].weight.detach().T + module[4].bias.detach(), wanted)
    assert same(module, before)
    assert [m.training for m in module.modules()] == [m.training for m in before.modules()]


# Seeds


def random_states():
    return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()


def test_the_callers_random_state_is_neither_used_nor_moved():
    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = random_states()
        ends.append(unlearn(mlp(dropout=0.3), small_split(), UNSIR(batch=16, floor=0)).model)
        after = random_states()
        assert torch.equal(before[0], after[0])
        assert np.array_equal(before[1], after[1])
        assert before[2] == after[2]
    assert same(*ends)
    assert not same(ends[0], unlearn(mlp(dropout=0.3), small_split(), UNSIR(batch=16, floor=0), seed=1).model)


def test_a_run_that_fails_leaves_the_callers_random_state_and_no_run():
    before = torch.get_rng_state()
    with pytest.raises(Diverged):
        unlearn(mlp(), small_split(), NegGrad(lr=1e30, epochs=9, batch=8))
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(RuntimeError, match="no run is going on"):
        current()


def test_dropout_draws_from_the_calls_own_stream():
    """What a method draws between two calls does not depend on what the calls drew."""

    def draws(dropout):
        network = Network(mlp(dropout))
        with seeded(3):
            out = [torch.rand(2)]
            for _ in range(2):
                fit(network, blobs(), phase="p", lr=0.01, epochs=1, batch=16)
                out.append(torch.rand(2))
        return torch.stack(out)

    assert torch.equal(draws(0.0), draws(0.5))
    assert len(torch.unique(draws(0.0))) == 6


# NaN


def test_a_run_to_nan_is_named_and_leaves_no_gradient():
    module = mlp()
    network = Network(module)
    with seeded(0), pytest.raises(Diverged, match=r"climb: .* lower its learning rate"):
        minimize(lambda x, y: -F.cross_entropy(network(x), y), network.parameters(), blobs().batches(16, epochs=20), phase="climb", lr=1e30, optimizer="sgd")
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("error", [Diverged, KeyboardInterrupt, ValueError])
def test_an_end_in_the_middle_leaves_no_gradient(error):
    module = mlp()
    network = Network(module)
    module[0].weight.requires_grad_(False)
    steps = []

    def loss(x, y):
        steps.append(1)
        if len(steps) == 3:
            raise error("stop")
        return F.cross_entropy(network(x), y)

    with seeded(0), pytest.raises(error):
        minimize(loss, network.parameters(), blobs().batches(16, epochs=2), phase="p", lr=0.01)
    assert all(p.grad is None for p in module.parameters())


def test_a_weight_that_overflows_is_seen_where_its_loss_was_finite():
    weight = torch.tensor([1.0], requires_grad=True)
    with seeded(0), pytest.raises(Diverged, match="a weight went to NaN or infinity within 1 steps"):
        minimize(lambda x, y: weight.sum() * 1e30, [weight], Samples(torch.zeros(2, 1), [0, 0]).batches(2), phase="p", lr=1e30, optimizer="sgd")


def test_the_given_model_is_untouched_by_a_run_to_nan():
    module = mlp()
    module[1].eval()
    before = copy.deepcopy(module)
    with pytest.raises(Diverged):
        unlearn(module, small_split(), UNSIR(noise_lr=1e30, batch=16, floor=0))
    assert same(module, before)
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert [m.training for m in module.modules()] == [m.training for m in before.modules()]
    assert torch.is_grad_enabled()


# A killed run goes on


class Killed(BaseException):
    """As sudden as a signal: nothing that catches Exception sees it."""


def kill_at(phase, step, seen=None):
    def progress(name, at, steps):
        if seen is not None:
            seen.append((name, at))
        if (name, at) == (phase, step):
            raise Killed

    return progress


LONG = UNSIR(noise=0.5, copies=3, noise_steps=120, impair_epochs=3, repair_epochs=3, batch=2, floor=0)
"""Long calls of 120, 135 and 90 steps, which keep where they stand within them as well."""


class Tiny:
    """A recipe whose network has dropout and BatchNorm."""

    def build(self):
        return mlp(dropout=0.4, seed=9)

    def train(self, model, samples):
        return fit(model, samples, phase="train", lr=0.05, epochs=4, batch=2, optimizer="sgd", weight_decay=1e-3, schedule="onecycle")


def long_run(method=LONG, **how):
    return unlearn(mlp(dropout=0.4), small_split(), method, recipe=Tiny(), **how)


@pytest.fixture(autouse=True)
def saved_at_every_look(monkeypatch):
    """A state is saved wherever it may be, whatever that costs."""
    monkeypatch.setattr(resume, "WORTH", 0.0)


@pytest.fixture(scope="module")
def unbroken():
    return {name: long_run(method) for name, method in (("unsir", LONG), ("retrain", Retrain()), ("finetune", FineTune(batch=2, epochs=4, lr=0.001)))}


KILLS = [
    ("noise", 1),
    ("noise", 50),
    ("noise", 51),
    ("noise", 77),
    ("noise", 120),
    ("impair", 1),
    ("impair", 90),
    ("impair", 91),
    ("impair", 135),
    ("repair", 1),
    ("repair", 61),
    ("repair", 89),
    ("repair", 90),
]


@pytest.mark.parametrize("kill", one_in(3, KILLS), ids=lambda kill: f"{kill[0]}-{kill[1]}")
def test_a_killed_run_ends_in_the_same_bits(kill, unbroken, tmp_path):
    whole = unbroken["unsir"]
    with pytest.raises(Killed):
        long_run(store=tmp_path, progress=kill_at(*kill))
    seen = []
    again = long_run(store=tmp_path, progress=kill_at(None, None, seen))
    assert same(again.model, whole.model)
    assert {n: (p.losses, p.steps, p.passes) for n, p in again.trace.items()} == {n: (p.losses, p.steps, p.passes) for n, p in whole.trace.items()}
    assert again.passes == whole.passes
    # It goes on, and does not begin anew: work that was kept is not done twice.
    order = ["noise", "impair", "repair"]
    every = {"noise": 50, "impair": 90, "repair": 60}[kill[0]]
    done = (kill[1] - 1) // every * every
    assert seen[0] == (kill[0], done + 1)
    assert {name for name, _ in seen} == set(order[order.index(kill[0]) :])


@pytest.mark.slow
@settings(deadline=None, max_examples=6, derandomize=True)
@given(kills=st.lists(st.tuples(st.sampled_from(["noise", "impair", "repair"]), st.integers(1, 130)), min_size=2, max_size=5))
def test_a_run_killed_again_and_again_ends_in_the_same_bits(kills, unbroken, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    for kill in kills:
        try:
            long_run(store=folder, progress=kill_at(*kill))
        except Killed:
            continue
    assert same(long_run(store=folder).model, unbroken["unsir"].model)


@pytest.mark.parametrize(("name", "phase", "step"), [("retrain", "train", 71), ("finetune", "finetune", 75)])
def test_sgd_with_momentum_and_a_schedule_goes_on_too(name, phase, step, unbroken, tmp_path):
    method = unbroken[name].method
    with pytest.raises(Killed):
        long_run(method, store=tmp_path, progress=kill_at(phase, step))
    seen = []
    again = long_run(method, store=tmp_path, progress=kill_at(None, None, seen))
    assert same(again.model, unbroken[name].model)
    assert seen[0] == (phase, 61)


def test_a_run_whose_disk_is_full_for_a_while_ends_in_the_same_bits(unbroken, tmp_path, monkeypatch):
    writes, write = [], files.write

    def full(path, data):
        writes.append(path)
        if len(writes) in (2, 5):
            raise Resources("full")
        write(path, data)

    monkeypatch.setattr(files, "write", full)
    for _ in range(2):
        with pytest.raises(Resources):
            long_run(store=tmp_path)
    assert same(long_run(store=tmp_path).model, unbroken["unsir"].model)


def test_another_seed_does_not_come_from_the_folder_by_accident(unbroken, tmp_path):
    """A folder of its own for each run: without one, nothing is kept."""
    long_run(seed=0)
    assert not list(tmp_path.iterdir())
    assert not same(long_run(seed=1).model, unbroken["unsir"].model)


def test_optimizers_do_torchs_own_arithmetic_to_the_bit() -> None:
    """They only leave out the detours to the compiler."""
    for kind, how in ((torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}), (torch.optim.Adam, {"lr": 0.1, "weight_decay": 5e-4})):
        ended = []
        for made in (lean(kind), kind):
            torch.manual_seed(0)
            weight = torch.randn(5, 3, requires_grad=True)
            optimizer = made([weight], **how)
            for _ in range(3):
                weight.grad = torch.randn(5, 3)
                optimizer.step()
            again = made([weight], **how)
            again.load_state_dict(optimizer.state_dict())
            weight.grad = torch.randn(5, 3)
            again.step()
            ended.append(weight.detach().clone())
        assert torch.equal(*ended)


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "all at once, as on a GPU"])
def test_weights_that_are_added_move_alike_and_as_far_as_each_alone(at_once, monkeypatch):
    """Their gradient is one tensor, which on a GPU Nesterov's momentum was added to once for each of them."""
    monkeypatch.setattr(sys.modules["torch.optim.sgd"], "_default_to_fused_or_foreach", lambda *_, **__: (False, at_once))
    ends = []
    for number in (1, 2):
        weights = [torch.ones(3, requires_grad=True) for _ in range(number)]
        with seeded(0):
            batches = Samples(torch.arange(12.0)[:, None].expand(12, 3), [0] * 12).batches(4)
            minimize(lambda x, y, weights=weights: (x * sum(weights)).sum(1).mean(), weights, batches, phase="p", lr=0.1, optimizer="sgd")
        ends += weights
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[1], ends[2])


def test_a_run_does_not_import_the_compiler() -> None:
    """Fault 53: 824 modules at the first step, and as much time as torch itself takes."""
    code = """
import sys, untrain
data = untrain.load("digits")
split = untrain.Split.by_class(data.train.first(4), data.test.first(2), forget=[3])
for method in (untrain.FineTune(epochs=1), untrain.NegGrad(epochs=1)):
    untrain.unlearn(untrain.load_model("digits"), split, method).marks
assert "torch._dynamo" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
