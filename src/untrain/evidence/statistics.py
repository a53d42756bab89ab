"""Intervals and tests, by scipy. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scipy.special import stdtr, stdtrit

from untrain.core.counting import interval as interval


def beyond(value: float, references: Sequence[float], knows: int, floor: float = 0.01) -> float:
    """One-sided p of a value against a prediction from m >= 2 retrained models, on the side of knowing more.

    t = (x - mean) / (max(s, floor) sqrt(1 + 1/m)), m - 1 degrees of freedom.

    >>> beyond(0.6, [0.25, 0.26, 0.27], +1) < 0.01 < 0.4 < beyond(0.26, [0.25, 0.26, 0.27], +1)
    True
    """
    m = len(references)
    spread = max(statistics.stdev(references), floor) * (1 + 1 / m) ** 0.5
    return float(stdtr(m - 1, -knows * (value - statistics.fmean(references)) / spread))


def limit(references: Sequence[float], knows: int, level: float = 0.05, floor: float = 0.01) -> float:
    """One-sided 95 % prediction limit of m >= 2 retrained models on the side of knowing more: where `beyond` gives the level.

    >>> round(beyond(limit([0.25, 0.26, 0.3], +1), [0.25, 0.26, 0.3], +1), 6)
    0.05
    """
    m = len(references)
    spread = max(statistics.stdev(references), floor) * (1 + 1 / m) ** 0.5
    return float(statistics.fmean(references) - knows * stdtrit(m - 1, level) * spread)
