"""Scissorhands, broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor, nn

from mutants.breaking import breaks
from untrain.checks.of import scissorhands as laws
from untrain.core import scissors
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import scissorhands
from untrain.methods.scissorhands import Scissorhands


@breaks(laws.check_what_is_salient_is_drawn_anew_and_nothing_else)
@dataclass(frozen=True)
class CutsTheLeastSalient(Scissorhands):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = scissors.gradients

        def least(*args: object, **how: object) -> object:
            slopes, looked = real(*args, **how)  # type: ignore[arg-type]
            return [1 / (s.abs() + 1e-12) / (w.abs() + 1e-12) ** 2 for s, w in zip(slopes, model.trainable(), strict=True)], looked

        with mock.patch.object(scissors, "gradients", least):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_what_is_salient_is_drawn_anew_and_nothing_else)
@dataclass(frozen=True)
class NamesNoLayerAndSaysNothing(Scissorhands):
    def reached(self, model: Network, samples: Samples) -> list[nn.Parameter]:
        return super().reached(model, samples) if self.later else [model.trainable()[0]]


@breaks(laws.check_what_is_salient_is_drawn_anew_and_nothing_else)
@dataclass(frozen=True)
class CutsEveryLayer(Scissorhands):
    def reached(self, model: Network, samples: Samples) -> list[nn.Parameter]:
        super().reached(model, samples)
        return [w for w in model.trainable() if w.ndim > 1]


@breaks(laws.check_what_is_salient_is_drawn_anew_and_nothing_else)
@dataclass(frozen=True)
class SetsToZero(Scissorhands):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(scissors, "fresh", torch.zeros_like):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_repair_is_the_naive_loop)
@dataclass(frozen=True)
class NeverProjects(Scissorhands):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(scissorhands, "project", lambda slope, way, margin: slope):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_repair_is_the_naive_loop)
@dataclass(frozen=True)
class ProjectsTheOtherWay(Scissorhands):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = scissorhands.project

        def against(slope: list[Tensor], way: list[Tensor], margin: float) -> list[Tensor]:
            return real(slope, [-w for w in way], margin)

        with mock.patch.object(scissorhands, "project", against):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_repair_is_the_naive_loop)
@dataclass(frozen=True)
class ScissorsPartsExchanged(Scissorhands):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(laws.check_no_step_opposes_forgetting)
@dataclass(frozen=True)
class OpposesForgetting(Scissorhands):
    def projected(self, slope: Sequence[Tensor], way: Sequence[Tensor]) -> list[Tensor]:
        return list(slope)
