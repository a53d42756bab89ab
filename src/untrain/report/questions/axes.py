"""Measures that several questions show, and the axes they stand on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from untrain.report.figures import Figure
from untrain.report.markup import label

MEASURES = (
    ("forgotten, test", "forgotten test accuracy"),
    ("retained, test", "retained test accuracy"),
    ("one-shot prototype", "share of test images recovered"),
)
"""What a sweep shows: the rows of audits, and what their axis is."""


def with_axis(made: Figure, which: str, **changes: Any) -> Figure:
    """The figure with one of its axes changed."""
    layout = made.spec["layout"]
    return replace(made, spec=made.spec | {"layout": layout | {which: layout[which] | changes}})


def scale(row: str) -> dict[str, str]:
    """A measure's y axis: retained accuracy moves by little, so its axis does not begin at nothing."""
    return {"rangemode": "normal", "tickformat": ".2~%"} if row.startswith("retained") else {"rangemode": "tozero"}


def worded(made: Figure, words: dict[float, str]) -> Figure:
    """The figure with its x values as words, at even distances."""
    # A chart would read tags in a word; the one that is meant is our own, before what stands in brackets.
    places = {x: label(w).replace(" (", "<br>(") for x, w in words.items()}
    data = [t | {"x": [places[x] for x in t["x"]]} for t in made.spec["data"]]
    there = {f"{x:g}": w for x, w in words.items()}
    made = replace(made, spec=made.spec | {"data": data}, table=tuple(replace(line, label=there.get(line.label, line.label)) for line in made.table))
    return with_axis(made, "xaxis", type="category", categoryorder="array", categoryarray=list(places.values()))
