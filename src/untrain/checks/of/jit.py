"""Laws of `JiT`: what it is told to lower falls, against a target that does not move, and each step stands by itself."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.plain import hold, shown, stepped, stepper_of
from untrain.checks.running import LawBroken, left_by, several_batches
from untrain.core.errors import BadArgument


def check_the_network_gets_flatter_at_the_forgotten(method: Any, case: Case | None = None) -> None:
    """In evaluation mode, with BatchNorm's statistics as they were, the mean of |f(x) - f(x + e)| / |e| over the forget set falls."""
    law, case = check_the_network_gets_flatter_at_the_forgotten, case or Case.fresh()
    left = copy.deepcopy(case.model)
    for p, q in zip(left.parameters(), left_by(law, method, case).parameters(), strict=True):
        p.data.copy_(q.data)
    before, behind = (_slope(model, method, case) for model in (case.model, left))
    if not behind < before:
        raise LawBroken(law, method, f"takes the slope at the forget set from {before:.3g} to {behind:.3g}")


@torch.no_grad()
def _slope(module: nn.Module, method: Any, case: Case) -> float:
    module = copy.deepcopy(module).eval()
    x, _ = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    e = method.sigma * torch.randn(20, *x.shape, generator=torch.Generator().manual_seed(0))
    return float(torch.stack([(module(x) - module(x + one)).norm(dim=1) / one.flatten(1).norm(dim=1) for one in e]).mean())


def check_the_levelling_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """With noise that is known, a plain loop that clears its gradients comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_levelling_is_the_naive_loop, case or Case.fresh()
    method = replace(several_batches(method), copies=3)

    def known(rows: Tensor) -> Tensor:
        return torch.sin(1.0 + torch.arange(rows.numel(), dtype=torch.double)).view_as(rows)

    with mock.patch.object(torch, "randn_like", known):
        student, left, steps = shown(method, case)
    student.train()
    stepper = stepper_of(method, list(student.parameters()))
    for x in (step.x for step in steps):
        out, e = student(x), method.sigma * known(x)
        theres = [student(x + e) for _ in range(method.copies)]
        apart = [(out - (there if method.both else there.detach())).square().sum(1) for there in theres]
        stepped(stepper, torch.stack([(a / e.square().flatten(1).sum(1)).sqrt().mean() for a in apart]).mean())
    hold(law, method, left, student)


def check_nothing_to_compare_with_is_refused(method: Any, case: Case | None = None) -> None:
    """No copy, or copies without noise, are refused before a model is touched."""
    law = check_nothing_to_compare_with_is_refused
    for name, value in (("copies", 0), ("sigma", 0.0)):
        try:
            replace(method, **{name: value})
        except BadArgument:
            continue
        raise LawBroken(law, method, f"takes {name}={value}, which leaves it nothing to compare with")
