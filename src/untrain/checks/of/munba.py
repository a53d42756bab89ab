"""Laws of `MUNBa`: the weights of its two gradients are the bargain's, and it is a plain loop over both streams."""

from __future__ import annotations

import copy
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.checks.case import GONE, Case
from untrain.checks.running import LawBroken, several_batches, watched
from untrain.core.network import Network
from untrain.core.train import minimize
from untrain.methods import munba


def check_its_weights_solve_the_bargain(method: Any, case: Case | None = None) -> None:
    """The step alpha_r g_r + alpha_f g_f has K alpha = 1 / alpha to 1e-5, K the inner products of the two, for gradients at any angle; opposite ones give a finite step."""
    law, case, combines = check_its_weights_solve_the_bargain, case or Case.fresh(), []
    real = minimize

    def spy(*args: Any, **how: Any) -> Any:
        combines.append(how["combine"])
        return real(*args, **how)

    with mock.patch.object(munba, "minimize", spy):
        watched(method, case)
    draw = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1.0, 30.0):
        for shared in (-0.9, 0.0, 0.7):
            g, h = (torch.randn(50, generator=draw, dtype=torch.double) for _ in range(2))
            h = scale * (h + shared * g)
            step = torch.cat([part.reshape(-1) for part in combines[0]([[g[:20].view(4, 5), g[20:]], [h[:20].view(4, 5), h[20:]]])])
            both = torch.stack([g, h])
            alpha = torch.linalg.lstsq(both.T, step[:, None]).solution[:, 0]
            off = max(float((both @ both.T @ alpha - 1 / alpha).norm()), float((both.T @ alpha - step).norm()))
            if not bool((alpha > 0).all()) or off > 1e-5:
                raise LawBroken(law, method, f"weighs the gradients by {alpha.tolist()}, which is {off:.1e} off K alpha = 1 / alpha")
    opposite = combines[0]([[torch.ones(3)], [-2 * torch.ones(3)]])[0]
    # As in the published code: the retained's gradient, and a tenth of the other.
    if not torch.allclose(opposite, torch.full((3,), 0.8)):
        raise LawBroken(law, method, f"steps to {opposite.tolist()} where the gradients are 1 and -2 and have no bargain, and 0.8 is due")


def check_the_bargain_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """With wrong labels that are known, a plain loop that adds both gradients at unit length comes to the same weights, to 1e-5 of each tensor's norm."""
    law, case = check_the_bargain_is_the_naive_loop, case or Case.fresh()
    module, method = copy.deepcopy(case.model).double(), several_batches(method)
    seen: list[tuple[Tensor, Tensor]] = []

    def watch(network: Network, phase: str, x: Tensor, y: Tensor) -> None:
        seen.append((x.double().clone(), y.clone()))

    with mock.patch.object(munba, "others", _next):
        left, _, _ = watched(method, case, module=module, watch=watch)
    if len(seen) != 2 * method.epochs * len(case.split.retain.at_most(method.samples).batches(method.batch)):
        raise LawBroken(law, method, f"looks at {len(seen)} batches, which is not two for each batch of retained samples")
    student, among = module.train(), torch.tensor(case.split.retain.classes)
    how = {"lr": method.lr, "weight_decay": method.weight_decay}
    stepper: torch.optim.Optimizer = (
        torch.optim.Adam(student.parameters(), **how) if method.optimizer == "adam" else torch.optim.SGD(student.parameters(), momentum=0.9, nesterov=True, **how)
    )
    for (x, y), (gone, true) in zip(seen[::2], seen[1::2], strict=True):
        if torch.isin(y, torch.tensor(GONE)).any() or not torch.isin(true, torch.tensor(GONE)).all():
            raise LawBroken(law, method, "does not set forgotten samples beside retained ones")
        keep, forget = (
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(F.nll_loss(torch.log_softmax(student(a), 1), b), list(student.parameters()))])
            for a, b in ((x, y), (gone, _next(true, among)))
        )
        middle = keep / keep.norm() + forget / forget.norm()
        middle = middle * min(2**0.5, method.clip) / middle.norm()
        for parameter, part in zip(student.parameters(), torch.split(middle, [p.numel() for p in student.parameters()]), strict=True):
            parameter.grad = part.view_as(parameter)
        stepper.step()
    for name, value in student.state_dict().items():
        off = float((left.state_dict()[name].double() - value.double()).norm())
        if off > 1e-5 * float(value.double().norm()):
            raise LawBroken(law, method, f"leaves {name} {off:.1e} off what a plain loop makes of it, at a norm of {float(value.double().norm()):.1e}")


def _next(y: Tensor, among: Tensor) -> Tensor:
    """A kept class for each label, always the same."""
    return among[(y + 1) % len(among)]
