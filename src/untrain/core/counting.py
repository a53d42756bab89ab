"""Shares that were counted, and how far they can be trusted. Imports no torch."""

from __future__ import annotations

from scipy.special import betaincinv, ndtri

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


def difference(hits: int, n: int, others: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Newcombe's interval of hits / n less others / of, from Wilson's of each (1998, Statistics in Medicine 17:873, method 10).

    >>> [round(v, 4) for v in difference(56, 70, 48, 80)]
    [0.0524, 0.3339]
    """
    if n == 0 or of == 0:
        raise BadArgument("an interval of no samples")
    z = float(ndtri((1 + level) / 2))

    def wilson(k: int, m: int) -> tuple[float, float]:
        middle, half = 2 * k + z * z, z * (z * z + 4 * k * (1 - k / m)) ** 0.5
        return (middle - half) / (2 * (m + z * z)), (middle + half) / (2 * (m + z * z))

    p, q, (low, high), (least, most) = hits / n, others / of, wilson(hits, n), wilson(others, of)
    return p - q - ((p - low) ** 2 + (most - q) ** 2) ** 0.5, p - q + ((high - p) ** 2 + (q - least) ** 2) ** 0.5
