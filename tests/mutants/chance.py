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
class DrawsWithNumpy(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return super().__call__(model, retain=retain[np.random.permutation(len(retain))])


@breaks(checks.check_the_random_state_of_the_caller_is_neither_used_nor_moved)
@dataclass(frozen=True)
class DrawsWithRandom(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return super().__call__(model, retain=retain[random.sample(range(len(retain)), len(retain))])


@breaks(checks.check_the_random_state_of_the_caller_is_neither_used_nor_moved)
@dataclass(frozen=True)
class DrawsAndPutsBack(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        state = random.getstate()
        order = random.sample(range(len(retain)), len(retain))
        random.setstate(state)
        return super().__call__(model, retain=retain[order])


@breaks(checks.check_the_random_state_of_the_caller_is_neither_used_nor_moved)
@dataclass(frozen=True)
class SeedsTheProcess(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        np.random.seed(0)
        return super().__call__(model, classes=classes)


@breaks(checks.check_the_mode_of_the_given_model_is_nothing_to_it)
@dataclass(frozen=True)
class ModeLeftToChance(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "train"):
            return super().__call__(model, forget=forget)
