"""Laws of `FCS`: its three losses, their turns and their optimizers are a plain loop's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from untrain.checks.case import GONE, Case
from untrain.checks.plain import hold, shown, stepped, stepper_of
from untrain.checks.running import LawBroken, several_batches, watched


def check_erasing_levels_the_answers(method: Any, case: Case | None = None) -> None:
    """By its loss the answers to the forgotten come nearer to the same probability for each class, over four passes of erase."""
    law, case = check_erasing_levels_the_answers, case or Case.fresh()
    losses = watched(replace(several_batches(method), erase_epochs=4, epochs=0), case)[1]["erase"].losses
    if min(losses) < 0 or not sum(losses[-2:]) < sum(losses[:2]):
        raise LawBroken(law, method, f"takes KL(1 / C || p) from {losses[0]:.3g} to {losses[-1]:.3g}")


def check_erase_contrast_and_repair_are_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop over the same batches, an optimizer for each loss and nothing that flows into the retained answers of contrast, comes to the same weights and buffers."""
    law, case = check_erase_contrast_and_repair_are_the_naive_loop, case or Case.fresh()
    method = several_batches(method)
    student, left, steps = shown(method, case)
    forget, retain = len(case.split.forget.batches(method.batch)), len(case.split.retain.at_most(method.samples).batches(method.batch_retain))
    # A step of contrast looks at a batch of each part, the forgotten first.
    wanted = ["erase"] * (method.erase_epochs * forget) + method.epochs * (["contrast"] * (2 * forget) + ["repair"] * retain)
    if [step.phase for step in steps] != wanted:
        raise LawBroken(law, method, f"takes the turns {[step.phase for step in steps][:12]} ..., not {wanted[:12]} ...")
    weights = list(student.train().parameters())
    rates = {"erase": method.erase_lr, "contrast": method.contrast_lr, "repair": method.repair_lr}
    steppers = {phase: stepper_of(method, weights, lr=lr) for phase, lr in rates.items()}
    at = 0
    while at < len(steps):
        phase, x, y = steps[at].phase, steps[at].x, steps[at].y
        at += 1
        others: Tensor | None = None
        if phase == "contrast":
            others, more = steps[at].x, steps[at].y
            at += 1
            if torch.isin(more, torch.tensor(GONE)).any():
                raise LawBroken(law, method, "spreads the forgotten over forgotten ones")
        if bool(torch.isin(y, torch.tensor(GONE)).all()) != (phase != "repair"):
            raise LawBroken(law, method, f"is given samples of the classes {sorted(set(y.tolist()))} in {phase}")
        if others is not None:
            # The retained first, so that BatchNorm ends the step with the forgotten, as the turn of repair comes next.
            told = student(others).detach()
            said = student(x)
            near = torch.einsum("ik,jk->ij", said, told) / method.temperature
            loss = (torch.logsumexp(near, 1, keepdim=True) - near).mean()
        elif phase == "erase":
            p = torch.softmax(student(x), 1)
            loss = (-(p.log() + torch.tensor(float(p.shape[1])).log()) / p.shape[1]).sum(1).mean()
        else:
            loss = -torch.log_softmax(student(x), 1)[torch.arange(len(y)), y].mean()
        stepped(steppers[phase], loss)
    hold(law, method, left, student)
