"""EUk, broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import torch
from torch import nn

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import euk as laws
from untrain.core.data import Samples
from untrain.core.depth import Last
from untrain.core.method import Recipe
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.euk import EUk


@breaks(laws.check_the_first_layers_stand_and_the_last_are_new)
@dataclass(frozen=True)
class StatisticsOfStandingLayersRunOn(EUk):
    def __call__(self, model: Network, *, retain: Samples, recipe: Recipe) -> Trace:
        @contextmanager
        def all_awake(part: Last, network: Network) -> Iterator[None]:
            network.train()
            yield

        with mock.patch.object(Last, "training", all_awake):
            return super().__call__(model, retain=retain, recipe=recipe)


@breaks(laws.check_what_the_last_layers_were_is_nothing_to_it)
@dataclass(frozen=True)
class KeepsTheOldLayers(EUk):
    def __call__(self, model: Network, *, retain: Samples, recipe: Recipe) -> Trace:
        with mock.patch.object(torch.Tensor, "copy_", lambda tensor, other: tensor):
            return super().__call__(model, retain=retain, recipe=recipe)


@breaks(laws.check_the_first_layers_stand_and_the_last_are_new)
@dataclass(frozen=True)
class KeepsOldStatistics(EUk):
    """Weights are drawn anew and running statistics are not."""

    def __call__(self, model: Network, *, retain: Samples, recipe: Recipe) -> Trace:
        with mock.patch.object(nn.Module, "named_buffers", return_value=[]):
            return super().__call__(model, retain=retain, recipe=recipe)


@breaks(laws.check_the_new_layers_follow_a_plain_loop)
@dataclass(frozen=True)
class NewLayersTurnedRound(EUk):
    def __call__(self, model: Network, *, retain: Samples, recipe: Recipe) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, retain=retain, recipe=recipe)
