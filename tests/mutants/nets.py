"""Methods that do on some kind of network what they should not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mutants.breaking import breaks
from untrain.checks import Case
from untrain.checks.nets import OF_KINDS
from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace, minimize
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggrad import NegGrad


@dataclass(frozen=True)
class NudgesAWeight(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.parameters()[0].data.mul_(1.001)
        return super().__call__(model, classes=classes)


def nudges_a_weight_on(kind: str) -> Callable[[Case], Method]:
    def make(case: Case) -> Method:
        return NudgesAWeight()

    make.__name__ = f"nudges_a_weight_on_{kind}"
    return make


for _kind, _law in OF_KINDS.items():
    breaks(_law)(nudges_a_weight_on(_kind))


@breaks(OF_KINDS["group_norm"])
@dataclass(frozen=True)
class WantsBatchNorm(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        next(m for m in model.module.modules() if isinstance(m, nn.BatchNorm2d)).momentum = 0.1
        return super().__call__(model, forget=forget)


@breaks(OF_KINDS["a_layer_behind_the_head"])
@dataclass(frozen=True)
class TakesTheLastLayer(HeadOnly):
    """Fault 13: the layer that is registered last is no head."""

    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        last = [m for m in model.module.modules() if isinstance(m, nn.Linear)][-1]
        last.weight.data[list(classes)] = 0
        return Trace()


@breaks(OF_KINDS["weight_norm"])
@dataclass(frozen=True)
class WritesIntoAComputedWeight(HeadOnly):
    """Fault 14: what is written into a weight that is computed is lost, and its name is not in the model's state."""

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        return {"head.weight": classes}

    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.layer.weight.data[list(classes)] = 0
        return Trace()


@breaks(OF_KINDS["half_precision"])
@dataclass(frozen=True)
class AnswersInSinglePrecision(HeadOnly):
    """Fault 20: what comes in half precision leaves in it."""

    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.module.float()
        return super().__call__(model, classes=classes)


@breaks(OF_KINDS["a_frozen_body"])
@dataclass(frozen=True)
class ThawsTheBody(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        for weight in model.parameters():
            weight.requires_grad_(True)
        return super().__call__(model, forget=forget)


@breaks(OF_KINDS["dicts_in_and_out"])
@dataclass(frozen=True)
class CallsTheModule(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        def loss(x: Any, y: torch.Tensor) -> torch.Tensor:
            return -F.cross_entropy(model.module(x), y)

        model.train()
        return Trace.of(minimize(loss, model.parameters(), forget.batches(self.batch, epochs=self.epochs), phase="ascend", lr=self.lr))


@breaks(OF_KINDS["two_classes"])
@dataclass(frozen=True)
class MasksTheNextClass(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        return super().__call__(model, classes=(*classes, max(classes) + 2))


@breaks(OF_KINDS["dropout"])
@dataclass(frozen=True)
class LeavesAHookOnTheHead(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        model.parameters()[-1].register_hook(lambda gradient: gradient)
        return super().__call__(model, forget=forget)
