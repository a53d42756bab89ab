"""Laws of `WDR`: what its distance is, which way it drives, and that a run is a plain loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.checks.case import GONE, Case
from untrain.checks.plain import hold, shown, stepped, stepper_of
from untrain.checks.running import LawBroken, several_batches, watched
from untrain.methods import wdr


def check_its_distance_is_of_directions_and_drives_away(method: Any, case: Case | None = None) -> None:
    """At the old weights its slope is finite; elsewhere it points away from them; and where filters are turned alone, longer ones are no farther."""
    law, draw = check_its_distance_is_of_directions_and_drives_away, torch.Generator().manual_seed(0)
    old = [torch.randn(4, 3, 3, 3, generator=draw, dtype=torch.double), torch.randn(4, generator=draw, dtype=torch.double)]
    at = [o.clone().requires_grad_() for o in old]
    slopes = torch.autograd.grad(method.away(at, old), at)
    if not all(bool(torch.isfinite(s).all()) for s in slopes):
        raise LawBroken(law, method, "has a slope of NaN or infinity at the old weights")
    near = [(o + 0.1 * torch.randn(o.shape, generator=draw, dtype=torch.double)).requires_grad_() for o in old]
    here = method.away(near, old)
    out, here = torch.autograd.grad(here, near), here.detach()
    on = [n.detach() + 0.01 * s / torch.cat([t.reshape(-1) for t in out]).norm() for n, s in zip(near, out, strict=True)]
    if not float(method.away(on, old)) > float(here) > float(method.away(old, old)):
        raise LawBroken(law, method, "drives back to the old weights")
    if not method.turned:
        due = (torch.cat([(n.detach() - o).reshape(-1) for n, o in zip(near, old, strict=True)]).square().mean() + 1e-8).sqrt()
        if abs(float(here - due)) > 1e-12:
            raise LawBroken(law, method, f"measures {float(here):.6g}, where the weights are {float(due):.6g} away")
        return
    longer = [old[0] * torch.tensor([0.2, 1.0, 3.0, 9.0], dtype=torch.double).view(4, 1, 1, 1), old[1]]
    if (paid := float(method.away(longer, old))) > 1.01e-4:
        raise LawBroken(law, method, f"is paid {paid:.3g} for filters that are longer, and not other")


def check_the_regularised_training_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop whose old weights were copied before the run, and whose distance goes filter by filter, comes to the same weights and buffers, to 1e-5 of each norm."""
    law, case = check_the_regularised_training_is_the_naive_loop, case or Case.fresh()
    method = several_batches(method)
    student, left, steps = shown(method, case)
    old = [w.detach().clone() for w in student.parameters()]
    stepper = stepper_of(method, list(student.train().parameters()))

    def away() -> Tensor:
        total = torch.zeros((), dtype=torch.double)
        for w, o in zip(student.parameters(), old, strict=True):
            rows = [(a, b) for a, b in zip(w, o, strict=True)] if w.ndim > 1 and method.turned else [(w, o)]
            for a, b in rows:
                total = total + ((a * (b.norm() / a.norm()) if w.ndim > 1 and method.turned else a) - b).pow(2).sum()
        return torch.sqrt(total / sum(o.numel() for o in old) + 1e-8)

    for step in steps:
        if torch.isin(step.y, torch.tensor(GONE)).any():
            raise LawBroken(law, method, "is given forgotten samples")
        stepped(stepper, F.nll_loss(torch.log_softmax(student(step.x), 1), step.y) - method.alpha * away())
    hold(law, method, left, student)


def check_it_ends_farther_from_the_old_weights(method: Any, case: Case | None = None) -> None:
    """It ends at a greater distance than the same run that is paid nothing for it."""
    law, case = check_it_ends_farther_from_the_old_weights, case or Case.fresh()
    old = [w.detach() for w in case.model.parameters()]
    with_, without = (watched(replace(method, alpha=a), case)[0] for a in (method.alpha, 0.0))
    far, near = (float(wdr.distance([w.detach() for w in m.parameters()], old, turned=method.turned)) for m in (with_, without))
    if not far > near:
        raise LawBroken(law, method, f"ends {far:.3g} from the old weights, and {near:.3g} where it is paid nothing for going")
