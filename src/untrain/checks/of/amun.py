"""Laws of `AMUN`: whom it finds, how near, and what it trains on."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from untrain.checks.case import GONE, Case
from untrain.checks.plain import cross_entropy, follow, hold, shown, stepper_of
from untrain.checks.running import LawBroken, several_batches, watched
from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.network import Network


def check_each_neighbour_is_misnamed_and_none_nearer_was_found(method: Any, case: Case | None = None) -> None:
    """The original misnames each neighbour, as the label says; it lies within the radius at which a plain climb first gets there, and is that climb's end.

    So it is where the radius is doubled once, by which some have none.
    """
    case = (case or Case.fresh()).misnamed()
    for doublings in (method.doublings, min(1, method.doublings)):
        _hold_neighbours(replace(method, doublings=doublings), case)


def _hold_neighbours(method: Any, case: Case) -> None:
    law = check_each_neighbour_is_misnamed_and_none_nearer_was_found
    module, forget = copy.deepcopy(case.model).double().eval(), case.prepared.forget
    with seeded(0):
        near = method.neighbours(Network(copy.deepcopy(case.model).double()), forget)
    if near is None:
        raise LawBroken(law, method, "finds no neighbour")
    x, y = forget.batch(torch.arange(len(forget)))
    assert isinstance(x, Tensor)
    due = [found for one, label in zip(x.double(), y.tolist(), strict=True) if (found := _climbed(module, method, one[None], label)) is not None]
    there, named = near.batch(torch.arange(len(near)))
    assert isinstance(there, Tensor)
    if len(due) != len(near):
        raise LawBroken(law, method, f"finds {len(near)} neighbours, where a plain climb finds {len(due)}")
    for (place, label, radius, start), got, told in zip(due, there, named.tolist(), strict=True):
        if told == label or told != int(module(got[None].double()).argmax()):
            raise LawBroken(law, method, f"labels a neighbour {told}, where the original names it {int(module(got[None].double()).argmax())} and its sample is a {label}")
        if float((got - place[0]).abs().max()) > 1e-4 or float((got - start[0]).norm()) > radius * (1 + 1e-6):
            raise LawBroken(law, method, f"finds a neighbour {float((got - start[0]).norm()):.3g} away, where a plain climb ends {float((place - start).norm()):.3g} away")


def _climbed(module: torch.nn.Module, method: Any, x: Tensor, label: int) -> tuple[Tensor, int, float, Tensor] | None:
    """The end of the first climb that the network misnames, its sample's label, the radius, and where it began."""
    for k in range(method.doublings + 1):
        radius, at = method.radius * 2**k, x.clone()
        for _ in range(method.attack_steps):
            at.requires_grad_()
            (slope,) = torch.autograd.grad(-torch.log_softmax(module(at), 1)[0, label], at)
            at = at.detach() + method.attack_step * radius * slope / max(float(slope.norm()), 1e-12)
            if float((at - x).norm()) > radius:
                at = x + (at - x) * radius / float((at - x).norm())
        if int(module(at).argmax()) != label:
            return at.detach(), label, radius, x
    return None


def check_it_trains_on_the_retained_and_the_neighbours(method: Any, case: Case | None = None) -> None:
    """A pass is over the retained samples and the neighbours found before it, wrong labels and all; over the forgotten under their own only where `keep` says so."""
    law, case = check_it_trains_on_the_retained_and_the_neighbours, case or Case.fresh()
    method, met, made = replace(method, epochs=1, augment=False), list[tuple[bytes, int]](), list[Samples]()
    real = type(method).neighbours

    def kept(self: Any, model: Network, forget: Samples) -> Samples | None:
        found: Samples | None = real(self, model, forget)
        made.extend([] if found is None else [found])
        return found

    def watch(network: Network, phase: str, x: Tensor, y: Tensor) -> None:
        met.extend(_rows(x, y))

    with mock.patch.object(type(method), "neighbours", kept):
        watched(method, case, watch=watch)
    parts = [
        case.prepared.retain.at_most(round(method.ratio * len(case.split.forget))) if method.ratio else case.prepared.retain,
        *made,
        *([case.prepared.forget] if method.keep else []),
    ]
    due = [row for part in parts for row in _rows(*part.batch(torch.arange(len(part))))]
    if sorted(met) != sorted(due):
        labels = [label for _, label in met]
        raise LawBroken(law, method, f"trains on {len(met)} samples where {len(due)} are due, {sum(label in GONE for label in labels)} of them under a forgotten label")


def check_the_fine_tuning_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop over the batches that it is shown, in training mode, comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_fine_tuning_is_the_naive_loop, case or Case.fresh()
    method = several_batches(method)
    student, left, steps = shown(method, case)
    follow(steps, student, stepper_of(method, list(student.train().parameters())), lambda student, step: cross_entropy(student, step.x, step.y))
    hold(law, method, left, student)


def _rows(x: Any, y: Tensor) -> list[tuple[bytes, int]]:
    return [(one.float().contiguous().numpy().tobytes(), int(label)) for one, label in zip(x, y, strict=True)]
