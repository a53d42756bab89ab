"""MUMis, broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest import mock

from mutants.breaking import breaks
from untrain.checks.of import mumis as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import mumis
from untrain.methods.mumis import MUMis


@breaks(laws.check_the_hold_of_the_input_on_the_true_logit_falls)
@dataclass(frozen=True)
class StrengthensTheHold(MUMis):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        real = mumis.minimize

        def turned(loss: Any, *args: Any, **how: Any) -> Any:
            return real(lambda x, y: -loss(x, y), *args, **how)

        with mock.patch.object(mumis, "minimize", turned):
            return MUMis(lr=1e-3).__call__(model, forget=forget)


@breaks(laws.check_the_suppression_is_the_naive_loop)
@dataclass(frozen=True)
class SuppressesAnotherLogitToo(MUMis):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(mumis, "others", lambda y, among: y):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_suppression_is_the_naive_loop)
@dataclass(frozen=True)
class SuppressesInTrainingMode(MUMis):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "eval", model.train):
            return super().__call__(model, forget=forget)
