"""L2UL, broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import breaks, turned
from untrain.checks.of import l2ul as laws
from untrain.core.data import Inputs, Samples
from untrain.core.network import Network
from untrain.core.train import Phase, Trace
from untrain.methods import l2ul
from untrain.methods.l2ul import L2UL


@breaks(laws.check_its_images_are_near_and_named_otherwise)
@dataclass(frozen=True)
class LeadsAwayFromTheAim(L2UL):
    def led(self, model: Network, x: Inputs, aim: Tensor) -> Tensor:
        with mock.patch.object(l2ul.F, "cross_entropy", turned(l2ul.F.cross_entropy)):
            return super().led(model, x, aim)


@breaks(laws.check_its_images_are_near_and_named_otherwise)
@dataclass(frozen=True)
class LeadsAsFarAsItGoes(L2UL):
    def led(self, model: Network, x: Inputs, aim: Tensor) -> Tensor:
        object.__setattr__(self, "attack_step", 3 * self.radius)
        start = l2ul.numbers(x)
        return start + 1.5 * (super().led(model, x, aim) - start)


@breaks(laws.check_the_unlearning_is_the_naive_loop)
@dataclass(frozen=True)
class HoldsWhatMatters(L2UL):
    def importance(self, model: Network, samples: Samples) -> tuple[Sequence[Tensor], Phase]:
        found, done = super().importance(model, samples)
        return [1 - w for w in found], done


@breaks(laws.check_what_matters_most_is_free)
@dataclass(frozen=True)
class HoldsAllAlike(L2UL):
    def importance(self, model: Network, samples: Samples) -> tuple[Sequence[Tensor], Phase]:
        found, done = super().importance(model, samples)
        return [torch.zeros_like(w) for w in found], done


@breaks(laws.check_the_unlearning_is_the_naive_loop)
@dataclass(frozen=True)
class UnlearnsInTrainingMode(L2UL):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        real = l2ul.minimize

        def training(*args: object, **how: object) -> object:
            model.train()
            return real(*args, **how)  # type: ignore[arg-type]

        with mock.patch.object(l2ul, "minimize", training):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_ends_when_all_are_misnamed)
@dataclass(frozen=True)
class EndsAnEpochLate(L2UL):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        real, late = l2ul.predict, list[int]()

        def once_more(model: Network, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
            said, labels, read = real(model, samples)
            if len(samples) > 2 and not bool((said.argmax(1) == labels).any()) and not late:
                late.append(1)
                return said, said.argmax(1), read
            return said, labels, read

        with mock.patch.object(l2ul, "predict", once_more):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_unlearning_is_the_naive_loop)
@dataclass(frozen=True)
class WeighsEachEpochAnew(L2UL):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        real, found = l2ul.minimize, list[Tensor]()

        def kept(model: Network, samples: Samples) -> tuple[Sequence[Tensor], Phase]:
            weights, done = L2UL.importance(self, model, samples)
            found[:] = weights
            return found, done

        def again(*args: object, **how: object) -> object:
            done = real(*args, **how)  # type: ignore[arg-type]
            kept(model, forget)
            return done

        object.__setattr__(self, "importance", kept)
        with mock.patch.object(l2ul, "minimize", again):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_unlearning_is_the_naive_loop)
@dataclass(frozen=True)
class AttacksEachEpochAnew(L2UL):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        real = l2ul.minimize

        def again(loss: object, weights: object, batches: object, **how: object) -> object:
            return real(loss, weights, self.images(model, forget).batches(self.batch).beside(forget.batches(self.batch)), **how)  # type: ignore[arg-type]

        with mock.patch.object(l2ul, "minimize", again):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_unlearning_is_the_naive_loop)
@dataclass(frozen=True)
class CountsBothAlike(L2UL):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        real = l2ul.minimize

        def alike(loss: object, *args: object, **how: object) -> object:
            def half(x: object, y: object) -> tuple[Tensor, Tensor]:
                kept, away = loss(x, y)  # type: ignore[operator]
                return kept, away * (1 + self.copies) / 2

            return real(half, *args, **how)  # type: ignore[arg-type]

        with mock.patch.object(l2ul, "minimize", alike):
            return super().__call__(model, forget=forget)
