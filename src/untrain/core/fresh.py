"""Weights drawn anew: what methods share that reset some of a layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def fresh(weight: Tensor) -> Tensor:
    """Values as PyTorch draws them for a new linear layer or convolution: uniform within 1 / sqrt(inputs of a row).

    Drawn on the CPU, so that every device draws alike, by a generator of its own, which the random state of the moment seeds: straight from that
    state a run would draw the very weights again with which a network began that was built at the same seed.
    """
    bound = 1 / math.sqrt(max(1, weight[0].numel()))
    own = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    return torch.empty(weight.shape, dtype=weight.dtype).uniform_(-bound, bound, generator=own).to(weight.device)
