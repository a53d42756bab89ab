"""Which methods fit, how long do they take, and how much memory?"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from torch import nn

from untrain.core import unlearn as running
from untrain.core.data import Split
from untrain.core.discover import found, settings
from untrain.core.errors import BadArgument, BadData, Diverged
from untrain.core.method import Method
from untrain.core.rehearse import rehearsing

PAUSE = 0.05
"""Seconds that a rehearsed step is to take at most, where a minute is given in all."""


UNASKED = "not asked; --time names methods to time"

USUAL = ("unsir", "scrub", "ssd", "finetune", "retrain")
"""Methods that are timed where none are named: what one starts with, beside the plainest that one would compare it with."""


def named(timed: str) -> tuple[str, ...]:
    """Methods by their names with commas between them, or `all`.

    Raises:
        BadArgument: there is no such method.
    """
    names = tuple(name.strip() for name in timed.split(",") if name.strip())
    if names == ("all",):
        return tuple(found("methods"))
    for name in names:
        settings(name)
    return names


def methods(
    model: nn.Module | None,
    split: Split,
    recipe: Any,
    head: str | None,
    device: str | None,
    until: float,
    blocked: str | None,
    pause: float = PAUSE,
    timed: Collection[str] = USUAL,
) -> list[dict[str, Any]]:
    """Each method in its default: whether it fits what is at hand, what it is known to fail at there, and what it would take by a rehearsal on this model.

    Whether the network suits it too, which some ask, is known of those that are rehearsed.

    Args:
        model: The model.
        split: The data, prepared.
        recipe: How the model came about, or None.
        head: Name of the head's layer.
        device: Where to compute.
        until: When to stop timing, on `time.perf_counter`.
        blocked: Why no method can run, where that is so.
        pause: Seconds of a step beyond which it is not tried with more rows.
        timed: Names of the methods that are rehearsed.
    """
    out = []
    for name, entry in found("methods").items():
        method: Method = entry.load()()
        row: dict[str, Any] = {
            "method": name,
            "fits": True,
            "why_not": None,
            "doubts": [],
            "seconds": None,
            "peak_memory_bytes": None,
            "passes": None,
            "phases": [],
            "untimed": None,
        }
        out.append(row)
        try:
            running.given_to(method, split, recipe)
        except (BadArgument, BadData) as error:
            row |= {"fits": False, "why_not": str(error).removeprefix(type(method).__name__).strip()}
            continue
        if method.prepares is not None and type(model).__module__ != type(method).__module__:
            row |= {"fits": False, "why_not": f"must be there when the original is trained: untrain prepare {name}"}
            continue
        row["doubts"] = method.doubts(split)
        if model is None or blocked is not None:
            row["untimed"] = "the model does not take this data"
        elif name not in timed:
            row["untimed"] = UNASKED
        elif time.perf_counter() > until:
            row["untimed"] = "there was no time left for it; give more by --seconds"
        else:
            row |= estimate(model, split, method, recipe=recipe, head=head, device=device, pause=pause)
    return out


def estimate(model: nn.Module, split: Split, method: Method, *, recipe: Any = None, head: str | None = None, device: str | None = None, pause: float = PAUSE) -> dict[str, Any]:
    """What a run would take, by a rehearsal: seconds, peak memory of the process, passes, and its phases.

    Loading data, auditing and writing are not in it.
    """
    try:
        with rehearsing(pause) as rehearsed:
            done = running.unlearn(model, split, method, recipe=recipe, head=head, device=device)
    except BadArgument as error:
        # What is asked of the network itself is known once it is looked at.
        return {"fits": False, "why_not": str(error).removeprefix(type(method).__name__).strip()}
    except (Diverged, BadData) as error:
        return {"untimed": f"its rehearsal failed: {error}"}
    pieces = rehearsed.pieces
    return {
        "seconds": done.seconds - rehearsed.spent + rehearsed.seconds,
        "peak_memory_bytes": max([done.peak_memory if not pieces else 0, *(p.peak_memory for p in pieces)]),
        "passes": sum(p.passes for p in pieces),
        "phases": [{"name": p.name, "steps": p.steps, "passes": p.passes, "seconds": p.seconds} for p in pieces],
    }
