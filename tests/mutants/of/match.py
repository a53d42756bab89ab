"""Match, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain.checks.of import match as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace, predict
from untrain.methods import match
from untrain.methods.match import Match
from untrain.metrics import twosample


@breaks(laws.check_forgotten_and_unseen_come_nearer_than_two_halves_of_the_unseen)
@dataclass(frozen=True)
class KeepsTheRetainedAlone(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        with mock.patch.object(match, "apart", lambda distance, pairs: sum(0 * p.sum() for p, _ in pairs)):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_forgotten_and_unseen_come_nearer_than_two_halves_of_the_unseen)
@dataclass(frozen=True)
class MatchesUnseenOfTheForgottenClasses(Match):
    """What is left aside is those of classes that are forgotten whole."""

    def targets(self, model: Network, forget: Samples, retain: Samples, unseen: Samples) -> dict[int, torch.Tensor]:
        return super().targets(model, forget, forget + retain, unseen)


@breaks(laws.check_it_ends_where_its_test_tells_nothing_apart)
@dataclass(frozen=True)
class MatchNeverEnds(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        with mock.patch.object(match, "chance", return_value=0.0):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_it_ends_where_its_test_tells_nothing_apart)
@dataclass(frozen=True)
class EndsAtOnce(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        with mock.patch.object(match, "chance", return_value=1.0):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_each_step_is_that_of_a_plain_loop)
@dataclass(frozen=True)
class MatchesInTrainingMode(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        with mock.patch.object(model, "eval", model.train):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_each_step_is_that_of_a_plain_loop)
@dataclass(frozen=True)
class ItsStatisticsFollowAllTheSame(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        return Match.__call__(replace(self, held=False), model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_each_step_is_that_of_a_plain_loop)
@dataclass(frozen=True)
class TurnsTheDivergenceRound(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        real = match.apart
        with mock.patch.object(match, "apart", lambda distance, pairs: real(distance, [(q, p) for p, q in pairs])):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_each_step_is_that_of_a_plain_loop)
@dataclass(frozen=True)
class ADiscriminatorThatSeesTheMeansAlone(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        with mock.patch.object(twosample, "_told_by", lambda p: torch.cat([p, torch.ones_like(p[:, :1])], 1)):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_each_step_is_that_of_a_plain_loop)
@dataclass(frozen=True)
class ADiscriminatorThatIsNotFittedToTheEnd(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        real = twosample._fitted
        with mock.patch.object(twosample, "_fitted", lambda a, b: 0.9 * real(a, b)):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_each_step_is_that_of_a_plain_loop)
@dataclass(frozen=True)
class ADiscriminatorThatIsToldApartTheMoreTheAlike(Match):
    """Its sign turned: it ends before the first step, since no order of the answers lies nearer."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        with mock.patch.dict(twosample.APART, {"discriminator": lambda p, q: -twosample.discriminator(p, q)}):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_each_step_is_that_of_a_plain_loop)
@dataclass(frozen=True)
class TheNearestIsTheFarthest(Match):
    def targets(self, model: Network, forget: Samples, retain: Samples, unseen: Samples) -> dict[int, torch.Tensor]:
        with mock.patch.object(torch, "cdist", lambda a, b: -(a[:, None] - b[None]).norm(dim=2)):
            return super().targets(model, forget, retain, unseen)


@breaks(laws.check_what_it_comes_to_is_the_originals_and_carries_no_gradient)
@dataclass(frozen=True)
class TargetsFollowTheStudent(Match):
    """The unseen are answered anew each epoch, by what the model has become."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        done = [Match.__call__(replace(self, epochs=1), model, forget=forget, retain=retain, unseen=unseen) for _ in range(self.epochs)]
        return Trace.of(*(phase for trace in done for phase in trace.values()))


@breaks(laws.check_what_it_comes_to_is_the_originals_and_carries_no_gradient)
@dataclass(frozen=True)
class TargetsWithGradients(Match):
    """As the published MUSE, whose branch of the unseen is not detached."""

    def targets(self, model: Network, forget: Samples, retain: Samples, unseen: Samples) -> dict[int, torch.Tensor]:
        def attached(network: Network, samples: Samples, **how: bool) -> tuple[torch.Tensor, ...]:
            said, labels, features = predict(network, samples, **how)
            return (network(samples.batch(torch.arange(len(samples)))[0]).detach() if samples is unseen else said), labels, features

        with mock.patch.object(match, "predict", attached), torch.enable_grad():
            return super().targets(model, forget, retain, unseen)


@breaks(laws.check_samples_are_held_to_the_answers_of_their_target)
@dataclass(frozen=True)
class HoldsAllToAll(Match):
    def targets(self, model: Network, forget: Samples, retain: Samples, unseen: Samples) -> dict[int, torch.Tensor]:
        whole = replace(self, target="any").targets(model, forget, retain, unseen) if self.target != "any" else None
        return Match.targets(self, model, forget, retain, unseen) if whole is None else dict.fromkeys(forget.classes, whole[0])


@breaks(laws.check_samples_are_held_to_the_answers_of_their_target)
@dataclass(frozen=True)
class TheLabelsOfTheUnseenAreShifted(Match):
    def targets(self, model: Network, forget: Samples, retain: Samples, unseen: Samples) -> dict[int, torch.Tensor]:
        return super().targets(model, forget, retain, unseen.labelled(unseen.y.roll(1)))


@breaks(laws.check_unseen_samples_that_were_seen_are_refused)
@dataclass(frozen=True)
class LooksAtTheForgottenAlone(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        real = match.refuse_shared
        with mock.patch.object(match, "refuse_shared", lambda held, *, called, forget, retain: real(held, called=called, forget=forget)):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)


@breaks(laws.check_unseen_samples_that_were_seen_are_refused)
@dataclass(frozen=True)
class LooksAtTheRetainedAlone(Match):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        real = match.refuse_shared
        with mock.patch.object(match, "refuse_shared", lambda held, *, called, forget, retain: real(held, called=called, retain=retain)):
            return super().__call__(model, forget=forget, retain=retain, unseen=unseen)
