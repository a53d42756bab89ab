"""The law of numbers on record: what a method does in its first steps is what it did when its row of `golden.csv` was written."""

from __future__ import annotations

import contextlib
import copy
import csv
import fcntl
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from untrain.checks.case import Case
from untrain.checks.running import LawBroken, shrunk, watched
from untrain.core.data import Samples
from untrain.core.discover import name_of
from untrain.core.method import Method
from untrain.core.network import Network

ROWS = Path(__file__).with_name("golden.csv")
"""A row for each method and preset: how far the weights move in six steps (or by all that it does, if that is less), and the loss of each part behind them."""

STEPS = 6
NUMBERS = ("distance", "forget", "retain", "test")
NEAR = 0.005
"""Share by which a number may be off: another processor rounds sums elsewhere. A row whose numbers are carried farther by that says how far."""


class _Enough(Exception):
    """Six steps were taken."""


def check_its_numbers_are_those_on_record(method: Method, case: Case | None = None) -> None:
    """The first numbers of a run are those of its row in `golden.csv`. Where there is none it is written, and the law is broken this once."""
    law, name = check_its_numbers_are_those_on_record, golden_name(method)
    if name is None:
        return
    now = first_numbers(method, case or Case.fresh())
    with _rows() as rows:
        if name not in rows:
            rows[name] = now | {"near": _carried(method, now)}
            raise LawBroken(law, method, f"has no numbers in {ROWS.name}; they are recorded now, run again and look at the new row")
        then = rows[name]
    off = [f"{key} was {then[key]:.4g} and is {now[key]:.4g}" for key in NUMBERS if not _apart(now[key], then[key]) <= then["near"]]
    if off:
        raise LawBroken(law, method, f"is not what it was: {', '.join(off)}; if this is meant, delete the row {name} of {ROWS.name} and run again")


def golden_name(method: Method) -> str | None:
    """The row of a method of this package in its default or a preset's settings; none of others."""
    if not type(method).__module__.startswith("untrain.methods."):
        return None
    named = {"": type(method)(), **{f":{preset}": settings for preset, settings in method.presets.items()}}
    return next((name_of(method) + suffix for suffix, settings in named.items() if method in (settings, shrunk(settings))), None)


def first_numbers(method: Method, case: Case) -> dict[str, float]:
    """How far the weights are after six steps that moved them, of their own length, and each part's loss in evaluation mode."""
    network, before = list[Network](), [p.detach().clone() for p in case.model.parameters()]
    taken = 0

    def look(seen: Network, phase: str, step: int) -> None:
        nonlocal before, taken
        network[:] = [seen]
        now = [p.detach().clone() for p in seen.parameters()]
        taken += not all(torch.equal(a, b) for a, b in zip(before, now, strict=True))
        before = now
        if taken == STEPS:
            raise _Enough

    try:
        module, _, _ = watched(method, case, after=look)
    except _Enough:
        module = network[0].module
    pairs = list(zip(case.model.parameters(), module.parameters(), strict=True))
    gone, length = (sum(float(d.detach().double().square().sum()) for d in ds) ** 0.5 for ds in ([b - a for a, b in pairs], [a for a, _ in pairs]))
    return {"distance": gone / length, **{name: _loss(module, case.prepared.parts[name]) for name in NUMBERS[1:]}}


def _apart(now: float, then: float) -> float:
    return abs(now - then) / max(abs(then), 1e-3)


def _carried(method: Method, now: dict[str, float]) -> float:
    """How far off the numbers may be: thrice as far as convolutions that are summed in another order take them."""
    with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False):
        other = first_numbers(method, Case.fresh())
    return max(NEAR, 3 * max(_apart(other[key], now[key]) for key in NUMBERS))


def _loss(module: nn.Module, samples: Samples) -> float:
    x, y = samples.batch(torch.arange(len(samples)))
    with torch.no_grad():
        return float(F.cross_entropy(Network(copy.deepcopy(module).double().eval())(x), y))


@contextlib.contextmanager
def _rows() -> Iterator[dict[str, dict[str, float]]]:
    """The rows; what is added to them is kept, in the order of names. One process at a time."""
    with ROWS.open("a+" if ROWS.exists() else "w+", encoding="utf-8", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        rows = {row["setting"]: {key: float(row[key]) for key in (*NUMBERS, "near")} for row in csv.DictReader(file)}
        known = set(rows)
        try:
            yield rows
        finally:
            if set(rows) != known:
                out = io.StringIO()
                writer = csv.writer(out, lineterminator="\n")
                writer.writerow(("setting", *NUMBERS, "near"))
                writer.writerows((name, *(f"{rows[name][key]:.4g}" for key in NUMBERS), f"{rows[name]['near']:.1g}") for name in sorted(rows))
                file.seek(0)
                file.truncate()
                file.write(out.getvalue())
