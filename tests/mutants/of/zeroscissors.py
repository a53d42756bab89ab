"""ZeroScissors, broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain.checks.of import zeroscissors as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.site import Site
from untrain.core.train import Phase, Trace
from untrain.methods import zeroscissors
from untrain.methods.zeroscissors import ZeroScissors


@breaks(laws.check_its_noise_is_like_the_class_or_what_is_taken_for_none_of_it)
@dataclass(frozen=True)
class NoiseOfTheOtherSign(ZeroScissors):
    def learned(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        real = zeroscissors.learned_noise
        with mock.patch.object(zeroscissors, "learned_noise", lambda *args, sign, **how: real(*args, sign=-sign, **how)):
            return super().learned(site, kept, classes)


@breaks(laws.check_its_noise_is_like_the_class_or_what_is_taken_for_none_of_it)
@dataclass(frozen=True)
class NoiseOfTheFirstClass(ZeroScissors):
    def learned(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return super().learned(site, kept, classes[:1])


@breaks(laws.check_its_noise_is_like_the_class_or_what_is_taken_for_none_of_it)
@dataclass(frozen=True)
class NoiseInTrainingMode(ZeroScissors):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        model.train()
        with torch.no_grad():
            model(retain.batch(torch.arange(8))[0])
        return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_what_is_salient_for_the_noise_is_drawn_anew)
@dataclass(frozen=True)
class CutsByTheRetained(ZeroScissors):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        real = zeroscissors.cut_and_repair

        def by(model: Network, reached: Any, shown: Samples, kept: Any, **how: Any) -> list[Phase]:
            return real(model, reached, retain, kept, **how)

        with mock.patch.object(zeroscissors, "cut_and_repair", by):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_the_repair_is_a_plain_loop_over_the_retained_and_the_noise)
@dataclass(frozen=True)
class ProjectsNothing(ZeroScissors):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with mock.patch.object(zeroscissors, "project", lambda slope, way, margin: slope):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_the_repair_is_a_plain_loop_over_the_retained_and_the_noise)
@dataclass(frozen=True)
class DescendsOnTheNoise(ZeroScissors):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        real = zeroscissors.cut_and_repair
        with mock.patch.object(zeroscissors, "cut_and_repair", lambda *args, lam, **how: real(*args, lam=-lam, **how)):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_the_repair_is_a_plain_loop_over_the_retained_and_the_noise)
@dataclass(frozen=True)
class KeepsTheStatisticsOfNoise(ZeroScissors):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with mock.patch.object(zeroscissors, "renew"):
            return super().__call__(model, retain=retain, classes=classes)
