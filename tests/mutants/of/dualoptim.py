"""DualOptim, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import dualoptim as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace, Turn
from untrain.methods import dualoptim
from untrain.methods.dualoptim import DualOptim


@breaks(laws.check_the_turns_are_a_plain_loop_with_two_optimizers)
@dataclass(frozen=True)
class OneMemoryForBoth(DualOptim):
    optimizer_forget: Any = "sgd"

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = dualoptim.alternate

        def shared(*turns: Turn, rounds: int) -> Trace:
            return real(*(replace(turn, shared="both") for turn in turns), rounds=rounds)

        with mock.patch.object(dualoptim, "alternate", shared):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_turns_are_a_plain_loop_with_two_optimizers)
@dataclass(frozen=True)
class OptimizersExchanged(DualOptim):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = dualoptim.alternate

        def exchanged(one: Turn, two: Turn, *, rounds: int) -> Trace:
            return real(replace(one, optimizer=two.optimizer), replace(two, optimizer=one.optimizer), rounds=rounds)

        with mock.patch.object(dualoptim, "alternate", exchanged):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_turns_are_a_plain_loop_with_two_optimizers)
@dataclass(frozen=True)
class TeachesTheTrueLabel(DualOptim):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        def true(y: Tensor, among: Tensor) -> Tensor:
            return y

        with mock.patch.object(dualoptim, "others", true):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_turns_are_a_plain_loop_with_two_optimizers)
@dataclass(frozen=True)
class DrawsNoLabelAnew(DualOptim):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(dualoptim, "others", lambda y, among: among[0].expand_as(y)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_turns_are_a_plain_loop_with_two_optimizers)
@dataclass(frozen=True)
class EndsWithTheForgotten(DualOptim):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = dualoptim.alternate
        with mock.patch.object(dualoptim, "alternate", lambda *turns, rounds: real(*turns, rounds=self.epochs * len(turns[0].batches))):
            return super().__call__(model, forget=forget, retain=retain)
