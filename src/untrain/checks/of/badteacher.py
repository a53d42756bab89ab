"""Laws of BadTeacher: who teaches whom, and that it is a plain loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import Case, KnownRecipe
from untrain.checks.plain import Step, follow, hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, several_batches, watched


def _divergence(told: Tensor, out: Tensor, T: float) -> Tensor:
    p = torch.softmax(told / T, 1)
    return (p * (p.log() - torch.log_softmax(out / T, 1))).sum(1)


def check_each_sample_has_its_teacher_in_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop that follows the untrained network on forgotten images and the original on the others comes to the same weights, to 1e-5 of each tensor's norm."""
    law, case = check_each_sample_has_its_teacher_in_a_plain_loop, case or Case.fresh()
    module, recipe = copy.deepcopy(case.model).double(), KnownRecipe()
    # A temperature of 1 would hide where it is left out.
    method = replace(several_batches(method), augment=False, temperature=1.5)
    left, steps, _ = steps_of(method, case, module=module, recipe=recipe)
    x, _ = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    gone = {image.double().numpy().tobytes() for image in x}
    rows = len(gone) + len(case.split.retain.at_most(round(method.share * len(case.split.retain))))
    if sum(len(step.y) for step in steps) != method.distill_epochs * rows:
        raise LawBroken(law, method, f"is shown {sum(len(step.y) for step in steps)} images, and not {rows} in each of {method.distill_epochs} passes")
    good, bad, student = copy.deepcopy(module).eval(), copy.deepcopy(recipe.module).eval(), module.train()

    def loss(student: nn.Module, step: Step) -> Tensor:
        forgotten = torch.tensor([image.numpy().tobytes() in gone for image in step.x])
        with torch.no_grad():
            # The untrained network computes in its own precision, as it is built.
            told = torch.where(forgotten[:, None], bad(step.x.float()).double(), good(step.x))
        return _divergence(told, student(step.x), method.temperature).mean()

    follow(steps, student, stepper_of(method, list(student.parameters())), loss)
    hold(law, method, left, student)


def check_of_the_forgotten_it_comes_to_answer_as_one_that_knows_nothing(method: Any, case: Case | None = None) -> None:
    """On the forget set its answers are nearer to the untrained network's than the original's are, and nearer to those than to the original's."""
    law, case, recipe = check_of_the_forgotten_it_comes_to_answer_as_one_that_knows_nothing, case or Case.fresh(), KnownRecipe()
    long = replace(method, distill_epochs=4 * method.distill_epochs)
    left = watched(long, case, recipe=recipe)[0].eval()
    x, _ = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    with torch.no_grad():
        bad, good, now = (copy.deepcopy(m).eval()(x) for m in (recipe.module, case.model, left))
        before, after, kept = (float(_divergence(a, b, 1.0).mean()) for a, b in ((bad, good), (bad, now), (good, now)))
    if not after < min(before, kept):
        raise LawBroken(law, method, f"stands {after:.3g} off the untrained network on the forget set, where the original stands {before:.3g} off, and {kept:.3g} off the original")
