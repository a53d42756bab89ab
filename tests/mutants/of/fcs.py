"""FCS, broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest import mock

from torch import Tensor

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import fcs as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import fcs
from untrain.methods.fcs import FCS


@breaks(laws.check_erasing_levels_the_answers)
@dataclass(frozen=True)
class ErasesUpwards(FCS):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("kl_div", turned):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_erase_contrast_and_repair_are_the_naive_loop)
@dataclass(frozen=True)
class PullsTheForgottenTogether(FCS):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(fcs, "spreading", turned(fcs.spreading)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_erase_contrast_and_repair_are_the_naive_loop)
@dataclass(frozen=True)
class RetainedAnswersMoveToo(FCS):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        def moving(x: Any, y: Any) -> Tensor:
            gone, others = x
            told = model(others)
            return fcs.spreading(model(gone), told, self.temperature)

        real: Any = fcs.Turn
        with mock.patch.object(fcs, "Turn", side_effect=lambda **how: real(**how | ({"loss": moving} if how["phase"] == "contrast" else {}))):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_erase_contrast_and_repair_are_the_naive_loop)
@dataclass(frozen=True)
class RepairsFirst(FCS):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = fcs.alternate
        with mock.patch.object(fcs, "alternate", lambda *turns, **how: real(*reversed(turns), **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_erase_contrast_and_repair_are_the_naive_loop)
@dataclass(frozen=True)
class OneOptimizerForBoth(FCS):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real: Any = fcs.Turn
        with mock.patch.object(fcs, "Turn", lambda **how: real(**how, shared="both")):
            return super().__call__(model, forget=forget, retain=retain)
