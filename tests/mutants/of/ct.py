"""CT, broken."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from mutants.breaking import breaks, by_layer
from untrain.checks.of import ct as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.ct import CT


@breaks(laws.check_every_square_kernel_is_transposed_and_nothing_else)
@dataclass(frozen=True)
class TransposesTheFirstAlone(CT):
    def kernels(self, model: Network) -> dict[str, nn.Parameter]:
        return dict([next(iter(super().kernels(model).items()))])


@breaks(laws.check_every_square_kernel_is_transposed_and_nothing_else)
@dataclass(frozen=True)
class FlipsKernels(CT):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        for weight in self.kernels(model).values():
            weight.data = weight.data.flip(-1).mT.contiguous()
        return super().__call__(model, retain=retain)


@breaks(laws.check_every_square_kernel_is_transposed_and_nothing_else)
@dataclass(frozen=True)
class MatchesNoLayer(CT):
    def kernels(self, model: Network) -> dict[str, nn.Parameter]:
        return {}


@breaks(laws.check_a_kernel_that_two_layers_share_is_transposed_once)
@dataclass(frozen=True)
class TransposesLayerByLayer(CT):
    def kernels(self, model: Network) -> dict[str, nn.Parameter]:
        return by_layer(model, nn.Conv2d)


@breaks(laws.check_the_training_behind_it_is_the_naive_loop)
@dataclass(frozen=True)
class TransposesAgainBehindTraining(CT):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        trace = super().__call__(model, retain=retain)
        for weight in self.kernels(model).values():
            weight.data = weight.data.mT.contiguous()
        return trace
