"""The rows of a record's audits, looked up by audit and name. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

FEWEST = 6
"""Test images of the forgotten at least: of fewer, none of which is named, the 95 % interval (Clopper-Pearson) reaches beyond one half."""


def numbered(value: Mapping[str, Any]) -> bool:
    """Whether a value is a number: in a record what is not finite is None, and what `audit` gives may be infinite or NaN."""
    return value["value"] is not None and math.isfinite(value["value"])


def too_few(value: Mapping[str, Any] | None) -> list[str]:
    """Why test images of the forgotten are too few for a clean verdict."""
    n = value["n"] if value else None
    if not n or n >= FEWEST:
        return []
    return [f"of what was forgotten there {'is 1 test image' if n == 1 else f'are {n} test images'}, which tell little of others; bring {FEWEST} or more"]


class Table:
    """The rows of a record's audits, by audit and name.

    Args:
        audits: The audits.
        aside: Rows that are left out.
    """

    def __init__(self, audits: list[dict[str, Any]], aside: Collection[tuple[str, str]] = ()) -> None:
        rows = {(entry.get("name", ""), row["name"]): row for entry in audits for row in entry["rows"]}
        self.retrained = max((len(row["values"].get("retrained", ())) for row in rows.values()), default=0)
        """How many retrained models there are."""
        self.rows = {key: row for key, row in rows.items() if key not in aside}

    def values(self, key: tuple[str, str], column: str) -> list[dict[str, Any]]:
        """A row's values of a column, where it has a number."""
        found = self.rows[key]["values"].get(column, []) if key in self.rows else []
        return [v for v in found if numbered(v)]

    def value(self, key: tuple[str, str], column: str) -> dict[str, Any] | None:
        """The first of them."""
        return next(iter(self.values(key, column)), None)

    def numbers(self, key: tuple[str, str], column: str) -> list[float]:
        """The same as numbers."""
        return [float(v["value"]) for v in self.values(key, column)]

    def uncounted(self, key: tuple[str, str]) -> bool:
        """Whether a row's shares come without the number that they are of."""
        return any(v.get("n") is None for values in self.rows[key]["values"].values() for v in values)

    def number(self, key: tuple[str, str], column: str) -> float | None:
        """The first number; infinite where the row has a value that is not finite."""
        if key in self.rows and not all(map(numbered, self.rows[key]["values"].get(column, []))):
            return math.inf
        return next(iter(self.numbers(key, column)), None)
