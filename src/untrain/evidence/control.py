"""What a record's own numbers say of its tests: what they could have seen, how little they leave open, and how often they find an honest model. Imports no torch.

All of it is made of the rows when it is asked for; the verdict does not hang on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from untrain.evidence.listed import TESTS, of_a_list
from untrain.evidence.rows import Table
from untrain.evidence.statistics import at_most, floor_of, seen_from
from untrain.evidence.verdict import ENOUGH, FAMILIES, judge

FOUND = ("RESIDUE", "UNLIKE", "SUPPRESSED")
"""Verdicts that are a finding."""


@dataclass(frozen=True)
class Reach:
    """What a row that could say that no trace is left sees, and what it leaves open.

    Args:
        name: The row.
        unit: Its unit.
        value: The model's.
        mean: That of retrained models.
        original: The original's, where it is at hand.
        seen: From where on a model is found in 8 of 10 cases, whatever the other rows say.
        left: The most that can be left of the way from retrained models to the original, with 95 % confidence; None where no way is known.
    """

    name: str
    unit: str
    value: float
    mean: float
    original: float | None
    seen: float
    left: float | None

    @property
    def never(self) -> bool:
        """Whether no model could be found, since no share is so large or so small."""
        return self.unit == "share" and not 0 <= self.seen <= 1


def reaches(audits: list[dict[str, Any]], of: int = 1) -> list[Reach]:
    """The reach of each row that looks behind the answers, beside two retrained models or more.

    Args:
        audits: The `audits` of a record.
        of: How many exits of the network are judged beside each other.
    """
    table, out = Table(audits), []
    for family in (f for f in FAMILIES.values() if f.clears):
        whole = [key for key in family.rows if table.value(key, "unlearned") and len(table.numbers(key, "retrained")) >= 2]
        for key in whole:
            row, references, original = table.rows[key], table.numbers(key, "retrained"), table.number(key, "original")
            # To an original of no number no way leads, and none of it would be left.
            original = None if original is not None and not math.isfinite(original) else original
            value, knows, floor = table.numbers(key, "unlearned")[0], int(row["knows"]), floor_of(row["unit"])
            mean = sum(references) / len(references)
            way = None if original is None else (original - mean) * knows
            left = at_most(value, references, knows, floor=floor) / way if way is not None and way > 0 else None
            seen = seen_from(references, knows, family.level / (2 * of * len(whole)), floor=floor)
            out.append(Reach(row["name"], row["unit"], value, mean, original, seen, None if left is None else max(0.0, left)))
    return out


def in_turn(audits: list[dict[str, Any]], of: int = 1, count: int | None = None) -> list[str]:
    """What would be said of each retrained model beside the others: none of them should be a finding. Nothing below five, of which four are beside each.

    Args:
        audits: The `audits` of a record.
        of: How many exits of the network are judged beside each other.
        count: How many single samples were to be forgotten; None where classes were.
    """
    m = Table(audits).retrained
    if m < ENOUGH:
        return []

    def said(beside: list[dict[str, Any]]) -> str:
        found = judge(beside, (), "it", of, () if count is None else TESTS)
        if count is not None:
            found = of_a_list(found, beside, {"forget": "it", "classes": [], "names": [], "count": count}, of)
        return str(found["code"])

    return [said(_beside(audits, i, m)) for i in range(m)]


def _beside(audits: list[dict[str, Any]], i: int, m: int) -> list[dict[str, Any]]:
    """The audits as they would be with one of m retrained models in the place of the model; a row that some of them lack is left out."""
    made = []
    for entry in audits:
        rows = []
        for row in entry["rows"]:
            values = row["values"].get("retrained", [])
            if len(values) == m:
                rows.append(row | {"values": row["values"] | {"unlearned": [values[i]], "retrained": [v for j, v in enumerate(values) if j != i]}})
        made.append(entry | {"rows": rows})
    return made
