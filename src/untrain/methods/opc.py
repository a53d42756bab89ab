"""OPC: shrink the forgotten's logits to a point. A control: it shows what a method does that touches the answers alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Trace, minimize


@dataclass(frozen=True)
class OPC(Method):
    """One-point contraction of the logits.

        theta <- argmin  mean CE(f(x_r; theta), y_r) + mean |f(x_f; theta)|_2

    in training mode, a batch of each part in every step, the forgotten gone through again where they end first. All that a sample could be told by is to
    end in the origin. Only logits are asked to change, so it stands here as a control, beside the mask on the head.

    Args:
        samples: Retained samples used, in all, the same number of each class.
        lr: Learning rate; ours, chosen on digits 1 and 7.
        epochs: Passes over the retained samples.
        batch: Batch size of both parts.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay.
        augment: Whether to use the random change that the data carries.
    """

    paper = "a control; One-Point Contraction, 2025, arXiv:2507.07754"
    moves: ClassVar = {"contract": Move(+1, on="forget", over="phase")}

    samples: int = 9000
    lr: float = 0.01
    epochs: int = 3
    batch: int = 64
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    augment: bool = True

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Contract the one, train the other."""

        def loss(x: Any, y: Any) -> Tensor:
            (kept, gone), (label, _) = x, y
            # The forgotten first, so that BatchNorm ends each step with the retained.
            length: Tensor = model(gone).norm(dim=1).mean()
            return length + F.cross_entropy(model(kept), label)

        model.train()
        batches = retain.at_most(self.samples).batches(self.batch, epochs=self.epochs, augment=self.augment).beside(forget.batches(self.batch, augment=self.augment))
        return Trace.of(minimize(loss, model.parameters(), batches, phase="contract", lr=self.lr, optimizer=self.optimizer, weight_decay=self.weight_decay))
