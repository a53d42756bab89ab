"""Fisher, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest import mock

from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import fisher as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace
from untrain.methods import fisher
from untrain.methods.fisher import Fisher


@breaks(laws.check_the_noise_is_what_the_information_says)
@dataclass(frozen=True)
class SquaresMeansOfBatches(Fisher):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        real = fisher.gradients
        with mock.patch.object(fisher, "gradients", lambda *args, **how: real(*args, **how | {"each": False})):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_noise_is_what_the_information_says)
@dataclass(frozen=True)
class OneLabelForAll(Fisher):
    def information(self, model: Network, samples: Samples, label: int) -> tuple[list[Tensor], Phase]:
        return super().information(model, samples, 1)


@breaks(laws.check_the_noise_is_what_the_information_says)
@dataclass(frozen=True)
class NoiseOfTheVariance(Fisher):
    """Without the root."""

    def variance(self, information: Tensor, in_head: bool) -> Tensor:
        return super().variance(information, in_head).square()


@breaks(laws.check_the_noise_is_what_the_information_says)
@dataclass(frozen=True)
class TakesTheHeadForAnyLayer(Fisher):
    def variance(self, information: Tensor, in_head: bool) -> Tensor:
        return super().variance(information, False)


@breaks(laws.check_without_noise_only_rows_of_lost_classes_move)
@dataclass(frozen=True)
class NoiseEvenAtNothing(Fisher):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return Fisher.__call__(replace(self, alpha=self.alpha + 1e-9), model, retain=retain)


@breaks(laws.check_without_noise_only_rows_of_lost_classes_move)
@dataclass(frozen=True)
class KeepsTheRowsOfLostClasses(Fisher):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with mock.patch.object(Samples, "classes", property(lambda samples: tuple(range(5)))):
            return super().__call__(model, retain=retain)
