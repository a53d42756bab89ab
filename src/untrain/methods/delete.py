"""DELETE: distil the original into itself with the true class taken out of its answers. Sees the forgotten samples and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Trace, minimize


@dataclass(frozen=True)
class DELETE(Method):
    """Minimise KL(p* || softmax f(x; theta)) over the forget set, p* being what the original answers when it may not answer y.

        p*_y = 0,    p*_k = p_k / (1 - p_y)  for k != y,    p = softmax(f(x; theta_o)).

    Setting p*_y to 0 forgets; keeping the proportions of the rest retains, without one retained sample. In training mode, as the
    published code: BatchNorm follows the forgotten samples. Only a sample's own label is taken out, so it forgets lists of samples too;
    of several classes each may still be called by the name of another. The published code's sgd has plain momentum, ours Nesterov's.

    Args:
        lr: Learning rate; 1e-3 in the published script for CIFAR-10, 1e-4 in its configuration file.
        epochs: Passes over the forget set; 20 in the published code.
        batch: Batch size; 128 in the published code.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        augment: Whether to use the random change that the data carries, as the published code does.
    """

    paper = "Zhou et al., Decoupled Distillation to Erase, CVPR 2025, arXiv:2503.23751"
    moves: ClassVar = {"distill": (Move(+1), Move(-1, of="p of forgotten", on="forget", over="phase"))}

    lr: float = 1e-3
    epochs: int = 20
    batch: int = 128
    optimizer: Optimizer = "sgd"
    augment: bool = True

    def target(self, logits: Tensor, y: Tensor) -> Tensor:
        """p*: the softmax of logits [n, C] once the answer y [n] is ruled out.

        >>> DELETE().target(torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([0])).tolist()
        [[0.0, 0.5, 0.5]]
        """
        return F.softmax(logits.scatter(1, y[:, None], -torch.inf), dim=1)

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        """Distil."""
        teacher = model.teacher()

        def loss(x: Inputs, y: Tensor) -> Tensor:
            with torch.no_grad():
                target = self.target(teacher(x), y)
            return F.kl_div(F.log_softmax(model(x), dim=1), target, reduction="batchmean")

        model.train()
        batches = forget.batches(self.batch, epochs=self.epochs, augment=self.augment)
        return Trace.of(minimize(loss, model.parameters(), batches, phase="distill", lr=self.lr, optimizer=self.optimizer))
