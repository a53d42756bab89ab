"""Retrain: build the network anew and train it on what is retained, as the original was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrain.core.data import Samples
from untrain.core.method import Method, Move, Recipe
from untrain.core.network import Network
from untrain.core.train import Trace


@dataclass(frozen=True)
class Retrain(Method):
    """Train a new network on the retain set by the recipe that made the original: theta_* = A(D_r), A the training.

    Every parameter and buffer is replaced by that of a network constructed anew; nothing of the original is left.
    It has no setting of its own: how long and how fast to train is the recipe's.
    """

    paper = "the exact method by definition; Bourtoule et al., Machine Unlearning, 2021, arXiv:1912.03817, section III"
    moves: ClassVar = {"train": Move(-1)}

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Everything."""
        return dict.fromkeys(model.module.state_dict())

    def __call__(self, model: Network, *, retain: Samples, recipe: Recipe) -> Trace:
        """Replace the model's weights and train them."""
        model.become(recipe.build())
        return Trace.of(recipe.train(model, retain))
