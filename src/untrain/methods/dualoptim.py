"""DualOptim: random labels and repair in turns, each with an optimizer of its own, so that neither's memory steers the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.relabel import others
from untrain.core.train import Optimizer, Trace, Turn, alternate


@dataclass(frozen=True)
class DualOptim(Method):
    """One step on a forgotten batch and one on a retained batch, in turns, over the same weights.

        forget  theta <- theta - lr_forget A(grad CE(f(x_f; theta), y'))    y' != y_f a kept class, drawn anew each time
        retain  theta <- theta - lr S(grad CE(f(x_r; theta), y_r))

    A is Adam, whose steps do not shrink as the slopes of the forgotten do, and S is sgd with Nesterov momentum; the moments of each see its own gradients
    alone. With one optimizer the momentum of forgetting runs on into the retained samples' steps, and the other way about. The paper puts this
    around several methods; here it is around random labels, in training mode.

    Args:
        lr_forget: Learning rate on the forgotten; 0.018 in the paper for random labels. Ours is the lowest of three at which digits 1 and 7 are gone.
        lr: Learning rate on the retained; 0.01 in the paper.
        optimizer_forget: adam as in the paper, or sgd.
        optimizer: sgd as in the paper, or adam.
        samples: Retained samples used, in all, the same number of each class.
        epochs: Passes over the retained samples; 10 in the paper.
        batch: Batch size of both parts.
        weight_decay: L2 weight decay of both.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Zhong et al., DualOptim: Enhancing Efficacy and Stability in Machine Unlearning with Dual Optimizers, NeurIPS 2025, arXiv:2504.15827"
    moves: ClassVar = {"forget": Move(+1, on="forget"), "retain": Move(-1)}
    small: ClassVar = {"batch": 16}
    knobs: ClassVar = {"remembers": {"lr_forget": +1, "epochs": +1}, "collapsed": {"lr_forget": -1, "lr": -1}, "unchanged": {"lr_forget": +1, "lr": +1}}

    lr_forget: float = 1e-3
    lr: float = 0.01
    optimizer_forget: Optimizer = "adam"
    optimizer: Optimizer = "sgd"
    samples: int = 9000
    epochs: int = 5
    batch: int = 64
    weight_decay: float = 5e-4
    augment: bool = True

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Forget and retain, in turns."""
        among = torch.tensor(retain.classes)
        how: dict[str, Any] = {"parameters": model.trainable(), "weight_decay": self.weight_decay, "steps": 1}

        def away(x: Inputs, y: Tensor) -> Tensor:
            return F.cross_entropy(model(x), others(y, among))

        def stay(x: Inputs, y: Tensor) -> Tensor:
            return F.cross_entropy(model(x), y)

        gone = forget.batches(self.batch, augment=self.augment)
        kept = retain.at_most(self.samples).batches(self.batch, augment=self.augment)
        model.train()
        return alternate(
            Turn(phase="forget", loss=away, batches=gone, lr=self.lr_forget, optimizer=self.optimizer_forget, **how),
            Turn(phase="retain", loss=stay, batches=kept, lr=self.lr, optimizer=self.optimizer, **how),
            rounds=self.epochs * len(kept),
        )
