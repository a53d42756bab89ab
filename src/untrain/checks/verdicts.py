"""Laws of the verdict and its audits, on models whose truth is known: what knows the class is never cleared, and how a network is written is nothing to them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from untrain.core.audit import Audit, audit
from untrain.core.data import Split
from untrain.evidence.verdict import judge
from untrain.zoo.networks import DigitsNet


def rewritten(module: DigitsNet, seed: int, most: int = 8) -> DigitsNet:
    """The same function of a digits' network, written otherwise: its hidden units in another order, each larger or smaller by a power of two.

    Powers of two, so that not even rounding differs.
    """
    made = copy.deepcopy(module)
    g = torch.Generator().manual_seed(seed)
    width = made.hidden.out_features
    order = torch.randperm(width, generator=g)
    scale = 2.0 ** torch.randint(-most, most + 1, (width,), generator=g)
    with torch.no_grad():
        made.hidden.weight.copy_((made.hidden.weight * scale[:, None])[order])
        made.hidden.bias.copy_((made.hidden.bias * scale)[order])
        made.linear.weight.copy_((made.linear.weight / scale)[:, order])
    return made


def renumbered(module: DigitsNet, split: Split, order: Sequence[int]) -> tuple[DigitsNet, Split]:
    """The same network and data, class c now called order[c]."""
    made = copy.deepcopy(module)
    places = torch.tensor(order)
    with torch.no_grad():
        made.linear.weight[places] = module.linear.weight.detach().clone()
        made.linear.bias[places] = module.linear.bias.detach().clone()
    parts = {name: part.labelled(places[part.y]) for name, part in split.parts.items()}
    rest = {name: part for name, part in parts.items() if name not in ("forget", "retain", "test")}
    return made, Split(parts["forget"], parts["retain"], parts["test"], [order[c] for c in split.classes], **rest)


def judged_rows(module: nn.Module, split: Split, audits: Sequence[Audit], original: nn.Module) -> dict[str, float]:
    """The judged rows of one model, by name."""
    return {r["name"]: r["values"]["unlearned"][0]["value"] for e in audit(module, split, audits, original=original) for r in e["rows"] if r["judged"]}


def check_it_is_never_cleared(module: nn.Module, split: Split, audits: Sequence[Audit], original: nn.Module, retrained: Sequence[nn.Module]) -> None:
    """A model that knows the class gets NO_RESIDUE beside no number of retrained models, whichever of the audits are left out.

    Args:
        module: The original, a mask on it, or another that knows.
        split: What was to be forgotten.
        audits: The audits; every choice of them is tried.
        original: The original.
        retrained: Retrained models; every number of them from the first on is tried.
    """
    subjects: dict[int, Any] = {}
    for m in range(len(retrained) + 1):
        entries = audit(module, split, audits, original=original, retrained=retrained[:m], subjects=subjects)
        for chosen in range(2 ** len(entries)):
            asked = [entry for i, entry in enumerate(entries) if chosen >> i & 1]
            code = judge(asked, [], "it")["code"]
            if code == "NO_RESIDUE":
                raise AssertionError(f"a model that knows is cleared beside {m} retrained models by {[e['name'] for e in asked]}")


def check_how_it_is_written_is_nothing(write: Callable[[DigitsNet], DigitsNet], module: DigitsNet, split: Split, audits: Sequence[Audit], within: float = 1e-6) -> None:
    """Another way to write the same function has the same judged rows.

    Args:
        write: Gives the same function, written otherwise.
        module: A network.
        split: What was to be forgotten.
        audits: The audits.
        within: By how much a row may differ.
    """
    before, after = (judged_rows(m, split, audits, module) for m in (module, write(module)))
    apart = {name: (before[name], after[name]) for name in before if abs(before[name] - after[name]) > within}
    if apart:
        raise AssertionError(f"the same function, written otherwise, has other rows: {apart}")
