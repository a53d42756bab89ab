"""Laws of what a method does to the weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, Case, SmallRecipe
from untrain.checks.running import Law, LawBroken, bits_of, left_by, moved_rows, watched, without_steps
from untrain.core.method import Method, Move
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


def check_without_steps_it_changes_what_it_edits_and_nothing_else(method: Method, case: Case | None = None) -> None:
    """With every field that counts steps or epochs at 0, the bits stay, but for entries that the method declares as edited, of which at least one changes."""
    law, case = check_without_steps_it_changes_what_it_edits_and_nothing_else, case or Case.fresh()
    still = without_steps(method)
    edits = still.edits(Network(copy.deepcopy(case.model)), case.split.classes)
    left, edited = left_by(law, still, case, recipe=SmallRecipe(epochs=0)).state_dict(), False
    for name, value in case.model.state_dict().items():
        moved, rows = moved_rows(value, left[name]), edits.get(name, ())
        declared = set(range(len(value.reshape(-1)) if value.ndim == 0 else len(value)) if rows is None else rows)
        if moved - declared:
            raise LawBroken(law, method, f"takes no step, but changes the rows {sorted(moved - declared)[:5]} of {name}, which it does not declare as edited")
        edited |= bool(moved)
    unknown = edits.keys() - left.keys()
    if unknown:
        raise LawBroken(law, method, f"declares that it edits {sorted(unknown)}, which the model does not have")
    if edits and not edited:
        raise LawBroken(law, method, f"declares that it edits {', '.join(list(edits)[:3])}, but leaves all of it as it was")


def check_a_clip_of_0_is_none(method: Method, case: Case | None = None) -> None:
    """Where a method cuts its steps down to a length (`clip`), 0 leaves them as they are, as a length does that no step has."""
    law, case = check_a_clip_of_0_is_none, case or Case.fresh()
    if "clip" not in [f.name for f in fields(method)]:
        return
    # Slowly, as what a clip holds back may run away without one.
    rate: Any = getattr(method, "lr", None)
    slow = method if rate is None else replace(method, **{"lr": rate / 100})
    none, far = (bits_of(law, replace(slow, **{"clip": clip}), case) for clip in (0.0, 1e30))
    if none != far:
        raise LawBroken(law, method, "leaves other bits with clip=0 than where steps of any length may be taken")


@dataclass
class _Seen:
    """A phase as it was met: the model before its first step and that step's batch, behind it, and behind the first turn of the phase."""

    before: nn.Module
    x: Any
    y: Tensor
    streams: int = 1
    step: nn.Module | None = None
    phase: nn.Module | None = None
    over: bool = False


def check_each_phase_moves_what_it_declares(method: Method, case: Case | None = None) -> None:
    """Each phase that moves weights declares what it moves, and its first step (or all of it) goes that way; one that promises nothing says why."""
    law, case = check_each_phase_moves_what_it_declares, case or Case.fresh()
    declared = {phase: moves if isinstance(moves, tuple) else (moves,) for phase, moves in method.promised().items()}
    for phase, moves in declared.items():
        for move in moves:
            if not isinstance(move, Move):
                raise LawBroken(law, method, f"declares {phase}={move!r}, which is no Move; Move(+1) says that the cross-entropy of its batch goes up")
            if move.way == 0 and len(move.why.split()) < 4:
                raise LawBroken(law, method, f"declares that {phase} promises nothing, and does not say why: Move(0, why=...)")
    seen: dict[str, _Seen] = {}

    def watch(network: Network, phase: str, x: Any, y: Any) -> None:
        for name, other in seen.items():
            other.over |= name != phase
        if phase in seen and seen[phase].step is None:
            seen[phase].streams += 1
        if phase not in seen:
            seen[phase] = _Seen(copy.deepcopy(network.module), copy.deepcopy(x), copy.deepcopy(y))

    def after(network: Network, phase: str, step: int) -> None:
        met = seen.get(phase)
        if met is not None and met.step is None:
            met.step = copy.deepcopy(network.module)
        if met is not None and not met.over and any(isinstance(m, Move) and m.over == "phase" for m in declared.get(phase, ())):
            met.phase = copy.deepcopy(network.module)

    watched(method, case, watch=watch, after=after)
    for phase, moves in declared.items():
        if any(getattr(method, f"{phase}_{count}", 1) == 0 for count in ("epochs", "steps")):
            continue
        if phase not in seen:
            raise LawBroken(law, method, f"declares what {phase} moves, but took no step of that name")
        for move in moves:
            went = _went(law, method, phase, move, seen[phase], case)
            if move.way and went != move.way:
                what = f"the {move.of} of {'its batch' if move.on == 'batch' else f'the {move.on} set'}"
                raise LawBroken(law, method, f"declares that {phase} moves {what} {_WAY[move.way]}, but its {'first step' if move.over == 'step' else 'whole'} goes {_WAY[went]}")
    silent = [phase for phase, met in seen.items() if phase not in declared and met.step is not None and _apart(met.before, met.step)]
    if silent:
        raise LawBroken(law, method, f"moves weights in {silent[0]}, and does not declare what that does")


_WAY = {1: "up", -1: "down", 0: "nowhere"}


def _apart(a: nn.Module, b: nn.Module) -> bool:
    return not all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def _went(law: Law, method: Method, phase: str, move: Move, met: _Seen, case: Case) -> int:
    """Which way a quantity goes by a phase's first step, or by all of its first turn: -1, +1, or 0 where no weight moved."""
    if move.on != "batch":
        x, y = case.prepared.parts[move.on].batch(torch.arange(len(case.split.parts[move.on])))
    elif met.streams == 1:
        x, y = met.x, met.y
    else:
        raise LawBroken(law, method, f"declares what {phase} moves on its batch, which is of {met.streams} streams: say on='forget' or on='retain'")
    original = copy.deepcopy(case.model).double().eval()

    def told(module: nn.Module) -> float:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            said = F.log_softmax(Network(module)(x), 1)
            if move.of == "cross-entropy":
                return float(F.nll_loss(said, y))
            if move.of == "p of forgotten":
                return float(said[:, list(GONE)].exp().sum(1).mean())
            return float(F.kl_div(said, F.log_softmax(Network(original)(x), 1), reduction="batchmean", log_target=True))

    if move.over == "phase":
        assert met.phase is not None
        # The weights alone: BatchNorm's statistics drift in any phase, whatever is learned.
        behind = copy.deepcopy(met.before)
        for p, q in zip(behind.parameters(), met.phase.parameters(), strict=True):
            p.data.copy_(q.data)
        first, last = (told(copy.deepcopy(module).double().eval()) for module in (met.before, behind))
        return (last > first) - (last < first)
    assert met.step is not None
    start = [p.detach().double() for p in met.before.parameters()]
    step = [p.detach().double() - s for p, s in zip(met.step.parameters(), start, strict=True)]
    length, size = (float(torch.cat([t.reshape(-1) for t in ts]).norm()) for ts in (step, start))
    if length == 0:
        return 0
    ends = []
    for share in (0.0, min(1.0, 1e-3 * size / length)):
        module = copy.deepcopy(met.before).double()
        with torch.no_grad():
            for p, s, d in zip(module.parameters(), start, step, strict=True):
                p.copy_(s + share * d)
        ends.append(told(module))
    return 1 if ends[1] > ends[0] else -1
