"""Laws of `HAMU`: its step keeps both constraints and nothing feasible is better, the other rules take out conflict, and a run is a plain loop."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.checks.case import GONE, Case
from untrain.checks.fields import hold_knobs
from untrain.checks.plain import Step, hold, steps_of
from untrain.checks.running import LawBroken, several_batches

ANGLES = (-0.95, -0.4, 0.0, 0.5, 0.9)


def _pairs(draw: torch.Generator, n: int = 12) -> list[tuple[Tensor, Tensor]]:
    """Pairs of vectors at several angles and lengths."""
    out = []
    for cosine in ANGLES:
        for length in (0.05, 1.0, 20.0):
            a, b = (torch.randn(n, generator=draw, dtype=torch.double) for _ in range(2))
            a /= a.norm()
            b -= (a @ b) * a
            out.append((a, length * (cosine * a + (1 - cosine**2) ** 0.5 * b / b.norm())))
    return out


def check_its_step_is_the_best_feasible_one(method: Any, case: Case | None = None) -> None:
    """Both constraints hold to 1e-6 and the step beats 10,000 random feasible ones, at all angles; where none is feasible it forgets the most it may, and is no NaN."""
    law = check_its_step_is_the_best_feasible_one
    if method.rule not in ("hamu-q", "hamu-u"):
        return
    draw = torch.Generator().manual_seed(0)
    for g_r, g_f in _pairs(draw):
        d = -torch.cat([g.reshape(-1) for g in method.direction([[g_r.view(3, 4)], [g_f.view(3, 4)]])])
        R = float(g_r.norm())
        if not bool(torch.isfinite(d).all()) or float(d.norm()) > R + 1e-6:
            raise LawBroken(law, method, f"steps by {float(d.norm()):.6g}, where {R:.6g} is the longest")
        quota = method.quota
        # Directions within the ball, in the plane of the two and out of it: what is best lies in the plane.
        random = torch.randn(10_000, len(g_r), generator=draw, dtype=torch.double)
        plane = torch.randn(10_000, 2, generator=draw, dtype=torch.double) @ torch.stack([g_r / g_r.norm(), g_f / g_f.norm()])
        tried = torch.cat([random, plane])
        tried *= R * torch.rand(len(tried), 1, generator=draw, dtype=torch.double).sqrt() / tried.norm(dim=1, keepdim=True)
        harm, gain = tried @ g_r, tried @ g_f
        if method.rule == "hamu-q" and quota > R * float(g_f.norm()):
            short = R * float(g_f.norm()) - float(d @ g_f)
            if short > 1e-6:
                raise LawBroken(law, method, f"cannot forget by {quota}, and forgets {short:.3g} less than it may")
            continue
        if method.rule == "hamu-q":
            slack, mine, other = float(d @ g_f) - quota, float(d @ g_r), harm[gain >= quota]
        else:
            slack, mine, other = quota - float(d @ g_r), -float(d @ g_f), -gain[harm <= quota]
        if slack < -1e-6:
            raise LawBroken(law, method, f"misses its constraint by {-slack:.3g}")
        if len(other) and float(other.min()) < mine - 1e-9:
            raise LawBroken(law, method, f"comes to {mine:.6g}, where a random feasible step comes to {float(other.min()):.6g}")


def check_the_other_rules_take_out_conflict(method: Any, case: Case | None = None) -> None:
    """Under pcgrad neither part of the step opposes the other's aim; under gru it is the closest to g_f that does not raise the retained's loss, cut to the cap."""
    law = check_the_other_rules_take_out_conflict
    if method.rule not in ("pcgrad", "gru"):
        return
    # A cap of 1 would hide where it stands.
    method = replace(method, cap=0.3)
    for g_r, g_f in _pairs(torch.Generator().manual_seed(1)):
        d = -torch.cat([g.reshape(-1) for g in method.direction([[g_r[:5], g_r[5:]], [g_f[:5], g_f[5:]]])])
        if float(d @ g_r) > 1e-9 * float(g_r.norm() * d.norm() + 1):
            raise LawBroken(law, method, f"raises the retained's loss by {float(d @ g_r):.3g}")
        if float(d @ g_f) < -1e-9:
            raise LawBroken(law, method, f"lowers the forgotten's loss by {-float(d @ g_f):.3g}")
        conflict = float(g_r @ g_f) > 0
        unit_r, unit_f = g_r / g_r.norm(), g_f / g_f.norm()
        without_r, without_f = g_f - (g_f @ unit_r) * unit_r, -g_r + (g_r @ unit_f) * unit_f
        if method.rule == "gru":
            due = without_r if conflict else g_f
            due = due * min(1.0, method.cap / float(due.norm()))
        else:
            due = (without_r + without_f) / 2 if conflict else (g_f - g_r) / 2
        if float((d - due).norm()) > 1e-9 * float(due.norm()):
            raise LawBroken(law, method, f"steps {float((d - due).norm()):.3g} off what is without conflict")


def check_the_joint_steps_are_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop that adds the rate times the direction to the weights, the direction found in the plane of the two gradients, comes to the same weights, to 1e-5."""
    law, case, method = check_the_joint_steps_are_the_naive_loop, case or Case.fresh(), several_batches(method)
    module = copy.deepcopy(case.model).double()
    left, steps, _ = steps_of(method, case, module=module, streams=2)
    student = module.train()
    weights = list(student.parameters())

    def slopes(x: Tensor, y: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(F.nll_loss(torch.log_softmax(student(x), 1), y), weights))

    for step in steps:
        (gone, true), kept = step.others[0], step
        if torch.isin(kept.y, torch.tensor(GONE)).any() or not torch.isin(true, torch.tensor(GONE)).all():
            raise LawBroken(law, method, "does not set forgotten samples beside retained ones")
        _naive(method, weights, slopes, kept, (gone, true))
    hold(law, method, left, student)


def check_its_knobs_are_those_of_its_rule(method: Any, case: Case | None = None) -> None:
    """Each knob that it names, turned as it says, changes the bits under this very rule."""
    hold_knobs(check_its_knobs_are_those_of_its_rule, method, case or Case.fresh())


def _naive(method: Any, weights: Sequence[Tensor], slopes: Any, kept: Step, gone: tuple[Tensor, Tensor]) -> None:
    up = slopes(*gone)
    down = slopes(kept.x, kept.y)
    if method.rule in ("pcgrad", "gru"):
        r, f = (torch.cat([g.reshape(-1) for g in some]) for some in (down, up))
        across = f - (f @ r) / (r @ r) * r if float(f @ r) > 0 else f
        back = -r + (r @ f) / (f @ f) * f if float(f @ r) > 0 else -r
        d = across * min(1.0, method.cap / float(across.norm())) if method.rule == "gru" else (across + back) / 2
        moves = [part.view_as(w) for part, w in zip(torch.split(d, [w.numel() for w in weights]), weights, strict=True)]
    else:
        moves = [_searched(method, r.reshape(-1), f.reshape(-1)).view_as(r) for r, f in zip(down, up, strict=True)]
    norm = float(torch.cat([m.reshape(-1) for m in moves]).norm())
    short = min(1.0, method.clip / norm) if method.clip else 1.0
    with torch.no_grad():
        for weight, move in zip(weights, moves, strict=True):
            weight += method.lr * short * move


def _searched(method: Any, r: Tensor, f: Tensor) -> Tensor:
    """The best direction in the plane of the two by its angle alone: what is feasible is an arc of the circle, and the aim falls along it, so that an end of the arc is best."""
    R, quota = float(r.norm()), float(method.quota)
    if R < 1e-14 or float(f.norm()) < 1e-14:
        return torch.zeros_like(r) if R < 1e-14 else -r
    aim, bound, least = (r, f, quota) if method.rule == "hamu-q" else (-f, -r, -quota)
    along: Tensor = bound / bound.norm()
    across: Tensor = aim - (aim @ along) * along
    across = across / across.norm().clamp(min=1e-300)
    most: float = least / float(bound.norm())
    if most > R:
        return along * R
    free: Tensor = -R * aim / aim.norm()
    if float(free @ bound) >= least:
        return free
    return along * most - across * float(max(0.0, R**2 - most**2) ** 0.5)
