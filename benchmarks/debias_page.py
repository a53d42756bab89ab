"""What `benchmarks/debias.py` draws of its records: the tables of docs/debias.md. Opens no model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECORDS, PAGE = HERE / "records" / "debias", HERE.parent / "docs" / "debias.md"


def headed(name: str) -> str:
    """The table of that, both sides of a pair apart."""
    (path,) = RECORDS.glob(f"heads-{name}-s*.json")
    told = json.loads(path.read_text())
    lines = ["| head | counterfactual bias | accuracy, one side | accuracy, other side |", "|---|---|---|---|"]
    for title, found in [("the original's", told["original"]), *((f"fitted, pull {h['pull']:g}", h) for h in told["heads"])]:
        lines.append(f"| {title} | {found['bias']:.1%} | {' | '.join(f'{a:.1%}' for a in found['accuracy'])} |")
    return "\n".join(lines) + f"\n\n{told['pairs']:,} pairs, seed {told['seed']}.\n"


def value(record: dict[str, Any], row: str, title: str) -> dict[str, Any] | None:
    """A row's value of a model."""
    column = {"FMD": "unlearned"}.get(title, title)
    rows = [r["values"].get(column, []) for a in record["audits"] for r in a["rows"] if r["name"] == row]
    return rows[0][0] if rows and rows[0] else None


SHOWN = (
    "counterfactual bias",
    "pairs with two answers",
    "accuracy, test",
    "accuracy, bias-conflicting",
    "accuracy, worst group",
    "demographic parity difference",
    "equal opportunity difference",
)


def table(name: str) -> str:
    """The models of a case: means over seeds, and the range."""
    found = [json.loads(path.read_text()) for path in sorted(RECORDS.glob(f"{name}-s*.json"))]
    if not found:
        return "No record.\n"
    lines = [f"| model | {' | '.join(SHOWN)} | seconds |", f"|{'---|' * (len(SHOWN) + 2)}"]
    for title in found[0]["seconds"]:
        cells = []
        for row in SHOWN:
            numbers = [v["value"] for r in found if (v := value(r, row, title)) is not None]
            spread = f" ({100 * min(numbers):.1f} to {100 * max(numbers):.1f})" if len(numbers) > 1 else ""
            one = value(found[0], row, title)
            within = f" ({100 * one['low']:.1f} to {100 * one['high']:.1f})" if len(numbers) == 1 and one and one["low"] is not None else ""
            cells.append(f"{100 * sum(numbers) / len(numbers):.1f}%{spread or within}" if numbers else "")
        took = [r["seconds"][title] for r in found]
        lines.append(f"| {title} | {' | '.join(cells)} | {sum(took) / len(took):.1f} |")
    counts = found[0]["counts"]
    said = ", ".join(f"{r['verdict']['code']} (seed {r['seed']})" for r in found)
    return (
        "\n".join(lines)
        + f"\n\n{counts['train']:,} training samples, {counts['pairs']:,} pairs to step by, {counts['measured']:,} pairs measured, {counts['test']:,} test samples. "
        + f"{'Means over' if len(found) > 1 else 'One seed:'} {f'{len(found)} seeds, with the range' if len(found) > 1 else found[0]['seed']}. Verdict: {said}.\n"
    )


def reached(name: str) -> str:
    """The table of how far passes lead."""
    (path,) = RECORDS.glob(f"reach-{name}-s*.json")
    told = json.loads(path.read_text())
    lines = ["| what moves, on what | counterfactual bias | accuracy, bias-conflicting | seconds |", "|---|---|---|---|"]
    lines += [f"| {m['title']} | {m['bias']:.1%} | {m['accuracy, bias-conflicting']:.1%} | {m['seconds']:.1f} |" for m in told["models"]]
    counts = told["counts"]
    return (
        "\n".join(lines) + f"\n\n{counts['train']:,} training samples, {counts['pairs']:,} pairs, {counts['measured']:,} further training digits measured, seed {told['seed']}.\n"
    )


MARK = re.compile(r"(<!-- debias (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def drawn(name: str) -> str:
    """A table by its mark."""
    kind, _, rest = name.partition("-")
    return {"heads": headed, "reach": reached}[kind](rest) if kind in ("heads", "reach") else table(name)


def page(text: str) -> str:
    """The page with its tables drawn from the records."""
    return MARK.sub(lambda m: f"{m[1]}{drawn(m[2])}{m[3]}", text)


def write() -> None:
    """Draw it anew."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
