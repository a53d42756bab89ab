"""Laws of Boundary Expand: a row is added, the forgotten are trained into it, and it is taken away."""

from __future__ import annotations

import copy
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import CLASSES, Case
from untrain.checks.forgetting import check_it_forgets_what_it_is_told_to
from untrain.checks.nets import OF_KINDS, EarlyExit
from untrain.checks.running import LawBroken, several_batches, watched
from untrain.core.network import Network
from untrain.core.seeds import mix
from untrain.core.train import fit
from untrain.core.unlearn import unlearn


def check_the_head_has_its_shape_again(method: Any, case: Case | None = None) -> None:
    """What it leaves answers with as many logits as before, and its head is the layer that it was: same width, same parameters by name and shape."""
    law, case = check_the_head_has_its_shape_again, case or Case.fresh()
    left = watched(method, case)[0].eval()
    before, after = (Network(m).head for m in (case.model, left))
    if (before.name, before.layer.extra_repr()) != (after.name, after.layer.extra_repr()):
        raise LawBroken(law, method, f"leaves the head {after.name!r} ({after.layer.extra_repr()}), which was {before.name!r} ({before.layer.extra_repr()})")
    shapes = [{name: value.shape for name, value in m.state_dict().items()} for m in (case.model, left)]
    if shapes[0] != shapes[1]:
        raise LawBroken(law, method, f"leaves other shapes: {sorted(set(shapes[0].items()) ^ set(shapes[1].items()))[:2]}")
    x, _ = case.prepared.forget.batch(torch.arange(2))
    if left(x).shape[1] != before.width:
        raise LawBroken(law, method, f"leaves a model of {left(x).shape[1]} answers, which had {before.width}")


def check_it_begins_with_a_new_row_beneath_the_old_ones(method: Any, case: Case | None = None) -> None:
    """At the first step the head has one row more, drawn anew; all else is the original's to the bit."""
    law, case = check_it_begins_with_a_new_row_beneath_the_old_ones, case or Case.fresh()
    begun = _begun(method, case)[0]
    head, width = Network(begun).head, Network(case.model).head.width
    if head.width != width + 1:
        raise LawBroken(law, method, f"begins with {head.width} rows, where the head had {width}")
    for name, value in case.model.named_parameters():
        own = dict(begun.named_parameters())[name]
        if not torch.equal(own[: len(value)], value):
            raise LawBroken(law, method, f"begins with another {name}")
    rows, new = head.layer.weight[:width], head.layer.weight[width]
    if any(torch.equal(row, new) for row in rows) or not bool(new.any()):
        raise LawBroken(law, method, "adds a row that is another's, or zero")


def check_it_is_the_naive_loop_on_the_added_class(method: Any, case: Case | None = None) -> None:
    """From its first step on, a plain loop that trains every forgotten sample as the added class, in training mode, comes to the weights that are left."""
    law, case = check_it_is_the_naive_loop_on_the_added_class, case or Case.fresh()
    module, method = copy.deepcopy(case.model).double(), several_batches(method)
    student, left, calls = _begun(method, case, module)
    student.train()
    width, weights = Network(module).head.width, list(student.parameters())
    stepper = torch.optim.Adam(weights, lr=method.lr) if method.optimizer == "adam" else torch.optim.SGD(weights, lr=method.lr, momentum=0.9, nesterov=True)
    for x, y, _ in case.prepared.forget.batches(method.batch, epochs=method.epochs, augment=method.augment).run(mix(0, calls)):
        assert isinstance(x, Tensor)
        assert y is not None
        stepper.zero_grad()
        torch.autograd.backward(F.cross_entropy(student(x.double()), torch.full_like(y, width)))
        stepper.step()
    for name, value in left.state_dict().items():
        due = student.state_dict()[name]
        due = due[: len(value)] if value.ndim else due
        apart, size = float((value.double() - due.double()).norm()), float(due.double().norm())
        if apart > 1e-6 * size:
            raise LawBroken(law, method, f"leaves {name} {apart:.1e} off what a plain loop makes of it, at a norm of {size:.1e}")


def check_every_exit_is_expanded_and_pruned(method: Any, case: Case | None = None) -> None:
    """Of a network with exits each head has a row more at the first step and its own number behind the last, and each has moved."""
    law, case = check_every_exit_is_expanded_and_pruned, case or Case.fresh()
    given, widths = EarlyExit(case.model), list[list[int]]()
    real = fit

    def spied(model: Network, *args: Any, **how: Any) -> Any:
        widths.append([head.width for head in model.heads])
        return real(model, *args, **how)

    with mock.patch("untrain.methods.expand.fit", spied):
        left = unlearn(given, case.prepared, method, head=",".join(EarlyExit.heads)).model
    if widths != [[CLASSES + 1] * len(EarlyExit.heads)]:
        raise LawBroken(law, method, f"begins with heads of {widths} rows, where {CLASSES + 1} are due in each")
    before = given.state_dict()
    for name in EarlyExit.heads:
        weight = left.state_dict()[f"{name}.weight"]
        if weight.shape != before[f"{name}.weight"].shape or torch.equal(weight, before[f"{name}.weight"]):
            raise LawBroken(law, method, f"leaves the head {name} as it was, or with {len(weight)} rows")


def _begun(method: Any, case: Case, module: nn.Module | None = None) -> tuple[nn.Module, nn.Module, int]:
    """The network as its first step finds it, what is left, and the number of the call."""
    begun: list[nn.Module] = []

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if not begun:
            begun.append(copy.deepcopy(network.module))

    left, _, run = watched(method, case, module=module, watch=watch)
    if not begun:
        raise LawBroken(check_it_begins_with_a_new_row_beneath_the_old_ones, method, "takes no step")
    return begun[0], left, run.calls


EXCEPTIONS = {
    "*": {OF_KINDS["weight_norm"]: "a head whose weight is computed from others cannot be made wider; it is refused, with the way to make it plain"},
    "paper": {
        check_it_forgets_what_it_is_told_to: "at the published rate of 1e-5 the few steps of a small forget set hardly move it: 1.5 times the loss, where the law asks for twice"
    },
}
