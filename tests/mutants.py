"""Broken methods, each with the law that catches it.

`breaks(law)` stands over each: over a class that is broken by itself, or over a function of the case for one
that needs hold of the model or the data that it should not see.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

from untrain import checks
from untrain.checks import Case, Law, SmallRecipe
from untrain.core.data import Samples
from untrain.core.engine import current
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Phase, Trace, fit, minimize
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggrad import NegGrad
from untrain.methods.nothing import Nothing
from untrain.methods.retrain import Retrain
from untrain.methods.unsir import UNSIR


@dataclass(frozen=True)
class Mutant:
    law: Law
    make: Callable[[Case], Method]
    lazy: bool


MUTANTS: dict[str, Mutant] = {}


def breaks(law: Law, *, lazy: bool = False) -> Callable[[Any], Any]:
    def enter(broken: Any) -> Any:
        MUTANTS[broken.__name__] = Mutant(law, (lambda case: broken()) if isinstance(broken, type) else broken, lazy)
        return broken

    return enter


@contextlib.contextmanager
def bent(name: str, change: Callable[[Any], Callable[..., Any]]) -> Iterator[None]:
    """A function of `torch.nn.functional` changed for as long as the block runs."""
    with mock.patch.object(F, name, change(getattr(F, name))):
        yield


def turned(loss: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: -loss(*args, **named)


# Documentation, fields, repr


@breaks(checks.check_every_field_is_documented)
@dataclass(frozen=True)
class FieldUndocumented(NegGrad):
    """Climb.

    Args:
        lr: Learning rate.
    """

    clip: float = 1.0


@breaks(checks.check_every_field_is_documented)
@dataclass(frozen=True)
class PhantomDocumented(FineTune):
    """Train on.

    Args:
        momentum: Of sgd.
    """


@breaks(checks.check_the_knobs_that_it_names_are_its_own)
@dataclass(frozen=True)
class KnobOfAnother(NegGrad):
    knobs: ClassVar = {"collapsed": {"impair_lr": -1}}


@breaks(checks.check_the_knobs_that_it_names_are_its_own)
@dataclass(frozen=True)
class KnobWithoutAWay(NegGrad):
    knobs: ClassVar = {"collapsed": {"lr": 0}}


@breaks(checks.check_the_knobs_that_it_names_are_its_own)
@dataclass(frozen=True)
class KnobForNoFailure(NegGrad):
    knobs: ClassVar = {"slow": {"lr": +1}}


@breaks(checks.check_the_knobs_that_it_names_are_its_own)
@dataclass(frozen=True)
class KnobThatIsAWord(NegGrad):
    knobs: ClassVar = {"collapsed": {"optimizer": -1}}


@breaks(checks.check_the_repr_is_python)
@dataclass(frozen=True)
class FieldHiddenFromRepr(HeadOnly):
    low: float = field(default=-1e4, repr=False)

    def __post_init__(self) -> None:
        """Refuse nothing."""


@breaks(checks.check_the_repr_is_python)
def field_hidden_and_set(case: Case) -> Method:
    return replace(FieldHiddenFromRepr(), low=-10.0)


MUTANTS.pop("FieldHiddenFromRepr")  # in its default settings, nothing is hidden


@breaks(checks.check_the_repr_is_python)
@dataclass(frozen=True, repr=False)
class ReprInWords(NegGrad):
    def __repr__(self) -> str:
        return f"<NegGrad at {self.lr}>"


@breaks(checks.check_every_field_is_used)
@dataclass(frozen=True)
class RateNeverRead(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        return NegGrad(epochs=self.epochs, batch=self.batch, optimizer=self.optimizer)(model, forget=forget)


@breaks(checks.check_every_field_is_used)
@dataclass(frozen=True)
class TemperatureNeverRead(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        return UNSIR.repair_on(replace(self, temperature=4.0), model, teacher, kept, classes)


@breaks(checks.check_every_field_is_used)
@dataclass(frozen=True)
class FieldThatOnlyGrew(HeadOnly):
    strength: float = 1.0


# The model


@breaks(checks.check_the_given_model_is_left_alone)
def given_weights_changed(case: Case) -> Method:
    class Mutated(FineTune):
        def __call__(self, model: Network, *, retain: Samples) -> Trace:
            trace = super().__call__(model, retain=retain)
            case.model.load_state_dict(model.module.state_dict())
            return trace

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_buffers_changed(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            next(case.model.buffers()).add_(1)
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_mode_changed(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            case.model.eval()
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_model_frozen(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            case.model.requires_grad_(False)
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_model_hooked(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            next(case.model.children()).register_forward_pre_hook(lambda *_: None)
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_gradients_cleared(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            case.model.zero_grad()
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_the_weights_move)
@dataclass(frozen=True)
class OptimizerOverTheWrongModel(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        other, batches = copy.deepcopy(model.module), forget.batches(self.batch, epochs=self.epochs)
        model.train()
        return Trace.of(minimize(lambda x, y: -F.cross_entropy(model(x), y), list(other.parameters()), batches, phase="ascend", lr=self.lr))


@breaks(checks.check_the_weights_move)
@dataclass(frozen=True)
class TrainsACopy(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return super().__call__(Network(copy.deepcopy(model.module)), retain=retain)


@breaks(checks.check_the_weights_move)
@dataclass(frozen=True)
class FrozenForGood(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with model.frozen():
            return super().__call__(model, retain=retain)


@breaks(checks.check_the_weights_move)
@dataclass(frozen=True)
class NothingThatMoves(Nothing):
    def __call__(self, model: Network) -> Trace:
        next(iter(model.parameters())).data.mul_(1.01)
        return Trace()


# What it sees


HELD: list[Case] = []


@dataclass(frozen=True)
class ReadsAGlobal(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return super().__call__(model, retain=retain + HELD[-1].prepared.forget)


def reads_a_global(case: Case) -> Method:
    HELD[:] = [case]
    return ReadsAGlobal()


breaks(checks.check_it_sees_only_what_it_names)(reads_a_global)


def reads_a_closure(part: str) -> Callable[[Case], Method]:
    def make(case: Case) -> Method:
        class Mutated(FineTune):
            def __call__(self, model: Network, *, retain: Samples) -> Trace:
                return super().__call__(model, retain=retain + case.prepared.parts[part])

        return Mutated()

    make.__name__ = f"reads_{part}_through_a_closure"
    return make


for _part in ("forget", "test", "valid"):
    breaks(checks.check_it_sees_only_what_it_names)(reads_a_closure(_part))


@breaks(checks.check_it_sees_only_what_it_names, lazy=True)
def reads_forgotten_images_one_by_one(case: Case) -> Method:
    return reads_a_closure("forget")(case)


@breaks(checks.check_it_sees_only_what_it_names)
def reads_labels_through_a_closure(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            model.head.mask(case.split.forget.classes)
            return Trace()

    return Mutated()


@breaks(checks.check_it_sees_only_what_it_names)
@dataclass(frozen=True)
class ReachesBehindItsPart(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        whole = retain.sources[0]
        return super().__call__(model, retain=Samples(whole.x, whole.y, prepare=whole.prepare, augment=whole.augment))


@breaks(checks.check_it_sees_only_what_it_names)
def reads_unnamed_classes(case: Case) -> Method:
    class Mutated(FineTune):
        def __call__(self, model: Network, *, retain: Samples) -> Trace:
            model.head.mask(case.split.classes)
            return super().__call__(model, retain=retain)

    return Mutated()


@breaks(checks.check_it_sees_only_what_it_names)
def uses_an_unnamed_recipe(case: Case) -> Method:
    class Mutated(FineTune):
        def __call__(self, model: Network, *, retain: Samples) -> Trace:
            case.recipe.train(model, retain)
            return super().__call__(model, retain=retain)

    return Mutated()


@breaks(checks.check_it_sees_only_what_it_names)
@dataclass(frozen=True)
class NamesTheTest(FineTune):
    def __call__(self, model: Network, *, retain: Samples, test: Samples) -> Trace:
        return super().__call__(model, retain=retain + test)


@breaks(checks.check_each_part_that_it_names_matters)
@dataclass(frozen=True)
class NamesMoreThanItReads(FineTune):
    def __call__(self, model: Network, *, retain: Samples, forget: Samples) -> Trace:
        return super().__call__(model, retain=retain)


@breaks(checks.check_each_part_that_it_names_matters)
@dataclass(frozen=True)
class AlwaysTheSameClasses(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        return super().__call__(model, classes=(0, 2))


@breaks(checks.check_each_part_that_it_names_matters)
@dataclass(frozen=True)
class RecipeOfItsOwn(Retrain):
    def __call__(self, model: Network, *, retain: Samples, recipe: Any) -> Trace:
        return super().__call__(model, retain=retain, recipe=SmallRecipe())


# Seeds and random state


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


# What is left behind


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesGradients(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        trace = super().__call__(model, retain=retain)
        x, y = retain.batch(torch.arange(4))
        F.cross_entropy(model(x), y).backward()
        return trace


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesAHook(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.layer.register_forward_pre_hook(lambda *_: None)
        return super().__call__(model, classes=classes)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesAHookOnAWeight(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.layer.weight.register_hook(lambda gradient: gradient * 0)
        return super().__call__(model, classes=classes)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesGradientsOff(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        torch.set_grad_enabled(False)
        return super().__call__(model, classes=classes)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesADefaultType(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        torch.set_default_dtype(torch.float64)
        return super().__call__(model, classes=classes)


_steppers: list[torch.optim.Optimizer] = []


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesAnOptimizer(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        _steppers[:] = [torch.optim.SGD(model.parameters(), lr=self.lr)]
        return super().__call__(model, retain=retain)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesABuffer(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.module.register_buffer("forgotten", torch.tensor(classes))
        return super().__call__(model, classes=classes)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesWeightsOfAnotherType(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        trace = super().__call__(model, classes=classes)
        model.module.double()
        return trace


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class RelabelsTheData(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        trace = super().__call__(model, forget=forget)
        forget.sources[0].y[forget.index] = 1
        return trace


# Numbers


@breaks(checks.check_every_number_that_it_leaves_is_finite)
@dataclass(frozen=True)
class MasksWithInfinity(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.mask(classes, low=-float("inf"))
        return Trace()


@breaks(checks.check_every_number_that_it_leaves_is_finite)
@dataclass(frozen=True)
class AnswersWithInfinity(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.layer.weight.data.mul_(1e38)
        return super().__call__(model, classes=classes)


# No steps


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class ShakesTheWeightsFirst(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        for weight in model.parameters():
            weight.data.add_(1e-3 * torch.randn_like(weight))
        return super().__call__(model, forget=forget)


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class TakesAStepTooMany(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return FineTune.__call__(replace(self, epochs=self.epochs + 1), model, retain=retain)


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class RefreshesBatchNorm(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        trace = super().__call__(model, retain=retain)
        model.train()
        with torch.no_grad():
            model(retain.batch(torch.arange(16))[0])
        return trace


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class EditsUndeclared(HeadOnly):
    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        return {}


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class EditsOtherRows(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        return super().__call__(model, classes=(*classes, 4))


@breaks(checks.check_without_steps_it_changes_what_it_edits_and_nothing_else)
@dataclass(frozen=True)
class DeclaresWhatItLeaves(UNSIR):
    new_row: bool = False

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        return dict(model.head.rows(classes))


@breaks(checks.check_retrain_without_steps_is_the_network_as_built)
@dataclass(frozen=True)
class KeepsATensor(Retrain):
    def __call__(self, model: Network, *, retain: Samples, recipe: Any) -> Trace:
        kept = model.named_parameters()["conv1.weight"].detach().clone()
        trace = super().__call__(model, retain=retain, recipe=recipe)
        model.named_parameters()["conv1.weight"].data.copy_(kept)
        return trace


@breaks(checks.check_retrain_without_steps_is_the_network_as_built)
@dataclass(frozen=True)
class StartsFromTheOriginal(Retrain):
    def __call__(self, model: Network, *, retain: Samples, recipe: Any) -> Trace:
        return Trace.of(recipe.train(model, retain))


@breaks(checks.check_retrain_without_steps_is_the_network_as_built)
@dataclass(frozen=True)
class BuildsAtASeedOfItsOwn(Retrain):
    def __call__(self, model: Network, *, retain: Samples, recipe: Any) -> Trace:
        torch.manual_seed(0)
        return super().__call__(model, retain=retain, recipe=recipe)


# Directions


@breaks(checks.check_a_small_first_step_moves_the_loss_as_declared)
@dataclass(frozen=True)
class Descends(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, forget=forget)


@breaks(checks.check_a_small_first_step_moves_the_loss_as_declared)
@dataclass(frozen=True)
class Ascends(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, retain=retain)


@breaks(checks.check_a_small_first_step_moves_the_loss_as_declared)
@dataclass(frozen=True)
class ImpairsUpwards(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(checks.check_a_small_first_step_moves_the_loss_as_declared)
@dataclass(frozen=True)
class RepairsUpwards(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        with bent("kl_div", turned):
            return super().repair_on(model, teacher, kept, classes)


@breaks(checks.check_a_small_first_step_moves_the_loss_as_declared)
@dataclass(frozen=True)
class SaysNothingOfItsDirection(NegGrad):
    moves: ClassVar = {}


@breaks(checks.check_a_small_first_step_moves_the_loss_as_declared)
@dataclass(frozen=True)
class NeverTakesThePhaseItDeclares(UNSIR):
    moves: ClassVar = {**UNSIR.moves, "heal": -1}


# UNSIR


@breaks(checks.check_the_order_of_classes_is_nothing_to_it)
@dataclass(frozen=True)
class NoiseInTheOrderGiven(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        kept = retain.at_most(self.samples)
        noise, learned = self.learn_noise(model, kept, classes)
        return Trace.of(*learned, fit(model, kept + noise, phase="impair", lr=self.impair_lr, epochs=self.impair_epochs, batch=self.batch))


@breaks(checks.check_the_order_of_classes_is_nothing_to_it)
@dataclass(frozen=True)
class RowsInTheOrderGiven(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        for label in classes:
            model.head.redraw([label])
        return Trace()


@breaks(checks.check_learned_noise_is_what_the_model_errs_on)
@dataclass(frozen=True)
class NoiseThatLooksLikeTheClass(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        with bent("cross_entropy", turned):
            return super().learn_noise(model, kept, classes)


@breaks(checks.check_learned_noise_is_what_the_model_errs_on)
@dataclass(frozen=True)
class NoisePressedToBlack(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return UNSIR.learn_noise(replace(self, penalty=self.penalty * 3072 / 64), model, kept, classes)


@breaks(checks.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseLabelledWithTheFirst(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        noise, phases = super().learn_noise(model, kept, classes)
        x, y = noise.batch(torch.arange(len(noise)))
        return Samples(x, torch.full_like(y, classes[0])), phases


@breaks(checks.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseLabelsSwapped(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        noise, phases = super().learn_noise(model, kept, classes)
        x, y = noise.batch(torch.arange(len(noise)))
        return Samples(x, sum(classes) - y), phases


@breaks(checks.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseLearnedForAnother(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        with bent("cross_entropy", lambda loss: lambda out, y: loss(out, (y + 1) % 5)):
            return super().learn_noise(model, kept, classes)


@breaks(checks.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseRelabelledForImpair(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        kept = retain.at_most(self.samples)
        noise, learned = self.learn_noise(model, kept, classes)
        x, y = noise.batch(torch.arange(len(noise)))
        return Trace.of(*learned, fit(model, kept + Samples(x, y.flip(0)), phase="impair", lr=self.impair_lr, epochs=self.impair_epochs, batch=self.batch))


@breaks(checks.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class NoiseCountedPerClass(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return UNSIR.learn_noise(replace(self, noise=self.noise * len(classes)), model, kept, classes)


@breaks(checks.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class RemainderToTheHighest(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return super().learn_noise(model, kept, classes[::-1])


@breaks(checks.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class RemainderDropped(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        even = round(self.noise * len(kept)) // len(classes) * len(classes)
        return UNSIR.learn_noise(replace(self, noise=even / len(kept)), model, kept, classes)


@breaks(checks.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class CountCutNotRounded(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return UNSIR.learn_noise(replace(self, noise=int(self.noise * len(kept)) / len(kept)), model, kept, classes)


@breaks(checks.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class ImpairsOnAllThatIsRetained(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        noise, learned = self.learn_noise(model, retain.at_most(self.samples), classes)
        return Trace.of(*learned, fit(model, retain + noise, phase="impair", lr=self.impair_lr, epochs=self.impair_epochs, batch=self.batch))


@breaks(checks.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class CopiesWithoutEnd(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        return UNSIR.learn_noise(replace(self, copies=10**6), model, kept, classes)


@breaks(checks.check_the_count_of_noise_is_right)
@dataclass(frozen=True)
class ImpairsOnNoiseAlone(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        kept = retain.at_most(self.samples)
        noise, learned = self.learn_noise(model, kept, classes)
        return Trace.of(*learned, fit(model, noise, phase="impair", lr=self.impair_lr, epochs=self.impair_epochs, batch=self.batch))


@breaks(checks.check_the_noise_step_leaves_the_model_alone)
@dataclass(frozen=True)
class NoiseLearnedInTrainingMode(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        model.train()
        with mock.patch.object(model, "frozen", contextlib.nullcontext):
            return super().learn_noise(model, kept, classes)


@breaks(checks.check_noise_carries_the_class_that_it_was_learned_for)
@dataclass(frozen=True)
class NoiseLearnedInTrainingModeAndMended(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        state = copy.deepcopy(model.module.state_dict())
        model.train()
        with mock.patch.object(model, "frozen", contextlib.nullcontext):
            learned = super().learn_noise(model, kept, classes)
        model.module.load_state_dict(state)
        return learned


@breaks(checks.check_the_noise_step_leaves_the_model_alone)
@dataclass(frozen=True)
class NoiseLearnedInTheModeThatCame(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        with mock.patch.object(model, "frozen", contextlib.nullcontext):
            return super().learn_noise(model, kept, classes)


@breaks(checks.check_the_noise_step_leaves_the_model_alone)
@dataclass(frozen=True)
class NoiseThatMovesWeights(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        def both(loss: Any, parameters: Any, batches: Any, **how: Any) -> Phase:
            return minimize(loss, [*parameters, *model.parameters()], batches, **how)

        with mock.patch.object(model, "frozen", contextlib.nullcontext), mock.patch("untrain.methods.unsir.minimize", both):
            model.eval()
            return super().learn_noise(model, kept, classes)


@breaks(checks.check_the_noise_step_leaves_the_model_alone)
@dataclass(frozen=True)
class NoiseThatGathersGradients(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        noise, phases = super().learn_noise(model, kept, classes)
        model.eval()
        x, y = noise.batch(torch.arange(len(noise)))
        F.cross_entropy(model(x), y).backward()
        return noise, phases


@breaks(checks.check_without_noise_it_is_two_finetunes)
@dataclass(frozen=True)
class LearningNothingIsACall(UNSIR):
    def learn_noise(self, model: Network, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        if not round(self.noise * len(kept)):
            current().call()
        return super().learn_noise(model, kept, classes)


@breaks(checks.check_without_noise_it_is_two_finetunes)
@dataclass(frozen=True)
class RowDrawnAllTheSame(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        model.head.redraw(classes)
        return super().repair_on(model, teacher, kept, classes)


@breaks(checks.check_without_noise_it_is_two_finetunes)
@dataclass(frozen=True)
class RepairsOnAllThatIsRetained(UNSIR):
    samples: int = 24

    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        trace = UNSIR.__call__(replace(self, repair_epochs=0), model, retain=retain, classes=classes)
        return Trace({**trace, "repair": self.repair_on(model, model.teacher(), retain, classes)})


@breaks(checks.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherAliased(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        return super().repair_on(model, model, kept, classes)


@breaks(checks.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherSharesWeights(UNSIR):
    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        def shallow() -> Network:
            module = copy.copy(model.module)
            module._modules = {name: copy.copy(part) for name, part in module._modules.items()}
            return Network(module.eval())

        with mock.patch.object(model, "teacher", shallow):
            return super().__call__(model, retain=retain, classes=classes)


@breaks(checks.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherCopiedTooLate(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        return super().repair_on(model, model.teacher(), kept, classes)


@breaks(checks.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherInTrainingMode(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        teacher.train()
        return super().repair_on(model, teacher, kept, classes)


@breaks(checks.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class TeacherThatNamesTheForgotten(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        with mock.patch.object(torch.Tensor, "index_fill", lambda logits, *_: logits):
            return super().repair_on(model, teacher, kept, classes)


@breaks(checks.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class StudentInEvaluationMode(UNSIR):
    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        with mock.patch.object(model, "train", model.eval):
            return super().repair_on(model, teacher, kept, classes)


# UNSIR's controls, and its aimed repair


@breaks(checks.check_a_control_of_the_noise_is_what_it_says)
@dataclass(frozen=True)
class WrongSignTheRightWay(UNSIR):
    kind: Literal["maximizing", "minimizing", "black"] = "minimizing"

    def learned(self, model: Network, kept: Samples, labels: torch.Tensor) -> tuple[torch.Tensor, list[Phase]]:
        with bent("cross_entropy", turned):
            return super().learned(model, kept, labels)


@breaks(checks.check_a_control_of_the_noise_is_what_it_says)
@dataclass(frozen=True)
class BlackThatIsNoise(UNSIR):
    kind: Literal["maximizing", "minimizing", "black"] = "black"

    def learned(self, model: Network, kept: Samples, labels: torch.Tensor) -> tuple[torch.Tensor, list[Phase]]:
        return torch.randn(len(labels), *kept.shape), []


@breaks(checks.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class AimsTheOtherWay(UNSIR):
    aimed: float = 0.5

    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        with bent("cross_entropy", turned):
            return super().repair_on(model, teacher, kept, classes)


@breaks(checks.check_the_distilled_repair_is_the_naive_loop)
@dataclass(frozen=True)
class AimsByWhatItBecomes(UNSIR):
    aimed: float = 0.5

    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        return super().repair_on(model, model, kept, classes)
