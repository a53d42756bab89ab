"""Laws of `MSG`: which weights it draws anew, and that the others go slower."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.nets import OF_KINDS, with_tied_kernels
from untrain.checks.plain import hold, shown, stepper_of
from untrain.checks.running import Law, LawBroken, left_by, several_batches
from untrain.methods import msg


def _disagreement(module: nn.Module, case: Case, samples: int) -> dict[str, Tensor]:
    """|grad CE(D_r) - grad CE(D_f)| of each convolution's weight, in evaluation mode."""
    module = copy.deepcopy(module).double().eval()
    held = {f"{name}.weight": part.weight for name, part in module.named_modules() if isinstance(part, nn.Conv2d)}
    slopes = []
    for part in (case.prepared.retain.at_most(samples), case.prepared.forget):
        x, y = part.batch(torch.arange(len(part)))
        assert isinstance(x, Tensor)
        slopes.append(torch.autograd.grad(F.nll_loss(torch.log_softmax(module(x.double()), 1), y), list(held.values())))
    return {name: (a - b).abs() for name, a, b in zip(held, *slopes, strict=True)}


def check_the_share_with_the_smallest_gradient_is_drawn_anew(method: Any, case: Case | None = None) -> None:
    """Without steps exactly that share of the convolutions' weights is another than before, those least disagreed on, within a new layer's bounds; nothing else moves."""
    law, case = check_the_share_with_the_smallest_gradient_is_drawn_anew, case or Case.fresh()
    left = left_by(law, replace(method, epochs=0), case).state_dict()
    before = case.model.state_dict()
    sizes = _disagreement(case.model, case, method.samples)
    order = torch.cat([s.reshape(-1) for s in sizes.values()]).argsort()
    moved = torch.cat([(left[name] != before[name]).reshape(-1) for name in sizes])
    cut, some = round(method.share * len(order)), len(order) // 100
    if int(moved.sum()) != cut:
        raise LawBroken(law, method, f"draws {int(moved.sum())} of {len(order)} weights anew, not {cut}")
    # One weight in a hundred on either side of the cut may stand on the other for rounding.
    strayed = int(moved[order[cut + some :]].sum())
    if strayed:
        raise LawBroken(law, method, f"draws {strayed} weights anew whose gradients are among the larger ones")
    far = [name for name in sizes if float(left[name][left[name] != before[name]].abs().max()) > left[name][0].numel() ** -0.5]
    if far:
        raise LawBroken(law, method, f"draws weights of {far[0]} beyond what a new layer has")
    other = [name for name, value in before.items() if name not in sizes and not torch.equal(value, left[name])]
    if other:
        raise LawBroken(law, method, f"changes {other[0]} without a step")


def check_a_weight_that_two_layers_share_counts_once(method: Any, case: Case | None = None) -> None:
    """Of a network with one kernel in two convolutions the share is of the weights that there are: without steps so many are others than before, whatever the share."""
    law, case = check_a_weight_that_two_layers_share_counts_once, with_tied_kernels(case or Case.fresh())
    kernels = {name: weight for name, weight in case.model.named_parameters() if weight.ndim == 4}
    for share in (0.1, 0.5):
        left = left_by(law, replace(method, epochs=0, share=share), case).state_dict()
        moved, due = sum(int((left[name] != weight).sum()) for name, weight in kernels.items()), round(share * sum(weight.numel() for weight in kernels.values()))
        if moved != due:
            raise LawBroken(law, method, f"draws {moved} weights anew at a share of {share}, not {due}, where one.weight and two.weight are the same")


def check_the_others_go_slower(method: Any, case: Case | None = None) -> None:
    """A plain loop whose gradient is multiplied by `slower` where nothing was drawn anew, at a rate that falls to 0, comes to the same weights, to 1e-5 of each tensor's norm."""
    law, case = check_the_others_go_slower, case or Case.fresh()
    method = several_batches(method)
    with mock.patch.object(msg, "fresh", lambda w: torch.full_like(w, 0.01)):
        module, left, steps = shown(method, case)
        student, _, _ = shown(replace(method, epochs=0), case)
    sizes = _disagreement(module, case, method.samples)
    edge = torch.cat([s.reshape(-1) for s in sizes.values()]).sort().values
    cut = round(method.share * len(edge))
    highest = float(edge[cut - 1] + edge[cut]) / 2 if 0 < cut < len(edge) else (0.0 if not cut else float("inf"))
    faster = {name: size < highest for name, size in sizes.items()}
    for name, p in student.named_parameters():
        if name in faster:
            p.data[faster[name]] = 0.01
    stepper = stepper_of(method, list(student.train().parameters()))
    for step, (x, y) in enumerate((each.x, each.y) for each in steps):
        if torch.isin(y, torch.tensor(GONE)).any():
            raise LawBroken(law, method, "fine-tunes on forgotten samples")
        stepper.param_groups[0]["lr"] = method.lr * (len(steps) - step) / len(steps)
        stepper.zero_grad()
        torch.autograd.backward(F.nll_loss(torch.log_softmax(student(x), 1), y))
        for name, p in student.named_parameters():
            assert p.grad is not None
            p.grad *= torch.where(faster[name], 1.0, method.slower) if name in faster else method.slower
        stepper.step()
    hold(law, method, left, student)


EXCEPTIONS: dict[str, dict[Law, str]] = {"*": {OF_KINDS["a_frozen_body"]: "the convolutions are frozen, and it refuses a model of which it can draw nothing anew"}}
