"""The head of a network: the layer that turns features into logits, and what methods do to its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from untrain.core.errors import BadData


@dataclass(frozen=True)
class Head:
    """The layer that turns features into logits, one row of weights a class.

    Args:
        name: The layer's name in the model.
        layer: A linear layer or a convolution.
    """

    name: str
    layer: nn.Linear | nn.Conv2d

    @property
    def width(self) -> int:
        """Number of classes it answers with."""
        return self.layer.weight.shape[0]

    def rows(self, classes: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """The entries that belong to these classes: rows, by the name of the tensor."""
        names = [f"{self.name}.weight"] + ([f"{self.name}.bias"] if self.layer.bias is not None else [])
        return {name.removeprefix("."): tuple(sorted(classes)) for name in names}

    @torch.no_grad()
    def redraw(self, classes: Sequence[int]) -> None:
        """Draw these classes' rows anew, as PyTorch draws a new layer: uniform within 1/sqrt(inputs), in sorted order."""
        weight, bias = self.layer.weight, self.layer.bias
        bound = 1 / math.sqrt(weight[0].numel())
        for label in sorted(classes):
            weight[label] = torch.empty(weight.shape[1:], dtype=weight.dtype).uniform_(-bound, bound).to(weight.device)
            if bias is not None:
                bias[label] = torch.empty((), dtype=bias.dtype).uniform_(-bound, bound).to(bias.device)

    @torch.no_grad()
    def mask(self, classes: Sequence[int], low: float = -1e4) -> None:
        """Silence these classes: no weight, and a bias so low that no other logit falls below it.

        Raises:
            BadData: the layer has no bias to lower.
        """
        if self.layer.bias is None:
            raise BadData(f"the head {self.name!r} has no bias, so no class of it can be masked in its weights")
        for label in classes:
            self.layer.weight[label] = 0
            self.layer.bias[label] = low
