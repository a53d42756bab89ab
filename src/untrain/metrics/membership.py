"""What tells a sample that was trained on from one that was not: scores of single samples, and what attacks make of them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy import optimize
from torch import Tensor


def scaled_confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """The logit of a sample's own class less that of all others together: log(p_y / (1 - p_y)) [n].

    Carlini et al., Membership Inference Attacks From First Principles, 2022, arXiv:2112.03570.

    >>> scaled_confidence(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item()
    0.0
    """
    z = logits.double()
    own = z.gather(1, labels[:, None])[:, 0]
    rest = z.scatter(1, labels[:, None], -torch.inf)
    return own - rest.logsumexp(1)


def modified_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mentr of each sample [n]: -(1 - p_y) log p_y - sum over i != y of p_i log(1 - p_i); 0 where it is sure and right.

    Song and Mittal, Systematic Evaluation of Privacy Risks of Machine Learning Models, 2021, arXiv:2003.10595. Of each sample by
    itself: where p[:, labels] is written in place of p[i, labels[i]], as in several public repositories, a sample's value hangs on its batch.

    >>> round(modified_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([0])).item(), 4)
    0.6931
    """
    logs = logits.double().log_softmax(1)
    p = logs.exp()
    # 1 - p_i by what the others are, where p_i is the largest: nothing is left of a difference from nearly 1.
    top = p.argmax(1, keepdim=True)
    others = logs.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    less = torch.log1p(-p.scatter(1, top, 0.0)).scatter(1, top, others)
    own = labels[:, None]
    mine = less.gather(1, own).exp() * logs.gather(1, own)
    rest = torch.where(p > 0, p * less, 0.0).scatter(1, own, 0.0).sum(1, keepdim=True)
    return -(mine + rest)[:, 0]


def calibrated(scores: Tensor, difficulty: Tensor) -> Tensor:
    """Scores less what a straight line through their difficulty explains of them: s - (a + b d), by least squares over all of them.

    The line is drawn through forgotten and never seen samples alike, so that a rank test of the two stays exact; its
    slope takes out a temperature. Infinite scores stay as they are, and the line is drawn through the others.

    Args:
        scores: Scores [n] of the model that is looked at.
        difficulty: The same scores [n] of models that never saw any of them, their mean.
    """
    s, d = scores.double(), difficulty.double()
    finite = s.isfinite() & d.isfinite()
    middle, centre = (v[finite].mean().nan_to_num() for v in (s, d))
    above, centred = s - middle, d - centre
    square = centred[finite].square().sum()
    slope = (centred * above)[finite].sum() / square if float(square) > 0 else torch.zeros((), dtype=torch.float64)
    # A class that a model masks with minus infinity lies below all others, and no line goes through it.
    return torch.where(s.isinf(), s, above - torch.where(slope == 0, 0.0, slope * centred))


def plausibility(logits: Tensor, others: Tensor) -> Tensor:
    """How likely to others is what a model says of each sample [n]: the sum over classes of p_c log q_c, its own probabilities p and theirs q.

    Low where it is unsure though they are not, and where it is sure of what they would not say. The label is not asked.

    Args:
        logits: Logits [n, C] of the model that is looked at.
        others: Probabilities [n, C] of models that never saw any of the samples, their mean.

    >>> sure, odd = torch.tensor([[9.0, -9.0]]), torch.tensor([[-9.0, 9.0]])
    >>> q = torch.tensor([[0.75, 0.25]])
    >>> round(plausibility(sure, q).item(), 3), round(plausibility(odd, q).item(), 3)
    (-0.288, -1.386)
    """
    return (logits.double().softmax(1) * others.double().clamp_min(1e-12).log()).sum(1)


def sharpness(logits: Tensor, labels: Tensor) -> float:
    """What logits are to be multiplied by for their cross-entropy with these labels to be least, from e^-7 to e^7: one over the temperature of Guo et al., 2017, arXiv:1706.04599.

    >>> z, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 0, 0, 1])
    >>> round(sharpness(z, y), 3), round(sharpness(10 * z, y), 4)
    (1.099, 0.1099)
    """
    z = logits.double()
    found = optimize.minimize_scalar(lambda log: float(F.cross_entropy(z * math.exp(log), labels)), bounds=(-7.0, 7.0), method="bounded")
    return math.exp(found.x)


def swap_advantage(forgotten: Tensor, unseen: Tensor, swapped_forgotten: Tensor, swapped_unseen: Tensor) -> float:
    """The advantage of an attack over a pair of runs in which forgotten and never seen samples changed places: 0..0.5.

    | (mean over the two runs of (share of the forgotten called members - share of the unseen called members)) | / 2. Of retraining it
    is exactly 0 for any attack: it gives the same model in both runs, so what the one adds the other takes away.
    Tu et al., Towards Reliable Empirical Machine Unlearning Evaluation: A Cryptographic Game Perspective, 2024, arXiv:2404.11577.

    Args:
        forgotten: Whether each forgotten sample [n] is called a member, 0 or 1.
        unseen: Whether each never seen sample [k] is.
        swapped_forgotten: The same of the second run, in which those that were unseen are forgotten.
        swapped_unseen: And those that were forgotten are unseen.

    >>> one, two = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    >>> swap_advantage(one, two, two, one), round(swap_advantage(one, two, one, two), 4)
    (0.0, 0.1667)
    """
    gaps = [m.double().mean() - n.double().mean() for m, n in ((forgotten, unseen), (swapped_forgotten, swapped_unseen))]
    return float((gaps[0] + gaps[1]).abs() / 4)
