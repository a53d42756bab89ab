"""Laws of `TaskVector`: it goes the other way of what fine-tuning on the forgotten would do, as far as it is told, along what its fine-tunings agree on."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from untrain.checks.case import GONE, Case
from untrain.checks.plain import hold, shown, stepped, stepper_of
from untrain.checks.running import LawBroken, left_by, several_batches


def check_a_scale_of_nothing_is_the_identity(method: Any, case: Case | None = None) -> None:
    """With lambda 0 every weight and buffer keeps its bits."""
    law, case = check_a_scale_of_nothing_is_the_identity, case or Case.fresh()
    left = left_by(law, replace(method, scale=0.0), case).state_dict()
    moved = [name for name, value in case.model.state_dict().items() if not torch.equal(value, left[name])]
    if moved:
        raise LawBroken(law, method, f"moves {moved[0]} with lambda 0")


def check_it_takes_back_what_its_fine_tunings_agree_on(method: Any, case: Case | None = None) -> None:
    """The weights are theta_o - lambda tau, tau from plain loops over the same batches, to 1e-5 of each tensor's norm; buffers stay."""
    law, case = check_it_takes_back_what_its_fine_tunings_agree_on, case or Case.fresh()
    method = several_batches(method)
    module, left, steps = shown(method, case)
    each = method.epochs * len(case.split.forget.batches(method.batch))
    if len(steps) != method.models * each or any(not set(step.y.tolist()) <= set(GONE) for step in steps):
        raise LawBroken(law, method, f"takes {len(steps)} steps, which are not {method.models} times its passes over the forget set")
    ways = []
    for k in range(method.models):
        student = copy.deepcopy(module).eval()
        stepper = stepper_of(method, list(student.parameters()), lr=method.lr * 2 ** (k - (method.models - 1) / 2))
        for x, y in ((step.x, step.y) for step in steps[k * each : (k + 1) * each]):
            stepped(stepper, F.nll_loss(torch.log_softmax(student(x), 1), y))
        ways.append([(p - q).detach() for p, q in zip(student.parameters(), module.parameters(), strict=True)])
    for weight, *found in zip(module.parameters(), *ways, strict=True):
        up, down = (torch.stack([sign * way > 0 for way in found]).all(0) for sign in (1, -1))
        weight.data -= method.scale * (sum(found) / len(found)) * (up | down)
    hold(law, method, left, module)
