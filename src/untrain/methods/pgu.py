"""PGU, projected-gradient unlearning: push the forgotten off their label, along directions that the retained do not excite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.errors import BadArgument
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.subspace import Spared, layers, second_moments
from untrain.core.train import Trace, minimize


@dataclass(frozen=True)
class PGU(Method):
    """Minimise a bounded loss of the forgotten by steps that are kept off what the retained excite.

        subspace  B = the principal directions of each layer's input over the retained (a convolution's: its patches), with `energy` of the energy
        unlearn   theta <- argmin mean -log(1 - (p_y - b)) + w H(p)  over D_f,  p = softmax f(x; theta), H its entropy;   each weight's gradient  g <- g - g B B'

    The slope of the first term is at most 1 / b, where that of -CE grows without end. Weights of linear layers and convolutions move, and nothing else; BatchNorm is in
    evaluation mode. The rate falls from `lr` to `lr_end` in equal ratios, without momentum or decay. The paper takes the second moments of the retained as those of all
    training samples, kept since training, less those of the forgotten; here they are measured on the retained. It stops where retained accuracy falls; here the epochs are fixed.

    Args:
        samples: Retained samples whose activations are looked at, in all, the same number of each class; all in the paper.
        energy: Share of the energy that is spared; 0.9 to 0.95 in the paper, as variance.
        bound: b, above 0; 0.05 in the published code.
        entropy: w; 0.2 in the published code.
        lr: First learning rate; 0.1 in the published code, 0.05 for Tiny ImageNet.
        lr_end: Last learning rate; 0.01 in the published code.
        epochs: Passes over the forgotten samples; 100 in the published code.
        batch: Batch size.
    """

    paper = "Hoang et al., Learn to Unlearn for Deep Neural Networks: Minimizing Unlearning Interference with Gradient Projection, WACV 2024, arXiv:2312.04095"
    shares: ClassVar = ("energy",)
    moves: ClassVar = {"unlearn": Move(+1)}
    small: ClassVar = {"batch": 16, "epochs": 20}
    knobs: ClassVar = {"remembers": {"lr": +1, "energy": -1}, "collapsed": {"energy": +1, "lr": -1}, "unchanged": {"lr": +1, "energy": -1}}

    samples: int = 9000
    energy: float = 0.95
    bound: float = 0.05
    entropy: float = 0.2
    lr: float = 0.1
    lr_end: float = 0.01
    epochs: int = 100
    batch: int = 64

    def __post_init__(self) -> None:
        """Refuse what has no bound, or no rate to end at.

        Raises:
            BadArgument: a bound, a rate or a last rate of 0.
        """
        super().__post_init__()
        if not (self.bound > 0 and self.lr > 0 and self.lr_end > 0):
            raise BadArgument(f"{self!r}: the bound and both rates are above 0")

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean of -log(1 - (p_y - b)) + w H(p) over answers [n, C] and labels [n]."""
        said = F.log_softmax(logits, 1)
        p = said.exp()
        off = (1 + self.bound - p.gather(1, y[:, None])).log()
        return -off.mean() - self.entropy * (p * said).sum(1).mean()

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Look at what the retained excite, and step off it."""
        moments, looked = second_moments(model, layers(model), retain.at_most(self.samples))
        free = Spared(model, moments, self.energy)

        def loss(x: Inputs, y: Tensor) -> Tensor:
            return self.loss(model(x), y)

        def falls(step: int, steps: int) -> float:
            share: float = (self.lr_end / self.lr) ** (step / max(1, steps - 1))
            return share

        model.eval()
        batches = forget.batches(self.batch, epochs=self.epochs)
        done = minimize(loss, free.weights, batches, phase="unlearn", lr=self.lr, optimizer="sgd", momentum=0.0, schedule=falls, combine=lambda slopes: free.off(slopes[0]))
        return Trace.of(looked, done)
