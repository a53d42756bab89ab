"""SSD: dampen the weights that matter far more to the forgotten samples than to the rest. No step is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples, spread
from untrain.core.gather import gradients
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace, phase


def adaptive(ratios: Sequence[Tensor], share: float) -> float:
    """ASSD's alpha: the percentile 100 - ln(1 + 100 share) of the ratios I(D_f) / I(D) of all weights, those that are numbers.

    >>> round(adaptive([torch.arange(101.0), torch.tensor([torch.nan, torch.inf])], share=0.1), 2)
    97.6
    """
    values = torch.cat([ratio[ratio.isfinite()] for ratio in ratios]).sort().values
    if not len(values):
        return 0.0
    at = (1 - math.log1p(100 * share) / 100) * (len(values) - 1)
    low, high = values[math.floor(at)], values[math.ceil(at)]
    return float(low + (high - low) * (at - math.floor(at)))


@dataclass(frozen=True)
class SSD(Method):
    """Scale down each weight theta_i whose importance to the forget set is more than alpha times its importance to other data.

        I(D)_i  =  mean over x in D of (d ||f(x; theta)|| / d theta_i)^2                     (in evaluation mode)
        theta_i <- min(lambda I(D)_i / I(D_f)_i, 1) theta_i     where  I(D_f)_i > alpha I(D)_i.

    How much the length of the answers moves with a weight is what the authors' later paper measures (arXiv:2402.19308), so that no label is
    needed; the first one measures the slope of CE(f(x; theta), y) (of="loss"). That slope is next to nothing on samples that the network has
    learned, and what is left of it says how well each part was fitted: on digits no one alpha served two classes, and the alpha of
    20 that served them best left a third one named. Of the answers' length it did.

    alpha is found from the data, as in ASSD (arXiv:2402.10098): it is the percentile 100 - ln(1 + 100 s) of all ratios
    I(D_f)_i / I(D)_i, s being the forgotten samples' share of the training data. Neither has anything to tune; that they are the default
    was chosen on digits 1 and 7, on training images kept from the network (benchmarks/README.md).

    The gradient is squared sample by sample, so that neither the size of a batch nor its order counts. The published code squares
    the mean gradient of a batch: the preset `paper`, whose outcome moves with both.

    D is all training data in the paper and its code (over="all"), and the retain set by default, for a reason of arithmetic: where the
    forget set is the share s of D, I(D) >= s I(D_f), so that no weight passes an alpha of 1/s or more. Of ten like classes the paper's 10
    selects none, sample by sample (of CIFAR-100's it does). Over the retain set there is no such bound.

    Args:
        alpha: How many times more important to the forgotten; 10 in the paper for ResNets. 0, the default, finds it from the data.
        times: What alpha is multiplied by, found or given: the knob to turn where the forgotten are still named.
        dampening: lambda; 1 in the paper.
        of: What a weight is important to: the `norm` of the answers, or the `loss` of the labels as in the first paper.
        over: What a weight's other importance is measured on: the `retain` set, or `all` data.
        each: Whether gradients are squared sample by sample, or (no) batch by batch as in the published code.
        samples: Retained samples used, in all, the same number of each class; all of them in the paper.
        batch: Samples at once; 64 in the published code.
    """

    paper = (
        "Foster et al., Selective Synaptic Dampening, AAAI 2024, arXiv:2308.07707; without labels Foster et al., 2024, arXiv:2402.19308; alpha from the data "
        "Schoepf et al., 2024, arXiv:2402.10098; sample by sample as in the toolkit SUPREME (ssd_det)"
    )
    draws: ClassVar = False
    knobs: ClassVar = {"unchanged": {"times": -1}, "remembers": {"times": -1}, "collapsed": {"times": +1}}

    alpha: float = 0.0
    times: float = field(default=1.0, metadata={"later": True})
    dampening: float = 1.0
    of: Literal["norm", "loss"] = field(default="norm", metadata={"later": True})
    over: Literal["retain", "all"] = "retain"
    each: bool = True
    samples: int = 9000
    batch: int = 64

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Any weight that is not frozen."""
        return {name: None for name, weight in model.named_parameters().items() if weight.requires_grad}

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Measure twice, dampen."""
        model.eval()
        important, one = self.importance(model, forget)
        usual, two = self.importance(model, self.others(forget, retain))
        with phase("dampen") as done, torch.no_grad():
            share = len(forget) / (len(forget) + len(retain))
            alpha = self.times * (self.alpha or adaptive([a / b for a, b in zip(important, usual, strict=True)], share))
            for weight, to_forgotten, to_others in zip(model.trainable(), important, usual, strict=True):
                chosen = to_forgotten > alpha * to_others
                scale = (self.dampening * to_others / to_forgotten).clamp(max=1)
                weight.copy_(torch.where(chosen, scale * weight, weight))
        return Trace.of(one, two, done)

    def others(self, forget: Samples, retain: Samples) -> Samples:
        """D, what other importance is measured on."""
        kept = retain.at_most(self.samples)
        if self.over == "all":
            # As large a part of the forget set as is taken of the retain set, evenly from all of it, in an order that mixes them and is always the same.
            kept = kept + forget[spread(len(forget), round(len(forget) * len(kept) / len(retain)))]
            kept = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))]
        return kept

    def importance(self, model: Network, samples: Samples) -> tuple[list[Tensor], Phase]:
        """I of these samples, for each weight."""

        def loss(x: Inputs, y: Tensor) -> Tensor:
            out = model(x)
            # Cross-entropy by its parts: under vmap torch's own imports sympy, two seconds of a look at small data.
            return -F.log_softmax(out, 1).gather(1, y[:, None]).mean() if self.of == "loss" else torch.linalg.vector_norm(out, dim=1).mean()

        return gradients(model, loss, samples, phase="importance", batch=self.batch, each=self.each, power=2)


SSD.presets = {"paper": SSD(alpha=10.0, over="all", of="loss", each=False, samples=1_000_000)}
