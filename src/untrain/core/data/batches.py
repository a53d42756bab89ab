"""A plan of batches: sized, seeded, cut over ranks, and able to start at any step. It knows of samples only what it needs to cut them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
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

    def rows_digest(self) -> bytes:
        """What tells these rows from others."""
        ...

    @property
    def draws(self) -> int:
        """How many uniform numbers a row's augmentation takes."""
        ...

    def stream(self, plan: Iterable[tuple[Tensor, Tensor | None]], device: torch.device | None = None) -> Iterator[tuple[Inputs, Tensor]]:
        """The batches of a plan of rows and numbers, in its order."""
        ...


def spread(n: int, rows: int) -> Tensor:
    """Places of n samples, evenly from all of them, so that each kind is met in its share."""
    return (torch.arange(rows) * n // rows) if rows <= n else torch.arange(rows) % n


def share(n: int, rank: int, world: int) -> Tensor:
    """A rank's places in a batch of n. No rank has a single one, of which BatchNorm could take no variance, unless all do.

    >>> [share(3, rank, 2).tolist() for rank in (0, 1)], [share(5, rank, 2).tolist() for rank in (0, 1)]
    ([[0, 1, 2], []], [[0, 1, 2], [3, 4]])
    """
    parts = torch.arange(n).tensor_split(max(1, min(world, n // 2)))
    return parts[rank] if rank < len(parts) else torch.arange(0)


def everywhere(n: int, world: int) -> bool:
    """Whether each rank has places in a batch of n.

    >>> everywhere(4, 2), everywhere(3, 2), everywhere(1, 1)
    (True, False, True)
    """
    return world <= max(1, n // 2)


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
        """Where an epoch is cut. A last batch of one would have no variance for BatchNorm, so it joins the one before, but where all are of one."""
        n = len(self.samples)
        cuts = [*range(0, n, self.size), n]
        if self.size > 1 and len(cuts) > 2 and cuts[-1] - cuts[-2] == 1:
            del cuts[-2]
        return cuts

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return len(self.cuts) - 1 if len(self.samples) else 0

    def __len__(self) -> int:
        return self.epochs * self.per_epoch

    @property
    def rows(self) -> int:
        """Rows of all steps."""
        return len(self.samples) * self.epochs

    @property
    def largest(self) -> int:
        """Rows of the largest batch."""
        return max(b - a for a, b in pairwise(self.cuts))

    def shown(self, steps: int) -> int:
        """Rows of the first so many steps, epoch after epoch."""
        return steps // self.per_epoch * len(self.samples) + self.cuts[steps % self.per_epoch]

    @property
    def streams(self) -> tuple[Batches, ...]:
        """The plans that a step reads from: this one."""
        return (self,)

    def beside(self, *others: Batches) -> Beside:
        """Several streams in each step: this one, and the others cycled beside it for as long, each under a seed of its own.

        A loss is given a tuple of inputs and a tuple of labels, in this order. The others' epochs play no part.
        """
        return Beside((self, *others))

    def lasting(self, steps: int) -> Batches:
        """The same plan over as many epochs as so many steps take."""
        return replace(self, epochs=-(-steps // max(1, self.per_epoch)))

    def few(self, rows: int, steps: int) -> Batches:
        """A cut-down plan for a rehearsal: so many steps of so many rows, taken evenly from all."""
        return Batches(self.samples[spread(len(self.samples), rows * steps)], rows, 1, shuffle=False, augment=self.augment)

    def digest(self) -> str:
        """What tells this plan from another: its rows, their labels, and how they are cut and mixed."""
        how = f"{self.size} {self.epochs} {self.shuffle} {self.augment} {len(self.samples)};"
        return hashlib.sha256(how.encode() + self.samples.rows_digest()).hexdigest()

    def run(self, seed: int, *, start: int = 0, rank: int = 0, world: int = 1, device: torch.device | None = None) -> Iterator[tuple[Inputs | None, Tensor | None, int]]:
        """Yield (x, y, size of the whole batch), each rank its slice; x is None where a rank has none."""
        slices = [share(b - a, rank, world) for a, b in pairwise(self.cuts)]
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


@dataclass(frozen=True, eq=False)
class Beside:
    """Several plans of batches in each step: as many steps as the first has, the others cycled beside it.

    Args:
        streams: The plans; the first says how many steps there are.
    """

    streams: tuple[Batches, ...]

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch of the first."""
        return self.streams[0].per_epoch if all(len(stream.samples) for stream in self.streams) else 0

    def __len__(self) -> int:
        return self.streams[0].epochs * self.per_epoch

    @property
    def rows(self) -> int:
        """Rows of the first in all steps."""
        return self.streams[0].rows

    @property
    def largest(self) -> int:
        """Rows of the first's largest batch."""
        return self.streams[0].largest

    def shown(self, steps: int) -> int:
        """Rows of all streams in the first so many steps."""
        return sum(stream.shown(steps) for stream in self.streams)

    def beside(self, *others: Batches) -> Beside:
        """These streams and others."""
        return Beside((*self.streams, *others))

    def lasting(self, steps: int) -> Beside:
        """The same plan over as many epochs of the first as so many steps take."""
        return Beside((self.streams[0].lasting(steps), *self.streams[1:]))

    def few(self, rows: int, steps: int) -> Beside:
        """A cut-down plan for a rehearsal: the others' batches shrink as the first's does."""
        scale = rows / max(1, self.largest)
        return Beside((self.streams[0].few(rows, steps), *(s.few(min(s.largest, max(2, round(s.largest * scale))), steps) for s in self.streams[1:])))

    def digest(self) -> str:
        """What tells this plan from another."""
        return hashlib.sha256("".join(stream.digest() for stream in self.streams).encode()).hexdigest()

    def run(self, seed: int, *, start: int = 0, rank: int = 0, world: int = 1, device: torch.device | None = None) -> Iterator[tuple[Any, Any, tuple[int, ...]]]:
        """Yield (inputs, labels, sizes of the whole batches), each a tuple; an input is None where a rank has none of that stream."""
        runs = [self.streams[0].run(seed, start=start, rank=rank, world=world, device=device)]
        for number, stream in enumerate(self.streams[1:], 1):
            runs.append(stream.lasting(len(self)).run(mix(seed, 3, number), start=start, rank=rank, world=world, device=device))
        for made in zip(*runs, strict=False):
            yield tuple(x for x, _, _ in made), tuple(y for _, y, _ in made), tuple(whole for _, _, whole in made)


Plan = Batches | Beside
"""What a loss is minimised over."""
