"""Laws of `Spotter`: what it teaches, where it looks, what it scatters."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from untrain.checks.case import GONE, Case
from untrain.checks.plain import hold, shown, stepped, stepper_of
from untrain.checks.running import LawBroken, several_batches
from untrain.core.engine import seeded
from untrain.core.network import Network


def check_the_masked_target_sums_to_one(method: Any, case: Case | None = None) -> None:
    """The target is 0 at every forgotten class and the original's answers in proportion elsewhere, sure or not."""
    law, case = check_the_masked_target_sums_to_one, case or Case.fresh()
    x, _ = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    with torch.no_grad():
        logits = copy.deepcopy(case.model).eval()(x)
    for scale in (1.0, 30.0):
        p, target = torch.softmax(scale * logits.double(), 1), method.target(scale * logits, GONE)
        if bool((target[:, list(GONE)] != 0).any()):
            raise LawBroken(law, method, f"teaches the classes {GONE} with a probability of {float(target[:, list(GONE)].max()):.2e}")
        p[:, list(GONE)] = 0
        if not torch.allclose(target.double(), p / p.sum(1, keepdim=True), rtol=1e-4, atol=1e-7):
            raise LawBroken(law, method, f"teaches answers that sum to {float(target.sum(1).max()):.3g} or are out of proportion")


def check_dispersion_is_of_pairs_of_one_class(method: Any, case: Case | None = None) -> None:
    """Orthogonal features have a dispersion of 0, equal ones of 1, whatever their length; no sample is paired with itself or with another class."""
    law = check_dispersion_is_of_pairs_of_one_class
    y = torch.tensor([0, 0, 0, 1, 1])
    for features, labels, due in (
        (torch.eye(5), y, 0.0),
        (torch.arange(1.0, 6.0)[:, None] * torch.ones(5, 3), y, 1.0),
        (torch.eye(2)[y], y, 1.0),
        (torch.tensor([[1.0, 0.0], [1.0, 1.0], [5.0, 5.0]]), torch.tensor([0, 0, 2]), 0.5**0.5),
        (torch.ones(2, 3), torch.tensor([0, 1]), 0.0),
    ):
        found = float(method.dispersion(features, labels))
        if abs(found - due) > 1e-6:
            raise LawBroken(law, method, f"finds a dispersion of {found:.3g} where it is {due:.3g}")


def check_neighbours_lie_within_the_radius_on_the_side_that_stays(method: Any, case: Case | None = None) -> None:
    """Each neighbour lies within the radius in every number, and the original gives the class that is to be stepped towards more there, on average, than at the start."""
    law, case = check_neighbours_lie_within_the_radius_on_the_side_that_stays, case or Case.fresh()
    x, _ = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    module = copy.deepcopy(case.model).eval()
    with seeded(0):
        near = method.near(Network(module).teacher(), x, GONE)
    far = float((near - x).abs().max())
    if far > method.radius * (1 + 1e-5) or far == 0:
        raise LawBroken(law, method, f"looks {far:.3g} away, at a radius of {method.radius}")
    with torch.no_grad():
        before, behind = module(x), module(near)
    other = before.index_fill(1, torch.tensor(GONE), -torch.inf).argmax(1)[:, None]
    gained = float((torch.log_softmax(behind, 1) - torch.log_softmax(before, 1)).gather(1, other).mean())
    if not gained > 0:
        raise LawBroken(law, method, f"steps away from the class that stays: its mean log probability goes by {gained:.3g}")


def check_the_forgetting_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """With neighbours that are known, a plain loop whose teacher was copied before the run comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_forgetting_is_the_naive_loop, case or Case.fresh()
    # A weight of 1 would hide what it stands at.
    method = replace(several_batches(method), neighbours=0.7)
    with mock.patch.object(type(method), "near", lambda self, teacher, x, classes: x + self.radius):
        student, left, steps = shown(method, case)
    teacher, head = copy.deepcopy(student).eval(), list[Tensor]()
    handle = Network(student).head.layer.register_forward_pre_hook(lambda _, args: head.append(args[0]))
    stepper = stepper_of(method, list(student.train().parameters()))
    for x, y in ((step.x, step.y) for step in steps):
        with torch.no_grad():
            told = [torch.softmax(teacher(at), 1) for at in (x, x + method.radius)]
        for t in told:
            t[:, list(GONE)] = 0
            t /= t.sum(1, keepdim=True)
        around, here = student(x + method.radius), student(x)
        unit = head[-1] / head[-1].norm(dim=1, keepdim=True)
        pairs = [(unit[i] * unit[j]).sum() for i in range(len(y)) for j in range(len(y)) if i != j and y[i] == y[j]]
        apart = [(torch.xlogy(t, t) - t * torch.log_softmax(said, 1)).sum(1).mean() for t, said in zip(told, (here, around), strict=True)]
        stepped(stepper, apart[0] + method.neighbours * apart[1] + method.spread * (torch.stack(pairs).mean() if pairs else 0.0))
    handle.remove()
    hold(law, method, left, student)
