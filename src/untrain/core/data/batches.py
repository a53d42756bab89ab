"""A plan of batches: sized, seeded, cut over ranks, and able to start at any step. It knows of samples only what it needs to cut them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from untrain.core.seeds import mix

Inputs = Tensor | dict[str, Tensor]


def take(x: Inputs, rows: Tensor) -> Inputs:
    """The named rows of a tensor or of a dict of tensors."""
    return {key: value[rows] for key, value in x.items()} if isinstance(x, dict) else x[rows]


def moved(x: Inputs, device: torch.device) -> Inputs:
    """A batch's inputs on the device."""
    if isinstance(x, dict):
        return {key: value.to(device, non_blocking=True) for key, value in x.items()}
    return x.to(device, non_blocking=True)


class Rows(Protocol):
    """What a plan of batches asks of the samples that it cuts."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: Any) -> Self:
        """Those at these places."""
        ...

    @property
    def draws(self) -> int:
        """How many uniform numbers a row's augmentation takes."""
        ...

    def stream(self, plan: Iterable[tuple[Tensor, Tensor | None]], device: torch.device | None = None) -> Iterator[tuple[Inputs, Tensor]]:
        """The batches of a plan of rows and numbers, in its order."""
        ...


@dataclass(frozen=True, eq=False)
class Batches:
    """A sized, seedable plan of batches that can start at any step.

    Args:
        samples: What is batched.
        size: Samples in a batch.
        epochs: Passes over the samples.
        shuffle: Whether each epoch has an order of its own.
        augment: Whether to use the data's random change.
    """

    samples: Rows
    size: int
    epochs: int
    shuffle: bool
    augment: bool

    @property
    def cuts(self) -> list[int]:
        """Where an epoch is cut. A last batch of one would have no variance for BatchNorm, so it joins the one before."""
        n = len(self.samples)
        cuts = [*range(0, n, self.size), n]
        if len(cuts) > 2 and cuts[-1] - cuts[-2] == 1:
            del cuts[-2]
        return cuts

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return len(self.cuts) - 1 if len(self.samples) else 0

    def __len__(self) -> int:
        return self.epochs * self.per_epoch

    def run(self, seed: int, *, start: int = 0, rank: int = 0, world: int = 1, device: torch.device | None = None) -> Iterator[tuple[Inputs | None, Tensor | None, int]]:
        """Yield (x, y, size of the whole batch), each rank its slice; x is None where a rank has none."""
        slices = [torch.arange(b - a).tensor_split(world)[rank] for a, b in pairwise(self.cuts)]
        sizes = [b - a for a, b in pairwise(self.cuts)]

        def plan() -> Iterator[tuple[Tensor, Tensor | None]]:
            for step, (rows, u) in enumerate(self._rows(seed, start), start):
                own = slices[step % self.per_epoch]
                if len(own):
                    yield rows[own], None if u is None else u[own]

        made = self.samples.stream(plan(), device)
        for step in range(start, len(self)):
            place = step % self.per_epoch
            x, y = next(made) if len(slices[place]) else (None, None)
            yield x, y, sizes[place]

    def _rows(self, seed: int, start: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The rows of each whole batch from step `start`, and the numbers that change them."""
        cuts, per_epoch, n = self.cuts, self.per_epoch, len(self.samples)
        draws = self.samples.draws if self.augment else 0
        for epoch in range(self.epochs):
            if (epoch + 1) * per_epoch <= start:
                continue
            order = torch.randperm(n, generator=torch.Generator().manual_seed(mix(seed, 0, epoch))) if self.shuffle else torch.arange(n)
            for step in range(max(0, start - epoch * per_epoch), per_epoch):
                rows = order[cuts[step] : cuts[step + 1]]
                u = None
                if draws:
                    g = torch.Generator().manual_seed(mix(seed, 1, epoch, step))
                    u = torch.rand(len(rows), draws, generator=g)
                yield rows, u
