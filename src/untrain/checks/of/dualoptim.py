"""Laws of `DualOptim`: each part has an optimizer that never sees the other's gradients, and no label is true."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.checks.case import GONE, Case
from untrain.checks.plain import cross_entropy, hold, stepped, stepper_of, steps_of
from untrain.checks.running import LawBroken, several_batches


def check_the_turns_are_a_plain_loop_with_two_optimizers(method: Any, case: Case | None = None) -> None:
    """On the labels that it drew, a plain loop of two optimizers in turns comes to the same weights and buffers. No label is true or of a forgotten class, nor one for good."""
    law, case = check_the_turns_are_a_plain_loop_with_two_optimizers, case or Case.fresh()
    method, told, real = replace(several_batches(method), epochs=3), list[Tensor](), F.cross_entropy

    def spied(out: Tensor, y: Tensor) -> Tensor:
        told.append(y.clone())
        return real(out, y)

    student = copy.deepcopy(case.model).double()
    with mock.patch.object(F, "cross_entropy", spied):
        left, steps, _ = steps_of(method, case, module=student)
    weights = list(student.train().parameters())
    steppers = {
        "forget": stepper_of(method, weights, lr=method.lr_forget) if method.optimizer_forget == method.optimizer else _other(method, weights),
        "retain": stepper_of(method, weights),
    }
    rounds = method.epochs * len(case.split.retain.at_most(method.samples).batches(method.batch))
    if [step.phase for step in steps] != ["forget", "retain"] * rounds:
        raise LawBroken(law, method, f"does not take a step of each in {rounds} turns, but {len(steps)} steps, {[step.phase for step in steps][:4]} ...")
    drawn: dict[bytes, set[int]] = {}
    for step, labels in zip(steps, told, strict=True):
        for image, label in zip(step.x.numpy(), labels.tolist(), strict=True) if step.phase == "forget" else ():
            drawn.setdefault(image.tobytes(), set()).add(label)
        gone = torch.isin(step.y, torch.tensor(GONE))
        if not bool((gone if step.phase == "forget" else ~gone).all()):
            raise LawBroken(law, method, f"steps on samples of the other part in {step.phase}")
        if step.phase == "forget" and (bool((labels == step.y).any()) or bool(torch.isin(labels, torch.tensor(GONE)).any())):
            raise LawBroken(law, method, "teaches the forgotten their own label, or that of another forgotten class")
        stepped(steppers[step.phase], cross_entropy(student, step.x, labels))
    if max(map(len, drawn.values())) < 2:
        raise LawBroken(law, method, "teaches each forgotten sample one label, and does not draw anew")
    hold(law, method, left, student)


def _other(method: Any, weights: list[Any]) -> torch.optim.Optimizer:
    return stepper_of(replace(method, optimizer=method.optimizer_forget), weights, lr=method.lr_forget)
