"""Methods that do to the weights what they should not."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F

from mutants.breaking import bent, breaks, turned
from untrain import checks
from untrain.core.data import Samples
from untrain.core.method import Move
from untrain.core.network import Network
from untrain.core.train import Trace, minimize
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggrad import NegGrad
from untrain.methods.nothing import Nothing


@breaks(checks.check_the_weights_move)
@dataclass(frozen=True)
class OptimizerOverTheWrongModel(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        other, batches = copy.deepcopy(model.module), forget.batches(self.batch, epochs=self.epochs)
        model.train()
        return Trace.of(minimize(lambda x, y: -F.cross_entropy(model(x), y), list(other.parameters()), batches, phase="ascend", lr=self.lr))


@breaks(checks.check_the_weights_move)
@dataclass(frozen=True)
class TrainsACopy(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return super().__call__(Network(copy.deepcopy(model.module)), retain=retain)


@breaks(checks.check_the_weights_move)
@dataclass(frozen=True)
class FrozenForGood(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with model.frozen():
            return super().__call__(model, retain=retain)


@breaks(checks.check_the_weights_move)
@dataclass(frozen=True)
class NothingThatMoves(Nothing):
    def __call__(self, model: Network) -> Trace:
        next(iter(model.parameters())).data.mul_(1.01)
        return Trace()


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class ShakesTheWeightsFirst(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        for weight in model.parameters():
            weight.data.add_(1e-3 * torch.randn_like(weight))
        return super().__call__(model, forget=forget)


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class TakesAStepTooMany(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return FineTune.__call__(replace(self, epochs=self.epochs + 1), model, retain=retain)


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class RefreshesBatchNorm(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        trace = super().__call__(model, retain=retain)
        model.train()
        with torch.no_grad():
            model(retain.batch(torch.arange(16))[0])
        return trace


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class EditsUndeclared(HeadOnly):
    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        return {}


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class EditsOtherRows(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        return super().__call__(model, classes=(*classes, 4))


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class Descends(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, forget=forget)


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class Ascends(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, retain=retain)


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class SaysNothingOfItsDirection(NegGrad):
    moves: ClassVar = {}


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class PromisesNothingAndSaysNotWhy(NegGrad):
    moves: ClassVar = {"ascend": Move(0)}


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class MovesByANumber(NegGrad):
    moves: ClassVar = {"ascend": +1}


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class StaysNearTheOriginal(FineTune):
    moves: ClassVar = {"finetune": Move(-1, of="distance from original", on="retain", over="phase")}


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class NamesTheForgottenMore(NegGrad):
    moves: ClassVar = {"ascend": Move(+1, of="p of forgotten", on="forget")}
