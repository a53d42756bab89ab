"""MUNBa, broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import bent, breaks, turned
from untrain import checks
from untrain.checks.of import munba as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import munba
from untrain.methods.munba import MUNBa


@breaks(laws.check_its_weights_solve_the_bargain)
@dataclass(frozen=True)
class PlainSum(MUNBa):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(munba, "bargain", lambda gradients: [a + b for a, b in zip(*gradients, strict=True)]):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_its_weights_solve_the_bargain)
@dataclass(frozen=True)
class WeightsSwapped(MUNBa):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        def swapped(gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
            n, m = (torch.cat([g.reshape(-1) for g in part]).norm() for part in gradients)
            return [g / m + h / n for g, h in zip(*gradients, strict=True)]

        with mock.patch.object(munba, "bargain", swapped):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_its_weights_solve_the_bargain)
@dataclass(frozen=True)
class ForgetGradientOff(MUNBa):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        def alone(gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
            return list(gradients[0])

        with mock.patch.object(munba, "bargain", alone):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_bargain_is_the_naive_loop)
@dataclass(frozen=True)
class BothTurnedRound(MUNBa):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_bargain_is_the_naive_loop)
@dataclass(frozen=True)
class BargainsOverTrueLabels(MUNBa):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(munba, "others", lambda y, among: y):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_bargain_is_the_naive_loop)
@dataclass(frozen=True)
class BargainsTheOtherWayRound(MUNBa):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(laws.check_the_bargain_is_the_naive_loop)
@dataclass(frozen=True)
class NeverClips(MUNBa):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = munba.minimize

        def long(*args: Any, **how: Any) -> Any:
            return real(*args, **how | {"clip": None})

        with mock.patch.object(munba, "minimize", long):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(checks.check_a_clip_of_0_is_none)
@dataclass(frozen=True)
class CutsStepsDownToNothing(MUNBa):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = munba.minimize
        with mock.patch.object(munba, "minimize", lambda *args, clip, **how: real(*args, clip=self.clip, **how)):
            return super().__call__(model, forget=forget, retain=retain)
