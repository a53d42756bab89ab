"""Laws of Influence: where theory says where it ends, it ends there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import CLASSES, Case
from untrain.checks.running import LawBroken, watched
from untrain.core.data import Samples

RIDGE = 0.05


def _linear(weight: Tensor) -> nn.Module:
    """Logits W x of images x."""
    layer = nn.Linear(64, CLASSES, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(weight)
    return nn.Sequential(nn.Flatten(), layer)


def _rows(samples: Samples) -> tuple[Tensor, Tensor]:
    x, y = samples.batch(torch.arange(len(samples)))
    assert isinstance(x, Tensor)
    return x.double().flatten(1), y


def _squared(answers: Tensor, y: Tensor) -> Tensor:
    off: Tensor = answers - F.one_hot(y, CLASSES).to(answers)
    size: Tensor = off.square().sum(1).mean() / 2
    return size


def _step(method: Any, case: Case, module: nn.Module, alpha: float = 1.0, samples: int = 10**6, **exchanged: Any) -> Tensor:
    exact = replace(method, alpha=alpha, damping=RIDGE, solve_steps=200, samples=samples)
    found: Tensor = watched(exact, case, module=module, **exchanged)[0].state_dict()["1.weight"]
    return found


def check_of_ridge_regression_it_is_the_leave_out(method: Any, case: Case | None = None) -> None:
    """On ridge regression, fitted to all in closed form, a step of length 1 with the ridge as damping is the closed form without the forgotten, to a millionth."""
    law, case = check_of_ridge_regression_it_is_the_leave_out, case or Case.fresh()
    forget, retain = case.prepared.forget, case.prepared.retain

    def fitted(samples: Samples) -> Tensor:
        x, y = _rows(samples)
        found: Tensor = torch.linalg.solve(x.T @ x / len(x) + RIDGE * torch.eye(64, dtype=torch.float64), x.T @ F.one_hot(y, CLASSES).double() / len(x))
        return found.T

    whole, due = fitted(forget + retain), fitted(retain)
    with mock.patch.object(type(method), "loss", lambda method, answers, y: _squared(answers, y)):
        left = _step(method, case, _linear(whole))
    off, way = float((left - due).norm()), float((due - whole).norm())
    if not off < 1e-6 * way:
        raise LawBroken(law, method, f"ends {off / way:.1e} of the way off the fit without the forgotten")


def check_where_the_loss_is_convex_it_is_right_to_first_order(method: Any, case: Case | None = None) -> None:
    """On logistic regression with a ridge the step that leaves out two of all images ends within a tenth of the way of the fit without them."""
    law, case = check_where_the_loss_is_convex_it_is_right_to_first_order, case or Case.fresh()
    few, rest = case.prepared.forget[:2], case.prepared.forget[2:] + case.prepared.retain
    whole, due = (_logistic(F.cross_entropy, samples) for samples in (few + rest, rest))
    left = _step(method, case, _linear(whole), forget=few, retain=rest)
    off, way = float((left - due).norm()), float((due - whole).norm())
    if not off < 0.1 * way:
        raise LawBroken(law, method, f"ends {off / way:.2f} of the way off the fit without the forgotten")


def check_its_step_is_as_long_as_alpha_says(method: Any, case: Case | None = None) -> None:
    """At alpha 0.5 and 3 the weights go half and thrice as far as at 1, the same way."""
    law, case = check_its_step_is_as_long_as_alpha_says, case or Case.fresh()
    start = 0.1 * torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = _step(method, case, _linear(start)) - start
    for alpha in (0.5, 3.0):
        way = _step(method, case, _linear(start), alpha=alpha) - start
        off = float((way - alpha * whole).norm() / whole.norm())
        if off > 1e-6:
            raise LawBroken(law, method, f"goes {float(way.norm() / whole.norm()):.3g} times as far at an alpha of {alpha:g} as at 1")


def check_retained_samples_that_are_not_looked_at_count_all_the_same(method: Any, case: Case | None = None) -> None:
    """Where each retained sample stands there twice, looking at one of each leaves what looking at all leaves: the forgotten are as small a share of all."""
    law, case = check_retained_samples_that_are_not_looked_at_count_all_the_same, case or Case.fresh()
    start, twice = torch.zeros(CLASSES, 64, dtype=torch.float64), case.prepared.retain + case.prepared.retain
    some, every = (_step(method, case, _linear(start), samples=n, retain=twice) for n in (len(case.split.retain), 10**6))
    if float((some - every).norm()) > 1e-6 * float(every.norm()):
        raise LawBroken(law, method, f"goes {float(some.norm() / every.norm()):.3g} times as far where it looks at half of the retained, the like of the other half")


def _logistic(loss: Callable[[Tensor, Tensor], Tensor], samples: Samples) -> Tensor:
    """Where the loss with the ridge is least, by torch's own L-BFGS."""
    x, y = _rows(samples)
    weight = torch.zeros(CLASSES, 64, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weight], max_iter=2000, tolerance_grad=1e-10, tolerance_change=1e-14, history_size=50, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        found = loss(x @ weight.T, y) + RIDGE / 2 * weight.square().sum()
        (weight.grad,) = torch.autograd.grad(found, weight)
        return found

    solver.step(value)  # type: ignore[no-untyped-call]
    return weight.detach()
