"""SFRon: now and then a step up the forgotten samples' loss in the weights that matter to them, between steps down the retained ones'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.gather import gradients
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.trace import Phase
from untrain.core.train import Optimizer, Trace, Turn, alternate, rate

LEAST = 1e-15
"""What is added to importances and losses before one is divided by another, as in the published code."""


@dataclass(frozen=True)
class SFRon(Method):
    """After each step of ascent follow several of descent.

        ascend  theta <- theta + lr m grad alpha_t sum_i w_i CE(f(x_i; theta), y_i)    over a forgotten batch, w_i ~ 1 / CE_i^lambda, sum w_i = 1
        remain  theta <- theta - lr grad CE(f(x; theta), y)                              over retained batches, `every` of them

    m = 1 where F_f >= gamma F_r: weights that matter more to the forgotten than to the retained, F the diagonal of the empirical Fisher
    information (mean squared gradient, sample by sample, in evaluation mode; the published code squares means of batches). w_i is detached:
    samples that are gone already are pushed less. alpha_t and the learning rate fall as a cosine; the ascent is clipped. In training mode.

    In the published code both kinds of steps share one optimizer, so that momentum carries masked weights along in the ascent and the ascent
    on into the descent; here each has its own, and what is masked does not move in the ascent. Its moving average of weights has the factor 1, which
    makes it none, and is left out.

    Args:
        alpha: alpha_0, weight of the ascent; 25 in the published code.
        power: lambda, how much less a sample counts the higher its loss; 0.5 in the paper.
        gamma: How many times more a weight must matter to the forgotten; 1 in the paper.
        every: Descending steps to one ascending; 5 in the published code.
        clip: Largest length of the ascent's gradient, 0 for none; 7 in the published code, which costs three to four points of the rest where the digits 1 or 7 go. Ours was
            chosen on these.
        samples: Retained samples used, in all, the same number of each class; the published code uses all.
        lr: Learning rate at the start; 0.01 in the published code.
        epochs: Passes over the retained samples; the published code takes 1,500 steps, eight passes and a half.
        batch: Batch size of both parts; 256 in the published code.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay; 5e-4 in the published code.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Huang et al., Unified Gradient-Based Machine Unlearning with Remain Geometry Enhancement, NeurIPS 2024, arXiv:2409.19732"
    moves: ClassVar = {"ascend": Move(+1, of="cross-entropy", on="forget"), "remain": Move(-1)}
    small: ClassVar = {"batch": 16, "clip": 7.0}
    knobs: ClassVar = {"remembers": {"alpha": +1, "epochs": +1}, "collapsed": {"clip": -1, "alpha": -1}}

    alpha: float = 25.0
    power: float = 0.5
    gamma: float = 1.0
    every: int = 5
    clip: float = 1.0
    samples: int = 9000
    lr: float = 0.01
    epochs: int = 8
    batch: int = 64
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    augment: bool = True

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Find the weights, then climb and descend in turns."""
        kept, weights = retain.at_most(self.samples), model.trainable()
        model.eval()
        forgotten, one = self.importance(model, forget)
        others, two = self.importance(model, kept)
        mask = [(f + LEAST) / (r + LEAST) >= self.gamma for f, r in zip(forgotten, others, strict=True)]
        at = {"share": 1.0}

        def falling(step: int, steps: int) -> float:
            # Asked before each step on every rank, with a batch or without one: the loss takes its weight from here.
            at["share"] = rate("cosine", step, steps)
            return at["share"]

        def ascend(x: Inputs, y: Tensor) -> Tensor:
            each = F.cross_entropy(model(x), y, reduction="none")
            return -self.alpha * at["share"] * (self.weights(each) * each).sum()

        def remain(x: Inputs, y: Tensor) -> Tensor:
            return F.cross_entropy(model(x), y)

        model.train()
        how: dict[str, Any] = {"parameters": weights, "lr": self.lr, "optimizer": self.optimizer, "weight_decay": self.weight_decay}
        batches = kept.batches(self.batch, augment=self.augment)
        every = max(1, self.every)
        return Trace.of(
            one,
            two,
            *alternate(
                Turn(phase="ascend", loss=ascend, batches=forget.batches(self.batch, augment=self.augment), steps=1, schedule=falling, mask=mask, clip=self.clip or None, **how),
                Turn(phase="remain", loss=remain, batches=batches, steps=every, schedule="cosine", **how),
                rounds=-(-self.epochs * len(batches) // every),
            ).values(),
        )

    def weights(self, losses: Tensor) -> Tensor:
        """W [n] of the samples' losses [n].

        >>> import torch
        >>> SFRon().weights(torch.tensor([1.0, 4.0, 4.0])).tolist()
        [0.5, 0.25, 0.25]
        """
        w: Tensor = 1 / (losses.detach() ** self.power + LEAST)
        return w / w.sum()

    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        """F of these samples, for each weight."""

        def loss(x: Inputs, y: Tensor) -> Tensor:
            # By its parts, since under vmap torch's own imports sympy.
            return -F.log_softmax(model(x), 1).gather(1, y[:, None]).mean()

        return gradients(model, loss, samples, phase="importance", batch=self.batch, each=True, power=2)
