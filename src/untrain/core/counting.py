"""Shares that were counted, and how far they can be trusted. Imports no torch."""

from __future__ import annotations

from scipy.special import betaincinv

from untrain.core.errors import BadArgument


def interval(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a share.

    >>> [round(v, 3) for v in interval(0, 100)]
    [0.0, 0.036]
    """
    if n == 0:
        raise BadArgument("an interval of no samples")
    # By the beta distribution's quantiles themselves: scipy.stats takes as long to import as half of torch.
    tail = (1 - level) / 2
    low = betaincinv(correct, n - correct + 1, tail) if correct else 0.0
    high = betaincinv(correct + 1, n - correct, 1 - tail) if correct < n else 1.0
    return float(low), float(high)
