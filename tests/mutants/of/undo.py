"""UNDO, broken."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain.checks.of import undo as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import undo
from untrain.methods.undo import UNDO


@breaks(laws.check_alpha_says_how_much_is_replaced)
@dataclass(frozen=True)
class AddsNoiseAndShrinksNothing(UNDO):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        alpha = self.alpha
        for weight in self.corrupted(model).values():
            weight.data /= max(1e-6, 1 - alpha)
        return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_alpha_says_how_much_is_replaced)
@dataclass(frozen=True)
class AddsUnitNoise(UNDO):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with mock.patch("untrain.core.fresh.fresh", torch.randn_like):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_alpha_says_how_much_is_replaced)
@dataclass(frozen=True)
class RenewsWhatIsWhole(UNDO):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        self.renew(model, retain)
        return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_shrinking_alone_leaves_the_function_to_batchnorm)
@dataclass(frozen=True)
class RenewsByTheUsualMomentum(UNDO):
    def renew(self, model: Network, samples: Samples) -> None:
        model.train()
        for x, _, _ in samples.batches(self.batch, shuffle=False).run(0):
            if x is not None:
                model(x)


@breaks(laws.check_the_distillation_is_the_naive_loop)
@dataclass(frozen=True)
class TeachesTheForgotten(UNDO):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with mock.patch.object(torch.Tensor, "index_fill", lambda own, *args: own):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_the_distillation_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherIsTheDamaged(UNDO):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with mock.patch.object(model, "teacher", return_value=model):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_the_distillation_is_the_naive_loop)
@dataclass(frozen=True)
class DistilsUnclipped(UNDO):
    clip: float = 1e-3

    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        real = undo.minimize
        with mock.patch.object(undo, "minimize", lambda *args, **how: real(*args, **how | {"clip": None})):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_alpha_says_how_much_is_replaced)
@dataclass(frozen=True)
class KeepsTheOldStatistics(UNDO):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with mock.patch.object(UNDO, "renew"):
            return super().__call__(model, retain=retain, classes=classes)
