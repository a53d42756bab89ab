"""Laws of `UNSC`: no step moves what the retained excite, the label is the next best, and a run is a plain loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from untrain.checks.case import GONE, Case
from untrain.checks.plain import cross_entropy, hold, hold_spared, projected, spans, stepper_of, steps_of
from untrain.checks.running import LawBroken, several_batches


def check_what_the_retained_excite_stays(method: Any, case: Case | None = None) -> None:
    """No layer's weight moves along the singular vectors of its inputs over the retained, to 1e-4 of how far it moves; biases, normalisations and statistics stay to the bit."""
    hold_spared(check_what_the_retained_excite_stays, method, case or Case.fresh())


def check_the_label_is_the_next_best_that_stays(method: Any, case: Case | None = None) -> None:
    """Each forgotten sample is taught the class that the original thinks likeliest of those that are retained, but its own."""
    law, case = check_the_label_is_the_next_best_that_stays, (case or Case.fresh()).misnamed()
    original, some = copy.deepcopy(case.model).eval(), torch.arange(len(case.split.retain)) % 4 == 0
    for split in (case.split, case.split.replaced(forget=case.split.retain[some], retain=case.split.retain[~some])):
        case.split = split
        x, y = case.prepared.forget.batch(torch.arange(len(split.forget)))
        assert isinstance(x, torch.Tensor)
        own = {image.double().numpy().tobytes(): label for image, label in zip(x, y.tolist(), strict=True)}
        _, steps, _ = steps_of(replace(method, epochs=1), case, module=case.model)
        for step in steps:
            with torch.no_grad():
                said = original(step.x.float())
            for image, logits, label in zip(step.x, said, step.y.tolist(), strict=True):
                stays = [k for k in range(len(logits)) if k not in GONE and k != own[image.numpy().tobytes()]]
                due = max(stays, key=lambda k: float(logits[k]))
                if label != due:
                    raise LawBroken(law, method, f"teaches {label}, where {due} is the next best that stays")


def check_the_calibration_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop in evaluation mode, whose gradients lose what lies along singular vectors found by hand, comes to the same weights, to 1e-4 of each norm."""
    law, case = check_the_calibration_is_the_naive_loop, case or Case.fresh()
    method = replace(several_batches(method), epochs=3)
    student = copy.deepcopy(case.model).double()
    left, steps, _ = steps_of(method, case, module=student)
    held = spans(method, case)
    weights = {name: layer.weight for name, layer in student.eval().named_modules() if name in held and isinstance(layer, nn.Linear | nn.Conv2d)}
    stepper = stepper_of(method, list(weights.values()))
    for step in steps:
        projected(cross_entropy(student, step.x, step.y), weights, held)
        stepper.step()
    hold(law, method, left, student, 1e-4)
