"""Laws of `MUMis`: what the true logit owes to the input falls against what another does, as a plain computation has it."""

from __future__ import annotations

import copy
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from untrain.checks.case import CLASSES, Case
from untrain.checks.plain import hold, shown, stepper_of
from untrain.checks.running import LawBroken, left_by, several_batches
from untrain.methods import mumis


def _held(module: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Squared length of each image's slope of its label's logit, one image after the other."""
    out = []
    for one, label in zip(x, labels.tolist(), strict=True):
        one = one[None].detach().requires_grad_()
        out.append(torch.autograd.grad(module(one)[0, label], one, create_graph=True)[0].square().sum())
    return torch.stack(out)


def check_the_hold_of_the_input_on_the_true_logit_falls(method: Any, case: Case | None = None) -> None:
    """Over the forget set the squared slope of the true logit, less the mean of the others', is lower behind than before."""
    law, case = check_the_hold_of_the_input_on_the_true_logit_falls, case or Case.fresh()
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    found = []
    for module in (case.model, left_by(law, method, case)):
        module = copy.deepcopy(module).eval()
        wrong = torch.stack([_held(module, x, (y + k) % CLASSES) for k in range(1, CLASSES)]).mean(0)
        found.append(float((_held(module, x, y) - wrong).mean().detach()))
    if not found[1] < found[0]:
        raise LawBroken(law, method, f"takes it from {found[0]:.3g} to {found[1]:.3g}")


def check_the_suppression_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """With other classes that are known, a plain loop image by image in evaluation mode comes to the same weights, to 1e-5 of each tensor's norm; buffers stay."""
    law, case = check_the_suppression_is_the_naive_loop, case or Case.fresh()
    method = several_batches(method)
    with mock.patch.object(mumis, "others", lambda y, among: (y + 1) % len(among)):
        student, left, steps = shown(method, case)
    student.eval()
    stepper = stepper_of(method, list(student.parameters()))
    for x, y in ((step.x, step.y) for step in steps):
        stepper.zero_grad()
        torch.autograd.backward((_held(student, x, y) - _held(student, x, (y + 1) % CLASSES)).mean())
        if method.clip:
            torch.nn.utils.clip_grad_norm_(student.parameters(), method.clip)
        stepper.step()
    hold(law, method, left, student)
