"""How a row tells a model from retrained ones: by their spread, by counts, by odds, as a distance from them, or by a chance of its own. Imports no torch.

scipy only where something is compared, as in the verdict.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from untrain.evidence.rows import Table

Key = tuple[str, str]
"""A row, as the audit's name and its own."""


class Comparison(ABC):
    """Base of all comparisons."""

    sides: ClassVar[tuple[str, ...]] = ("more", "less")
    """Where a model can be found, as knowing more than retrained models or less; that on which the original lies comes first."""

    def fits(self, table: Table, key: Key) -> bool:
        """Whether there is enough to compare with."""
        return len(table.values(key, "retrained")) >= 2

    @abstractmethod
    def ps(self, table: Table, key: Key, column: str) -> tuple[float, ...]:
        """One-sided p of a column's first model, for each of the sides."""

    @abstractmethod
    def limit(self, table: Table, key: Key, level: float) -> float | None:
        """From where on a value would have been found whatever the other rows say; None where that is not told."""


class Spread(Comparison):
    """By a prediction from the retrained models, on both sides."""

    def ps(self, table: Table, key: Key, column: str) -> tuple[float, ...]:
        """By t."""
        from untrain.evidence.statistics import beyond

        row, value, references = table.rows[key], table.values(key, column)[0]["value"], table.numbers(key, "retrained")
        return tuple(beyond(value, references, side * row["knows"], floor(table, key)) for side in (+1, -1))

    def limit(self, table: Table, key: Key, level: float) -> float | None:
        """On the side of knowing more."""
        from untrain.evidence.statistics import limit

        return limit(table.numbers(key, "retrained"), table.rows[key]["knows"], level / 2, floor(table, key))


class Counts(Comparison):
    """As counts of hits, on both sides."""

    def fits(self, table: Table, key: Key) -> bool:
        """Not where a share comes without the number that it is of."""
        return super().fits(table, key) and not table.uncounted(key)

    def ps(self, table: Table, key: Key, column: str) -> tuple[float, ...]:
        """By Fisher's test, and by the spread where they count some."""
        from untrain.evidence.statistics import more_counted

        value = table.values(key, column)[0]
        return more_counted(_hits(value), value["n"], _counted(table, key))

    def limit(self, table: Table, key: Key, level: float) -> float | None:
        """As a share of the model's own number."""
        from untrain.evidence.statistics import limit_counted

        n = table.values(key, "unlearned")[0]["n"]
        hits = limit_counted(n, _counted(table, key), level / 2)
        return None if hits is None else hits / n


class Odds(Counts):
    """As shares near none or all, in which models differ by factors: by a prediction of the logarithm of the odds, on both sides.

    Where most relearn nothing and a few much, the spread of a few models on the scale of shares is that of those that relearn nothing, and each that relearns is found.
    """

    def ps(self, table: Table, key: Key, column: str) -> tuple[float, ...]:
        """By t of the logarithms, whose spread is no less than that of draws."""
        from untrain.evidence.statistics import more_in_odds

        value = table.values(key, column)[0]
        return more_in_odds(value["value"], value["n"], _shares(table, key))

    def limit(self, table: Table, key: Key, level: float) -> float | None:
        """As a share."""
        from untrain.evidence.statistics import limit_in_odds

        return limit_in_odds(table.values(key, "unlearned")[0]["n"], _shares(table, key), level / 2)


class Distance(Comparison):
    """As a distance from retrained models: only to lie farther off than these do from each other is asked, and it is being unlike them."""

    sides = ("less",)

    def ps(self, table: Table, key: Key, column: str) -> tuple[float, ...]:
        """By t."""
        from untrain.evidence.statistics import beyond

        return (beyond(table.values(key, column)[0]["value"], table.numbers(key, "retrained"), +1, floor(table, key)),)

    def limit(self, table: Table, key: Key, level: float) -> float | None:
        """Above them."""
        from untrain.evidence.statistics import limit

        return limit(table.numbers(key, "retrained"), +1, level, floor(table, key))


class Exact(Comparison):
    """By the chance that each value itself tells, which holds however retrained models are spread; on either side of it lies a trace, since who never met the samples is on none.

    It holds where nothing but what was learned tells forgotten samples from others. A retrained model shows that it does: at least one has to be at hand, and none to be found.
    """

    sides = ("more",)

    def fits(self, table: Table, key: Key) -> bool:
        """Where the model has a p, and no retrained one is found."""
        theirs = table.values(key, "retrained")
        return self._p(table, key, "unlearned") is not None and bool(theirs) and not honest(theirs)[0]

    def ps(self, table: Table, key: Key, column: str) -> tuple[float, ...]:
        """As it is told."""
        told = self._p(table, key, column)
        return (1.0 if told is None else told,)

    def limit(self, table: Table, key: Key, level: float) -> float | None:
        """Not told: the chance is the audit's own."""
        return None

    def _p(self, table: Table, key: Key, column: str) -> float | None:
        return (table.value(key, column) or {}).get("p")


ALARMING = 0.05
"""The chance that a test whose null holds finds one of the retrained models all the same."""


def honest(values: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """How many of these retrained models a test finds, by Bonferroni's correction over them, and of how many that have a p."""
    ps = [value["p"] for value in values if value.get("p") is not None]
    return sum(p <= ALARMING / len(ps) for p in ps), len(ps)


def mean_of(table: Table, key: Key) -> float:
    """The retrained models' mean of a row."""
    references = table.numbers(key, "retrained")
    return sum(references) / len(references)


def floor(table: Table, key: Key) -> float:
    """The smallest spread that they are taken to have."""
    from untrain.evidence.statistics import floor_of

    return floor_of(table.rows[key]["unit"])


def _counted(table: Table, key: Key) -> list[tuple[int, int]]:
    return [(_hits(v), v["n"]) for v in table.values(key, "retrained")]


def _shares(table: Table, key: Key) -> list[tuple[float, int]]:
    return [(v["value"], v["n"]) for v in table.values(key, "retrained")]


def _hits(value: Mapping[str, Any]) -> int:
    return round(float(value["value"]) * int(value["n"]))
