"""SISA, broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.case import Case
from untrain.checks.of import sisa as laws
from untrain.core.data import Samples
from untrain.core.method import Recipe
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace
from untrain.methods.sisa import SISA, Shards


@breaks(laws.check_the_rest_is_a_training_without_the_forgotten)
@dataclass(frozen=True)
class GoesOnFromBehindTheSlice(SISA):
    def trained(self, model: Shards, number: int, start: int, samples: Samples, recipe: Recipe) -> list[Phase]:
        with mock.patch.object(model, "before", lambda shard, part, member: member.load_state_dict(model.members[shard].state_dict()) and member):
            return super().trained(model, number, start, samples, recipe)


@breaks(laws.check_the_rest_is_a_training_without_the_forgotten)
@dataclass(frozen=True)
class TrainsOnTheForgottenAgain(SISA):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        real: Callable[..., list[Phase]] = SISA.trained
        shard = self.places(forget)[0]

        def more(own: SISA, model: Shards, number: int, start: int, samples: Samples, recipe: Recipe) -> list[Phase]:
            return real(own, model, number, start, samples + forget[shard == number], recipe)

        with mock.patch.object(SISA, "trained", more):
            return super().__call__(model, forget=forget, retain=retain, recipe=recipe)


@breaks(laws.check_the_rest_is_a_training_without_the_forgotten)
@dataclass(frozen=True)
class KeepsWhatItKept(SISA):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        with mock.patch.object(Shards, "keep", return_value=None):
            return super().__call__(model, forget=forget, retain=retain, recipe=recipe)


@breaks(laws.check_the_rest_is_a_training_without_the_forgotten)
@dataclass(frozen=True)
class TrainsOnEachSliceAlone(SISA):
    def trained(self, model: Shards, number: int, start: int, samples: Samples, recipe: Recipe) -> list[Phase]:
        return super().trained(model, number, start, samples[self.places(samples)[1] == self.slices - 1], recipe)


@breaks(laws.check_what_no_forgotten_sample_was_in_stays_to_the_bit)
@dataclass(frozen=True)
class TrainsEveryShardAnew(SISA):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        trace = super().__call__(model, forget=forget, retain=retain, recipe=recipe)
        shards, whose = model.module, self.places(retain)[0]
        assert isinstance(shards, Shards)
        for number in range(self.shards):
            self.trained(shards, number, 0, retain[whose == number], recipe)
        return trace


@breaks(laws.check_what_no_forgotten_sample_was_in_stays_to_the_bit)
@dataclass(frozen=True)
class LeavesTheShard(SISA):
    def trained(self, model: Shards, number: int, start: int, samples: Samples, recipe: Recipe) -> list[Phase]:
        before = {name: value.clone() for name, value in model.members[number].state_dict().items()}
        done = super().trained(model, number, start, samples, recipe)
        if model.sums.any():
            model.members[number].load_state_dict(before)
        return done


@breaks(laws.check_a_sample_has_one_place_for_good)
@dataclass(frozen=True)
class GoesByThePlaceInTheList(SISA):
    def places(self, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
        _, _, name = super().places(samples)
        at = torch.arange(len(samples))
        return at % self.shards, at // self.shards % self.slices, name


@breaks(laws.check_a_sample_has_one_place_for_good)
@dataclass(frozen=True)
class FillsOneSlice(SISA):
    def places(self, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
        shard, part, name = super().places(samples)
        return shard, torch.full_like(part, self.slices - 1), name


@breaks(laws.check_its_answer_is_the_mean_of_probabilities)
def answers_by_the_mean_of_logits(case: Case) -> SISA:
    class Summed(Shards):
        def forward(self, x: object = None, **named: object) -> Tensor:
            return torch.stack([member(x) for member in self.members]).mean(0)

    @dataclass(frozen=True)
    class Means(SISA):
        shards: int = 2

        def prepare(self, *, train: Samples, recipe: Recipe) -> tuple[Shards, Trace]:  # type: ignore[override]
            model, trace = super().prepare(train=train, recipe=recipe)
            model.__class__ = Summed
            return model, trace

    return Means()


@breaks(laws.check_it_refuses_what_it_did_not_train)
@dataclass(frozen=True)
class TakesAnySamples(SISA):
    def summed(self, samples: Samples) -> Tensor:
        return torch.zeros(self.shards, self.slices, dtype=torch.int64)


@breaks(laws.check_its_answer_is_the_mean_of_probabilities)
def takes_the_other_inputs_alone(case: Case) -> SISA:
    class Other(Shards):
        def forward(self, x: object = None, **named: object) -> Tensor:
            return super().forward(named or x)

    @dataclass(frozen=True)
    class Others(SISA):
        shards: int = 2

        def prepare(self, *, train: Samples, recipe: Recipe) -> tuple[Shards, Trace]:  # type: ignore[override]
            model, trace = super().prepare(train=train, recipe=recipe)
            model.__class__ = Other
            return model, trace

    return Others()


@breaks(laws.check_it_forgets_again_and_nothing_twice)
@dataclass(frozen=True)
class CountsTheForgottenIn(SISA):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        shards = model.module
        assert isinstance(shards, Shards)
        before = shards.sums.clone()
        trace = super().__call__(model, forget=forget, retain=retain, recipe=recipe)
        shards.sums.copy_(before)
        return trace


@breaks(laws.check_its_model_has_the_normalisation_that_it_was_prepared_with)
def has_the_networks_normalisation(case: Case) -> SISA:
    class Fixed(Shards):
        norm = property(lambda own: own.members[0].norm, lambda own, given: None)  # type: ignore[assignment]

    @dataclass(frozen=True)
    class Fixes(SISA):
        def prepare(self, *, train: Samples, recipe: Recipe) -> tuple[Shards, Trace]:  # type: ignore[override]
            model, trace = super().prepare(train=train, recipe=recipe)
            model.__class__ = Fixed
            return model, trace

    return Fixes()
