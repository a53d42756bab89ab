"""Laws of `SalUn`: what is not salient stays to the bit, and what is trained is a plain loop over wrong and true labels."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.running import LawBroken, left_by, several_batches, watched
from untrain.core.network import Network
from untrain.methods import salun


def _sizes(module: nn.Module, case: Case) -> Tensor:
    """Magnitude of the slope of the forget set's cross-entropy, all weights in one row, in evaluation mode."""
    module = copy.deepcopy(module).double().eval()
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    slopes = torch.autograd.grad(F.nll_loss(torch.log_softmax(module(x.double()), 1), y), list(module.parameters()))
    return torch.cat([slope.abs().reshape(-1) for slope in slopes])


def _row(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def check_what_is_not_salient_stays_to_the_bit(method: Any, case: Case | None = None) -> None:
    """Under weight decay and momentum the least salient weights keep their bits, and the most salient ones move."""
    law, case = check_what_is_not_salient_stays_to_the_bit, case or Case.fresh()
    method = replace(several_batches(method), weight_decay=max(0.05, method.weight_decay))
    sizes = _sizes(case.model, case)
    order = sizes.argsort(descending=True)
    # One weight in a hundred on either side of the cut may stand on the other for rounding; weights without a slope have no rank.
    cut, some = round(method.share * len(order)), len(order) // 100
    moved = _row(left_by(law, method, case)).view(torch.int32) != _row(case.model).view(torch.int32)
    strayed, stuck = int(moved[order[cut + some :]].sum()), int((~moved[order[: max(0, cut - some)]] & (sizes[order[: max(0, cut - some)]] > 0)).sum())
    if strayed:
        raise LawBroken(law, method, f"moves {strayed} of the {len(order) - cut} weights that are not salient")
    if stuck > some:
        raise LawBroken(law, method, f"leaves {stuck} of the {cut} salient weights where they were")


def check_the_relabelling_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """With wrong labels that are known, a plain loop that puts masked weights back comes to the same weights, to 1e-5 of each tensor's norm."""
    law, case = check_the_relabelling_is_the_naive_loop, case or Case.fresh()
    # A weight of 1 would hide what it stands at.
    module, method = copy.deepcopy(case.model).double(), replace(several_batches(method), alpha=0.7)
    seen: list[tuple[Tensor, Tensor]] = []

    def watch(network: Network, phase: str, x: Tensor, y: Tensor) -> None:
        if phase == "relabel":
            seen.append((x.double().clone(), y.clone()))

    with mock.patch.object(salun, "others", _next):
        left, _, _ = watched(method, case, module=module, watch=watch)
    if len(seen) != 2 * method.epochs * len(case.split.retain.at_most(method.samples).batches(method.batch)):
        raise LawBroken(law, method, f"looks at {len(seen)} batches, which is not two for each batch of retained samples")
    order = _sizes(module, case).argsort(descending=True, stable=True)
    free = torch.zeros(len(order), dtype=torch.bool)
    free[order[: round(method.share * len(order))]] = True
    student, among = module.train(), torch.tensor(case.split.retain.classes)
    weights = list(student.parameters())
    masks = [part.view_as(p) for part, p in zip(torch.split(free, [p.numel() for p in weights]), weights, strict=True)]
    stays = [p.detach().clone() for p in weights]
    how = {"lr": method.lr, "weight_decay": method.weight_decay}
    stepper: torch.optim.Optimizer = torch.optim.Adam(weights, **how) if method.optimizer == "adam" else torch.optim.SGD(weights, momentum=0.9, nesterov=True, **how)
    for (x, y), (gone, true) in zip(seen[::2], seen[1::2], strict=True):
        if torch.isin(y, torch.tensor(GONE)).any() or not torch.isin(true, torch.tensor(GONE)).all():
            raise LawBroken(law, method, "does not set forgotten samples beside retained ones")
        # The forgotten batch goes first, so that BatchNorm ends each step with the retained one.
        wrong = F.nll_loss(torch.log_softmax(student(gone), 1), _next(true, among))
        loss = wrong + method.alpha * F.nll_loss(torch.log_softmax(student(x), 1), y)
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        with torch.no_grad():
            for p, mask, stay in zip(weights, masks, stays, strict=True):
                p.copy_(torch.where(mask, p, stay))
    for name, value in student.state_dict().items():
        off = float((left.state_dict()[name].double() - value.double()).norm())
        if off > 1e-5 * float(value.double().norm()):
            raise LawBroken(law, method, f"leaves {name} {off:.1e} off what a plain loop makes of it, at a norm of {float(value.double().norm()):.1e}")


def _next(y: Tensor, among: Tensor) -> Tensor:
    """A kept class for each label, always the same."""
    return among[(y + 1) % len(among)]
