"""Attack: on networks whose truth is known the six attacks, the band, the way to the original and the angles of filters say it."""

from __future__ import annotations

import copy
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from blobs import blobs, masked_at, taught
from untrain.audits.attack import Attack
from untrain.core.audit import Finding, Value, audit
from untrain.core.data import Samples, Split
from untrain.core.engine import seeded
from untrain.core.errors import Diverged
from untrain.core.network import Network
from untrain.core.relearning import places, relearned
from untrain.metrics.recovery import turned

GONE = 2
FEW = replace(Attack(), steps=6, every=3, rates=2, probes=60)
BARRIER, TURNED = "loss barrier to the original", "filters turned from the original's"


@pytest.fixture(scope="module")
def split():
    return Split.by_class(blobs(300, 0), blobs(300, 1), forget=[GONE])


@pytest.fixture(scope="module")
def original(split):
    return taught(split.forget + split.retain, 0)


@pytest.fixture(scope="module")
def retrained(split):
    return [taught(split.retain, 10 + i) for i in range(4)]


@pytest.fixture(scope="module")
def masked(original):
    return masked_at(original, GONE)


@pytest.fixture(scope="module")
def entry(split, original, retrained, masked):
    (entry,) = audit(retrained[0], split, [FEW], original=original, retrained=retrained[1:], controls={"masked": masked})
    return entry


@pytest.fixture(scope="module")
def table(entry):
    return {row["name"]: {column: [v["value"] for v in values] for column, values in row["values"].items()} for row in entry["rows"]}


@pytest.fixture(scope="module")
def figures(entry):
    return {figure["name"]: figure["series"] for figure in entry["figures"]}


def test_what_hides_comes_back_at_once_and_what_was_never_there_does_not(table):
    kept, drawn = table["worst relearning recall"], table["worst relearning recall, row drawn"]
    honest = [*kept["unlearned"], *kept["retrained"]], [*drawn["unlearned"], *drawn["retrained"]]
    assert kept["original"][0] > max(honest[0]) + 0.2
    assert drawn["original"][0] > max(honest[1])
    # A mask on the head is seen through as soon as the row is drawn anew, and by then it is the original itself.
    assert drawn["masked"] == drawn["original"]
    assert kept["masked"] == [0]


def test_the_worst_is_the_attack_with_the_largest_area(table, figures):
    for how in ("", ", row drawn"):
        for column, bars in figures[f"attacks{how}"].items():
            for i, areas in enumerate(bars):
                assert len(areas) == 4
                assert table[f"worst relearning recall{how}"][column][i] == max(areas.values())
                assert fmean(figures[f"worst attack{how}"][column][i]["y"]) == pytest.approx(max(areas.values()))
                assert figures[f"worst attack{how}"][column][i]["x"] == [0, 3, 6]
    # They are four attacks, and not one under four names.
    assert len(set(figures["attacks, row drawn"]["original"][0].values())) > 2
    assert Attack().attacks() == [(kind, pytest.approx(lr)) for kind, middle in (("sgd", 0.03), ("adam", 0.003)) for lr in (middle / 3, middle, middle * 3)]


def test_the_band_is_that_of_a_prediction_and_has_two_sides(table):
    """By scipy's t: a value beyond what the others leave for one more of them, above and below, and the farther of the two rows counts."""

    def finding(kept, drawn):
        return Finding({"worst relearning recall": Value(kept), "worst relearning recall, row drawn": Value(drawn)})

    retrained = [finding(0.2 + 0.02 * i, 0.6 + 0.03 * i * i) for i in range(4)]
    found = {"original": [finding(0.9, 0.5)], "low": [finding(0.0, 0.1)], "within": [finding(0.21, 0.7)], "retrained": retrained}
    Attack().beside(found)
    ends = []
    for name in ("worst relearning recall", "worst relearning recall, row drawn"):
        theirs = [f.values[name].value for f in retrained]
        ends.append(stats.t.interval(0.95, len(theirs) - 1, fmean(theirs), stdev(theirs) * (1 + 1 / len(theirs)) ** 0.5))
    said = {c: [found[c][0].values[n].value for n in ("above the retrained models' band", "over-scrubbed")] for c in ("original", "low", "within")}
    assert said["original"] == pytest.approx([0.9 - ends[0][1], 0])
    assert said["low"] == pytest.approx([0, max(ends[0][0] - 0.0, ends[1][0] - 0.1)])
    assert said["within"] == [0, 0]
    assert table["above the retrained models' band"]["original"][0] > 0.1
    assert len(table["over-scrubbed"]["retrained"]) == 3


def test_an_attack_that_goes_to_infinity_takes_no_other_with_it(split, original):
    asked = replace(FEW, sgd=1e12)
    (entry,) = audit(original, split, [asked])
    (bars,) = next(f for f in entry["figures"] if f["name"] == "attacks")["series"]["unlearned"]
    assert bars
    assert all(name.startswith("adam") for name in bars)
    with pytest.raises(Diverged):
        audit(original, split, [replace(asked, adam=1e30)])


def test_of_one_retrained_model_there_is_no_band(split, original, retrained):
    (entry,) = audit(original, split, [replace(FEW, steps=1, points=1)], original=original, retrained=retrained[:1])
    assert not {row["name"] for row in entry["rows"]} & {"above the retrained models' band", "over-scrubbed"}


def test_units_written_larger_are_attacked_alike_by_both_optimizers(split, original):
    other = copy.deepcopy(original)
    scale = 2.0 ** torch.randint(-6, 7, (64,), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        other[0].weight.mul_(scale[:, None])
        other[0].bias.mul_(scale)
        other[2].weight.div_(scale)
    one, two = (audit(m, split, [FEW])[0]["figures"] for m in (original, other))
    for a, b in zip(one, two, strict=True):
        if a["kind"] == "bars":
            assert b["series"]["unlearned"][0] == pytest.approx(a["series"]["unlearned"][0], abs=0.02), a["name"]


def test_the_barrier_is_that_of_a_loop(split, original, retrained, table, figures):
    """No barrier to itself; to networks that were trained apart one over the ends, as a plain loop finds it."""
    known = split.retain.at_most(FEW.path)
    x, y = known.batch(torch.arange(len(known)))
    assert table[BARRIER]["original"] == [0]
    assert table[TURNED]["original"] == [0]
    for module, found in zip(retrained[1:], table[BARRIER]["retrained"], strict=True):
        losses = []
        for share in np.linspace(0, 1, FEW.points + 1):
            between = copy.deepcopy(module)
            for p, q in zip(between.parameters(), original.parameters(), strict=True):
                p.data = (1 - share) * p.data + share * q.data
            losses.append(float(F.cross_entropy(between(x).detach().double(), y)))
        assert found == pytest.approx(max(losses) - (losses[0] + losses[-1]) / 2, rel=1e-4)
        assert found > 0.1
    assert figures["way to the original"]["retrained"][-1]["y"] == pytest.approx(losses, rel=1e-4)


def test_batchnorm_stands_in_no_way_of_its_own(split):
    """Two halves of one network, the filters of one shrunk to a half: with statistics renewed at each point all of the way answers alike."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original = nn.Sequential(nn.Linear(24, 32, bias=False), nn.BatchNorm1d(32, eps=1e-12), nn.ReLU(), nn.Linear(32, 4)).eval()
    shrunk = copy.deepcopy(original)
    shrunk[0].weight.data *= 0.5
    (entry,) = audit(shrunk, split, [replace(FEW, steps=1)], original=original)
    values = {row["name"]: row["values"]["unlearned"][0]["value"] for row in entry["rows"]}
    assert values[BARRIER] == pytest.approx(0, abs=1e-4)
    assert values[TURNED] == pytest.approx(0, abs=1e-9)


def test_other_layers_have_no_straight_way(split, original):
    (entry,) = audit(taught(split.retain, 3, steps=1, width=8), split, [replace(FEW, steps=1)], original=original)
    assert "unlearned" not in {c for row in entry["rows"] if row["name"] in (BARRIER, TURNED) for c, v in row["values"].items() if v}


def test_filters_are_compared_by_their_angle():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3, 2, 2)), rng.normal(size=(5, 3, 2, 2))
    wanted = [1 - np.dot(p.ravel(), q.ravel()) / np.linalg.norm(p) / np.linalg.norm(q) for p, q in zip(a, b, strict=True)]
    assert turned(torch.tensor(a), torch.tensor(b)).tolist() == pytest.approx(wanted)
    scale = torch.tensor([0.5, 2.0, 1e-6, 1e6, 1.0]).view(-1, 1, 1, 1)
    assert turned(torch.tensor(a) * scale, torch.tensor(b)).tolist() == pytest.approx(wanted)
    nothing = torch.zeros(2, 3)
    assert turned(nothing, nothing).tolist() == [0, 0]
    assert turned(nothing, torch.ones(2, 3)).tolist() == [1, 1]


class Shared(nn.Module):
    """Its first layer and its head have one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
        self.head.weight = self.first.weight

    def forward(self, x):
        return self.head(torch.relu(self.first(x)))


@pytest.mark.parametrize("rows", ["mean", "drawn"])
def test_rows_of_a_head_that_shares_its_weight_begin_anew(rows):
    torch.manual_seed(0)
    module, x = Shared(), torch.randn(40, 4)
    begun, samples = module.head.weight.detach().clone(), Samples(x, torch.arange(40) % 4)
    with seeded(0):
        relearned(Network(module), samples, torch.empty(0, 4, dtype=torch.long), samples, (GONE,), rows=rows, every=1, lr=0.1, optimizer="sgd")
    stay = [0, 1, 3]
    assert module.first.weight is module.head.weight
    assert torch.equal(module.head.weight[stay], begun[stay])
    assert not torch.equal(module.head.weight[GONE], begun[GONE])
    assert rows == "drawn" or torch.allclose(module.head.weight[GONE], begun[stay].mean(0))


def test_batches_may_be_of_the_forgotten_alone():
    order = places(5, 7, steps=4, batch=3, share=1.0)
    assert order.shape == (4, 3)
    assert sorted(order.flatten()[:5].tolist()) == list(range(5))
    assert places(5, 7, steps=4, batch=1, share=0.1).shape == (4, 1)
