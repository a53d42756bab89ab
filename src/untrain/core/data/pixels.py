"""Raw pixels to what a network reads: normalising, and the random changes that suit images."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from untrain.core.errors import BadData


class Augment(Protocol):
    """A random change of raw pixels, as a pure function of the pixels and of uniform numbers.

    The numbers are drawn for a whole batch and handed out by row, so that a batch cut over
    several ranks is augmented as the whole one would be.
    """

    @property
    def draws(self) -> int:
        """Uniform numbers that a row takes."""
        ...

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        """Change x [n, c, h, w] by the numbers u [n, draws] in [0, 1)."""
        ...


class Prepare(Protocol):
    """What turns raw inputs into what the network reads: decoding, scaling, normalising."""

    def __call__(self, x: Any) -> Any:
        """Prepare a batch of inputs."""
        ...


@dataclass(frozen=True)
class Norm:
    """Pixels to network input: bytes are scaled to [0, 1], then (x - mean) / std by channel.

    Args:
        mean: One number a channel, on the scale of 0 to 1.
        std: One number a channel, on the same scale.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Lists are taken as tuples, since samples are told apart by what prepares them."""
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise x [n, c, h, w]: uint8 in 0..255, or floats already in [0, 1]."""
        if x.ndim != 4 or x.shape[1] != len(self.mean):
            raise BadData(f"images of shape {tuple(x.shape[1:])} do not fit a normalisation of {len(self.mean)} channels; give data that it was made for")
        if x.dtype != torch.uint8 and not x.is_floating_point():
            raise BadData(f"pixels are {str(x.dtype).removeprefix('torch.')}, and a normalisation takes uint8 in 0..255, or floats in 0..1; give them as one of these")
        fresh = x.dtype == torch.uint8
        x = x.float().div_(255) if fresh else x
        mean, std = (_by_channel(numbers, x.dtype, x.device) for numbers in (self.mean, self.std))
        # What was made here is changed in place: an image of 224 x 224 in floats is 600 kB.
        return x.sub_(mean).div_(std) if fresh else (x - mean) / std


@functools.lru_cache(maxsize=64)
def _by_channel(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Kept by device: a GPU would be waited for at each batch. Nothing writes into it."""
    # Made within inference mode it would be of no use to a gradient ever after.
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype, device=device).view(1, -1, 1, 1)


@dataclass(frozen=True)
class CropFlip:
    """Shift by up to `pad` pixels over a black border and, where asked, mirror half of the images.

    Args:
        pad: Largest shift in pixels.
        flip: Whether to mirror left and right, each image with probability one half.
    """

    pad: int = 4
    flip: bool = True
    draws: int = field(default=3, init=False)

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        """Augment x [n, c, h, w] by the numbers u [n, 3]."""
        n, _, h, w = x.shape
        padded = torch.nn.functional.pad(x, (self.pad,) * 4)
        down, right = (u[:, :2] * (2 * self.pad + 1)).long().unbind(1)
        rows = down[:, None] + torch.arange(h, device=x.device)
        columns = right[:, None] + torch.arange(w, device=x.device)
        if self.flip:
            columns = torch.where(u[:, 2:] < 0.5, columns.flip(1), columns)
        each = torch.arange(n, device=x.device)[:, None, None]
        # Advanced indices around a slice put the channels last; move them back.
        return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
