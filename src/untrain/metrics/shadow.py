"""What models trained with and without a sample tell of another: attacks that know how each sample looks either way, and distances of what a method leaves.

Scores of shadow models stand as [models, samples], and beside them whether each was trained on each sample.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from untrain.metrics.ranked import mixed

Numbers = np.ndarray[Any, Any]

OWN_SPREAD = 32
"""Shadow models on either side of a sample from which on it has a spread of its own; below it all share one (Carlini et al. find one better below 64 models in all)."""


def lira(own: Tensor, shadows: Tensor, member: Tensor) -> Tensor:
    """The likelihood ratio of each sample [n]: log N(phi; mean_in, s_in) - log N(phi; mean_out, s_out).

    Carlini et al., Membership Inference Attacks From First Principles, 2022, arXiv:2112.03570, online. Where the shadow models were put
    through the method, "in" being those that forgot a sample and "out" those that never saw it, it is U-LiRA (Hayes et al., 2024, arXiv:2403.01218).

    Args:
        own: Scaled confidences [n] of the model that is attacked.
        shadows: The same [s, n] of the shadow models.
        member: Whether each [s, n] was trained on each sample; at least two were and two were not.

    >>> shadows = torch.tensor([[4.0], [2.0], [1.0], [-1.0]])
    >>> lira(torch.tensor([3.0]), shadows, torch.tensor([[True], [True], [False], [False]])).item()
    2.25
    """
    phi, s, inside = own.double(), shadows.double(), member.bool()
    sides = []
    for which in (inside, ~inside):
        count = which.sum(0)
        mean = torch.where(which, s, 0.0).sum(0) / count
        square = torch.where(which, (s - mean).square(), 0.0).sum(0)
        own_spread = int(count.min()) >= OWN_SPREAD
        variance = square / (count - 1) if own_spread else (square.sum() / (count - 1).sum()).expand_as(square)
        sides.append((mean, variance.clamp_min(1e-12)))
    (mean_in, v_in), (mean_out, v_out) = sides
    found: Tensor = ((phi - mean_out).square() / v_out - (phi - mean_in).square() / v_in + v_out.log() - v_in.log()) / 2
    return found


def rmia(own: Tensor, shadows: Tensor, member: Tensor, population: Tensor, population_shadows: Tensor, gamma: float = 1.0) -> Tensor:
    """The share of a population that each sample [n] dominates: ratio(x) >= gamma ratio(z), ratio = p(model) / P.

    Zarifzadeh et al., Low-Cost High-Power Membership Inference Attacks, 2024, arXiv:2312.03262. P is the mean of what models with
    and without a sample give its label. No shadow model saw the population, so that what one that had would say is taken for 1 - a (1 - p_out),
    as the paper's offline form has it, and a is fitted to the samples that both kinds are known of.

    Args:
        own: Probability of its label [n], of the model that is attacked.
        shadows: The same [s, n] of the shadow models.
        member: Whether each [s, n] was trained on each sample.
        population: Probability of its label [z] of samples that no model was trained on.
        population_shadows: The same [s, z] of the shadow models.
        gamma: How far a sample has to be ahead.
    """
    p, inside = shadows.double(), member.bool()
    p_in, p_out = (torch.where(which, p, 0.0).sum(0) / which.sum(0) for which in (inside, ~inside))
    lacks_in, lacks_out = 1 - p_in, 1 - p_out
    square = lacks_out.square().sum()
    a = float(((lacks_in * lacks_out).sum() / square).clamp(0, 1)) if float(square) > 0 else 1.0
    ratio = own.double() / ((p_in + p_out) / 2).clamp_min(1e-12)
    z_out = population_shadows.double().mean(0)
    z_ratio = torch.sort(population.double() / ((z_out + 1 - a * (1 - z_out)) / 2).clamp_min(1e-12)).values
    return torch.searchsorted(z_ratio, ratio / gamma, right=True).double() / len(z_ratio)


def told_apart(mine: Tensor, others: Tensor, share: float = 0.1, strata: tuple[Tensor, Tensor] | None = None, *, across: bool = False) -> Tensor:
    """Which of the first group [n] no sample of the second explains, of which this share at most is by chance.

    Benjamini's and Hochberg's rule on p = (1 + samples of the second group that lie as high) / (k + 1), which is exact for a sample that is like the second group
    (Bates et al., Testing for Outliers with Conformal p-values, 2023, arXiv:2104.08279).

    Args:
        mine: Scores [n].
        others: Scores [k].
        share: The share.
        strata: Labels [n] and [k]; a sample is compared with those of its label alone, and stays where there is none.
        across: Whether it is compared with all instead, weighed to the first group's mix of labels (Tibshirani et al., Conformal Prediction Under Covariate Shift, 2019,
            arXiv:1904.06019): where few are of one label.

    >>> told_apart(torch.tensor([9.0, 0.5]), torch.arange(20.0) / 20).tolist()
    [True, False]
    """
    one, two = (torch.zeros(len(side)) for side in (mine, others)) if strata is None else strata
    weights, p = mixed((one, two)), torch.ones(len(mine), dtype=torch.float64)
    for c in torch.unique(one[torch.isin(one, two)]):
        beside, at = (weights > 0) if across else (two == c), one == c
        ordered, order = torch.sort(others[beside].double())
        # How much lies at each place or above it, and above all.
        above = torch.cat([weights[beside][order].flip(0).cumsum(0).flip(0), torch.zeros(1)])
        own = weights[two == c][0]
        p[at] = (own + above[torch.searchsorted(ordered, mine[at].double())]) / (own + above[0])
    line = share * torch.arange(1, len(p) + 1).double() / len(p)
    below = (torch.sort(p).values <= line * (1 + 1e-12)).nonzero()
    return p <= line[below[-1]] * (1 + 1e-12) if len(below) else torch.zeros(len(p), dtype=torch.bool)


def klom(unlearned: Tensor, retrained: Tensor, bins: int = 20, most: float = 100.0) -> Tensor:
    """KL divergence of margins of each sample [n]: KL(histogram of retrained models || histogram of unlearned ones), in nats.

    Georgiev et al., Attribute-to-Delete, 2024, arXiv:2410.23232: margins z_y - logsumexp of the others, clipped, in bins over the range of both. An empty bin counts
    1e-5, without which nearly every divergence of so few models would be infinite.

    Args:
        unlearned: Margins [models, n] of models that forgot each sample.
        retrained: The same of models that never saw it.
        bins: Number of bins.
        most: What margins are clipped to.

    >>> one = torch.tensor([[0.0], [1.0], [2.0]])
    >>> klom(one, one).item(), klom(one, one + 9).item() > 5
    (0.0, True)
    """
    a, b = (m.double().clamp(-most, most).numpy() for m in (unlearned, retrained))
    out = []
    for mine, theirs in zip(a.T, b.T, strict=True):
        ends = min(mine.min(), theirs.min()), max(mine.max(), theirs.max())
        p, q = ((np.histogram(side, bins, ends)[0] / len(side) + 1e-5) for side in (theirs, mine))
        p, q = p / p.sum(), q / q.sum()
        out.append(float((p * np.log(p / q)).sum()))
    return torch.tensor(out, dtype=torch.float64).clamp_min(0)


CAP = 50.0
"""The competition's largest epsilon."""


def epsilons(unlearned: Tensor, retrained: Tensor, delta: float = 1e-5) -> Tensor:
    """The 2023 competition's epsilon of each sample [n]: how well the best rule tells models that forgot it from models that never saw it.

    eps = max over rules of max(log(1 - delta - FPR) - log FNR, log(1 - delta - FNR) - log FPR), rules being one threshold, above which the group with the larger median is
    called, or two, between which the narrower group is. A rule with one rate of zero is left out, with both it is the cap, and so is a group a hundred
    times narrower than the other. Triantafillou et al., Are we making progress in unlearning?, 2024, arXiv:2406.09073. Here every threshold that matters is tried, where the
    competition's code tried a hundred in each unit.

    Args:
        unlearned: Scaled confidences [models, n] of models that forgot each sample.
        retrained: The same of models that never saw it.
        delta: delta.

    >>> one = torch.arange(8.0)[:, None]
    >>> epsilons(one, one).item(), epsilons(one, one + 20).item(), round(epsilons(one, one + 4).item(), 2)
    (0.0, 50.0, 1.61)
    """
    a, b = unlearned.double().numpy(), retrained.double().numpy()
    return torch.tensor([_epsilon(x, y, delta) for x, y in zip(a.T, b.T, strict=True)], dtype=torch.float64)


def _epsilon(a: Numbers, b: Numbers, delta: float) -> float:
    width_a, width_b = np.ptp(a), np.ptp(b)
    wide, narrow = max(width_a, width_b), min(width_a, width_b)
    if wide > 0 and narrow / wide < 0.01:
        return CAP
    cuts = np.unique(np.concatenate([a, b]))
    # How many lie below each cut, and below no cut at all.
    below = {name: np.concatenate([np.searchsorted(np.sort(side), cuts), [len(side)]]) / len(side) for name, side in (("a", a), ("b", b))}
    above, under = ("a", "b") if np.median(a) > np.median(b) else ("b", "a")
    inner, outer = ("a", "b") if width_a <= width_b else ("b", "a")
    between = [(below[name][None, :] - below[name][:, None])[np.triu_indices(len(cuts) + 1, 1)] for name in (inner, outer)]
    fnr = np.concatenate([below[above], 1 - between[0]])
    fpr = np.concatenate([1 - below[under], between[1]])
    if ((fnr == 0) & (fpr == 0)).any():
        return CAP
    told = (fnr > 0) & (fpr > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.fmax(np.log(1 - delta - fpr) - np.log(fnr), np.log(1 - delta - fnr) - np.log(fpr))[told]
    return float(np.clip(np.nanmax(found, initial=0.0), 0, CAP))


def forgetting_quality(eps: Tensor, models: int) -> float:
    """The competition's F: mean over samples of 2^-floor(eps / .5), 0 where eps is beyond what so many models can show; `summary.competition` counts accuracies in.

    Args:
        eps: Epsilons [n].
        models: Models of each kind behind them.

    >>> forgetting_quality(torch.tensor([0.0, 0.6, 50.0]), 64)
    0.5
    """
    beyond = math.ceil(math.log(models - 1)) if models > 2 else 0.5
    points = torch.where(eps < beyond, 0.5 ** (eps / 0.5).floor(), 0.0)
    return float(points.double().mean())


def kernel_ratio(own: Tensor, one: Tensor, inside: Tensor, other: Tensor, outside: Tensor, bandwidth: float = 1.0) -> Tensor:
    """The likelihood ratio of each sample [n] between two groups of models, whose densities are sums of normal kernels.

    log of mean N(phi; s, h) over the models of the one group, less that of the other. Naderloui et al., Rectifying Privacy and Efficacy Measurements in Machine
    Unlearning (RULI), 2025, arXiv:2506.13009: `one` are models that forgot the sample, `other` in the efficacy game models that were trained without it, in the privacy
    game those that went through the same method without having known it.

    Args:
        own: Scaled confidences [n] of the model that is attacked.
        one: The same [s, n] of models.
        inside: Which of them [s, n] are of the first group for each sample; at least one is.
        other: The same [r, n] of models.
        outside: Which of these [r, n] are of the second.
        bandwidth: h; 1 as in the authors' code.

    >>> s, yes = torch.tensor([[2.0], [0.0]]), torch.tensor([[True], [False]])
    >>> kernel_ratio(torch.tensor([2.0]), s, yes, s, ~yes).item()
    2.0
    """

    def density(models: Tensor, which: Tensor) -> Tensor:
        logs = -((own.double() - models.double()) / bandwidth).square() / 2
        return logs.masked_fill(~which.bool(), -math.inf).logsumexp(0) - which.sum(0).double().log()

    return density(one, inside) - density(other, outside)


def gumbel_signal(p: Tensor) -> Tensor:
    """-log(.01 - log(p + 1e-5)): what IAM makes of the probability of a sample's label [...]; the bounds are those of the authors' code."""
    found: Tensor = -(0.01 - (p.double() + 1e-5).log()).log()
    return found


def iam(own: Tensor, unseen: Tensor, fitted: Tensor | None = None, points: int = 100) -> Tensor:
    """How far each sample [n] is unlearned, 0 to 1, by what models say that never saw it; one such model is enough.

    Between the signal of models that never saw the sample (alpha 0) and that of one that fits it (alpha 1) lie signals at even steps; each has a Gumbel distribution with this
    mean and the spread of all samples there, and 1 - sum(alpha F(signal)) / sum(alpha) is told, F being its distribution function and alpha that of the step above. Wang et al.,
    Towards Lifecycle Unlearning Commitment Management (IAM), 2025, arXiv:2506.06112.

    Args:
        own: Probability of its label [n], of the model that is looked at.
        unseen: The same [m, n] of models that never saw any of the samples.
        fitted: The same [n] of a model that was trained on them; certainty where none is given, which treats all samples alike.
        points: Signals from end to end, both counted; 100 as in the authors' code.

    >>> known, unknown = torch.tensor([0.99, 0.3]), torch.tensor([[0.4, 0.3]])
    >>> a, b = iam(known, unknown, torch.tensor([0.99, 0.99])).tolist()
    >>> a < 0.3 < 0.9 < b
    True
    """
    low, mine = gumbel_signal(unseen), gumbel_signal(own)
    high = gumbel_signal(torch.ones_like(own) if fitted is None else fitted)
    alphas = torch.linspace(0, 1, points, dtype=torch.float64)
    told = torch.zeros_like(mine)
    for alpha, weight in pairwise(alphas):
        between = low + (high - low) * alpha
        # By the method of moments: beta = s sqrt(6) / pi, and the mean lies Euler's constant times beta above the mode.
        beta = (between.std(correction=0) * math.sqrt(6) / math.pi).clamp_min(1e-12)
        told += weight * (-(-((mine - between.mean(0)) / beta + np.euler_gamma)).exp()).exp()
    return 1 - told / alphas[1:].sum()


def interpolated(own: Tensor, shadows: Tensor, member: Tensor) -> Tensor:
    """How far each sample [n] has gone from models that were trained on it (0) to models that were not (1); below 0 it is better known, above 1 less than never seen.

    (mean_in - phi) / (mean_in - mean_out): what is measured between both ends, after the idea of IAM (`iam`), in the scale of scores. Not a number where the two ends coincide.

    >>> interpolated(torch.tensor([1.0]), torch.tensor([[4.0], [0.0]]), torch.tensor([[True], [False]])).item()
    0.75
    """
    s, inside = shadows.double(), member.bool()
    one, other = (torch.where(which, s, 0.0).sum(0) / which.sum(0) for which in (inside, ~inside))
    return torch.where(one > other, (one - own.double()) / (one - other), torch.nan)
