"""Laws of NegGrad: it is a plain loop up the loss of the forgotten; and what it is excused from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from untrain.checks.case import GONE, Case
from untrain.checks.forgetting import check_it_forgets_what_it_is_told_to
from untrain.checks.plain import cross_entropy, follow, hold, shown, stepper_of
from untrain.checks.running import Law, LawBroken, several_batches


def check_the_climb_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop up the mean cross-entropy of the forgotten, in training mode, comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_climb_is_the_naive_loop, case or Case.fresh()
    # At the published rate they hardly move.
    method = replace(several_batches(method), lr=0.01)
    student, left, steps = shown(method, case)
    due = method.epochs * len(case.split.forget.batches(method.batch))
    if len(steps) != due or any(not torch.isin(step.y, torch.tensor(GONE)).all() for step in steps):
        raise LawBroken(law, method, f"takes {len(steps)} steps, and not {due} on forgotten samples")
    stepper = stepper_of(method, list(student.train().parameters()))
    follow(steps, student, stepper, lambda student, step: -cross_entropy(student, step.x, step.y))
    hold(law, method, left, student)


EXCEPTIONS: dict[str, dict[Law, str]] = {
    "default": {check_it_forgets_what_it_is_told_to: "Liu et al.'s rate is for thousands of samples: five steps raise the loss from .012 to .015, as BatchNorm's drift does"}
}
