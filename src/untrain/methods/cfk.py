"""CFk: go on training the last layers on what is retained, and let the rest of the network stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrain.core.data import Samples
from untrain.core.depth import last
from untrain.core.errors import BadArgument
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Schedule, Trace


@dataclass(frozen=True)
class CFk(Method):
    """Minimise CE(f(x; theta), y) over retained samples in the last k layers, and leave the others to the bit: "catastrophically forgetting the last k".

    Layers are counted from the answer backwards in the order in which they run, the head first; a normalisation goes with the layer ahead of it.
    Frozen layers are in evaluation mode, so that their running statistics stay as well, which most public code lets go; dropout is off.

    Args:
        k: How many layers are trained; all, where there are no more. Published code counts blocks, 3, 6 or 9 of them.
        samples: Retained samples used, in all, the same number of each class; the paper uses all.
        lr: Learning rate; 0.01 in published code, which in 10 epochs leaves most of the digits 1 and 7 named. Ours was chosen on these, with the epochs.
        epochs: Passes over the samples; 10 in published code.
        batch: Batch size.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay.
        schedule: How the learning rate runs.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Goel et al., Towards Adversarial Evaluations for Inexact Machine Unlearning, 2022, arXiv:2201.06640"
    moves: ClassVar = {"finetune": Move(-1)}

    k: int = 3
    samples: int = 9000
    lr: float = 0.05
    epochs: int = 20
    batch: int = 64
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    schedule: Schedule = "constant"
    augment: bool = True

    def __post_init__(self) -> None:
        """Refuse numbers that it cannot mean.

        Raises:
            BadArgument: no layer to train.
        """
        super().__post_init__()
        if self.k < 1:
            raise BadArgument(f"CFk(k={self.k}) trains no layer; give 1 or more, the head being the first")

    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        """Train the last layers on."""
        return last(model, retain, self.k).fit(
            model,
            retain.at_most(self.samples),
            batch=self.batch,
            epochs=self.epochs,
            augment=self.augment,
            phase="finetune",
            lr=self.lr,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
        )
