"""EUk: build the last layers anew and train them on what is retained, on what the other layers tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from untrain.core.data import Samples
from untrain.core.depth import last
from untrain.core.errors import BadArgument, BadData
from untrain.core.method import Method, Move, Recipe
from untrain.core.network import Network
from untrain.core.train import Optimizer, Schedule, Trace


@dataclass(frozen=True)
class EUk(Method):
    """Draw the last k layers anew, then minimise CE(f(x; theta), y) over retained samples in them alone: "exact unlearning of the last k".

    New weights and buffers are those of the network that the recipe builds. Layers are counted from the answer backwards in the order in
    which they run, the head first; a normalisation goes with the layer ahead of it. Frozen layers keep every bit, their running statistics too,
    which most public code lets go. What they know of the forgotten stays in them.

    Args:
        k: How many layers are drawn anew and trained; all, where there are no more. Published code counts blocks, 3, 6 or 9 of them.
        samples: Retained samples used, in all, the same number of each class; the paper uses all.
        lr: Highest learning rate; that of the zoo's recipe for digits, since the layers begin anew.
        train_epochs: Passes over the samples; 10 in published code.
        batch: Batch size.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay.
        schedule: How the learning rate runs.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Goel et al., Towards Adversarial Evaluations for Inexact Machine Unlearning, 2022, arXiv:2201.06640"
    moves: ClassVar = {"train": Move(-1)}

    k: int = 3
    samples: int = 9000
    lr: float = 0.05
    train_epochs: int = 10
    batch: int = 64
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    schedule: Schedule = "onecycle"
    augment: bool = True

    def __post_init__(self) -> None:
        """Refuse numbers that it cannot mean.

        Raises:
            BadArgument: no layer to draw anew.
        """
        super().__post_init__()
        if self.k < 1:
            raise BadArgument(f"EUk(k={self.k}) draws no layer anew; give 1 or more, the head being the first")

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Any entry, since which layers are the last is known when samples go through them."""
        return dict.fromkeys(model.module.state_dict())

    def __call__(self, model: Network, *, retain: Samples, recipe: Recipe) -> Trace:
        """Draw the last layers anew and train them."""
        part, new = last(model, retain, self.k), recipe.build()
        mine, theirs = ({**dict(m.named_parameters()), **dict(m.named_buffers())} for m in (model.module, new))
        trained = {id(p) for p in part.weights}
        for name in [name for name in mine if name.startswith(tuple(f"{n}." if n else "" for n in part.parts))]:
            if isinstance(mine[name], torch.nn.Parameter) and id(mine[name]) not in trained:
                continue
            if name not in theirs or theirs[name].shape != mine[name].shape:
                raise BadData(f"the network that is built anew has no {name} of this shape; give the recipe of this model")
            with torch.no_grad():
                mine[name].copy_(theirs[name])

        return part.fit(
            model,
            retain.at_most(self.samples),
            batch=self.batch,
            epochs=self.train_epochs,
            augment=self.augment,
            phase="train",
            lr=self.lr,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
        )
