"""Whether the low bits of weights are noise, as training leaves them, or hold something."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

FEWEST = 1280
"""Weights below which nothing is said: five for each value of a byte."""

MOST = 1 << 17
"""Weights of one tensor that are looked at, evenly over all."""


def told_by_low_bits(weights: Iterable[Tensor]) -> tuple[float, int] | None:
    """What share of the 16 low bits of float32 weights is no noise, and how many weights that is of; None where too few, or not even half, have low bits.

    Byte by byte the entropy of noise less that of the weights, corrected for few of them after Miller and Madow. The low bits of a number that training arrived at are
    as good as drawn, since Benford's law is flat that far down. Each mantissa counts once in its tensor, so that equal, mirrored and doubled weights are no pattern; one with
    an empty last byte counts nothing: zeros, weights of half precision, small multiples and means of them. Nor does a tensor of whose mantissas less than an eighth is odd,
    where of noise it is half: weights on a grid, such as untrained ones that were drawn evenly, or half precision times half precision. Where weights were multiplied by a
    round number or averaged, ties are rounded to even, and that tells up to a third of a bit of the 16. The mean of three models of half precision tells half of them.

    Args:
        weights: Tensors; those of another type than float32 are passed over.

    >>> noise = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    >>> hidden = ((noise.view(torch.int32) & ~0xFFFF) | (noise.view(torch.int32) >> 16 & 0xFFFF)).view(torch.float32)
    >>> told_by_low_bits([noise])[0] < 0.003, told_by_low_bits([hidden])[0] > 0.2, told_by_low_bits([noise.half().float()])
    (True, True, None)
    """
    counts, seen = torch.zeros(2, 256, dtype=torch.float64), 0
    for weight in weights:
        if weight.dtype == torch.float32:
            some = weight.detach().reshape(-1)[:: -(-weight.numel() // MOST) or 1].cpu().contiguous()
            mantissas = torch.unique(some.view(torch.int32) & 0x7FFFFF)
            seen += len(mantissas)
            if int((mantissas & 1).sum()) < len(mantissas) / 8:
                continue
            held = mantissas[mantissas & 0xFF != 0]
            counts += torch.stack([torch.bincount(held >> shift & 0xFF, minlength=256) for shift in (0, 8)])
    n = int(counts[0].sum())
    if n < max(FEWEST, seen / 2):
        return None
    entropy = float(torch.special.entr(counts / n).sum()) + (254 + 255) / (2 * n)
    return max(0.0, (math.log(255) + math.log(256) - entropy) / (16 * math.log(2))), n
