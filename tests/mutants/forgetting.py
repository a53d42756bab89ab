"""Methods that do not forget what they are told to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from mutants.breaking import breaks
from untrain import checks
from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace, minimize
from untrain.methods.delete import DELETE
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.svd import SVD


@breaks(checks.check_it_forgets_what_it_is_told_to)
@dataclass(frozen=True)
class SaysThatItForgets(FineTune):
    """Fine-tuning, given the forgotten samples and keeping them: a no-op as forgetting."""

    forgets = True

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:  # type: ignore[override]
        return super().__call__(model, retain=forget + retain)


@breaks(checks.check_it_forgets_what_it_is_told_to)
@dataclass(frozen=True)
class MasksAnotherClass(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        return super().__call__(model, classes=tuple((c + 1) % 5 for c in classes))


@breaks(checks.check_it_forgets_what_it_is_told_to)
@dataclass(frozen=True)
class ForgetAndRetainSwapped(SVD):
    alpha_r: float = 100.0
    alpha_f: float = 3.0

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(checks.check_it_forgets_what_it_is_told_to)
@dataclass(frozen=True)
class TargetKeepsTheLabel(DELETE):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        teacher = model.teacher()

        def loss(x: Any, y: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                target = F.softmax(teacher(x), dim=1)
            return F.kl_div(F.log_softmax(model(x), dim=1), target, reduction="batchmean")

        model.train()
        batches = forget.batches(self.batch, epochs=self.epochs, augment=self.augment)
        return Trace.of(minimize(loss, model.parameters(), batches, phase="distill", lr=self.lr, optimizer=self.optimizer))


@dataclass(frozen=True)
class Relabels(Method):
    """Training on what is retained beside the forgotten under wrong labels, drawn anew each step; `true` and `swapped` are how it breaks.

    Args:
        lr: Learning rate.
        epochs: Passes over the retained samples.
        true: Whether the labels are the true ones.
        swapped: Whether the two parts stand in each other's place.
        silent: Whether the forgotten samples have no say.
    """

    lr: float = 0.013
    epochs: int = 10
    true: bool = False
    swapped: bool = False
    silent: bool = False

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        if self.swapped:
            forget, retain = retain, forget
        model.train()
        gone, label = forget.batch(torch.arange(len(forget)))
        among = torch.tensor(retain.classes)

        def loss(x: Any, y: torch.Tensor) -> torch.Tensor:
            wrong = label if self.true else among[torch.randint(len(among), (len(label),))]
            return F.cross_entropy(model(x), y) + (0 if self.silent else 1) * F.cross_entropy(model(gone), wrong)

        return Trace.of(minimize(loss, model.parameters(), retain.batches(64, epochs=self.epochs), phase="relabel", lr=self.lr, optimizer="sgd"))


@breaks(checks.check_it_forgets_what_it_is_told_to)
def true_labels_for_random_ones(case: checks.Case) -> Method:
    return Relabels(true=True)


@breaks(checks.check_it_forgets_what_it_is_told_to)
def relabels_what_is_retained(case: checks.Case) -> Method:
    return Relabels(swapped=True)


@breaks(checks.check_it_forgets_what_it_is_told_to)
def gradient_of_the_forgotten_is_off(case: checks.Case) -> Method:
    return Relabels(silent=True)
