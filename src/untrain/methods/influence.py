"""Influence: one Newton step to where training without the forgotten samples would have ended, were the loss a parabola."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.curvature import solve
from untrain.core.data import Inputs, Samples
from untrain.core.gather import gradients
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.trace import Trace, phase


@dataclass(frozen=True)
class Influence(Method):
    """Step by the influence of the forgotten samples on the weights.

        theta <- theta + alpha (G + damping I)^-1 v,      v = n_f / (n_f + n_r) (mean grad CE(D_f) - mean grad CE(D_r))

    G is the Gauss-Newton matrix of CE over the retain set, which is the Fisher information of the model; the equation is solved by conjugate
    gradients, in evaluation mode. With alpha 1 and the weight decay of training as damping, this is exact where the model is linear and the loss
    quadratic (ridge regression), and right to first order where the loss is convex. A deep network is neither.

    The published code (WoodFisher) inverts an empirical Fisher by a recursion whose second vector keeps the direction of the first gradient: what
    comes of it is v less a multiple of that one gradient, whatever the samples are. It also leaves out the retained samples' gradient in one version.

    Args:
        alpha: Length of the step; 1 by the theory, 1 to 20 searched in the published code.
        damping: What is added to the diagonal of G. Ours was chosen on the digits 1 and 7 with the steps: at 0.1 most are still named.
        solve_steps: Steps of conjugate gradients, at most; each goes over all samples at 7 passes.
        samples: Retained samples used, in all, the same number of each class; 1,000 in the published code.
        batch: Samples at once.
    """

    paper = "Koh and Liang, Understanding Black-box Predictions via Influence Functions, ICML 2017, arXiv:1703.04730; as a baseline of Jia et al., 2023, arXiv:2304.04934"
    draws: ClassVar = False
    knobs: ClassVar = {"remembers": {"alpha": +1}, "collapsed": {"alpha": -1, "damping": +1}, "unchanged": {"alpha": +1}}

    alpha: float = 1.0
    damping: float = 0.01
    solve_steps: int = 10
    samples: int = 1000
    batch: int = 64

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Any weight that is not frozen; none without a step of the solver."""
        return {name: None for name, weight in model.named_parameters().items() if weight.requires_grad and self.solve_steps}

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Solve for the step and take it."""
        kept = retain.at_most(self.samples)

        def loss(x: Inputs, y: Tensor) -> Tensor:
            return self.loss(model(x), y)

        model.eval()
        gone, one = gradients(model, loss, forget, phase="gradient", batch=self.batch)
        here, two = gradients(model, loss, kept, phase="gradient", batch=self.batch)
        part = len(forget) / (len(forget) + len(retain))
        v = [part * (f - r) for f, r in zip(gone, here, strict=True)]
        step, three = solve(model, self.loss, kept, v, damping=self.damping, steps=self.solve_steps, phase="solve", batch=self.batch)
        with phase("step") as done, torch.no_grad():
            for weight, way in zip(model.trainable(), step, strict=True):
                weight.add_(way.to(weight), alpha=self.alpha)
        return Trace.of(one, two, three, done)

    def loss(self, answers: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy of answers [n, C] and labels [n]."""
        return F.cross_entropy(answers, y)
