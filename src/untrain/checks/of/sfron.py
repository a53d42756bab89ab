"""Laws of SFRon: what its ascent may move, what its samples weigh, and that its turns are a plain loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.plain import Step, cross_entropy, hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, several_batches, watched
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import rate


def _importance(module: nn.Module, samples: Samples) -> list[Tensor]:
    """Mean squared gradient, one sample after the other, in evaluation mode."""
    module = copy.deepcopy(module).double().eval()
    sums = [torch.zeros_like(p) for p in module.parameters()]
    for i in range(len(samples)):
        x, y = samples.batch(torch.tensor([i]))
        assert isinstance(x, Tensor)
        for total, g in zip(sums, torch.autograd.grad(F.cross_entropy(module(x.double()), y), list(module.parameters())), strict=True):
            total += g.square()
    return [total / len(samples) for total in sums]


def _ratios(method: Any, case: Case) -> list[Tensor]:
    forgotten, kept = _importance(case.model, case.prepared.forget), _importance(case.model, case.prepared.retain.at_most(method.samples))
    return [(f + 1e-15) / (r + 1e-15) for f, r in zip(forgotten, kept, strict=True)]


def check_the_ascent_moves_what_matters_to_the_forgotten_and_nothing_else(method: Any, case: Case | None = None) -> None:
    """In each ascending step, under weight decay and momentum, weights keep their bits where F_f < gamma F_r, F from a plain loop over single samples, and most others move."""
    law, case = check_the_ascent_moves_what_matters_to_the_forgotten_and_nothing_else, case or Case.fresh()
    # At a gamma of 1 the ratio could as well be turned round.
    method = replace(several_batches(method), weight_decay=0.05, gamma=1.5)
    # A ratio within rounding of the threshold may fall on either side.
    ratios = torch.cat([r.reshape(-1) for r in _ratios(method, case)]) / method.gamma
    before: list[Tensor] = []

    def row(network: Network) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in network.parameters()])

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase == "ascend":
            before.append(row(network))

    def after(network: Network, phase: str, step: int) -> None:
        if phase != "ascend":
            return
        moved = row(network) != before[-1]
        strayed, free = int(moved[ratios < 1 - 1e-3].sum()), moved[ratios > 1 + 1e-3]
        if strayed:
            raise LawBroken(law, method, f"moves {strayed} weights in its ascent that matter less to the forgotten than {method.gamma:g} times as much as to the retained")
        if not free.float().mean() > 0.5:
            raise LawBroken(law, method, f"moves {int(free.sum())} of the {len(free)} weights that matter more to the forgotten")

    watched(method, case, watch=watch, after=after)


def check_a_sample_weighs_less_the_higher_its_loss(method: Any, case: Case | None = None) -> None:
    """The weights are 1 / loss^lambda over their sum, and nothing is learned through them."""
    law = check_a_sample_weighs_less_the_higher_its_loss
    losses = torch.tensor([0.01, 0.5, 2.0, 9.0], dtype=torch.float64, requires_grad=True)
    for power in (0.0, 0.5, 2.0):
        told = replace(method, power=power).weights(losses)
        due = [value**-power for value in losses.tolist()]
        if told.requires_grad:
            raise LawBroken(law, method, "lets a gradient through the weights of its samples")
        if not torch.allclose(told, torch.tensor(due, dtype=torch.float64) / sum(due)):
            raise LawBroken(law, method, f"weighs losses of {losses.tolist()} by {told.tolist()} at lambda {power:g}")


def check_the_turns_are_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """One ascending step, then `every` descending ones, and so on, each kind with an optimizer of its own and falling rates: a plain loop comes to the same weights, to 1e-5."""
    case = case or Case.fresh()
    # Three passes that are no whole number of turns.
    short = replace(several_batches(method), epochs=3, every=5)
    # Where steps are cut to one length all along, how alpha falls is not seen.
    for asked in (short, replace(short, alpha=0.1, clip=1e6)):
        _loop(asked, case)


def _loop(method: Any, case: Case) -> None:
    law, module = check_the_turns_are_a_plain_loop, copy.deepcopy(case.model).double()
    left, steps, _ = steps_of(method, case, module=module)
    turns = -(-method.epochs * len(case.split.retain.at_most(method.samples).batches(method.batch)) // method.every)
    if [step.phase for step in steps] != ["ascend", *["remain"] * method.every] * turns:
        raise LawBroken(law, method, f"takes the steps {[step.phase for step in steps]}, and not {turns} times one up and {method.every} down")
    masks, student = [ratio >= method.gamma for ratio in _ratios(method, case)], module.train()
    weights = list(student.parameters())
    steppers, done = {phase: stepper_of(method, weights) for phase in ("ascend", "remain")}, {"ascend": 0, "remain": 0}
    for step in steps:
        share = rate("cosine", done[step.phase], turns * (1 if step.phase == "ascend" else method.every))
        done[step.phase] += 1
        for group in steppers[step.phase].param_groups:
            group["lr"] = method.lr * share
        value = _up(method, student, step) * share if step.phase == "ascend" else cross_entropy(student, step.x, step.y)
        slopes, stays = torch.autograd.grad(value, weights), [p.detach().clone() for p in weights]
        if step.phase == "ascend":
            slopes = tuple(g * mask for g, mask in zip(slopes, masks, strict=True))
            length = torch.cat([g.reshape(-1) for g in slopes]).norm()
            slopes = tuple(g * min(1.0, method.clip / float(length)) for g in slopes)
        for p, g in zip(weights, slopes, strict=True):
            p.grad = g
        steppers[step.phase].step()
        if step.phase == "ascend":
            with torch.no_grad():
                for p, mask, stay in zip(weights, masks, stays, strict=True):
                    p.copy_(torch.where(mask, p, stay))
    hold(law, method, left, student)


def _up(method: Any, student: nn.Module, step: Step) -> Tensor:
    """Minus the weighted loss to climb, at the start's alpha."""
    each = -torch.log_softmax(student(step.x), 1)[torch.arange(len(step.y)), step.y]
    w = each.detach().pow(-float(method.power))
    return -float(method.alpha) * (w / w.sum() * each).sum()
