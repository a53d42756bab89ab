"""Which rows are shown to lie near what no trace looks like, and which are only not seen to lie elsewhere: two one-sided tests. Imports no torch.

That a test finds nothing is no proof that there is nothing: with few models or few samples it could have found little. So beside the verdict, which does not
hang on this, each row is asked the other way round: is it shown, at 5 %, to lie within a margin that is stated beforehand? Schuirmann, A comparison of the two
one-sided tests procedure, 1987.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy import special

from untrain.evidence.listed import MARGIN, TESTS, answers, differing_in_list, tested_list
from untrain.evidence.rows import Table
from untrain.evidence.statistics import floor_of
from untrain.evidence.verdict import FAMILIES, tested

SHARE = 0.5
"""Of the way from retrained models to the original: a model within it, on either side, is nearer to them than to it."""

LEVEL = 0.05
"""The chance that a row is shown to lie within a margin beyond which it lies."""


@dataclass(frozen=True)
class Equal:
    """A row that was asked whether it lies near what no trace looks like.

    Args:
        name: The row.
        near: What no trace looks like: the retrained models' mean, or one half.
        margin: How far from it the row may lie, in the row's own unit.
        p: The larger p of the two one-sided tests.
        found: Whether the verdict's test of it finds it to lie elsewhere, whatever the verdict names first.
        half: Whether one half is what no trace looks like.
    """

    name: str
    near: float
    margin: float
    p: float
    found: bool
    half: bool = False

    @property
    def shown(self) -> bool:
        """Whether it is shown to lie within the margin; what was found to lie elsewhere is not, however near that is."""
        return self.p <= LEVEL and not self.found


def within(value: float, references: list[float], original: float, share: float = SHARE, floor: float = 0.01) -> float:
    """The larger p of the two tests that a model lies within a share of the way from m >= 2 retrained models to the original, on their side of them and on the other.

    Upper: t = (x - (1 - f) mean - f o) / (s sqrt(1 + (1 - f)^2 / m)), m - 1 degrees of freedom; lower with -f. The original o is one that is given, and no draw.

    >>> within(0.30, [0.30, 0.31, 0.29, 0.30, 0.30], 0.9) < 0.05 < within(0.60, [0.30, 0.31, 0.29, 0.30, 0.30], 0.9)
    True
    """
    m, mean = len(references), statistics.fmean(references)
    spread, side = max(statistics.stdev(references), floor), 1 if original >= mean else -1
    found = []
    for f, sign in ((share, side), (-share, -side)):
        edge = (1 - f) * mean + f * original
        found.append(float(special.stdtr(m - 1, sign * (value - edge) / (spread * (1 + (1 - f) ** 2 / m) ** 0.5))))
    return max(found)


def within_half(value: float, se: float, margin: float = MARGIN) -> float:
    """The larger p of the two tests that a share lies within one half plus or minus the margin, by its standard error.

    >>> round(within_half(0.5, 0.02), 4), within_half(0.57, 0.02) > 0.5
    (0.0062, True)
    """
    return max(float(special.ndtr((value - 0.5 - margin) / se)), float(special.ndtr((0.5 - margin - value) / se))) if se > 0 else 1.0


def equivalences(record: Mapping[str, Any]) -> list[Equal]:
    """Each row that could say that no trace is left, beside two retrained models or more and the original; of a list each row whose null is one half."""
    table, of = Table(record["audits"]), answers(record)
    _, more, less, _ = tested(table, of)
    out = []
    for key in (key for family in FAMILIES.values() if family.clears for key in family.rows):
        own, references, original = table.numbers(key, "unlearned"), table.numbers(key, "retrained"), table.number(key, "original")
        if not own or len(references) < 2 or original is None or abs(original) == float("inf"):
            continue
        row, mean = table.rows[key], statistics.fmean(references)
        # An original that knows no more than they do shows no way on which to be near.
        if (original - mean) * int(row["knows"]) > 0:
            p = within(own[0], references, original, floor=floor_of(row["unit"]))
            out.append(Equal(row["name"], mean, SHARE * abs(original - mean), p, row["name"] in {*more, *less}))
    if not record["request"]["classes"]:
        tests = tested_list(record["audits"])
        found = differing_in_list(tests, of)
        for key in (key for key in TESTS if key[1] in tests):
            value = table.value(key, "unlearned")
            if value is not None and value.get("low") is not None:
                # A 95 % interval, of which one end may have been cut off at 0 or 1.
                se = max(value["high"] - value["value"], value["value"] - value["low"]) / float(special.ndtri(0.975))
                out.append(Equal(key[1], 0.5, MARGIN, 1.0 if value["value"] in (0.0, 1.0) else within_half(value["value"], se), key[1] in found, half=True))
    return out


def in_words(record: Mapping[str, Any]) -> str:
    """What is shown to lie near and what is not, in a sentence; nothing where no row was asked."""
    asked = equivalences(record)
    only = [e.name for e in asked if not e.shown and not e.found]
    told = list[str]()
    for half, where in ((False, "nearer to retrained models than to the original, on either side"), (True, f"no trace (within {MARGIN:g} of one half)")):
        if shown := [e.name for e in asked if e.shown and e.half == half]:
            told.append(f"shown at 5 % to be {where}: {', '.join(shown)}")
    told += [f"not seen to differ, and not shown to be as near: {', '.join(only)}"] if only else []
    return "; ".join(told)
