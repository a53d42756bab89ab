"""HAMU: each step forgets by a stated amount and harms what is kept as little as that allows; with it the rules of PCGrad and GRU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Trace, minimize

TINY = 1e-30
"""What a squared length is held above, so that no gradient of nothing divides by nothing."""


def least_harm(g_r: Tensor, g_f: Tensor, Q: Tensor, R: Tensor) -> Tensor:
    """The step with the least <g_r, step> among those with <g_f, step> >= Q and |step| <= R; R g_f / |g_f|, up g_f as far as it may, where there is none, as Q > R |g_f|.

    It is -R g_r / |g_r| where that forgets enough, and else  Q g_f / |g_f|^2 - sqrt(R^2 - Q^2 / |g_f|^2) g_r' / |g_r'|,  g_r' the part of g_r across g_f.

    >>> least_harm(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor(1.2), torch.tensor(1.0))
    tensor([-0.8000,  0.6000])
    """
    kept, gone, both = (g_r * g_r).sum(), (g_f * g_f).sum().clamp(min=TINY), (g_r * g_f).sum()
    across = g_r - both / gone * g_f
    length = (across * across).sum().clamp(min=TINY).sqrt()
    bound = Q / gone * g_f - (R * R - Q * Q / gone).clamp(min=0).sqrt() * across / length
    # All three and then the one that counts, so that no step waits for the device, tensor after tensor.
    step = torch.where(both * R <= -Q * kept.sqrt(), -R * g_r / kept.clamp(min=TINY).sqrt(), bound)
    return torch.where(R * gone.sqrt() < Q, R * g_f / gone.sqrt(), step)


def hamu_q(g_r: Tensor, g_f: Tensor, quota: float, cap: float) -> Tensor:
    """The direction that harms least among those that raise the forgotten's loss by the quota, no longer than |g_r|; where no such is that long enough, up g_f as far as it may."""
    return least_harm(g_r, g_f, torch.full_like(g_r.sum(), quota), (g_r * g_r).sum().sqrt())


def hamu_u(g_r: Tensor, g_f: Tensor, quota: float, cap: float) -> Tensor:
    """With the roles exchanged: the direction that forgets most among those that raise the retained's loss by no more than the quota, no longer than |g_r|."""
    return least_harm(-g_f, -g_r, torch.full_like(g_r.sum(), -quota), (g_r * g_r).sum().sqrt())


def pcgrad(g_r: Tensor, g_f: Tensor, quota: float, cap: float) -> Tensor:
    """The mean of -g_r and g_f, each without what in it opposes the other."""
    down, up = -g_r, g_f
    both = (down * up).sum().clamp(max=0)
    return (down - both / (up * up).sum().clamp(min=TINY) * up + up - both / (down * down).sum().clamp(min=TINY) * down) / 2


def gru(g_r: Tensor, g_f: Tensor, quota: float, cap: float) -> Tensor:
    """g_f without what in it raises the retained's loss, cut down to the cap."""
    step = g_f - (g_f * g_r).sum().clamp(min=0) / (g_r * g_r).sum().clamp(min=TINY) * g_r
    return step * (cap / (step * step).sum().clamp(min=TINY).sqrt()).clamp(max=1)


RULES: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {"hamu-q": hamu_q, "hamu-u": hamu_u, "pcgrad": pcgrad, "gru": gru}


@dataclass(frozen=True)
class HAMU(Method):
    """theta <- theta + lr d(g_r, g_f) at each step, g_r and g_f the gradients of the mean cross-entropy of a retained and of a forgotten batch.

        hamu-q  d = argmin <g_r, d>   so that <g_f, d> >= quota, |d| <= |g_r|
        hamu-u  d = argmax <g_f, d>   so that <g_r, d> <= quota, |d| <= |g_r|
        pcgrad  d = mean of -g_r and g_f, each without what in it opposes the other
        gru     d = g_f without what in it raises the retained's loss, |d| <= cap

    All four in closed form. Where the quota of hamu-q is more than any step so short can forget, as at the start, when the forgotten have hardly a
    slope, the step goes up g_f as far as it may; the published code stops where the two gradients together are too short, which is not done here.
    hamu-q and hamu-u decide tensor by tensor, as the published script does layer by layer; the other two over all weights. There is no momentum:
    a step is what the rule says.

    Args:
        rule: Which of the four.
        quota: By how much, per unit of the rate, a step is to raise the forgotten's loss (hamu-q), or may raise the retained's (hamu-u); 0.5 in the published
            script for a ResNet-20.
        cap: Longest step of gru.
        samples: Retained samples used, in all, the same number of each class.
        lr: Learning rate; 1e-4 in the published script. Ours was chosen on digits 1 and 7, for each rule its own: there hamu-u names a part of them
            still, and at twice its rate nearly half of what is retained is lost.
        epochs: Passes over the retained samples; 25 in the published script.
        batch: Batch size of both parts.
        clip: Largest length of a step over the rate, over all weights; 0 is none, as published. Ours keeps a batch on which the network answers wrongly from throwing it off.
        augment: Whether to use the random change that the data carries.
    """

    paper = "HAMU, ICML 2026, arXiv:2606.02119; Yu et al., Gradient Surgery for Multi-Task Learning (PCGrad), NeurIPS 2020, arXiv:2001.06782; GRU, 2025"
    moves: ClassVar = {"joint": Move(+1, of="cross-entropy", on="forget", over="phase")}
    small: ClassVar = {"batch": 16, "lr": 0.1}
    knobs: ClassVar = {"remembers": {"lr": +1, "epochs": +1}, "collapsed": {"lr": -1, "epochs": -1}}

    rule: Literal["hamu-q", "hamu-u", "pcgrad", "gru"] = "hamu-q"
    quota: float = 0.5
    cap: float = 1.0
    samples: int = 9000
    lr: float = 0.05
    epochs: int = 3
    batch: int = 64
    clip: float = 5.0
    augment: bool = True

    def direction(self, gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """-d, which an optimizer steps against."""
        keep, gone = gradients
        rule = RULES[self.rule]
        if self.rule.startswith("hamu"):
            return [-rule(r.double(), f.double(), self.quota, self.cap).to(r) for r, f in zip(keep, gone, strict=True)]
        flat = [torch.cat([g.double().reshape(-1) for g in some]) for some in (keep, gone)]
        whole = torch.split(-rule(flat[0], flat[1], self.quota, self.cap), [g.numel() for g in keep])
        return [part.view_as(g).to(g) for part, g in zip(whole, keep, strict=True)]

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Step after step, by the rule."""
        model.train()

        def losses(x: Any, y: Any) -> tuple[Tensor, Tensor]:
            (kept, gone), (label, true) = x, y
            up = F.cross_entropy(model(gone), true)
            # The retained batch goes last, so that BatchNorm ends each step with it.
            return F.cross_entropy(model(kept), label), up

        kept = retain.at_most(self.samples).batches(self.batch, epochs=self.epochs, augment=self.augment)
        batches = kept.beside(forget.batches(self.batch, augment=self.augment))
        how: dict[str, Any] = {"phase": "joint", "lr": self.lr, "optimizer": "sgd", "momentum": 0.0, "clip": self.clip or None}
        return Trace.of(minimize(losses, model.trainable(), batches, combine=self.direction, **how))


HAMU.presets = {"u": replace(HAMU(), rule="hamu-u", lr=0.01), "pcgrad": replace(HAMU(), rule="pcgrad", lr=0.002), "gru": replace(HAMU(), rule="gru", lr=0.01)}
