"""Whether one group of scores lies above another: rank tests whose null needs no model of the scores, within strata.

Where both groups are alike (samples that a model never saw, of one class), each order of them is as likely as another,
whatever the score. So the chance of a rank sum is counted, and not estimated from other models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

from untrain.core.counting import interval
from untrain.core.errors import BadData

Numbers = np.ndarray[Any, Any]

COUNTED = 20
"""Samples of the smaller group below which the null is counted where that is cheap; from there on it is normal, which is as good but where many scores are tied."""

TIED = 0.5
"""Share of its variance that ties have to leave U for that: of a few scores above many that are one the rank sum is skewed, and a normal p far too small."""

WORK = 1e8
"""Additions that a count of the null may take."""

SEEN = 0.8
"""Power that `Ranked.least` is told for."""


@dataclass(frozen=True)
class Ranked:
    """How far one group's scores lie above another's.

    Args:
        auc: The chance that one of the first group lies above one of the second in the same stratum; ties count half.
        se: Standard error of it (DeLong).
        p: Two-sided p: the smaller tail, doubled.
        least: The smallest shift of it from one half that would be seen at 5 % with 80 % power; None where none would: groups so small that lie apart altogether, or scores that
            are all alike.
        n: Samples of the first group that were compared.
        k: Of the second.
    """

    auc: float
    se: float
    p: float
    least: float | None
    n: int
    k: int

    @property
    def told(self) -> dict[str, Any]:
        """As the fields of an audit's value: the AUC with its 95 % interval, n, p, and what would have been seen."""
        low, high = self.between()
        return {"value": self.auc, "low": low, "high": high, "n": self.n, "p": self.p, "least": self.least}

    def between(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of `auc`: normal; where the groups lie apart altogether, Clopper and Pearson's of the smaller one."""
        few = min(self.n, self.k)
        if self.auc in (0.0, 1.0):
            return interval(round(self.auc * few), few, level)
        half = float(special.ndtri((1 + level) / 2)) * self.se
        return max(0.0, self.auc - half), min(1.0, self.auc + half)


def ranked(mine: Tensor, others: Tensor, strata: tuple[Tensor, Tensor] | None = None) -> Ranked | None:
    """Wilcoxon's, Mann's and Whitney's rank test, stratum by stratum (van Elteren's with the weights of the AUC).

    Args:
        mine: Scores [n].
        others: Scores [k].
        strata: Labels [n] and [k]; samples are compared within a label alone, and a label that only one side has is left out.

    Returns:
        None where there is nothing to compare.

    Raises:
        BadData: a score is no number: it would stand above all others.

    >>> found = ranked(torch.tensor([3.0, 4.0, 5.0]), torch.tensor([0.0, 1.0, 2.0]))
    >>> found.auc, round(found.p, 6)
    (1.0, 0.1)
    """
    a, b = mine.double().numpy(), others.double().numpy()
    if lost := int(np.isnan(a).sum() + np.isnan(b).sum()):
        raise BadData(f"{lost} of {len(a) + len(b)} scores are no numbers (NaN), and have no rank; look at a model whose answers are finite")
    one, two = (torch.zeros(len(a)), torch.zeros(len(b))) if strata is None else strata
    parts = [(a[(one == c).numpy()], b[(two == c).numpy()]) for c in torch.unique(one).tolist()]
    made = [_Part.of(x, y) for x, y in parts if len(x) and len(y)]
    if not made:
        return None
    pairs = sum(p.n * p.k for p in made)
    u, spread = sum(p.u for p in made), math.sqrt(sum(p.null for p in made))
    more, less = _counted(made, u) if _cheap(made) else _normal(u - pairs / 2, spread)
    n, k = sum(p.n for p in made), sum(p.k for p in made)
    least = min(0.5, float(special.ndtri(0.975) + special.ndtri(SEEN)) * spread / pairs) if spread and _apart(made) <= 0.05 else None
    return Ranked(u / pairs, math.sqrt(sum(p.delong for p in made)) / pairs, min(1.0, 2 * min(more, less)), least, n, k)


@dataclass(frozen=True)
class _Part:
    """One stratum.

    Args:
        n: Samples of the first group.
        k: Of the second.
        ranks: Pooled midranks, the first group's in front.
        u: Mann's and Whitney's U of the first.
        null: Variance of U where all are alike, ties seen to.
        delong: Variance of U as it is.
    """

    n: int
    k: int
    ranks: Numbers
    u: float
    null: float
    delong: float

    @property
    def doubled(self) -> Numbers:
        """Twice the ranks, which are whole."""
        whole: Numbers = np.rint(2 * self.ranks).astype(int)
        return whole

    @classmethod
    def of(cls, x: Numbers, y: Numbers) -> _Part:
        n, k = len(x), len(y)
        total = n + k
        both, ties = _midranks(np.concatenate([x, y]))
        null = n * k / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
        delong = null
        if n > 1 and k > 1:
            above, below = (both[:n] - _midranks(x)[0]) / k, (both[n:] - _midranks(y)[0]) / n
            delong = (n * k) ** 2 * float(above.var(ddof=1) / n + below.var(ddof=1) / k)
        return cls(n, k, both, float(both[:n].sum()) - n * (n + 1) / 2, max(0.0, null), delong)


def _midranks(values: Numbers) -> tuple[Numbers, Numbers]:
    """Ranks from 1, ties at their mean; and how many share each value."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Numbers = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks, counts.astype(float)


def _normal(gap: float, spread: float) -> tuple[float, float]:
    """Tails of U - E(U), half a rank taken off for continuity."""
    if spread == 0:
        return 1.0, 1.0
    return float(special.ndtr(-(gap - 0.5) / spread)), float(special.ndtr((gap + 0.5) / spread))


def _apart(parts: list[_Part]) -> float:
    """Two-sided p of groups that lie apart altogether: no p is smaller."""
    return 2 * math.exp(sum(float(special.gammaln(p.n + 1) + special.gammaln(p.k + 1) - special.gammaln(p.n + p.k + 1)) for p in parts))


def _cheap(parts: list[_Part]) -> bool:
    """Whether the null is to be counted: it is cheap, and of so few samples, or so many of one score, that it is not normal."""
    # The rank of one sample is as likely as another, however many there are.
    if len(parts) == 1 and min(parts[0].n, parts[0].k) == 1:
        return True
    if not all(min(p.n, p.k) < COUNTED or p.null < TIED * p.n * p.k * (p.n + p.k + 1) / 12 for p in parts):
        return False
    grid, work, sizes = _grid(parts), 0.0, []
    for part in parts:
        few, (values, counts) = min(part.n, part.k), np.unique(part.doubled, return_counts=True)
        sizes.append(few * float(values[-1] - values[0]) / grid)
        work += few * float(np.minimum(counts, few).sum()) * sizes[-1]
    return work + (sum(sizes) ** 2 - sum(size**2 for size in sizes)) / 2 <= WORK


def _grid(parts: list[_Part]) -> int:
    """The largest step that all differences of doubled ranks are multiples of."""
    return max(1, int(np.gcd.reduce([int(np.gcd.reduce(p.doubled - p.doubled.min())) for p in parts])))


def _counted(parts: list[_Part], u: float) -> tuple[float, float]:
    """Both tails of U, its own value in each, by counting all orders: the rank sums of each stratum, convolved (ranks doubled, so that midranks are whole)."""
    chances, begin, grid = np.ones(1), 0.0, _grid(parts)
    for part in parts:
        few, flipped = min(part.n, part.k), part.k < part.n
        own, start = _sums(part.doubled, few, grid)
        # U of the first group is nk less that of the second.
        lowest = start - few * (few + 1)
        if flipped:
            own, lowest = own[::-1], 2 * part.n * part.k - (lowest + grid * (len(own) - 1))
        chances, begin = np.convolve(chances, own), begin + lowest
    at = round((2 * u - begin) / grid)
    return min(1.0, float(chances[at:].sum())), min(1.0, float(chances[: at + 1].sum()))


def _sums(ranks: Numbers, few: int, grid: int) -> tuple[Numbers, int]:
    """Chances of each sum of `few` of these whole ranks, in steps of the grid, and where they begin."""
    values, counts = np.unique(ranks, return_counts=True)
    places = (values - values[0]) // grid
    chances = np.zeros((few + 1, few * int(places[-1]) + 1))
    chances[0, 0] = 1
    share = few / len(ranks)
    # Each rank is in with this chance, so that no number grows large; what is asked is given that `few` are.
    for place, count in zip(places.tolist(), counts.tolist(), strict=True):
        before, taken = chances, np.arange(min(count, few) + 1)
        ways = np.exp(special.xlogy(taken, share) + special.xlog1py(count - taken, -share) - special.betaln(1 + count - taken, 1 + taken) - math.log(count + 1))
        chances = before * ways[0]
        for more in taken[1:].tolist():
            chances[more:, more * place :] += ways[more] * before[: few + 1 - more, : before.shape[1] - more * place]
    return chances[few] / chances[few].sum(), few * int(values[0])


def mixed(strata: tuple[Tensor, Tensor]) -> Tensor:
    """Weights [k] that bring the second group to the first one's mix of strata: their sum is how many of the first have any of their stratum there.

    >>> mixed((torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 1, 1, 3]))).tolist()
    [3.0, 0.5, 0.5, 0.0]
    """
    one, two = strata
    weights = torch.zeros(len(two), dtype=torch.float64)
    for c in torch.unique(one):
        at = two == c
        weights[at] = float((one == c).sum()) / max(1, int(at.sum()))
    return weights


def counting_for(weights: Tensor) -> float:
    """How many samples of one weight these [k] say as much as (Kish's effective number): all where they are alike.

    >>> counting_for(torch.tensor([2.0, 2.0, 2.0])), counting_for(torch.tensor([1.0, 0.0]))
    (3.0, 1.0)
    """
    square = float(weights.square().sum())
    return float(weights.sum()) ** 2 / square if square else 0.0


def caught(mine: Tensor, others: Tensor, share: float, strata: tuple[Tensor, Tensor] | None = None) -> tuple[int, int]:
    """How many of the first group lie above all but this share of the second, and of how many: hits at a rate of false alarms.

    Args:
        mine: Scores [n].
        others: Scores [k].
        share: The share.
        strata: Labels [n] and [k]; the second group is weighed to the first one's mix of them, and who has none of its label there is not counted.

    >>> caught(torch.tensor([5.0, 0.0]), torch.arange(4.0), 0.25)
    (1, 2)
    """
    one, two = (torch.zeros(len(side)) for side in (mine, others)) if strata is None else strata
    weights, compared = mixed((one, two)), torch.isin(one, two)
    ordered, order = torch.sort(others[weights > 0], descending=True)
    above = weights[weights > 0][order].cumsum(0)
    # What the sum is rounded by is no false alarm.
    allowed = int((above <= share * float(weights.sum()) + 1e-9 * len(mine)).sum())
    threshold = ordered[allowed] if allowed < len(ordered) else torch.tensor(-math.inf)
    return int((mine[compared] > threshold).sum()), int(compared.sum())
