"""Shrink, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import shrink as laws
from untrain.core.data import Inputs, Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.shrink import Shrink


@breaks(laws.check_the_label_is_the_nearest_wrong_class)
@dataclass(frozen=True)
class TakesTheLargestAnswerOfAll(Shrink):
    """As the published code."""

    def nearest(self, teacher: Network, x: Inputs, y: Tensor) -> Tensor:
        with mock.patch.object(torch.Tensor, "scatter", lambda answer, *args: answer):
            return super().nearest(teacher, x, y)


@breaks(laws.check_the_label_is_the_nearest_wrong_class)
@dataclass(frozen=True)
class StepsDownTheLoss(Shrink):
    def nearest(self, teacher: Network, x: Inputs, y: Tensor) -> Tensor:
        with bent("cross_entropy", turned):
            return super().nearest(teacher, x, y)


@breaks(laws.check_the_label_is_the_nearest_wrong_class)
@dataclass(frozen=True)
class TakesNoStep(Shrink):
    def nearest(self, teacher: Network, x: Inputs, y: Tensor) -> Tensor:
        return Shrink.nearest(replace(self, bound=0.0), teacher, x, y)


@breaks(laws.check_the_shrinking_is_a_plain_loop)
@dataclass(frozen=True)
class AsksTheStudentForTheNearest(Shrink):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "teacher", return_value=model):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_shrinking_is_a_plain_loop)
@dataclass(frozen=True)
class ShrinksInEvaluationMode(Shrink):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_label_is_the_nearest_wrong_class)
@dataclass(frozen=True)
class ClimbsFromWhatTheOriginalSays(Shrink):
    def nearest(self, teacher: Network, x: Inputs, y: Tensor) -> Tensor:
        return super().nearest(teacher, x, teacher(x).argmax(1))
