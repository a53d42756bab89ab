"""Laws of L1Sparse: how its penalty falls, what it does to the weights, and that it is a plain loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.plain import Step, cross_entropy, follow, hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, several_batches, watched


def check_the_penalty_falls_in_a_straight_line(method: Any, case: Case | None = None) -> None:
    """It is alpha in the first epoch, falls by the same amount each epoch, and is 0 in the last ones, that amount after the last above 0."""
    law = check_the_penalty_falls_in_a_straight_line
    for epochs, plain in ((method.epochs, method.plain_epochs), (6, 0), (7, 3), (2, 2), (1, 0)):
        told = [replace(method, alpha=0.5, epochs=epochs, plain_epochs=plain).penalty(e) for e in range(epochs)]
        due = [*torch.linspace(0.5, 0.0, epochs - plain + 1, dtype=torch.float64).tolist()[: epochs - plain], *[0.0] * plain]
        if any(abs(a - b) > 1e-12 for a, b in zip(told, due, strict=True)):
            raise LawBroken(law, method, f"puts the penalties {told} on {epochs} epochs of which {plain} are to go without, and not {due}")


def check_it_leaves_smaller_weights_than_without_the_penalty(method: Any, case: Case | None = None) -> None:
    """The sum of the weights' magnitudes is smaller than before, and than without the penalty."""
    law, case = check_it_leaves_smaller_weights_than_without_the_penalty, case or Case.fresh()
    before, after, plain = (float(sum(p.detach().abs().sum() for p in m.parameters())) for m in (case.model, *(watched(m, case)[0] for m in (method, replace(method, alpha=0.0)))))
    if not after < min(before, plain):
        raise LawBroken(law, method, f"takes the sum of magnitudes from {before:.1f} to {after:.1f}, and without the penalty to {plain:.1f}")


def check_the_fine_tuning_is_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop over the retained, with one optimizer all along, comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case, method = check_the_fine_tuning_is_a_plain_loop, case or Case.fresh(), several_batches(method)
    module = copy.deepcopy(case.model).double()
    left, steps, _ = steps_of(method, case, module=module)
    each = len(case.split.retain.at_most(method.samples).batches(method.batch))
    if len(steps) != method.epochs * each or any(bool(torch.isin(step.y, torch.tensor(GONE)).any()) for step in steps):
        raise LawBroken(law, method, f"takes {len(steps)} steps, and not {each} of retained samples in each of {method.epochs} epochs")
    places = {id(step): place for place, step in enumerate(steps)}

    def loss(student: nn.Module, step: Step) -> Tensor:
        epoch, under = places[id(step)] // each, method.epochs - method.plain_epochs
        gamma = method.alpha * max(0.0, 1 - epoch / under)
        size = torch.cat([p.reshape(-1) for p in student.parameters()]).abs().sum()
        return cross_entropy(student, step.x, step.y) + float(gamma) * size

    student = module.train()
    follow(steps, student, stepper_of(method, list(student.parameters())), loss)
    hold(law, method, left, student)
