"""FineTune, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest import mock

from mutants.breaking import bent, breaks
from untrain.checks.of import finetune as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.finetune import FineTune


@breaks(laws.check_the_fine_tuning_is_the_naive_loop)
@dataclass(frozen=True)
class TunesInEvaluationMode(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with mock.patch.object(Network, "train", Network.eval):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_fine_tuning_is_the_naive_loop)
@dataclass(frozen=True)
class DecaysByATenth(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return FineTune.__call__(replace(self, weight_decay=self.weight_decay / 10), model, retain=retain)


@breaks(laws.check_the_fine_tuning_is_the_naive_loop)
@dataclass(frozen=True)
class WeighsASmallBatchLess(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with bent("cross_entropy", lambda real: lambda out, y: real(out, y) * len(y) / self.batch):
            return super().__call__(model, retain=retain)
