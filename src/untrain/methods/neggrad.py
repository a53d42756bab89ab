"""NegGrad: undo learning by climbing the loss of the forgotten samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Trace, minimize


@dataclass(frozen=True)
class NegGrad(Method):
    """Maximise CE(f(x; theta), y) over the forget set, in training mode: theta <- theta + lr grad CE(D_f).

    The default rate is that of Liu et al.'s code, for thousands of forgotten samples. In the few steps that some hundred of them make,
    it changes next to nothing: raise `lr` or `epochs` until the forgotten are no longer named.

    Args:
        lr: Learning rate; 1e-4 in Liu et al.'s code, too low for a few hundred samples.
        epochs: Passes over the forget set; 5 in Liu et al.'s code.
        batch: Batch size.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
    """

    paper = "Golatkar et al., Eternal Sunshine of the Spotless Net, 2020, arXiv:1911.04933; settings of Liu et al., 2023, arXiv:2304.04934"
    moves: ClassVar = {"ascend": Move(+1)}

    lr: float = 1e-4
    epochs: int = 5
    batch: int = 256
    optimizer: Optimizer = "sgd"

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        """Climb."""
        model.train()

        def loss(x: Inputs, y: Tensor) -> Tensor:
            return -F.cross_entropy(model(x), y)

        batches = forget.batches(self.batch, epochs=self.epochs)
        return Trace.of(minimize(loss, model.parameters(), batches, phase="ascend", lr=self.lr, optimizer=self.optimizer))
