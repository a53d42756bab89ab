"""Fisher: noise on each weight, the more the less the retained samples depend on it. Sees no forgotten sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.gather import gradients
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace, phase

MOST, MOST_OF_HEAD, LEAST = 1e3, 1e2, 1e-8
"""Where 1 / F is cut, of a weight and of the head's; and what F is at least: as in the published code."""


@dataclass(frozen=True)
class Fisher(Method):
    """Add noise: theta <- mu + sqrt(v) e, e ~ N(0, 1).

        F_i = mean over retained x of sum_y p_y(x) (d log p_y(x) / d theta_i)^2,      p = softmax(f(x; theta)), in evaluation mode
        v = alpha min(1 / (F + 1e-8), 1000),  mean over a weight's inputs;   mu = theta

    v is ten times as much in the head, where 1 / F is cut at 100 and not at 1000, and in vectors (biases, normalisations). In the head's rows of classes of
    which nothing is retained mu is 0 and v is 1e-3 (the published code says 1e-4, and multiplies it with the rest of the head). Without such
    classes, for a list of samples, it is the noise alone. The published code takes every tensor with as many rows as there are classes to be
    the head, and squares means of batches; here the head is found by its output, and gradients are squared sample by sample, all labels weighted by p.

    On the digits 1 and 7 the default forgets by the head's row alone: a single image recovers as much as of the original. With ten times the
    noise the features lose a fifth to a third of that, and the rest seven points.

    Args:
        alpha: How much noise; 1e-9 to 1e-6 in published settings. Ours was chosen on the digits 1 and 7.
        samples: Retained samples used, in all, the same number of each class; the published code uses all.
        batch: Samples at once.
    """

    paper = "Golatkar et al., Eternal Sunshine of the Spotless Net, CVPR 2020, arXiv:1911.04933"
    knobs: ClassVar = {"remembers": {"alpha": +1}, "collapsed": {"alpha": -1}, "unchanged": {"alpha": +1}}

    alpha: float = 1e-6
    samples: int = 3000
    batch: int = 64

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Any weight that is not frozen."""
        return {name: None for name, weight in model.named_parameters().items() if weight.requires_grad}

    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        """Measure, then add noise."""
        model.eval()
        kept, head = retain.at_most(self.samples), model.head
        found = [self.information(model, kept, label) for label in range(head.width)]
        gone = [label for label in range(head.width) if label not in retain.classes]
        own = {id(p) for p in head.layer.parameters()}
        with phase("noise") as done, torch.no_grad():
            for weight, *parts in zip(model.trainable(), *(some for some, _ in found), strict=True):
                in_head = id(weight) in own
                mean, v = weight.clone(), self.variance(torch.stack(parts).sum(0), in_head)
                if in_head:
                    mean[gone], v[gone] = 0.0, 1e-3
                weight.copy_(mean + v.sqrt().to(weight) * torch.randn(weight.shape).to(weight))
        return Trace.of(*(looked for _, looked in found), done)

    def information(self, model: Network, samples: Samples, label: int) -> tuple[list[Tensor], Phase]:
        """One label's share of F, for each weight."""

        def loss(x: Inputs, y: Tensor) -> Tensor:
            said = F.log_softmax(model(x), dim=1)[:, label]
            # The slope of sqrt(p) log p with p held is squared: p times that of log p, squared.
            return -(said.detach().exp().sqrt() * said).mean()

        return gradients(model, loss, samples, phase="information", batch=self.batch, each=True, power=2)

    def variance(self, information: Tensor, in_head: bool) -> Tensor:
        """What v a weight's F makes.

        >>> import torch
        >>> Fisher(alpha=0.1).variance(torch.tensor([[1.0, 0.25], [0.0, 0.0]]), False)
        tensor([[  0.2500,   0.2500],
                [100.0000, 100.0000]])
        """
        v = self.alpha * (1 / (information + LEAST)).clamp(max=MOST_OF_HEAD if in_head else MOST)
        v = v.mean(1, keepdim=True).expand_as(v) if v.ndim > 1 else v
        return (10 if in_head or v.ndim < 2 else 1) * v.clone()
