"""Laws of `PGU`: no step moves what the retained excite, its loss is bounded, and a run is a plain loop."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.plain import hold, hold_spared, projected, spans, steps_of
from untrain.checks.running import LawBroken, several_batches


def _loss(method: Any, logits: Tensor, y: Tensor) -> Tensor:
    """Sample by sample, by logarithms of sums."""
    rows = []
    for row, label in zip(logits, y.tolist(), strict=True):
        p = torch.exp(row - torch.logsumexp(row, 0))
        rows.append(-torch.log(1 - (p[label] - method.bound)) - method.entropy * (p * torch.log(p)).sum())
    return torch.stack(rows).mean()


def check_what_the_retained_excite_stays(method: Any, case: Case | None = None) -> None:
    """No layer's weight moves along the singular vectors of its inputs over the retained, to 1e-4 of how far it moves; biases, normalisations and statistics stay to the bit."""
    hold_spared(check_what_the_retained_excite_stays, method, case or Case.fresh())


def check_its_loss_is_bounded_and_its_slope_too(method: Any, case: Case | None = None) -> None:
    """The loss falls with p_y from -log b at 1 to -log(1 + b) at 0, less the entropy's share, and no slope in the answers is longer than 2 / b."""
    law = check_its_loss_is_bounded_and_its_slope_too
    y, last = torch.tensor([0]), math.inf
    for sure in (60.0, 4.0, 0.0, -4.0, -60.0):
        answers = torch.tensor([[sure, 0.0, 0.0]], dtype=torch.double, requires_grad=True)
        loss = replace(method, entropy=0.0).loss(answers, y)
        (slope,) = torch.autograd.grad(loss, answers)
        p = math.exp(sure) / (math.exp(sure) + 2)
        if abs(float(loss.detach()) + math.log(1 - p + method.bound)) > 1e-9:
            raise LawBroken(law, method, f"has a loss of {float(loss.detach()):.4g} at a probability of {p:.3g}, where {-math.log(1 - p + method.bound):.4g} is due")
        if not float(loss.detach()) < last + 1e-12 or not float(slope.norm()) <= 2 / method.bound:
            raise LawBroken(law, method, f"has a slope of {float(slope.norm()):.3g}, or a loss that rises as the label goes")
        last = float(loss.detach())


def check_the_unlearning_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop in evaluation mode, at rates that fall in equal ratios and off singular vectors found by hand, comes to the same weights, to 1e-4 of each norm."""
    law, case = check_the_unlearning_is_the_naive_loop, case or Case.fresh()
    method = replace(several_batches(method), epochs=4)
    student = copy.deepcopy(case.model).double()
    left, steps, _ = steps_of(method, case, module=student)
    held = spans(method, case)
    weights = {name: layer.weight for name, layer in student.eval().named_modules() if name in held and isinstance(layer, nn.Linear | nn.Conv2d)}
    for number, step in enumerate(steps):
        if not torch.isin(step.y, torch.tensor(GONE)).all():
            raise LawBroken(law, method, "steps on other samples than the forgotten")
        projected(_loss(method, student(step.x), step.y), weights, held)
        rate = math.exp(math.log(method.lr) + (math.log(method.lr_end) - math.log(method.lr)) * number / (len(steps) - 1))
        with torch.no_grad():
            for weight in weights.values():
                assert weight.grad is not None
                weight -= rate * weight.grad
    hold(law, method, left, student, 1e-4)
