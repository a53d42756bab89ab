"""Distort, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain.checks.of import distort as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import distort
from untrain.methods.distort import Distort


@breaks(laws.check_the_damage_is_as_large_as_it_says)
@dataclass(frozen=True)
class DistortsByTheVariance(Distort):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return Distort.__call__(replace(self, sigma=self.sigma**0.5), model, retain=retain)


@breaks(laws.check_the_damage_is_as_large_as_it_says)
@dataclass(frozen=True)
class DistortsOneWay(Distort):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        real = torch.randn
        with mock.patch.object(distort.torch, "randn", lambda *args, **how: real(*args, **how).abs()):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_damage_is_as_large_as_it_says)
@dataclass(frozen=True)
class DropsWhatItSaysItKeeps(Distort):
    kind: Literal["distortion", "attenuation", "dropout"] = "dropout"

    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return Distort.__call__(replace(self, share=1 - self.share), model, retain=retain)


@breaks(laws.check_the_damage_is_as_large_as_it_says)
@dataclass(frozen=True)
class AttenuatesTheHeadAlone(Distort):
    kind: Literal["distortion", "attenuation", "dropout"] = "attenuation"

    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with mock.patch.object(model, "trainable", return_value=[model.head.layer.weight]):
            return super().__call__(model, retain=retain)


@breaks(laws.check_the_training_behind_it_is_the_naive_loop)
@dataclass(frozen=True)
class DistortsAgainBehindTraining(Distort):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        trace = super().__call__(model, retain=retain)
        with torch.no_grad():
            for weight in model.trainable():
                weight.mul_(1.001)
        return trace


@breaks(laws.check_its_knobs_are_those_of_its_kind)
@dataclass(frozen=True)
class TurnsTheShareOfDropout(Distort):
    knobs: ClassVar = {"remembers": {"sigma": +1, "share": +1}}
