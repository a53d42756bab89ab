"""How much of a class is left in the features: pure functions of tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


def whitened(retained: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Features as one who attacks would scale them: the retained ones have mean 0 and the identity for covariance, all others are mapped alike.

    First each dimension by its own mean and deviation, so that a unit that is written larger counts no more. Then by the
    correlation, drawn towards the identity by d / (d + n) for n samples of d dimensions, since few samples leave it uncertain.

    Args:
        retained: Features [m, d] of retained samples.
        others: Further features [n, d].

    Returns:
        All of them, the retained first.

    >>> one, = whitened(torch.tensor([[0.0], [2.0], [4.0]]))
    >>> one.flatten().tolist() == (-one.flip(0)).flatten().tolist()
    True
    """
    mean, std = retained.double().mean(0), retained.double().std(0)
    # A unit that says nothing of the retained, to within what float32 holds, says nothing of the rest either.
    scale = torch.where(std > 1e-6 * (mean.abs() + std), 1 / std, 0.0)
    scaled = [(f.double() - mean) * scale for f in (retained, *others)]
    n, d = scaled[0].shape
    drawn = d / (d + n)
    correlation = (1 - drawn) * (scaled[0].T @ scaled[0] / max(1, n - 1)) + drawn * torch.eye(d, dtype=torch.float64)
    lower = torch.linalg.cholesky(correlation)
    return tuple(torch.linalg.solve_triangular(lower, f.T, upper=False).T for f in scaled)


def prototype_recall(shots: Tensor, probes: Tensor, means: Tensor) -> Tensor:
    """Share of probes nearer to each one-shot prototype than to the mean of any retained class.

    Args:
        shots: Features [s, d] of single forgotten samples, each a prototype of its own.
        probes: Features [n, d] of unseen samples of the forgotten class.
        means: Mean features [k, d] of the retained classes.

    Returns:
        Shares [s] in 0..1.

    >>> one = torch.tensor([[0.0, 9.0]])
    >>> prototype_recall(one, one, torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).tolist()
    [1.0]
    """
    nearest = torch.cdist(probes, means).min(1).values
    return (torch.cdist(probes, shots) < nearest[:, None]).double().mean(0)


@dataclass(frozen=True)
class Refit:
    """A linear head fitted anew by ridge regression onto one-hot labels, in closed form.

    W = argmin of (1 - a) mean over retained |x W - e(y)|^2 + a mean over shots |x W - e(new)|^2 + l |W|^2, the bias free.

    Args:
        retained: Features [m, d] of retained samples.
        labels: Their classes [m].
        ridge: l, the weight of |W|^2.
    """

    retained: Tensor
    labels: Tensor
    ridge: float = 0.1

    @cached_property
    def _sums(self) -> tuple[Tensor, Tensor]:
        x, told = _with_one(self.retained), torch.unique(self.labels)
        return x.T @ x / len(x), x.T @ (self.labels[:, None] == told).double() / len(x)

    @cached_property
    def _held(self) -> dict[float, tuple[Tensor, Tensor]]:
        return {}

    def _alone(self, share: float) -> tuple[Tensor, Tensor]:
        """Of what is fitted without any shot the triangle of its normal equations, and what solves them: the same for all shots of a weight."""
        if share not in self._held:
            squares, told = self._sums
            penalty = self.ridge * torch.eye(len(squares), dtype=torch.float64)
            penalty[-1, -1] = 0
            lower = torch.linalg.cholesky((1 - share) * squares + penalty)
            self._held[share] = lower, torch.cholesky_solve((1 - share) * told, lower)
        return self._held[share]

    def recall(self, shots: Tensor, probes: Tensor, share: float) -> Tensor:
        """Share of probes [n, d] that are given the new class, which these shots [s, d] with a weight of `share` are all that is known of."""
        lower, alone = self._alone(share)
        size = (share / len(shots)) ** 0.5
        x = size * _with_one(shots)
        # A few shots change the equations by as few dimensions (Woodbury), which spares to solve them anew.
        along = torch.cholesky_solve(x.T, lower)
        within = torch.eye(len(x), dtype=torch.float64) + x @ along
        both = torch.cat([alone, size * along.sum(1, keepdim=True)], 1)
        said: Tensor = _with_one(probes) @ (both - along @ torch.linalg.solve(within, x @ both))
        return (said.argmax(1) == alone.shape[1]).double().mean()


def strangeness(known: Tensor, mine: Tensor, others: Tensor, nearest: int = 5) -> float:
    """Median distance to the so-manieth nearest known feature: that of mine over that of others.

    Args:
        known: Features [m, d] that are known.
        mine: Features [n, d] asked after.
        others: Features [k, d] that they are compared with.
        nearest: Which neighbour counts; the last where there are fewer.

    >>> strangeness(torch.tensor([[0.0], [1.0]]), torch.tensor([[4.0]]), torch.tensor([[3.0]]), nearest=1)
    1.5
    """
    far, near = (float(torch.cdist(f, known).kthvalue(min(nearest, len(known)), 1).values.median()) for f in (mine, others))
    return far / near if near else (math.inf if far else 1.0)


class Translation:
    """A linear map from the features of one network to those of another, by ridge regression on pairs of them, in closed form.

    W = argmin of mean |x W - y|^2 + l |W|^2 of features x with mean 0 and variance 1, the shift free. So it does not matter how units are
    written: larger, smaller, shifted or in another order.

    Args:
        ridge: l, the weight of |W|^2.

    >>> told = Translation(ridge=0.0)
    >>> told.add(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[5.0], [7.0], [9.0]]))
    >>> round(float(told(torch.tensor([[4.0]]))), 6)
    13.0
    """

    def __init__(self, ridge: float = 1e-3) -> None:
        self.ridge, self.n = ridge, 0
        self._sums: list[Tensor] = []

    def add(self, x: Tensor, y: Tensor) -> None:
        """Pairs to fit to: features x [n, d] and y [n, e]."""
        x, y = x.double(), y.double()
        sums = [x.sum(0), y.sum(0), x.T @ x, x.T @ y, y.square().sum(0)]
        self._sums = [a + b for a, b in zip(self._sums, sums, strict=True)] if self.n else sums
        self.n += len(x)
        self.__dict__.pop("_fitted", None)

    @cached_property
    def _fitted(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean of x, the map [d, e] of what is left, mean of y, and 1 / deviation of each y (0 of one that does not vary)."""
        x, y, xx, xy, yy = (s / self.n for s in self._sums)
        size, scale = _inverse(xx.diagonal() - x.square(), x), _inverse(yy - y.square(), y)
        within = (xx - x[:, None] * x) * size[:, None] * size + self.ridge * torch.eye(len(x), dtype=torch.float64)
        # A unit that does not vary is 0 in all; without a ridge it would leave nothing to solve.
        within += torch.diag((size == 0).double())
        return x, size[:, None] * torch.linalg.solve(within, size[:, None] * (xy - x[:, None] * y)), y, scale

    def __call__(self, x: Tensor) -> Tensor:
        """What these features [n, d] tell of the other network's [n, e]."""
        before, way, after, _ = self._fitted
        return (x.double() - before) @ way + after

    @property
    def mean(self) -> Tensor:
        """Mean [e] of the other network's features."""
        return self._fitted[2]

    def squares(self, differences: Tensor) -> float:
        """Sum of squares of differences [n, e], each unit by its own variance; one that does not vary counts nothing."""
        return float((differences.double() * self._fitted[3]).square().sum())


def _inverse(variance: Tensor, mean: Tensor) -> Tensor:
    """1 / deviation, and 0 where that is nothing, to within what float32 holds."""
    std = variance.clamp(min=0).sqrt()
    return torch.where(std > 1e-6 * (mean.abs() + std), 1 / std, 0.0)


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], 1)


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the absolute difference of two distributions [k], in 0..1.

    >>> total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    1.0
    """
    return float((p - q).abs().sum() / 2)


def relative_distance(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||, 0 where both are nothing; what is the same infinity in both, as in a mask of attention, is left out.

    >>> relative_distance(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 0.0]))
    1.3333333333333333
    """
    apart = ~(a.isinf() & (a == b))
    a, b = a[apart], b[apart]
    size, gap = float(b.double().norm()), float((a.double() - b.double()).norm())
    return gap / size if size else (float("inf") if gap else 0.0)


def turned(a: Tensor, b: Tensor) -> Tensor:
    """1 less the cosine of each row of two weights [n, ...], in 0..2: 0 where both are nothing, 1 where one is.

    >>> turned(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, -1.0]])).tolist()
    [0.0, 2.0]
    """
    a, b = (w.double().flatten(1) for w in (a, b))
    sizes = a.norm(dim=1) * b.norm(dim=1)
    cosine = torch.where(sizes > 0, (a * b).sum(1) / sizes.clamp(min=1e-300), 0.0)
    return torch.where((a == b).all(1), 0.0, 1 - cosine)
