"""The field's numbers that make one of several: pure functions of accuracies and of counts. None of them decides anything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def tug_of_war(mine: Sequence[float], retrained: Sequence[float]) -> float:
    """Product over the forget, retain and test set of (1 - |accuracy - the retrained model's|): 1 where all are alike.

    Zhao et al., What Makes Unlearning Hard and What To Do About It, 2024, arXiv:2406.01257.

    >>> tug_of_war([0.5, 1.0, 0.9], [0.5, 1.0, 0.9]), tug_of_war([1.0, 1.0, 1.0], [0.5, 1.0, 1.0])
    (1.0, 0.5)
    """
    return math.prod(1 - abs(a - b) for a, b in zip(mine, retrained, strict=True))


def nomus(test: float, attack: float, weight: float = 0.5) -> float:
    """Normalised machine unlearning score: w A_t + (1 - w)(1 - 2 |attack - 1/2|), the accuracy of an attack on membership.

    Choi and Na, Towards Machine Unlearning Benchmarks, 2023, arXiv:2311.02240; the weight is theirs.

    >>> nomus(1.0, 0.5), nomus(1.0, 1.0), nomus(1.0, 0.0)
    (1.0, 0.5, 0.5)
    """
    return weight * test + (1 - weight) * (1 - 2 * abs(attack - 0.5))


def aus(test: float, original: float, forgotten: float, *, classes: bool) -> float:
    """Adaptive unlearning score: (1 - (A_t of the original - A_t)) / (1 + gap), the gap A_f for classes and |A_t - A_f| for samples.

    Cotogni et al., DUCK, 2023, arXiv:2312.02052.

    Args:
        test: A_t, accuracy on test samples of what is kept.
        original: The same of the original.
        forgotten: A_f, accuracy on the forget set; of classes that on their test samples, as in the authors' code.
        classes: Whether classes were forgotten, or samples.

    >>> aus(0.9, 0.9, 0.0, classes=True), aus(0.9, 0.9, 1.0, classes=True), aus(0.9, 0.9, 0.9, classes=False)
    (1.0, 0.5, 1.0)
    """
    return (1 - (original - test)) / (1 + (forgotten if classes else abs(test - forgotten)))


def competition(quality: float, mine: Sequence[float], retrained: Sequence[float]) -> float:
    """The 2023 competition's final score: F (RA_u / RA_r) (TA_u / TA_r), its forgetting quality and accuracies on retained and test set.

    Triantafillou et al., Are we making progress in unlearning?, 2024, arXiv:2406.09073. Who is more accurate than the retrained gains by it, as there.

    Args:
        quality: F, of `shadow.forgetting_quality`.
        mine: Mean accuracies of the models that forgot, on each set.
        retrained: Those of the models that were trained from nothing; none is 0.

    >>> competition(0.5, [1.0, 0.9], [1.0, 0.9]), competition(0.5, [0.5, 0.9], [1.0, 0.9])
    (0.5, 0.25)
    """
    return quality * math.prod(a / b for a, b in zip(mine, retrained, strict=True))


def interclass_confusion(said: Tensor, labels: Tensor, pair: tuple[int, int]) -> tuple[int, int]:
    """How many test samples of two classes are called the other, and of how many.

    Where labels of the two were swapped in training and these samples forgotten, what is left of it shows here (Goel et al., Towards Adversarial
    Evaluations for Inexact Machine Unlearning, 2022, arXiv:2201.06640).

    >>> interclass_confusion(torch.tensor([1, 0, 2]), torch.tensor([0, 0, 1]), (0, 1))
    (1, 3)
    """
    a, b = pair
    crossed = ((labels == a) & (said == b)) | ((labels == b) & (said == a))
    return int(crossed.sum()), int(torch.isin(labels, torch.tensor(pair)).sum())
