"""Figures of a record as plotly reads them, in plain data. Colours are the page's business: it knows light from dark.

Any figure of kind `curves` or `bars` is drawn, whichever audit it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from untrain.report.markup import label, shown

FIRST = ("original", "unlearned", "retrained")
"""Columns that every table begins with; what comes after them is a control."""

SLOTS = {
    "original": {"dash": "dot", "symbol": "square-open", "pattern": "hollow"},
    "unlearned": {"dash": "solid", "symbol": "circle", "pattern": ""},
    "retrained": {"dash": "dash", "symbol": "diamond", "pattern": "/"},
    "control-0": {"dash": "dashdot", "symbol": "x", "pattern": "x"},
    "control-1": {"dash": "longdash", "symbol": "triangle-up", "pattern": "."},
    "control-2": {"dash": "longdashdot", "symbol": "star", "pattern": "-"},
}
"""What tells one column from another without colour."""

CROWD = 30
"""Labels beyond which bars side by side become hairs, and each column gets a panel of its own."""


@dataclass(frozen=True)
class Line:
    """A row of numbers under a figure.

    Args:
        label: What it belongs to: a bar's label, a place on the x axis.
        cells: A number for each column, None where there is none.
    """

    label: str
    cells: tuple[float | None, ...]


@dataclass(frozen=True)
class Figure:
    """A figure ready for a template.

    Args:
        title: Its heading.
        x: What its x axis is.
        y: What its y axis is.
        kind: `curves` or `bars`.
        columns: Columns in it, in order, with their slots.
        note: How to read it.
        spec: What plotly reads, without colours.
        table: The same numbers; of several models, their mean.
    """

    title: str
    x: str
    y: str
    kind: str
    columns: tuple[tuple[str, str], ...]
    note: str
    spec: dict[str, Any]
    table: tuple[Line, ...]


def ordered(columns: Iterable[str]) -> list[str]:
    """Columns in the order of every table: original, unlearned, retrained, then the controls.

    >>> ordered({"head mask", "retrained"})
    ['original', 'unlearned', 'retrained', 'head mask']
    """
    return [*FIRST, *sorted(set(columns) - set(FIRST), key=lambda c: (c != "head mask", c))]


def slots(record: dict[str, Any]) -> dict[str, str]:
    """The slot of each column of a record: the same in the table, in keys and in every figure."""
    found: set[str] = {c for a in record["audits"] for r in a["rows"] for c in r["values"]}
    found |= {c for a in record["audits"] for f in a["figures"] for c in f["series"]}
    found |= {c for p in record["pictures"] or () for c in p["said"]}
    names = ordered(found)
    return {c: c if c in FIRST else f"control-{(i - len(FIRST)) % 3}" for i, c in enumerate(names)}


def figure(raw: dict[str, Any], slots: dict[str, str]) -> Figure:
    """One of an audit's figures."""
    series = {c: raw["series"][c] for c in slots if raw["series"].get(c)}
    columns = tuple((c, slots[c]) for c in series)
    spec, table = (_curves if raw["kind"] == "curves" else _bars)(raw, series, slots)
    return Figure(raw["name"], raw["x"], raw["y"], raw["kind"], columns, _note(raw, series), spec, table)


def losses(phase: dict[str, Any]) -> Figure:
    """The losses of a phase."""
    x = [min((i + 1) * phase["every"], phase["steps"]) for i in range(len(phase["losses"]))]
    series = {"unlearned": [{"x": x, "y": phase["losses"]}]}
    raw = {"name": phase["name"], "x": "step", "y": "loss", "kind": "curves", "series": series}
    return figure(raw, {"unlearned": "unlearned"})


def _note(raw: dict[str, Any], series: dict[str, list[Any]]) -> str:
    several = [c for c, drawn in series.items() if len(drawn) > 1]
    if not several:
        return ""
    who = ", ".join(shown(c, 40) for c in several)
    if raw["kind"] == "curves":
        return f"{who}: a line for each model."
    if len({k for bars in series.values() for b in bars for k in b}) > CROWD:
        return f"{who}: mean of the models."
    return f"{who}: mean of the models; whiskers from smallest to largest."


def _curves(raw: dict[str, Any], series: dict[str, list[Any]], slots: dict[str, str]) -> tuple[dict[str, Any], tuple[Line, ...]]:
    traces: list[dict[str, Any]] = []
    for number, (column, lines) in enumerate(series.items()):
        look = SLOTS[slots[column]]
        for line in lines:
            traces.append(
                _trace(number, column, slots)
                | {"type": "scatter", "mode": "lines" if len(line["x"]) > 40 else "lines+markers", "x": line["x"], "y": line["y"], "opacity": 0.55 if len(lines) > 1 else 1}
                | {"line": {"dash": look["dash"], "width": 1.5 if len(lines) > 1 else 2.5}, "marker": {"symbol": look["symbol"], "size": 5 if len(lines) > 1 else 7}}
                | {"hovertemplate": f"%{{y{_format(raw)}}} at %{{x}}", "zorder": 2 if column == "unlearned" else 1}
            )
    places = sorted({x for lines in series.values() for line in lines for x in line["x"]})
    at = {c: [dict(zip(line["x"], line["y"], strict=False)) for line in lines] for c, lines in series.items()}
    table = tuple(Line(f"{x:g}", tuple(_mean([line.get(x) for line in lines]) for lines in at.values())) for x in places)
    layout = {"height": 300, "xaxis": {"title": {"text": label(raw["x"])}, "type": "linear"}, "yaxis": _y(raw)}
    return {"data": traces, "layout": layout, "labels": None}, table


def _bars(raw: dict[str, Any], series: dict[str, list[Any]], slots: dict[str, str]) -> tuple[dict[str, Any], tuple[Line, ...]]:
    labels = list(dict.fromkeys(k for bars in series.values() for b in bars for k in b))
    crowded = len(labels) > CROWD
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"height": 130 * len(series) + 70 if crowded else 330, "barmode": "group", "bargap": 0.25, "bargroupgap": 0.08}
    layout["xaxis"] = {"title": {"text": label(raw["x"])}, "type": "linear"}
    every = [v for bars in series.values() for b in bars for v in b.values() if v is not None]
    ends = [1.08 * end([*every, 0.0]) for end in (min, max)]
    for number, (column, bars) in enumerate(series.items()):
        heights = [_mean([b.get(k) for b in bars]) for k in labels]
        trace = _trace(number, column, slots) | {"type": "bar", "x": list(range(len(labels))), "y": heights, "text": [label(k) for k in labels], "textposition": "none"}
        trace |= {"hovertemplate": f"%{{text}}: %{{y{_format(raw)}}}", "marker": {"pattern": {"shape": "" if crowded else SLOTS[slots[column]]["pattern"], "size": 6}}}
        if len(bars) > 1 and not crowded:
            ends = [[v for b in bars if (v := b.get(k)) is not None] for k in labels]
            up = [max(e, default=0.0) - (h or 0.0) for e, h in zip(ends, heights, strict=True)]
            down = [(h or 0.0) - min(e, default=0.0) for e, h in zip(ends, heights, strict=True)]
            trace["error_y"] = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "width": 2, "thickness": 1}
        if crowded:
            trace["yaxis"] = "y" if number == 0 else f"y{number + 1}"
            share = 1 / len(series)
            place = {"domain": [1 - (number + 0.86) * share, 1 - number * share], "range": ends if any(ends) else [0, 1], "nticks": 3, "title": {"text": label(column, 18)}}
            layout["yaxis" if number == 0 else f"yaxis{number + 1}"] = _y(raw) | place
        else:
            layout["yaxis"] = _y(raw) | {"rangemode": "tozero"}
        traces.append(trace)
    if crowded:
        layout["xaxis"] |= {"anchor": f"y{len(series)}" if len(series) > 1 else "y"}
        layout["bargap"] = 0.1
    table = tuple(Line(k, tuple(_mean([b.get(k) for b in bars]) for bars in series.values())) for k in labels)
    return {"data": traces, "layout": layout, "labels": [label(k, 22) for k in labels]}, table


def _trace(number: int, column: str, slots: dict[str, str]) -> dict[str, Any]:
    return {"name": label(column), "meta": {"series": number, "slot": slots[column]}}


def _y(raw: dict[str, Any]) -> dict[str, Any]:
    return {"title": {"text": label(raw["y"])}, "type": "linear"} | ({"tickformat": ".0%", "rangemode": "tozero"} if is_share(raw["y"]) else {})


def is_share(y: str) -> bool:
    """Whether an axis counts in per cent."""
    return "share" in y or "accuracy" in y


def _format(raw: dict[str, Any]) -> str:
    return ":.1%" if is_share(raw["y"]) else ":.4~g"


def _mean(values: list[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return sum(there) / len(there) if there else None
