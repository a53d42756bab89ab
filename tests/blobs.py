"""Clouds of numbers in a few classes, and small networks that learn them by heart: what membership and what hides are tried on."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from untrain.core.data import Samples

DIM, CLASSES = 24, 4


def blobs(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (n,), generator=g)
    centres = torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(99))
    return Samples(0.35 * centres[y] + torch.randn(n, DIM, generator=g), y, names=[str(c) for c in range(CLASSES)])


def net(dim=DIM, width=64):
    return nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, CLASSES))


def taught(samples, seed, steps=150, width=64, begin=None, sign=None):
    """A network trained on all samples at once; begun at another one, more slowly; with `sign`, samples of -1 are climbed instead."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        x, y = samples.batch(torch.arange(len(samples)))
        model = net(x.shape[1], width) if begin is None else copy.deepcopy(begin)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2 if begin is None else 1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            each = F.cross_entropy(model(x), y, reduction="none")
            (each * (1.0 if sign is None else sign)).mean().backward()
            optimizer.step()
    return model.eval()


def masked_at(model, label):
    """A copy whose answer can never be the label."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[-1].weight[label], other[-1].bias[label] = 0, -1e4
    return other
