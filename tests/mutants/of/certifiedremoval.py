"""Certified removal, broken."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor, nn

from mutants.breaking import breaks
from untrain.checks.of import certifiedremoval as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace
from untrain.methods.certifiedremoval import Certificate, CertifiedRemoval, Perturbed


@breaks(laws.check_the_bound_is_above_what_is_left)
@dataclass(frozen=True)
class BoundsTooLow(CertifiedRemoval):
    def bound(self, X: Tensor, v: Tensor) -> float:
        return super().bound(X, v) / 50


@breaks(laws.check_the_bound_is_above_what_is_left)
@dataclass(frozen=True)
class CountsTheLastRemovalAlone(CertifiedRemoval):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        assert isinstance(model.module, Perturbed)
        model.module.spent.zero_()
        return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_bound_is_above_what_is_left)
@dataclass(frozen=True)
class BoundsByTheSmallestDirection(CertifiedRemoval):
    def bound(self, X: Tensor, v: Tensor) -> float:
        with mock.patch.object(torch.linalg, "matrix_norm", lambda X, _: torch.linalg.svdvals(X)[-1]):
            return super().bound(X, v)


@breaks(laws.check_a_removal_is_where_training_without_would_be)
@dataclass(frozen=True)
class RemovesTurnedRound(CertifiedRemoval):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = CertifiedRemoval.solved
        with mock.patch.object(CertifiedRemoval, "solved", lambda *args: -real(*args)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_a_removal_is_where_training_without_would_be)
@dataclass(frozen=True)
class ForgetsThePenalty(CertifiedRemoval):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = CertifiedRemoval.solved
        with mock.patch.object(CertifiedRemoval, "solved", lambda own, w, X, G: real(own, w, X, G - own.lam * len(forget) * w)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_a_removal_is_where_training_without_would_be)
@dataclass(frozen=True)
class CurvesWithTheForgotten(CertifiedRemoval):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real, rows = CertifiedRemoval.solved, torch.nn.functional.pad(forget.batch(torch.arange(len(forget)))[0].double().flatten(1), (0, 1), value=1.0)  # type: ignore[union-attr]
        with mock.patch.object(CertifiedRemoval, "solved", lambda own, w, X, G: real(own, w, torch.cat([X, rows]), G)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_it_is_trained_to_where_the_loss_with_noise_is_least)
@dataclass(frozen=True)
class TrainsWithoutTheNoise(CertifiedRemoval):
    def fitted(self, model: Perturbed, X: Tensor, Y: Tensor) -> Phase:
        done = super().fitted(model, X, Y)
        with mock.patch.object(torch, "randn", lambda *shape, dtype: torch.zeros(shape, dtype=dtype)):
            noise = model.noise.clone()
            super().fitted(model, X, Y)
            model.noise.copy_(noise)
        return done


@breaks(laws.check_it_is_trained_to_where_the_loss_with_noise_is_least)
@dataclass(frozen=True)
class StopsAtOnce(CertifiedRemoval):
    def solved(self, w: Tensor, X: Tensor, G: Tensor) -> Tensor:
        return super().solved(w, X, G) * (0.01 if not w.any() else 0.0)


@breaks(laws.check_it_is_trained_to_where_the_loss_with_noise_is_least)
@dataclass(frozen=True)
class KeepsTheOldNoise(CertifiedRemoval):
    def fitted(self, model: Perturbed, X: Tensor, Y: Tensor) -> Phase:
        old = model.noise / self.sigma
        if not old.any():
            return super().fitted(model, X, Y)
        with mock.patch.object(torch, "randn", return_value=old.clone()):
            return super().fitted(model, X, Y)


@breaks(laws.check_no_certificate_without_what_it_hangs_on)
@dataclass(frozen=True)
class CertifiesTwiceTheBudget(CertifiedRemoval):
    @property
    def budget(self) -> float:
        return 2 * super().budget


@breaks(laws.check_no_certificate_without_what_it_hangs_on)
@dataclass(frozen=True)
class CertifiesDeepNetworks(CertifiedRemoval):
    """As a public package does, of two random ones."""

    def certificate(self, model: nn.Module) -> Certificate:
        return super().certificate(model) if type(model) is Perturbed else Certificate(self.epsilon, self.delta, 0.1, self.budget)


@breaks(laws.check_no_certificate_without_what_it_hangs_on)
@dataclass(frozen=True)
class CertifiesBeyondTheBudget(CertifiedRemoval):
    def certificate(self, model: nn.Module) -> Certificate:
        return Certificate(self.epsilon, self.delta, min(float(self.own(model).spent), self.budget), self.budget)


@breaks(laws.check_no_certificate_without_what_it_hangs_on)
@dataclass(frozen=True)
class RemovesByAnotherLoss(CertifiedRemoval):
    @property
    def terms(self) -> list[float]:
        return [*super().terms[:2], 0.0]


@breaks(laws.check_it_refuses_other_samples_than_it_was_trained_on)
@dataclass(frozen=True)
class RemovesAnything(CertifiedRemoval):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        own = model.module
        assert isinstance(own, Perturbed)
        spent = own.spent.clone()
        own.spent.fill_(float("inf"))
        with mock.patch.object(CertifiedRemoval, "bound", return_value=-float("inf")):
            trace = super().__call__(model, forget=forget, retain=retain)
        own.spent.copy_(spent)
        return trace


@breaks(laws.check_no_certificate_without_what_it_hangs_on)
@dataclass(frozen=True)
class CertifiesByOtherNoise(CertifiedRemoval):
    @property
    def terms(self) -> list[float]:
        return [self.lam, 0.3, super().terms[2]]
