"""Laws of `ZeroScissors`: what its noise is, that the cut goes by it, and that the repair is a plain loop over the retained and the noise."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.forgetting import check_it_forgets_what_it_is_told_to
from untrain.checks.plain import stepper_of, steps_of
from untrain.checks.running import Law, LawBroken, left_by, several_batches, watched
from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.network import Network
from untrain.core.site import site_of

EXCEPTIONS: dict[str, dict[Law, str]] = {
    "unsir": {check_it_forgets_what_it_is_told_to: "noise on which the model errs already says little of the class: told to forget others, it undoes as much of a small network"}
}


def _noise(method: Any, case: Case) -> tuple[Tensor, Tensor]:
    """The noise that it learns, and the labels."""
    network = Network(copy.deepcopy(case.model))
    with seeded(0, network=network):
        kept = case.prepared.retain
        found, _ = method.learned(site_of(network, kept), kept, GONE)
    x, y = found.batch(torch.arange(len(found)))
    assert isinstance(x, Tensor)
    return x, y


def _given(case: Case, each: int = 6) -> tuple[Tensor, Tensor]:
    """Some images to stand where the noise does, of every class to forget as many."""
    draw = torch.Generator().manual_seed(3)
    return torch.randn(each * len(GONE), *case.prepared.retain.shape, generator=draw), torch.tensor(GONE).repeat_interleave(each)


def _put(x: Tensor, y: Tensor) -> Any:
    """These in the place of what it learns."""
    return mock.patch("untrain.methods.zeroscissors.ZeroScissors.learned", return_value=(Samples(x, y), []))


def _row(module: nn.Module, loss: Tensor) -> Tensor:
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(module.parameters()))])


def check_its_noise_is_like_the_class_or_what_is_taken_for_none_of_it(method: Any, case: Case | None = None) -> None:
    """Each class has as many, under its own number; learned one way their cross-entropy falls below that of N(0, 1), the other way it rises; the model stays to the bit."""
    law, case = check_its_noise_is_like_the_class_or_what_is_taken_for_none_of_it, case or Case.fresh()

    def error(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            return F.nll_loss(torch.log_softmax(copy.deepcopy(case.model).eval()(x), 1), y, reduction="none")

    for kind, way in (("minimizing", -1), ("maximizing", 1)):
        asked = replace(method, kind=kind, noise=0.5, noise_steps=12)
        (first, began), (x, y) = _noise(replace(asked, noise_steps=0), case), _noise(asked, case)
        if not torch.equal(began, y) or [y.tolist().count(c) for c in GONE] != [12] * len(GONE) or len(y) != 12 * len(GONE):
            raise LawBroken(law, method, f"labels noise {y.tolist()}, where half as many as retained samples are due, evenly for {GONE}")
        if not all(way * float(error(x, y)[y == c].mean() - error(first, y)[y == c].mean()) > 0 for c in GONE):
            raise LawBroken(law, method, f"learns noise of the wrong sign where it is to be {kind}")
    before: list[bool] = []

    def cut(model: Network, *_: Any, **__: Any) -> list[Any]:
        before.append(all(torch.equal(a, b) for a, b in zip(model.module.state_dict().values(), case.model.state_dict().values(), strict=True)))
        return []

    with mock.patch("untrain.methods.zeroscissors.cut_and_repair", cut):
        watched(replace(method, noise_steps=3), case)
    if before != [True]:
        raise LawBroken(law, method, "moves the model while it learns noise")


def check_what_is_salient_for_the_noise_is_drawn_anew(method: Any, case: Case | None = None) -> None:
    """Without steps the weights of the later layers that change are the share of which |weight times slope| of the noise's cross-entropy is largest, and no other weight does."""
    law, case = check_what_is_salient_for_the_noise_is_drawn_anew, case or Case.fresh()
    x, y = _given(case)
    module = copy.deepcopy(case.model).double().eval()
    weights = dict(module.named_parameters())
    slopes = torch.autograd.grad(F.nll_loss(torch.log_softmax(module(x.double()), 1), y), list(weights.values()))
    scores = {name: (weight.detach() * slope).abs() for (name, weight), slope in zip(weights.items(), slopes, strict=True)}
    wide, before = [name for name, weight in weights.items() if weight.ndim > 1], dict(case.model.named_parameters())
    for later, share in ((1.0, 0.2), (0.5, 0.3)):
        with _put(x, y):
            left = dict(left_by(law, replace(method, epochs=0, later=later, share=share), case).named_parameters())
        reached = wide[len(wide) - round(later * len(wide)) :]
        row = torch.cat([scores[name].reshape(-1) for name in reached])
        moved = torch.cat([(left[name] != before[name]).reshape(-1) for name in reached])
        due = round(share * len(row))
        slip = int((~moved[row.argsort(descending=True)[: due - len(row) // 100]]).sum())
        if int(moved.sum()) != due or slip:
            raise LawBroken(law, method, f"draws {int(moved.sum())} weights anew, where {due} are due, and leaves {slip} of the most salient for the noise")
        odd = [name for name in weights if name not in reached and not torch.equal(left[name], before[name])]
        if odd:
            raise LawBroken(law, method, f"moves {odd[0]}, which is none of what it may draw anew")


def check_the_repair_is_a_plain_loop_over_the_retained_and_the_noise(method: Any, case: Case | None = None) -> None:
    """From the weights that no steps leave, a plain loop with gradients projected by hand comes to the same weights; BatchNorm's statistics are those of the retained alone."""
    law, case = check_the_repair_is_a_plain_loop_over_the_retained_and_the_noise, case or Case.fresh()
    method = replace(several_batches(method), margin=0.3, lam=0.01)
    # Images of the class stand for noise that is like it: learning the retained goes against forgetting them now and then, and not against forgetting N(0, 1).
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    module, known = copy.deepcopy(case.model).double(), {row.numpy().tobytes() for row in x.double()}
    with _put(x.double(), y):
        student, _, _ = steps_of(replace(method, epochs=0), case, module=module, streams=2)
        left, steps, _ = steps_of(method, case, module=module, streams=2)
    way = _row(student, -F.nll_loss(torch.log_softmax(_as_it_was(student, case)(x.double()), 1), y))
    stepper = stepper_of(method, list(student.parameters()))
    student.train()
    against = 0
    for step in steps:
        gone, true = step.others[0]
        if not {row.numpy().tobytes() for row in gone} <= known or torch.isin(step.y, torch.tensor(GONE)).any():
            raise LawBroken(law, method, "does not set its noise beside retained samples")
        g = _row(student, -method.lam * F.nll_loss(torch.log_softmax(student(gone), 1), true))
        g += _row(student, F.nll_loss(torch.log_softmax(student(step.x), 1), step.y))
        against += float(g @ way) < 0
        if float(g @ way) < 0:
            g = g + max(method.margin, float(-(g @ way) / (way @ way))) * way
        for weight, part in zip(student.parameters(), torch.split(g, [w.numel() for w in student.parameters()]), strict=True):
            weight.grad = part.view_as(weight)
        stepper.step()
    if not against:
        raise LawBroken(law, method, "was never asked to project: its steps tell nothing")
    for (name, a), b in zip(left.named_parameters(), student.parameters(), strict=True):
        off = float((a - b).detach().norm() / b.detach().norm())
        if off > 1e-5:
            raise LawBroken(law, method, f"leaves {name} {off:.2g} of its norm off the plain loop")
    kept, _ = case.prepared.retain.batch(torch.arange(len(case.split.retain)))
    assert isinstance(kept, Tensor)
    left.requires_grad_(False)
    ahead = next(part for part in left.modules() if isinstance(part, nn.Conv2d))
    norm = next(part for part in left.modules() if isinstance(part, nn.BatchNorm2d))
    due = torch.stack([ahead(some).mean((0, 2, 3)) for some in torch.split(kept.double(), method.batch)]).mean(0)
    if norm.running_mean is None or not torch.allclose(norm.running_mean, due, rtol=1e-6, atol=1e-8):
        raise LawBroken(law, method, "leaves statistics that are not of the retained alone")


def _as_it_was(student: nn.Module, case: Case) -> nn.Module:
    """The cut model before its statistics were renewed, sharing its weights: in evaluation mode the way of forgetting is taken with the original's."""
    buffers = {name: value.double() if value.is_floating_point() else value for name, value in case.model.named_buffers()}
    for name, value in student.named_buffers():
        value.copy_(buffers[name])
    return student.eval()
