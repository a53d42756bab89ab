"""How the zoo's networks came about: what `train` runs, and what `retrain` runs again without the forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Phase, Schedule, fit
from untrain.zoo.networks import NETWORKS


@dataclass(frozen=True)
class Recipe:
    """A network and its training: sgd with Nesterov momentum on cross-entropy, the data's augmentation on.

    Args:
        network: Name of the network in the zoo.
        classes: Width of its head.
        epochs: Passes over the training samples.
        lr: Highest learning rate.
        batch: Batch size.
        momentum: Nesterov momentum.
        weight_decay: L2 weight decay.
        schedule: How the learning rate runs.
    """

    network: str
    classes: int = 10
    epochs: int = 12
    lr: float = 0.2
    batch: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "onecycle"

    def build(self) -> nn.Module:
        """The network before training, drawn from the random state of the moment."""
        return NETWORKS[self.network](self.classes)

    def train(self, model: Network, samples: Samples) -> Phase:
        """Train it on these samples."""
        return fit(
            model,
            samples,
            phase="train",
            lr=self.lr,
            epochs=self.epochs,
            batch=self.batch,
            augment=True,
            optimizer="sgd",
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
        )


def recipe_for(network: str, classes: int, epochs: int | None = None) -> Recipe:
    """The zoo's recipe for a network: 12 epochs of one cycle for images, 20 for digits, unless told otherwise."""
    if network == "digits":
        return Recipe(network, classes, epochs=20 if epochs is None else epochs, lr=0.05, batch=64)
    return Recipe(network, classes, epochs=12 if epochs is None else epochs)
