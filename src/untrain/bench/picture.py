"""A picture of the field from its records: what is kept against what is forgotten, what is left, and what it costs. Plain SVG; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from untrain.bench.table import CONTROLS, NAMED, fielded, read
from untrain.core import disk
from untrain.core.errors import BadData
from untrain.report.words import one, values

WIDE, HIGH, GAP, LEFT, TOP = 300, 330, 26, 46, 34
"""Pixels: a panel, what is between two, and what stands left of and above them."""

STYLE = """
text { font: 10px sans-serif; fill: #333 } .axis { stroke: #999; fill: none } .grid { stroke: #ddd } .front { stroke: #1f77b4; fill: none; stroke-width: 1.5 }
.gone { fill: #1f77b4; stroke: #1f77b4 } .named { fill: none; stroke: #1f77b4 } .control { fill: none; stroke: #999 }
.retrained { fill: #2ca02c; opacity: .35 } .head { font-weight: bold }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .grid { stroke: #444 } .front { stroke: #6cb2eb } .gone { fill: #6cb2eb; stroke: #6cb2eb } .named { stroke: #6cb2eb } }
"""

KEY = "filled: 1 % or less of the class is still named; grey: controls; ringed: no other is as good in kept, forgotten and passes at once; green: retrained models."


@dataclass(frozen=True)
class Point:
    """A setting in the picture.

    Args:
        number: Its number in the table.
        name: Its name.
        kept: Accuracy on the retained classes' test images.
        gone: Share of the forgotten classes' test images that are still named.
        left: What a single image recovers of the class; None where that was not measured.
        cost: Passes.
        control: Whether it is a control.
    """

    number: int
    name: str
    kept: float
    gone: float
    left: float | None
    cost: int
    control: bool

    @classmethod
    def of(cls, number: int, name: str, record: dict[str, Any]) -> Point:
        """What a record says of it."""
        kept, gone = (one(record, f"{side}, test") for side in ("retained", "forgotten"))
        assert kept is not None
        assert gone is not None
        return cls(number, name, kept, gone, one(record, "one-shot prototype"), record["run"]["passes"], name.partition(":")[0] in CONTROLS)


def front(points: Sequence[Point]) -> list[Point]:
    """Methods that no other is at least as good as in all three (kept, forgotten, cost) and better in one; controls are left out."""

    def beats(a: Point, b: Point) -> bool:
        mine, other = (-a.kept, a.gone, a.cost), (-b.kept, b.gone, b.cost)
        return mine != other and all(x <= y for x, y in zip(mine, other, strict=True))

    own = [p for p in points if not p.control]
    return [p for p in own if not any(beats(q, p) for q in own)]


def drawn(found: list[dict[str, Any]], classes: list[int]) -> str:
    """The picture, as SVG.

    Raises:
        BadData: there is no record on these classes at seed 0.
    """
    rows = fielded(found, classes)
    if not rows:
        raise BadData(f"no record forgets the classes {', '.join(map(str, classes))} at seed 0; run the scenario, or name others by --classes")
    points = [Point.of(number, name, record) for number, (name, record) in enumerate(rows, 1)]
    best = {p.number for p in front(points)}
    widest = max((r for _, r in rows), key=lambda r: len(r["references"]))
    again = {row: [v["value"] for v in values(widest, row, "retrained")] for row in ("retained, test", "forgotten, test", "one-shot prototype")}
    # What collapsed would press the others together: it stands on the lower edge.
    high = min(1.0, max([p.kept for p in points] + again["retained, test"]) + 0.01)
    low = max(0.0, min((p.kept for p in points if p.kept > high - 0.16), default=min(p.kept for p in points)) - 0.01)
    costs = [math.log10(p.cost) for p in points if p.cost] or [3.0]
    least = math.floor(min(costs))
    tens = tuple(float(t) for t in range(least, max(least + 1, math.ceil(max(costs))) + 1))
    panels: list[tuple[str, Callable[[Point], float | None], tuple[float, ...], list[float]]] = [
        ("forgotten test images still named", lambda p: p.gone, (0, 0.25, 0.5, 0.75, 1.0), again["forgotten, test"]),
        ("what one image recovers (one-shot prototype)", lambda p: p.left, (0, 0.25, 0.5, 0.75, 1.0), again["one-shot prototype"]),
        ("passes, in powers of ten (none: left edge)", lambda p: max(tens[0], math.log10(p.cost or 1)), tens, []),
    ]
    body = [line for i, panel in enumerate(panels) for line in _panel(LEFT + i * (WIDE + GAP), points, best, (low, high), again["retained, test"], *panel)]
    width, height = LEFT + 3 * (WIDE + GAP), TOP + HIGH + 64
    key = f"{KEY} Numbers: the table."
    label = "Retained accuracy against forgotten, left and cost"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}"><style>{STYLE}</style>'
    return "\n".join([head, '<text x="4" y="16" class="head">retained test accuracy</text>', *body, f'<text x="{LEFT}" y="{height - 8}">{key}</text>', "</svg>", ""])


def _panel(
    start: float,
    points: Sequence[Point],
    best: set[int],
    span: tuple[float, float],
    kept: list[float],
    title: str,
    at: Callable[[Point], float | None],
    ticks: tuple[float, ...],
    again: list[float],
) -> Iterator[str]:
    """One panel: kept upward, one other quantity to the right."""
    low, high = span
    far = max([v for p in points if (v := at(p)) is not None] + again)
    right = next((t for t in ticks[1:] if t >= far), ticks[-1])

    def x(value: float) -> float:
        return start + 8 + (WIDE - 16) * (value - ticks[0]) / (right - ticks[0])

    def y(value: float) -> float:
        return TOP + HIGH * (high - max(low, value)) / (high - low)

    yield f'<rect class="axis" x="{start}" y="{TOP}" width="{WIDE}" height="{HIGH}"/>'
    yield f'<text x="{start + WIDE / 2}" y="{TOP + HIGH + 32}" text-anchor="middle" class="head">{title}</text>'
    for tick in (t for t in ticks if t <= right):
        yield f'<line class="grid" x1="{x(tick):.1f}" y1="{TOP}" x2="{x(tick):.1f}" y2="{TOP + HIGH}"/>'
        yield f'<text x="{x(tick):.1f}" y="{TOP + HIGH + 14}" text-anchor="middle">{tick:g}</text>'
    step = 0.05 if high - low > 0.06 else 0.01
    for i in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield f'<line class="grid" x1="{start}" y1="{y(i * step):.1f}" x2="{start + WIDE}" y2="{y(i * step):.1f}"/>'
        if start == LEFT:
            yield f'<text x="{start - 4}" y="{y(i * step) + 3:.1f}" text-anchor="end">{i * step:.0%}</text>'
    if kept:
        edges = (x(min(again)) - 2, x(max(again)) + 2) if again else (start, start + WIDE)
        tall = max(2.0, y(min(kept)) - y(max(kept)))
        yield f'<rect class="retrained" x="{edges[0]:.1f}" y="{y(max(kept)):.1f}" width="{edges[1] - edges[0]:.1f}" height="{tall:.1f}"/>'
    taken: list[tuple[float, float]] = [(x(v), y(p.kept)) for p in points if (v := at(p)) is not None]
    for p in points:
        value = at(p)
        if value is None:
            continue
        px, py = x(value), y(p.kept)
        kind = "control" if p.control else "gone" if p.gone <= NAMED else "named"
        about = f"{escape(p.name)}: retained {p.kept:.2%}, forgotten {p.gone:.1%}, {p.cost:,} passes"
        ring = f'<circle class="front" cx="{px:.1f}" cy="{py:.1f}" r="6"/>' if p.number in best else ""
        under = f'<path class="axis" d="M{px:.1f} {py - 5:.1f}v10"/>' if p.kept < low else ""
        tx, ty = _beside(px, py, taken, (start, start + WIDE))
        yield f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="3"><title>{about}</title></circle>{ring}{under}'
        yield f'<text x="{tx:.1f}" y="{ty + 3:.1f}" text-anchor="middle">{p.number}</text>'


def _beside(x: float, y: float, taken: list[tuple[float, float]], edges: tuple[float, float]) -> tuple[float, float]:
    """A place for a number near a point that no other point or number takes; it is taken then."""
    near = [(x + r * math.cos(a), y + r * math.sin(a)) for r in range(12, 90, 7) for a in (k * math.pi / 6 for k in range(12))]
    inside = [(a, b) for a, b in near if edges[0] + 6 < a < edges[1] - 6 and TOP + 4 < b < TOP + HIGH - 2]
    found = next((place for place in inside if all(abs(place[0] - a) > 11 or abs(place[1] - b) > 8 for a, b in taken)), (x + 12, y))
    taken.append(found)
    return found


def draw(records: Path, scenario: str, classes: Sequence[int], into: Path) -> None:
    """Write the picture of a scenario's methods on these classes.

    Args:
        records: Folder of records, a folder for each scenario in it.
        scenario: Its name.
        classes: The forgotten classes.
        into: The file, SVG.
    """
    disk.write(into, drawn(read(records / scenario), list(classes)).encode())
