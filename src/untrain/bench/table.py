"""Tables drawn from records; nothing is typed in by hand. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from untrain.core import record

TUNED_ON = {"cifar10": (1, 4, 6, 8)}
"""Classes that settings were chosen on, by scenario: shown, and marked."""

COLUMNS = (
    ("forgotten", "forgotten, test", "{:.1%}"),
    ("retained", "retained, test", "{:.2%}"),
    ("one-shot prototype", "one-shot prototype", "{:.3f}"),
    ("head-reset relearning", "head-reset relearning", "{:.3f}"),
    ("relearn steps", "relearn time", "{:.0f}"),
    ("row reset", "relearn time, row reset", "{:.0f}"),
)


def read(folder: Path) -> list[dict[str, Any]]:
    """All records of a folder, in the order of their names."""
    return [record.loads(path.read_bytes(), path.name) for path in sorted(folder.glob("*.json"))]


def setting(found: dict[str, Any]) -> str:
    """What ran: `unsir`, `unsir:paper`, ..."""
    preset = found["method"]["preset"]
    name: str = found["method"]["name"]
    return name if preset in (None, "default") else f"{name}:{preset}"


def values(found: dict[str, Any], row: str, column: str) -> list[dict[str, Any]]:
    """A row's values of a column."""
    for entry in found["audits"]:
        for line in entry["rows"]:
            if line["name"] == row:
                out: list[dict[str, Any]] = line["values"].get(column, [])
                return out
    return []


def shown(cells: Iterable[dict[str, Any]], form: str) -> str:
    """Mean of values, with their range where there are several and they differ; blank where there are none."""
    cells = [c for c in cells if c["value"] is not None]
    if not cells:
        return ""
    numbers = [c["value"] for c in cells]
    text: str = form.format(statistics.fmean(numbers))
    if any(c["beyond"] for c in cells):
        text = ("> " if all(c["beyond"] for c in cells) else "≥ ") + text
    low, high = form.format(min(numbers)), form.format(max(numbers))
    return text if low == high else f"{text} ({low} to {high})"


def by_method(found: list[dict[str, Any]], classes: list[int]) -> str:
    """Methods on one set of classes, beside original and retrained, over the seeds there are."""
    mine = [r for r in found if r["request"]["classes"] == classes]
    if not mine:
        return ""
    widest = max(mine, key=lambda r: len(r["references"]))
    lines = ["| " + " | ".join(["model", *(c[0] for c in COLUMNS), "seeds", "passes"]) + " |", "|---" * (len(COLUMNS) + 3) + "|"]
    for column in ("original", "retrained"):
        cells = [shown(values(widest, row, column), form) for _, row, form in COLUMNS]
        n = len(values(widest, "forgotten, test", column))
        lines.append("| " + " | ".join([column, *cells, str(n) if column == "retrained" else "", ""]) + " |")
    order = {name: i for i, name in enumerate(("unsir", "unsir:paper", "unsir:no-noise", "unsir:plain-noise", "finetune", "neggrad", "headonly", "nothing"))}
    for name in sorted({setting(r) for r in mine}, key=lambda n: order.get(n, len(order))):
        runs = [r for r in mine if setting(r) == name]
        cells = [shown([v for r in runs for v in values(r, row, "unlearned")], form) for _, row, form in COLUMNS]
        passes = statistics.fmean(r["run"]["passes"] for r in runs)
        lines.append("| " + " | ".join([f"`{name}`", *cells, str(len(runs)), f"{passes:,.0f}"]) + " |")
    return "\n".join(lines) + "\n"


def by_class(found: list[dict[str, Any]], settings: tuple[str, ...], tuned: tuple[int, ...], seed: int = 0) -> str:
    """Each class at one seed: original, and each setting, forgotten / retained test accuracy."""
    mine = [r for r in found if r["seed"] == seed and setting(r) in settings and len(r["request"]["classes"]) == 1]
    lines = ["| class | original | " + " | ".join(f"`{s}`" for s in settings) + " | retrained |", "|---" * (len(settings) + 3) + "|"]
    for label in sorted({r["request"]["classes"][0] for r in mine}):
        runs = {setting(r): r for r in mine if r["request"]["classes"] == [label]}
        one = next(iter(runs.values()))
        mark = " (tuned on)" if label in tuned else ""
        cells = [_pair(one, "original"), *(_pair(runs[s], "unlearned") if s in runs else "" for s in settings), _pair(one, "retrained")]
        lines.append(f"| {label} {one['request']['names'][0]}{mark} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _pair(found: dict[str, Any], column: str) -> str:
    gone, kept = (values(found, f"{side}, test", column) for side in ("forgotten", "retained"))
    return f"{shown(gone, '{:.1%}')} / {shown(kept, '{:.2%}')}" if gone and kept else ""


def into(path: Path, name: str, table: str) -> None:
    """Put a table between its two markers in a page."""
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- table {name} -->\n", f"<!-- end {name} -->"
    head, rest = text.split(begin)
    path.write_text(head + begin + table + end + rest.split(end, 1)[1], encoding="utf-8")
