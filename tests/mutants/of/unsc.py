"""UNSC, broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import bent, breaks
from untrain.checks.of import unsc as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.subspace import Spared
from untrain.core.train import Trace, predict
from untrain.methods import unsc
from untrain.methods.unsc import UNSC


@breaks(laws.check_what_the_retained_excite_stays)
@dataclass(frozen=True)
class SparesTheForgotten(UNSC):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = unsc.second_moments
        with mock.patch.object(unsc, "second_moments", lambda model, found, samples: real(model, found, forget)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_what_the_retained_excite_stays)
@dataclass(frozen=True)
class MovesBiasesToo(UNSC):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = unsc.minimize

        def all_of_them(loss: object, weights: object, *args: object, **how: object) -> object:
            more = [w for w in model.trainable() if w.ndim == 1]
            off = how.pop("combine")
            return real(loss, [*weights, *more], *args, combine=lambda slopes: [*off([slopes[0][: -len(more)]]), *slopes[0][-len(more) :]], **how)  # type: ignore[arg-type, operator, misc]

        with mock.patch.object(unsc, "minimize", all_of_them):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_what_the_retained_excite_stays)
@dataclass(frozen=True)
class CalibratesInTrainingMode(UNSC):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(model, "eval", model.train):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_calibration_is_the_naive_loop)
@dataclass(frozen=True)
class SparesMoreThanItsShare(UNSC):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(unsc, "Spared", lambda model, moments, energy: Spared(model, moments, 1 - (1 - energy) / 10)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_label_is_the_next_best_that_stays)
@dataclass(frozen=True)
class TeachesAnotherForgottenClass(UNSC):
    def next_best(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        return super().next_best(model, forget, forget + retain)


@breaks(laws.check_the_label_is_the_next_best_that_stays)
@dataclass(frozen=True)
class TeachesTheWorst(UNSC):
    def next_best(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        real = torch.Tensor.argmax
        with mock.patch.object(torch.Tensor, "argmax", lambda x, dim: real(-x.masked_fill(x.isinf(), torch.inf), dim)):
            return super().next_best(model, forget, retain)


@breaks(laws.check_the_calibration_is_the_naive_loop)
@dataclass(frozen=True)
class KeepsTheGradientWhole(UNSC):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        def whole(own: Spared, gradients: Sequence[Tensor]) -> list[Tensor]:
            return list(gradients)

        with mock.patch.object(Spared, "off", whole):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_label_is_the_next_best_that_stays)
@dataclass(frozen=True)
class TeachesWhatStandsOnIt(UNSC):
    def next_best(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        with mock.patch.object(torch.Tensor, "scatter", lambda allowed, *args: allowed):
            return super().next_best(model, forget, retain)


@breaks(laws.check_the_calibration_is_the_naive_loop)
@dataclass(frozen=True)
class CalibratesBySumsOverBatches(UNSC):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("cross_entropy", lambda real: lambda out, y: real(out, y, reduction="sum") / self.batch):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_label_is_the_next_best_that_stays)
@dataclass(frozen=True)
class LeavesOutWhatTheModelSays(UNSC):
    def next_best(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        return super().next_best(model, forget.labelled(predict(model, forget)[0].argmax(1)), retain)
