"""SalUn: train the forgotten on wrong labels, and let only the weights move that they depend on most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.gather import gradients
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.relabel import others
from untrain.core.train import Optimizer, Trace, minimize


def salient(slopes: Sequence[Tensor], share: float) -> list[Tensor]:
    """Where the slopes' magnitudes are among the largest of all tensors together: this share of the entries.

    >>> salient([torch.tensor([3.0, -4.0]), torch.tensor([[0.0], [1.0]])], 0.5)
    [tensor([True, True]), tensor([[False],
            [False]])]
    """
    sizes = torch.cat([slope.abs().reshape(-1) for slope in slopes])
    order = sizes.argsort(descending=True, stable=True)
    mask = torch.zeros_like(sizes, dtype=torch.bool)
    mask[order[: round(share * len(sizes))]] = True
    return [part.view_as(slope) for part, slope in zip(torch.split(mask, [s.numel() for s in slopes]), slopes, strict=True)]


@dataclass(frozen=True)
class SalUn(Method):
    """Random labels under a mask of salient weights.

        m = 1 where |grad_theta CE(D_f)| is among its largest,  theta <- argmin CE(f(x_f; theta), y') + alpha CE(f(x_r; theta), y_r)  over theta where m = 1,

    y' != y_f a kept class, drawn anew each step. The mask is taken once, in evaluation mode, over all weights together (an early
    version of the published code kept the least salient instead). Weights outside stay as they were to the bit: no gradient, momentum or weight
    decay reaches them. The two losses see batches of their own, in training mode; the forgotten samples are gone through again where they
    end before the retained do.

    Args:
        share: Share of the weights that may move; 0.5 in the paper.
        alpha: Weight of the retained samples' loss; 1 in the paper.
        samples: Retained samples used, in all, the same number of each class; the published code uses all.
        lr: Learning rate; 0.013 in the published code's example, over ten passes. Ours is the best of four over three, on digits 1 and 7 and training images held out.
        epochs: Passes over the retained samples; 10 in the published code, over five times as many. On digits ten keep two points more, for three times the passes.
        batch: Batch size of both parts; 256 in the published code.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay; 5e-4 in the published code.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Fan et al., SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency, ICLR 2024, arXiv:2310.12508"
    moves: ClassVar = {"relabel": Move(+1, of="cross-entropy", on="forget")}
    knobs: ClassVar = {"remembers": {"lr": +1, "epochs": +1, "share": +1}}

    share: float = 0.5
    alpha: float = 1.0
    samples: int = 9000
    lr: float = 0.0065
    epochs: int = 3
    batch: int = 64
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    augment: bool = True

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Find the salient weights, then train them on wrong labels of the forgotten and on the retained."""
        among = torch.tensor(retain.classes)

        def forgetting(x: Inputs, y: Tensor) -> Tensor:
            return -F.cross_entropy(model(x), y)

        def both(x: Any, y: Any) -> Tensor:
            (kept, gone), (label, true) = x, y
            return F.cross_entropy(model(gone), others(true, among)) + self.alpha * F.cross_entropy(model(kept), label)

        model.eval()
        slopes, looked = gradients(model, forgetting, forget, phase="saliency", batch=self.batch)
        model.train()
        batches = retain.at_most(self.samples).batches(self.batch, epochs=self.epochs, augment=self.augment)
        relabel = minimize(
            both,
            model.trainable(),
            batches.beside(forget.batches(self.batch, augment=self.augment)),
            phase="relabel",
            lr=self.lr,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            mask=salient(slopes, self.share),
        )
        return Trace.of(looked, relabel)


SalUn.presets = {"published": SalUn(samples=10**9, lr=0.013, epochs=10, batch=256)}
