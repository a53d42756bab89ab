"""BadTeacher, broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain.checks.of import badteacher as laws
from untrain.checks.teachers import check_its_teachers_stay_what_they_were
from untrain.core.data import Samples
from untrain.core.method import Recipe
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import badteacher
from untrain.methods.badteacher import BadTeacher


@breaks(laws.check_of_the_forgotten_it_comes_to_answer_as_one_that_knows_nothing)
@dataclass(frozen=True)
class TeachersExchanged(BadTeacher):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        real = torch.where
        with mock.patch.object(torch, "where", lambda asked, one, two: real(asked, two, one)):
            return super().__call__(model, forget=forget, retain=retain, recipe=recipe)


@breaks(laws.check_each_sample_has_its_teacher_in_a_plain_loop)
@dataclass(frozen=True)
class TheStudentTeachesItself(BadTeacher):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        with mock.patch.object(model, "teacher", return_value=model):
            return super().__call__(model, forget=forget, retain=retain, recipe=recipe)


@breaks(laws.check_each_sample_has_its_teacher_in_a_plain_loop)
@dataclass(frozen=True)
class LearnsFromAllThatIsKept(BadTeacher):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        with mock.patch.object(Samples, "at_most", lambda samples, n: samples):
            return super().__call__(model, forget=forget, retain=retain, recipe=recipe)


@breaks(laws.check_each_sample_has_its_teacher_in_a_plain_loop)
@dataclass(frozen=True)
class BadTeachingInEvaluationMode(BadTeacher):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        with mock.patch.object(model, "train", model.eval):
            return super().__call__(model, forget=forget, retain=retain, recipe=recipe)


@breaks(check_its_teachers_stay_what_they_were)
@dataclass(frozen=True)
class TeachersInTrainingMode(BadTeacher):
    """The competent teacher's running statistics follow what it is shown."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        real = badteacher.minimize

        def awake(*args: Any, **how: Any) -> Any:
            good.module.train()
            return real(*args, **how)

        good = model.teacher()
        with mock.patch.object(model, "teacher", return_value=good), mock.patch.object(badteacher, "minimize", awake):
            return super().__call__(model, forget=forget, retain=retain, recipe=recipe)
