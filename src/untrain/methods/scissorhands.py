"""Scissorhands: draw anew the weights that the forgotten hang on most, then mend, and never against the way that forgetting went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.data import Inputs, Samples
from untrain.core.depth import layers
from untrain.core.errors import BadArgument
from untrain.core.fresh import fresh
from untrain.core.gather import gradients
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.trace import phase
from untrain.core.train import Optimizer, Trace, minimize


def project(slope: Sequence[Tensor], way: Sequence[Tensor], margin: float) -> list[Tensor]:
    """A gradient that does not oppose another: g where <g, w> >= 0, and else g + v w, the v from the margin up that is closest to taking the conflict out.

    >>> project([torch.tensor([1.0, -1.0])], [torch.tensor([0.0, 1.0])], 0.5)
    [tensor([1., 0.])]
    """
    both, length = (sum((a.double() * b.double()).sum() for a, b in zip(one, way, strict=True)) for one in (slope, way))
    both, length = torch.as_tensor(both), torch.as_tensor(length)
    v = torch.where(both < 0, (-both / length.clamp(min=1e-30)).clamp(min=margin), 0.0)
    return [g + v.to(g) * w for g, w in zip(slope, way, strict=True)]


@dataclass(frozen=True)
class Scissorhands(Method):
    """Reset what is salient for the forgotten in the later layers, then repair on the retained, away from the forgotten.

        cut     s = |theta . grad CE(D_f)|  in the later layers;  theta <- a new draw where s is among the largest share
        repair  theta <- argmin CE(f(x_r; theta), y_r) - lam CE(f(x_f; theta), y_f),  each gradient g projected so that <g, g_o> >= 0

    g_o is the gradient of -CE(D_f) on the reset model. Only weights of two dimensions and more are scored and drawn (norms and biases stay), by the rule
    of a new layer, as in the published code. That names layers of a ResNet (layer3, layer4, fc) and on any other network resets nothing; here they are the later
    part of the layers in the order in which they run. The score is of the whole forget set, not of one batch of it, whose size the mask would hang on.

    Args:
        share: Share of the later layers' weights that is drawn anew; 0.03 in the paper for CIFAR-10 (sparsity 0.97), 0.1 for a class of
            SVHN. On digits 1 and 7 that keeps two points less of the one, and two more of the other.
        later: Share of the layers, counted from the head, that may be drawn anew; about half of a ResNet's in the published code.
        lam: Weight of the forgotten samples' loss; 0.05 in the paper for CIFAR-10, 0.1 for a class.
        margin: Least multiple of g_o that a gradient in conflict is given; 0.5 in the published code.
        samples: Retained samples used, in all, the same number of each class.
        lr: Learning rate; 1e-3 for a class in the published code, 5e-3 for samples. At three times as much digits 1 and 7 cost most of what is retained.
        epochs: Passes over the retained samples; 10 in the published code, which keep no more on digits 1 and 7.
        batch: Batch size of both parts; 128 in the published code.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay; 5e-4 in the published code.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Wu and Harandi, Scissorhands: Scrub Data Influence via Connection Sensitivity in Networks, ECCV 2024, arXiv:2401.06187"
    moves: ClassVar = {"repair": Move(-1, on="retain", over="phase")}
    small: ClassVar = {"batch": 16, "lr": 0.02, "lam": 0.01}
    knobs: ClassVar = {"remembers": {"share": +1, "lam": +1}, "collapsed": {"lam": -1, "epochs": +1}, "unchanged": {"share": +1, "epochs": +1}}

    share: float = 0.03
    later: float = 0.5
    lam: float = 0.1
    margin: float = 0.5
    samples: int = 9000
    lr: float = 1e-3
    epochs: int = 5
    batch: int = 64
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    augment: bool = True

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Weights of two dimensions and more."""
        return {name: None for name, weight in model.named_parameters().items() if weight.requires_grad and weight.ndim > 1}

    def reached(self, model: Network, samples: Samples) -> list[nn.Parameter]:
        """The weights that may be drawn anew.

        Raises:
            BadArgument: there is none.
        """
        run = layers(model, samples)
        names = [name for some in run[len(run) - round(self.later * len(run)) :] for name in some]
        later = {id(w) for name in names for w in model.module.get_submodule(name).parameters()}
        found = [w for w in model.trainable() if id(w) in later and w.ndim > 1]
        if not found:
            raise BadArgument(f"Scissorhands(later={self.later}) reaches no weight of {len(run)} layers that may move; raise later")
        return found

    def projected(self, slope: Sequence[Tensor], way: Sequence[Tensor]) -> list[Tensor]:
        """A step's gradient, where it would oppose the way of forgetting brought to where it does not."""
        return project(slope, way, self.margin)

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Cut, and repair."""

        def away(x: Inputs, y: Tensor) -> Tensor:
            return -F.cross_entropy(model(x), y)

        def losses(x: Any, y: Any) -> tuple[Tensor, Tensor]:
            (kept, gone), (label, true) = x, y
            up = -self.lam * F.cross_entropy(model(gone), true)
            # The retained batch goes last, so that BatchNorm ends each step with it.
            return F.cross_entropy(model(kept), label), up

        reached = self.reached(model, forget)
        model.eval()
        slopes, scored = gradients(model, away, forget, phase="score", batch=self.batch)
        slope_of = {id(w): slope for w, slope in zip(model.trainable(), slopes, strict=True)}
        with phase("cut") as done, torch.no_grad():
            scores = torch.cat([(w * slope_of[id(w)]).abs().reshape(-1) for w in reached])
            cut = torch.zeros_like(scores, dtype=torch.bool)
            cut[scores.argsort(descending=True, stable=True)[: round(self.share * len(scores))]] = True
            for weight, part in zip(reached, torch.split(cut, [w.numel() for w in reached]), strict=True):
                weight.copy_(torch.where(part.view_as(weight), fresh(weight), weight))
        way, looked = gradients(model, away, forget, phase="way", batch=self.batch)
        model.train()
        kept = retain.at_most(self.samples).batches(self.batch, epochs=self.epochs, augment=self.augment)
        repaired = minimize(
            losses,
            model.trainable(),
            kept.beside(forget.batches(self.batch, augment=self.augment)),
            phase="repair",
            lr=self.lr,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            combine=lambda both: self.projected([a + b for a, b in zip(*both, strict=True)], way),
        )
        return Trace.of(scored, done, looked, repaired)
