"""Mode connectivity, as a regulariser: fine-tune on what is kept, and be paid for a barrier between the old weights and the new."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from untrain.core.data import Inputs, Samples
from untrain.core.gather import Asked
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Trace, minimize


@dataclass(frozen=True)
class ModeConnectivity(Method):
    """theta <- argmin CE(f(x_r; theta), y_r) + alpha max(-CE(f(x; (theta + theta_o) / 2), y), -gamma)  over the retained x_r, x a retained and a forgotten batch together.

    theta_o are the weights that were given. Weights that are joined by a straight way of low loss are relearned along it, the authors found; so they are paid for a high loss
    half-way, up to gamma, of what is kept as well as of what is to go. BatchNorm's statistics are halved between the two as weights are, and the
    network half-way is asked in evaluation mode.

    Args:
        alpha: Weight of the barrier; 0.001 in the paper, where 100 epochs at a rate of 1e-5 follow a suppression. Ours was chosen with gamma on the digits 1 and 7.
        gamma: Highest loss half-way that is paid for; 50 in the paper. So high a barrier ruined what is kept of digit 1 at every alpha that made both digits go.
        samples: Retained samples used, in all, the same number of each class; all of them in the paper.
        lr: Learning rate; 1e-5 in the paper. Ours is what was chosen for `distort`; no other was tried.
        epochs: Passes over the retained samples; 100 in the paper, at its rate.
        batch: Batch size of both parts; 128 in the paper.
        optimizer: adam as in the paper, or sgd with Nesterov momentum 0.9.
        augment: Whether to use the random change that the data carries.
    """

    paper = "From Dormant to Deleted: Tamper-Resistant Unlearning Through Weight-Space Regularization, 2025, arXiv:2505.22310"
    moves: ClassVar = {"regularise": Move(+1, on="forget", over="phase")}
    small: ClassVar = {"batch": 16, "lr": 0.01, "epochs": 10}
    knobs: ClassVar = {"remembers": {"alpha": +1, "epochs": +1}, "collapsed": {"alpha": -1, "lr": -1}, "unchanged": {"lr": +1}}

    alpha: float = 0.1
    gamma: float = 3.0
    samples: int = 9000
    lr: float = 3e-3
    epochs: int = 10
    batch: int = 128
    optimizer: Optimizer = "adam"
    augment: bool = True

    def halfway(self, model: Network, old: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights and statistics half-way to the old ones, by name."""
        now = {**dict(model.module.named_parameters()), **dict(model.module.named_buffers())}
        return {name: (value + old[name]) / 2 for name, value in now.items() if value.is_floating_point()}

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Fine-tune, with a barrier behind."""
        old = {name: value.detach().clone() for name, value in [*model.module.named_parameters(), *model.module.named_buffers()]}
        asked = Asked(model.module, lambda x, y: F.cross_entropy(model(x), y, reduction="sum"))

        def loss(x: tuple[Inputs, Inputs], y: tuple[Tensor, Tensor]) -> Tensor:
            model.train()
            kept = F.cross_entropy(model(x[0]), y[0])
            model.eval()
            there: dict[str, Any] = {f"inside.{name}": value for name, value in self.halfway(model, old).items()}
            parts = [functional_call(asked, there, (some, labels)) for some, labels in zip(x, y, strict=True) if len(labels)]
            height = torch.stack(parts).sum() / sum(len(labels) for labels in y)
            return kept + self.alpha * (-height).clamp(min=-self.gamma)

        kept = retain.at_most(self.samples).batches(self.batch, epochs=self.epochs, augment=self.augment)
        batches = kept.beside(forget.batches(self.batch, augment=self.augment))
        return Trace.of(minimize(loss, model.trainable(), batches, phase="regularise", lr=self.lr, optimizer=self.optimizer))


ModeConnectivity.presets = {"paper": replace(ModeConnectivity(), alpha=0.001, gamma=50.0, lr=1e-5, epochs=100)}
