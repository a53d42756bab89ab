"""Mode connectivity, broken."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import modeconnectivity as laws
from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import modeconnectivity
from untrain.methods.modeconnectivity import ModeConnectivity


@breaks(laws.check_the_regularised_training_is_the_naive_loop_with_a_network_halfway)
@dataclass(frozen=True)
class HalvesTheWeightsAlone(ModeConnectivity):
    def halfway(self, model: Network, old: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in super().halfway(model, old).items() if "running" not in name}


@breaks(laws.check_the_regularised_training_is_the_naive_loop_with_a_network_halfway)
@dataclass(frozen=True)
class AsksTheNetworkItself(ModeConnectivity):
    def halfway(self, model: Network, old: dict[str, Tensor]) -> dict[str, Tensor]:
        return {}


@breaks(laws.check_it_raises_a_barrier)
@dataclass(frozen=True)
class LowersTheBarrier(ModeConnectivity):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        object.__setattr__(self, "alpha", -abs(self.alpha))
        return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_it_raises_a_barrier)
@dataclass(frozen=True)
class StandsHalfwayForGood(ModeConnectivity):
    def halfway(self, model: Network, old: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in super().halfway(model, old).items()}


@breaks(laws.check_beyond_gamma_nothing_is_paid)
@dataclass(frozen=True)
class IsPaidWithoutEnd(ModeConnectivity):
    def __post_init__(self) -> None:
        Method.__post_init__(self)
        object.__setattr__(self, "gamma", 50.0)


@breaks(laws.check_beyond_gamma_nothing_is_paid)
@dataclass(frozen=True)
class NeverLooksHalfway(ModeConnectivity):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        object.__setattr__(self, "alpha", 0.0)
        return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_regularised_training_is_the_naive_loop_with_a_network_halfway)
@dataclass(frozen=True)
class StandsHalfwayInTrainingMode(ModeConnectivity):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(model, "eval", model.train):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_regularised_training_is_the_naive_loop_with_a_network_halfway)
@dataclass(frozen=True)
class IsPaidForTheForgottenAlone(ModeConnectivity):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = modeconnectivity.functional_call

        def gone(asked: object, there: object, batch: tuple[object, Tensor]) -> Tensor:
            height = real(asked, there, batch)  # type: ignore[arg-type]
            return height if torch.isin(batch[1], forget.y).all() else 0 * height

        with mock.patch.object(modeconnectivity, "functional_call", gone):
            return super().__call__(model, forget=forget, retain=retain)
