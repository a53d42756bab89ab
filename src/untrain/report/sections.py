"""A report is a tuple of functions from a record to HTML. They choose and word; what was measured is in the record."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from untrain.core.counting import interval
from untrain.evidence import record as records
from untrain.evidence.control import FOUND, in_turn, reaches
from untrain.evidence.equivalence import equivalences
from untrain.evidence.kept import kept
from untrain.evidence.listed import MARGIN, answers, judged_exit
from untrain.evidence.seal import EDITED, SENTENCE, chained
from untrain.evidence.verdict import SENTENCES, in_tests, what
from untrain.report.figures import Figure, figure, is_share, losses, slots
from untrain.report.markup import amount, chance, draw, embedded, name, reason

CONTROLS = {
    "head mask": (
        "A fake: the original with only the forgotten class's output switched off. Accuracy cannot tell it from a model that forgot; "
        "that is why this page does not stop at accuracy."
    ),
    "nothing": "The original, passed through unchanged: what every test says where nothing was done.",
}
"""What a control column is."""

OTHER_CONTROL = "A control: another model put beside for comparison."


def heading(record: dict[str, Any]) -> Markup:
    """What was asked of which model."""
    return draw("heading", record=record, what=what(record["request"]))


def verdict(record: dict[str, Any]) -> Markup:
    """What can be said, and as large as it what cannot. A mark of the run stands in the verdict's place."""
    code, sentence = said(record)
    # Of a bias no retrained model and no test of a row stands behind the verdict.
    judged = None if in_its_place(record) or "bias" in record["request"] else record["verdict"]
    advice = record["run"].get("advice") if record["run"]["marks"] else None
    seeing = in_tests(judged) if judged else 0
    return draw("verdict", code=code, sentence=sentence, judged=judged, seeing=seeing, kept=kept(record), advice=advice, not_claimed=record["not_claimed"])


def certificate(record: dict[str, Any]) -> Markup:
    """What the run computed that it certifies, where it did, and what that hangs on."""
    found = record["run"].get("certificate")
    return draw("certificate", certificate=found, holds=found["spent"] <= found["budget"]) if found else Markup()


def altered(record: dict[str, Any], facts: Sequence[str]) -> Markup:
    """What stands in the verdict's place where a record is not as it was made: no number of it is repeated there."""
    sentence = Markup(SENTENCE).format(facts=Markup("; ").join(name(fact) for fact in facts), what=name(what(record["request"])))
    return draw("verdict", code=EDITED, sentence=sentence, judged=None, seeing=0, kept="", advice=None, not_claimed=records.NOT_CLAIMED)


def before(record: dict[str, Any]) -> Markup:
    """Records before this one: other attempts, earlier requests, earlier audits of it."""
    chain = chained(record)
    if not chain["attempts"] and not chain["requests"] and len(chain["audits"]) < 2:
        return Markup()
    return draw("before", chain=chain, earlier={look["record"]: look for look in record.get("earlier", ())}, named=what)


def table(record: dict[str, Any]) -> Markup:
    """Original, unlearned, retrained and controls side by side."""
    given = slots(record)
    # Of a network with exits the rows are the last one's, and so is what is said of them: the worst exit's verdict is of other rows.
    judged = judged_exit(record["audits"], record) if record["verdict"] and record.get("exits") else record["verdict"]
    groups = [(a, [_line(r, given, record, judged) for r in a["rows"]]) for a in record["audits"] if a["rows"]]
    at_hand = {c: max((len(r["values"].get(c, ())) for a in record["audits"] for r in a["rows"]), default=0) for c in given}
    controls = [(c, s, CONTROLS.get(c, OTHER_CONTROL)) for c, s in given.items() if s.startswith("control")]
    return draw(
        "table",
        groups=groups,
        slots=given,
        at_hand=at_hand,
        controls=controls,
        skipped=[a for a in record["audits"] if a["skipped"]],
        verdict=judged,
        exits=len(record.get("exits") or ()),
        hold_out=not record["request"]["classes"],
        bias="bias" in record["request"],
    )


def reach(record: dict[str, Any]) -> Markup:
    """What the judged rows could have seen, what they leave open, which are shown to be near, and what they say of the retrained models; nothing where no row is asked."""
    of = answers(record)
    request = record["request"]
    listed = "bias" not in request and not request["classes"]
    found, codes = reaches(record["audits"], of), in_turn(record["audits"], of, int(request.get("count") or 0) if listed else None)
    equals = [] if "bias" in request else equivalences(record)
    if not found and not equals and not (listed and codes):
        return Markup()
    alarms = sum(code in FOUND for code in codes)
    low, high = interval(alarms, len(codes)) if codes else (0.0, 1.0)
    return draw("reach", reaches=found, turns=len(codes), found=alarms, low=low, high=high, equals=equals, margin=MARGIN)


def exits(record: dict[str, Any]) -> Markup:
    """The verdict on each further exit of a network that has several."""
    return draw("exits", exits=record["exits"]) if record.get("exits") else Markup()


def pictures(record: dict[str, Any]) -> Markup:
    """Sample images and what each model calls them, where they were asked for."""
    return draw("pictures", pictures=record["pictures"], slots=slots(record)) if record["pictures"] else Markup()


def findings(record: dict[str, Any]) -> Markup:
    """Every figure of every audit."""
    given = slots(record)
    groups = [(a, [figure(f, given) for f in a["figures"]]) for a in record["audits"] if a["figures"]]
    return draw("findings", groups=[(a, Markup().join(map(drawn, fs))) for a, fs in groups]) if groups else Markup()


def cost(record: dict[str, Any]) -> Markup:
    """What it took, and the losses of each phase; nothing of a model that was made elsewhere."""
    if record["method"]["name"] == records.ELSEWHERE:
        return Markup()
    return draw("cost", run=record["run"], figures=Markup().join(drawn(losses(p)) for p in record["run"]["phases"] if p["losses"]))


def method(record: dict[str, Any]) -> Markup:
    """The method and its settings, data, model and machine."""
    return draw("method", record=record, elsewhere=records.ELSEWHERE, counts=[(part, f"{n:,}") for part, n in record["data"]["counts"].items()])


def again(record: dict[str, Any]) -> Markup:
    """How to get it again, and the record's hash."""
    command = shlex.join(["untrain", *record["command"]])
    return draw("again", command=command, digest=hashlib.sha256(records.dumps(record)).hexdigest(), output=record["output"])


SECTIONS: tuple[Callable[[dict[str, Any]], Markup], ...] = (heading, verdict, certificate, exits, table, reach, pictures, findings, cost, method, before, again)
"""The page, from top to bottom."""


def said(record: dict[str, Any]) -> tuple[str | None, Markup]:
    """The code and its sentence, made here from the code alone: a record's own sentence could have been edited."""
    found, marks = record["verdict"], in_its_place(record)
    if not found and "remembers" in record["run"]["marks"]:
        return None, Markup("Not audited yet, but {} is still named as before: this run did not make the model forget.").format(name(what(record["request"])))
    if not found and not marks:
        return None, Markup("Not audited yet: nothing has been measured, so nothing is said about {}.").format(name(what(record["request"])))
    code = marks[0].upper() if marks else found["code"]
    parts: dict[str, Any] = {"what": name(what(record["request"])), "reasons": "", "m": 0, "tests": 0}
    if found:
        reasons = Markup("; ").join(reason(r) for r in found["reasons"])
        parts |= {"reasons": reasons, "m": found["retrained"], "tests": in_tests(found)}
    return code, Markup(SENTENCES[code]).format(**parts)


def in_its_place(record: dict[str, Any]) -> list[str]:
    """Marks of the run that stand in the verdict's place: nothing moved, or too much did. What is remembered, the verdict finds.

    A verdict that heeds a mark and finds otherwise stands: of weights that are the original's, answers may not be.
    """
    found = record["verdict"]
    return [mark for mark in record["run"]["marks"] if mark.upper() in SENTENCES and (not found or found["code"] == mark.upper())]


@dataclass(frozen=True)
class Cell:
    """A place in the table.

    Args:
        slot: The column's slot.
        column: The column.
        text: The number as it is read.
        exact: The number itself.
        note: Its interval, or the spread over the models.
        absent: Said in place of a number.
    """

    slot: str
    column: str
    text: str = ""
    exact: float | None = None
    note: str = ""
    absent: str = ""


@dataclass(frozen=True)
class Mark:
    """A mark on a row's scale.

    Args:
        slot: The column's slot.
        at: Where, in per cent of the width.
        outside: Beyond which end of the scale it lies: -1, or +1; 0 where it lies on it.
    """

    slot: str
    at: float
    outside: int


@dataclass(frozen=True)
class Shown:
    """A row of the table.

    Args:
        row: The record's row.
        cells: One for each column.
        marks: The same values on one scale.
        band: Smallest and largest retrained model on it, in per cent.
        test: What the verdict's test said of it.
        flagged: What the verdict names it as: a trace, or unlike retrained models; empty where it does not.
        found_from: The value from which on it would have told, where it is judged.
        blind: Whether it cannot tell the original from a retrained model.
        n: Samples behind it.
        bounded: Whether a value is a bound of another kind than "more than".
    """

    row: dict[str, Any]
    cells: tuple[Cell, ...]
    marks: tuple[Mark, ...]
    band: tuple[float, float] | None
    test: dict[str, Any] | None
    flagged: str
    found_from: str
    blind: bool
    n: str
    bounded: bool


def _line(row: dict[str, Any], given: dict[str, str], record: dict[str, Any], judged: dict[str, Any] | None) -> Shown:
    found = judged or {"tests": {}, "without_power": [], "flagged": [], "code": None}
    present = {c for a in record["audits"] for r in a["rows"] for c, v in r["values"].items() if v}
    values = row["values"]
    cells = tuple(_cell(c, s, values.get(c, []), row["unit"], c in present) for c, s in given.items())
    flat = [v for c in given for v in values.get(c, [])]
    counts = sorted({v["n"] for v in flat if v["n"] is not None})
    # A control may lie very far out (a mask writes huge weights); the scale is that of the models it is beside.
    own = [v["value"] for c in ("original", "unlearned", "retrained") for v in values.get(c, []) if v["value"] is not None]
    end = 1.0 if row["unit"] == "share" else max(own, default=0.0)
    marks = tuple(Mark(c.slot, _place(c.exact, end), (c.exact > end) - (c.exact < 0)) for c in cells if c.exact is not None and c.column != "retrained") if end else ()
    spread = [v["value"] for v in values.get("retrained", []) if v["value"] is not None]
    return Shown(
        row=row,
        cells=cells,
        marks=marks,
        band=(_place(min(spread), end), _place(max(spread), end)) if spread and end else None,
        test=found["tests"].get(row["name"]),
        flagged={"RESIDUE": "trace", "UNLIKE": "unlike"}.get(found["code"] or "", "") if row["name"] in found["flagged"] else "",
        found_from=_found_from(found["tests"].get(row["name"]), row["unit"]),
        blind=row["name"] in found["without_power"],
        n=" to ".join(f"{n:,}" for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "",
        bounded=any(v["beyond"] for v in flat) and row["unit"] not in _COUNTED,
    )


def _found_from(test: dict[str, Any] | None, unit: str) -> str:
    """A row's detection limit; records of before have none."""
    found = test.get("limit") if test else None
    # No share is above 1: nothing would have been found.
    return "" if found is None or (unit == "share" and not 0 <= found <= 1) else amount(found, unit)


_COUNTED = ("steps", "count")


def _place(value: float, end: float) -> float:
    return round(4 + 92 * min(max(value / end, 0.0), 1.0), 2)


def _cell(column: str, slot: str, values: list[dict[str, Any]], unit: str, present: bool) -> Cell:
    if not values:
        return Cell(slot, column, absent="none" if present else "not at hand")
    numbers = [v["value"] for v in values if v["value"] is not None]
    if not numbers:
        return Cell(slot, column, absent="not finite")
    sign = ("> " if unit in _COUNTED else "~ ") if any(v["beyond"] for v in values) else ""
    mean = sum(numbers) / len(numbers)
    if len(values) > 1:
        top = max(values, key=lambda v: (v["value"] is not None, v["value"] or 0.0, v["beyond"]))
        over = "> " if unit in _COUNTED and top["beyond"] else ""
        lost, alike = len(values) - len(numbers), min(numbers) == max(numbers) and not over
        among = f"{amount(min(numbers), unit).removesuffix('%')} to {over}{amount(max(numbers), unit)}" if not alike else "all alike" if not lost else ""
        note = ", ".join([among] * bool(among) + [f"{lost} of {len(values)} not finite"] * bool(lost))
    elif values[0]["low"] is not None and values[0]["high"] is not None:
        note = f"{amount(values[0]['low'], unit).removesuffix('%')}\N{EN DASH}{amount(values[0]['high'], unit)}"
    else:
        note = ""
    if len(values) == 1 and values[0].get("p") is not None:
        note = f"{note}, p {chance(values[0]['p'])}".removeprefix(", ")
    return Cell(slot, column, sign + amount(mean, unit), mean, note)


def drawn(made: Figure, source: str = "") -> Markup:
    """HTML of a figure, and under it where it comes from."""
    return draw("figure", figure=made, spec=embedded(made.spec), unit="share" if is_share(made.y) else "distance", source=source)
