"""Laws of EUk: which layers stand, and that nothing is left of the others."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from untrain.checks.case import Case, KnownRecipe
from untrain.checks.plain import Step, cross_entropy, follow, hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, moved_rows, several_batches, watched

LAYERS = (("conv1", "bn1"), ("conv2", "bn2"), ("hidden",), ("linear",))
"""The layers of the case's network, first to last."""


def check_the_first_layers_stand_and_the_last_are_new(method: Any, case: Case | None = None) -> None:
    """Without a step the last k layers are those of the network that the recipe builds, buffers too, and the others the original's to the bit; so these are after all steps."""
    law, case, recipe = check_the_first_layers_stand_and_the_last_are_new, case or Case.fresh(), KnownRecipe()
    for k in (1, 3):
        small = replace(several_batches(method), k=k, weight_decay=0.05)
        drawn, trained = (watched(m, case, recipe=recipe)[0].state_dict() for m in (replace(small, train_epochs=0), small))
        stands = {name for layer in LAYERS[:-k] for name in layer}
        for name, value in case.model.state_dict().items():
            if name.partition(".")[0] in stands:
                if moved_rows(value, drawn[name]) or moved_rows(value, trained[name]):
                    raise LawBroken(law, method, f"changes {name} where k is {k}")
            elif not torch.equal(drawn[name], recipe.module.state_dict()[name]):
                raise LawBroken(law, method, f"begins with another {name} than the network that is built anew has, where k is {k}")


def check_what_the_last_layers_were_is_nothing_to_it(method: Any, case: Case | None = None) -> None:
    """Another head and hidden layer in the original leave the same bits, with k 2."""
    law, case = check_what_the_last_layers_were_is_nothing_to_it, case or Case.fresh()
    other = copy.deepcopy(case.model)
    with torch.no_grad():
        for name, weight in other.named_parameters():
            if name in ("hidden.weight", "linear.weight"):
                weight.mul_(-2.0)
    one, two = (watched(replace(method, k=2), case, module=module)[0].state_dict() for module in (case.model, other))
    apart = [name for name, value in one.items() if not torch.equal(value, two[name])]
    if apart:
        raise LawBroken(law, method, f"leaves another {apart[0]} where the layers that it draws anew were others")


def check_the_new_layers_follow_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop over the new layers, the others in evaluation mode, comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case, recipe = check_the_new_layers_follow_a_plain_loop, case or Case.fresh(), KnownRecipe()
    module, method = copy.deepcopy(case.model).double(), replace(several_batches(method), k=3, schedule="constant")
    left, steps, _ = steps_of(method, case, module=module, recipe=recipe)
    student, last = module.eval(), [name for layer in LAYERS[-3:] for name in layer]
    free = [part for name, part in student.named_children() if name in last]
    for name in last:
        getattr(student, name).load_state_dict(getattr(recipe.module, name).state_dict())
        getattr(student, name).train()

    def loss(student: nn.Module, step: Step) -> Any:
        return cross_entropy(student, step.x, step.y)

    follow(steps, student, stepper_of(method, [p for part in free for p in part.parameters()]), loss)
    hold(law, method, left, student)
