"""PGU, broken."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

import torch.nn.functional as F
from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import pgu as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import pgu
from untrain.methods.pgu import PGU


@breaks(laws.check_what_the_retained_excite_stays)
@dataclass(frozen=True)
class KeepsOffTheForgotten(PGU):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = pgu.second_moments
        with mock.patch.object(pgu, "second_moments", lambda model, found, samples: real(model, found, forget)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_what_the_retained_excite_stays)
@dataclass(frozen=True)
class UnlearnsWithDecay(PGU):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = pgu.minimize
        with mock.patch.object(pgu, "minimize", lambda *args, **how: real(*args, weight_decay=0.05, **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_its_loss_is_bounded_and_its_slope_too)
@dataclass(frozen=True)
class ClimbsWithoutBound(PGU):
    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return -F.cross_entropy(logits, y)


@breaks(laws.check_the_unlearning_is_the_naive_loop)
@dataclass(frozen=True)
class FlattensItsAnswers(PGU):
    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        said = F.log_softmax(logits, 1)
        return super().loss(logits, y) + 2 * self.entropy * (said.exp() * said).sum(1).mean()


@breaks(laws.check_the_unlearning_is_the_naive_loop)
@dataclass(frozen=True)
class NeverSlowsDown(PGU):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = pgu.minimize
        with mock.patch.object(pgu, "minimize", lambda *args, schedule, **how: real(*args, **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_unlearning_is_the_naive_loop)
@dataclass(frozen=True)
class UnlearnsWithMomentum(PGU):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = pgu.minimize
        with mock.patch.object(pgu, "minimize", lambda *args, momentum, **how: real(*args, momentum=0.5, **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_unlearning_is_the_naive_loop)
@dataclass(frozen=True)
class WeighsASmallBatchLessThanOthers(PGU):
    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return super().loss(logits, y) * len(y) / self.batch
