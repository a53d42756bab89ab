"""Records judged again, by the verdict as it is now, from the numbers that they hold. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from untrain.core.errors import BadData
from untrain.evidence import record
from untrain.evidence.listed import judged


def again(found: dict[str, Any]) -> dict[str, Any]:
    """The same record under today's verdict; one that was never judged stays so."""
    if found["verdict"] is None:
        return found
    made: dict[str, Any] = record.finite(judged(found))
    return {**found, "verdict": made}


def rejudge(place: Path) -> dict[tuple[str, str], int]:
    """Judge every record in a folder, or one, again; how many went from which code to which."""
    moved: dict[tuple[str, str], int] = {}
    for path in sorted(place.rglob("*.json")) if place.is_dir() else [place]:
        try:
            found = record.read(path)
        except BadData:
            # What lies beside the records: speeds, references, what was tuned.
            continue
        if found["verdict"] is not None:
            made = again(found)
            path.write_bytes(record.dumps(made))
            step = (found["verdict"]["code"], made["verdict"]["code"])
            moved[step] = moved.get(step, 0) + 1
    return moved
