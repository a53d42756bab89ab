"""RandomLabel, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import randomlabel as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.relabel import others
from untrain.core.train import Trace
from untrain.methods import randomlabel
from untrain.methods.randomlabel import RandomLabel


@breaks(laws.check_no_label_is_the_true_one_nor_of_a_forgotten_class)
@dataclass(frozen=True)
class DrawsTheTrueLabel(RandomLabel):
    """As published code: among all classes, its own with them."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(randomlabel, "others", lambda y, among: torch.randint(0, 5, y.shape)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_no_label_is_the_true_one_nor_of_a_forgotten_class)
@dataclass(frozen=True)
class DrawsAForgottenClass(RandomLabel):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(randomlabel, "others", lambda y, among: others(y, torch.arange(5))):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_no_label_is_the_true_one_nor_of_a_forgotten_class)
@dataclass(frozen=True)
class DrawsAnewThoughOnce(RandomLabel):
    redraw: bool = False

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return RandomLabel.__call__(replace(self, redraw=True), model, forget=forget, retain=retain)


@breaks(laws.check_no_label_is_the_true_one_nor_of_a_forgotten_class)
@dataclass(frozen=True)
class DrawsOnceThoughAnew(RandomLabel):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return RandomLabel.__call__(replace(self, redraw=False), model, forget=forget, retain=retain)


@breaks(laws.check_the_relabelling_is_a_plain_loop)
@dataclass(frozen=True)
class RelabelsTheKept(RandomLabel):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(laws.check_the_relabelling_is_a_plain_loop)
@dataclass(frozen=True)
class RelabellingTurnedRound(RandomLabel):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_relabelling_is_a_plain_loop)
@dataclass(frozen=True)
class RelabelsInEvaluationMode(RandomLabel):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_relabelling_is_a_plain_loop)
@dataclass(frozen=True)
class RelabelsWithoutWeightDecay(RandomLabel):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = randomlabel.minimize

        def light(*args: Any, **how: Any) -> Any:
            return real(*args, **how | {"weight_decay": 0.0})

        with mock.patch.object(randomlabel, "minimize", light):
            return super().__call__(model, forget=forget, retain=retain)
