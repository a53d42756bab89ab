"""JiT, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import jit as laws
from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import jit
from untrain.methods.jit import JiT


@breaks(laws.check_the_network_gets_flatter_at_the_forgotten)
@dataclass(frozen=True)
class Steepens(JiT):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        real = jit.minimize

        def turned(loss: Any, *args: Any, **how: Any) -> Any:
            return real(lambda x, y: -loss(x, y), *args, **how)

        with mock.patch.object(jit, "minimize", turned):
            return replace(JiT(), both=True, lr=1e-4).__call__(model, forget=forget)


@breaks(laws.check_the_levelling_is_the_naive_loop)
@dataclass(frozen=True)
class TargetMovesToo(JiT):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        return JiT.__call__(replace(self, both=not self.both), model, forget=forget)


@breaks(laws.check_the_levelling_is_the_naive_loop)
@dataclass(frozen=True)
class NeverClearsItsGradients(JiT):
    """As the published loop: each step takes all earlier gradients along."""

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        real, kept = jit.minimize, list[Tensor]()

        def gathered(found: list[list[Tensor]]) -> list[Tensor]:
            kept[:] = [old + g for old, g in zip(kept, found[0], strict=True)] if kept else found[0]
            return list(kept)

        with mock.patch.object(jit, "minimize", lambda *args, **how: real(*args, combine=gathered, **how)):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_levelling_is_the_naive_loop)
@dataclass(frozen=True)
class LevelsInEvaluationMode(JiT):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, forget=forget)


@breaks(laws.check_nothing_to_compare_with_is_refused)
@dataclass(frozen=True)
class TakesNoCopies(JiT):
    def __post_init__(self) -> None:
        Method.__post_init__(self)
