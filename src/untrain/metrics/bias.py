"""Numbers of bias: pure functions of probabilities, answers, labels and groups."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shifts(one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    """|P(y | one side) - P(y | the other)| of each pair [n], from logits [n, C] of both and labels [n].

    Its mean is the counterfactual bias of Chen et al., 2023, arXiv:2310.12560.

    >>> shifts(torch.zeros(1, 2), torch.tensor([[50.0, 0.0]]), torch.tensor([0])).tolist()
    [0.5]
    """
    p, q = (side.double().softmax(1).gather(1, labels[:, None])[:, 0] for side in (one, other))
    return (p - q).abs()


def bootstrapped(values: Tensor, draws: int = 1000) -> tuple[float, float]:
    """95 % interval of the mean of values [n]: percentiles of means of n of them, drawn again and again at seed 0.

    >>> bootstrapped(torch.full((10,), 0.25))
    (0.25, 0.25)
    """
    g = torch.Generator().manual_seed(0)
    means = torch.stack([values[torch.randint(len(values), (len(values),), generator=g)].mean() for _ in range(draws)])
    low, high = means.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def conflicting(labels: Tensor, groups: Sequence[str], taught: Tensor, taught_groups: Sequence[str]) -> Tensor:
    """Which samples [n] the training data speak against: their group is not the one that stands out for their label there.

    The group that stands out for a label is the one whose share among the training samples of that label is the most times its share among all.

    >>> conflicting(torch.tensor([0, 0, 1]), ["a", "b", "a"], torch.tensor([0, 0, 0, 1]), ["a", "a", "b", "b"]).tolist()
    [False, True, True]
    """
    held = sorted(set(taught_groups))
    number = {group: i for i, group in enumerate(held)}
    cells = torch.zeros(int(taught.max()) + 1, len(held), dtype=torch.float64)
    cells.index_put_((taught, torch.tensor([number[g] for g in taught_groups])), torch.ones((), dtype=torch.float64), accumulate=True)
    lift = (cells / cells.sum(1, keepdim=True).clamp(min=1)) / (cells.sum(0) / cells.sum())
    stands = lift.argmax(1)
    return torch.tensor([y >= len(stands) or number.get(g, -1) != int(stands[y]) for y, g in zip(labels.tolist(), groups, strict=True)], dtype=torch.bool)


def worst(right: Tensor, labels: Tensor, groups: Sequence[str]) -> Tensor:
    """Of the cells of label and group the one that is named rightly least often: its hits [n of the cell]."""
    cells: dict[tuple[int, str], list[int]] = {}
    for place, key in enumerate(zip(labels.tolist(), groups, strict=True)):
        cells.setdefault(key, []).append(place)
    return min((right[torch.tensor(places)] for places in cells.values()), key=lambda hits: float(hits.double().mean()))


def parity(answers: Tensor, groups: Sequence[str]) -> float:
    """Demographic parity difference: how far the share that is given an answer lies apart between groups; of several answers the farthest.

    >>> parity(torch.tensor([1, 1, 0, 1]), ["a", "a", "b", "b"])
    0.5
    """
    return max(_apart(answers == c, groups) for c in torch.unique(answers).tolist())


def opportunity(answers: Tensor, labels: Tensor, groups: Sequence[str]) -> float:
    """Equal opportunity difference: how far recall of a class lies apart between groups. Of two classes that of class 1, of more the farthest.

    >>> opportunity(torch.tensor([1, 0, 1, 1]), torch.tensor([1, 1, 1, 1]), ["a", "a", "b", "b"])
    0.5
    """
    classes = torch.unique(labels).tolist()
    return max(_apart(answers[labels == c] == c, [g for g, y in zip(groups, labels.tolist(), strict=True) if y == c]) for c in ([1] if set(classes) <= {0, 1} else classes))


def _apart(hits: Tensor, groups: Sequence[str]) -> float:
    """Largest less smallest share of hits over groups."""
    shares = [float(hits[torch.tensor([g == group for g in groups])].double().mean()) for group in set(groups)]
    return max(shares) - min(shares) if shares else 0.0
