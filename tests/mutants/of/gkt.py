"""GKT, broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import gkt as laws
from untrain.core.method import Recipe
from untrain.core.network import Network
from untrain.core.trace import Trace
from untrain.methods import gkt
from untrain.methods.gkt import GKT, divergence


@breaks(laws.check_no_filtered_image_reaches_the_student)
@dataclass(frozen=True)
class LetsEverythingThrough(GKT):
    def passes(self, teacher: Network, images: Tensor, classes: tuple[int, ...]) -> Tensor:
        teacher(images)
        return torch.ones(len(images), dtype=torch.bool)


@breaks(laws.check_no_filtered_image_reaches_the_student)
@dataclass(frozen=True)
class LetsTheForgottenThrough(GKT):
    def passes(self, teacher: Network, images: Tensor, classes: tuple[int, ...]) -> Tensor:
        return ~super().passes(teacher, images, classes)


@breaks(laws.check_no_filtered_image_reaches_the_student)
@dataclass(frozen=True)
class FiltersOneClassOfTwo(GKT):
    def passes(self, teacher: Network, images: Tensor, classes: tuple[int, ...]) -> Tensor:
        return super().passes(teacher, images, classes[:1])


@breaks(laws.check_without_turns_it_is_the_network_as_built)
@dataclass(frozen=True)
class BeginsFromTheOriginal(GKT):
    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...], recipe: Any) -> Trace:
        with mock.patch.object(Network, "become"):
            return super().__call__(model, shape=shape, classes=classes, recipe=recipe)


@breaks(laws.check_generator_and_student_pull_against_each_other)
@dataclass(frozen=True)
class GeneratorAgrees(GKT):
    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...], recipe: Any) -> Trace:
        # The generator's images carry a gradient when it is the one that learns.
        with mock.patch.object(gkt, "divergence", lambda said, told: -divergence(said, told) if told.requires_grad else divergence(said, told)):
            return super().__call__(model, shape=shape, classes=classes, recipe=recipe)


@breaks(laws.check_generator_and_student_pull_against_each_other)
@dataclass(frozen=True)
class StudentDisagrees(GKT):
    attention: float = 0.0

    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...], recipe: Any) -> Trace:
        with mock.patch.object(gkt, "divergence", lambda said, told: divergence(said, told) if told.requires_grad else -divergence(said, told)):
            return super().__call__(model, shape=shape, classes=classes, recipe=recipe)


@breaks(laws.check_each_step_of_the_generator_has_noise_of_its_own)
@dataclass(frozen=True)
class NoiseDrawnOnce(GKT):
    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...], recipe: Recipe) -> Trace:
        real, held = torch.randn, dict[str, Tensor]()
        with mock.patch.object(torch, "randn", lambda *size, **how: held.setdefault(str(size), real(*size, **how))):
            return super().__call__(model, shape=shape, classes=classes, recipe=recipe)


@breaks(laws.check_the_student_follows_answers_and_attention)
@dataclass(frozen=True)
class FollowsTheOtherWayRound(GKT):
    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...], recipe: Recipe) -> Trace:
        own = gkt.divergence
        with mock.patch.object(gkt, "divergence", lambda said, told: own(told, said)):
            return super().__call__(model, shape=shape, classes=classes, recipe=recipe)


@breaks(laws.check_the_generator_climbs_by_the_slopes_of_both)
@dataclass(frozen=True)
class TakesTheOriginalForConstant(GKT):
    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...], recipe: Recipe) -> Trace:
        own = gkt.divergence
        with mock.patch.object(gkt, "divergence", lambda said, told: own(said, told.detach())):
            return super().__call__(model, shape=shape, classes=classes, recipe=recipe)


@breaks(laws.check_generator_and_student_pull_against_each_other)
@dataclass(frozen=True)
class OneTurnOfTheGenerator(GKT):
    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...], recipe: Recipe) -> Trace:
        own = gkt.Turn
        with mock.patch.object(gkt, "Turn", lambda phase, **how: own(phase=phase, **how, rounds=1 if phase == "generator" else None)):
            return super().__call__(model, shape=shape, classes=classes, recipe=recipe)
