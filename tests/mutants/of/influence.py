"""Influence, broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import influence as laws
from untrain.core import curvature, kronecker
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace
from untrain.methods import influence
from untrain.methods.influence import Influence


def _solved(change: Any) -> Any:
    real = influence.solve
    return mock.patch.object(influence, "solve", lambda *args, **how: change(real, *args, **how))


@breaks(laws.check_where_the_loss_is_convex_it_is_right_to_first_order)
@dataclass(frozen=True)
class InfluenceTurnedRound(Influence):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _solved(lambda real, model, loss, samples, v, **how: real(model, loss, samples, [-part for part in v], **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_of_ridge_regression_it_is_the_leave_out)
@dataclass(frozen=True)
class LeavesOutTheRetainedGradient(Influence):
    """As a version of the published code."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real, asked = influence.gradients, []

        def first(*args: Any, **how: Any) -> Any:
            asked.append(1)
            found, done = real(*args, **how)
            return (found if len(asked) == 1 else [torch.zeros_like(g) for g in found]), done

        with mock.patch.object(influence, "gradients", first):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_of_ridge_regression_it_is_the_leave_out)
@dataclass(frozen=True)
class CurvatureOfTheForgotten(Influence):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _solved(lambda real, model, loss, samples, v, **how: real(model, loss, forget, v, **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_where_the_loss_is_convex_it_is_right_to_first_order)
@dataclass(frozen=True)
class ARecursionOfRankOne(Influence):
    """As the published code's: every sample takes from v along the first one's gradient."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        def rank_one(real: Any, model: Network, loss: Any, samples: Samples, v: Sequence[Tensor], *, batch: int, **how: Any) -> tuple[list[Tensor], Phase]:
            k, o, weights, n = torch.cat([p.reshape(-1) for p in v]), None, model.trainable(), len(samples)
            for i in range(n):
                x, y = samples.batch(torch.tensor([i]))
                g = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss(model(x), y), weights)])
                if o is None:
                    o = g.clone()
                    continue
                k, o = k - (k @ g) / (n + o @ g) * o, o - (o @ g) / (n + o @ g) * o
            return [part.view_as(p) for part, p in zip(torch.split(k, [p.numel() for p in v]), v, strict=True)], Phase("solve")

        with _solved(rank_one):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_its_step_is_as_long_as_alpha_says)
@dataclass(frozen=True)
class StepsByTheSquareOfAlpha(Influence):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return Influence.__call__(replace(self, alpha=self.alpha**2), model, forget=forget, retain=retain)


@breaks(laws.check_retained_samples_that_are_not_looked_at_count_all_the_same)
@dataclass(frozen=True)
class CountsWhatItLooksAt(Influence):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=forget, retain=retain.at_most(self.samples))


@breaks(laws.check_every_solver_ends_where_the_whole_matrix_does)
@dataclass(frozen=True)
class LissaKeepsTheScale(Influence):
    def solved(self, model: Network, kept: Samples, v: Sequence[Tensor]) -> tuple[list[Tensor], Phase]:
        step, done = super().solved(model, kept, v)
        return [self.scale * part for part in step] if self.solver == "lissa" else step, done


@breaks(laws.check_every_solver_ends_where_the_whole_matrix_does)
@dataclass(frozen=True)
class LissaWithoutDamping(Influence):
    def solved(self, model: Network, kept: Samples, v: Sequence[Tensor]) -> tuple[list[Tensor], Phase]:
        real = influence.lissa
        with mock.patch.object(influence, "lissa", lambda *args, **how: real(*args, **how | {"damping": 0.0})):
            return super().solved(model, kept, v)


@breaks(laws.check_lissa_that_runs_away_ends_the_run)
@dataclass(frozen=True)
class RunsAwayUnsaid(Influence):
    def solved(self, model: Network, kept: Samples, v: Sequence[Tensor]) -> tuple[list[Tensor], Phase]:
        with mock.patch.object(curvature, "_products", lambda *pairs: [0.0 for _ in pairs]):
            return super().solved(model, kept, v)


def _blocks(change: Any, **more: Any) -> Any:
    """EK-FAC with its blocks changed."""
    real = influence.ekfac

    def found(*args: Any, **how: Any) -> Any:
        made, done = real(*args, **how | more)
        return replace(made, blocks=tuple(map(change, made.blocks))), done

    return mock.patch.object(influence, "ekfac", found)


@breaks(laws.check_ekfac_is_the_matrix_with_its_own_eigenvectors)
@dataclass(frozen=True)
class EigenvaluesThatAreNotMeasured(Influence):
    """K-FAC."""

    def solved(self, model: Network, kept: Samples, v: Sequence[Tensor]) -> tuple[list[Tensor], Phase]:
        with _blocks(lambda block: block, measured=False):
            return super().solved(model, kept, v)


@breaks(laws.check_ekfac_is_the_matrix_with_its_own_eigenvectors)
@dataclass(frozen=True)
class TurnsBackTheWrongWay(Influence):
    def solved(self, model: Network, kept: Samples, v: Sequence[Tensor]) -> tuple[list[Tensor], Phase]:
        with _blocks(lambda block: replace(block, outward=block.outward.T)):
            return super().solved(model, kept, v)


@breaks(laws.check_the_size_of_a_batch_is_nothing_to_it)
@dataclass(frozen=True)
class SquaresTheGradientOfABatch(Influence):
    def solved(self, model: Network, kept: Samples, v: Sequence[Tensor]) -> tuple[list[Tensor], Phase]:
        def squares(a: Tensor, g: Tensor) -> Tensor:
            return torch.einsum("knto,nti->koi", g, a).square().sum(0) / len(a)

        with mock.patch.object(kronecker, "_squares", squares):
            return super().solved(model, kept, v)


@breaks(laws.check_the_size_of_a_batch_is_nothing_to_it)
@dataclass(frozen=True)
class TheDiagonalOfABatch(Influence):
    """Of BatchNorm's weights the square of the sum, and not the sum of squares."""

    def solved(self, model: Network, kept: Samples, v: Sequence[Tensor]) -> tuple[list[Tensor], Phase]:
        def whole(model: Network, loss: Any, weights: Any, x: Any, y: Tensor) -> Any:
            return kronecker._own_squares(loss, model(x), y, weights)

        with mock.patch.object(kronecker, "_diagonal", whole):
            return super().solved(model, kept, v)
