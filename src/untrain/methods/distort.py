"""Weight distortion, attenuation and dropout: damage every weight, and train on what is retained. Sees the retained samples alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from untrain.core.data import Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.trace import phase
from untrain.core.train import Optimizer, Trace, fit


@dataclass(frozen=True)
class Distort(Method):
    """Change every weight, and train on what is retained.

        distort   theta <- theta + N(0, sigma^2)  (distortion),   theta <- factor theta  (attenuation),   or each theta_i to 0 with probability `share` (dropout)
        finetune  theta <- argmin CE(D_r)

    The family that resisted relearning best in its paper, where a tenth of one class is forgotten by a network that has memorised it. It is not told what
    is to be forgotten: of what the damage took, the retained samples bring back what they need.

    Args:
        kind: What is done to the weights; the presets `attenuation` and `dropout` have the other two.
        sigma: Standard deviation of the distortion; 0.02 in the paper, which takes nothing from digits. Ours was chosen on digits 1 and 7.
        factor: What attenuation multiplies by; 0.5 in the paper.
        share: Share of the weights that dropout sets to 0; 0.2 in the paper.
        samples: Retained samples used, in all, the same number of each class; all of them in the paper.
        lr: Learning rate; 1e-5 in the paper. Ours was chosen with `sigma`.
        epochs: Passes over the retained samples; 100 in the paper, at its rate.
        batch: Batch size; 128 in the paper.
        optimizer: adam as in the paper, or sgd with Nesterov momentum 0.9.
        augment: Whether to use the random change that the data carries.
    """

    paper = "From Dormant to Deleted: Tamper-Resistant Unlearning Through Weight-Space Regularization, 2025, arXiv:2505.22310"
    moves: ClassVar = {"finetune": Move(-1)}

    kind: Literal["distortion", "attenuation", "dropout"] = "distortion"
    sigma: float = 0.2
    factor: float = 0.5
    share: float = 0.2
    samples: int = 9000
    lr: float = 3e-3
    epochs: int = 10
    batch: int = 128
    optimizer: Optimizer = "adam"
    augment: bool = True

    @property
    def knobs(self) -> dict[str, dict[str, int]]:  # type: ignore[override]
        """Those of its kind: more damage where too little was forgotten, less where too much was lost."""
        name, more = {"distortion": ("sigma", +1), "attenuation": ("factor", -1), "dropout": ("share", +1)}[self.kind]
        return {"remembers": {name: more}, "collapsed": {"epochs": +1, name: -more}, "unchanged": {name: more}}

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Every weight that may move."""
        return {name: None for name, weight in model.named_parameters().items() if weight.requires_grad}

    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        """Distort, and fine-tune."""
        with phase("distort") as done, torch.no_grad():
            for weight in model.trainable():
                if self.kind == "distortion":
                    weight.add_(self.sigma * torch.randn(weight.shape, dtype=weight.dtype).to(weight.device))
                elif self.kind == "attenuation":
                    weight.mul_(self.factor)
                else:
                    weight.mul_((torch.rand(weight.shape) >= self.share).to(weight))
        kept = retain.at_most(self.samples)
        trained = fit(model, kept, phase="finetune", lr=self.lr, epochs=self.epochs, batch=self.batch, augment=self.augment, optimizer=self.optimizer)
        return Trace.of(done, trained)


Distort.presets = {"attenuation": replace(Distort(), kind="attenuation"), "dropout": replace(Distort(), kind="dropout")}
