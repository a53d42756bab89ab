"""Near-copies of images: the largest correlation over flips and small shifts, on small grey pictures.

Two images are compared where they overlap: the middle of the one with the middle of the other moved by up to a
sixteenth of its side, mirrored or not, each at mean 0 and length 1, so that brightness and contrast play no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 32
"""Pixels of a side that images are brought down to; smaller ones stay as they are."""

KEPT = 6
"""Frequencies of each direction that a sketch keeps."""


def grey(x: Tensor, side: int | None = None) -> Tensor:
    """Grey pictures [n, s, s] in 0..255 of images [n, c, h, w], bytes or floats in 0..1, areas averaged; s = min(32, h, w) where no side is named.

    >>> grey(torch.zeros(2, 3, 64, 48, dtype=torch.uint8)).shape
    torch.Size([2, 32, 32])
    """
    x = x.float() * (255 if x.is_floating_point() else 1)
    light = x[:, :3].mul(x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1) if x.shape[1] >= 3 else x[:, 0]
    return F.adaptive_avg_pool2d(light[:, None], side or min(SIDE, *light.shape[-2:]))[:, 0]


def reach(side: int) -> int:
    """Pixels that a picture of this side is moved by at most: a sixteenth of it, and 1 at least."""
    return max(1, round(side / 16))


def middles(pictures: Tensor) -> Tensor:
    """The middle of each picture [n, s, s] as a vector [n, d] of mean 0 and length 1 (0 where it is flat)."""
    r, side = reach(pictures.shape[-1]), pictures.shape[-1]
    return _vectors(pictures[:, r : side - r, r : side - r])


def views(pictures: Tensor) -> Tensor:
    """Each picture [n, s, s] moved by up to `reach` in steps of a pixel, mirrored or not: vectors [n, v, d]."""
    side = pictures.shape[-1]
    r = reach(side)
    cut = side - 2 * r
    both = (pictures, pictures.flip(-1))
    return torch.stack([_vectors(p[:, i : i + cut, j : j + cut]) for p in both for i in range(2 * r + 1) for j in range(2 * r + 1)], dim=1)


def _vectors(cut: Tensor) -> Tensor:
    # A coarser grid forgives noise and the traces of compression.
    coarse = F.avg_pool2d(cut[:, None], 2)[:, 0] if cut.shape[-1] >= 20 else cut
    flat = coarse.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    # Below a grey level of spread there is nothing to compare.
    return torch.where(length > 0.5 * math.sqrt(flat.shape[1]), centred / length.clamp(min=1e-6), torch.zeros_like(centred))


def sketches(vectors: Tensor) -> Tensor:
    """Short vectors [..., k + 1] whose product is never below that of the vectors [..., d] that they stand for.

    They hold the lowest frequencies and the length of the rest: by Cauchy-Schwarz the rests correlate by at most the product of their lengths.
    """
    side = math.isqrt(vectors.shape[-1])
    low = vectors @ _cosines(side).to(vectors)
    rest = (vectors.square().sum(-1, keepdim=True) - low.square().sum(-1, keepdim=True)).clamp(min=0).sqrt()
    return torch.cat([low, rest], -1)


def _cosines(side: int) -> Tensor:
    """The lowest two-dimensional cosines, orthonormal, as columns [side * side, k]."""
    k = min(KEPT, side)
    places = torch.arange(side, dtype=torch.float64) + 0.5
    waves = torch.stack([torch.cos(math.pi * places * f / side) for f in range(k)])
    waves = waves / waves.norm(dim=1, keepdim=True)
    return torch.einsum("ai,bj->ijab", waves, waves).reshape(side * side, k * k)[:, 1:]


class Sought:
    """Pictures whose near-copies are sought: kept small, so that others can be gone through piece by piece.

    Args:
        pictures: Grey pictures [m, s, s].
    """

    def __init__(self, pictures: Tensor) -> None:
        self.pictures = pictures
        # A hundred at a time: their views are many times their size.
        self.sketches = [sketches(views(some)) for some in torch.split(pictures, 100)]

    def __len__(self) -> int:
        return len(self.pictures)

    def among(self, others: Tensor, threshold: float) -> Iterator[tuple[int, int, float]]:
        """Pairs (place in the sought, place in the others, correlation) that reach the threshold in some view; others [n, s, s], a few hundred at a time."""
        there = middles(others)
        short, start = sketches(there), 0
        for block in self.sketches:
            bound = (block.flatten(0, 1) @ short.T).view(len(block), -1, len(others)).amax(1)
            for i, j in (bound >= threshold - 1e-4).nonzero().tolist():
                best = float((views(self.pictures[start + i : start + i + 1])[0] @ there[j]).max())
                if best >= threshold:
                    yield start + i, j, min(best, 1.0)
            start += len(block)
