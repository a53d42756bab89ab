"""Inputs near given ones: what methods share that look at how a network answers around a sample."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.errors import BadData
from untrain.core.network import Network
from untrain.core.rehearse import rehearsal


def numbers(x: Inputs) -> Tensor:
    """The numbers of each input [n, d]; of a dict those of its floating entries, one behind the other.

    Raises:
        BadData: it has none, as token ids have none.
    """
    parts = [value for value in (x.values() if isinstance(x, dict) else [x]) if value.is_floating_point()]
    if not parts:
        raise BadData("these inputs hold whole numbers alone, and nothing lies near one of those; methods that move inputs a little need pixels or other floats")
    return torch.cat([value.flatten(1) for value in parts], dim=1)


def put(x: Inputs, rows: Tensor) -> Inputs:
    """Inputs with these numbers [n, d] in the place of their own.

    >>> put(torch.zeros(2, 1, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[[1.0, 2.0]], [[3.0, 4.0]]]
    """
    if not isinstance(x, dict):
        return rows.view(x.shape)
    sizes = [math.prod(value.shape[1:]) for value in x.values() if value.is_floating_point()]
    parts = iter(torch.split(rows, sizes, dim=1))
    return {name: next(parts).view(value.shape) if value.is_floating_point() else value for name, value in x.items()}


def asked(model: Network, samples: Samples, work: Callable[[Inputs, Tensor], tuple[Tensor, ...]], *, batch: int) -> tuple[Tensor, ...]:
    """What `work(x, y)` finds of each sample, a row for each, on the CPU; batch by batch, in evaluation mode and without weight gradients.

    In a rehearsal it is asked of a few samples, and what it says of them is repeated for the rest.
    """
    if (rehearsed := rehearsal()) is not None and len(samples):
        return rehearsed.answer(samples, batch, lambda some: asked(model, some, work, batch=len(some)))
    with model.frozen():
        plan = ((rows, None) for rows in torch.split(torch.arange(len(samples)), batch))
        found = [work(x, y) for x, y in samples.stream(plan, model.device)]
    return tuple(torch.cat([part.cpu() for part in parts]) for parts in zip(*found, strict=True))
