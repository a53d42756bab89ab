"""Gradients kept off what inputs span leave the answers to those inputs, through whatever layer they go."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.network import Network
from untrain.core.subspace import Spared, layers, second_moments


class Tied(nn.Module):
    """One weight in two layers, which read other inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.one(x)))


LAYERS = {
    "a linear layer": (nn.Sequential(nn.Linear(12, 5), nn.Linear(5, 3)), (12,)),
    "tied weights": (Tied(), (12,)),
    "groups": (nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, padding=1, stride=2), nn.Flatten(), nn.Linear(54, 3)), (4, 6, 6)),
    "each channel by itself": (nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(64, 3)), (4, 6, 6)),
    "another padding": (nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.Flatten(), nn.Linear(108, 3)), (2, 6, 6)),
    "dilation": (nn.Sequential(nn.Conv2d(4, 3, (3, 2), padding=(2, 1), dilation=2), nn.Flatten(), nn.Linear(108, 3)), (4, 6, 6)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_step_off_what_samples_excite_leaves_the_answers_to_them_and_moves_others(kind):
    module, shape = LAYERS[kind]
    module = copy.deepcopy(module).double()
    # A slope along the last dimension, so plain that its patches span a part of what a layer reads.
    a, b = torch.randn(2, *shape[:-1], generator=torch.Generator().manual_seed(0)).double()
    few = (a[..., :1, None] * torch.arange(shape[-1]) + b[..., :1, None] if len(shape) > 1 else a * torch.arange(shape[-1]) + b).expand(shape)[None].contiguous()
    other = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1)).double()
    network = Network(module)
    before = [module(x).detach() for x in (few, other)]
    with seeded(0, network=network):
        moments, _ = second_moments(network, layers(network), Samples(few, torch.zeros(1, dtype=torch.long)))
        free = Spared(network, moments, 1 - 1e-12)
    slopes = torch.autograd.grad(module(other).square().sum(), free.weights)
    with torch.no_grad():
        for weight, step in zip(free.weights, free.off(slopes), strict=True):
            weight -= 0.1 * step / step.norm().clamp(min=1e-12)
    after = [module(x).detach() for x in (few, other)]
    assert float((after[0] - before[0]).norm()) < 1e-4 * float(before[0].norm())
    assert float((after[1] - before[1]).norm()) > 1e-3 * float(before[1].norm())


def test_a_frozen_weight_is_none_of_those_that_move():
    module = copy.deepcopy(LAYERS["a linear layer"][0])
    module[0].weight.requires_grad_(False)
    network = Network(module)
    with seeded(0, network=network):
        moments, _ = second_moments(network, layers(network), Samples(torch.randn(4, 12), torch.zeros(4, dtype=torch.long)))
        assert [tuple(w.shape) for w in Spared(network, moments, 0.9).weights] == [(3, 5)]
