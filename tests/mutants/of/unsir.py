"""UNSIR, broken."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal
from unittest import mock

import torch
import torch.nn.functional as F

from mutants.breaking import bent, breaks, turned
from untrain import checks
from untrain.checks.of import unsir as laws
from untrain.core import site as site_module
from untrain.core.data import Samples
from untrain.core.engine import current
from untrain.core.method import Move
from untrain.core.network import Network
from untrain.core.site import Site
from untrain.core.train import Phase, Trace, fit, minimize
from untrain.methods.unsir import UNSIR


@breaks(checks.check_every_field_is_used)
@dataclass(frozen=True)
class TemperatureNeverRead(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        return UNSIR.repair_on(replace(self, temperature=4.0), model, teacher, kept, classes)


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class DeclaresWhatItLeaves(UNSIR):
    new_row: bool = False

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        return dict(model.head.rows(classes))


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class ImpairsUpwards(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class RepairsUpwards(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        with bent("kl_div", turned):
            return super().repair_on(model, teacher, kept, classes)


@breaks(checks.check_each_phase_moves_what_it_declares)
@dataclass(frozen=True)
class NeverTakesThePhaseItDeclares(UNSIR):
    moves: ClassVar = {**UNSIR.moves, "heal": Move(-1)}


@breaks(checks.check_the_order_of_classes_is_nothing_to_it)
@dataclass(frozen=True)
class NoiseInTheOrderGiven(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        kept = retain.at_most(self.samples)
        noise, learned = self.learn_noise(self.site_in(model, kept), kept, classes)
        return Trace.of(*learned, fit(model, kept + noise, phase="impair", lr=self.impair_lr, epochs=self.impair_epochs, batch=self.batch))


@breaks(laws.check_learned_noise_is_what_the_model_errs_on)
@dataclass(frozen=True)
class NoiseThatLooksLikeTheClass(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        with bent("cross_entropy", turned):
            return super().learn_noise(site, kept, classes)


@breaks(laws.check_learned_noise_is_what_the_model_errs_on)
@dataclass(frozen=True)
class NoisePressedToBlack(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return UNSIR.learn_noise(replace(self, penalty=self.penalty * 3072 / 64), site, kept, classes)


@breaks(laws.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseLabelledWithTheFirst(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        noise, phases = super().learn_noise(site, kept, classes)
        x, y = noise.batch(torch.arange(len(noise)))
        return Samples(x, torch.full_like(y, classes[0])), phases


@breaks(laws.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseLabelsSwapped(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        noise, phases = super().learn_noise(site, kept, classes)
        x, y = noise.batch(torch.arange(len(noise)))
        return Samples(x, sum(classes) - y), phases


@breaks(laws.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseLearnedForAnother(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        with bent("cross_entropy", lambda loss: lambda out, y: loss(out, (y + 1) % 5)):
            return super().learn_noise(site, kept, classes)


@breaks(laws.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseRelabelledForImpair(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        kept = retain.at_most(self.samples)
        noise, learned = self.learn_noise(self.site_in(model, kept), kept, classes)
        x, y = noise.batch(torch.arange(len(noise)))
        return Trace.of(*learned, fit(model, kept + Samples(x, y.flip(0)), phase="impair", lr=self.impair_lr, epochs=self.impair_epochs, batch=self.batch))


@breaks(laws.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class NoiseCountedPerClass(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return UNSIR.learn_noise(replace(self, noise=self.noise * len(classes)), site, kept, classes)


@breaks(laws.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class RemainderToTheHighest(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return super().learn_noise(site, kept, classes[::-1])


@breaks(laws.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class RemainderDropped(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        even = round(self.noise * len(kept)) // len(classes) * len(classes)
        return UNSIR.learn_noise(replace(self, noise=even / len(kept)), site, kept, classes)


@breaks(laws.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class CountCutNotRounded(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return UNSIR.learn_noise(replace(self, noise=int(self.noise * len(kept)) / len(kept)), site, kept, classes)


@breaks(laws.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class ImpairsOnAllThatIsRetained(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        noise, learned = self.learn_noise(self.site_in(model, retain), retain.at_most(self.samples), classes)
        return Trace.of(*learned, fit(model, retain + noise, phase="impair", lr=self.impair_lr, epochs=self.impair_epochs, batch=self.batch))


@breaks(laws.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class CopiesWithoutEnd(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return UNSIR.learn_noise(replace(self, copies=10**6), site, kept, classes)


@breaks(laws.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class ImpairsOnNoiseAlone(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        kept = retain.at_most(self.samples)
        noise, learned = self.learn_noise(self.site_in(model, kept), kept, classes)
        return Trace.of(*learned, fit(model, noise, phase="impair", lr=self.impair_lr, epochs=self.impair_epochs, batch=self.batch))


@breaks(laws.check_the_noise_step_leaves_the_model_alone)
@dataclass(frozen=True)
class NoiseLearnedInTrainingMode(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        site.model.train()
        with mock.patch.object(site.model, "frozen", contextlib.nullcontext):
            return super().learn_noise(site, kept, classes)


@breaks(laws.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseLearnedInTrainingModeAndMended(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        state = copy.deepcopy(site.model.module.state_dict())
        site.model.train()
        with mock.patch.object(site.model, "frozen", contextlib.nullcontext):
            learned = super().learn_noise(site, kept, classes)
        site.model.module.load_state_dict(state)
        return learned


@breaks(laws.check_the_noise_step_leaves_the_model_alone)
@dataclass(frozen=True)
class NoiseLearnedInTheModeThatCame(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        with mock.patch.object(site.model, "frozen", contextlib.nullcontext):
            return super().learn_noise(site, kept, classes)


@breaks(laws.check_the_noise_step_leaves_the_model_alone)
@dataclass(frozen=True)
class NoiseThatMovesWeights(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        def both(loss: Any, parameters: Any, batches: Any, **how: Any) -> Phase:
            return minimize(loss, [*parameters, *site.model.parameters()], batches, **how)

        with mock.patch.object(site.model, "frozen", contextlib.nullcontext), mock.patch("untrain.core.noise.minimize", both):
            site.model.eval()
            return super().learn_noise(site, kept, classes)


@breaks(laws.check_the_noise_step_leaves_the_model_alone)
@dataclass(frozen=True)
class NoiseThatGathersGradients(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        noise, phases = super().learn_noise(site, kept, classes)
        site.model.eval()
        x, y = noise.batch(torch.arange(len(noise)))
        F.cross_entropy(site.model(x), y).backward()
        return noise, phases


@breaks(laws.check_without_noise_it_is_two_finetunes)
@dataclass(frozen=True)
class LearningNothingIsACall(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        if not round(self.noise * len(kept)):
            current().call()
        return super().learn_noise(site, kept, classes)


@breaks(laws.check_without_noise_it_is_two_finetunes)
@dataclass(frozen=True)
class RowDrawnAllTheSame(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        model.head.redraw(classes)
        return super().repair_on(model, teacher, kept, classes)


@breaks(laws.check_without_noise_it_is_two_finetunes)
@dataclass(frozen=True)
class RepairsOnAllThatIsRetained(UNSIR):
    samples: int = 24

    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        trace = UNSIR.__call__(replace(self, repair_epochs=0), model, retain=retain, classes=classes)
        return Trace({**trace, "repair": self.repair_on(model, model.teacher(), retain, classes)})


@breaks(laws.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherAliased(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        return super().repair_on(model, model, kept, classes)


@breaks(laws.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherSharesWeights(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        def shallow() -> Network:
            module = copy.copy(model.module)
            module._modules = {name: copy.copy(part) for name, part in module._modules.items()}
            return Network(module.eval())

        with mock.patch.object(model, "teacher", shallow):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherCopiedTooLate(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        return super().repair_on(model, model.teacher(), kept, classes)


@breaks(laws.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherInTrainingMode(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        teacher.train()
        return super().repair_on(model, teacher, kept, classes)


@breaks(laws.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherThatNamesTheForgotten(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        with mock.patch.object(torch.Tensor, "index_fill", lambda logits, *_: logits):
            return super().repair_on(model, teacher, kept, classes)


@breaks(laws.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class StudentInEvaluationMode(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        with mock.patch.object(model, "train", model.eval):
            return super().repair_on(model, teacher, kept, classes)


@breaks(laws.check_a_control_of_the_noise_is_what_it_says)
@dataclass(frozen=True)
class WrongSignTheRightWay(UNSIR):
    kind: Literal["maximizing", "minimizing", "black"] = "minimizing"

    def learned(self, site: Site, kept: Samples, labels: torch.Tensor) -> tuple[torch.Tensor, list[Phase]]:
        with bent("cross_entropy", turned):
            return super().learned(site, kept, labels)


@breaks(laws.check_a_control_of_the_noise_is_what_it_says)
@dataclass(frozen=True)
class BlackThatIsNoise(UNSIR):
    kind: Literal["maximizing", "minimizing", "black"] = "black"

    def learned(self, site: Site, kept: Samples, labels: torch.Tensor) -> tuple[torch.Tensor, list[Phase]]:
        return torch.randn(len(labels), *kept.shape), []


# The floor of steps


@breaks(laws.check_few_samples_are_gone_over_until_the_floor)
@dataclass(frozen=True)
class FloorNeverRead(UNSIR):
    def passes(self, n: int, epochs: int, floor: int) -> tuple[int, int]:
        return epochs, self.batch


@breaks(laws.check_few_samples_are_gone_over_until_the_floor)
@dataclass(frozen=True)
class FloorOfTheRepairAlone(UNSIR):
    def passes(self, n: int, epochs: int, floor: int) -> tuple[int, int]:
        return UNSIR.passes(self, n, epochs, floor if floor == self.floor else 0)


@breaks(laws.check_few_samples_are_gone_over_until_the_floor)
@dataclass(frozen=True)
class FloorOnSomeOfTheSamples(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        return UNSIR.repair_on(self, model, teacher, kept[: len(kept) // 2] if self.floor else kept, classes)


# What is shrunk


@breaks(laws.check_the_body_is_shrunk_between_impair_and_repair)
@dataclass(frozen=True)
class ShrinksTheHeadToo(UNSIR):
    def body(self, model: Network) -> dict[str, torch.nn.Parameter]:
        return {name: weight for name, weight in model.named_parameters().items() if weight.ndim > 1}


@breaks(laws.check_the_body_is_shrunk_between_impair_and_repair)
@dataclass(frozen=True)
class ShrinksBeforeItRenews(UNSIR):
    def shrunk(self, model: Network, kept: Samples) -> list[Phase]:
        with mock.patch("untrain.methods.unsir.renew"):
            return super().shrunk(model, kept)


@breaks(laws.check_the_body_is_shrunk_between_impair_and_repair)
@dataclass(frozen=True)
class ShrinksBeforeTheImpair(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        self.shrunk(model, retain)
        return UNSIR.__call__(replace(self, shrink=0.0), model, retain=retain, classes=classes)


@breaks(laws.check_the_body_is_shrunk_between_impair_and_repair)
@dataclass(frozen=True)
class AddsToWhatItDoesNotShrink(UNSIR):
    def shrunk(self, model: Network, kept: Samples) -> list[Phase]:
        for weight in self.body(model).values():
            weight.data /= max(1e-6, 1 - self.shrink)
        return super().shrunk(model, kept)


# Noise at a layer


@contextlib.contextmanager
def entered(change: Any) -> Iterator[None]:
    """What the batches of a site hold, changed."""
    whole = site_module._entries

    def other(x: Any, values: torch.Tensor, *, enters: bool) -> dict[str, torch.Tensor]:
        made = whole(x, values, enters=enters)
        return made | change(made)

    with mock.patch.object(site_module, "_entries", other):
        yield


@breaks(laws.check_noise_at_a_layer_that_hands_on_is_noise_at_the_input)
@dataclass(frozen=True)
class NothingEnters(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with entered(lambda made: {"untrain.enters": torch.zeros_like(made["untrain.enters"])}):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_noise_at_a_layer_that_hands_on_is_noise_at_the_input)
@dataclass(frozen=True)
class RetainedSamplesEnterToo(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with entered(lambda made: {"untrain.enters": torch.ones_like(made["untrain.enters"])}):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_noise_at_a_layer_that_hands_on_is_noise_at_the_input)
@dataclass(frozen=True)
class NoiseAddedToWhatTheLayerGives(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with mock.patch.object(site_module.torch, "where", lambda enters, values, out: out + enters * values):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(laws.check_noise_of_token_ids_is_learned_and_met_at_their_embedding)
@dataclass(frozen=True)
class NoiseThatMovesTheTable(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        made = super().learn_noise(site, kept, classes)
        if site.layer is not None:
            table = site.model.module.get_submodule(site.layer).weight
            with torch.no_grad():
                table[:3] += made[0].batch(torch.arange(1))[0]["untrain.values"][0, :3]
        return made


@breaks(laws.check_noise_of_token_ids_is_learned_and_met_at_their_embedding)
@dataclass(frozen=True)
class NoiseUnderTheLabelOfItsCarrier(UNSIR):
    def learn_noise(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        noise, phases = super().learn_noise(site, kept, classes)
        return noise if site.layer is None else noise.labelled(kept.y[torch.arange(len(noise)) % len(kept)]), phases


@breaks(laws.check_noise_of_token_ids_is_learned_and_met_at_their_embedding)
@dataclass(frozen=True)
class NoiseAtTheLayerAfter(UNSIR):
    def site_in(self, model: Network, kept: Samples) -> Site:
        found = super().site_in(model, kept)
        return found if found.layer is None else site_module.site_of(model, kept, "body.1")
