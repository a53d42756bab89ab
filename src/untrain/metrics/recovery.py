"""How much of a class is left in the features: pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def prototype_recall(shots: Tensor, probes: Tensor, retained: Tensor, labels: Tensor) -> Tensor:
    """Share of probes nearer to each one-shot prototype than to the mean of any retained class.

    Features are standardised by the retained ones' mean and deviation first, as one who attacks could do.

    Args:
        shots: Features [s, d] of single forgotten samples, each a prototype of its own.
        probes: Features [n, d] of unseen samples of the forgotten class.
        retained: Features [m, d] of retained samples.
        labels: Their classes [m].

    Returns:
        Shares [s] in 0..1.

    >>> one = torch.tensor([[0.0, 9.0]])
    >>> prototype_recall(one, one, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 1])).tolist()
    [1.0]
    """
    mean, std = retained.mean(0), retained.std(0).clamp_min(1e-6)
    shots, probes, retained = ((f - mean) / std for f in (shots, probes, retained))
    means = torch.stack([retained[labels == c].mean(0) for c in torch.unique(labels)])
    nearest = torch.cdist(probes, means).min(1).values
    return (torch.cdist(probes, shots) < nearest[:, None]).double().mean(0)


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
