"""Shares that were counted, and how far they can be trusted. Imports no torch."""

from __future__ import annotations

from scipy.special import bdtrc, betaincinv, ndtri

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


def above(correct: int, n: int, share: float) -> float:
    """Two-sided binomial p that a share is no larger than this, of which only the side above is told: 5 % or less where the interval lies above it.

    >>> [round(above(k, 50, 0.2), 3) for k in (5, 17, 18)]
    [1.0, 0.029, 0.013]
    """
    return min(1.0, 2 * float(bdtrc(correct - 1, n, share))) if correct else 1.0


def difference(hits: float, n: float, others: float, of: float, level: float = 0.95) -> tuple[float, float]:
    """Newcombe's interval of hits / n less others / of, from Wilson's of each (1998, Statistics in Medicine 17:873, method 10); weighed counts need not be whole.

    >>> [round(v, 4) for v in difference(56, 70, 48, 80)]
    [0.0524, 0.3339]
    """
    if n == 0 or of == 0:
        raise BadArgument("an interval of no samples")
    z = float(ndtri((1 + level) / 2))

    def wilson(k: float, m: float) -> tuple[float, float]:
        middle, half = 2 * k + z * z, z * (z * z + 4 * k * (1 - k / m)) ** 0.5
        return (middle - half) / (2 * (m + z * z)), (middle + half) / (2 * (m + z * z))

    p, q, (low, high), (least, most) = hits / n, others / of, wilson(hits, n), wilson(others, of)
    return p - q - ((p - low) ** 2 + (most - q) ** 2) ** 0.5, p - q + ((high - p) ** 2 + (q - least) ** 2) ** 0.5


def paired(gained: int, lost: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval of (gained - lost) / n, where so many of n pairs went either way (1998, Statistics in Medicine 17:891).

    >>> [round(v, 3) for v in paired(1, 7, 21)]
    [-0.517, -0.026]
    """
    if n == 0:
        raise BadArgument("an interval of no samples")
    z = float(ndtri((1 + level) / 2))

    def lowest(b: int, c: int) -> float:
        low, high = -1.0, (b - c) / n
        for _ in range(60):
            d = (low + high) / 2
            # q is the likeliest share that went down, of all that leave the difference at d.
            linear = (2 * n - b + c) * d - b - c
            q = (max(0.0, linear * linear + 8 * n * c * d * (1 - d)) ** 0.5 - linear) / (4 * n)
            low, high = (d, high) if (b - c - n * d) ** 2 > z * z * n * (2 * q + d * (1 - d)) else (low, d)
        return high

    return lowest(gained, lost), -lowest(lost, gained)
