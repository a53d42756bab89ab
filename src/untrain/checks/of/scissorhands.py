"""Laws of `Scissorhands`: what it draws anew, that no step opposes forgetting, and that a run is a plain loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.plain import hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, left_by, several_batches
from untrain.core.errors import BadArgument


def _scores(module: nn.Module, case: Case) -> dict[str, Tensor]:
    """|weight times slope| of the forget set's cross-entropy, in evaluation mode."""
    module = copy.deepcopy(module).double().eval()
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    weights = dict(module.named_parameters())
    slopes = torch.autograd.grad(F.nll_loss(torch.log_softmax(module(x.double()), 1), y), list(weights.values()))
    return {name: (weight.detach() * slope).abs() for (name, weight), slope in zip(weights.items(), slopes, strict=True)}


def check_what_is_salient_is_drawn_anew_and_nothing_else(method: Any, case: Case | None = None) -> None:
    """Without steps the most salient share of the later layers' weights is as in a new layer, and all the rest is the same to the bit; a rule that reaches nothing is refused."""
    law, case = check_what_is_salient_is_drawn_anew_and_nothing_else, case or Case.fresh()
    before = {name: weight.detach() for name, weight in case.model.named_parameters()}
    scores, wide = _scores(case.model, case), [name for name, weight in before.items() if weight.ndim > 1]
    for later, share in ((1.0, 0.2), (0.5, 0.3)):
        left = dict(left_by(law, replace(method, epochs=0, later=later, share=share), case).named_parameters())
        # In this network layers stand in the order in which they run.
        reached = wide[len(wide) - round(later * len(wide)) :]
        row = torch.cat([scores[name].reshape(-1) for name in reached])
        moved = torch.cat([(left[name] != before[name]).reshape(-1) for name in reached])
        count, edge = int(moved.sum()), round(share * len(row))
        if count != edge:
            raise LawBroken(law, method, f"draws {count} of {len(row)} weights anew, where {edge} are due at a share of {share}")
        slip = int((~moved[row.argsort(descending=True)[: edge - len(row) // 100]]).sum())
        if slip:
            raise LawBroken(law, method, f"leaves {slip} of the most salient weights as they were")
        odd = [name for name, weight in before.items() if name not in reached and not torch.equal(weight, left[name])]
        if odd:
            raise LawBroken(law, method, f"moves {odd[0]}, which is none of what it may draw anew")
        for name in reached:
            new, bound = left[name][left[name] != before[name]].detach().abs(), before[name][0].numel() ** -0.5
            if (len(new) > 20 and not 0.8 * bound < 2 * float(new.mean()) * (1 + 2 * len(new) ** -0.5) < 2 * bound) or (len(new) and float(new.max()) > bound):
                raise LawBroken(law, method, f"draws values of {float(new.mean()):.3g} on average into {name}, where a new layer's lie within {bound:.3g}")
    try:
        left_by(law, replace(method, epochs=0, later=0.0), case)
    except BadArgument:
        return
    raise LawBroken(law, method, "runs where its rule reaches no layer")


def check_no_step_opposes_forgetting(method: Any, case: Case | None = None) -> None:
    """The projected gradient does not oppose the way of forgetting; one without conflict is left as it is, and without a margin the change is the smallest that does it."""
    law, draw = check_no_step_opposes_forgetting, torch.Generator().manual_seed(0)
    for _ in range(60):
        g, w = ([torch.randn(3, 4, generator=draw, dtype=torch.double), torch.randn(5, generator=draw, dtype=torch.double)] for _ in range(2))
        flat, way = (torch.cat([part.reshape(-1) for part in some]) for some in (g, w))
        for margin in (0.0, method.margin):
            found = torch.cat([part.reshape(-1) for part in replace(method, margin=margin).projected(g, w)])
            if float(found @ way) < -1e-9:
                raise LawBroken(law, method, f"leaves a gradient that opposes forgetting by {-float(found @ way):.3g}")
            due = flat if float(flat @ way) >= 0 else flat + max(margin, -float(flat @ way / (way @ way))) * way
            if float((found - due).norm()) > 1e-12 * float(due.norm()):
                raise LawBroken(law, method, f"leaves a gradient {float((found - due).norm()):.3g} off the closest that does not oppose forgetting, at a margin of {margin}")


def check_the_repair_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """From the weights that no steps leave, a plain loop over both streams whose gradients are projected by hand comes to the same weights, to 1e-5 of each norm."""
    law, case = check_the_repair_is_the_naive_loop, case or Case.fresh()
    method = several_batches(method)
    module = copy.deepcopy(case.model).double()
    student, _, _ = steps_of(replace(method, epochs=0), case, module=module, streams=2)
    left, steps, _ = steps_of(method, case, module=module, streams=2)
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    weights = list(student.parameters())

    def row(loss: Tensor) -> Tensor:
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, weights)])

    way = row(-F.nll_loss(torch.log_softmax(student.eval()(x.double()), 1), y))
    stepper = stepper_of(method, weights)
    student.train()
    for step in steps:
        gone, true = step.others[0]
        if torch.isin(step.y, torch.tensor(GONE)).any() or not torch.isin(true, torch.tensor(GONE)).all():
            raise LawBroken(law, method, "does not set forgotten samples beside retained ones")
        up = row(-method.lam * F.nll_loss(torch.log_softmax(student(gone), 1), true))
        g = row(F.nll_loss(torch.log_softmax(student(step.x), 1), step.y)) + up
        if float(g @ way) < 0:
            g = g + max(method.margin, float(-(g @ way) / (way @ way))) * way
        for weight, part in zip(weights, torch.split(g, [w.numel() for w in weights]), strict=True):
            weight.grad = part.view_as(weight)
        stepper.step()
    hold(law, method, left, student)
