"""One field's values against what comes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from untrain.report.figures import figure
from untrain.report.questions.asked import BASE, PLAIN, Answer, Asked, Evidence, Picture
from untrain.report.questions.axes import MEASURES, scale, with_axis, worded
from untrain.report.words import images, listed, one, said, sentence, spread, values


@dataclass(frozen=True)
class Sweep:
    """One field's values against what comes of them.

    Args:
        field: The field.
        axis: What it is.
        even: Whether its values stand at even distances, as those of a logarithmic row do.
        share_of: Part of the data of which each value is said as a share.
    """

    field: str
    axis: str
    even: bool = True
    share_of: str | None = None

    def __call__(self, evidence: Evidence) -> Answer:
        """Three curves, and where they are lowest and highest."""
        needed = self.points(evidence)
        points = [(self.at(a), a) for a in needed if a.record]
        if not [a for _, a in points if a.changes]:
            return Answer(needed)
        pictures = [p for row, y in MEASURES for p in self.picture(row, y, points)]
        return Answer(needed, self.told(points), pictures)

    def points(self, evidence: Evidence) -> list[Asked]:
        """The sweep's runs and, where no run has its value, the one of the defaults."""
        swept = evidence.sweep(self.field)
        base = [a for a in evidence.of(BASE) if not a.record or self.at(a) not in [dict(s.changes)[self.field] for s in swept]]
        return sorted([*swept, *base], key=lambda a: self.at(a) if a.changes or a.record else 0) if swept else []

    def at(self, run: Asked) -> float:
        """The field's value in a run."""
        settings = run.record["method"]["settings"] if run.record else dict(run.changes)
        return float(settings[self.field])

    def word(self, value: float, record: dict[str, Any]) -> str:
        """A value of the field as it is written."""
        if self.share_of is None:
            return f"{value:,g}"
        return f"{value:,g} ({100 * value / record['data']['counts'][self.share_of]:.3g} %)"

    def picture(self, row: str, y: str, points: list[tuple[float, Asked]]) -> list[Picture]:
        """A measure by the field's value."""
        series: dict[str, list[dict[str, Any]]] = {}
        for column in PLAIN:
            found = [(x, values(a.record, row, column)) for x, a in points if a.record]
            lines = [[(x, v[i]["value"]) for x, v in found if len(v) > i] for i in range(max(len(v) for _, v in found))]
            series[column] = [{"x": [x for x, _ in line], "y": [v for _, v in line]} for line in lines]
        if not series["unlearned"]:
            return []
        made = figure({"name": row, "x": self.axis, "y": y, "kind": "curves", "series": series}, PLAIN)
        record = next(a.record for _, a in points if a.record)
        words = {x: self.word(x, record) for x, _ in points}
        made = with_axis(worded(made, words) if self.even else made, "yaxis", **scale(row))
        return [Picture(made, [a for _, a in points], images(record, (row,)))]

    def told(self, points: list[tuple[float, Asked]]) -> list[Markup]:
        """Where each measure is lowest and highest, and what the retrained models have."""
        runs = {x: a.record for x, a in points if a.record}
        out = []
        for row, subject, unit in (
            ("forgotten, test", "accuracy on the forgotten class", "share"),
            ("retained, test", "retained accuracy", "exact"),
            ("one-shot prototype", "one-shot prototype recall", "share"),
        ):
            course = {x: v for x, r in runs.items() if (v := one(r, row)) is not None}
            if not course:
                continue
            low, high = min(course.values()), max(course.values())
            first = next(iter(runs.values()))
            beside = sentence("original {o}, retrained {r}", o=said(one(first, row, "original"), unit), r=spread(values(first, row, "retrained"), unit))
            if low == high:
                out.append(sentence("{s} is {v} at every value ({b}).", s=subject, v=said(low, unit), b=_lower(beside)))
                continue
            places = {end: listed(said(x, "plain") for x, v in course.items() if v == end) for end in (low, high)}
            out.append(
                sentence(
                    "{s} is lowest at {xl} ({l}) and highest at {xh} ({h}); {b}.",
                    s=subject,
                    xl=places[low],
                    l=said(low, unit),
                    xh=places[high],
                    h=said(high, unit),
                    b=_lower(beside),
                )
            )
        ruined = {mark: [x for x, r in runs.items() if mark in r["run"]["marks"]] for mark in ("collapsed", "unchanged")}
        out += [sentence("The run is marked {m} at {x}.", m=mark, x=listed(said(x, "plain") for x in xs)) for mark, xs in ruined.items() if xs]
        return out


def _lower(text: Markup) -> Markup:
    return text[:1].lower() + text[1:]
