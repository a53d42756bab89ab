"""Laws of `ModeConnectivity`: a run is a plain loop, it raises a barrier, and beyond gamma it is paid nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.plain import cross_entropy, hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, bits_of, several_batches, watched


def _between(a: nn.Module, b: nn.Module) -> nn.Module:
    """A network of its own half-way between two, statistics too."""
    there = copy.deepcopy(a)
    with torch.no_grad():
        for value, one, two in zip(there.state_dict(keep_vars=True).values(), a.state_dict().values(), b.state_dict().values(), strict=True):
            if value.is_floating_point():
                value.copy_((one + two) / 2)
    return there.eval()


def check_the_regularised_training_is_the_naive_loop_with_a_network_halfway(method: Any, case: Case | None = None) -> None:
    """A plain loop, whose network half-way is another one with half of the slope, comes to the same weights and buffers, to 1e-5 of each norm."""
    law, case = check_the_regularised_training_is_the_naive_loop_with_a_network_halfway, case or Case.fresh()
    method = several_batches(method)
    student = copy.deepcopy(case.model).double()
    original = copy.deepcopy(student)
    left, steps, _ = steps_of(method, case, module=student, streams=2)
    weights = list(student.train().parameters())
    stepper = stepper_of(method, weights)
    for step in steps:
        gone, true = step.others[0]
        if torch.isin(step.y, torch.tensor(GONE)).any() or not torch.isin(true, torch.tensor(GONE)).all():
            raise LawBroken(law, method, "does not set forgotten samples beside retained ones")
        slopes = torch.autograd.grad(cross_entropy(student, step.x, step.y), weights)
        there = _between(student, original)
        height = cross_entropy(there, torch.cat([step.x, gone]), torch.cat([step.y, true]))
        away = torch.autograd.grad(height, list(there.parameters())) if float(height.detach()) < method.gamma else [torch.zeros_like(w) for w in weights]
        for weight, slope, way in zip(weights, slopes, away, strict=True):
            weight.grad = slope - method.alpha * way / 2
        stepper.step()
    hold(law, method, left, student)


def check_it_raises_a_barrier(method: Any, case: Case | None = None) -> None:
    """The loss half-way to the old weights is higher than that of the same run which is paid nothing for it."""
    law, case = check_it_raises_a_barrier, case or Case.fresh()
    x, y = (case.prepared.forget + case.prepared.retain).batch(torch.arange(len(case.split.forget) + len(case.split.retain)))
    assert isinstance(x, Tensor)
    ends = [watched(replace(method, alpha=a), case)[0] for a in (method.alpha, 0.0)]
    with torch.no_grad():
        high, low = (float(cross_entropy(_between(end, case.model), x, y)) for end in ends)
    if not high > low:
        raise LawBroken(law, method, f"has a loss of {high:.3g} half-way to the old weights, and {low:.3g} where it is paid nothing for it")


def check_beyond_gamma_nothing_is_paid(method: Any, case: Case | None = None) -> None:
    """With a gamma below every loss it leaves the bits of a run without the barrier, and with one above, others."""
    law, case = check_beyond_gamma_nothing_is_paid, case or Case.fresh()
    low, none, high = (bits_of(law, replace(method, **how), case) for how in ({"gamma": 0.0}, {"alpha": 0.0}, {}))
    if low != none or high == none:
        raise LawBroken(law, method, "is paid for a loss above gamma" if low != none else "is paid for no loss at all")
