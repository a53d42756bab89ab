"""Laws of `Distort`: how much each kind of damage does, and that training behind it is what fine-tuning is."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch

from untrain.checks.case import GONE, Case
from untrain.checks.fields import hold_knobs
from untrain.checks.plain import hold, shown, stepped, stepper_of
from untrain.checks.running import LawBroken, left_by, several_batches, watched


def check_the_damage_is_as_large_as_it_says(method: Any, case: Case | None = None) -> None:
    """Without steps: distortion's standard deviation and dropout's share are those asked for, within 4 standard errors; attenuation is exact; buffers stay."""
    law, case = check_the_damage_is_as_large_as_it_says, case or Case.fresh()
    left = left_by(law, replace(method, epochs=0), case)
    before, behind = (torch.cat([p.detach().double().reshape(-1) for p in module.parameters()]) for module in (case.model, left))
    n = len(before)
    if method.kind == "distortion":
        moved = behind - before
        size, mean = float(moved.square().mean()) ** 0.5, float(moved.mean())
        if abs(size / method.sigma - 1) > 4 / (2 * n) ** 0.5 or abs(mean) > 4 * method.sigma / n**0.5:
            raise LawBroken(law, method, f"adds numbers of a standard deviation of {size:.4f} and a mean of {mean:.4f}")
    elif method.kind == "attenuation":
        if not torch.allclose(behind, method.factor * before):
            raise LawBroken(law, method, f"leaves weights that are not {method.factor} times what they were")
    else:
        gone, were = (behind == 0) & (before != 0), int((before != 0).sum())
        error = (method.share * (1 - method.share) / were) ** 0.5
        if abs(int(gone.sum()) / were - method.share) > 4 * error or not torch.equal(behind[~gone], before[~gone]):
            raise LawBroken(law, method, f"sets {int(gone.sum()) / were:.3f} of the weights to 0, or changes others")
    odd = [name for name, value in case.model.named_buffers() if not torch.equal(value, dict(left.named_buffers())[name])]
    if odd:
        raise LawBroken(law, method, f"changes the buffer {odd[0]}")


def check_its_knobs_are_those_of_its_kind(method: Any, case: Case | None = None) -> None:
    """Each knob that it names, turned as it says, changes the bits in these very settings: distortion's is sigma, attenuation's the factor, dropout's the share."""
    hold_knobs(check_its_knobs_are_those_of_its_kind, method, case or Case.fresh())


def check_the_training_behind_it_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """From the weights that no steps leave, a plain loop over retained batches comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_training_behind_it_is_the_naive_loop, case or Case.fresh()
    method = several_batches(method)
    module, left, steps = shown(method, case)
    student, _, _ = watched(replace(method, epochs=0), case, module=copy.deepcopy(module))
    stepper = stepper_of(method, list(student.train().parameters()))
    for x, y in ((step.x, step.y) for step in steps):
        if torch.isin(y, torch.tensor(GONE)).any():
            raise LawBroken(law, method, "fine-tunes on forgotten samples")
        stepped(stepper, -torch.log_softmax(student(x), 1)[torch.arange(len(y)), y].mean())
    hold(law, method, left, student)
