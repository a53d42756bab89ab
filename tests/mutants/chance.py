"""Methods whose chance is not the run's."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import ClassVar
from unittest import mock

import numpy as np
import torch

from mutants.breaking import breaks
from untrain import checks
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggrad import NegGrad

_count = itertools.count()


@breaks(checks.check_the_same_seed_gives_the_same_bits)
@dataclass(frozen=True)
class CountsItsCalls(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.mask(classes, low=-1e4 - next(_count))
        return Trace()


@breaks(checks.check_the_same_seed_gives_the_same_bits)
@dataclass(frozen=True)
class SeededByTheMachine(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return super().__call__(model, retain=retain[np.random.default_rng().permutation(len(retain))])


@breaks(checks.check_another_seed_gives_other_bits)
@dataclass(frozen=True)
class MaskOfItsOwnSeed(HeadOnly):
    draws: ClassVar = True

    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        weight = model.head.layer.weight.data
        weight *= torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) > 0.5
        return super().__call__(model, classes=classes)


@breaks(checks.check_another_seed_gives_other_bits)
@dataclass(frozen=True)
class DrawsAndDeniesIt(FineTune):
    draws: ClassVar = False


@breaks(checks.check_another_seed_gives_other_bits)
@dataclass(frozen=True)
class ClaimsToDraw(HeadOnly):
    draws: ClassVar = True


@breaks(checks.check_the_random_state_of_the_caller_is_neither_used_nor_moved)
@dataclass(frozen=True)
class DrawsBeforeTheRun(HeadOnly):
    """Whoever asks what it needs has it draw, from the stream of whoever asks."""

    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.mask(classes, low=self.__dict__["low"])
        return Trace()


def _draw(self: DrawsBeforeTheRun) -> tuple[str, ...]:
    self.__dict__["low"] = -1e4 - random.Random(str(random.getstate())).random()
    return ("classes",)


setattr(DrawsBeforeTheRun, "needs", property(_draw))  # noqa: B010


@breaks(checks.check_the_random_state_of_the_caller_is_neither_used_nor_moved)
@dataclass(frozen=True)
class KeepsTheCallersState(HeadOnly):
    """The next that puts the state of `random` back, which is the run at its end, does nothing."""

    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        put_back = random.setstate
        random.setstate = lambda state: setattr(random, "setstate", put_back)
        return super().__call__(model, classes=classes)


@breaks(checks.check_the_mode_of_the_given_model_is_nothing_to_it)
@dataclass(frozen=True)
class ModeLeftToChance(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "train"):
            return super().__call__(model, forget=forget)
