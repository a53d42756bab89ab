"""What it takes that a class is as hard to relearn as by a model that never saw it: a ladder of changes to UNSIR, and what each costs.

    python benchmarks/deep.py                        # every line that is missing
    python benchmarks/deep.py digits 1 'unsir shrink=0.5' ...   # of these cases, classes and settings alone
    python benchmarks/deep.py --page                 # draws docs/deep.md from the record

The networks are those that settings are chosen on (benchmarks/tune.py): held-out training images are scored and no test image is read, and the
classes and seeds are none that a verdict uses. `cifar10` needs the folder UNTRAIN_DATA. What is no setting of the library stands in deep_tried.py.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from deep_tried import TRIED
from torch import nn

from untrain.core import discover, disk, files
from untrain.core.audit import audit
from untrain.core.data import Split
from untrain.core.unlearn import unlearn
from untrain.evidence.statistics import limit
from untrain.zoo.networks import NETWORKS
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import load

HERE = Path(__file__).resolve().parent
RECORD, PAGE, TUNING = HERE / "records" / "deep" / "ladder.json", HERE.parent / "docs" / "deep.md", HERE / "references" / "tuning"

AUDITS = ("accuracy", "prototype", "relearn", "attack")


# Running.


@dataclass(frozen=True)
class Case:
    """A network that settings are chosen on.

    Args:
        title: What the page calls it.
        data: Name of the data.
        network: Name of the network.
        weights: The original, in the folder of references.
        every: Every so-manieth training image was held out of its training, and is scored.
        classes: What is forgotten, one at a time.
        seeds: Seeds of the method.
        settings: The ladder.
        retrained: Models trained without the class by the same recipe, by their seed; where there are files of them, these.
        beside: Files of retrained models, with the class for {}.
        ladders: Settings that stand for alpha 0 in the figure: of the usual repair, and of a longer one.
    """

    title: str
    data: str
    network: str
    weights: str
    every: int
    classes: tuple[int, ...]
    seeds: tuple[int, ...]
    settings: tuple[str, ...]
    retrained: tuple[int, ...] = ()
    beside: tuple[str, ...] = ()
    ladders: tuple[str, str] = ("unsir", "")


ALPHAS = (0.3, 0.5, 0.7, 0.9)
LONG = 2000

DIGITS = (
    "unsir",
    *(f"unsir shrink={a}" for a in ALPHAS),
    f"unsir floor={LONG}",
    *(f"unsir shrink={a} floor={LONG}" for a in ALPHAS),
    *(f"unsir repair_lr={lr} schedule='onecycle'" for lr in (0.003, 0.01, 0.03)),
    "unsir shrink=0.5 repair_lr=0.01 schedule='onecycle'",
    "unsir shrink=0.7 repair_lr=0.01 schedule='onecycle'",
    "unsir impair_lr=0.02",
    "unsir:thorough",
    *(f"distorted sigma={s}" for s in (0.02, 0.1, 0.2)),
    *(f"scored share={s}{how}" for s in (0.01, 0.03, 0.1) for how in ("", " at_random=True")),
    *(f"away away={a}" for a in (1.0, 10.0)),
    "twice shrink=0.25",
    "undo alpha=0.6",
    "undo alpha=0.9",
)
CIFAR = ("unsir samples=4500",)

CASES = {
    "digits": Case(
        "digits, a small convolutional network",
        "digits",
        "digits",
        "digits_s10",
        5,
        (1, 7),
        (3, 4),
        DIGITS,
        retrained=(11, 12, 13, 14, 15),
        ladders=("unsir", f"unsir floor={LONG}"),
    ),
    "cifar10": Case("CIFAR-10, our ResNet-20", "cifar10", "resnet20", "original_s10", 10, (8,), (3,), CIFAR, beside=("cifar10/retrain_{}_s0",)),
}


def setting(text: str) -> Any:
    """A method by its name, its preset and what differs: `unsir shrink=0.5`."""
    name, *changes = text.split()
    method = TRIED[name]() if name in TRIED else discover.settings(*name.split(":"))
    return dataclasses.replace(method, **{k: ast.literal_eval(v) for k, v in (c.split("=") for c in changes)})


def given(path: Path, network: str, classes: int) -> nn.Module:
    """A network of the zoo with the weights of a file."""
    module = NETWORKS[network](classes)
    files.load_into(module, files.load_weights(path.with_suffix(".safetensors")), str(path))
    return module


def measured(case: Case, label: int, wanted: list[tuple[str, int]]) -> Iterator[dict[str, Any]]:
    """A line for each setting and seed."""
    data = load(case.data)
    held = torch.arange(len(data.train)) % case.every == case.every - 1
    split = Split.by_class(data.train[~held], data.train[held], forget=[label])
    original, recipe = given(TUNING / case.weights, case.network, data.classes), recipe_for(case.network, data.classes)
    retrained = [given(TUNING.parent / name.format(label), case.network, data.classes) for name in case.beside]
    retrained += [unlearn(recipe.build(), split, discover.settings("retrain"), recipe=recipe, seed=seed).model for seed in case.retrained]
    audits, subjects = [discover.lookup("audits", name)() for name in AUDITS], {}  # type: ignore[var-annotated]
    for text, seed in wanted:
        began = time.process_time()
        result = unlearn(original, split, setting(text), seed=seed, recipe=recipe)
        seconds = time.process_time() - began
        found = audit(result.model, split, audits, original=original, retrained=retrained, subjects=subjects)
        subjects.pop(id(result.model))
        yield {
            "case": case.data,
            "class": label,
            "setting": text,
            "seed": seed,
            "passes": result.passes,
            "seconds": round(seconds, 1),
            "marks": list(result.marks),
            "phases": {name: done.steps for name, done in result.trace.items()},
            "rows": {
                row["name"].replace("test", "held out"): {c: [round(v["value"], 4) for v in vs if v["value"] is not None] for c, vs in row["values"].items() if vs}
                for entry in found
                for row in entry["rows"]
            },
            "attacks": attacks(found),
        }


def attacks(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The areas of all six attacks, with the head's rows as they are and drawn anew."""
    figures = [figure for entry in found for figure in entry["figures"] if figure["name"].startswith("attacks")]
    return {f["name"]: {column: [{k: round(v, 4) for k, v in bars.items()} for bars in models] for column, models in f["series"].items()} for f in figures}


def read() -> dict[str, Any]:
    """The record; an empty one where there is none."""
    found: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.is_file() else {"lines": []}
    return found


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one line from another."""
    return line["case"], line["class"], line["setting"], line["seed"]


def run(names: list[str], classes: list[int], settings: list[str]) -> None:
    """Run what has no line yet."""
    for name in names:
        case = CASES[name]
        for label in classes or case.classes:
            have = {key(line) for line in read()["lines"]}
            wanted = [(text, seed) for seed in case.seeds for text in settings or case.settings if (name, label, text, seed) not in have]
            for line in measured(case, label, wanted) if wanted else ():
                # Read again: another process may have added lines meanwhile.
                kept = read()
                kept["lines"].append(line)
                kept["environment"] = {"untrain": version("untrain"), "torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
                kept["environment"] |= {"precision": "fp32", "threads": torch.get_num_threads()}
                disk.write(RECORD, (json.dumps(kept, sort_keys=True) + "\n").replace('{"attacks"', '\n{"attacks"').encode())
                values = {row: [round(v, 3) for v in line["rows"].get(row, {}).get("unlearned", [])] for row in ROWS}
                print(line["case"], label, line["setting"], line["seed"], line["passes"], line["seconds"], "s", values, line["marks"], flush=True)


ROWS = (
    "forgotten, held out",
    "retained, held out",
    "one-shot prototype",
    "head-reset relearning",
    "relearning recall",
    "relearning recall, row reset",
    "worst relearning recall",
    "worst relearning recall, row drawn",
    "loss barrier to the original",
    "filters turned from the original's",
)


# The page.

COLUMNS = {
    "retained, held out": "retained",
    "one-shot prototype": "one-shot",
    "head-reset relearning": "head-reset",
    "relearning recall": "relearning",
    "relearning recall, row reset": "row reset",
    "worst relearning recall": "worst attack",
    "worst relearning recall, row drawn": "worst, row drawn",
}
JUDGED = tuple(COLUMNS)[1:]


def band(values: list[float]) -> tuple[float, float] | None:
    """What retrained models leave for one more of them, 95 % of the time; None of one alone."""
    return (limit(values, -1, level=0.025), limit(values, +1, level=0.025)) if len(values) > 1 else None


def mean(lines: list[dict[str, Any]], row: str, column: str = "unlearned") -> float:
    """Mean over the lines' models."""
    found = [v for line in lines for v in line["rows"].get(row, {}).get(column, [])]
    return sum(found) / len(found)


def cell(value: float, within: tuple[float, float] | None) -> str:
    """A value; with an arrow where it lies outside."""
    arrow = "" if within is None or within[0] <= value <= within[1] else " ↑" if value > within[1] else " ↓"
    return f"{value:.3f}{arrow}"


def table(lines: list[dict[str, Any]]) -> str:
    """A class's ladder: the original, the retrained, and each setting, mean over its seeds."""
    heads = ["setting", "seeds", *COLUMNS.values(), "barrier", "turned", "passes", "seconds"]
    first = lines[:1]
    bands = {row: band(first[0]["rows"][row]["retrained"]) for row in JUDGED}
    far = ("loss barrier to the original", "filters turned from the original's")

    def row(name: str, seeds: str, some: list[dict[str, Any]], column: str, cost: list[str]) -> str:
        shown = [f"{mean(some, 'retained, held out', column):.1%}", *(cell(mean(some, r, column), None if column == "retrained" else bands[r]) for r in JUDGED)]
        return f"| {' | '.join([name, seeds, *shown, *(f'{mean(some, r, column):.2f}' for r in far), *cost])} |"

    spread = [f"{b[0]:.3f} to {b[1]:.3f}" if b else "" for b in bands.values()]
    rows = [
        row("original", "", first, "original", ["", ""]),
        row(f"retrained, mean of {len(first[0]['rows'][JUDGED[0]]['retrained'])}", "", first, "retrained", ["", ""]),
        f"| their band | | | {' | '.join(spread)} | | | | |",
    ]
    for text in dict.fromkeys(line["setting"] for line in lines):
        mine = [line for line in lines if line["setting"] == text]
        cost = [f"{sum(line['passes'] for line in mine) / len(mine):,.0f}", f"{sum(line['seconds'] for line in mine) / len(mine):.1f}"]
        rows.append(row(f"`{text}`", str(len(mine)), mine, "unlearned", cost))
    return "\n".join([f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *rows]) + "\n"


COLOURS = {"retained, held out": "#777777", "relearning recall": "#1f77b4", "relearning recall, row reset": "#d62728", "one-shot prototype": "#2ca02c"}
WIDE, HIGH, LEFT, BELOW = 340, 210, 40, 46


def panel(title: str, under: str, ticks: list[tuple[float, str]], lines: dict[str, list[tuple[float, float]]], bands: dict[str, tuple[float, float] | None], at: int) -> str:
    """One picture: a line for each row over x in 0..1, y in 0..1, with the bands of the retrained models."""

    def x(v: float) -> float:
        return at + LEFT + v * (WIDE - LEFT - 16)

    def y(v: float) -> float:
        return 24 + (1 - v) * (HIGH - 24 - BELOW)

    out = [f'<text x="{at + WIDE / 2:.0f}" y="14" text-anchor="middle" font-size="12">{title}</text>']
    for v in (0, 0.25, 0.5, 0.75, 1):
        out.append(
            f'<line x1="{x(0):.1f}" x2="{x(1):.1f}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#ddd"/><text x="{x(0) - 5:.1f}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
        )
    out += [f'<text x="{x(v):.1f}" y="{y(0) + 14:.1f}" text-anchor="middle">{word}</text>' for v, word in ticks]
    out.append(f'<text x="{at + (WIDE + LEFT) / 2:.0f}" y="{y(0) + 30:.1f}" text-anchor="middle">{under}</text>')
    for row, points in lines.items():
        if within := bands.get(row):
            low, high = max(0.0, within[0]), min(1.0, within[1])
            out.append(f'<rect x="{x(0):.1f}" width="{x(1) - x(0):.1f}" y="{y(high):.1f}" height="{y(low) - y(high):.1f}" fill="{COLOURS[row]}" opacity="0.12"/>')
        if points:
            path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in sorted(points))
            out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[row]}" stroke-width="2"/>')
            out += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.5" fill="{COLOURS[row]}"/>' for a, b in points]
    return "".join(out)


def figure(lines: list[dict[str, Any]], base: str, long: str) -> str:
    """Retained accuracy and recovery against alpha, for the usual repair and a longer one, and against passes at one alpha; "" where there are too few lines."""
    bands = {row: band(lines[0]["rows"][row]["retrained"]) for row in COLOURS if row != "retained, held out"}

    def alpha(text: str) -> float:
        return float(text.partition("shrink=")[2].split()[0]) if "shrink=" in text else 0.0

    def ladder(tail: str) -> list[str]:
        return [t for t in dict.fromkeys(line["setting"] for line in lines) if (t + " ").replace(f" shrink={alpha(t)}", "").strip() == tail]

    def points(texts: list[str], place: Any) -> dict[str, list[tuple[float, float]]]:
        return {row: [(place(t), mean([line for line in lines if line["setting"] == t], row)) for t in texts] for row in COLOURS}

    ticks = [(a, f"{a:g}") for a in (0.0, 0.3, 0.5, 0.7, 0.9)]
    panels = [(title, "α", ticks, points(texts, alpha)) for title, tail in (("the usual repair", base), (f"{long}", long)) if len(texts := ladder(tail)) > 1]
    if not panels:
        return ""
    drawn = "".join(panel(*some, bands, i * WIDE) for i, some in enumerate(panels))
    key = "".join(
        f'<rect x="{10 + 172 * i}" y="{HIGH - 8}" width="10" height="10" fill="{colour}"/><text x="{24 + 172 * i}" y="{HIGH + 1}">{row.replace(", held out", "")}</text>'
        for i, (row, colour) in enumerate(COLOURS.items())
    )
    size = f'viewBox="0 0 {max(WIDE * len(panels), 690)} {HIGH + 10}"'
    return f'<svg {size} font-family="sans-serif" font-size="10" fill="currentColor" role="img" aria-label="Retained accuracy and recovery against alpha">{drawn}{key}</svg>\n'


def page() -> str:
    """The page, from the record."""
    found, parts = read()["lines"], [OPENING]
    for name, case in CASES.items():
        for label in case.classes:
            lines = [line for line in found if (line["case"], line["class"]) == (name, label)]
            if not lines:
                continue
            parts.append(f"## {case.title[0].upper()}{case.title[1:]}, class {label}\n")
            if drawn := figure(lines, *case.ladders):
                parts.append(drawn)
            parts.append(table(lines))
    return "\n".join(parts)


OPENING = """# As hard to relearn as retraining

<!-- drawn by benchmarks/deep.py from benchmarks/records/deep/ladder.json; do not edit -->
"""


def main(*arguments: str) -> None:
    """Run, or draw."""
    if "--page" in arguments:
        PAGE.write_text(page(), encoding="utf-8")
        return
    settings = [a for a in arguments if a.partition(" ")[0].partition(":")[0] in {*discover.found("methods"), *TRIED}]
    run([a for a in arguments if a in CASES] or list(CASES), [int(a) for a in arguments if a.isdecimal()], settings)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
