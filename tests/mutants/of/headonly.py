"""HeadOnly, broken."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

from mutants.breaking import breaks
from untrain.checks.of import headonly as laws
from untrain.core.head import Head
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.headonly import HeadOnly


@breaks(laws.check_the_forgotten_rows_are_silenced_at_every_exit_and_nothing_else)
@dataclass(frozen=True)
class LowersTheBiasAlone(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        with mock.patch.object(Head, "write"):
            return super().__call__(model, classes=classes)


@breaks(laws.check_the_forgotten_rows_are_silenced_at_every_exit_and_nothing_else)
@dataclass(frozen=True)
class MasksTheLastExitAlone(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.mask(classes)
        return Trace()
