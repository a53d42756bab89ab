"""UNSC: teach the forgotten the next best label, along directions that the retained do not excite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.errors import BadData
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.subspace import Spared, layers, second_moments
from untrain.core.train import Trace, minimize, predict


@dataclass(frozen=True)
class UNSC(Method):
    """Fine-tune the forgotten to other labels in the null space of what the retained excite.

        null space   B = the principal directions of each layer's input over some retained samples (a convolution's: its patches), with `energy` of the energy
        calibrate    theta <- argmin CE(f(x; theta), y')  over D_f,   each weight's gradient  g <- g - g B B',   y' = argmax f(x; theta_o)_k over retained k != y

    The published code gathers B class by class, from what the directions of those before leave of each; here it is of all at once, the same number of each class.
    What a layer answers to the retained then stays as it was, up to the energy that is left out. Weights of linear layers and convolutions move; biases and normalisations do
    not, as they move every answer, and BatchNorm is in evaluation mode. There is no weight decay, and the optimizer is sgd, whose steps stay in the null space with its momentum.

    Args:
        samples: Retained samples whose activations are looked at, in all, the same number of each class; a batch of each in the published code.
        energy: Share of the energy that is spared; 0.99 in the paper.
        lr: Learning rate; 0.04 in the published code.
        epochs: Passes over the forgotten samples; 20 in the published code for the next best label.
        batch: Batch size.
    """

    paper = "Chen et al., Machine Unlearning via Null Space Calibration, IJCAI 2024, arXiv:2404.13588"
    shares: ClassVar = ("energy",)
    moves: ClassVar = {"calibrate": Move(-1)}
    small: ClassVar = {"batch": 16}
    knobs: ClassVar = {"remembers": {"lr": +1, "energy": -1}, "collapsed": {"energy": +1, "lr": -1}, "unchanged": {"lr": +1, "energy": -1}}

    samples: int = 900
    energy: float = 0.99
    lr: float = 0.04
    epochs: int = 20
    batch: int = 64

    def next_best(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        """Of each forgotten sample the label that the model thinks likeliest, of those that stay but its own.

        Raises:
            BadData: nothing is retained of any other class.
        """
        logits, labels, _ = predict(model, forget)
        stays = torch.zeros(logits.shape[1], dtype=torch.bool)
        stays[list(retain.classes)] = True
        allowed = stays.repeat(len(labels), 1).scatter(1, labels[:, None], False)
        if not bool(allowed.any(1).all()):
            raise BadData("UNSC gives the forgotten the label of another class, and nothing is retained of any; retain samples of two classes at least")
        return logits.masked_fill(~allowed, -torch.inf).argmax(1)

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Look at what the retained excite, and fine-tune off it."""
        taught = forget.labelled(self.next_best(model, forget, retain))
        moments, looked = second_moments(model, layers(model), retain.at_most(self.samples))
        free = Spared(model, moments, self.energy)

        def loss(x: Inputs, y: Tensor) -> Tensor:
            return F.cross_entropy(model(x), y)

        model.eval()
        batches = taught.batches(self.batch, epochs=self.epochs)
        done = minimize(loss, free.weights, batches, phase="calibrate", lr=self.lr, optimizer="sgd", combine=lambda slopes: free.off(slopes[0]))
        return Trace.of(looked, done)
