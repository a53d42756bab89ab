"""Tables of rows: in each line of a CSV numbers, categories and a label, made into tensors by an encoding that its training part sets."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from untrain.core.data import Samples
from untrain.core.errors import BadArgument, BadData
from untrain.sources.forms.parts import Columns, Part, part_called

MISSING = ("", "?", "na", "n/a", "nan", "null", "none")
"""What a cell holds where nothing is known, in capitals or not."""


def missing(cell: str) -> bool:
    """Whether nothing is known there."""
    return cell.lower() in MISSING


def rows(head: Sequence[str], lines: Sequence[Sequence[str]], label: int, columns: Columns, shown: str) -> dict[str, Part]:
    """Parts of a table, their cells as they stand there; what has no label is left out, and said.

    Args:
        head: The names of the columns, in small letters.
        lines: The cells of each line, as many as there are columns.
        label: Where the label stands.
        columns: Which columns are read; all but the label and `split` where none are named.
        shown: What the table is called.

    Raises:
        BadArgument: a column that is named is not there, or is the label.
        BadData: none is left, or no line has a label.
    """
    named = [name.strip().lower() for name in (columns.features or "").split(",") if name.strip()]
    unknown = next((name for name in named if name not in head or name == head[label]), None)
    if unknown is not None:
        why = "is its label" if unknown in head else f"is not there; {shown} has the columns {', '.join(head[:8])}{', ...' if len(head) > 8 else ''}"
        raise BadArgument(f"--columns {unknown}: that column {why}")
    read = [i for i, name in enumerate(head) if name and (name in named if named else i != label and name != "split")]
    if not read:
        raise BadData(f"{shown} has no column but its label; give numbers or categories to tell the classes by")
    twice = next((head[i] for i in [*read, label] for j, name in enumerate(head) if name == head[i] and any(line[i] != line[j] for line in lines)), None)
    if twice is not None:
        raise BadData(f"{shown} has two columns called {twice} that differ (capitals count for nothing), and one would be lost; give each a name of its own")
    parts: dict[str, list[Sequence[str]]] = {}
    for line in lines:
        if not missing(line[label].strip()):
            parts.setdefault(part_called(line[head.index("split")] if "split" in head else None), []).append([cell.strip() for cell in line])
    if not parts:
        raise BadData(f"no line of {shown} has a label in its column {head[label]}; name another by --label-column")
    left_out = len(lines) - sum(map(len, parts.values()))
    notes = (f"{left_out} of {len(lines)} lines of {shown} have no label in the column {head[label]} and are left out",) if left_out else ()
    made = {}
    for part, some in parts.items():
        digest = hashlib.sha256(repr([[head[i] for i in read], [[line[label], *(line[i] for i in read)] for line in some]]).encode()).hexdigest()
        cells = {head[i]: [line[i] for line in some] for i in read}
        others = {name: [line[i] for line in some] for i, name in enumerate(head) if name and i != label}
        made[part] = Part([line[label] for line in some], digest, columns=others, notes=notes, cells=cells)
    return made


def encoded(parts: Mapping[str, Part], by: str = "train") -> dict[str, Part]:
    """The parts with samples of tensors, or of the one tensor where all columns are of one kind.

    These are `numbers` [n, a], each less its mean and over its standard deviation in the training part, the mean where a cell is missing, and
    `categories` [n, b], counted from 1 in the alphabetical order of the training part's, 0 where a cell is missing or new.

    Args:
        parts: The parts.
        by: The part that is measured in the training part's place, where it is there.

    Raises:
        BadData: a column whose texts are no categories, or that another part lacks or has other cells in.
    """
    train = parts["train"].cells
    if train is None:
        odd = next((name for name, part in parts.items() if part.cells is not None), None)
        if odd is not None:
            raise BadData(f"the {odd} part is a table of numbers and categories, and the training part is not; give both in one form")
        return dict(parts)
    measured = (parts[by].cells if by in parts else None) or train
    if (lacks := next((name for name in train if name not in measured), None)) is not None:
        raise BadData(f"the {by} part lacks the column {lacks} that the training part has; give both the same")
    numbers = {name: scale for name in train if (scale := _scale(measured[name])) is not None}
    categories = {name: {text: code for code, text in enumerate(sorted({c for c in measured[name] if not missing(c)}), 1)} for name in train if name not in numbers}
    for name, codes in categories.items():
        if len(codes) > max(20, len(measured[name]) / 2) or len(codes) == len(measured[name]) > 2:
            raise BadData(
                f"the column {name} holds {len(codes)} texts in {len(measured[name])} lines, such as {next(iter(codes))!r}, and is no category; leave it out by --columns, "
                "or name it by --image-column where it is paths of images"
            )
    measured_in = "training" if measured is train else by
    where = "" if measured is train else f" in the {by} part"
    told = [
        *([f"numbers {', '.join(numbers)} (each less its mean and over its standard deviation{where})"] if numbers else []),
        *([f"categories {', '.join(f'{name} ({1 + len(codes)})' for name, codes in categories.items())} (counted from 1 by alphabet, 0 where missing)"] if categories else []),
    ]
    note = f"each row is read as {' and '.join(told)}"
    made = {}
    for which, part in parts.items():
        cells = part.cells
        lacks = next((name for name in train if cells is None or name not in cells), None)
        if cells is None or lacks is not None:
            raise BadData(f"the {which} part lacks the column {lacks} that the training part has; give both the same")
        x: dict[str, Tensor] = {}
        if numbers:
            x["numbers"] = torch.stack([_numbers(name, cells[name], scale, which, measured_in) for name, scale in numbers.items()], 1)
        if categories:
            x["categories"] = torch.stack([torch.tensor([codes.get(cell, 0) for cell in cells[name]]) for name, codes in categories.items()], 1)
        samples = Samples(x if len(x) > 1 else next(iter(x.values())), torch.zeros(len(part.labels), dtype=torch.long), columns=part.columns)
        made[which] = replace(part, ready=samples, notes=(*part.notes, note))
    return made


def _number(cell: str) -> float | None:
    if "_" in cell:
        # 18_25 is a span of ages, and to Python 1825.
        return None
    try:
        value = float(cell)
    except ValueError:
        return None
    # Its square is to be a number too.
    return value if math.isfinite(value) and abs(value) < 1e150 else None


def _scale(cells: Sequence[str]) -> tuple[float, float] | None:
    """Mean and standard deviation of a column of numbers; None of another."""
    known = [_number(cell) for cell in cells if not missing(cell)]
    values = [value for value in known if value is not None]
    if not values or len(values) < len(known):
        return None
    if min(values) == max(values):
        # The mean of equal numbers may miss them by their last digit, and would be told from them by a deviation as small.
        return values[0], 1.0
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)) or 1.0


def _numbers(name: str, cells: Sequence[str], scale: tuple[float, float], part: str, measured: str) -> Tensor:
    out = []
    for cell in cells:
        value = scale[0] if missing(cell) else _number(cell)
        if value is None:
            raise BadData(f"the column {name} holds numbers in the {measured} part and {cell!r} in the {part} part; mend that, or leave the column out by --columns")
        out.append((value - scale[0]) / scale[1])
    return torch.tensor(out, dtype=torch.float32)
