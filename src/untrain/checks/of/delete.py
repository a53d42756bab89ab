"""Laws of DELETE: what it teaches, and that it teaches it as the paper says."""

from __future__ import annotations

import copy
from typing import Any

import torch

from untrain.checks.case import Case
from untrain.checks.running import LawBroken, several_batches, watched
from untrain.core.seeds import mix


def check_the_target_is_what_is_left_of_the_answer(method: Any, case: Case | None = None) -> None:
    """The target has 0 at the label and p_k / (1 - p_y) elsewhere, p the model's answer; so it does for answers that are sure of the label."""
    law, case = check_the_target_is_what_is_left_of_the_answer, case or Case.fresh()
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    with torch.no_grad():
        logits = copy.deepcopy(case.model).eval()(x)
    for scale in (1.0, 30.0):
        p, target = torch.softmax(scale * logits.double(), 1), method.target(scale * logits, y)
        for i, label in enumerate(y.tolist()):
            if float(target[i, label]) != 0.0:
                raise LawBroken(law, method, f"teaches the forgotten label {label} with a probability of {float(target[i, label]):.2e}")
            rest = torch.ones(p.shape[1], dtype=torch.bool)
            rest[label] = False
            due = p[i, rest] / p[i, rest].sum()
            if not torch.allclose(target[i, rest].double(), due, rtol=1e-4, atol=1e-7):
                raise LawBroken(law, method, f"teaches {target[i, rest].tolist()} where the original's answer without the label {label} is {due.tolist()}")


def check_it_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop in training mode, whose teacher was copied before the run and answers in evaluation mode, comes to the same weights and buffers."""
    law, case = check_it_is_the_naive_loop, (case or Case.fresh()).misnamed()
    module, method = copy.deepcopy(case.model).double(), several_batches(method)
    teacher, student = copy.deepcopy(module).eval(), copy.deepcopy(module).train()
    left, _, run = watched(method, case, module=module)
    batches = case.prepared.forget.batches(method.batch, epochs=method.epochs, augment=method.augment)
    adam, weights = method.optimizer == "adam", list(student.parameters())
    stepper = torch.optim.Adam(weights, lr=method.lr) if adam else torch.optim.SGD(weights, lr=method.lr, momentum=0.9, nesterov=True)
    for x, y, _ in batches.run(mix(0, run.calls)):
        assert isinstance(x, torch.Tensor)
        assert y is not None
        with torch.no_grad():
            p = torch.softmax(teacher(x.double()), 1)
            p[torch.arange(len(y)), y] = 0
            p /= p.sum(1, keepdim=True)
        q = torch.log_softmax(student(x.double()), 1)
        loss = (torch.xlogy(p, p) - p * q).sum(1).mean()
        stepper.zero_grad()
        torch.autograd.backward(loss)
        stepper.step()
    for name, value in student.state_dict().items():
        apart, size = (float(t.double().norm()) for t in (left.state_dict()[name].double() - value.double(), value))
        if apart > 1e-6 * size:
            raise LawBroken(law, method, f"leaves {name} {apart:.1e} off what a plain loop makes of it, at a norm of {size:.1e}")
