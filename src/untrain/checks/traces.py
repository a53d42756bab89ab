"""Laws of what a method leaves behind, and what it leaves alone."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch

from untrain.checks.case import Case
from untrain.checks.running import LawBroken, bits_of, contents, left_by, manners, unequal, values
from untrain.core.method import Method


def check_the_given_model_is_left_alone(method: Method, case: Case | None = None) -> None:
    """Weights, buffers, modes, gradients, `requires_grad` and hooks of the model that is given stay as they were."""
    case = case or Case.fresh()
    layers = [m for m in case.model.modules() if list(m.parameters(recurse=False))]
    first, last = layers[0], layers[-1]
    # A model as it may come: half of it in training mode, a layer frozen, a gradient and a hook on another.
    first.eval().requires_grad_(False)
    weight = next(last.parameters())
    weight.grad = torch.ones_like(weight)
    handle = last.register_forward_hook(lambda *_: None)
    before = values(case.model) | manners(case.model)
    left_by(check_the_given_model_is_left_alone, method, case)
    changed = unequal(before, values(case.model) | manners(case.model))
    handle.remove()
    if changed:
        raise LawBroken(check_the_given_model_is_left_alone, method, f"changed {', '.join(changed[:3])} of the model that it was given")


def check_the_mode_of_the_given_model_is_nothing_to_it(method: Method, case: Case | None = None) -> None:
    """A model that comes in evaluation mode leaves with the bits of one that comes in training mode: each phase sets its own."""
    law, case = check_the_mode_of_the_given_model_is_nothing_to_it, case or Case.fresh()
    bits = set()
    for mode in (True, False):
        case.model.train(mode)
        bits.add(bits_of(law, method, case))
    if len(bits) > 1:
        raise LawBroken(law, method, "leaves other bits when the model comes in evaluation mode")


MODES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "number of threads": (torch.get_num_threads, torch.set_num_threads),
    "anomaly mode": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "autocast": (lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)),
}
"""Settings of the whole process that a method could leave turned: how to read each, and how to set it."""


def check_nothing_is_left_behind(method: Method, case: Case | None = None) -> None:
    """No gradient, mode, hook or optimizer stays behind; the model keeps its keys, shapes and types, the data its pixels and labels."""
    law, case = check_nothing_is_left_behind, case or Case.fresh()
    # Partly in evaluation mode, and frozen whole, as a model for inference may come.
    next(case.model.requires_grad_(False).children()).eval()
    modes, data = {k: read() for k, (read, _) in MODES.items()}, contents(case)
    # What was there before is set aside: only what is made from here on is looked through.
    gc.freeze()
    try:
        left = left_by(law, method, case)
        turned = unequal(modes, {k: read() for k, (read, _) in MODES.items()})
        gc.collect()
        alive = sum(issubclass(type(thing), torch.optim.Optimizer) for thing in gc.get_objects())
    finally:
        gc.unfreeze()
        for name, (_, turn) in MODES.items():
            turn(modes[name])
    if alive:
        raise LawBroken(law, method, f"left {alive} optimizer(s) alive")
    if turned:
        raise LawBroken(law, method, f"left torch's {turned[0]} changed")
    changed = unequal(data, contents(case))
    if changed:
        raise LawBroken(law, method, f"changed {changed[0]}")
    odd = unequal(manners(case.model), manners(left)) or unequal(*({k: v[:2] for k, v in values(m).items()} for m in (case.model, left)))
    if odd:
        raise LawBroken(law, method, f"left {odd[0]} other than it was")


def check_every_number_that_it_leaves_is_finite(method: Method, case: Case | None = None) -> None:
    """Weights, buffers and the logits of every part are neither NaN nor infinite."""
    law, case = check_every_number_that_it_leaves_is_finite, case or Case.fresh()
    left = left_by(law, method, case).eval()
    for name, value in left.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise LawBroken(law, method, f"left NaN or infinity in {name}")
    with torch.no_grad():
        for name, part in case.prepared.parts.items():
            x, _ = part.batch(torch.arange(len(part)))
            if not bool(torch.isfinite(left(x)).all()):
                raise LawBroken(law, method, f"left a model that answers {name} with NaN or infinity")
