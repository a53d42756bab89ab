"""WDR, broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import wdr as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import wdr
from untrain.methods.wdr import WDR


@breaks(laws.check_it_ends_farther_from_the_old_weights)
@dataclass(frozen=True)
class PullsToTheOldWeights(WDR):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        real = wdr.distance
        with mock.patch.object(wdr, "distance", lambda w, o, *, turned: -real(w, o, turned=turned)):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_regularised_training_is_the_naive_loop)
@dataclass(frozen=True)
class PaysForLength(WDR):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        real = wdr.distance
        with mock.patch.object(wdr, "distance", lambda w, o, *, turned: real(w, o, turned=False)):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_regularised_training_is_the_naive_loop)
@dataclass(frozen=True)
class OldWeightsMoveAlong(WDR):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        real = wdr.distance

        def beside(weights: Sequence[Tensor], old: Sequence[Tensor], *, turned: bool) -> Tensor:
            return real(weights, [w.detach() for w in weights], turned=turned)

        with mock.patch.object(wdr, "distance", beside):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_regularised_training_is_the_naive_loop)
@dataclass(frozen=True)
class RegularisesInEvaluationMode(WDR):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, retain=retain)


@breaks(laws.check_its_distance_is_of_directions_and_drives_away)
@dataclass(frozen=True)
class IsPaidForLonger(WDR):
    def away(self, weights: Sequence[Tensor], old: Sequence[Tensor]) -> Tensor:
        return wdr.distance(weights, old, turned=False)


@breaks(laws.check_its_distance_is_of_directions_and_drives_away)
@dataclass(frozen=True)
class DrivesBack(WDR):
    def away(self, weights: Sequence[Tensor], old: Sequence[Tensor]) -> Tensor:
        return -super().away(weights, old)
