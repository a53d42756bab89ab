"""SVD, broken."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain import checks
from untrain.checks.of import svd as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import svd
from untrain.methods.svd import SVD


@breaks(laws.check_orthogonal_parts_are_parted)
@dataclass(frozen=True)
class TakesOutTheRetained(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(laws.check_the_weights_are_those_of_a_plain_computation)
@dataclass(frozen=True)
class ProtectsNothing(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(svd, "removal", lambda forget, retain: torch.eye(forget.shape[-1]).to(forget) - forget):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_weights_are_those_of_a_plain_computation)
@dataclass(frozen=True)
class ProjectsFromTheOtherSide(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        own = svd.removal
        with mock.patch.object(svd, "removal", lambda forget, retain: own(forget, retain).mT):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_weights_are_those_of_a_plain_computation)
@dataclass(frozen=True)
class EnergyByAmplitude(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        own = svd.directions

        def amplitudes(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            U, s = own(moments)
            return U, s.sqrt() / s.sqrt().sum(-1, keepdim=True)

        with mock.patch.object(svd, "directions", amplitudes):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_weights_are_those_of_a_plain_computation)
@dataclass(frozen=True)
class LooksInTrainingMode(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        model.train()
        with mock.patch.object(model, "frozen", contextlib.nullcontext):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_no_pair_that_it_tries_scores_higher)
@dataclass(frozen=True)
class KeepsTheWorstPair(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(svd, "max", min, create=True):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class HooksLeft(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        model.head.layer.register_forward_pre_hook(lambda *_: None)
        return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_one_weight_in_two_layers_loses_what_both_see)
@dataclass(frozen=True)
class LooksAtTheLastLayerAlone(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(svd, "by_weight", lambda found, moments: moments):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_each_group_of_a_convolution_loses_what_its_own_channels_see)
@dataclass(frozen=True)
class TakesGroupsTogether(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        own = svd.directions
        with mock.patch.object(svd, "directions", lambda moments: own(moments.mean(0, keepdim=True).expand_as(moments))):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_what_is_highest_is_the_product)
@dataclass(frozen=True)
class CountsTheRetainedForNothing(SVD):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real, calls = svd.predict, itertools.count()

        def right(*args: Any) -> Any:
            out, y, read = real(*args)
            return (torch.eye(2)[y.long()] if next(calls) % 2 else out), y, read

        with mock.patch.object(svd, "predict", right):
            return super().__call__(model, forget=forget, retain=retain)
