"""Laws of Influence: where theory says where it ends, it ends there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import CLASSES, Case
from untrain.checks.running import LawBroken, watched
from untrain.core.data import Samples
from untrain.core.errors import Diverged

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


def check_every_solver_ends_where_the_whole_matrix_does(method: Any, case: Case | None = None) -> None:
    """On softmax regression conjugate gradients, and LiSSA with all samples in a batch, end where numpy's solver with the whole Gauss-Newton matrix does, to a millionth."""
    law, case = check_every_solver_ends_where_the_whole_matrix_does, case or Case.fresh()
    start, G, v = _regression(case)
    largest = float(np.linalg.eigvalsh(G)[-1])
    due = np.linalg.solve(G + largest / 2 * np.eye(len(G)), v)
    for solver in ("cg", "lissa"):
        asked = replace(method, solver=solver, alpha=1.0, damping=largest / 2, solve_steps=60, samples=10**6, batch=10**6, scale=1.51 * largest)
        off = np.linalg.norm(_moved(asked, case, start) - due) / np.linalg.norm(due)
        if not off < 1e-6:
            raise LawBroken(law, asked, f"ends {off:.1e} of the way off the solution by the whole matrix")


def check_ekfac_is_the_matrix_with_its_own_eigenvectors(method: Any, case: Case | None = None) -> None:
    """On softmax regression its step is numpy's by the diagonal of the whole Gauss-Newton matrix in the eigenvectors of mean g g' and mean a a'."""
    law, case = check_ekfac_is_the_matrix_with_its_own_eigenvectors, case or Case.fresh()
    start, G, v = _regression(case)
    X, P = (part.numpy() for part in _said(start, case.prepared.retain))
    S = (np.diag(P.sum(0)) - P.T @ P) / len(P)
    V = np.kron(np.linalg.eigh(S)[1], np.linalg.eigh(X.T @ X / len(X))[1])
    due = V @ ((V.T @ v) / (np.diag(V.T @ G @ V) + RIDGE))
    asked = replace(method, solver="ekfac", alpha=1.0, damping=RIDGE, samples=10**6)
    off = np.linalg.norm(_moved(asked, case, start) - due) / np.linalg.norm(due)
    if not off < 1e-6:
        raise LawBroken(law, asked, f"ends {off:.1e} of the way off the solution by the matrix of these eigenvectors")


def check_the_size_of_a_batch_is_nothing_to_it(method: Any, case: Case | None = None) -> None:
    """Conjugate gradients and EK-FAC go by means over samples: batches of 20 and of 64 leave the network the same, to a thousandth of the way."""
    law, case = check_the_size_of_a_batch_is_nothing_to_it, case or Case.fresh()
    before = torch.cat([weight.detach().flatten() for weight in case.model.parameters()])
    for solver in ("cg", "ekfac"):
        asked = replace(method, solver=solver, damping=1.0, solve_steps=2)
        small, large = (torch.cat([weight.detach().flatten() for weight in watched(replace(asked, batch=batch), case)[0].parameters()]) for batch in (20, 64))
        off = float((small - large).norm() / (large - before).norm())
        if not off < 1e-3:
            raise LawBroken(law, asked, f"ends {off:.1e} of the way off by batches of 20 from where it does by 64")


def check_lissa_that_runs_away_ends_the_run(method: Any, case: Case | None = None) -> None:
    """At a scale of a quarter of the largest eigenvalue it ends in `Diverged`, and nothing is left of the step."""
    law, case = check_lissa_that_runs_away_ends_the_run, case or Case.fresh()
    start, G, _ = _regression(case)
    asked = replace(method, solver="lissa", damping=RIDGE, solve_steps=100, samples=10**6, batch=10**6, scale=float(np.linalg.eigvalsh(G)[-1]) / 4)
    try:
        way = _moved(asked, case, start)
    except Diverged:
        if "scale" not in asked.advice("diverged", "solve"):
            raise LawBroken(law, asked, "is not told to raise its scale where it ran away") from None
        return
    raise LawBroken(law, asked, f"goes {np.linalg.norm(way):.1e} far, and does not say that it ran away")


def _regression(case: Case) -> tuple[Tensor, Any, Any]:
    """Weights of a softmax regression, the Gauss-Newton matrix of its cross-entropy on the retained, and v; from the formulas of softmax, in numpy."""
    start = 0.3 * torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slopes = []
    for part in (case.prepared.forget, case.prepared.retain):
        X, P = (found.numpy() for found in _said(start, part))
        slopes.append((P - np.eye(CLASSES)[_rows(part)[1].numpy()]).T @ X / len(X))
    share = len(case.prepared.forget) / (len(case.prepared.forget) + len(case.prepared.retain))
    curved = np.einsum("nc,cd->ncd", P, np.eye(CLASSES)) - P[:, :, None] * P[:, None, :]
    G = np.einsum("ncd,ni,nj->cidj", curved, X, X).reshape(CLASSES * 64, CLASSES * 64) / len(X)
    return start, G, share * (slopes[0] - slopes[1]).reshape(-1)


def _said(weight: Tensor, samples: Samples) -> tuple[Tensor, Tensor]:
    """Images by row, and the probabilities that softmax regression gives them."""
    x, _ = _rows(samples)
    return x, (x @ weight.T).softmax(1)


def _moved(method: Any, case: Case, start: Tensor) -> Any:
    """How far the weights of softmax regression go, as one row."""
    found: Tensor = watched(method, case, module=_linear(start))[0].state_dict()["1.weight"]
    return (found - start).reshape(-1).numpy()


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


_FEW = "its error falls by the damping over the scale with each batch, and 200 leave most of it"
EXCEPTIONS = {
    "ekfac": {check_where_the_loss_is_convex_it_is_right_to_first_order: "of more than one sample the softmax's curvature is no Kronecker product"},
    "lissa": {
        check_of_ridge_regression_it_is_the_leave_out: _FEW,
        check_where_the_loss_is_convex_it_is_right_to_first_order: _FEW,
        check_retained_samples_that_are_not_looked_at_count_all_the_same: "each batch that it draws of other samples is another one",
    },
}
