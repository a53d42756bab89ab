"""OPC, broken."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import opc as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.opc import OPC


@breaks(laws.check_the_logits_of_the_forgotten_shrink)
@dataclass(frozen=True)
class ShrinksTheRetained(OPC):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(laws.check_the_contraction_is_the_naive_loop)
@dataclass(frozen=True)
class PushesOut(OPC):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = Tensor.norm
        with mock.patch.object(Tensor, "norm", lambda own, **how: -real(own, **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_contraction_is_the_naive_loop)
@dataclass(frozen=True)
class ContractsInEvaluationMode(OPC):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, forget=forget, retain=retain)
