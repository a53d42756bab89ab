"""Are two sets of answers drawn alike? Distances of sets of probabilities [n, C], and the chance of so large a one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Distance = Literal["mean", "each", "energy"]


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


TINY = 1e-12
"""The smallest probability that a logarithm is taken of."""

APART: dict[Distance, Callable[[Tensor, Tensor], Tensor]] = {"mean": mean_kl, "each": each_kl, "energy": energy}
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
    given, as_far = float(apart(distance, groups)), 1
    for _ in range(draws):
        mixed = []
        for p, q in groups:
            both = torch.cat([p, q])[torch.randperm(len(p) + len(q))]
            mixed.append((both[: len(p)], both[len(p) :]))
        as_far += float(apart(distance, mixed)) >= given
    return as_far / (draws + 1)
