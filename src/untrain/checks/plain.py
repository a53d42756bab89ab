"""A plain loop in double precision: what a method's steps are held to by laws of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.running import Law, LawBroken, left_by, watched
from untrain.core.lean import lean
from untrain.core.network import Network
from untrain.core.train import Trace


@dataclass(frozen=True)
class Step:
    """What a step was shown.

    Args:
        phase: Its phase.
        x: The inputs of its first stream.
        y: Their labels.
        others: Inputs and labels of the streams beside that.
    """

    phase: str
    x: Tensor
    y: Tensor
    others: tuple[tuple[Tensor, Tensor], ...] = ()


def steps_of(method: Any, case: Case, *, module: nn.Module, streams: int = 1, **exchanged: Any) -> tuple[nn.Module, list[Step], Trace]:
    """Run a method at seed 0 on a copy of a module: what it leaves, and what each of its steps was shown, in double precision."""
    seen: list[tuple[str, Tensor, Tensor]] = []

    def watch(network: Network, phase: str, x: Tensor, y: Tensor) -> None:
        seen.append((phase, x.double().clone(), y.clone()))

    left, trace, _ = watched(method, case, module=module, watch=watch, **exchanged)
    cut = [seen[i : i + streams] for i in range(0, len(seen), streams)]
    return left, [Step(*first, tuple((x, y) for _, x, y in rest)) for first, *rest in cut], trace


def shown(method: Any, case: Case) -> tuple[nn.Module, nn.Module, list[Step]]:
    """A copy of the case's model in double precision, what the method leaves of it, and what each of its steps was shown, stream by stream.

    In double precision, as a bias ahead of BatchNorm is moved by rounding alone in single, which Adam blows up to full steps.
    """
    module = copy.deepcopy(case.model).double()
    left, steps, _ = steps_of(method, case, module=module)
    return module, left, steps


def hold_replaced(law: Law, method: Any, before: dict[str, Tensor], left: dict[str, Tensor], names: Sequence[str], alpha: float, beta: float = 1.0) -> None:
    """Hold weights to (1 - alpha) of what they were and alpha beta of a new layer's, which knows nothing of them: to four standard errors of its size and of a cosine.

    Raises:
        LawBroken: which weights are not.
    """
    for name in names:
        old, n = before[name].double(), before[name].numel()
        part = left[name].double() - (1 - alpha) * old
        # A new layer's values are uniform within 1 / sqrt(inputs): of that standard deviation.
        size, due = float(part.square().mean()) ** 0.5, alpha * beta * (3 * old[0].numel()) ** -0.5
        if abs(size / due - 1) > 4 / n**0.5:
            raise LawBroken(law, method, f"adds noise of {size:.3g} to {name}, where {due:.3g} is due")
        cosine = float((old * part).sum() / (old.norm() * part.norm()))
        if abs(cosine) > 4 / n**0.5:
            raise LawBroken(law, method, f"adds noise to {name} at a cosine of {cosine:.2f} with what it was, at a share of {alpha}")


def cross_entropy(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean of -log p(y), p what the student answers."""
    return F.nll_loss(torch.log_softmax(student(x), 1), y)


def stepper_of(method: Any, weights: Sequence[Tensor], **other: Any) -> torch.optim.Optimizer:
    """Torch's own optimizer of the method's kind, rate and weight decay, or of others; its compiler is not imported for it."""
    how: dict[str, Any] = {"lr": getattr(method, "lr", 0.0), "weight_decay": getattr(method, "weight_decay", 0.0)} | other
    if getattr(method, "optimizer", "sgd") == "adam":
        return lean(torch.optim.Adam)(weights, **how)
    return lean(torch.optim.SGD)(weights, momentum=0.9, nesterov=True, **how)


def stepped(stepper: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the slope of this loss."""
    stepper.zero_grad()
    torch.autograd.backward(loss)
    stepper.step()


def follow(steps: Sequence[Step], student: nn.Module, stepper: torch.optim.Optimizer, loss: Callable[[nn.Module, Step], Tensor]) -> None:
    """Take the steps one by one, each down the slope of its loss."""
    for step in steps:
        stepped(stepper, loss(student, step))


def hold(law: Law, method: Any, left: nn.Module, due: nn.Module, within: float = 1e-5) -> None:
    """Hold what a method left to what a plain loop made, as far as so small a share of each tensor's norm.

    Raises:
        LawBroken: a weight or a buffer is farther off.
    """
    found = left.state_dict()
    for name, value in due.state_dict().items():
        off, size = (float(t.double().norm()) for t in (found[name].double() - value.double(), value))
        if not off <= within * size:
            raise LawBroken(law, method, f"leaves {name} {off:.1e} off what a plain loop makes of it, at a norm of {size:.1e}")


def hold_beside(law: Law, method: Any, case: Case, loss: Callable[[nn.Module, Step], Tensor]) -> None:
    """Hold a method of one phase, over retained samples with forgotten ones beside them, to a plain loop in training mode.

    Raises:
        LawBroken: it sees other samples, or other ones together, or comes to other weights or buffers.
    """
    module = copy.deepcopy(case.model).double()
    left, steps, _ = steps_of(method, case, module=module, streams=2)
    due = method.epochs * len(case.split.retain.at_most(method.samples).batches(method.batch))
    if len(steps) != due:
        raise LawBroken(law, method, f"takes {len(steps)} steps, and not {due}, one for each batch of retained samples")
    gone = torch.tensor(GONE)
    for step in steps:
        if torch.isin(step.y, gone).any():
            raise LawBroken(law, method, "does not set forgotten samples beside retained ones")
    student = module.train()
    follow(steps, student, stepper_of(method, list(student.parameters())), loss)
    hold(law, method, left, student)


def _read(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What each layer's weight is multiplied with [n, d], in evaluation mode."""
    seen: dict[str, Tensor] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d):
            cut = nn.Unfold(layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
            layer.register_forward_hook(lambda _, given, __, name=name, cut=cut: seen.update({name: cut(given[0]).mT.flatten(0, 1)}))
        elif isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda own, given, _, name=name: seen.update({name: given[0]}))
    with torch.no_grad():
        module.eval()(x)
    return seen


def spans(method: Any, case: Case) -> dict[str, Tensor]:
    """Of each layer the singular vectors [d, k] of its inputs over the retained samples that have the method's share of the energy."""
    some = case.prepared.retain.at_most(method.samples)
    x, _ = some.batch(torch.arange(len(some)))
    assert isinstance(x, Tensor)
    found = {}
    for name, rows in _read(copy.deepcopy(case.model).double(), x.double()).items():
        _, s, V = torch.linalg.svd(rows, full_matrices=False)
        kept = s.square().cumsum(0) / s.square().sum()
        found[name] = V[: int((kept < method.energy).sum()) + 1].mT
    return found


def projected(loss: Tensor, weights: dict[str, Tensor], held: dict[str, Tensor]) -> None:
    """Give weights the slope of a loss as their gradient, without what lies along the vectors that `spans` tells of their layer."""
    for (name, weight), g in zip(weights.items(), torch.autograd.grad(loss, list(weights.values())), strict=True):
        rows = g.flatten(1)
        weight.grad = (rows - (rows @ held[name]) @ held[name].mT).view_as(g)


def hold_spared(law: Law, method: Any, case: Case) -> None:
    """Hold a method to what `spans` tells: no layer's weight moves along it, and nothing of one dimension moves at all.

    Raises:
        LawBroken: a layer does, or nothing moves.
    """
    before, moved = case.model.state_dict(), 0.0
    for energy in (method.energy, 0.8):
        asked = replace(method, energy=energy)
        left = left_by(law, asked, case).state_dict()
        for name, V in spans(asked, case).items():
            change = (left[f"{name}.weight"] - before[f"{name}.weight"]).double().flatten(1)
            along, moved = float((change @ V).norm()), moved + float(change.norm())
            if along > 1e-4 * float(change.norm()) + 1e-6:
                raise LawBroken(law, method, f"moves {name} by {along:.2g} along what the retained excite, of {float(change.norm()):.2g} in all, at an energy of {energy}")
        odd = [name for name, value in before.items() if value.ndim < 2 and not torch.equal(value, left[name])]
        if odd:
            raise LawBroken(law, method, f"moves {odd[0]}, which moves every answer")
    if not moved:
        raise LawBroken(law, method, "moves nothing")
