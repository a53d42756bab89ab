"""Influence: one Newton step to where training without the forgotten samples would have ended, were the loss a parabola."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.curvature import lissa, solve
from untrain.core.data import Inputs, Samples
from untrain.core.gather import gradients
from untrain.core.kronecker import ekfac
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace, phase


@dataclass(frozen=True)
class Influence(Method):
    """Step by the influence of the forgotten samples on the weights.

        theta <- theta + alpha (G + damping I)^-1 v,      v = n_f / (n_f + n_r) (mean grad CE(D_f) - mean grad CE(D_r))

    G is the Gauss-Newton matrix of CE over the retain set, which is the Fisher information of the model, in evaluation mode. With alpha 1 and the weight
    decay of training as damping, this is exact where the model is linear and the loss quadratic (ridge regression), and right to first order where the
    loss is convex. A deep network is neither.

    The equation is solved by conjugate gradients (`cg`); by LiSSA, whose steps look at one batch each; or by EK-FAC, which takes G for a Kronecker product in
    each linear layer and convolution, with its eigenvalues measured, and for a diagonal in all other weights (BatchNorm's, embeddings, those that layers share),
    and leaves out what lies between layers. EK-FAC goes by the exact G of all answers and draws no labels, and costs 2 (1 + 2 k) passes for each sample, k the
    classes, and half as many again where there are other weights.

    Of held-out images of the digits 1 and 7 (`benchmarks/records/tuning-digits.json`) `cg` at its default leaves 8 % and none named, and costs the rest 0 and 5.6
    points. `ekfac` takes longer steps: at the same damping it leaves none and costs 3.7 and 11.7 points, at five times that (the preset) none and 1.2 and
    4.4. `lissa` needs about scale / damping batches to end where these do: at as many passes it leaves 96 % and 86 %, at ten times as many 50 % and 10 %,
    and with twice the step (the preset) 4 % and none, for 0.4 and 4.0 points. On the digit 3, by which nothing was chosen, `ekfac` was worse than `cg` in both
    (`benchmarks/README.md`).

    The published code (WoodFisher) inverts an empirical Fisher by a recursion whose second vector keeps the direction of the first gradient: what
    comes of it is v less a multiple of that one gradient, whatever the samples are. It also leaves out the retained samples' gradient in one version.

    Args:
        alpha: Length of the step; 1 by the theory, 1 to 20 searched in the published code.
        damping: What is added to the diagonal of G. Ours was chosen on the digits 1 and 7 with the steps: at 0.1 most are still named.
        solve_steps: Steps of conjugate gradients, at most; each goes over all samples at 7 passes. Of LiSSA, whose error shrinks by 1 - damping / scale with each, the batches.
        samples: Retained samples used, in all, the same number of each class; 1,000 in the published code.
        batch: Samples at once.
        solver: `cg`, `lissa` (Agarwal et al., 2017, arXiv:1602.03943) or `ekfac` (George et al., 2018, arXiv:1806.03884; for influence Grosse et al., 2023, arXiv:2308.03296).
        scale: Of LiSSA, above the largest eigenvalue of any batch's G; ours was chosen on the digits 1 and 7. Where a batch curves by more the run ends and says by how much.
    """

    paper = "Koh and Liang, Understanding Black-box Predictions via Influence Functions, ICML 2017, arXiv:1703.04730; as a baseline of Jia et al., 2023, arXiv:2304.04934"
    draws: ClassVar = False
    knobs: ClassVar = {"remembers": {"alpha": +1}, "collapsed": {"alpha": -1, "damping": +1}, "unchanged": {"alpha": +1}, "diverged": {"damping": +1}}
    small: ClassVar = {"solve_steps": 40}

    alpha: float = 1.0
    damping: float = 0.01
    solve_steps: int = 10
    samples: int = 1000
    batch: int = 64
    solver: Literal["cg", "lissa", "ekfac"] = field(default="cg", metadata={"later": True})
    scale: float = field(default=50.0, metadata={"later": True})

    def advice(self, failure: str, phase: str = "") -> str:
        """Of LiSSA that ran away the scale."""
        if failure == "diverged" and self.solver == "lissa":
            return f"raise --scale (it was {self.scale})"
        return super().advice(failure, phase)

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Any weight that is not frozen; none without a step of conjugate gradients."""
        return {name: None for name, weight in model.named_parameters().items() if weight.requires_grad and (self.solve_steps or self.solver != "cg")}

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
        step, three = self.solved(model, kept, v)
        with phase("step") as done, torch.no_grad():
            for weight, way in zip(model.trainable(), step, strict=True):
                weight.add_(way.to(weight), alpha=self.alpha)
        return Trace.of(one, two, three, done)

    def solved(self, model: Network, kept: Samples, v: Sequence[Tensor]) -> tuple[list[Tensor], Phase]:
        """(G + damping I)^-1 v."""
        if self.solver == "ekfac":
            inverse, looked = ekfac(model, self.loss, kept, damping=self.damping, phase="solve", batch=self.batch)
            return inverse(v), looked
        if self.solver == "lissa":
            # Batches in an order that mixes classes and is always the same.
            drawn = torch.Generator().manual_seed(0)
            return lissa(model, self.loss, kept, v, damping=self.damping, steps=self.solve_steps, scale=self.scale, phase="solve", batch=self.batch, generator=drawn)
        return solve(model, self.loss, kept, v, damping=self.damping, steps=self.solve_steps, phase="solve", batch=self.batch)

    def loss(self, answers: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy of answers [n, C] and labels [n]."""
        return F.cross_entropy(answers, y)


Influence.presets = {
    "ekfac": Influence(solver="ekfac", damping=0.05),
    "lissa": Influence(alpha=2.0, solver="lissa", solve_steps=1500),
}
