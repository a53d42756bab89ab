"""SCRUB, broken."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import scrub as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace, Turn
from untrain.methods import scrub
from untrain.methods.scrub import SCRUB


@breaks(laws.check_the_two_turns_are_the_naive_loop)
@dataclass(frozen=True)
class ScrubTeacherAliased(SCRUB):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(model, "teacher", return_value=model):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_two_turns_are_the_naive_loop)
@dataclass(frozen=True)
class ScrubTeacherSharesWeights(SCRUB):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        def shallow() -> Network:
            module = copy.copy(model.module)
            module._modules = {name: copy.copy(part) for name, part in module._modules.items()}
            return Network(module.eval())

        with mock.patch.object(model, "teacher", shallow):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_each_max_turn_goes_further_from_the_original)
@dataclass(frozen=True)
class MaxTurnedRound(SCRUB):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("kl_div", turned):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_two_turns_are_the_naive_loop)
@dataclass(frozen=True)
class MinTurnedRound(SCRUB):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_two_turns_are_the_naive_loop)
@dataclass(frozen=True)
class ScrubPartsExchanged(SCRUB):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


def _with_turns(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    return mock.patch.object(scrub, "Turn", lambda **how: Turn(**change(how)))


@breaks(laws.check_the_two_turns_are_the_naive_loop)
@dataclass(frozen=True)
class AnOptimizerEach(SCRUB):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _with_turns(lambda how: how | {"shared": ""}):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_two_turns_are_the_naive_loop)
@dataclass(frozen=True)
class ScrubWithoutWeightDecay(SCRUB):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _with_turns(lambda how: how | {"weight_decay": 0.0}):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_two_turns_are_the_naive_loop)
@dataclass(frozen=True)
class MaxInEveryRound(SCRUB):
    max_epochs: int = 1

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return SCRUB.__call__(replace(self, max_epochs=self.epochs), model, forget=forget, retain=retain)


@breaks(laws.check_the_two_turns_are_the_naive_loop)
@dataclass(frozen=True)
class ScrubInEvaluationMode(SCRUB):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, forget=forget, retain=retain)
