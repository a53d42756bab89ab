"""How alike features are, and what they tell of membership in the forget set: pure functions of features [n, d]."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of two models' features on the same samples, 0..1; 1 up to rotation and one scale.

    ||Y^T X||^2 / (||X^T X|| ||Y^T Y||), columns centred (Kornblith et al., 2019, arXiv:1905.00414). 0 where the features of one do not vary.

    Args:
        x: Features [n, d].
        y: Features [n, e].

    >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]])
    >>> round(linear_cka(x, -3 * x.flip(1)), 6)
    1.0
    """
    a, b = (f.double() - f.double().mean(0) for f in (x, y))
    size = float((a.T @ a).norm() * (b.T @ b).norm())
    return min(1.0, float((b.T @ a).square().sum()) / size) if size else 0.0


def neighbour_percentile(gone: Tensor, stay: Tensor) -> Tensor:
    """Of each forgotten sample [n] the share of retained samples that are less like it than the forgotten one most like it is, ties half: 1 where the forgotten still lie together.

    By the cosine of features, centred on the mean of the retained. After M4 of Cosma and Finke, RULER: Representation-Level Verification of Machine Unlearning, 2026,
    arXiv:2605.27569, of which the abstract alone was at hand: it looks for what is left in the model's own similarities, without a retrained model.

    Args:
        gone: Features [n, d] of forgotten samples, two or more.
        stay: Features [k, d] of retained ones.

    >>> gone, stay = torch.tensor([[1.0, 0.1], [1.0, -0.1]]), torch.tensor([[0.0, 1.0], [0.0, -1.0], [-1.0, 0.0], [1.0, 0.0]])
    >>> neighbour_percentile(gone, stay).tolist()
    [0.75, 0.75]
    """
    mean = stay.double().mean(0)
    a, b = (torch.nn.functional.normalize(side.double() - mean, dim=1) for side in (gone, stay))
    nearest = (a @ a.T).fill_diagonal_(-2).max(1, keepdim=True).values
    others = a @ b.T
    share: Tensor = ((others < nearest).double() + (others == nearest).double() / 2).mean(1)
    return share


def information(features: Tensor, labels: Tensor, folds: int = 5) -> float:
    """A lower bound of what features tell of a label of two kinds, in bits: H(Y) - cross-entropy of a logistic regression on samples that it was not fitted to.

    Args:
        features: Features [n, d].
        labels: 0 or 1 [n].
        folds: Parts that it is fitted without, one after the other; sample i lies in part i mod folds of its kind.

    >>> y = torch.arange(40) % 2
    >>> information(torch.zeros(40, 3), y) < 1e-6 < 0.7 < information(50.0 * y[:, None], y)
    True
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = features.double().numpy(), labels.numpy()
    part = torch.empty(len(y), dtype=torch.long)
    for kind in (0, 1):
        at = labels == kind
        part[at] = torch.arange(int(at.sum())) % folds
    losses = torch.zeros(len(y), dtype=torch.float64)
    for fold in range(folds):
        out = (part == fold).numpy()
        if not out.any():
            continue
        fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x[~out], y[~out])
        chances = torch.tensor(fitted.predict_proba(x[out]))
        losses[torch.tensor(out)] = -chances[torch.arange(int(out.sum())), labels[torch.tensor(out)]].clamp(min=1e-12).log2()
    share = float(labels.double().mean())
    whole = 0.0 if share in (0.0, 1.0) else -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    return max(0.0, whole - float(losses.mean()))


def information_difference(mine: float, original: float, retrained: float) -> float | None:
    """(I of the model - I of retrained ones) / (I of the original - I of retrained ones): 0 as retrained, 1 as the original; below 0 less than retrained.

    Jeon et al., An Information Theoretic Evaluation Metric for Strong Unlearning, 2024, arXiv:2405.17878. None where the original's features tell no more than
    a retrained model's, so that there is nothing to measure by.

    >>> information_difference(0.5, 0.5, 0.1), information_difference(0.1, 0.5, 0.1), information_difference(0.3, 0.1, 0.1)
    (1.0, 0.0, None)
    """
    return (mine - retrained) / (original - retrained) if original - retrained > 1e-6 else None
