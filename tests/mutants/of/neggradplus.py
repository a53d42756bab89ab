"""NegGradPlus, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest import mock

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import neggradplus as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.neggradplus import NegGradPlus


@breaks(laws.check_the_difference_is_a_plain_loop)
@dataclass(frozen=True)
class DifferenceTurnedRound(NegGradPlus):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_difference_is_a_plain_loop)
@dataclass(frozen=True)
class ClimbsTheRetained(NegGradPlus):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(laws.check_the_difference_is_a_plain_loop)
@dataclass(frozen=True)
class PartsInEvaluationMode(NegGradPlus):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_difference_is_a_plain_loop)
@dataclass(frozen=True)
class FirstForgottenBatchAlone(NegGradPlus):
    """A loader that is exhausted gives no more."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=forget[: self.batch], retain=retain[: self.batch])


@breaks(laws.check_alpha_is_the_share_of_the_retained)
@dataclass(frozen=True)
class AlphaOfTheForgotten(NegGradPlus):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return NegGradPlus.__call__(replace(self, alpha=1 - self.alpha), model, forget=forget, retain=retain)
