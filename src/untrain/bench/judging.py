"""Records judged again, by the verdict as it is now, from the numbers that they hold. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from untrain.core import disk
from untrain.core.errors import BadData
from untrain.evidence import record
from untrain.evidence.listed import judged, judged_exit
from untrain.evidence.seal import sealed


def again(found: dict[str, Any]) -> dict[str, Any]:
    """The same record under today's verdict, on each exit too; one that was never judged stays so, and one that was sealed is sealed again."""
    if found["verdict"] is None:
        return found
    made: dict[str, Any] = {**found, "verdict": record.finite(judged(found))}
    if found.get("exits"):
        made["exits"] = [exit | {"verdict": record.finite(judged_exit(exit["audits"], found))} for exit in found["exits"]]
    return sealed(made) if "seal" in found else made


def rejudge(place: Path) -> dict[tuple[str, str], int]:
    """Judge every record in a folder, or one, again; how many went from which code to which.

    Raises:
        BadData: a record is not what its seal says, and would be given another that fits.
    """
    moved: dict[tuple[str, str], int] = {}
    for path in sorted(place.rglob("*.json")) if place.is_dir() else [place]:
        try:
            found = record.read(path)
        except BadData:
            # What lies beside the records: speeds, references, what was tuned.
            continue
        if found["verdict"] is not None:
            if "seal" in found and sealed(found)["seal"] != found["seal"]:
                raise BadData(f"{path.name} in {path.parent.name} was edited: its seal is not that of what it holds; make the run anew, or take the record away")
            made = again(found)
            disk.write(path, record.dumps(made))
            step = (found["verdict"]["code"], made["verdict"]["code"])
            moved[step] = moved.get(step, 0) + 1
    return moved
