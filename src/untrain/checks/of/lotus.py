"""Laws of LoTUS: its temperature, when it ends, and what it teaches."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.plain import Step, follow, hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, several_batches


def check_the_temperature_follows_accuracy_and_the_end_is_not_rounded(method: Any, case: Case | None = None) -> None:
    """It is exp(alpha (a - goal)) down to a hundredth below `goal`, and there is none from there on, nor where nothing is named."""
    law = check_the_temperature_follows_accuracy_and_the_end_is_not_rounded
    for goal in (0.0, 0.6):
        asked = replace(method, goal=goal)
        for named in (1.0, 0.75, 0.6, 0.5951, 0.59, 0.3, 0.004, 0.0):
            told, ends = asked.temperature(named), named <= goal - 0.01 or named == 0.0
            if ends != (told is None):
                raise LawBroken(law, method, f"{'goes on' if ends else 'ends'} where {named:g} of the forgotten are named and {goal:g} are to be")
            if told is not None and abs(math.log(told) - method.alpha * (named - goal)) > 1e-9:
                raise LawBroken(law, method, f"takes the temperature {told:g} where {named:g} of the forgotten are named and {goal:g} are to be")


def check_it_ends_where_it_says(method: Any, case: Case | None = None) -> None:
    """On a model that names no more of the forgotten than it is to, it takes no step."""
    law, case = check_it_ends_where_it_says, case or Case.fresh()
    _, steps, _ = steps_of(replace(method, goal=1.02), case, module=case.model)
    if steps:
        raise LawBroken(law, method, f"takes {len(steps)} steps where 1.00 of the forgotten are named and 1.02 are to be")


def check_the_targets_are_those_of_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """An epoch is a plain loop whose targets are the original's answers with the same noise at the same temperature, and its likeliest class for retained images, to 1e-5."""
    law, case = check_the_targets_are_those_of_a_plain_loop, (case or Case.fresh()).misnamed()
    module, method = copy.deepcopy(case.model).double(), replace(several_batches(method), epochs=1, augment=False)
    drawn: list[Tensor] = []
    real = Tensor.exponential_

    def spied(tensor: Tensor, *args: Any, **how: Any) -> Tensor:
        made = real(tensor, *args, **how)
        drawn.append(made.clone())
        return made

    Tensor.exponential_ = spied  # type: ignore[assignment, method-assign]
    try:
        left, steps, _ = steps_of(method, case, module=module)
    finally:
        Tensor.exponential_ = real  # type: ignore[method-assign]
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    gone = {image.double().numpy().tobytes() for image in x}
    teacher, student = copy.deepcopy(module).eval(), module.train()
    with torch.no_grad():
        tau = math.exp(method.alpha * (float((teacher(x.double()).argmax(1) == y).double().mean()) - method.goal))
    if len(drawn) != len(steps):
        raise LawBroken(law, method, f"draws noise {len(drawn)} times in {len(steps)} steps")
    noise = iter(drawn)

    def loss(student: nn.Module, step: Step) -> Tensor:
        with torch.no_grad():
            told, gumbel = teacher(step.x), -next(noise).double().log()
            unsure, sure = torch.softmax((told + gumbel) / tau, 1), (told == told.amax(1, keepdim=True)).double()
        forgotten = torch.tensor([image.numpy().tobytes() in gone for image in step.x])
        return -(torch.where(forgotten[:, None], unsure, sure) * torch.log_softmax(student(step.x), 1)).sum(1).mean()

    follow(steps, student, stepper_of(method, list(student.parameters())), loss)
    hold(law, method, left, student)
