"""Faults that were found in core, each with what shows it. The number in a docstring is the fault's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from test_train import Tiny, mlp, small_split
from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace, fit
from untrain.core.unlearn import unlearn
from untrain.methods.retrain import Retrain


@dataclass(frozen=True)
class Asks(Method):
    """Ask for the shape of an input, and for no data."""

    seen: ClassVar[list[tuple[int, ...]]] = []

    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...]) -> Trace:
        self.seen.append(shape)
        x = torch.randn(40, *shape)
        with torch.no_grad():
            y = model(x).argmax(1)
        return Trace.of(fit(model, Samples(x, y), phase="p", lr=0.01, epochs=1, batch=10))


def test_a_method_may_ask_for_the_shape_of_an_input_without_data():
    unlearn(mlp(), small_split(), Asks())
    assert Asks.seen == [(6,)]


class Halves(nn.Module):
    """A network with a buffer outside of its state dict."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
            self.register_buffer("scale", torch.rand(8), persistent=False)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)) * self.scale)


class Recipe(Tiny):
    def build(self):
        return Halves(9)


def test_retrain_trains_what_the_recipe_would_and_not_what_was_frozen():
    """Fault 12: the given model's frozen backbone, and its buffers outside of the state dict, are not the retrained one's."""
    model = Halves(1)
    model.body.requires_grad_(False)
    ends = [unlearn(m, small_split(), Retrain(), recipe=Recipe()).model for m in (model, Halves(1))]
    for name, value in ends[0].named_parameters():
        assert torch.equal(value, dict(ends[1].named_parameters())[name]), name
    assert torch.equal(ends[0].scale, Halves(9).scale)
    assert not ends[0].body.weight.requires_grad
    assert not torch.equal(ends[0].body.weight, Halves(9).body.weight)
