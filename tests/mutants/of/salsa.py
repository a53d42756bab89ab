"""SALSA, broken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import salsa as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.salsa import SALSA


@breaks(laws.check_the_target_has_a_share_less_at_the_top)
@dataclass(frozen=True)
class TakesTheWholeTopOff(SALSA):
    def target(self, logits: Tensor, top: Tensor, share: float) -> Tensor:
        return super().target(logits, top, 1.0)


@breaks(laws.check_the_target_has_a_share_less_at_the_top)
@dataclass(frozen=True)
class GivesTheShareEvenly(SALSA):
    def target(self, logits: Tensor, top: Tensor, share: float) -> Tensor:
        p = F.softmax(logits, dim=1)
        taken = share * p.gather(1, top[:, None])
        return (p + taken / (p.shape[1] - 1)).scatter(1, top[:, None], p.gather(1, top[:, None]) - taken).log()


@breaks(laws.check_it_is_held_more_the_closer_to_the_input)
@dataclass(frozen=True)
class HeldMoreAtTheOutput(SALSA):
    def strength(self, place: int, done: float) -> float:
        return super().strength(100 - place, done)


@breaks(laws.check_it_is_held_more_the_closer_to_the_input)
@dataclass(frozen=True)
class HeldAsAtTheStart(SALSA):
    def strength(self, place: int, done: float) -> float:
        return super().strength(place, 0.0)


@breaks(laws.check_the_distillation_is_the_naive_loop)
@dataclass(frozen=True)
class TopOfTheStudent(SALSA):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "teacher", return_value=model):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_distillation_is_the_naive_loop)
@dataclass(frozen=True)
class HeldToNothing(SALSA):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(torch.nn.Parameter, "clone", lambda own: torch.zeros_like(own)), mock.patch.object(torch.nn.Parameter, "detach", lambda own: own):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_distillation_is_the_naive_loop)
@dataclass(frozen=True)
class KLTurnedRound(SALSA):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        real = F.kl_div
        with mock.patch.object(F, "kl_div", lambda a, b, **how: real(b, a, **how)):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_distillation_is_the_naive_loop)
@dataclass(frozen=True)
class TakesTheShareOffTheLabel(SALSA):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        x, y = forget.batch(torch.arange(len(forget)))
        label = {image.float().numpy().tobytes(): int(c) for image, c in zip(x, y, strict=True)}

        def says(seen: Tensor) -> Tensor:
            return F.one_hot(torch.tensor([label[image.float().numpy().tobytes()] for image in seen]))

        with mock.patch.object(model, "teacher", return_value=says):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_is_held_more_the_closer_to_the_input)
@dataclass(frozen=True)
class RoundsAwayWhatTheOthersHave(SALSA):
    def target(self, logits: Tensor, top: Tensor, share: float) -> Tensor:
        kept = F.log_softmax(logits, dim=1).gather(1, top[:, None]) + math.log1p(-share)
        rest = F.log_softmax(logits.scatter(1, top[:, None], -torch.inf), dim=1)
        return (rest + torch.log1p(-kept.exp())).scatter(1, top[:, None], kept)


@breaks(laws.check_a_whole_share_is_refused)
@dataclass(frozen=True)
class TakesTheWholeShare(SALSA):
    def __post_init__(self) -> None:
        pass
