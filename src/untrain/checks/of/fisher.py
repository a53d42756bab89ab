"""Laws of Fisher: how much noise each weight gets, and what becomes of rows of which nothing is retained."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.running import LawBroken, watched
from untrain.core.data import Samples


def _information(module: nn.Module, samples: Samples) -> dict[str, Tensor]:
    """One sample and one label after the other."""
    module = copy.deepcopy(module).eval()
    weights = dict(module.named_parameters())
    sums = {name: torch.zeros_like(p) for name, p in weights.items()}
    for i in range(len(samples)):
        x, _ = samples.batch(torch.tensor([i]))
        assert isinstance(x, Tensor)
        said = torch.log_softmax(module(x.double()), 1)[0]
        for log_p in said:
            for name, g in zip(sums, torch.autograd.grad(log_p, list(weights.values()), retain_graph=True), strict=True):
                sums[name] += float(log_p.detach().exp()) * g.square() / len(samples)
    return sums


def check_the_noise_is_what_the_information_says(method: Any, case: Case | None = None) -> None:
    """With noise of 1 everywhere each weight moves by sqrt(v), v from a plain loop over samples and labels; rows of classes of which nothing is retained are noise alone."""
    law, case = check_the_noise_is_what_the_information_says, case or Case.fresh()
    module = copy.deepcopy(case.model).double()
    with mock.patch.object(torch, "randn", torch.ones):
        left = dict(watched(method, case, module=module)[0].named_parameters())
    found = _information(module, case.prepared.retain.at_most(method.samples))
    for name, weight in module.named_parameters():
        head = name.startswith("linear.")
        v = method.alpha * torch.minimum(1 / (found[name] + 1e-8), torch.tensor(100.0 if head else 1000.0, dtype=torch.float64))
        if weight.ndim > 1:
            v = torch.stack([v.select(1, i) for i in range(v.shape[1])]).mean(0).unsqueeze(1).expand_as(weight)
        due = weight.detach() + (v * (10 if head or weight.ndim == 1 else 1)).sqrt()
        if head:
            due[list(GONE)] = 1e-3**0.5
        off = float((left[name].detach() - due).abs().max())
        if off > 1e-6 * max(1.0, float(due.abs().max())):
            raise LawBroken(law, method, f"leaves {name} up to {off:.2e} off theta + sqrt(v)")


def check_without_noise_only_rows_of_lost_classes_move(method: Any, case: Case | None = None) -> None:
    """At alpha 0 all bits stay but those of the head's rows of classes of which nothing is retained; all, where something is of each."""
    law, case = check_without_noise_only_rows_of_lost_classes_move, case or Case.fresh()
    retain, forget = case.prepared.retain, case.prepared.forget
    for kept, lost in ((retain, set(GONE)), (retain + forget[:2] + forget[-2:], set[int]())):
        left = dict(watched(replace(method, alpha=0.0), case, retain=kept)[0].named_parameters())
        for name, weight in case.model.named_parameters():
            moved = {i for i in range(len(weight)) if not torch.equal(weight[i], left[name][i])}
            if moved != (lost if name.startswith("linear.") else set()):
                raise LawBroken(law, method, f"moves the rows {sorted(moved)[:5]} of {name} at alpha 0, where nothing is retained of {sorted(lost)}")
