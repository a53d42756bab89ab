"""How far the answers of two models lie apart: pure functions of probabilities [n, C]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def among_the_rest(logits: Tensor, classes: Sequence[int]) -> Tensor:
    """Probabilities [n, C] over the other classes, whatever the logits [n, C] of these are, which get 0.

    >>> among_the_rest(torch.tensor([[0.0, 0.0, 9.0]]), [2]).tolist()
    [[0.5, 0.5, 0.0]]
    """
    there = [c for c in classes if c < logits.shape[1]]
    return logits.double().index_fill(1, torch.tensor(there, dtype=torch.long), -torch.inf).softmax(1)


def js_divergence(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence of each pair of distributions [n], in bits, 0..1.

    JS = (KL(p || m) + KL(q || m)) / 2, m = (p + q) / 2, base 2.

    >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> js_divergence(one, other).item(), js_divergence(one, one).item()
    (1.0, 0.0)
    """
    p, q = p.double(), q.double()
    m = (p + q) / 2
    apart = torch.special.xlogy(p, p) + torch.special.xlogy(q, q) - 2 * torch.special.xlogy(m, m)
    bits: Tensor = (apart.sum(-1) / (2 * math.log(2))).clamp(0, 1)
    return bits


def js_compat(p: Tensor, q: Tensor) -> float:
    """What several public repositories report as JS: the KL turned round, in nats, and divided by the number of classes too.

    KL(m || p) and KL(m || q), each the mean over all n * C entries. Numbers made so hang on C and are infinite for one-hot
    answers; this stands here to compare with theirs, and for nothing else.

    >>> p, q = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.1, 0.9]])
    >>> round(js_compat(p, q), 4), round(float(js_divergence(p, q)[0]) * math.log(2), 4)
    (0.2554, 0.3681)
    """
    p, q = p.double(), q.double()
    m = (p + q) / 2
    return float(sum((torch.special.xlogy(m, m) - m * a.log()).mean() for a in (p, q)) / 2)


def zrf(p: Tensor, random: Tensor) -> float:
    """Zero retrain forgetting: 1 - mean JS between a model's answers and those of an untrained network, on forgotten samples.

    Chundawat et al., Can Bad Teaching Induce Forgetting?, 2023, arXiv:2205.08096, with JS as it is defined. The aim that it sets is not
    what retraining gives.
    """
    return 1 - float(js_divergence(p, random).mean())


def hellinger(p: Tensor, q: Tensor) -> float:
    """Hellinger distance of two models' probabilities on the same samples, 0..1: the root of the mean over these of 1 - sum sqrt(p q).

    >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> hellinger(one, other), hellinger(one, one)
    (1.0, 0.0)
    """
    return math.sqrt(float((1 - (p.double() * q.double()).sqrt().sum(-1)).clamp(0, 1).mean()))


def activation_distance(p: Tensor, q: Tensor) -> float:
    """Mean Euclidean distance of two models' probabilities on the same samples (Golatkar et al., 2021, arXiv:2012.13431).

    >>> round(activation_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])), 4)
    1.4142
    """
    return float((p.double() - q.double()).norm(dim=1).mean())


def completeness(said: Tensor, other: Tensor) -> float:
    """Share of samples that two models call the same (Cao and Yang, Towards Making Systems Forget, 2015).

    >>> completeness(torch.tensor([1, 2, 3]), torch.tensor([1, 2, 0]))
    0.6666666666666666
    """
    return float((said == other).double().mean())


def rf_jsd(forgotten: Tensor, unseen: Tensor) -> float:
    """Retrain-free JS divergence: of the mean answer on forgotten samples and the original's mean answer on unseen ones, in bits.

    Spartalis et al., LoTUS, 2025, arXiv:2503.18314.

    Args:
        forgotten: Probabilities [n, C] of the model on forgotten samples.
        unseen: Probabilities [k, C] of the original on samples that it was not trained on.
    """
    return float(js_divergence(forgotten.double().mean(0), unseen.double().mean(0)))


def entropy(p: Tensor) -> Tensor:
    """Entropy of each distribution [n], in bits.

    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    p = p.double()
    bits: Tensor = -(torch.special.xlogy(p, p).sum(-1) / math.log(2)) + 0.0
    return bits


def largest_gap(a: Tensor, b: Tensor) -> float:
    """Kolmogorov and Smirnov's distance of two samples: the largest gap between their distribution functions, 0..1.

    >>> largest_gap(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]))
    1.0
    """
    one, two = torch.sort(a.double()).values, torch.sort(b.double()).values
    at = torch.cat([one, two])
    shares = [torch.searchsorted(s, at, right=True).double() / len(s) for s in (one, two)]
    return float((shares[0] - shares[1]).abs().max())
