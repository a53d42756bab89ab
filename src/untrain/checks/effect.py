"""Laws of what a method does to the weights."""

from __future__ import annotations

import copy
import re
from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, Case, SmallRecipe
from untrain.checks.running import LawBroken, left_by, moved_rows, watched
from untrain.core.data import Inputs
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.methods.nothing import Nothing


def check_the_weights_move(method: Method, case: Case | None = None) -> None:
    """At least one weight is another than before, unless the method is `Nothing`."""
    case = case or Case.fresh()
    left = dict(left_by(check_the_weights_move, method, case).named_parameters())
    moved = [name for name, weight in case.model.named_parameters() if not torch.equal(weight, left[name])]
    if not moved and not isinstance(method, Nothing):
        raise LawBroken(check_the_weights_move, method, "moved no weight")
    if moved and isinstance(method, Nothing):
        raise LawBroken(check_the_weights_move, method, f"moved {moved[0]}")


def counts_steps(name: str) -> bool:
    """Whether a field counts steps or epochs, by its name.

    >>> [counts_steps(name) for name in ("epochs", "noise_steps", "lr")]
    [True, True, False]
    """
    return re.search(r"(^|_)(steps|epochs)$", name) is not None


def check_without_steps_it_changes_what_it_edits_and_nothing_else(method: Method, case: Case | None = None) -> None:
    """With every field that counts steps or epochs at 0, the bits stay, but for the entries that the method declares as edited."""
    law, case = check_without_steps_it_changes_what_it_edits_and_nothing_else, case or Case.fresh()
    still = replace(method, **{f.name: 0 for f in fields(method) if counts_steps(f.name)})
    edits = still.edits(Network(copy.deepcopy(case.model)), case.split.classes)
    left = left_by(law, still, case, recipe=SmallRecipe(epochs=0)).state_dict()
    for name, value in case.model.state_dict().items():
        moved, rows = moved_rows(value, left[name]), edits.get(name, ())
        declared = set(range(len(value.reshape(-1)) if value.ndim == 0 else len(value)) if rows is None else rows)
        if moved - declared:
            raise LawBroken(law, method, f"takes no step, but changes the rows {sorted(moved - declared)[:5]} of {name}, which it does not declare as edited")
        if declared and not moved:
            raise LawBroken(law, method, f"declares that it edits {name}, but leaves it as it was")
    unknown = edits.keys() - left.keys()
    if unknown:
        raise LawBroken(law, method, f"declares that it edits {sorted(unknown)}, which the model does not have")


def check_a_small_first_step_moves_the_loss_as_declared(method: Method, case: Case | None = None) -> None:
    """In each phase, a small step where the first one goes moves the cross-entropy of its batch the way that `moves` says."""
    law, case = check_a_small_first_step_moves_the_loss_as_declared, case or Case.fresh()
    begun: dict[str, tuple[nn.Module, Inputs, Tensor]] = {}
    stepped: dict[str, nn.Module] = {}

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase not in begun:
            # An aimed image's label says what it is moved towards, not what it should be called.
            own = ~torch.isin(y, torch.tensor(GONE)) if phase == "repair" and getattr(method, "aimed", 0.0) > 0 else torch.ones(len(y), dtype=torch.bool)
            begun[phase] = (copy.deepcopy(network.module), copy.deepcopy(x)[own], y[own].clone())

    def after(network: Network, phase: str, step: int) -> None:
        if step == 1 and phase not in stepped:
            stepped[phase] = copy.deepcopy(network.module)

    watched(method, case, watch=watch, after=after)
    found = {phase: _direction(*begun[phase], module) for phase, module in stepped.items()}
    for phase, way in method.moves.items():
        if getattr(method, f"{phase}_epochs", 1) == 0:
            continue
        if phase not in found:
            raise LawBroken(law, method, f"declares how {phase} moves the loss, but took no step of that name")
        if way and found[phase] != way:
            raise LawBroken(law, method, f"declares {phase}={way:+d}, but its first step goes {found[phase]:+d}")
    silent = [phase for phase, way in found.items() if way and phase not in method.moves]
    if silent:
        raise LawBroken(law, method, f"moves weights in {silent[0]}, and does not declare which way the loss goes")


def _direction(before: nn.Module, x: Inputs, y: Tensor, after: nn.Module) -> int:
    """Which way cross-entropy goes on the way from `before` to `after`: -1, +1, or 0 where no weight moved."""
    start = [p.detach().double() for p in before.parameters()]
    step = [p.detach().double() - s for p, s in zip(after.parameters(), start, strict=True)]
    length, size = (float(torch.cat([t.reshape(-1) for t in ts]).norm()) for ts in (step, start))
    if length == 0:
        return 0

    def loss(share: float) -> float:
        module = copy.deepcopy(before).double()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for p, s, d in zip(module.parameters(), start, step, strict=True):
                p.copy_(s + share * d)
            return float(F.cross_entropy(Network(module)(x), y))

    return 1 if loss(min(1.0, 1e-3 * size / length)) > loss(0.0) else -1
