"""AMUN, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import amun as laws
from untrain.core.data import Inputs, Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import amun
from untrain.methods.amun import AMUN


@breaks(laws.check_each_neighbour_is_misnamed_and_none_nearer_was_found)
@dataclass(frozen=True)
class LabelsNeighboursTruly(AMUN):
    def neighbours(self, model: Network, forget: Samples) -> Samples | None:
        found = super().neighbours(model, forget)
        return found and found.labelled(forget.y[: len(found)])


@breaks(laws.check_each_neighbour_is_misnamed_and_none_nearer_was_found)
@dataclass(frozen=True)
class DescendsInsteadOfClimbing(AMUN):
    def attacked(self, model: Network, x: Inputs, y: Tensor) -> tuple[Tensor, Tensor]:
        with bent("cross_entropy", turned):
            return super().attacked(model, x, y)


@breaks(laws.check_each_neighbour_is_misnamed_and_none_nearer_was_found)
@dataclass(frozen=True)
class BeginsWithTheLargestRadius(AMUN):
    def attacked(self, model: Network, x: Inputs, y: Tensor) -> tuple[Tensor, Tensor]:
        return AMUN.attacked(replace(self, radius=self.radius * 2**self.doublings, doublings=0), model, x, y)


@breaks(laws.check_each_neighbour_is_misnamed_and_none_nearer_was_found)
@dataclass(frozen=True)
class AttacksInTrainingMode(AMUN):
    def attacked(self, model: Network, x: Inputs, y: Tensor) -> tuple[Tensor, Tensor]:
        model.train()
        return super().attacked(model, x, y)


@breaks(laws.check_it_trains_on_the_retained_and_the_neighbours)
@dataclass(frozen=True)
class KeepsTheForgottenUnasked(AMUN):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return AMUN.__call__(replace(self, keep=not self.keep), model, forget=forget, retain=retain)


@breaks(laws.check_it_trains_on_the_retained_and_the_neighbours)
@dataclass(frozen=True)
class LeavesItsNeighboursOut(AMUN):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = amun.fit
        with mock.patch.object(amun, "fit", lambda model, samples, **how: real(model, samples[torch.isin(samples.y, torch.tensor(retain.classes))][:48], **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_each_neighbour_is_misnamed_and_none_nearer_was_found)
@dataclass(frozen=True)
class DoublesOnceLess(AMUN):
    def attacked(self, model: Network, x: Inputs, y: Tensor) -> tuple[Tensor, Tensor]:
        return AMUN.attacked(replace(self, doublings=self.doublings - 1), model, x, y)


@breaks(laws.check_the_fine_tuning_is_the_naive_loop)
@dataclass(frozen=True)
class TunesWithDecay(AMUN):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = amun.fit
        with mock.patch.object(amun, "fit", lambda *args, **how: real(*args, **how, weight_decay=5e-4)):
            return super().__call__(model, forget=forget, retain=retain)
