"""DUCK, broken."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

from torch import Tensor

from mutants.breaking import bent, breaks
from untrain.checks.of import duck as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace, predict
from untrain.methods import duck
from untrain.methods.duck import DUCK


@breaks(laws.check_the_moving_is_the_naive_loop_towards_the_nearest_other_centroid)
@dataclass(frozen=True)
class PushesAwayFromTheCentroid(DUCK):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = duck.F.cosine_similarity
        with mock.patch.object(duck.F, "cosine_similarity", lambda a, b: -real(a, b)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_moving_is_the_naive_loop_towards_the_nearest_other_centroid)
@dataclass(frozen=True)
class OneCentroidForAll(DUCK):
    def goals(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        found = super().goals(model, forget, retain)
        return found[:1].expand_as(found)


@breaks(laws.check_no_sample_goes_to_its_own_class)
@dataclass(frozen=True)
class GoesWhereItLies(DUCK):
    def goals(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        return super().goals(model, forget.labelled(forget.y * 0 - 1), retain)


@breaks(laws.check_it_ends_when_the_forgotten_are_named_no_more)
@dataclass(frozen=True)
class MovesOnWhenNoneIsNamed(DUCK):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = duck.predict

        def named(model: Network, samples: Samples, features: bool = False) -> tuple[Tensor, Tensor, Tensor]:
            logits, labels, read = real(model, samples, features=features)
            return logits, labels if features else logits.argmax(1), read

        with mock.patch.object(duck, "predict", named):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_moving_is_the_naive_loop_towards_the_nearest_other_centroid)
@dataclass(frozen=True)
class FollowsTheCentroids(DUCK):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real, found = duck.minimize, DUCK.goals(self, model, forget, retain)

        def again(*args: object, **how: object) -> object:
            done = real(*args, **how)  # type: ignore[arg-type]
            found.copy_(DUCK.goals(self, model, forget, retain))
            return done

        object.__setattr__(self, "goals", lambda *parts: found)
        with mock.patch.object(duck, "minimize", again):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_moving_is_the_naive_loop_towards_the_nearest_other_centroid)
@dataclass(frozen=True)
class MovesInEvaluationMode(DUCK):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_nearest_centroid_is_so_by_its_angle)
@dataclass(frozen=True)
class NearestByTheirProduct(DUCK):
    def goals(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        with bent("normalize", lambda real: lambda x, dim: x):
            return super().goals(model, forget, retain)


@breaks(laws.check_no_sample_goes_to_its_own_class)
@dataclass(frozen=True)
class LeavesOutTheClassThatTheModelNames(DUCK):
    def goals(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        return super().goals(model, forget.labelled(predict(model, forget)[0].argmax(1)), retain)
