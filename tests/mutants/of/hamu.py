"""HAMU and the rules beside it, broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from unittest import mock

from torch import Tensor

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import hamu as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import hamu
from untrain.methods.hamu import HAMU


@breaks(laws.check_its_step_is_the_best_feasible_one)
@dataclass(frozen=True)
class AsksForHalfTheQuota(HAMU):
    def direction(self, gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        return [-hamu.hamu_q(r, f, self.quota / 2, self.cap) for r, f in zip(*gradients, strict=True)]


@breaks(laws.check_its_step_is_the_best_feasible_one)
@dataclass(frozen=True)
class ForgetsAndNeverMends(HAMU):
    def direction(self, gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        return [-f * r.norm() / f.norm() for r, f in zip(*gradients, strict=True)]


@breaks(laws.check_its_step_is_the_best_feasible_one)
@dataclass(frozen=True)
class GivesNaNWhereNothingIsFeasible(HAMU):
    def direction(self, gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        return [-(self.quota / f.square().sum() * f + (r.square().sum() - self.quota**2 / f.square().sum()).sqrt() * r / r.norm()) for r, f in zip(*gradients, strict=True)]


@breaks(laws.check_the_other_rules_take_out_conflict)
@dataclass(frozen=True)
class AddsTheConflictAgain(HAMU):
    rule: Any = "pcgrad"

    def direction(self, gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        return [(r - f) / 2 for r, f in zip(*gradients, strict=True)]


@breaks(laws.check_the_other_rules_take_out_conflict)
@dataclass(frozen=True)
class ProjectsTensorByTensor(HAMU):
    rule: Any = "gru"

    def direction(self, gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        return [-hamu.gru(r, f, self.quota, self.cap) for r, f in zip(*gradients, strict=True)]


@breaks(laws.check_the_joint_steps_are_the_naive_loop)
@dataclass(frozen=True)
class PartsExchangedInHAMU(HAMU):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(laws.check_the_joint_steps_are_the_naive_loop)
@dataclass(frozen=True)
class SignOfTheForgottenTurned(HAMU):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_joint_steps_are_the_naive_loop)
@dataclass(frozen=True)
class StepsWithMomentum(HAMU):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = hamu.minimize
        with mock.patch.object(hamu, "minimize", lambda *args, **how: real(*args, **how | {"momentum": 0.9})):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_its_knobs_are_those_of_its_rule)
@dataclass(frozen=True)
class TurnsTheQuotaOfAnotherRule(HAMU):
    rule: Literal["hamu-q", "hamu-u", "pcgrad", "gru"] = "pcgrad"
    knobs: ClassVar = {"remembers": {"quota": +1}}
