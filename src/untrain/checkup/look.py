"""All questions of `untrain check`, one after the other."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from torch import nn

from untrain.checkup.estimate import PAUSE, USUAL, methods
from untrain.checkup.fit import head_fit
from untrain.checkup.forgotten import forgotten, holdout
from untrain.checkup.near import near_copies
from untrain.checkup.norms import accuracies, unmeasured
from untrain.core.data import Prepare, Split
from untrain.core.engine import Engine, Progress, silent
from untrain.core.errors import BadArgument
from untrain.evidence import record as records
from untrain.sources.normalisation import NORMS

SCHEMA = "untrain.check/1"


SHARES = {"accuracy": 0.25, "methods": 0.65}
"""Share of the time that may be gone when a question ends; copies are sought in the rest."""


def look(
    model: nn.Module | None,
    split: Split,
    *,
    recipe: Any = None,
    norm: Prepare | None = None,
    names: Sequence[str] = (),
    head: str | None = None,
    device: str | None = None,
    seconds: float = 60.0,
    timed: Collection[str] = USUAL,
    near: float | None = None,
    misfit: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Look at a model, its data and what is to be forgotten; neither is changed.

    Args:
        model: The model; None where it could not be made, and the data alone are looked at.
        split: What to forget, what to retain, what to test on, and a part `holdout` where there is one.
        recipe: How the model came about, where that is known.
        norm: Preparation of raw pixels; the network's own `norm` where none is given.
        names: Names of the classes as the model knows them, where it does.
        head: Name of the head's layer, where it is not the last linear layer or convolution.
        device: Where to compute.
        seconds: About how long it may take. What there was no time for is said.
        timed: Names of the methods that are timed by a rehearsal.
        near: Correlation from which on two images count as near-copies; .97, and .99 for images below 16 pixels a side.
        misfit: Why there is no model.
        progress: Told of each question.

    Returns:
        Plain JSON: `head`, `accuracy`, `forget`, `holdout`, `methods`, `copies`, and how long it took.

    Raises:
        BadArgument: a number is out of range.
    """
    refuse_numbers(seconds, near)
    engine, began = Engine.of(device), time.perf_counter()
    own = norm or getattr(model, "norm", None)
    progress("accuracy under each normalisation", 0, 3)
    accuracy = accuracies(model, split, own, engine, began + SHARES["accuracy"] * seconds, head) if model is not None else unmeasured("there is no model that fits")
    ready = split.prepared(own or NORMS.get(accuracy["best"] or ""))
    fits = head_fit(model, ready, head, names, misfit)
    progress("methods, each by a rehearsal", 1, 3)
    asked = methods(model, ready, recipe, head, device, began + SHARES["methods"] * seconds, fits["problem"], min(PAUSE, PAUSE * seconds / 60), timed)
    progress("copies that stay behind", 2, 3)
    copies = near_copies(split, near, began + seconds)
    progress("done", 3, 3)
    answer: dict[str, Any] = records.finite(
        {
            "schema": SCHEMA,
            "counts": {name: len(part) for name, part in split.parts.items()},
            "head": fits,
            "accuracy": accuracy,
            "forget": forgotten(split),
            "holdout": holdout(split),
            "methods": asked,
            "copies": copies,
            "machine": engine.report(),
            "seconds": time.perf_counter() - began,
        }
    )
    return answer


def refuse_numbers(seconds: float, near: float | None) -> None:
    """Refuse numbers that are out of range.

    Raises:
        BadArgument: so it is.
    """
    if not seconds > 0:
        raise BadArgument(f"--seconds {seconds:g} leaves no time to look; give a number above 0")
    if near is not None and not 0 < near <= 1:
        raise BadArgument(f"--near {near:g} is no correlation that a copy could have; give a number above 0 and up to 1")
