"""SSD, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import ssd as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace
from untrain.methods.ssd import SSD


@breaks(laws.check_a_weight_is_dampened_by_what_its_importances_say)
@dataclass(frozen=True)
class ImportanceInverted(SSD):
    alpha: float = 1.0

    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        found, done = super().importance(model, samples)
        return [1 / (value + 1e-12) for value in found], done


@breaks(laws.check_a_weight_is_dampened_by_what_its_importances_say)
@dataclass(frozen=True)
class TakesRootsForSquares(SSD):
    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        found, done = super().importance(model, samples)
        return [value.sqrt() for value in found], done


@breaks(laws.check_a_weight_is_dampened_by_what_its_importances_say)
@dataclass(frozen=True)
class DampensInTrainingMode(SSD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(Network, "eval", Network.train):
            return replace(SSD(), each=False, batch=1).__call__(model, forget=forget, retain=retain)


@breaks(laws.check_a_weight_is_dampened_by_what_its_importances_say)
@dataclass(frozen=True)
class MeasuresForgetForRetain(SSD):
    alpha: float = 1.0

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(laws.check_the_size_and_the_order_of_batches_are_nothing_to_it)
@dataclass(frozen=True)
class SquaresTheMeanOfABatch(SSD):
    alpha: float = 2.0

    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        return replace(SSD(), each=False, batch=self.batch).importance(model, samples)


@breaks(laws.check_the_size_and_the_order_of_batches_are_nothing_to_it)
@dataclass(frozen=True)
class MeasuresTheFirstBatch(SSD):
    alpha: float = 2.0

    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        return super().importance(model, samples[: self.batch])


@breaks(laws.check_no_weight_grows)
@dataclass(frozen=True)
class EnlargesWeights(SSD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(torch.Tensor, "clamp", lambda value, max: value.clamp_min(2.0)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_no_weight_grows)
@dataclass(frozen=True)
class FindsAllAlike(SSD):
    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        found, done = super().importance(model, samples)
        return [torch.ones_like(value) for value in found], done


@breaks(laws.check_a_part_of_all_data_is_taken_of_every_class)
@dataclass(frozen=True)
class TakesTheFirstOfTheForgotten(SSD):
    def others(self, forget: Samples, retain: Samples) -> Samples:
        kept = retain.at_most(self.samples)
        return kept + forget[: round(len(forget) * len(kept) / len(retain))] if self.over == "all" else kept


@breaks(laws.check_a_weight_is_dampened_by_what_its_importances_say)
@dataclass(frozen=True)
class ScalesByMoreThanOne(SSD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(torch.Tensor, "clamp", lambda value, max: value):
            return super().__call__(model, forget=forget, retain=retain)
