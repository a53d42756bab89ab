"""How much of a class is left in the features: pure functions of tensors."""

from __future__ import annotations

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

    def recall(self, shots: Tensor, probes: Tensor, share: float) -> Tensor:
        """Share of probes [n, d] that are given the new class, which these shots [s, d] with a weight of `share` are all that is known of."""
        x = _with_one(shots)
        squares, told = self._sums
        penalty = self.ridge * torch.eye(x.shape[1], dtype=torch.float64)
        penalty[-1, -1] = 0
        left = (1 - share) * squares + share * x.T @ x / len(x) + penalty
        right = torch.cat([(1 - share) * told, share * x.mean(0)[:, None]], 1)
        said: Tensor = _with_one(probes) @ torch.linalg.solve(left, right)
        return (said.argmax(1) == right.shape[1] - 1).double().mean()


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], 1)


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the absolute difference of two distributions [k], in 0..1.

    >>> total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    1.0
    """
    return float((p - q).abs().sum() / 2)


def relative_distance(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||, 0 where both are nothing.

    >>> relative_distance(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 0.0]))
    1.3333333333333333
    """
    size, gap = float(b.double().norm()), float((a.double() - b.double()).norm())
    return gap / size if size else (float("inf") if gap else 0.0)
