"""Laws of `CT`: each square kernel is turned over, nothing else moves before training, and training is what fine-tuning is."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from untrain.checks.case import GONE, Case
from untrain.checks.nets import OF_KINDS, with_tied_kernels
from untrain.checks.plain import hold, shown, stepped, stepper_of
from untrain.checks.running import Law, LawBroken, left_by, several_batches
from untrain.core.train import rate


def _turn(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size[0] == layer.kernel_size[1] > 1:
            layer.weight.data = torch.stack([torch.stack([kernel.T for kernel in row]) for row in layer.weight.data])


def check_every_square_kernel_is_transposed_and_nothing_else(method: Any, case: Case | None = None) -> None:
    """Without steps each square kernel is its own transpose, and every other value keeps its bits; done twice it is the identity."""
    law, case = check_every_square_kernel_is_transposed_and_nothing_else, case or Case.fresh()
    still = replace(method, epochs=0)
    left = left_by(law, still, case)
    before, due = case.model.state_dict(), copy.deepcopy(case.model)
    _turn(due)
    odd = [name for name, value in due.state_dict().items() if not torch.equal(value, left.state_dict()[name])]
    turned = [name for name, value in before.items() if not torch.equal(value, left.state_dict()[name])]
    if odd or not turned:
        raise LawBroken(law, method, f"leaves {odd[0]} other than transposing every square kernel does" if odd else "transposes nothing")
    again = left_by(law, still, replace(case, model=left)).state_dict()
    if any(not torch.equal(value, again[name]) for name, value in before.items()):
        raise LawBroken(law, method, "is not what it was when it is transposed twice")


def check_a_kernel_that_two_layers_share_is_transposed_once(method: Any, case: Case | None = None) -> None:
    """Of a network with one kernel in two convolutions this too is its own transpose without steps, and not turned back by the second."""
    law, case = check_a_kernel_that_two_layers_share_is_transposed_once, with_tied_kernels(case or Case.fresh())
    left = left_by(law, replace(method, epochs=0), case).state_dict()
    odd = [name for name, value in case.model.state_dict().items() if value.ndim == 4 and not torch.equal(value.mT, left[name])]
    if odd:
        raise LawBroken(law, method, f"does not leave {odd[0]} transposed, where one.weight and two.weight are the same")


def check_the_training_behind_it_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """From transposed kernels, a plain loop over retained batches at the scheduled rate comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_training_behind_it_is_the_naive_loop, case or Case.fresh()
    method = several_batches(method)
    student, left, steps = shown(method, case)
    _turn(student)
    stepper = stepper_of(method, list(student.train().parameters()))
    for step, (x, y) in enumerate((each.x, each.y) for each in steps):
        if torch.isin(y, torch.tensor(GONE)).any():
            raise LawBroken(law, method, "fine-tunes on forgotten samples")
        stepper.param_groups[0]["lr"] = method.lr * rate(method.schedule, step, len(steps))
        stepped(stepper, F.nll_loss(torch.log_softmax(student(x), 1), y))
    hold(law, method, left, student)


EXCEPTIONS: dict[str, dict[Law, str]] = {"*": {OF_KINDS["a_frozen_body"]: "the convolutions are frozen, and it refuses a model of which it can transpose nothing"}}
