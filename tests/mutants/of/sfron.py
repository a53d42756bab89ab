"""SFRon, broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import sfron as laws
from untrain.core.data import Samples
from untrain.core.gather import gradients
from untrain.core.network import Network
from untrain.core.trace import Phase
from untrain.core.train import Trace, Turn
from untrain.methods import sfron
from untrain.methods.sfron import SFRon


def _ascent(**other: Any) -> Any:
    return mock.patch.object(sfron, "Turn", lambda **how: Turn(**how | (other if how["phase"] == "ascend" else {})))


@breaks(laws.check_the_ascent_moves_what_matters_to_the_forgotten_and_nothing_else)
@dataclass(frozen=True)
class AscendsInAllWeights(SFRon):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _ascent(mask=None):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_ascent_moves_what_matters_to_the_forgotten_and_nothing_else)
@dataclass(frozen=True)
class ImportancesOfBatchMeans(SFRon):
    """As the published code: what comes of it hangs on the size of a batch."""

    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        def loss(x: Any, y: Tensor) -> Tensor:
            return torch.nn.functional.cross_entropy(model(x), y)

        return gradients(model, loss, samples, phase="importance", batch=self.batch, power=2)


@breaks(laws.check_the_ascent_moves_what_matters_to_the_forgotten_and_nothing_else)
@dataclass(frozen=True)
class ImportancesExchanged(SFRon):
    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        found, done = super().importance(model, samples)
        return [1 / (value + 1e-12) for value in found], done


@breaks(laws.check_a_sample_weighs_less_the_higher_its_loss)
@dataclass(frozen=True)
class WeighsTheHighLossMost(SFRon):
    def weights(self, losses: Tensor) -> Tensor:
        w = losses.detach() ** self.power
        return w / w.sum()


@breaks(laws.check_a_sample_weighs_less_the_higher_its_loss)
@dataclass(frozen=True)
class LearnsThroughTheWeights(SFRon):
    def weights(self, losses: Tensor) -> Tensor:
        w = losses**-self.power
        return w / w.sum()


@breaks(laws.check_the_turns_are_a_plain_loop)
@dataclass(frozen=True)
class BothTurnsTurnedRound(SFRon):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_turns_are_a_plain_loop)
@dataclass(frozen=True)
class AscendsAtOneRate(SFRon):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _ascent(schedule="cosine"):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_turns_are_a_plain_loop)
@dataclass(frozen=True)
class AscendsUnclipped(SFRon):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _ascent(clip=None):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_turns_are_a_plain_loop)
@dataclass(frozen=True)
class LeavesOutAStartedTurn(SFRon):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = sfron.alternate
        with mock.patch.object(sfron, "alternate", lambda *turns, rounds: real(*turns, rounds=self.epochs * len(turns[1].batches) // self.every)):
            return super().__call__(model, forget=forget, retain=retain)
