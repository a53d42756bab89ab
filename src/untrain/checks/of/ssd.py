"""Laws of SSD: what it measures, which weights it takes, and by how much it scales them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import CLASSES, Case
from untrain.checks.nets import OF_KINDS
from untrain.checks.running import Law, LawBroken, watched
from untrain.core.data import Samples


def check_a_weight_is_dampened_by_what_its_importances_say(method: Any, case: Case | None = None) -> None:
    """Each weight is scaled by min(lambda I / I_f, 1) where I_f > alpha I, and is otherwise left to the bit; I and I_f come from a plain loop over single samples.

    Where no alpha is given, the same percentile of their ratios is numpy's.
    """
    law, case = check_a_weight_is_dampened_by_what_its_importances_say, case or Case.fresh()
    if not method.each:
        return
    # Factors of 1 would hide where they stand.
    method = replace(method, dampening=0.7, times=1.1)
    module = copy.deepcopy(case.model).double()
    forget, retain = case.prepared.forget, case.prepared.retain.at_most(method.samples)
    important, others = (_plain_importance(method.of, module, part) for part in (forget, retain))
    n, k = len(case.split.forget), len(case.split.retain)
    everything = {name: (n * important[name] + k * others[name]) / (n + k) for name in others}
    # Over all data no alpha of (n + k) / n or more selects a weight.
    tried = (
        (replace(method, over="retain"), others),
        (replace(method, over="all", alpha=min(method.alpha, 2.0)), everything),
        # With a lambda above alpha some would grow.
        (replace(method, over="retain", alpha=0.5, times=1.0, dampening=2.0), others),
    )
    for asked, usual in tried:
        ratios = np.concatenate([(important[name] / usual[name]).flatten().numpy() for name in usual])
        alpha = asked.times * (asked.alpha or float(np.percentile(ratios[np.isfinite(ratios)], 100 - np.log(1 + 100 * n / (n + k)))))
        left = dict(watched(asked, case, module=module)[0].named_parameters())
        for name, weight in module.named_parameters():
            ratio = important[name] / usual[name]
            chosen = ratio > alpha
            due = torch.where(chosen, (asked.dampening / ratio).clamp(max=1) * weight, weight)
            # A ratio within rounding of the threshold may fall on either side.
            clear = (ratio / alpha - 1).abs() > 1e-3
            off = ((left[name] - due).abs() > 1e-4 * weight.abs()) & clear
            moved = (left[name] != weight) & ~chosen & clear
            if bool((off | moved).any()):
                raise LawBroken(law, asked, f"scales {int((off | moved).sum())} weights of {name} otherwise than their importances say")


def check_the_size_and_the_order_of_batches_are_nothing_to_it(method: Any, case: Case | None = None) -> None:
    """Sample by sample, batches of 1, of 7 and of all, and the samples in another order, leave the same weights but for rounding."""
    law, case = check_the_size_and_the_order_of_batches_are_nothing_to_it, case or Case.fresh()
    if not method.each:
        return
    module = copy.deepcopy(case.model).double()
    before = dict(watched(method, case, module=module)[0].named_parameters())
    parts = case.prepared
    turned = {name: parts.parts[name][torch.arange(len(parts.parts[name])).flip(0)] for name in ("forget", "retain")}
    tried: list[tuple[str, Any, dict[str, Any]]] = [(f"in batches of {n}", replace(method, batch=n), {}) for n in (1, 7, 1000)] + [("in another order", method, turned)]
    for how, other, exchanged in tried:
        left = dict(watched(other, case, module=module, **exchanged)[0].named_parameters())
        for name, weight in before.items():
            apart = int(((left[name] - weight).abs() > 1e-4 * weight.abs()).sum())
            if apart:
                raise LawBroken(law, method, f"leaves {apart} other weights in {name} {how}")


def check_no_weight_grows(method: Any, case: Case | None = None) -> None:
    """No weight is larger than it was, none turns its sign, and at least one is smaller."""
    law, case = check_no_weight_grows, case or Case.fresh()
    left, smaller = dict(watched(method, case)[0].named_parameters()), 0
    for name, weight in case.model.named_parameters():
        if bool((left[name].abs() > weight.abs()).any() | (left[name] * weight < 0).any()):
            raise LawBroken(law, method, f"enlarges or turns weights of {name}")
        smaller += int((left[name].abs() < weight.abs()).sum())
    if not smaller:
        raise LawBroken(law, method, "dampens no weight")


def check_a_part_of_all_data_is_taken_of_every_class(method: Any, case: Case | None = None) -> None:
    """Where D is all data and a part of it is looked at, as large a part of each forgotten class stands in it as of each retained one; of the retain set it holds nothing else."""
    law, case = check_a_part_of_all_data_is_taken_of_every_class, case or Case.fresh()
    forget, retain = case.prepared.forget, case.prepared.retain
    # As a folder of images is read, class after class.
    forget = forget[forget.y.argsort(stable=True)]
    for share in (1.0, 0.5):
        half = replace(method, samples=round(share * len(retain)))
        for over, classes in (("all", forget.classes + retain.classes), ("retain", retain.classes)):
            seen, whole = (torch.bincount(part.y, minlength=CLASSES) for part in (replace(half, over=over).others(forget, retain), forget + retain))
            due = torch.tensor([share * int(n) if c in classes else 0 for c, n in enumerate(whole)])
            if float((seen - due).abs().max()) > 0.5:
                raise LawBroken(law, method, f"takes {seen.tolist()} samples of the classes for its other importance, where {due.tolist()} are due of {over}")


def _plain_importance(of: str, module: nn.Module, samples: Samples) -> dict[str, Tensor]:
    module = copy.deepcopy(module).eval()
    sums = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    for i in range(len(samples)):
        x, y = samples.batch(torch.tensor([i]))
        assert isinstance(x, Tensor)
        out = module(x.double())
        asked = F.cross_entropy(out, y) if of == "loss" else out.square().sum().sqrt()
        found = torch.autograd.grad(asked, list(module.parameters()))
        for name, g in zip(sums, found, strict=True):
            sums[name] += g.square()
    return {name: total / len(samples) for name, total in sums.items()}


EXCEPTIONS: dict[str, dict[Law, str]] = {
    "paper": {
        OF_KINDS["a_frozen_body"]: "over data of which two classes in five are to be forgotten, no weight of the head reaches alpha 10",
    }
}
