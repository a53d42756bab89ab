"""LoTUS, broken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain.checks.of import lotus as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.lotus import LoTUS


@breaks(laws.check_the_temperature_follows_accuracy_and_the_end_is_not_rounded)
@dataclass(frozen=True)
class RoundsTheAccuracy(LoTUS):
    """As published code: 0.59 and 0.5951 are one."""

    def temperature(self, named: float) -> float | None:
        return super().temperature(round(named, 2))


@breaks(laws.check_the_temperature_follows_accuracy_and_the_end_is_not_rounded)
@dataclass(frozen=True)
class SurerTheMoreAreNamed(LoTUS):
    def temperature(self, named: float) -> float | None:
        told = super().temperature(named)
        return None if told is None else 1 / told


@breaks(laws.check_it_ends_where_it_says)
@dataclass(frozen=True)
class NeverEnds(LoTUS):
    def temperature(self, named: float) -> float | None:
        return math.exp(self.alpha * (named - self.goal))


@breaks(laws.check_the_targets_are_those_of_a_plain_loop)
@dataclass(frozen=True)
class LoTUSTeachesItself(LoTUS):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(model, "teacher", return_value=model):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_targets_are_those_of_a_plain_loop)
@dataclass(frozen=True)
class UnsettlesTheKept(LoTUS):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = torch.where
        with mock.patch.object(torch, "where", lambda asked, one, two: real(asked, two, one)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_targets_are_those_of_a_plain_loop)
@dataclass(frozen=True)
class WithoutNoise(LoTUS):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(torch.Tensor, "exponential_", lambda tensor: tensor.fill_(1.0)):
            return super().__call__(model, forget=forget, retain=retain)
