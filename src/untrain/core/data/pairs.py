"""Counterfactual pairs: the same sample twice, but for what is not to matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch

from untrain.core.data.batches import Inputs
from untrain.core.data.overlap import digests
from untrain.core.data.samples import Samples
from untrain.core.errors import BadArgument, BadData

LOOKED = 500
"""Pairs that are looked at for a difference between their sides."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Counterfactual pairs: `one[i]` and `other[i]` have the same label, and differ in what is not to matter.

    Args:
        one: One side of each pair.
        other: The other side, in the same order.

    Raises:
        BadData: there are none, the sides have other lengths or labels, or they do not differ.

    >>> x = torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    >>> made = Pairs.of(Samples(x, [0, 1]), lambda x: torch.stack([x[:, 0], 1 - x[:, 1]], 1))
    >>> len(made), made.other.batch(torch.arange(2))[0].tolist()
    (2, [[1.0, 1.0], [2.0, 0.0]])
    """

    one: Samples
    other: Samples

    def __post_init__(self) -> None:
        one, other = self.one, self.other
        if len(one) != len(other):
            raise BadData(f"the pairs do not pair: {len(one)} samples on one side and {len(other)} on the other; give both the same samples in the same order")
        if not len(one):
            raise BadData("there are no pairs; give at least one")
        off = (one.y != other.y).nonzero().flatten()
        if len(off):
            place = int(off[0])
            raise BadData(
                f"the pairs do not pair: {len(off)} of {len(one)} have another label on the other side, the first at {place} "
                f"({int(one.y[place])} and {int(other.y[place])}); what is flipped is not to change the label"
            )
        if digests(one[:LOOKED]) == digests(other[:LOOKED]):
            raise BadData(f"the two sides of the pairs are the same in all of the {min(LOOKED, len(one))} that were looked at; nothing was flipped")

    @classmethod
    def of(cls, samples: Samples, change: Callable[[Any], Inputs]) -> Pairs:
        """Samples beside what a function makes of their raw inputs; both sides are prepared alike.

        Args:
            samples: One side.
            change: Makes the other: raw inputs [n, ...] to inputs of the same shape and type.

        Raises:
            BadArgument: it gives something of another shape or type.
        """
        made, order = [], []
        for number, source in enumerate(samples.sources):
            places = (samples.which == number).nonzero().flatten()
            for rows in torch.split(places, LOOKED):
                if len(rows):
                    raw = source.raw(samples.index[rows])
                    changed = change({k: v.clone() for k, v in raw.items()} if isinstance(raw, dict) else raw.clone())
                    if _form(changed) != _form(raw):
                        raise BadArgument(f"what makes the other side of a pair gave {_form(changed)} of {_form(raw)}; it is to give inputs of the same shape and type")
                    made.append(Samples(changed, samples.y[rows], names=samples.names, prepare=source.prepare))
                    order.append(rows)
        return cls(samples, reduce(add, made)[torch.cat(order).argsort()] if made else samples)

    def __len__(self) -> int:
        return len(self.one)

    def __getitem__(self, index: Any) -> Pairs:
        """The pairs at these places."""
        return Pairs(self.one[index], self.other[index])


def _form(x: Any) -> Any:
    """Shape and type of inputs, in words."""
    if isinstance(x, dict):
        return {name: _form(value) for name, value in x.items()}
    return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
