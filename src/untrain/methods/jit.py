"""JiT: level the network around the forgotten samples, so that it no longer tells them from what lies next to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.around import numbers, put
from untrain.core.data import Inputs, Samples
from untrain.core.errors import BadArgument
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Trace, minimize


@dataclass(frozen=True)
class JiT(Method):
    """Minimise a local estimate of the network's Lipschitz constant at the forgotten samples.

        L(x) = mean_i  |f(x; theta) - f(x + e_i)| / |e_i|,   e_i ~ N(0, sigma^2) for each number of the input,   theta <- argmin mean L(x)  over D_f.

    As in the published code f(x + e_i) is without gradient, a target for f(x), and BatchNorm is in training mode. With the
    gradient through both, which the formula asks for (`both`), the network got flatter around the digit 7 and went on naming it, while it lost retained ones:
    what forgets is the pull to the target. The published loop never clears its gradients, so that each step takes all earlier ones along; ours
    clears them, and has Nesterov momentum.

    Args:
        sigma: Standard deviation of the noise, in the units that the network reads; 0.1 in the published code. Ours was chosen on digits 1 and 7.
        copies: Noisy copies of each sample in a step; 25 in the published code.
        both: Whether the gradient goes through f(x + e_i) too.
        lr: Learning rate; 0.01 in the published code.
        epochs: Passes over the forget set; 1 in the published code. Ours was chosen with `sigma`.
        batch: Batch size; 64 in the published code.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
    """

    paper = "Foster et al., An Information Theoretic Approach to Machine Unlearning, TMLR 2025, arXiv:2402.01401"
    moves: ClassVar = {"level": Move(0, why="it lowers a slope of the answers, which is none of the quantities that a move is of")}

    sigma: float = 0.5
    copies: int = 25
    both: bool = False
    lr: float = 0.01
    epochs: int = 5
    batch: int = 64
    optimizer: Optimizer = "sgd"

    def __post_init__(self) -> None:
        """Refuse numbers that it cannot mean.

        Raises:
            BadArgument: no noise, or no copy.
        """
        super().__post_init__()
        if self.copies < 1 or not self.sigma:
            raise BadArgument(f"JiT(sigma={self.sigma}, copies={self.copies}) compares a sample with nothing beside it; give at least one copy and noise above 0")

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        """Level."""

        def loss(x: Inputs, y: Tensor) -> Tensor:
            rows, out = numbers(x), model(x)
            found = []
            for _ in range(self.copies):
                e = self.sigma * torch.randn_like(rows)
                with torch.set_grad_enabled(self.both):
                    away = model(put(x, rows + e))
                found.append((out - away).norm(dim=1) / e.norm(dim=1))
            return torch.stack(found).mean()

        model.train()
        batches = forget.batches(self.batch, epochs=self.epochs)
        return Trace.of(minimize(loss, model.parameters(), batches, phase="level", lr=self.lr, optimizer=self.optimizer))
