"""DELETE, broken."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import bent, breaks, turned
from untrain import checks
from untrain.checks.of import delete as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace, minimize
from untrain.methods import delete
from untrain.methods.delete import DELETE


@breaks(laws.check_the_target_is_what_is_left_of_the_answer)
@dataclass(frozen=True)
class TeachesTheLabel(DELETE):
    def target(self, logits: Tensor, y: Tensor) -> Tensor:
        return torch.softmax(logits, 1)


@breaks(laws.check_the_target_is_what_is_left_of_the_answer)
@dataclass(frozen=True)
class TeachesLessThanAll(DELETE):
    def target(self, logits: Tensor, y: Tensor) -> Tensor:
        return torch.softmax(logits, 1).scatter(1, y[:, None], 0.0)


@breaks(laws.check_the_target_is_what_is_left_of_the_answer)
@dataclass(frozen=True)
class TeachesAllTheRestAlike(DELETE):
    def target(self, logits: Tensor, y: Tensor) -> Tensor:
        return super().target(torch.zeros_like(logits), y)


@breaks(laws.check_the_target_is_what_is_left_of_the_answer)
@dataclass(frozen=True)
class TeachesALittleOfTheLabel(DELETE):
    def target(self, logits: Tensor, y: Tensor) -> Tensor:
        return torch.softmax(logits.scatter_add(1, y[:, None], torch.full_like(logits[:, :1], -20.0)), 1)


@breaks(laws.check_it_is_the_naive_loop)
@dataclass(frozen=True)
class DistilsFromItself(DELETE):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(Network, "teacher", lambda self: self):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_is_the_naive_loop)
@dataclass(frozen=True)
class DistilsFromSharedWeights(DELETE):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch("untrain.core.network.copy.deepcopy", copy.copy):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_is_the_naive_loop)
@dataclass(frozen=True)
class DistilsInEvaluationMode(DELETE):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(Network, "train", Network.eval):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_is_the_naive_loop)
@dataclass(frozen=True)
class DistilsWithDecay(DELETE):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(delete, "minimize", lambda *args, **how: minimize(*args, **how, weight_decay=5e-4)):
            return super().__call__(model, forget=forget)


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class DistilsUpwards(DELETE):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with bent("kl_div", turned):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_is_the_naive_loop)
@dataclass(frozen=True)
class RulesOutWhatTheOriginalSays(DELETE):
    def target(self, logits: Tensor, y: Tensor) -> Tensor:
        return super().target(logits, logits.argmax(1))
