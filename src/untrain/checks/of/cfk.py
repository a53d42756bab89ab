"""Laws of CFk: which layers stand, and that what is done to the others is a plain loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from torch import nn

from untrain.checks.case import Case
from untrain.checks.nets import case_of
from untrain.checks.plain import Step, cross_entropy, follow, hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, moved_rows, several_batches, watched

LAYERS = (("conv1", "bn1"), ("conv2", "bn2"), ("hidden",), ("linear",))
"""The layers of the case's network, first to last."""


def check_the_first_layers_stand_to_the_bit(method: Any, case: Case | None = None) -> None:
    """Of the case's network the layers but the last k keep every bit, running statistics included, under weight decay and momentum, and each of the last k moves."""
    law, case = check_the_first_layers_stand_to_the_bit, case or Case.fresh()
    for k in (1, 2, 3):
        left = watched(replace(several_batches(method), k=k, weight_decay=0.05), case)[0].state_dict()
        stands, free = ({name for layer in part for name in layer} for part in (LAYERS[:-k], LAYERS[-k:]))
        moved = {name.partition(".")[0] for name, value in case.model.state_dict().items() if moved_rows(value, left[name])}
        if moved & stands:
            raise LawBroken(law, method, f"moves {sorted(moved & stands)} where k is {k}")
        if free - moved:
            raise LawBroken(law, method, f"leaves {sorted(free - moved)} where it was, with k {k}")


def check_a_weight_that_an_earlier_layer_shares_stands(method: Any, case: Case | None = None) -> None:
    """Of two layers with one weight, of which one is frozen, only what the other has of its own moves."""
    law, case = check_a_weight_that_an_earlier_layer_shares_stands, case_of("tied_weights")
    left = watched(replace(several_batches(method), k=2), case)[0].state_dict()
    moved = {name for name, value in case.model.state_dict().items() if moved_rows(value, left[name])}
    if moved != {"two.bias", "head.weight", "head.bias"}:
        raise LawBroken(law, method, f"moves {sorted(moved)}, with one.weight and two.weight the same and k 2")


def check_the_last_layers_follow_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop over the last layers, the others in evaluation mode, comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_last_layers_follow_a_plain_loop, case or Case.fresh()
    module, method = copy.deepcopy(case.model).double(), replace(several_batches(method), k=3, schedule="constant")
    left, steps, _ = steps_of(method, case, module=module)
    student = module.eval()
    free = [part for name, part in student.named_children() if name in {name for layer in LAYERS[-3:] for name in layer}]
    for part in free:
        part.train()

    def loss(student: nn.Module, step: Step) -> Any:
        return cross_entropy(student, step.x, step.y)

    follow(steps, student, stepper_of(method, [p for part in free for p in part.parameters()]), loss)
    hold(law, method, left, student)
