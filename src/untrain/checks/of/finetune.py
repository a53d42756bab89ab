"""The law of FineTune: it is a plain loop over the retained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from untrain.checks.case import GONE, Case
from untrain.checks.plain import cross_entropy, follow, hold, shown, stepper_of
from untrain.checks.running import LawBroken, several_batches


def check_the_fine_tuning_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop down the mean cross-entropy of the retained, in training mode, comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_fine_tuning_is_the_naive_loop, case or Case.fresh()
    # A decay that is felt in few steps.
    method = replace(several_batches(method), schedule="constant", weight_decay=0.05)
    student, left, steps = shown(method, case)
    due = method.epochs * len(case.split.retain.at_most(method.samples).batches(method.batch))
    if len(steps) != due or any(torch.isin(step.y, torch.tensor(GONE)).any() for step in steps):
        raise LawBroken(law, method, f"takes {len(steps)} steps, and not {due} on retained samples")
    stepper = stepper_of(method, list(student.train().parameters()))
    follow(steps, student, stepper, lambda student, step: cross_entropy(student, step.x, step.y))
    hold(law, method, left, student)
