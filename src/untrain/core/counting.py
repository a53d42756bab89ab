"""Shares that were counted, and how far they can be trusted. Imports no torch."""

from __future__ import annotations

from scipy import stats

from untrain.core.errors import BadArgument


def interval(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a share.

    >>> [round(v, 3) for v in interval(0, 100)]
    [0.0, 0.036]
    """
    if n == 0:
        raise BadArgument("an interval of no samples")
    found = stats.binomtest(correct, n).proportion_ci(level, "exact")
    return float(found.low), float(found.high)
