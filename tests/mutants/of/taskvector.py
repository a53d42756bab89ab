"""TaskVector, broken."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain.checks.of import taskvector as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import taskvector
from untrain.methods.taskvector import TaskVector


@breaks(laws.check_a_scale_of_nothing_is_the_identity)
@dataclass(frozen=True)
class LeavesTheFineTunedStatistics(TaskVector):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "eval", model.train):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_takes_back_what_its_fine_tunings_agree_on)
@dataclass(frozen=True)
class GoesAlongTheVector(TaskVector):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(taskvector, "consensus", lambda ways: -sum(ways) / len(ways)):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_takes_back_what_its_fine_tunings_agree_on)
@dataclass(frozen=True)
class MergesByTheMeanAlone(TaskVector):
    models: int = 3

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(taskvector, "consensus", lambda ways: torch.stack(list(ways)).mean(0)):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_takes_back_what_its_fine_tunings_agree_on)
@dataclass(frozen=True)
class FineTunesEachFromTheLast(TaskVector):
    models: int = 2

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(torch.nn.Parameter, "copy_", lambda own, other: own):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_takes_back_what_its_fine_tunings_agree_on)
@dataclass(frozen=True)
class FineTunesOnce(TaskVector):
    models: int = 2

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        return TaskVector.__call__(dataclasses.replace(self, models=1), model, forget=forget)
