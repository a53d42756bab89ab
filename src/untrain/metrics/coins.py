"""Coins that were thrown before a model was trained, and how well its scores guess them."""

from __future__ import annotations

import math

import torch
from scipy import special
from torch import Tensor


def guesses(scores: Tensor, inside: Tensor, guessed: int | None = None) -> tuple[int, int]:
    """How many coins [m] are guessed rightly, and of how many: the highest scores are said to be inside, the lowest outside.

    Args:
        scores: Higher for what the model seems to know.
        inside: How each coin fell.
        guessed: How many are guessed, half of them on either side; all where it is not said (the one in the middle of an odd number is left out). To be chosen before.

    >>> guesses(torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([True, False, False, False]))
    (3, 4)
    """
    each = min(len(scores) if guessed is None else guessed, len(scores)) // 2
    order = torch.argsort(scores.double(), descending=True, stable=True)
    right = int(inside[order[:each]].sum()) + int((~inside[order[len(order) - each :]]).sum()) if each else 0
    return right, 2 * each


def coin_p(right: int, guessed: int) -> float:
    """Two-sided binomial p: that so many guesses of fair coins are right, or so few; the smaller tail, doubled.

    >>> coin_p(10, 10), coin_p(5, 10)
    (0.001953125, 1.0)
    """
    tails = (float(special.bdtrc(right - 1, guessed, 0.5)) if right else 1.0, float(special.bdtr(right, guessed, 0.5)))
    return min(1.0, 2 * min(tails))


def least_share(guessed: int, power: float = 0.8) -> float | None:
    """How far above one half the chance of a right guess has to be to be found at 5 %, both sides asked, with this power; None where not even guesses that are all right are found.

    >>> [round(least_share(n) or 0.0, 2) for n in (100, 200)], least_share(4)
    ([0.15, 0.1], None)
    """
    some = range(guessed // 2, guessed + 1)
    needed = next((c for c in some if coin_p(c, guessed) <= 0.05), guessed + 1)
    # P(Bin(n, q) >= c) is the incomplete beta function of q.
    return None if needed > guessed else float(special.betaincinv(needed, guessed - needed + 1, power)) - 0.5


GUESSED = (20, 50, 100, 200, 400)
"""How many guesses are tried where no coin says beforehand, besides all."""


def epsilon_at_least(right: int, guessed: int, level: float = 0.05) -> float:
    """A lower bound of the epsilon of differential privacy: where guesses of (epsilon, 0)-private coins are so often right in this share of cases.

    Steinke, Nasr and Jagielski, Privacy Auditing with One (1) Training Run, 2023, arXiv:2305.08846: so many guesses are right no oftener than a binomial number
    of chance e^eps / (1 + e^eps) is.

    >>> epsilon_at_least(50, 100), round(epsilon_at_least(100, 100), 2)
    (0.0, 3.49)
    """
    if not right:
        return 0.0
    chance = float(special.betaincinv(right, guessed - right + 1, level))
    return max(0.0, math.log(chance / (1 - chance)))


def epsilon_between(mine: Tensor, others: Tensor, strata: tuple[Tensor, Tensor], level: float = 0.05) -> tuple[float, int]:
    """The same bound for two groups that no coin parted, and of how many samples: approximate, since which are inside is then no throw for each of them.

    As many of either group are drawn in each stratum, and the best of several numbers of guesses is told, each at its share of the level.

    Args:
        mine: Scores [n] of what was inside, higher for what the model seems to know.
        others: Scores [k] of what was not.
        strata: Labels [n] and [k].
        level: The chance that the bound lies too high.

    >>> apart = torch.arange(100.0)
    >>> y = torch.zeros(50)
    >>> round(epsilon_between(apart[50:], apart[:50], (y, y))[0], 2), epsilon_between(apart[:50], apart[50:], (y, y))
    (3.18, (0.0, 100))
    """
    drawn: tuple[list[Tensor], list[Tensor]] = ([], [])
    for c in torch.unique(strata[0]):
        # In order, so that neither the draw nor a tie hangs on how the samples were given.
        parts = [scores[labels == c].sort().values for scores, labels in zip((mine, others), strata, strict=True)]
        for side, part in zip(drawn, parts, strict=True):
            side.append(part[torch.randperm(len(part))[: min(map(len, parts))]])
    n = sum(map(len, drawn[0]))
    order = torch.randperm(2 * n)
    scores, inside = torch.cat([*drawn[0], *drawn[1]])[order], (torch.arange(2 * n) < n)[order]
    numbers = sorted({min(guessed, 2 * n) for guessed in (*GUESSED, 2 * n)})
    return max(epsilon_at_least(*guesses(scores, inside, guessed), level / len(numbers)) for guessed in numbers), 2 * n
