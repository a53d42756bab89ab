"""Laws of `UNDO`: how it damages weights, how it renews BatchNorm, and what it distils."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.checks.case import GONE, Case
from untrain.checks.plain import hold, hold_replaced, shown, stepper_of
from untrain.checks.running import LawBroken, left_by, several_batches, watched
from untrain.core.engine import seeded
from untrain.core.network import Network
from untrain.core.train import rate


def check_alpha_says_how_much_is_replaced(method: Any, case: Case | None = None) -> None:
    """Without steps: at alpha 0 every bit stays; at alpha 1 nothing is left of the old weights; between, the part beside them has the size of a new layer's, alpha beta times.

    BatchNorm's statistics are then those of the new weights.
    """
    law, case = check_alpha_says_how_much_is_replaced, case or Case.fresh()
    before = case.model.state_dict()
    left = left_by(law, replace(method, epochs=0, alpha=0.0), case).state_dict()
    odd = [name for name, value in before.items() if not torch.equal(value, left[name])]
    if odd:
        raise LawBroken(law, method, f"moves {odd[0]} at alpha 0")
    names = [name for name, p in case.model.named_parameters() if p.ndim > 1]
    whole = left_by(law, replace(method, epochs=0, alpha=1.0, beta=1.0), case).state_dict()
    # All the retained in batches of one size, so that a mean over batches is one over images.
    half = left_by(law, replace(method, epochs=0, alpha=0.5, beta=1.0, samples=len(case.split.retain), batch=16), case).state_dict()
    hold_replaced(law, method, before, whole, names, 1.0)
    hold_replaced(law, method, before, half, names, 0.5)
    x, _ = case.prepared.retain.batch(torch.arange(len(case.split.retain)))
    assert isinstance(x, Tensor)
    if not torch.allclose(half["bn1.running_mean"], F.conv2d(x, half["conv1.weight"], padding=1).mean((0, 2, 3)), rtol=1e-3, atol=1e-4):
        raise LawBroken(law, method, "leaves BatchNorm statistics that are not those of the damaged weights on the retained")
    quiet = left_by(law, replace(method, epochs=0, alpha=0.5, beta=0.3), case).state_dict()
    hold_replaced(law, method, before, quiet, names, 0.5, 0.3)
    for vectors, scale in ((False, 1.0), (True, 0.5)):
        left = left_by(law, replace(method, epochs=0, alpha=0.5, vectors=vectors), case).state_dict()
        odd = [name for name, p in case.model.named_parameters() if p.ndim == 1 and not torch.allclose(left[name], scale * p)]
        if odd:
            raise LawBroken(law, method, f"leaves {odd[0]} not {scale} times what it was, at alpha 0.5 and vectors={vectors}")


def check_shrinking_alone_leaves_the_function_to_batchnorm(method: Any, case: Case | None = None) -> None:
    """Filters ahead of BatchNorm that are only shrunk answer as before once its statistics are renewed, to 1e-5; renewal itself is a mean over plain batches."""
    law, case = check_shrinking_alone_leaves_the_function_to_batchnorm, case or Case.fresh()
    kept, outs = case.prepared.retain, []
    x, _ = kept.batch(torch.arange(len(kept)))
    assert isinstance(x, Tensor)
    for scale in (1.0, 0.4):
        module = copy.deepcopy(case.model).double()
        for part in module.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.weight.data *= scale
                if part.bias is not None:
                    part.bias.data *= scale
            if isinstance(part, torch.nn.BatchNorm2d):
                part.eps = 1e-12
        with seeded(0):
            replace(method, batch=16).renew(Network(module), kept)
        outs.append(module.eval()(x.double()).detach())
        first = next(part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d))
        ahead = next(part for part in module.modules() if isinstance(part, torch.nn.Conv2d))
        means = [ahead(some).mean((0, 2, 3)) for some in torch.split(x.double(), 16)]
        if first.running_mean is None or not torch.allclose(first.running_mean, torch.stack(means).mean(0), rtol=1e-6, atol=1e-8):
            raise LawBroken(law, method, "renews statistics that are not the mean over the batches")
        if first.momentum != torch.nn.BatchNorm2d(1).momentum:
            raise LawBroken(law, method, f"leaves BatchNorm a momentum of {first.momentum}, which was {torch.nn.BatchNorm2d(1).momentum}")
    apart = float((outs[0] - outs[1]).abs().max())
    if apart > 1e-5 * float(outs[0].abs().max()):
        raise LawBroken(law, method, f"answers {apart:.2g} apart where filters ahead of BatchNorm were shrunk and its statistics renewed")


def check_the_distillation_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """From the weights that no steps leave, a plain loop, whose teacher was copied before they were damaged, comes to the same weights and buffers, to 1e-5 of each norm."""
    law, case = check_the_distillation_is_the_naive_loop, case or Case.fresh()
    method = several_batches(method)
    teacher, left, steps = shown(method, case)
    student, _, _ = watched(replace(method, epochs=0), case, module=copy.deepcopy(teacher))
    teacher.eval()
    stepper = stepper_of(method, list(student.train().parameters()))
    for step, (x, y) in enumerate((each.x, each.y) for each in steps):
        if torch.isin(y, torch.tensor(GONE)).any():
            raise LawBroken(law, method, "distils on forgotten samples")
        with torch.no_grad():
            p = torch.softmax(teacher(x), 1)
        p[:, list(GONE)] = 0
        p /= p.sum(1, keepdim=True)
        stepper.param_groups[0]["lr"] = method.lr * rate(method.schedule, step, len(steps))
        stepper.zero_grad()
        torch.autograd.backward((torch.xlogy(p, p) - p * torch.log_softmax(student(x), 1)).sum(1).mean())
        if method.clip:
            torch.nn.utils.clip_grad_norm_(student.parameters(), method.clip)
        stepper.step()
    hold(law, method, left, student)
