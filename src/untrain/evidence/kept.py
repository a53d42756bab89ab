"""Whether what a model was to keep is shown to be kept: named as well as by the original, on the same images, but for a margin. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from untrain.evidence.rows import Table

MARGIN = 0.02
"""Accuracy that may be lost for what was to be kept to be called kept; stated beforehand."""

ROWS = {"retained, less the original": "what it was to keep is", "neighbours, less the original": "the two kept classes nearest to what was forgotten are"}
"""The rows of `accuracy` that are asked, and what they are of."""


def kept(record: Mapping[str, Any]) -> str:
    """How each of them stands to the margin, in a sentence; nothing where none was measured. No verdict hangs on it.

    As good is shown where a whole 95 % interval lies above a loss of the margin, worse where all of it lies below.
    """
    table, told = Table(record["audits"]), list[str]()
    for name, which in ROWS.items():
        value = table.value(("accuracy", name), "unlearned")
        if value is None or None in (value["low"], value["high"], value["n"]):
            continue
        good, bad = "named as well as by the original, to within", "named worse than by the original, by more than"
        shown = f"shown to be {good}" if value["low"] > -MARGIN else f"shown to be {bad}" if value["high"] < -MARGIN else f"not shown to be {good}"
        points, low, high = (f"{round(100 * value[end], 1) + 0.0:+.1f}" for end in ("value", "low", "high"))
        told.append(f"{which} {shown} {100 * MARGIN:g} points ({points}, 95 % {low} to {high}, n = {value['n']:,})")
    return "; ".join(told)
