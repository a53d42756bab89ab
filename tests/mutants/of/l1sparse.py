"""L1Sparse, broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain.checks.of import l1sparse as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace, Turn
from untrain.methods import l1sparse
from untrain.methods.l1sparse import L1Sparse


@breaks(laws.check_the_penalty_falls_in_a_straight_line)
@dataclass(frozen=True)
class PenaltyThatStays(L1Sparse):
    def penalty(self, epoch: int) -> float:
        return self.alpha


@breaks(laws.check_the_penalty_falls_in_a_straight_line)
@dataclass(frozen=True)
class PenaltyOverAllEpochs(L1Sparse):
    def penalty(self, epoch: int) -> float:
        return self.alpha * (1 - epoch / self.epochs)


@breaks(laws.check_it_leaves_smaller_weights_than_without_the_penalty)
@dataclass(frozen=True)
class PenaltyTurnedRound(L1Sparse):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with mock.patch.object(torch.Tensor, "abs", lambda w: -w.square().sqrt()):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_fine_tuning_is_a_plain_loop)
@dataclass(frozen=True)
class AnOptimizerForEachEpoch(L1Sparse):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with _turns(shared=""):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_fine_tuning_is_a_plain_loop)
@dataclass(frozen=True)
class SparseWithoutWeightDecay(L1Sparse):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with _turns(weight_decay=0.0):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_fine_tuning_is_a_plain_loop)
@dataclass(frozen=True)
class PenalizesTheFirstTensorAlone(L1Sparse):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        whole = model.trainable()
        with mock.patch.object(model, "trainable", return_value=whole[:1]), _turns(parameters=whole):
            return super().__call__(model, retain=retain)


def _turns(**other: Any) -> Any:
    return mock.patch.object(l1sparse, "Turn", lambda **how: Turn(**how | other))
