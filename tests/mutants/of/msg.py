"""MSG, broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import nn

from mutants.breaking import breaks, by_layer
from untrain.checks.of import msg as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import msg
from untrain.methods.msg import MSG


@breaks(laws.check_the_share_with_the_smallest_gradient_is_drawn_anew)
@dataclass(frozen=True)
class DrawsTheLargestAnew(MSG):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = msg.smallest
        with mock.patch.object(msg, "smallest", lambda slopes, share: real([1 / (s.abs() + 1e-12) for s in slopes], share)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_share_with_the_smallest_gradient_is_drawn_anew)
@dataclass(frozen=True)
class SmallestForTheRetainedAlone(MSG):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real, calls = msg.gradients, [0]

        def first(*args: Any, **how: Any) -> Any:
            calls[0] += 1
            found, did = real(*args, **how)
            return [torch.zeros_like(g) for g in found] if calls[0] == 2 else found, did

        with mock.patch.object(msg, "gradients", first):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_share_with_the_smallest_gradient_is_drawn_anew)
@dataclass(frozen=True)
class SharesByTheTensor(MSG):
    """Each tensor's own smallest instead of the smallest of all."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = msg.smallest
        with mock.patch.object(msg, "smallest", lambda slopes, share: [real([s], share)[0] for s in slopes]):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_share_with_the_smallest_gradient_is_drawn_anew)
@dataclass(frozen=True)
class DrawsFarTooLarge(MSG):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(msg, "fresh", torch.randn_like):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_others_go_slower)
@dataclass(frozen=True)
class AllGoAlike(MSG):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = msg.minimize
        with mock.patch.object(msg, "minimize", lambda *args, combine, **how: real(*args, **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_others_go_slower)
@dataclass(frozen=True)
class NewOnesGoSlower(MSG):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = torch.where

        def swapped(mask: Any, a: Any, b: Any) -> Any:
            return real(mask, b, a) if isinstance(a, float) else real(mask, a, b)

        with mock.patch.object(torch, "where", swapped):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_a_weight_that_two_layers_share_counts_once)
@dataclass(frozen=True)
class CountsLayerByLayer(MSG):
    def convolutions(self, model: Network) -> dict[str, nn.Parameter]:
        return by_layer(model, nn.Conv2d)
