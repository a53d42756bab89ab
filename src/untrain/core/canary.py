"""Canaries: samples under wrong labels that a coin puts into the training or leaves out of it, for those who still train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from untrain.core.data import Samples, Split
from untrain.core.errors import BadArgument


@dataclass(frozen=True, eq=False)
class Canaries:
    """What was drawn.

    Args:
        train: What to train the model on: the samples that are no canaries, and the canaries inside under their wrong labels.
        every: All canaries, under their wrong labels.
        inside: Whether each is in `train` [m].
        places: Where each stood among the training samples that it was drawn from [m].
    """

    train: Samples
    every: Samples
    inside: Tensor
    places: Tensor

    def split(self, test: Samples, **parts: Any) -> Split:
        """Forget the canaries that are inside; all of them are the part `canaries`, by which the audit of this name judges. A hold-out is of no use to it: its labels are right."""
        first = len(self.train) - int(self.inside.sum())
        return Split.by_index(self.train, test, forget=range(first, len(self.train)), canaries=self.every, **parts)


def draw_canaries(train: Samples, m: int = 200, *, seed: int = 0) -> Canaries:
    """Take m training samples away, give each a wrong label, and put each back by the throw of a fair coin.

    To a model that knows nothing of the coins (one that was trained without any canary, say) each guess of one is right in half of all cases, whatever the model is: later audits
    have an exact null. By 100 canaries a share of .65 is found in 8 of 10 cases, by 200 one of .60. Keep what was drawn: without the coins it is worth nothing.

    Args:
        train: Training samples.
        m: How many.
        seed: Seed of what is drawn. Whoever knows it knows the coins: choose your own.

    Raises:
        BadArgument: fewer than 10, more than half of the samples, samples of one class, or a seed of more than 63 bits.

    >>> drawn = draw_canaries(Samples(torch.zeros(40, 2), torch.arange(40) % 4), 10)
    >>> len(drawn.every), len(drawn.train) == 30 + int(drawn.inside.sum())
    (10, True)
    """
    classes = torch.unique(train.y)
    if not 10 <= m <= len(train) // 2:
        raise BadArgument(f"{m} canaries of {len(train)} samples; draw 10 or more, and at most half of them")
    if len(classes) < 2:
        raise BadArgument("these samples have one class, so that there is no wrong label; canaries need two or more")
    if not -(2**63) <= seed < 2**63:
        raise BadArgument(f"a seed of {seed} has more than 63 bits; choose a smaller one")
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=g)
    right = torch.searchsorted(classes, train.y[order[:m]])
    wrong = classes[(right + torch.randint(1, len(classes), (m,), generator=g)) % len(classes)]
    inside = torch.rand(m, generator=g) < 0.5
    return planted(train, order[:m], wrong, inside)


def planted(train: Samples, places: Tensor, wrong: Tensor, inside: Tensor) -> Canaries:
    """The canaries that were drawn: taken from their places, and those inside put back behind the others under their wrong labels.

    Args:
        train: Training samples.
        places: Where the canaries stand among them [m].
        wrong: The label that each is given [m].
        inside: How each coin fell [m].
    """
    stays = torch.ones(len(train), dtype=torch.bool)
    stays[places] = False
    every = train[places].labelled(wrong)
    return Canaries(train[stays] + every[inside], every, inside, places)
