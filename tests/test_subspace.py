"""Gradients kept off what inputs span leave the answers to those inputs, through whatever layer they go."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from untrain.core.data import Samples, Split
from untrain.core.engine import seeded
from untrain.core.network import Network
from untrain.core.subspace import Spared, by_weight, layers, second_moments
from untrain.core.unlearn import unlearn
from untrain.methods.svd import SVD


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


def test_a_weight_goes_by_its_first_layer_though_only_the_second_reads_anything():
    """Else what the retained excite in it would protect nothing of what the forgotten do."""
    network = Network(Tied())
    moments = torch.rand(1, 12, 12, dtype=torch.float64)
    assert list(by_weight(layers(network), {"two": moments})) == ["one"]
    both = by_weight(layers(network), {"one": moments, "two": 2 * moments})
    assert torch.equal(both["one"], 3 * moments)
    assert list(both) == ["one"]


def test_a_layer_that_the_retained_leave_at_nothing_protects_nothing():
    """Of black retained images the first layer reads nothing: what the forgotten excite in it goes, where SVD ended in a KeyError."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    parts = Samples(torch.rand(6, 1, 4, 4), [2] * 6), Samples(torch.zeros(8, 1, 4, 4), [0, 1] * 4)
    split = Split(*parts, parts[0] + parts[1], (2,))
    left = unlearn(module, split, SVD(alpha_r=30.0, alpha_f=3.0)).model.state_dict()
    x, before = split.forget.batch(torch.arange(6))[0].flatten(1), module.state_dict()
    assert float((x @ left["1.weight"].T).norm()) < 0.9 * float((x @ before["1.weight"].T).norm())
