"""FineTune: go on training on what is retained, and let the rest fade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrain.core.data import Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Schedule, Trace, fit


@dataclass(frozen=True)
class FineTune(Method):
    """Minimise CE(f(x; theta), y) over retained samples, in training mode: theta <- theta - lr grad CE(D_r).

    Args:
        samples: Retained samples used, in all, the same number of each class; as many as UNSIR takes, so that the two compare.
        lr: Learning rate; 0.01 in Liu et al.'s code.
        epochs: Passes over the samples; 10 in Liu et al.'s code.
        batch: Batch size; 256 in Liu et al.'s code.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay; 5e-4 in Liu et al.'s code.
        schedule: How the learning rate runs.
        augment: Whether to use the random change that the data carries.
    """

    paper = "a baseline of Golatkar et al., 2020, arXiv:1911.04933; settings of Liu et al., 2023, arXiv:2304.04934"
    forgets: ClassVar = False
    moves: ClassVar = {"finetune": Move(-1)}

    samples: int = 9000
    lr: float = 0.01
    epochs: int = 10
    batch: int = 256
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    schedule: Schedule = "constant"
    augment: bool = True

    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        """Train on."""
        kept = retain.at_most(self.samples)
        return Trace.of(
            fit(
                model,
                kept,
                phase="finetune",
                lr=self.lr,
                epochs=self.epochs,
                batch=self.batch,
                augment=self.augment,
                optimizer=self.optimizer,
                weight_decay=self.weight_decay,
                schedule=self.schedule,
            )
        )
