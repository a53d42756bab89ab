"""Laws of `OPC`: the forgotten's logits shrink to a point, by a plain loop."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from untrain.checks.case import GONE, Case
from untrain.checks.plain import hold, shown, stepped, stepper_of
from untrain.checks.running import LawBroken, left_by, several_batches


def check_the_logits_of_the_forgotten_shrink(method: Any, case: Case | None = None) -> None:
    """Behind it the forget set's logits are a third shorter, in evaluation mode, beside the retain set's than they were."""
    law, case = check_the_logits_of_the_forgotten_shrink, case or Case.fresh()
    ratios = []
    for module in (case.model, left_by(law, method, case)):
        module = copy.deepcopy(module).eval()
        with torch.no_grad():
            gone, kept = (float(module(part.batch(torch.arange(len(part)))[0]).norm(dim=1).mean()) for part in (case.prepared.forget, case.prepared.retain))
        ratios.append(gone / kept)
    if not ratios[1] < ratios[0] * 2 / 3:
        raise LawBroken(law, method, f"takes the forgotten's logits from {ratios[0]:.2f} to {ratios[1]:.2f} of the retained ones' length")


def check_the_contraction_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop, the forgotten batch first, comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_contraction_is_the_naive_loop, case or Case.fresh()
    method = several_batches(method)
    student, left, steps = shown(method, case)
    stepper = stepper_of(method, list(student.train().parameters()))
    for kept, forgotten in zip(steps[::2], steps[1::2], strict=True):
        (x, y), (gone, true) = (kept.x, kept.y), (forgotten.x, forgotten.y)
        if torch.isin(y, torch.tensor(GONE)).any() or not torch.isin(true, torch.tensor(GONE)).all():
            raise LawBroken(law, method, "does not set forgotten samples beside retained ones")
        length: Tensor = student(gone).square().sum(1).sqrt().mean()
        stepped(stepper, length - torch.log_softmax(student(x), 1)[torch.arange(len(y)), y].mean())
    hold(law, method, left, student)
