"""Methods that see what they do not name, or name what they do not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mutants.breaking import breaks
from untrain import checks
from untrain.checks import Case, SmallRecipe
from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace, fit, predict
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggrad import NegGrad
from untrain.methods.retrain import Retrain

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


@breaks(checks.check_no_image_that_it_does_not_name_passes_through_a_network)
def reads_a_copy_of_what_is_retained(case: Case) -> Method:
    """A copy of the data, as a cache of an earlier run would hold it: spoiling the case's own does not reach it."""
    kept = Case.fresh().prepared.retain

    class Mutated(NegGrad):
        def __call__(self, model: Network, *, forget: Samples) -> Trace:
            return Trace.of(*super().__call__(model, forget=forget).values(), fit(model, kept, phase="mend", lr=1e-3, epochs=1, batch=16, augment=True))

    return Mutated()


@breaks(checks.check_no_image_that_it_does_not_name_passes_through_a_network)
def looks_at_a_copy_of_the_test(case: Case) -> Method:
    kept = Case.fresh().prepared.test

    class Mutated(NegGrad):
        def __call__(self, model: Network, *, forget: Samples) -> Trace:
            predict(model, kept)
            return super().__call__(model, forget=forget)

    return Mutated()


@breaks(checks.check_it_takes_as_many_of_each_class_as_a_field_says)
@dataclass(frozen=True)
class TakesTheFirst(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return super().__call__(model, retain=retain[: self.samples])


@breaks(checks.check_it_takes_as_many_of_each_class_as_a_field_says)
@dataclass(frozen=True)
class TakesOneSampleMore(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        return replace(FineTune(), samples=10**9)(model, retain=retain.at_most(self.samples) + retain[-1:])


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


@breaks(checks.check_the_order_of_classes_is_nothing_to_it)
@dataclass(frozen=True)
class RowsInTheOrderGiven(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        for label in classes:
            model.head.redraw([label])
        return Trace()
