"""SSD: dampen the weights that matter far more to the forgotten samples than to the rest. No step is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.gather import gradients
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace, phase


@dataclass(frozen=True)
class SSD(Method):
    """Scale down each weight theta_i whose importance to the forget set is more than alpha times its importance to other data.

        I(D)_i  =  mean over (x, y) in D of (d CE(f(x; theta), y) / d theta_i)^2            (in evaluation mode)
        theta_i <- min(lambda I(D)_i / I(D_f)_i, 1) theta_i     where  I(D_f)_i > alpha I(D)_i.

    The gradient is squared sample by sample, so that neither the size of a batch nor its order counts. The published code squares
    the mean gradient of a batch: the preset `paper`, whose outcome moves with both.

    D is all training data in the paper and its code (over="all"), and the retain set by default, for a reason of arithmetic: where the
    forget set is the share s of D, I(D) >= s I(D_f), so that no weight passes an alpha of 1/s or more. Of ten like classes the paper's 10
    selects none, sample by sample (of CIFAR-100's it does). Over the retain set there is no such bound.

    Args:
        alpha: How many times more important to the forgotten. 10 in the paper for ResNets; the default is ours, from digits 1 and 7.
        dampening: lambda; 1 in the paper.
        over: What a weight's other importance is measured on: the `retain` set, or `all` data.
        each: Whether gradients are squared sample by sample, or (no) batch by batch as in the published code.
        samples: Retained samples used, in all, the same number of each class; all of them in the paper.
        batch: Samples at once; 64 in the published code.
    """

    paper = "Foster et al., Selective Synaptic Dampening, AAAI 2024, arXiv:2308.07707; sample by sample as in the toolkit SUPREME (ssd_det)"
    draws: ClassVar = False
    knobs: ClassVar = {"unchanged": {"alpha": -1}, "remembers": {"alpha": -1}, "collapsed": {"alpha": +1}}

    alpha: float = 20.0
    dampening: float = 1.0
    over: Literal["retain", "all"] = "retain"
    each: bool = True
    samples: int = 9000
    batch: int = 64

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Any weight that is not frozen."""
        return {name: None for name, weight in model.named_parameters().items() if weight.requires_grad}

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Measure twice, dampen."""
        kept = retain.at_most(self.samples)
        if self.over == "all":
            # As large a part of the forget set as is taken of the retain set, in an order that mixes them and is always the same.
            kept = kept + forget[: round(len(forget) * len(kept) / len(retain))]
            kept = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))]
        model.eval()
        important, one = self.importance(model, forget)
        usual, two = self.importance(model, kept)
        with phase("dampen") as done, torch.no_grad():
            for weight, to_forgotten, to_others in zip(model.trainable(), important, usual, strict=True):
                chosen = to_forgotten > self.alpha * to_others
                scale = (self.dampening * to_others / to_forgotten).clamp(max=1)
                weight.copy_(torch.where(chosen, scale * weight, weight))
        return Trace.of(one, two, done)

    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        """I of these samples, for each weight."""

        def loss(x: Inputs, y: Tensor) -> Tensor:
            # Cross-entropy by its parts: under vmap torch's own imports sympy, two seconds of a look at small data.
            return -F.log_softmax(model(x), 1).gather(1, y[:, None]).mean()

        return gradients(model, loss, samples, phase="importance", batch=self.batch, each=self.each, power=2)


SSD.presets = {"paper": SSD(alpha=10.0, over="all", each=False, samples=1_000_000)}
