"""SALSA: distil the network into itself with part of the true class's share taken off, held to its old weights. Sees the forgotten alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.errors import BadArgument
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Trace, Turn, alternate


def ramp(done: float) -> float:
    """From 0 to 1 by a cosine, as `done` goes from 0 to 1.

    >>> [round(ramp(t), 2) for t in (0.0, 0.5, 1.0)]
    [0.0, 0.5, 1.0]
    """
    return 0.5 * (1 - math.cos(math.pi * done))


@dataclass(frozen=True)
class SALSA(Method):
    """Follow one's own answers with a share of the top class moved to the others, and stay near the old weights, nearer the closer to the input.

        q   = softmax f(x; theta), without gradient;  c = argmax f(x; theta_o)
        q*_c = (1 - alpha) q_c,   q*_k = q_k (1 - q*_c) / (1 - q_c)  for k != c
        theta <- argmin  mean KL(softmax f(x; theta) || q*)  +  sum_l lambda_l |theta_l - theta_o,l|^2  over D_f,
        lambda_l = 5e-4 l + 5e-3,   l the tensor's place counted from the output.

    Over the run alpha rises from `alpha` to `alpha_end`, and each lambda_l by `pull_end`, by half a cosine. In training mode, as the
    published package: BatchNorm follows the forgotten samples. Of several classes each may still be called by the name of another.
    The package takes AdamW; decay towards 0 is left out here, beside the pull towards theta_o.

    Args:
        alpha: Share taken off at the start, below 1; 0.3 in the package.
        alpha_end: Share taken off at the end, below 1; 0.6 in the package.
        pull: lambda at the output; 5e-3 in the package.
        pull_each: What each tensor further from the output adds to it; 5e-4 in the package.
        pull_end: What all of them have more at the end; 1e-2 in the package.
        lr: Learning rate; 9e-4 in the package.
        steps: Optimizer steps, the forget set gone through again and again; 1,500 in the package, which keep more
            of the others beside the digit 1 and less beside 7 (.83 against .90). Ours was chosen on these.
        batch: Batch size; 16 in the package.
        optimizer: adam, or sgd with Nesterov momentum 0.9.
        augment: Whether to use the random change that the data carries.
    """

    paper = "SALSA of the package unlearn-lib 0.1.0 (MIT); no paper was found"
    moves: ClassVar = {"distil": (Move(+1, of="cross-entropy", on="forget", over="phase"), Move(-1, of="p of forgotten", on="forget", over="phase"))}
    small: ClassVar = {"steps": 40}
    knobs: ClassVar = {"remembers": {"steps": +1, "lr": +1}, "collapsed": {"steps": -1, "lr": -1}, "unchanged": {"steps": +1, "lr": +1}}

    alpha: float = 0.3
    alpha_end: float = 0.6
    pull: float = 5e-3
    pull_each: float = 5e-4
    pull_end: float = 1e-2
    lr: float = 9e-4
    steps: int = 200
    batch: int = 16
    optimizer: Optimizer = "adam"
    augment: bool = False

    def __post_init__(self) -> None:
        """Refuse a share that leaves nothing: from answers without the class every network is infinitely far.

        Raises:
            BadArgument: a share of 1 or more.
        """
        super().__post_init__()
        if not max(self.alpha, self.alpha_end) < 1:
            raise BadArgument(f"SALSA(alpha={self.alpha}, alpha_end={self.alpha_end}) leaves the top class nothing, which no network can follow; give shares below 1")

    def target(self, logits: Tensor, top: Tensor, share: float) -> Tensor:
        """Logarithm of q*: the answers [n, C] with this share of the class `top` [n] given to the others, as their shares are.

        >>> SALSA().target(torch.tensor([[2.0, 1.0, 1.0]]).log(), torch.tensor([0]), 0.5).exp().tolist()
        [[0.25, 0.375, 0.375]]
        """
        own, left, taken = F.log_softmax(logits, dim=1), math.log1p(-share), math.log(share) if share else -math.inf
        # What the others have together, of their own logarithms: where the top class has nearly all, one minus its share is rounding, or nothing.
        others = own.scatter(1, top[:, None], -torch.inf)
        theirs = others.logsumexp(1, keepdim=True)
        given = torch.logaddexp(torch.full_like(theirs, taken), theirs + left)
        return (others - theirs + given).scatter(1, top[:, None], own.gather(1, top[:, None]) + left)

    def strength(self, place: int, done: float) -> float:
        """The lambda of the tensor at this place from the output, 0 for the last, at this share of the run."""
        return self.pull + self.pull_each * place + self.pull_end * ramp(done)

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        """Distil."""
        teacher, weights = model.teacher(), model.trainable()
        start, taken = [w.detach().clone() for w in weights], torch.zeros((), dtype=torch.long)

        def loss(x: Inputs, y: Tensor) -> Tensor:
            done = int(taken) / max(1, self.steps - 1)
            taken.add_(1)
            out = model(x)
            with torch.no_grad():
                target = self.target(out, teacher(x).argmax(1), self.alpha + (self.alpha_end - self.alpha) * ramp(done))
            # KL of the student from the target: the target is what is given as logarithms of the answers that are followed.
            apart = F.kl_div(target, F.log_softmax(out, dim=1), reduction="batchmean", log_target=True)
            held = sum(self.strength(len(weights) - 1 - i, done) * (w - s).square().sum() for i, (w, s) in enumerate(zip(weights, start, strict=True)))
            return apart + held

        model.train()
        batches = forget.batches(self.batch, augment=self.augment)
        return alternate(
            Turn(phase="distil", loss=loss, parameters=weights, batches=batches, steps=self.steps, lr=self.lr, optimizer=self.optimizer, carry={"taken": taken}), rounds=1
        )
