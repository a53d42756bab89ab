"""Tables drawn from records; nothing is typed in by hand. Imports no torch.

A page says where they go: `<!-- table SCENARIO VIEW WORDS -->` ... `<!-- end -->`, with the views

    methods 3            settings on the classes 3, over the seeds there are
    changes unsir 3      one of them, and what was run with other values of its fields
    classes unsir,...    classes at seed 0, by setting
    ground unsir         each set of classes at seed 0: accuracy, recovery, cost
    mean unsir 0,2,3     mean of one-class runs over some classes
    field 3              every setting on the classes 3 at seed 0: kept, forgotten, left, cost; controls and what collapsed by themselves
    lists random:10%     every setting on a list of samples at seed 0: what is named of it, kept, told by membership, cost; original and retrained models by themselves
    limits unsir 3       recovery of each seed beside the prediction limit of the retrained models
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from untrain.evidence import record
from untrain.evidence.statistics import floor_of, limit
from untrain.report.words import values

TUNED_ON = {"cifar10": (1, 4, 6, 8)}
"""Classes that settings were chosen on, by scenario: shown, and marked."""

COLUMNS = (
    ("forgotten", "forgotten, test", "{:.1%}"),
    ("retained", "retained, test", "{:.2%}"),
    ("one-shot prototype", "one-shot prototype", "{:.3f}"),
    ("head-reset relearning", "head-reset relearning", "{:.3f}"),
    ("relearn steps", "relearn time", "{:.0f}"),
    ("row reset", "relearn time, row reset", "{:.0f}"),
    ("relearning recall", "relearning recall", "{:.3f}"),
    ("recall, row reset", "relearning recall, row reset", "{:.3f}"),
)


ORDER = (
    "unsir",
    "unsir:plain-noise",
    "unsir:black",
    "unsir:wrong-sign",
    "unsir:no-noise",
    "unsir:no-impair",
    "unsir:old-row",
    "unsir:paper",
    "unsir:notebook",
    "unsir:benchmarks",
    "finetune",
    "neggrad",
    "headonly",
    "nothing",
)
"""How settings stand in a table; others follow."""

CONTROLS = ("headonly", "nothing", "opc", "pour")
"""Methods that show what is not forgetting."""

NAMED = 0.01
"""Share of the forgotten classes' test images from which on they are said to be named still."""


def read(folder: Path) -> list[dict[str, Any]]:
    """All records of a folder, in the order of their names."""
    return [record.loads(path.read_bytes(), path.name) for path in sorted(folder.glob("*.json"))]


def setting(found: dict[str, Any]) -> str:
    """What ran: `unsir`, `unsir:paper`, and of settings that are no preset what differs: `unsir repair_epochs=0`."""
    command, name = found["command"], str(found["method"]["name"])
    preset = dict(itertools.pairwise(command)).get("--preset") or found["method"]["preset"]
    own = "" if preset in (None, "default") else f":{preset}"
    flags = {field: field.replace("_", "-") for field in found["method"]["settings"]}
    changed = [f" {field}={found['method']['settings'][field]}" for field, flag in flags.items() if {f"--{flag}", f"--no-{flag}"} & set(command)]
    return name + own + "".join(changed)


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


def by_method(found: list[dict[str, Any]], classes: list[int], base: str | None = None) -> str:
    """Methods on one set of classes, beside original and retrained, over the seeds there are; or one setting and those that change a field of it."""

    def asked(name: str) -> bool:
        return " " not in name if base is None else name.split()[0] == base

    mine = [r for r in found if r["request"]["classes"] == classes and not r["request"].get("after") and asked(setting(r))]
    if not mine:
        return "*Not run.*\n"
    widest = max(mine, key=lambda r: (len(r["references"]), len(r["audits"])))
    lines = ["| " + " | ".join(["model", *(c[0] for c in COLUMNS), "seeds", "passes"]) + " |", "|---" * (len(COLUMNS) + 3) + "|"]
    for column in ("original", "retrained"):
        cells = [shown(values(widest, row, column), form) for _, row, form in COLUMNS]
        n = len(values(widest, "forgotten, test", column))
        if n:
            lines.append("| " + " | ".join([column, *cells, f"{n} model{'s' if n > 1 else ''}" if column == "retrained" else "", ""]) + " |")
    order = {name: i for i, name in enumerate(ORDER)}
    for name in sorted({setting(r) for r in mine}, key=lambda n: (order.get(n, len(order)), n)):
        runs = [r for r in mine if setting(r) == name]
        cells = [shown([v for r in runs for v in values(r, row, "unlearned")], form) for _, row, form in COLUMNS]
        passes = statistics.fmean(r["run"]["passes"] for r in runs)
        lines.append("| " + " | ".join([f"`{name}`", *cells, str(len(runs)), f"{passes:,.0f}"]) + " |")
    return "\n".join(lines) + "\n"


def fielded(found: list[dict[str, Any]], classes: list[int], seed: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """The rows of `field` with their names: methods, the more they keep the earlier, then what collapsed, then the controls."""
    mine = [(setting(r), r) for r in found if r["request"]["classes"] == classes and r["seed"] == seed and not r["request"].get("after")]

    def place(row: tuple[str, dict[str, Any]]) -> tuple[int, float, str]:
        name, r = row
        group = 2 if name.partition(":")[0] in CONTROLS else int(r["verdict"]["code"] == "COLLAPSED")
        return group, -values(r, "retained, test", "unlearned")[0]["value"], name

    return sorted(mine, key=place)


def field(found: list[dict[str, Any]], classes: list[int]) -> str:
    """Settings side by side, numbered as in their picture; behind them original and retrained models."""
    rows = fielded(found, classes)
    if not rows:
        return "*Not run.*\n"
    left = [c for c in COLUMNS[2:] if c[0] not in ("relearn steps", "row reset")]
    heads = ["", "method", "forgotten, at most", "retained", "less the retrained", *(c[0] for c in left), "passes", "seconds", "what is said of it"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for number, (name, r) in enumerate(rows, 1):
        gone, less = values(r, "forgotten, test", "unlearned")[0], values(r, "retained, less the retrained", "unlearned")
        mark = ", control" if name.partition(":")[0] in CONTROLS else ""
        said = r["verdict"]["code"] + (", still named" if gone["value"] > NAMED and r["verdict"]["code"] != "COLLAPSED" else "")
        cells = [
            str(number),
            f"`{name}`{mark}",
            f"{gone['value']:.1%}, {gone['high']:.1%}",
            shown(values(r, "retained, test", "unlearned"), "{:.2%}"),
            f"{100 * less[0]['value']:+.2f} ({100 * less[0]['low']:+.2f} to {100 * less[0]['high']:+.2f})" if less else "",
            *(shown(values(r, row, "unlearned"), form) for _, row, form in left),
            f"{r['run']['passes']:,}",
            f"{r['run']['seconds']:,.0f}",
            said,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    widest = max((r for _, r in rows), key=lambda r: (len(r["references"]), len(r["audits"])))
    for column in ("original", "retrained"):
        n = len(values(widest, "forgotten, test", column))
        if n:
            cells = [shown(values(widest, row, column), form) for _, row, form in (*COLUMNS[:2], *left)]
            lines.append("| " + " | ".join(["", column + (f", {n} models" if n > 1 else ""), *cells[:2], "", *cells[2:], "", "", ""]) + " |")
    return "\n".join(lines) + "\n"


LISTED = (
    ("forgotten, training", "forgotten, training", "{:.1%}"),
    ("retained, test", "retained, test", "{:.2%}"),
    ("membership", "membership", "{:.3f}"),
    ("membership, calibrated", "membership, calibrated", "{:.3f}"),
    ("unlike the original's", "answers unlike the original's", "{:.1%}"),
)


def lists(found: list[dict[str, Any]], forget: str, seed: int = 0) -> str:
    """Settings on a list of samples side by side, the more they keep the earlier, controls last; before them the original and the retrained models."""
    mine = [(setting(r), r) for r in found if r["request"]["forget"] == forget and r["seed"] == seed]
    if not mine:
        return "*Not run.*\n"
    heads = ["method", *(c[0] for c in LISTED[:2]), "less the retrained", *(c[0] for c in LISTED[2:]), "passes", "what is said of it"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]

    def line(name: str, r: dict[str, Any], column: str, *ends: str) -> None:
        cells = [shown(values(r, row, column), form) for _, row, form in LISTED]
        less = values(r, "retained, less the retrained", column) if column == "unlearned" else []
        beside = f"{100 * less[0]['value']:+.2f} ({100 * less[0]['low']:+.2f} to {100 * less[0]['high']:+.2f})" if less else ""
        lines.append("| " + " | ".join([name, *cells[:2], beside, *cells[2:], *ends]) + " |")

    widest = max((r for _, r in mine), key=lambda r: (len(r["references"]), len(r["audits"])))
    line("original", widest, "original", "", "")
    line(f"retrained, {len(widest['references'])} models", widest, "retrained", "", "")
    for name, r in sorted(mine, key=lambda m: (m[0].partition(":")[0] in CONTROLS, -values(m[1], "retained, test", "unlearned")[0]["value"], m[0])):
        mark = ", control" if name.partition(":")[0] in CONTROLS else ""
        line(f"`{name}`{mark}", r, "unlearned", f"{r['run']['passes']:,}", r["verdict"]["code"])
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


def ground(found: list[dict[str, Any]], name: str, seed: int = 0) -> str:
    """Each set of classes at one seed: accuracy beside the original's and the retrained models', one-shot prototype, and the passes."""
    mine = [r for r in found if r["seed"] == seed and setting(r) == name and not r["request"].get("after")]
    if not mine:
        return "*Not run.*\n"
    head = [
        "forgotten classes",
        "test images forgotten, of",
        "retained: original",
        "unlearned",
        "less the retrained",
        "prototype: original",
        "unlearned",
        "retrained",
        "passes",
        "verdict",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for r in sorted(mine, key=lambda r: (len(r["request"]["classes"]), r["request"]["classes"])):
        gone = values(r, "forgotten, test", "unlearned")
        count = f"{gone[0]['value']:.1%} of {gone[0]['n']:,} (at most {gone[0]['high']:.1%})" if gone else ""
        less = values(r, "retained, less the retrained", "unlearned")
        beside = f"{100 * less[0]['value']:+.2f} ({100 * less[0]['low']:+.2f} to {100 * less[0]['high']:+.2f}) points" if less else ""
        kept = [shown(values(r, "retained, test", c), "{:.2%}") for c in ("original", "unlearned")]
        left = [shown(values(r, "one-shot prototype", c), "{:.3f}") for c in ("original", "unlearned", "retrained")]
        cells = [_classes(r["request"]), count, *kept, beside, *left, f"{r['run']['passes']:,}", r["verdict"]["code"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def mean(found: list[dict[str, Any]], name: str, classes: tuple[int, ...], seed: int = 0) -> str:
    """Mean over one-class runs of some classes: forgotten, and retained beside the original's."""
    mine = [r for r in found if r["seed"] == seed and setting(r) == name and r["request"]["classes"] in [[c] for c in classes]]
    if len(mine) != len(classes):
        return "*Not run.*\n"

    def over(row: str, column: str) -> float:
        return statistics.fmean(values(r, row, column)[0]["value"] for r in mine)

    said = f"forgotten {over('forgotten, test', 'unlearned'):.2%}, retained {over('retained, test', 'unlearned'):.2%} (original {over('retained, test', 'original'):.2%})"
    return f"Mean over the classes {', '.join(map(str, classes))}: {said}.\n"


def limits(found: list[dict[str, Any]], name: str, classes: list[int]) -> str:
    """Each measure of recovery, by seed, beside the one-sided 95 % prediction limit of the retrained models; what is beyond it is marked with by how much."""
    mine = sorted((r for r in found if setting(r) == name and r["request"]["classes"] == classes), key=lambda r: int(r["seed"]))
    if not mine:
        return "*Not run.*\n"
    lines = ["| measure | retrained | limit | " + " | ".join(f"seed {r['seed']}" for r in mine) + " |", "|---" * (3 + len(mine)) + "|"]
    for title, row, form in COLUMNS[2:]:
        known = [v["value"] for v in values(mine[0], row, "retrained")]
        if len(known) < 2:
            continue
        knows, unit = _row(mine[0], row)
        edge, cells = limit(known, knows, floor=floor_of(unit)), []
        for r in mine:
            value = values(r, row, "unlearned")[0]
            over = knows * (value["value"] - edge)
            mark = f" (beyond by {form.format(over)})" if over > 0 and not value["beyond"] else ""
            cells.append(f"{'> ' if value['beyond'] else ''}{form.format(value['value'])}{mark}")
        lines.append("| " + " | ".join([title, shown(values(mine[0], row, "retrained"), form), form.format(edge), *cells]) + " |")
    return "\n".join(lines) + "\n"


def _row(found: dict[str, Any], row: str) -> tuple[int, str]:
    """The side of a row on which more is known, +1 above, -1 below; and its unit."""
    return next((int(line["knows"]), str(line["unit"])) for entry in found["audits"] for line in entry["rows"] if line["name"] == row)


def _classes(request: dict[str, Any]) -> str:
    numbers, names = request["classes"], request["names"]
    return ", ".join(f"{c} {n}" if n != str(c) else n for c, n in zip(numbers, names, strict=True)) if len(numbers) < 8 else f"{len(numbers)} classes"


def _pair(found: dict[str, Any], column: str) -> str:
    gone, kept = (values(found, f"{side}, test", column) for side in ("forgotten", "retained"))
    return f"{shown(gone, '{:.1%}')} / {shown(kept, '{:.2%}')}" if gone and kept else ""


def drawn(records: Path, scenario: str, view: str, words: list[str]) -> str:
    """A table by the words of its marker."""
    found = read(records / scenario)
    numbers = [int(n) for n in words[-1].split(",")] if words and re.fullmatch(r"[\d,]+", words[-1]) else []
    if view == "methods":
        return by_method(found, numbers)
    if view == "changes":
        return by_method(found, numbers, words[0])
    if view == "classes":
        return by_class(found, tuple(words[0].split(",")), TUNED_ON.get(scenario, ()))
    if view == "lists":
        return lists(found, words[0])
    if view == "field":
        return field(found, numbers)
    if view == "limits":
        return limits(found, words[0], numbers)
    return ground(found, words[0]) if view == "ground" else mean(found, words[0], tuple(numbers))


def fill(page: Path, records: Path) -> None:
    """Draw every table that a page has markers for."""
    marker = re.compile(r"(<!-- table (\S+) (methods|changes|classes|ground|mean|field|lists|limits) ([^>]*?) ?-->\n).*?(<!-- end -->)", re.DOTALL)
    text = page.read_text(encoding="utf-8")
    page.write_text(marker.sub(lambda m: m[1] + drawn(records, m[2], m[3], m[4].split()) + m[5], text), encoding="utf-8")
