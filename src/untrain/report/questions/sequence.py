"""One class after another."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from untrain.report.figures import figure
from untrain.report.markup import name, shown
from untrain.report.questions.asked import PLAIN, Answer, Asked, Evidence, Picture
from untrain.report.questions.axes import MEASURES, scale, with_axis, worded
from untrain.report.words import counted, images, listed, one, raw_figure, said, sentence, values


def sequential(evidence: Evidence) -> Answer:
    """Class after class, with all earlier ones looked at again."""
    needed = evidence.chain()
    runs = [(a, a.record) for a in needed if a.record]
    if not [a for a, _ in runs if a.after]:
        return Answer(needed)
    numbers = [float(len(a.after) + 1) for a, _ in runs]
    words = {x: f"{x:g}: {shown(_own(a, r), 20)}" for x, (a, r) in zip(numbers, runs, strict=True)}
    lines: dict[str, list[tuple[float, float]]] = {}
    for x, (_, record) in zip(numbers, runs, strict=True):
        shares = _by_class(record)
        for gone in record["request"]["names"]:
            if gone in shares:
                lines.setdefault(gone, []).append((x, shares[gone]))
    look = {n: ("unlearned", "control-0", "control-1", "control-2", "retrained", "original")[i % 6] for i, n in enumerate(lines)}
    every = [a for a, _ in runs]
    pictures = []
    if lines:
        series = {n: [{"x": [x for x, _ in line], "y": [v for _, v in line]}] for n, line in lines.items()}
        made = figure({"name": "each forgotten class", "x": "classes forgotten, the last named", "y": "test accuracy of the class", "kind": "curves", "series": series}, look)
        pictures.append(Picture(worded(made, words), every, images(runs[-1][1], ("forgotten, test",)) + ", over all classes forgotten by then"))
    for row, y in MEASURES[1:]:
        series = {c: [{"x": [x for x, _, _ in line], "y": [v for _, _, v in line]} for line in _columns(row, c, numbers, [r for _, r in runs])] for c in PLAIN}
        if series["unlearned"]:
            made = figure({"name": row, "x": "classes forgotten, the last named", "y": y, "kind": "curves", "series": series}, PLAIN)
            pictures.append(Picture(with_axis(worded(made, words), "yaxis", **scale(row)), every, images(runs[-1][1], (row,))))
    return Answer(needed, _sequence_told(runs, lines), pictures)


def _columns(row: str, column: str, numbers: list[float], runs: list[dict[str, Any]]) -> list[list[tuple[float, int, float]]]:
    """A line for each model of a column: place, number of the model, value."""
    found = [(x, i, v["value"]) for x, r in zip(numbers, runs, strict=True) for i, v in enumerate(values(r, row, column))]
    return [[f for f in found if f[1] == i] for i in sorted({i for _, i, _ in found})]


def _own(run: Asked, record: dict[str, Any]) -> str:
    """The class that this run of a chain forgot: the one that those before it had not."""
    fresh = [n for c, n in zip(record["request"]["classes"], record["request"]["names"], strict=True) if c not in run.after]
    return str(fresh[0] if fresh else "?")


def _by_class(record: dict[str, Any]) -> dict[str, float]:
    found = raw_figure(record, "accuracy by class")
    mine: list[dict[str, float]] = found["series"].get("unlearned", []) if found else []
    return mine[0] if mine else {}


def _sequence_told(runs: list[tuple[Asked, dict[str, Any]]], lines: dict[str, list[tuple[float, float]]]) -> list[Markup]:
    last = runs[-1][1]
    out = []
    if lines:
        ends = listed(Markup("{} {}").format(name(n, 40), said(line[-1][1])) for n, line in lines.items())
        out.append(sentence("After the last of {k} classes the model names rightly, of {ends}.", k=counted(len(runs), "count", str(len(runs))), ends=ends))
        later = [(v, n) for n, line in lines.items() for _, v in line[1:]]
        if later:
            top, which = max(later)
            out.append(sentence("The most that an earlier class came back to while later ones were forgotten is {v} ({n}).", v=said(top), n=name(which, 40)))
    kept, before = one(last, "retained, test"), one(last, "retained, test", "original")
    out.append(sentence("Of the classes that were never to go it names {k} rightly at the end, the original {o}.", k=said(kept, "exact"), o=said(before, "exact")))
    shots = [one(r, "one-shot prototype") for _, r in runs]
    if None not in shots:
        out.append(sentence("One-shot prototype recall over all classes forgotten by then goes {s}.", s=Markup(", ").join(said(s) for s in shots)))
    return out
