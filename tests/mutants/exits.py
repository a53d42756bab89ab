"""Methods that forget at one exit of several."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

from mutants.breaking import breaks
from untrain.checks.of import unsir as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Phase, Trace
from untrain.methods.unsir import UNSIR


@breaks(laws.check_every_exit_loses_its_rows_and_is_repaired)
@dataclass(frozen=True)
class RedrawsTheLastExitAlone(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with mock.patch.object(Network, "heads", property(lambda network: (network.head,))):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_every_exit_loses_its_rows_and_is_repaired)
@dataclass(frozen=True)
class RepairsTheLastExitAlone(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        with mock.patch.object(Network, "answers", lambda network, x: (network(x),)):
            return super().repair_on(model, teacher, kept, classes)
