"""Laws of Shrink: which class it calls nearest, and that it is a plain loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.plain import Step, cross_entropy, follow, hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, several_batches
from untrain.core.network import Network


def _nearest(module: nn.Module, x: Tensor, y: Tensor, bound: float) -> list[int]:
    """One image after the other: the best wrong answer one step up the loss."""
    found = []
    for image, label in zip(x, y.tolist(), strict=True):
        image = image[None].clone().requires_grad_(True)
        out = module(image)[0]
        (slope,) = torch.autograd.grad(torch.logsumexp(out, 0) - out[label], image)
        with torch.no_grad():
            answers = module(image + bound * slope.sign())[0].tolist()
        found.append(max((k for k in range(len(answers)) if k != label), key=lambda k: answers[k]))
    return found


def check_the_label_is_the_nearest_wrong_class(method: Any, case: Case | None = None) -> None:
    """It is the best answer but the true one a signed step up the loss, by a plain loop over single images; so it is where no step leaves the class, or a large one does."""
    law, case = check_the_label_is_the_nearest_wrong_class, (case or Case.fresh()).misnamed()
    module = copy.deepcopy(case.model).double().eval()
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    for bound in (method.bound, 1e-4, 2.0):
        told = replace(method, bound=bound).nearest(Network(copy.deepcopy(module)), x.double(), y).tolist()
        if any(a == b for a, b in zip(told, y.tolist(), strict=True)):
            raise LawBroken(law, method, f"calls an image by its true class at bound {bound:g}")
        off = sum(a != b for a, b in zip(told, _nearest(module, x.double(), y, bound), strict=True))
        if off:
            raise LawBroken(law, method, f"calls {off} of {len(y)} images by another class than the nearest wrong one at bound {bound:g}")


def check_the_shrinking_is_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop in training mode over the labels that the original gives, as it was before the run, comes to the same weights, to 1e-5 of each tensor's norm."""
    law, case, method = check_the_shrinking_is_a_plain_loop, (case or Case.fresh()).misnamed(), replace(several_batches(method), epochs=2)
    module = copy.deepcopy(case.model).double()
    left, steps, _ = steps_of(method, case, module=module)
    teacher, student = copy.deepcopy(module).eval(), module.train()

    def loss(student: nn.Module, step: Step) -> Tensor:
        return cross_entropy(student, step.x, torch.tensor(_nearest(teacher, step.x, step.y, method.bound)))

    follow(steps, student, stepper_of(method, list(student.parameters())), loss)
    hold(law, method, left, student)
