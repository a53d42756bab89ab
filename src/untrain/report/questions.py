"""The page of the paper's questions: each with a picture, sentences that are read off the records, and the records themselves.

A question is a function from evidence to an answer. What has no record yet is a visible blank. Imports no torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from untrain.evidence.verdict import ENOUGH, what
from untrain.report.figures import Figure, figure, slots
from untrain.report.markup import amount, asset, chance, draw, label, name, seconds, shown
from untrain.report.page import whole
from untrain.report.sections import drawn

BASE = "unsir"
"""The setting that the questions are about, in its defaults."""

PLAIN = {"original": "original", "unlearned": "unlearned", "retrained": "retrained"}
"""Slots of the columns that every audit has."""


@dataclass(frozen=True)
class Asked:
    """A run that the page asks for.

    Args:
        setting: A method, or a method and preset.
        file: Name of its record.
        record: The record; None where it is not there yet.
        changes: Fields of the setting that have other values.
        after: Classes forgotten before it, one after the other.
        audits: The audits asked for; all where none are named.
    """

    setting: str
    file: str
    record: dict[str, Any] | None
    changes: tuple[tuple[str, Any], ...] = ()
    after: tuple[int, ...] = ()
    audits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """All that the page is drawn from.

    Args:
        asked: The runs.
        folder: Where their records lie, seen from the page.
        about: What the runs stand on, for the page's head.
        saliency: The record of saliency maps.
        saliency_file: Its file, seen from the page.
    """

    asked: tuple[Asked, ...]
    folder: str
    about: tuple[tuple[str, str], ...] = ()
    saliency: dict[str, Any] | None = None
    saliency_file: str = ""

    def of(self, *settings: str) -> list[Asked]:
        """The plain runs of these settings, in their order; of several, that of the most audits."""
        plain = [a for a in self.asked if not a.changes and not a.after]
        return [next(iter(sorted(mine, key=lambda a: bool(a.audits)))) for s in settings if (mine := [a for a in plain if a.setting == s])]

    def sweep(self, changed: str) -> list[Asked]:
        """The runs in which one field has other values."""
        return [a for a in self.asked if a.setting == BASE and [n for n, _ in a.changes] == [changed]]

    def chain(self) -> list[Asked]:
        """The runs of one class after another."""
        later = sorted((a for a in self.asked if a.after), key=lambda a: len(a.after))
        first = [a for a in self.asked if not a.after and not a.changes and (a.setting, a.audits) == (later[0].setting, later[0].audits)] if later else []
        return [*first[:1], *later]


@dataclass(frozen=True)
class Picture:
    """A figure and where it comes from.

    Args:
        figure: The figure.
        used: The runs it was drawn from.
        n: What was counted, in words with numbers of the records.
    """

    figure: Figure
    used: Sequence[Asked]
    n: str


@dataclass(frozen=True)
class Answer:
    """What the records say to a question.

    Args:
        needed: The runs that it takes.
        said: Sentences.
        pictures: Pictures.
        more: Further HTML, such as images.
        left: What is missing that is no run.
    """

    needed: Sequence[Asked]
    said: Sequence[Markup] = ()
    pictures: Sequence[Picture] = ()
    more: Markup = field(default_factory=Markup)
    left: Sequence[str] = ()


@dataclass(frozen=True)
class Question:
    """A question.

    Args:
        id: Its anchor.
        title: The question.
        how: What was done to answer it.
        answer: The function that answers.
    """

    id: str
    title: str
    how: str
    answer: Callable[[Evidence], Answer]


def render(evidence: Evidence) -> str:
    """HTML of the page: a pure function of the evidence."""
    answers = [(q, q.answer(evidence)) for q in QUESTIONS]
    body = Markup("\n").join([_heading(evidence, answers), *(_section(q, a, evidence) for q, a in answers)])
    return whole("The paper's questions", body, asset("questions.css"))


def _heading(evidence: Evidence, answers: Sequence[tuple[Question, Answer]]) -> Markup:
    base = next((a.record for a in evidence.of(BASE) if a.record), None)
    entries = [(q, _state(a)) for q, a in answers]
    return draw("questions", entries=entries, about=evidence.about, what=what(base["request"]) if base else None, base=base)


def _state(answer: Answer) -> str:
    if not answer.pictures and not answer.more:
        return "not run"
    return "partly run" if answer.left or not all(a.record for a in answer.needed) else ""


def _section(question: Question, answer: Answer, evidence: Evidence) -> Markup:
    pictures = Markup("\n").join(drawn(p.figure, _source(p, evidence)) for p in answer.pictures)
    missing = [*answer.left, *(a.file for a in answer.needed if not a.record)]
    return draw("question", question=question, answer=answer, state=_state(answer), pictures=pictures, missing=missing)


def _source(picture: Picture, evidence: Evidence) -> Markup:
    used = [a for a in picture.used if a.record]
    seeds = sorted({a.record["seed"] for a in used if a.record})
    links = [(f"{evidence.folder}/{quote(a.file)}", a.file) for a in used]
    return draw("source", n=picture.n, seeds=seeds, links=links)


# What is read off records.


def values(record: dict[str, Any], row: str, column: str) -> list[dict[str, Any]]:
    """A row's values of a column; none where the row was not measured."""
    rows = [r["values"] for a in record["audits"] for r in a["rows"] if r["name"] == row]
    return [v for v in rows[0].get(column, []) if v["value"] is not None] if rows else []


def one(record: dict[str, Any], row: str, column: str = "unlearned") -> float | None:
    """The value of a row for the one model of a column."""
    found = values(record, row, column)
    return float(found[0]["value"]) if found else None


def raw_figure(record: dict[str, Any], title: str) -> dict[str, Any] | None:
    """An audit's figure by name."""
    return next((f for a in record["audits"] for f in a["figures"] if f["name"] == title), None)


def phase(record: dict[str, Any], title: str) -> dict[str, Any] | None:
    """A phase that took steps and has losses."""
    return next((p for p in record["run"]["phases"] if p["name"] == title and p["losses"]), None)


# Words. A number is written as a `data` element that holds it whole, so that it can be found in the records.


def said(value: float | None, unit: str = "share") -> Markup:
    """A number of a record.

    >>> said(0.25)
    Markup('<data value="0.25">25.0%</data>')
    """
    if value is None:
        return Markup("unknown")
    words = {"exact": "{:.2%}".format, "p": chance, "time": seconds, "plain": "{:,g}".format}
    return Markup('<data value="{}">{}</data>').format(value, words[unit](value) if unit in words else amount(value, unit))


def counted(value: float, how: str, text: str) -> Markup:
    """A number that is computed from those of records, and how."""
    return Markup('<data value="{}" data-how="{}">{}</data>').format(value, how, text)


def spread(found: Sequence[dict[str, Any]], unit: str) -> Markup:
    """Smallest and largest of values."""
    if not found:
        return Markup("unknown")
    low, high = (pick(found, key=lambda v: (v["value"], v["beyond"])) for pick in (min, max))
    more = "more than " if high["beyond"] else ""
    if low["value"] == high["value"]:
        return Markup("{}{}").format(more, said(low["value"], unit))
    return Markup("{} to {}{}").format(said(low["value"], unit), more, said(high["value"], unit))


def steps(record: dict[str, Any], row: str, column: str = "unlearned") -> Markup:
    """A time to relearn: of a search that ended without success, more than where it ended."""
    return spread(values(record, row, column), "steps")


def listed(parts: Iterable[object]) -> Markup:
    """Parts as they are said one after the other.

    >>> listed(["a", "b", "c"])
    Markup('a, b and c')
    """
    every = list(parts)
    if len(every) < 2:
        return Markup().join(Markup("{}").format(p) for p in every)
    return Markup(", ").join(Markup("{}").format(p) for p in every[:-1]) + Markup(" and {}").format(every[-1])


def sentence(text: str, **parts: object) -> Markup:
    """A sentence with its parts, each escaped."""
    made = Markup(text).format(**parts)
    return made[:1].upper() + made[1:] if not made.startswith("<") else made


def code(text: object) -> Markup:
    """A setting's or a file's name."""
    return Markup("<code>{}</code>").format(shown(text, 60))


def models(record: dict[str, Any]) -> Markup:
    """How many retrained models are beside it, as the subject of a sentence."""
    n = len(record["references"])
    return Markup("the {} retrained models").format(counted(n, "count", str(n))) if n != 1 else Markup("the one retrained model")


def images(record: dict[str, Any], rows: Sequence[str] = ("forgotten, test", "retained, test")) -> str:
    """What was counted: `1,000 (forgotten, test), ...`."""
    return ", ".join(f"{v[0]['n']:,} ({row})" for row in rows if (v := values(record, row, "unlearned")) and v[0]["n"] is not None)


# The questions.


def noise(evidence: Evidence) -> Answer:
    """The noise's loss over its steps."""
    needed = evidence.of(BASE, f"{BASE}:paper")
    return _phase(needed, ("noise",), {"noise": "loss of the noise"}, log=False)


def impair_repair(evidence: Evidence) -> Answer:
    """The losses of the two steps that move weights."""
    needed = evidence.of(BASE, f"{BASE}:paper", f"{BASE}:no-noise", f"{BASE}:plain-noise")
    answer = _phase(needed, ("impair", "repair"), {"impair": "loss of the impair step", "repair": "loss of the repair step"}, log=True)
    learns = {a.record["method"]["settings"].get("repair") for a in needed if a.record}
    if len(learns) > 1:
        kinds = listed(code(kind) for kind in sorted(map(str, learns)))
        return replace(answer, said=[*answer.said, sentence("The repair losses are of several kinds ({kinds}), so their heights compare only within a kind.", kinds=kinds)])
    return answer


def _phase(needed: list[Asked], names: Sequence[str], titles: dict[str, str], log: bool) -> Answer:
    look = dict(zip([a.setting for a in needed], ("unlearned", "control-0", "control-1", "control-2"), strict=False))
    pictures, told = [], []
    for title in names:
        there = [(a, p) for a in needed if a.record and (p := phase(a.record, title))]
        if not there:
            continue
        series = {a.setting: [{"x": [min((i + 1) * p["every"], p["steps"]) for i in range(len(p["losses"]))], "y": p["losses"]}] for a, p in there}
        made = figure({"name": titles[title], "x": "step", "y": "loss", "kind": "curves", "series": series}, look)
        positive = all(v is not None and v > 0 for _, p in there for v in p["losses"])
        if log and positive:
            made = _layout(made, "yaxis", type="log")
        pictures.append(Picture(made, [a for a, _ in there], f"{sum(p['steps'] for _, p in there):,} steps in all; each point the mean over a step's samples"))
        parts = [
            Markup("from {} to {} over {} steps with {}").format(said(p["losses"][0], "loss"), said(p["losses"][-1], "loss"), said(p["steps"], "steps"), code(a.setting))
            for a, p in there
        ]
        told.append(sentence("The {title} went {parts}.", title=titles[title], parts=listed(parts)))
    return Answer(needed, told, pictures)


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
        made = _layout(_worded(made, words) if self.even else made, "yaxis", **_scale(row))
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


MEASURES = (
    ("forgotten, test", "forgotten test accuracy"),
    ("retained, test", "retained test accuracy"),
    ("one-shot prototype", "share of test images recovered"),
)
"""What a sweep shows: the rows of audits, and what their axis is."""


def _lower(text: Markup) -> Markup:
    return text[:1].lower() + text[1:]


def _layout(made: Figure, axis: str, **changes: Any) -> Figure:
    layout = made.spec["layout"]
    return replace(made, spec=made.spec | {"layout": layout | {axis: layout[axis] | changes}})


def _scale(row: str) -> dict[str, str]:
    """A measure's y axis: retained accuracy moves by little, so its axis does not begin at nothing."""
    return {"rangemode": "normal", "tickformat": ".2~%"} if row.startswith("retained") else {"rangemode": "tozero"}


def _worded(made: Figure, words: dict[float, str]) -> Figure:
    """The figure with its x values as words, at even distances."""
    # A chart would read tags in a word; the one that is meant is our own, before what stands in brackets.
    places = {x: label(w).replace(" (", "<br>(") for x, w in words.items()}
    data = [t | {"x": [places[x] for x in t["x"]]} for t in made.spec["data"]]
    there = {f"{x:g}": w for x, w in words.items()}
    made = replace(made, spec=made.spec | {"data": data}, table=tuple(replace(line, label=there.get(line.label, line.label)) for line in made.table))
    return _layout(made, "xaxis", type="category", categoryorder="array", categoryarray=list(places.values()))


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
        pictures.append(Picture(_worded(made, words), every, images(runs[-1][1], ("forgotten, test",)) + ", over all classes forgotten by then"))
    for row, y in MEASURES[1:]:
        series = {c: [{"x": [x for x, _, _ in line], "y": [v for _, _, v in line]} for line in _columns(row, c, numbers, [r for _, r in runs])] for c in PLAIN}
        if series["unlearned"]:
            made = figure({"name": row, "x": "classes forgotten, the last named", "y": y, "kind": "curves", "series": series}, PLAIN)
            pictures.append(Picture(_layout(_worded(made, words), "yaxis", **_scale(row)), every, images(runs[-1][1], (row,))))
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


def predictions(evidence: Evidence) -> Answer:
    """What the forgotten class's test images are called."""
    needed = evidence.of(BASE)
    record = next((a.record for a in needed if a.record), None)
    raw = raw_figure(record, "predictions on the forgotten classes") if record else None
    if not record or not raw:
        return Answer(needed)
    told = []
    for column in ("original", "unlearned", "retrained"):
        bars: list[dict[str, float]] = raw["series"].get(column, [])
        if not bars:
            continue
        mean = {k: statistics.fmean(b[k] for b in bars) for k in bars[0]}
        top = max(mean, key=lambda k: mean[k])
        share = spread([{"value": b[top], "beyond": False} for b in bars], "share")
        who = models(record) if column == "retrained" else Markup("the {} model").format(column)
        verb = "call" if len(bars) > 1 else "calls"
        told.append(sentence("{who} most often {verb} them {top}: {share}.", who=who, verb=verb, top=name(top, 40), share=share))
    row = "distance of predictions"
    if values(record, row, "retrained"):
        told.append(
            sentence(
                "The unlearned model's distribution is {u} away from the mean of theirs in total variation, theirs from one another's {r}, the original's {o}.",
                u=said(one(record, row), "distance"),
                r=spread(values(record, row, "retrained"), "distance"),
                o=said(one(record, row, "original"), "distance"),
            )
        )
    return Answer(needed, told, [Picture(figure(raw, slots(record)), needed, images(record, ("forgotten, test",)))])


def layers(evidence: Evidence) -> Answer:
    """How far each layer's weights are from a retrained model's and from the original's."""
    needed = evidence.of(BASE)
    record = next((a.record for a in needed if a.record), None)
    raws = [f for t in ("distance from a retrained model", "distance from the original") if record and (f := raw_figure(record, t))]
    if not record or not raws:
        return Answer(needed)
    told = []
    row = "all weights, from a retrained model"
    if values(record, row, "retrained"):
        told.append(
            sentence(
                "All weights together, the unlearned model is {u} away from the nearest retrained one, the original {o}; two retrained models are {r} apart.",
                u=said(one(record, row), "distance"),
                o=said(one(record, row, "original"), "distance"),
                r=spread(values(record, row, "retrained"), "distance"),
            )
        )
    for raw in raws:
        mine = (raw["series"].get("unlearned") or [{}])[0]
        if mine:
            low, high = min(mine, key=lambda k: mine[k]), max(mine, key=lambda k: mine[k])
            said_of = {"t": raw["name"], "h": code(high), "hv": said(mine[high], "distance"), "l": code(low), "lv": said(mine[low], "distance")}
            told.append(sentence("The unlearned model's {t} is largest in {h} ({hv}) and smallest in {l} ({lv}).", **said_of))
    return Answer(needed, told, [Picture(figure(raw, slots(record)), needed, f"{len(record['references'])} retrained models") for raw in raws])


def relearning(evidence: Evidence) -> Answer:
    """How fast fine-tuning brings the class back, with the head's row as it is and drawn anew."""
    needed = evidence.of(BASE, *OTHERS)
    base = next((a for a in needed if a.setting == BASE), None)
    record = base.record if base else None
    if not base or not record or not raw_figure(record, "relearning"):
        return Answer(needed)
    raws = [f for t in ("relearning", "relearning, row reset") if (f := raw_figure(record, t))]
    pictures = [Picture(figure(raw, slots(record)), [base], images(record, ("relearn time",))) for raw in raws]
    runs = [a for a in needed if a.record and values(a.record, "relearn time", "unlearned")]
    rows = {"row as it is": "relearn time", "row reset": "relearn time, row reset"}
    series = {c: [{a.setting: v for a in runs if a.record and (v := one(a.record, row)) is not None}] for c, row in rows.items()}
    bars = figure({"name": "every setting", "x": "setting", "y": "optimizer steps", "kind": "bars", "series": series}, {"row as it is": "unlearned", "row reset": "control-0"})
    longest = record["audits"] and next((a["settings"].get("steps") for a in record["audits"] if a["name"] == "relearn"), None)
    bars = replace(bars, note=f"A bar of {longest} steps is a search that ended without success: more than that." if longest else "")
    pictures.append(Picture(bars, runs, images(record, ("relearn time",))))
    told = [
        sentence(
            "{t}: unlearned {u}, {m} {r}, the original {o} steps.",
            t=title,
            u=steps(record, row),
            m=models(record),
            r=steps(record, row, "retrained"),
            o=steps(record, row, "original"),
        )
        for title, row in (("Relearn time", "relearn time"), ("With the head's row drawn anew first", "relearn time, row reset"))
        if values(record, row, "unlearned")
    ]
    told += [
        sentence(
            "The mean over these steps, {t}: unlearned {u}, {m} {r}, the original {o}.",
            t=title,
            u=said(one(record, row)),
            m=models(record),
            r=spread(values(record, row, "retrained"), "share"),
            o=said(one(record, row, "original")),
        )
        for title, row in (("the row as it is", "relearning recall"), ("drawn anew", "relearning recall, row reset"))
        if values(record, row, "unlearned")
    ]
    index = values(record, "anamnesis index", "unlearned")
    if index:
        told.append(sentence("The anamnesis index is {bound}{i}.", bound="at most " if index[0]["high"] is not None else "", i=said(index[0]["value"], "ratio")))
    return Answer(needed, told, pictures)


OTHERS = (f"{BASE}:paper", f"{BASE}:no-noise", f"{BASE}:plain-noise", "finetune", "neggrad", "headonly", "nothing")
"""What stands beside the base setting."""

PHASES = {"noise": "control-0", "impair": "unlearned", "repair": "control-1", "finetune": "original", "ascend": "control-2", "train": "retrained"}
"""Slots of phases, where several methods' stand in one figure."""


def costs(evidence: Evidence) -> Answer:
    """Time and passes of the phases, against retraining, fine-tuning and NegGrad."""
    needed = evidence.of(BASE, f"{BASE}:paper", f"{BASE}:no-noise", "neggrad", "finetune")
    runs = [(a, a.record) for a in needed if a.record]
    if not runs:
        return Answer(needed)
    abouts = [ref["about"] for _, r in runs[:1] for ref in r["references"] if ref["column"] == "retrained" and {"passes", "seconds"} <= ref["about"].keys()]
    again = f"retraining, mean of {len(abouts)}"
    pictures = []
    for key, y, title in (("seconds", "seconds", "execution time"), ("passes", "passes", "passes")):
        found: dict[str, dict[str, float]] = {}
        for a, r in runs:
            for p in r["run"]["phases"]:
                found.setdefault(p["name"], {})[a.setting] = p[key]
        if abouts:
            found.setdefault("train", {})[again] = statistics.fmean(about[key] for about in abouts)
        look = {n: PHASES.get(n, "control-2") for n in sorted(found, key=lambda n: list(PHASES).index(n) if n in PHASES else 9)}
        raw = {"name": title, "x": "setting", "y": y, "kind": "bars", "series": {n: [bars] for n, bars in found.items()}}
        made = figure(raw, look)
        order = [a.setting for a, _ in runs] + [again] * bool(abouts)
        made = replace(
            _ordered_bars(made, order),
            note="Phases on top of one another." + (" Clock time of machines that had other work as well; passes are not touched by that." if key == "seconds" else ""),
        )
        pictures.append(Picture(made, [a for a, _ in runs], "one run a setting" + (f", {len(abouts)} retrained models" if abouts else "")))
    return Answer(needed, _cost_told(runs, abouts), pictures)


def _ordered_bars(made: Figure, order: list[str]) -> Figure:
    """Stacked bars, their labels in this order: a label that only one column has may otherwise come first."""
    at = [[line.label for line in made.table].index(label) for label in order]
    data = [t | {k: [t[k][i] for i in at] for k in ("y", "text")} for t in made.spec["data"]]
    spec = {"data": data, "layout": made.spec["layout"] | {"barmode": "stack"}, "labels": [made.spec["labels"][i] for i in at]}
    return replace(made, spec=spec, table=tuple(made.table[i] for i in at))


def _cost_told(runs: list[tuple[Asked, dict[str, Any]]], abouts: list[dict[str, Any]]) -> list[Markup]:
    first, record = runs[0]
    parts = listed(Markup("{} {}").format(p["name"], said(p["seconds"], "time")) for p in record["run"]["phases"])
    out = [
        sentence("{s} took {t} and {n} passes ({parts}).", s=code(first.setting), t=said(record["run"]["seconds"], "time"), n=said(record["run"]["passes"], "count"), parts=parts)
    ]
    if abouts:
        ratios = {key: statistics.fmean(a[key] for a in abouts) / record["run"][key] for key in ("passes", "seconds")}
        out.append(
            sentence(
                "Retraining one model took {t} and {n} passes: in passes {p} times as much, by the clock {c} times.",
                t=spread([{"value": a["seconds"], "beyond": False} for a in abouts], "time"),
                n=spread([{"value": a["passes"], "beyond": False} for a in abouts], "count"),
                p=counted(ratios["passes"], "ratio of passes", f"{ratios['passes']:.1f}"),
                c=counted(ratios["seconds"], "ratio of seconds", f"{ratios['seconds']:.1f}"),
            )
        )
    beside = [Markup("{} {} and {} passes").format(code(a.setting), said(r["run"]["seconds"], "time"), said(r["run"]["passes"], "count")) for a, r in runs[1:]]
    if beside:
        out.append(sentence("Beside it: {b}.", b=listed(beside)))
    return out


SPREAD = (
    ("retained, test", "exact"),
    ("one-shot prototype", "share"),
    ("head-reset relearning", "share"),
    ("relearning recall, row reset", "share"),
    ("distance of predictions", "distance"),
)
"""Rows that lie between 0 and 1, and how they are written."""


def standard(evidence: Evidence) -> Answer:
    """How far retrained models of several seeds differ among themselves."""
    needed = evidence.of(BASE)
    base = next((a for a in needed if a.record), None)
    record = base.record if base else None
    if not base or not record or not values(record, "retained, test", "retrained"):
        return Answer(needed, left=["no retrained model was beside the run"] if record else ())
    series: dict[str, list[dict[str, float]]] = {}
    for column in PLAIN:
        n = max(len(values(record, row, column)) for row, _ in SPREAD)
        series[column] = [{row: v[i]["value"] for row, _ in SPREAD if len(v := values(record, row, column)) > i} for i in range(n)]
    seeds = f"{len(record['references'])} retrained models, seeds {', '.join(str(r['about'].get('seed', '?')) for r in record['references'])}"
    share = figure({"name": "accuracy and prototypes", "x": "measure", "y": "share", "kind": "bars", "series": series}, PLAIN)
    pictures = [Picture(share, [base], f"{seeds}; {images(record)}")]
    rows = ("relearn time", "relearn time, row reset")
    timed = {c: [{row: v[i]["value"] for row in rows if len(v := values(record, row, c)) > i} for i in range(max(len(values(record, row, c)) for row in rows))] for c in PLAIN}
    if timed["unlearned"]:
        times = figure({"name": "relearn time", "x": "measure", "y": "optimizer steps", "kind": "bars", "series": timed}, PLAIN)
        pictures.append(Picture(times, [base], f"{seeds}; {images(record, ('relearn time',))}"))
    classes = raw_figure(record, "accuracy by class")
    if classes:
        pictures.append(Picture(figure(classes, slots(record)), [base], f"{seeds}; {images(record)}"))
    return Answer(
        needed, _standard_told(record), pictures, left=[] if len(record["references"]) >= ENOUGH else [f"{len(record['references'])} of {ENOUGH} retrained models are there"]
    )


def _standard_told(record: dict[str, Any]) -> list[Markup]:
    out = []
    for row, unit in (*SPREAD, ("relearn time", "steps"), ("relearn time, row reset", "steps")):
        theirs = values(record, row, "retrained")
        mine, before = values(record, row, "unlearned"), values(record, row, "original")
        if theirs and mine and before:
            low, high = min(v["value"] for v in theirs), max(v["value"] for v in theirs)
            place = "within" if low <= mine[0]["value"] <= high else "above" if mine[0]["value"] > high else "below"
            words = {"row": row, "r": spread(theirs, unit), "o": spread(before, unit), "u": spread(mine, unit), "p": place}
            out.append(sentence("{row}: retrained {r}, original {o}, unlearned {u}, which lies {p} their range.", **words))
    tests = record["verdict"]["tests"] if record["verdict"] else {}
    parts = [Markup("{} {} ({})").format(row, said(t["p"], "p"), said(t["p_original"], "p")) for row, t in tests.items() if t.get("p_original") is not None]
    if parts:
        out.append(sentence("The one-sided chance that a retrained model looks so knowing, for the unlearned and in brackets for the original: {t}.", t=listed(parts)))
    return out


def saliency(evidence: Evidence) -> Answer:
    """Where the class's evidence lies in a few images, before and after."""
    found = evidence.saliency
    if not found:
        return Answer((), left=["saliency.json"])
    columns = [m["column"] for m in found["models"]]
    told = []
    gone, kept = ([i for i in found["images"] if (i["label"] in found["classes"]) == side] for side in (True, False))
    for column in columns:
        right = sum(i["maps"][column]["said"]["name"] == i["truth"] for i in gone)
        seen = sum(i["maps"][column]["peak"] > 0 for i in gone)
        words = {key: counted(n, "count", str(n)) for key, n in (("right", right), ("seen", seen), ("n", len(gone)))}
        told.append(sentence("The {c} model names {right} of the {n} images of the forgotten class rightly, and sees evidence for it in {seen}.", c=column, **words))
    for column in columns[1:]:
        alike = [{"value": v, "beyond": False} for i in kept if (v := i["maps"][column]["alike"]) is not None]
        if alike:
            told.append(sentence("On images of other classes the {c} model's maps correlate with the original's by {d}.", c=column, d=spread(alike, "distance")))
    base = next((a.record for a in evidence.of(BASE) if a.record), None)
    after = next((m for m in found["models"] if m["column"] == "unlearned"), None)
    if base and after:
        same = after["sha256"] == base["output"]["sha256"]
        told.append(
            sentence(
                "The unlearned model is {s} the one of the other questions.",
                s="to the bit" if same else "not to the bit" + ("" if found["settings"] == base["method"]["settings"] else ", nor by its settings,"),
            )
        )
    more = draw("saliency", images=found["images"], columns=columns, looks={c: PLAIN.get(c, "control-0") for c in columns}, link=evidence.saliency_file, found=found)
    return Answer((), told, more=more)


QUESTIONS = (
    Question(
        "noise",
        "What does the noise do over its steps?",
        "The noise is learned by Adam against the frozen model: λ times its squared norm, less the cross-entropy of the class it is for.",
        noise,
    ),
    Question(
        "impair-repair",
        "How do the impair and the repair step run?",
        "The training loss of each step, over retained samples and noise, then over retained samples alone.",
        impair_repair,
    ),
    Question(
        "healing",
        "Does more repair heal, and what does it bring back?",
        "The repair step with fewer and more epochs, from none.",
        Sweep("repair_epochs", "epochs of repair", even=False),
    ),
    Question(
        "learning-rate",
        "Which learning rate does the impair step bear?",
        "The impair step's learning rate, over several powers of ten.",
        Sweep("impair_lr", "learning rate of the impair step"),
    ),
    Question("penalty", "Does λ matter?", "The weight of the noise's squared norm, from none.", Sweep("penalty", "λ")),
    Question(
        "share",
        "How much retained data does it take?",
        "The number of retained samples that the method is given, and the share of all that this is.",
        Sweep("samples", "retained samples used", share_of="retain"),
    ),
    Question(
        "sequential",
        "What becomes of earlier classes when later ones are forgotten?",
        "One class after another, each from what the run before it left, with every earlier class looked at again.",
        sequential,
    ),
    Question("predictions", "What does it call the forgotten class now?", "The distribution of predicted classes on the forgotten class's test images.", predictions),
    Question(
        "weights",
        "How far are its weights from a retrained model's, layer by layer?",
        "The relative distance of each layer's weights from the nearest other retrained model's, and from the original's.",
        layers,
    ),
    Question(
        "saliency",
        "Where does it look?",
        "Grad-CAM of the last convolution stage for the image's own class, on a few fixed test images, each map on its own scale; no colour: no evidence for it.",
        saliency,
    ),
    Question(
        "relearning",
        "How fast does the class come back?",
        "Fine-tuning on a little of everything; once with the head's row for the class as it is, once with that row drawn anew first.",
        relearning,
    ),
    Question("time", "What does it cost?", "Each phase by the clock and in passes (images through a network: forward one, backward to the input one, full backward two).", costs),
    Question(
        "standard",
        "Is the retrained model the right standard?",
        "The same measures on models retrained by one recipe from several seeds: what they differ among themselves is chance.",
        standard,
    ),
)
"""The page, from top to bottom."""
