"""UNSIR on data of any size: few retained samples are gone over until a floor of steps (fault 52), and many are left as they were, to the bit."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import untrain
from untrain.bench.scenario import Scenario
from untrain.core.data import Samples, Split
from untrain.core.engine import seeded
from untrain.core.errors import BadData
from untrain.core.files import weights_hash
from untrain.core.network import Network
from untrain.core.noise import learned_noise
from untrain.core.site import Site
from untrain.core.unlearn import unlearn
from untrain.methods.neggrad import NegGrad
from untrain.methods.unsir import UNSIR
from untrain.verbs import unlearning as verbs
from untrain.verbs.inputs import Inputs

ROOT = Path(__file__).parents[1]


def points(each: int, classes: int = 4, seed: int = 0) -> Samples:
    """Points in the plane around a corner for each class."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(classes).repeat_interleave(each)
    corners = torch.tensor([[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0], [0.0, -4.0]])
    return Samples(corners[y] + torch.randn(len(y), 2, generator=g), y)


def net() -> nn.Module:
    """A small network with BatchNorm that names the points."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
        x, y = points(100).batch(torch.arange(400))
        adam = torch.optim.Adam(module.parameters(), lr=0.02)
        for _ in range(60):
            adam.zero_grad()
            nn.functional.cross_entropy(module(x), y).backward()  # type: ignore[arg-type]
            adam.step()
    return module


@pytest.mark.parametrize(("each", "classes", "doubted"), [(40, 3, True), (40, 4, False), (2250, 3, False), (2249, 3, True)])
def test_two_classes_that_stay_in_few_images_are_doubted_before_it_starts(each, classes, doubted):
    said = UNSIR().doubts(Split.by_class(points(each, classes), points(2, classes), forget=[1]))
    assert [f"two classes are retained, in {2 * each} images" in sentence and "--repair-lr" in sentence for sentence in said] == [True] * doubted


def test_what_a_method_doubts_is_said_before_it_starts(tmp_path, monkeypatch):
    def stops(self: NegGrad, *args: object, **given: object) -> None:
        raise BadData("it has begun")

    said: list[str] = []
    monkeypatch.setattr(NegGrad, "doubts", lambda self, split: [f"{len(split.retain)} images stay"])
    monkeypatch.setattr(NegGrad, "__call__", stops)
    with pytest.raises(BadData, match="begun"):
        verbs.unlearn(NegGrad(), Inputs(data="digits", model="digits", forget="class:3"), tmp_path / "run", say=said.append)
    assert f"{int((untrain.load('digits').train.y != 3).sum())} images stay" in said


@pytest.mark.parametrize(("side", "weighed"), [(16, 768), (32, 3072), (64, 3072)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_penalty_is_of_3072_numbers_at_most_and_the_error_has_the_sign_that_is_asked_for(side, weighed, sign):
    """Of N(0, 1) a square is 1 on average, and whoever says nothing of four classes errs by log 4."""
    silent = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, 4))
    nn.init.zeros_(silent[1].weight)
    nn.init.zeros_(silent[1].bias)
    with seeded(0):
        values, (phase,) = learned_noise(Site(Network(silent), None, (3, side, side)), points(8), torch.zeros(60, dtype=torch.long), steps=1, lr=0.1, penalty=0.1, sign=sign)
    assert values.shape == (60, 3, side, side)
    assert phase.losses[0] == pytest.approx(0.1 * weighed + sign * math.log(4), rel=0.01)


@pytest.mark.parametrize("kept", [8910, 9000])
@pytest.mark.parametrize("method", [UNSIR(), *UNSIR.presets.values(), UNSIR(repair_epochs=1), UNSIR(noise=0.0, repair_epochs=2)], ids=repr)
def test_the_plan_of_9000_samples_is_as_it_was(method, kept):
    assert method.passes(kept + round(method.noise * kept), method.impair_epochs, method.floor // 6) == (method.impair_epochs, method.batch)
    assert method.passes(kept, method.repair_epochs, method.floor) == (method.repair_epochs, method.batch)


def test_a_run_on_9000_samples_is_as_without_a_floor_to_the_bit():
    split = Split.by_class(points(3000), points(5, seed=1), forget=[1])
    with_it, without = (unlearn(net(), split, method) for method in (UNSIR(), UNSIR(floor=0)))
    assert weights_hash(with_it.model.state_dict()) == weights_hash(without.model.state_dict())
    assert {name: phase.steps for name, phase in with_it.trace.items()} == {"noise": 40, "impair": 56, "repair": 180}


@pytest.mark.parametrize("each", [3, 12, 120])
def test_few_samples_are_gone_over_until_the_floor_in_even_batches(each):
    split = Split.by_class(points(each), points(5, seed=1), forget=[1])
    trace = unlearn(net(), split, UNSIR()).trace
    assert trace["impair"].steps >= 58
    assert trace["repair"].steps >= 350
    for n in (3 * each, 3 * each + round(0.57 * 3 * each)):
        samples = Samples(torch.zeros(n, 1), torch.zeros(n, dtype=torch.long))
        batches = samples.batches(UNSIR().passes(n, 5, 350)[1])
        sizes = [b - a for a, b in zip(batches.cuts, batches.cuts[1:], strict=False)]
        assert min(sizes) >= min(n, 40)


def test_fault_52_a_dozen_images_a_class_are_forgotten():
    """Fault 52: with 36 retained samples the default took 6 steps, and the class could stay as it was."""
    split, test = Split.by_class(points(12), points(50, seed=1), forget=[1]), points(50, seed=1)
    x, y = test.batch(torch.arange(200))

    def share(method: UNSIR) -> tuple[float, float]:
        right = unlearn(net(), split, method).model.eval()(x).argmax(1) == y
        return float(right[y == 1].double().mean()), float(right[y != 1].double().mean())

    gone, kept = share(UNSIR())
    assert gone <= 0.02
    assert kept >= 0.95
    assert share(UNSIR(floor=0))[0] > 0.5


def test_fewer_retained_samples_than_batchnorm_needs_are_refused_before_any_step():
    split = Split.by_class(points(2), points(5, seed=1), forget=[1])
    with pytest.raises(BadData, match=r"6 samples of it are too few for BatchNorm; give 8 or more, or set floor to 0"):
        unlearn(net(), split, UNSIR())
    assert unlearn(net(), split, UNSIR(floor=0)).trace["repair"].steps == 5


def test_a_cell_is_named_as_before_there_was_a_floor_and_one_of_another_floor_otherwise():
    cells = Scenario.read(ROOT / "benchmarks" / "cifar10.toml").cells
    cell = next(c for c in cells if c.setting == "unsir" and c.classes == (3,) and c.inputs.seed == 0 and not c.changes)
    assert (ROOT / "benchmarks" / "records" / "cifar10" / cell.name).is_file()
    assert replace(cell, changes=(("floor", 0),)).name != cell.name


def test_the_page_of_few_images_is_what_its_record_gives(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sizes = importlib.import_module("sizes")
    assert (ROOT / "docs" / "sizes.md").read_text(encoding="utf-8") == sizes.page()


class Shared(nn.Module):
    """A head that has its weight together with an embedding, which goes by the embedding's name."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.mix, self.head = nn.Embedding(4, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.head.weight = self.words.weight

    def forward(self, x):
        return self.head(torch.relu(self.mix(self.words(x).mean(1))))


def test_a_head_that_shares_its_weight_is_not_shrunk():
    assert list(UNSIR(shrink=0.5).body(Network(Shared()))) == ["mix.weight"]
