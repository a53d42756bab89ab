"""Counterfactual pairs by name: a column of a table that is flipped, or a function of the user's."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import torch

from untrain.core.data import LABELS, Samples
from untrain.core.data.pairs import Pairs
from untrain.core.errors import BadArgument
from untrain.core.seeds import stream
from untrain.sources.libraries.functions import function_of
from untrain.sources.names import Named, named

GRAMMAR = "flip:COLUMN or flip:COLUMN=A/B of a table of rows, path/pairs.py:function, or data by name beside --twins"
"""How pairs are named."""


def runs(asked: str) -> Named | None:
    """The user's function that is named, if one is."""
    what = None if asked.startswith("flip:") else named(asked)
    return what if what is not None and what.runs_code else None


def changed(samples: Samples, asked: str, seed: int = 0) -> Pairs:
    """Samples beside what a function of the user's makes of their raw inputs.

    Args:
        samples: One side.
        asked: The function.
        seed: Seed of what it draws by torch, numpy or `random`.

    Raises:
        BadArgument: it is no name of pairs; or the function gives inputs of another form.
        BadData: nothing differs.
    """
    what = runs(asked)
    if what is None:
        raise BadArgument(f"--pairs {asked!r} is not of the form {GRAMMAR}")
    with stream(seed, torch.device("cpu")):
        return Pairs.of(samples, function_of(what))


def ends(samples: Samples, asked: str) -> tuple[str, str, str]:
    """What `flip:COLUMN` or `flip:COLUMN=A/B` flips: the column, and two of its values.

    Args:
        samples: Rows of a table.
        asked: What is asked.

    Raises:
        BadArgument: they are no rows of a table, or there is no such column or value, or there are not two.
    """
    column, equals, two = asked.removeprefix("flip:").partition("=")
    if column not in samples.columns or "path" in samples.columns:
        known = ", ".join(samples.columns) or "none"
        raise BadArgument(f"--pairs {asked}: no column {column!r} of facts to flip, there are {known}; name a function of yours: path/pairs.py:function")
    there = sorted(set(map(str, samples.columns[column])))
    one, _, other = two.partition("/")
    if equals and not (one and other and one != other):
        raise BadArgument(f"--pairs {asked}: write flip:{column}=A/B, the two values that are flipped")
    if not equals:
        if len(there) != 2:
            raise BadArgument(f"--pairs {asked}: the column holds {len(there)} values, such as {', '.join(there[:4])}; say which two are flipped: flip:{column}=A/B")
        one, other = there
    absent = [value for value in (one, other) if value not in there]
    if absent:
        raise BadArgument(f"--pairs {asked}: the column holds no {absent[0]!r}; it holds {', '.join(there[:8])}{', ...' if len(there) > 8 else ''}")
    return column, one, other


def having(samples: Samples, flip: tuple[str, str, str]) -> Samples:
    """The rows that have one of the two values."""
    column, one, other = flip
    return samples[torch.tensor([str(value) in (one, other) for value in samples.columns[column]])]


def flipped(samples: Samples, flip: tuple[str, str, str], label: str | None, file: Path) -> None:
    """Write the rows as a table in which one value stands for the other; whoever reads the data reads it alike.

    Args:
        samples: Rows of a table.
        flip: The column and its two values.
        label: Name of the column of labels, where it is not called as usual.
        file: The file to write.
    """
    column, one, other = flip
    swap = {one: other, other: one}
    columns = {name: values for name, values in samples.columns.items() if name != "split"}
    head = label or next(name for name in LABELS if name not in columns)
    truth: Sequence[object] = [samples.names[y] for y in samples.y.tolist()] if samples.names else samples.y.tolist()
    with file.open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out)
        lines.writerow([head, *columns])
        for at, named_so in enumerate(truth):
            lines.writerow([named_so, *(swap.get(str(v[at]), v[at]) if name == column else v[at] for name, v in columns.items())])
