"""Laws of `SALSA`: what it follows, how it is held, and that without either it has nothing to do."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from typing import Any

import torch

from untrain.checks.case import Case
from untrain.checks.plain import hold, shown, stepped, stepper_of
from untrain.checks.running import LawBroken, several_batches, watched
from untrain.core.errors import BadArgument


def check_the_target_has_a_share_less_at_the_top(method: Any, case: Case | None = None) -> None:
    """The target sums to 1, has (1 - alpha) of its share at the top class, and the rest in proportion; so it does for answers that are sure."""
    law, case = check_the_target_has_a_share_less_at_the_top, case or Case.fresh()
    x, _ = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    with torch.no_grad():
        logits = copy.deepcopy(case.model).double().eval()(x.double() if isinstance(x, torch.Tensor) else x)
    for scale, share in ((1.0, 0.3), (4.0, 0.6), (1.0, 0.0)):
        p, top = torch.softmax(scale * logits, 1), logits.argmax(1)
        found = method.target(scale * logits, top, share).exp()
        due = p.clone()
        for i, c in enumerate(top.tolist()):
            rest = [k for k in range(p.shape[1]) if k != c]
            due[i, c] = (1 - share) * p[i, c]
            due[i, rest] = p[i, rest] / p[i, rest].sum() * (1 - due[i, c])
        if not torch.allclose(found, due, rtol=1e-6, atol=1e-12):
            raise LawBroken(law, method, f"follows answers that are {float((found - due).abs().max()):.2g} off, where {share} is taken off the top class")


def check_it_is_held_more_the_closer_to_the_input(method: Any, case: Case | None = None) -> None:
    """The hold falls from the input to the output, and grows over the run; no share to take off and no hold leave a loss of 0."""
    law, case = check_it_is_held_more_the_closer_to_the_input, case or Case.fresh()
    for done in (0.0, 1.0):
        held = [method.strength(place, done) for place in range(5)]
        if any(a >= b for a, b in itertools.pairwise(held)):
            raise LawBroken(law, method, f"holds the tensors from the output on by {held}, which does not grow towards the input")
    if not method.strength(0, 0.0) < method.strength(0, 0.5) < method.strength(0, 1.0):
        raise LawBroken(law, method, "does not hold more as the run goes on")
    free, sure = replace(method, alpha=0.0, alpha_end=0.0, pull=0.0, pull_each=0.0, pull_end=0.0), copy.deepcopy(case.model)
    # So sure that in single precision nothing is left for the others.
    dict(sure.named_parameters())["linear.weight"].data *= 30
    for module in (case.model, sure):
        losses = watched(free, case, module=module)[1]["distil"].losses
        if not max(map(abs, losses)) < 1e-6:
            raise LawBroken(law, method, f"has a loss of {max(map(abs, losses)):.2g} where there is nothing to take off and nothing holds it")


def check_a_whole_share_is_refused(method: Any, case: Case | None = None) -> None:
    """A share that leaves the top class nothing is refused before a model is touched."""
    law = check_a_whole_share_is_refused
    for name in ("alpha", "alpha_end"):
        try:
            replace(method, **{name: 1.0})
        except BadArgument:
            continue
        raise LawBroken(law, method, f"takes {name}=1.0, from which every network is infinitely far")


def check_the_distillation_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop in training mode, whose top class is that of a copy made before the run, comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_distillation_is_the_naive_loop, (case or Case.fresh()).misnamed()
    method = replace(several_batches(method), steps=12)
    student, left, steps = shown(method, case)
    original = copy.deepcopy(student).eval()
    starts, weights = [p.detach().clone() for p in student.parameters()], list(student.train().parameters())
    stepper = stepper_of(method, weights)
    if len(steps) != method.steps:
        raise LawBroken(law, method, f"takes {len(steps)} steps")
    for step, x in enumerate(each.x for each in steps):
        rise = (1 - math.cos(math.pi * step / (method.steps - 1))) / 2
        share = method.alpha + (method.alpha_end - method.alpha) * rise
        p, top = torch.softmax(student(x), 1), original(x).argmax(1)
        t = p.detach().clone()
        for i, c in enumerate(top.tolist()):
            less = (1 - share) * t[i, c]
            t[i] *= (1 - less) / (1 - t[i, c])
            t[i, c] = less
        held = sum(
            (method.pull + method.pull_each * place + method.pull_end * rise) * (w - s).square().sum()
            for place, (w, s) in enumerate(zip(reversed(weights), reversed(starts), strict=True))
        )
        stepped(stepper, (p * (p.log() - t.log())).sum(1).mean() + held)
    hold(law, method, left, student)
