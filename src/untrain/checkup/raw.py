"""What data hold before any preparation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from untrain.core.data import Samples


def pixels(samples: Samples, rows: Tensor) -> Any:
    """What the data hold at these rows, before any preparation."""
    which, index = samples.which[rows], samples.index[rows]
    if len(torch.unique(which)) == 1:
        return samples.sources[int(which[0])].raw(index)
    # Each as the others are; where they differ in shape, stacking says so.
    rest: list[Any] = [samples.sources[int(w)].raw(i[None]) for w, i in zip(which, index, strict=True)]
    return {name: torch.cat([each[name] for each in rest]) for name in rest[0]} if isinstance(rest[0], dict) else torch.cat(rest)
