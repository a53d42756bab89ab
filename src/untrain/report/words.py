"""What is read off records, and numbers in words; imports no torch.

A number is written as a `data` element that holds it whole, so that it can be found in the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from untrain.report.markup import amount, chance, seconds, shown


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
