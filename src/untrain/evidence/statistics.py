"""Intervals and tests, by scipy. Imports no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from untrain.core.counting import interval as interval


def floor_of(unit: str) -> float:
    """The smallest spread that retrained models are taken to have, in a row's own unit: half a look for steps, one point for shares.

    A few models that agree by chance would otherwise make any other value a finding.
    """
    return 2.5 if unit == "steps" else 0.01


def beyond(value: float, references: Sequence[float], knows: int, floor: float = 0.01) -> float:
    """One-sided p of a value against a prediction from m >= 2 retrained models, on the side of knowing more; of `-knows`, on that of knowing less.

    t = (x - mean) / (max(s, floor) sqrt(1 + 1/m)), m - 1 degrees of freedom: right where retrained models are normally spread.

    >>> beyond(0.6, [0.25, 0.26, 0.27], +1) < 0.01 < 0.4 < beyond(0.26, [0.25, 0.26, 0.27], +1)
    True
    """
    m = len(references)
    spread = max(statistics.stdev(references), floor) * (1 + 1 / m) ** 0.5
    return float(special.stdtr(m - 1, -knows * (value - statistics.fmean(references)) / spread))


def limit(references: Sequence[float], knows: int, level: float = 0.05, floor: float = 0.01) -> float:
    """One-sided prediction limit of m >= 2 retrained models on the side of knowing more: where `beyond` gives the level.

    >>> round(beyond(limit([0.25, 0.26, 0.3], +1), [0.25, 0.26, 0.3], +1), 6)
    0.05
    """
    m = len(references)
    spread = max(statistics.stdev(references), floor) * (1 + 1 / m) ** 0.5
    return float(statistics.fmean(references) - knows * special.stdtrit(m - 1, level) * spread)


def seen_from(references: Sequence[float], knows: int, level: float, *, power: float = 0.8, floor: float = 0.01) -> float:
    """From where on a model is found at the level with this power by `beyond`: it is as far beyond the mean as the noncentral t of that power says.

    >>> 0.3 < limit([0.25, 0.26, 0.3], +1) < seen_from([0.25, 0.26, 0.3], +1, 0.05) < 0.5
    True
    """
    m = len(references)
    spread = max(statistics.stdev(references), floor) * (1 + 1 / m) ** 0.5
    far = float(special.nctdtrinc(m - 1, 1 - power, -special.stdtrit(m - 1, level)))
    return float(statistics.fmean(references) + knows * far * spread)


def at_most(value: float, references: Sequence[float], knows: int, *, level: float = 0.05, floor: float = 0.01) -> float:
    """How far beyond the mean of retrained models, on the side of knowing more, a model's value can lie: the smallest margin within which one of the two one-sided tests puts it.

    >>> round(at_most(0.30, [0.30, 0.31, 0.29, 0.30, 0.30], +1), 3)
    0.023
    """
    m = len(references)
    spread = max(statistics.stdev(references), floor) * (1 + 1 / m) ** 0.5
    return float(knows * (value - statistics.fmean(references)) + special.stdtrit(m - 1, 1 - level) * spread)


def more_counted(hits: int, n: int, references: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """One-sided p of `hits` of n against the counts (hits, n) of m >= 2 retrained models: that of so many or more, and that of so few or fewer.

    Fisher's exact test against their sum. Where they count some and not all, models may differ by more than draws of one
    share do, and a few of them cannot show that they do not: a prediction by t of arcsine(sqrt) must say so too, its
    spread no less than that of draws. (Fisher alone wherever m = 3 look no more spread than draws: 6 % of alarms at 1 %.)

    >>> [f"{p:.0e}" for p in more_counted(40, 1000, [(0, 1000)] * 5)]
    ['4e-32', '1e+00']
    """
    k, of = sum(h for h, _ in references), sum(n for _, n in references)
    more, less = _fisher(hits, n, k, of)
    if k in (0, of):
        return more, less
    angles = [_angle(h, i) for h, i in references]
    t = beyond(_angle(hits, n), angles, +1, floor=1 / (2 * n**0.5))
    return max(more, t), max(less, 1 - t)


def limit_counted(n: int, references: Sequence[tuple[int, int]], level: float) -> int | None:
    """The fewest hits of n that `more_counted` finds too many at this level; None where not even n are."""
    low, high = 0, n + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if more_counted(middle, n, references)[0] <= level else (middle + 1, high)
    return low if low <= n else None


def more_in_odds(share: float, n: int, references: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """One-sided p of a share of n against the shares (share, n) of m >= 2 retrained models: that of so much or more, and that of so little or less.

    By t of log((k + 1/2) / (n - k + 1/2)), k = n share, the spread of these logarithms no less than that of draws of the retrained models' mean share,
    sqrt(1 / (k + 1/2) + 1 / (n - k + 1/2)). (Haldane, The estimation and significance of the logarithm of a ratio of frequencies, 1956.)

    >>> [round(p, 2) for p in more_in_odds(0.2, 50, [(0.0, 50), (0.0, 50), (0.1, 50), (0.0, 50), (0.0, 50)])]
    [0.04, 0.96]
    """
    mine, logs, floor = _log_odds(share, n), [_log_odds(*each) for each in references], _spread_of_draws(references)
    return beyond(mine, logs, +1, floor), beyond(mine, logs, -1, floor)


def limit_in_odds(n: int, references: Sequence[tuple[float, int]], level: float) -> float:
    """From which share of n on `more_in_odds` finds too much at this level."""
    odds = math.exp(limit([_log_odds(*each) for each in references], +1, level, _spread_of_draws(references)))
    return min(1.0, max(0.0, (odds * (n + 0.5) - 0.5) / (1 + odds) / n))


def _spread_of_draws(references: Sequence[tuple[float, int]]) -> float:
    """That of the logarithm of the odds, of draws of these shares' mean."""
    share, n = statistics.fmean(share for share, _ in references), statistics.fmean(n for _, n in references)
    return math.sqrt(1 / (share * n + 0.5) + 1 / ((1 - share) * n + 0.5))


def _log_odds(share: float, n: int) -> float:
    return math.log((share * n + 0.5) / ((1 - share) * n + 0.5))


def _fisher(hits: int, n: int, others: int, of: int) -> tuple[float, float]:
    """Fisher's exact test on both sides: the tails of a hypergeometric distribution, its own value in both."""
    total = hits + others
    ways = np.arange(max(0, total - of), min(n, total) + 1)
    logs = _choose(total, ways) + _choose(n + of - total, n - ways) - _choose(n + of, np.array(n))
    chances = np.exp(logs)
    return min(1.0, float(chances[ways >= hits].sum())), min(1.0, float(chances[ways <= hits].sum()))


def _choose(n: int, k: np.ndarray[Any, Any]) -> Any:
    """The logarithm of n over k."""
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)


def _angle(hits: int, n: int) -> float:
    """Anscombe's: near normal, with variance 1 / 4n whatever the share."""
    return math.asin(math.sqrt((hits + 0.375) / (n + 0.75)))


def holm(ps: Mapping[str, float], level: float) -> list[str]:
    """Names rejected at the level by Holm's step-down, the smallest p first.

    >>> holm({"a": 0.04, "b": 0.02, "c": 0.9}, 0.05), holm({"a": 0.04, "b": 0.02}, 0.05)
    ([], ['b', 'a'])
    """
    out: list[str] = []
    for i, (name, p) in enumerate(sorted(ps.items(), key=lambda item: item[1])):
        if not p <= level / (len(ps) - i):
            break
        out.append(name)
    return out


def holm_on_side(tests: Mapping[str, tuple[float, str]], side: str, level: float) -> list[str]:
    """Names rejected on one side, half of the level being each side's own: what is found on the other makes this one no bolder.

    By one procedure over both, a row that knows less would lower the bar for one that knows more, and a model that comes nearer to the original in the
    first would be found in neither.

    Args:
        tests: Two-sided p and the side that it is of, by name.
        side: The side.
        level: That of both sides together.

    >>> tests = {"a": (0.04, "more"), "b": (0.001, "less")}
    >>> holm_on_side(tests, "more", 0.05), holm_on_side(tests, "less", 0.05)
    ([], ['b'])
    """
    return holm({name: p if of == side else 1.0 for name, (p, of) in tests.items()}, level)
