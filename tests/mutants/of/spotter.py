"""Spotter, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import spotter as laws
from untrain.core.data import Inputs, Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.spotter import Spotter


@breaks(laws.check_the_masked_target_sums_to_one)
@dataclass(frozen=True)
class MasksOneClassOfTwo(Spotter):
    def target(self, logits: Tensor, classes: tuple[int, ...]) -> Tensor:
        return super().target(logits, classes[:1])


@breaks(laws.check_the_masked_target_sums_to_one)
@dataclass(frozen=True)
class MasksAndForgetsToRenormalise(Spotter):
    def target(self, logits: Tensor, classes: tuple[int, ...]) -> Tensor:
        return torch.softmax(logits, 1).index_fill(1, torch.tensor(classes), 0.0)


@breaks(laws.check_dispersion_is_of_pairs_of_one_class)
@dataclass(frozen=True)
class PairsSamplesWithThemselves(Spotter):
    def dispersion(self, features: Tensor, y: Tensor) -> Tensor:
        with mock.patch.object(torch, "eye", lambda n, **how: torch.zeros(n, n, **how)):
            return super().dispersion(features, y)


@breaks(laws.check_dispersion_is_of_pairs_of_one_class)
@dataclass(frozen=True)
class PairsClassesWithEachOther(Spotter):
    def dispersion(self, features: Tensor, y: Tensor) -> Tensor:
        return super().dispersion(features, torch.zeros_like(y))


@breaks(laws.check_neighbours_lie_within_the_radius_on_the_side_that_stays)
@dataclass(frozen=True)
class StepsAwayFromTheOther(Spotter):
    """As the published attack: it adds the slope of the class that it says it goes towards."""

    def near(self, teacher: Network, x: Inputs, classes: tuple[int, ...]) -> Inputs:
        with bent("cross_entropy", turned):
            return super().near(teacher, x, classes)


@breaks(laws.check_neighbours_lie_within_the_radius_on_the_side_that_stays)
@dataclass(frozen=True)
class LooksTwiceAsFar(Spotter):
    def near(self, teacher: Network, x: Inputs, classes: tuple[int, ...]) -> Inputs:
        return Spotter.near(replace(self, radius=2 * self.radius), teacher, x, classes)


@breaks(laws.check_the_forgetting_is_the_naive_loop)
@dataclass(frozen=True)
class GathersFeatures(Spotter):
    def dispersion(self, features: Tensor, y: Tensor) -> Tensor:
        return -super().dispersion(features, y)


@breaks(laws.check_the_forgetting_is_the_naive_loop)
@dataclass(frozen=True)
class FollowsItself(Spotter):
    def __call__(self, model: Network, *, forget: Samples, classes: tuple[int, ...]) -> Trace:
        with mock.patch.object(model, "teacher", return_value=model):
            return super().__call__(model, forget=forget, classes=classes)
