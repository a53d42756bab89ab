"""NegGrad, broken."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

from mutants.breaking import bent, breaks
from untrain.checks.of import neggrad as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace, minimize
from untrain.methods import neggrad
from untrain.methods.neggrad import NegGrad


@breaks(laws.check_the_climb_is_the_naive_loop)
@dataclass(frozen=True)
class ClimbsInEvaluationMode(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_climb_is_the_naive_loop)
@dataclass(frozen=True)
class ClimbsTheSum(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with bent("cross_entropy", lambda real: lambda out, y: real(out, y, reduction="sum")):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_climb_is_the_naive_loop)
@dataclass(frozen=True)
class DividesByTheSizeOfWholeBatches(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with bent("cross_entropy", lambda real: lambda out, y: real(out, y, reduction="sum") / self.batch):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_climb_is_the_naive_loop)
@dataclass(frozen=True)
class ClimbsWithDecay(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(neggrad, "minimize", lambda *args, **how: minimize(*args, **how, weight_decay=5e-4)):
            return super().__call__(model, forget=forget)
