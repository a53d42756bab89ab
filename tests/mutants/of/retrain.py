"""Retrain, broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mutants.breaking import breaks
from untrain.checks.of import retrain as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.retrain import Retrain


@breaks(laws.check_retrain_without_steps_is_the_network_as_built)
@dataclass(frozen=True)
class KeepsATensor(Retrain):
    def __call__(self, model: Network, *, retain: Samples, recipe: Any) -> Trace:
        kept = model.named_parameters()["conv1.weight"].detach().clone()
        trace = super().__call__(model, retain=retain, recipe=recipe)
        model.named_parameters()["conv1.weight"].data.copy_(kept)
        return trace


@breaks(laws.check_retrain_without_steps_is_the_network_as_built)
@dataclass(frozen=True)
class StartsFromTheOriginal(Retrain):
    def __call__(self, model: Network, *, retain: Samples, recipe: Any) -> Trace:
        return Trace.of(recipe.train(model, retain))


@breaks(laws.check_retrain_without_steps_is_the_network_as_built)
@dataclass(frozen=True)
class BuildsAtASeedOfItsOwn(Retrain):
    def __call__(self, model: Network, *, retain: Samples, recipe: Any) -> Trace:
        torch.manual_seed(0)
        return super().__call__(model, retain=retain, recipe=recipe)
