"""The head of a network: the layer that turns features into logits, and what methods do to its rows."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from untrain.core.errors import BadArgument, BadData

Layer = nn.Linear | nn.Conv1d | nn.Conv2d
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)
Pool = Literal["mean", "first", "last"]
"""How logits are made of a head's answers at several positions."""


def candidates(module: nn.Module) -> dict[str, Layer]:
    """The layers that may be a head, by name: linear layers, and convolutions that see all channels."""
    return {name: part for name, part in module.named_modules() if isinstance(part, KINDS) and getattr(part, "groups", 1) == 1}


def pooled(answer: Tensor, logits: Tensor) -> Pool | None:
    """How logits [n, C] come from a layer's answer; None where they do not."""
    if answer.ndim == 2:
        return "mean" if _same(answer, logits) else None
    if answer.ndim == 4:
        return "mean" if _same(answer.mean((2, 3)), logits) else None
    if answer.ndim != 3:
        return None
    # [n, C, l] of a convolution, [n, tokens, C] of a linear layer.
    if _same(answer.mean(2), logits) or _same(answer.mean(1), logits):
        return "mean"
    if _same(answer[:, 0], logits) or _same(answer[:, :, 0], logits):
        return "first"
    return "last" if _same(answer[:, -1], logits) or _same(answer[:, :, -1], logits) else None


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-5 * max(1.0, float(b.abs().max())))


def of_classes(logits: Tensor, labels: Tensor, width: int | None) -> Tensor:
    """Logits [n, C] of the classes that there are; one that the head has no row for, as where it was taken away, is answered with minus infinity, as by a mask.

    Args:
        logits: What a model answers.
        labels: Labels of the samples that it was asked of: there is a class for each.
        width: How many classes there are, where that is known.

    >>> of_classes(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1]), 2).tolist(), of_classes(torch.tensor([[1.0]]), torch.tensor([1]), None).tolist()
    ([[1.0, 2.0]], [[1.0, -inf]])
    """
    wide = max(width or 0, int(labels.max()) + 1) if len(labels) else 0
    return F.pad(logits[:, :width], (0, max(0, wide - logits.shape[1])), value=-torch.inf)


@dataclass(frozen=True)
class Head:
    """The layer that turns features into logits, one row of weights a class.

    Args:
        name: The layer's name in the model.
        layer: A linear layer or a convolution, parametrised by weight norm or plain.
        pool: How logits are made of its answers, where it is asked at several positions.
        tied: Names of other layers that have the same weight.
    """

    name: str
    layer: Layer
    pool: Pool = "mean"
    tied: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Number of classes it answers with."""
        return int(self.layer.weight.shape[0])

    @property
    def matrix(self) -> Tensor:
        """Its weight [C, d]: logits are `features @ matrix.T + bias`, where they are a mean over positions."""
        return self.layer.weight.flatten(1)

    def features(self, x: Tensor) -> Tensor:
        """What it reads [n, d] in its input x: a convolution's patches; over positions the mean, or the one that answers."""
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return self._of_positions(x.flatten(1, -2)) if x.ndim > 2 else x
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride == (1, 1) and layer.padding == (0, 0):
            return x.mean((2, 3))
        x, two = (x, layer) if isinstance(layer, nn.Conv2d) else (x.unsqueeze(2), layer)
        kernel, stride, dilation = ((1, *v) if len(v) == 1 else v for v in (two.kernel_size, two.stride, two.dilation))
        mode = "constant" if two.padding_mode == "zeros" else two.padding_mode
        x = F.pad(x, list(layer._reversed_padding_repeated_twice) + ([0, 0] if isinstance(layer, nn.Conv1d) else []), mode=mode)
        return self._of_positions(F.unfold(x, kernel, dilation, 0, stride).transpose(1, 2))

    def _of_positions(self, read: Tensor) -> Tensor:
        return read.mean(1) if self.pool == "mean" else read[:, 0 if self.pool == "first" else -1]

    def rows(self, classes: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """The entries that belong to these classes: rows, by the name of the tensor in the state dict."""
        names = [*self._stored(), *(["bias"] if self.layer.bias is not None else [])]
        return {f"{self.name}.{name}".removeprefix("."): tuple(sorted(classes)) for name in names}

    @torch.no_grad()
    def redraw(self, classes: Sequence[int]) -> None:
        """Draw these classes' rows anew, as PyTorch draws a new layer: uniform within 1/sqrt(inputs), in sorted order.

        Raises:
            BadData: a parametrisation that ties its rows to each other.
        """
        weight, bias = self.layer.weight, self.layer.bias
        bound = 1 / math.sqrt(weight[0].numel())
        for label in sorted(classes):
            self.write(label, torch.empty(weight.shape[1:], dtype=weight.dtype).uniform_(-bound, bound).to(weight.device))
            if bias is not None:
                bias[label] = torch.empty((), dtype=bias.dtype).uniform_(-bound, bound).to(bias.device)

    @torch.no_grad()
    def mask(self, classes: Sequence[int], low: float = -1e4) -> None:
        """Silence these classes: no weight, and a bias so low that no other logit falls below it.

        Raises:
            BadData: the layer has no bias to lower, or a parametrisation that ties its rows to each other.
        """
        if self.layer.bias is None:
            raise BadData(f"the head {self.name!r} has no bias, so no class of it can be masked in its weights")
        for label in classes:
            self.write(label, torch.zeros_like(self.layer.weight[label]))
            self.layer.bias[label] = low

    @contextlib.contextmanager
    def wider(self, n: int) -> Iterator[tuple[int, ...]]:
        """So many further classes for as long as the block runs, drawn as a new layer is; yields their numbers.

        They are taken away in the end, whatever happens, and the layer has the very parameters that it had. Ask for the model's
        parameters within the block: those of the head are others there.

        Raises:
            BadArgument: none are asked for.
            BadData: a head that is parametrised or shares its weight.
        """
        layer, width, bias = self.layer, self.width, self.layer.bias
        if n < 1:
            raise BadArgument(f"{n} further classes are asked for; at least one")
        if list(self._stored()) != ["weight"]:
            raise BadData(f"the head {self.name!r} is parametrised, and cannot be made wider; make it plain first (torch.nn.utils.parametrize.remove_parametrizations)")
        if self.tied:
            raise BadData(f"the head {self.name!r} shares its weight with {self.tied[0]!r}, and cannot be made wider; untie them first")
        weight, size = layer.weight, "out_features" if isinstance(layer, nn.Linear) else "out_channels"
        bound = 1 / math.sqrt(weight[0].numel())

        def more(old: Tensor) -> nn.Parameter:
            new = torch.empty((n, *old.shape[1:]), dtype=old.dtype).uniform_(-bound, bound).to(old.device)
            grown = torch.cat([old.detach(), new])
            return nn.Parameter(grown.contiguous(memory_format=torch.channels_last) if grown.ndim == 4 else grown, requires_grad=old.requires_grad)

        try:
            layer.weight = more(weight)
            if bias is not None:
                layer.bias = more(bias)
            setattr(layer, size, width + n)
            yield tuple(range(width, width + n))
        finally:
            with torch.no_grad():
                weight.copy_(layer.weight[:width])
                layer.weight = weight
                if bias is not None and layer.bias is not None:
                    bias.copy_(layer.bias[:width])
                    layer.bias = bias
            setattr(layer, size, width)

    def _stored(self) -> dict[str, Any]:
        """The tensors that hold its rows, by name: the weight, or length and direction under weight norm."""
        layer: Any = self.layer
        if parametrize.is_parametrized(layer, "weight"):
            kinds = [type(part).__name__ for part in layer.parametrizations.weight]
            if kinds != ["_WeightNorm"] or layer.parametrizations.weight[0].dim != 0:
                raise BadData(
                    f"the head {self.name!r} is parametrised by {', '.join(kinds)}, which ties its rows to each other; "
                    "make it plain first (torch.nn.utils.parametrize.remove_parametrizations)"
                )
            held = layer.parametrizations.weight
            return {"parametrizations.weight.original0": held.original0, "parametrizations.weight.original1": held.original1}
        if "weight_orig" in layer._parameters:
            raise BadData(f"the head {self.name!r} is under spectral norm or pruning, which ties its rows to each other; make it plain first (remove_spectral_norm, prune.remove)")
        if "weight_g" in layer._parameters:
            return {"weight_g": layer.weight_g, "weight_v": layer.weight_v}
        return {"weight": layer.weight}

    @torch.no_grad()
    def write(self, label: int, row: Tensor) -> None:
        """Put a row into the place of this class's, through weight norm where the head is under it.

        Raises:
            BadData: a parametrisation that ties its rows to each other.
        """
        stored = list(self._stored().values())
        if len(stored) == 1:
            stored[0][label] = row
            return
        length, direction = stored
        length[label] = row.norm()
        if row.any():
            # Without a length it may keep its direction; of none at all it would be NaN.
            direction[label] = row
        for hook in self.layer._forward_pre_hooks.values() if "weight_g" in self.layer._parameters else ():
            # The old weight norm puts its weight together before each forward alone.
            if hasattr(hook, "compute_weight"):
                self.layer.weight = hook.compute_weight(self.layer)
