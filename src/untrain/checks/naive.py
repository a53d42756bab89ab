"""What laws share that hold a method to a naive loop: the batches that it saw, a plain optimizer, and the comparison at the end."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.running import Law, LawBroken, watched
from untrain.core.network import Network
from untrain.core.trace import Trace

Seen = list[tuple[str, Tensor, Tensor]]


def witnessed(method: Any, case: Case, **exchanged: Any) -> tuple[nn.Module, nn.Module, Seen, Trace]:
    """A copy of the case's model in double precision, what the method leaves of it, and each batch that it took a step on: phase, x, y.

    In double precision, as a bias ahead of BatchNorm is moved by rounding alone in single, which Adam blows up to full steps.
    """
    module, seen = copy.deepcopy(case.model).double(), list[tuple[str, Tensor, Tensor]]()

    def watch(network: Network, phase: str, x: Tensor, y: Tensor) -> None:
        seen.append((phase, x.double().clone(), y.clone()))

    left, trace, _ = watched(method, case, module=copy.deepcopy(module), watch=watch, **exchanged)
    return module, left, seen, trace


def plain(kind: str, weights: list[nn.Parameter], lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """An optimizer of this kind, as torch has it."""
    if kind == "adam":
        return torch.optim.Adam(weights, lr=lr, weight_decay=weight_decay)
    return torch.optim.SGD(weights, lr=lr, weight_decay=weight_decay, momentum=0.9, nesterov=True)


def stepped(stepper: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down this loss."""
    stepper.zero_grad()
    torch.autograd.backward(loss)
    stepper.step()


def compare(law: Law, method: Any, left: nn.Module, due: nn.Module, near: float = 1e-5) -> None:
    """Each tensor that was left is the one that is due, but for this share of its norm."""
    for name, value in due.state_dict().items():
        off, norm = float((left.state_dict()[name].double() - value.double()).norm()), float(value.double().norm())
        if not off <= near * norm:
            raise LawBroken(law, method, f"leaves {name} {off:.1e} off what a plain loop makes of it, at a norm of {norm:.1e}")
