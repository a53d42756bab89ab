"""RandomLabel: train the forgotten on labels that are not theirs, and the retained on their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.relabel import others
from untrain.core.train import Optimizer, Trace, minimize


@dataclass(frozen=True)
class RandomLabel(Method):
    """Minimise CE(f(x_f; theta), y') + alpha CE(f(x_r; theta), y_r), with y' != y_f a kept class.

    y' is drawn anew each time that its sample is seen (`redraw`, the successive random labels of Fan et al.), or once and for all, as
    amnesiac unlearning does in most benchmarks. The published code draws among all classes, so that one sample in ten
    keeps its own label, and of several classes some are called by the name of another; here neither happens. Both losses see batches of their
    own, in training mode; the forgotten samples are gone through again where they end before the retained do (the published code mixes the
    two sets and goes once over the sum). Amnesiac unlearning proper (Graves et al., arXiv:2010.10981) subtracts recorded updates, and is another method.

    Args:
        redraw: Whether labels are drawn anew each time; once before the first step where not.
        alpha: Weight of the retained samples' loss; 1 in the published code.
        samples: Retained samples used, in all, the same number of each class; the published code uses all.
        lr: Learning rate; 0.013 in the published code's example for a class. Ours was chosen on digits 1 and 7.
        epochs: Passes over the retained samples; 10 in the published code, over five times as many.
        batch: Batch size of both parts; 256 in the published code.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay; 5e-4 in the published code.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Golatkar et al., 2020, arXiv:1911.04933, as a baseline; redrawn labels and settings of Fan et al., ICLR 2024, arXiv:2310.12508"
    moves: ClassVar = {"relabel": Move(+1, of="cross-entropy", on="forget")}

    redraw: bool = True
    alpha: float = 1.0
    samples: int = 9000
    lr: float = 0.005
    epochs: int = 3
    batch: int = 64
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    augment: bool = True

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Train on wrong labels and right ones."""
        among = torch.tensor(retain.classes)
        wrong = forget if self.redraw else forget.labelled(others(forget.y, among))

        def both(x: Any, y: Any) -> Tensor:
            (kept, gone), (label, other) = x, y
            other = others(other, among) if self.redraw else other
            return F.cross_entropy(model(gone), other) + self.alpha * F.cross_entropy(model(kept), label)

        model.train()
        batches = retain.at_most(self.samples).batches(self.batch, epochs=self.epochs, augment=self.augment)
        return Trace.of(
            minimize(
                both,
                model.parameters(),
                batches.beside(wrong.batches(self.batch, augment=self.augment)),
                phase="relabel",
                lr=self.lr,
                optimizer=self.optimizer,
                weight_decay=self.weight_decay,
            )
        )


RandomLabel.presets = {"once": RandomLabel(redraw=False)}
