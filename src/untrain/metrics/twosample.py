"""Are two sets of answers drawn alike? Distances of sets of probabilities [n, C], and the chance of so large a one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Distance = Literal["mean", "each", "energy", "discriminator"]


def mean_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(mean of q || mean of p), in nats.

    >>> one = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(mean_kl(one, torch.tensor([[0.5, 0.5]]))), 4)
    0.0
    """
    mean, other = q.mean(0), p.mean(0)
    found: Tensor = (torch.special.xlogy(mean, mean) - mean * other.clamp(min=TINY).log()).sum()
    return found


def each_kl(p: Tensor, q: Tensor) -> Tensor:
    """Mean over p of KL(mean of q || p), in nats: nothing where each answer is that mean.

    >>> one = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> float(each_kl(one, torch.tensor([[0.5, 0.5]]))) > 10
    True
    """
    mean = q.mean(0)
    found: Tensor = (torch.special.xlogy(mean, mean) - mean * p.clamp(min=TINY).log()).sum(1).mean()
    return found


def energy(p: Tensor, q: Tensor) -> Tensor:
    """Energy distance, 2 E|p - q| - E|p - p'| - E|q - q'|, without bias: about nothing where both are drawn alike, and below it by chance.

    Székely and Rizzo, Testing for equal distributions in high dimension, 2004; a maximum mean discrepancy whose kernel is the distance.

    >>> one = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(energy(one, one)), 4), round(float(energy(one, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))), 4)
    (-1.4142, 0.0)
    """
    return 2 * _far(p, q).mean() - _within(p) - _within(q)


def _far(p: Tensor, q: Tensor) -> Tensor:
    return torch.cdist(p, q, compute_mode="donot_use_mm_for_euclid_dist")


def _within(p: Tensor) -> Tensor:
    return _far(p, p).sum() / max(1, len(p) * (len(p) - 1))


def discriminator(p: Tensor, q: Tensor) -> Tensor:
    """How well a logistic regression, fitted anew, tells p from q: log 2 - min_w [E log(1 + e^-w.a(q)) + E log(1 + e^w.a(p)) + RIDGE |w|^2] / 2, in nats.

    a is an answer, its squares and a 1: by answers alone it would see the means. It is at most the Jensen-Shannon divergence of p and q as they are
    drawn, which the best discriminator of a GAN comes to (Goodfellow et al., 2014, arXiv:1406.2661). The slope is that at the fitted w.

    >>> one = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(discriminator(one, one)), 4), round(float(discriminator(one[:1], one[1:])), 2)
    (0.0, 0.6)
    """
    a, b = _told_by(p.double()), _told_by(q.double())
    w = _fitted(a.detach(), b.detach())
    return (math.log(2) - _confusion(w, a, b)).to(p.dtype)


RIDGE = 0.01
"""Penalty of the discriminator: without it the few answers of a batch would be told apart wholly, and the slope would be nothing."""


def _told_by(p: Tensor) -> Tensor:
    return torch.cat([p, p.square(), torch.ones_like(p[:, :1])], 1)


def _confusion(w: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Of one w [d], or of each of several [k, d]."""
    return (F.softplus(w @ a.T).mean(-1) + F.softplus(-(w @ b.T)).mean(-1) + RIDGE * w.square().sum(-1)) / 2


STEPS, LENGTHS = 16, tuple(0.5**i for i in range(11))
"""Newton steps of the discriminator, and shares of one that are tried; as many whatever comes of them, so that no step waits for the device."""


def _fitted(a: Tensor, b: Tensor) -> Tensor:
    """The least of it, by Newton steps, of each the share that leaves least."""
    w, lengths = a.new_zeros(a.shape[1]), a.new_tensor(LENGTHS)[:, None]
    for _ in range(STEPS):
        one, two = torch.sigmoid(a @ w) / len(a), torch.sigmoid(-(b @ w)) / len(b)
        slope = (one @ a - two @ b) / 2 + RIDGE * w
        curved = ((one * torch.sigmoid(-(a @ w))) * a.T @ a + (two * torch.sigmoid(b @ w)) * b.T @ b) / 2
        curved.diagonal().add_(RIDGE)
        tried = w - lengths * torch.linalg.solve_ex(curved, slope)[0]
        w = tried.index_select(0, _confusion(tried, a, b).argmin(0, keepdim=True))[0]
    return w


TINY = 1e-12
"""The smallest probability that a logarithm is taken of."""

APART: dict[Distance, Callable[[Tensor, Tensor], Tensor]] = {"mean": mean_kl, "each": each_kl, "energy": energy, "discriminator": discriminator}
"""Of answers p and of those they are held to, q."""


def apart(distance: Distance, groups: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The distance of answers p from those they are held to, q, pair by pair, each weighted by the number of its p."""
    whole = sum(len(p) for p, _ in groups)
    return torch.stack([APART[distance](p, q) * (len(p) / whole) for p, q in groups]).sum()


def chance(distance: Distance, groups: Sequence[tuple[Tensor, Tensor]], *, draws: int = 99) -> float:
    """Share of orders of the answers, p's and q's of a pair mixed, in which they lie at least as far apart; the given one is one of them.

    To answers that are drawn alike each order is as likely as another, so that a share below .05 comes by chance in one case of 20. Drawn from
    the random state of the moment.

    Args:
        distance: Which.
        groups: Pairs of answers p [n, C] and q [k, C]; none goes from one pair to another.
        draws: Orders drawn.
    """
    groups = [(p.double(), q.double()) for p, q in groups]
    # An order that mixes nothing lies as far apart but for the order of its sums.
    given, as_far = float(apart(distance, groups)) - 1e-9, 1
    for _ in range(draws):
        mixed = []
        for p, q in groups:
            both = torch.cat([p, q])[torch.randperm(len(p) + len(q))]
            mixed.append((both[: len(p)], both[len(p) :]))
        as_far += float(apart(distance, mixed)) >= given
    return as_far / (draws + 1)
