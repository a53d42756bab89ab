"""CFk, broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import cfk as laws
from untrain.core import depth
from untrain.core.data import Samples
from untrain.core.depth import Last
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import cfk
from untrain.methods.cfk import CFk


@breaks(laws.check_the_first_layers_stand_to_the_bit)
@dataclass(frozen=True)
class StatisticsOfFrozenLayersRunOn(CFk):
    """As most public code."""

    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        @contextmanager
        def all_awake(part: Last, network: Network) -> Iterator[None]:
            network.train()
            yield

        with mock.patch.object(Last, "training", all_awake):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_first_layers_stand_to_the_bit)
@dataclass(frozen=True)
class TrainsTheFirstLayers(CFk):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with mock.patch.object(depth, "layers", lambda *a, real=depth.layers: real(*a)[::-1]):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_first_layers_stand_to_the_bit)
@dataclass(frozen=True)
class CountsBatchNormForALayer(CFk):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with mock.patch.object(depth, "_wide", return_value=True):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_first_layers_stand_to_the_bit)
@dataclass(frozen=True)
class TheNameMatchesNothing(CFk):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with mock.patch.object(depth, "layers", return_value=[["fc"]]):
            return super().__call__(model, retain=retain)


@breaks(laws.check_a_weight_that_an_earlier_layer_shares_stands)
@dataclass(frozen=True)
class TrainsASharedWeight(CFk):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        real = cfk.last

        def greedy(*args: Any) -> Last:
            part = real(*args)
            return Last(part.parts, list({id(p): p for module in part.parts.values() for p in module.parameters()}.values()))

        with mock.patch.object(cfk, "last", greedy):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_last_layers_follow_a_plain_loop)
@dataclass(frozen=True)
class LastLayersTurnedRound(CFk):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, retain=retain)
