"""The evidence for the page of the paper's questions: a scenario's runs with the records that are there."""

from __future__ import annotations

import json
import os
from pathlib import Path

from untrain.bench.scenario import Cell, Scenario
from untrain.core import files
from untrain.core.errors import BadData
from untrain.evidence import record
from untrain.report.questions import Asked, Evidence, render


def draw(scenario: Scenario, into: Path) -> None:
    """Write the page.

    Args:
        scenario: The runs.
        into: The page; links to records are relative to its folder.
    """
    files.write(into, render(evidence(scenario, into)).encode())


def evidence(scenario: Scenario, into: Path) -> Evidence:
    """What there is: of each run that is asked for its record, if it has one."""
    first, maps = scenario.cells[0], scenario.folder / "records" / "saliency.json"
    about = [
        ("model", first.inputs.model),
        ("weights", first.inputs.weights.name if first.inputs.weights else "as published"),
        ("data", first.inputs.data),
        ("precision", first.inputs.precision),
    ]
    return Evidence(
        asked=tuple(_asked(cell, scenario) for cell in scenario.cells),
        folder=_seen_from(into, scenario.records),
        about=tuple(about),
        saliency=_maps(maps) if maps.is_file() else None,
        saliency_file=_seen_from(into, maps),
    )


def _asked(cell: Cell, scenario: Scenario) -> Asked:
    path = scenario.records / cell.name
    found = record.loads(path.read_bytes(), path.name) if path.is_file() else None
    return Asked(cell.setting, cell.name, found, cell.changes, cell.after, cell.audits, cell.classes)


def _seen_from(page: Path, other: Path) -> str:
    return Path(os.path.relpath(other.resolve(), page.resolve().parent)).as_posix()


def _maps(path: Path) -> dict[str, object]:
    try:
        found: dict[str, object] = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadData(f"{path.name} is not JSON ({error}); make it anew with benchmarks/saliency.py") from error
    if found.get("schema") != "untrain.saliency/1":
        raise BadData(f"{path.name} is not a record of saliency maps; make it anew with benchmarks/saliency.py")
    return found
