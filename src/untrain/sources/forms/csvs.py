"""Tables: labels.csv, or any CSV with a path and a label in each line; without a path it is one of rows of numbers and categories."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from untrain.core import disk
from untrain.core.data import LABELS
from untrain.core.errors import BadData, wall
from untrain.sources.blobs import Files, short
from untrain.sources.forms import texts
from untrain.sources.forms.parts import PLAIN, Columns, Found, Part, hashed, listed_in, part_called, refuse_outside, text_of
from untrain.sources.forms.tabular import rows as rows_of

PATHS = ("path", "file", "filename", "file_name", "image")
"""What a column of paths is usually called."""


def table(file: Path, name: str | None = None, columns: Columns = PLAIN) -> Found:
    """A header with `path` and `label`, and where the data are divided `split`; further columns are kept. Paths are seen from the file's folder.

    Where texts are asked for, each line is one with a label. Where there are no paths, or columns to read are named, each line is a row of numbers and categories with a label.

    Args:
        file: The table; may be packed as .gz.
        name: What the data are called; its own name where none is given.
        columns: Which columns hold the path and the label, or which are read.

    Raises:
        BadArgument: it lacks a column that was named.
        BadData: it lacks the usual ones, lists nothing, one file twice, or files that lie elsewhere; a line that is not as the first says.
    """
    with wall(file.name, "save it as a table of paths and labels"):
        return _table(file, name, columns)


def _table(file: Path, name: str | None, columns: Columns) -> Found:
    text = _unpacked(file) if file.suffix.lower() == ".gz" else text_of(file)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    # Not line by line: of a cell in quotes that goes over several, the words on both sides of an end would be one.
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    # As a header is read: without regard to capitals.
    columns = replace(columns, image=_lower(columns.image), label=_lower(columns.label), text=_lower(columns.text))
    if columns.text is not None:
        at, of = head.index(columns.among(head, "text", file.name)), head.index(columns.among(head, "label", file.name, (*LABELS, "class")))
        whole = list(_whole(rows, head, file.name).values())
        cells = {column: [row[i].strip() for row in whole] for i, column in enumerate(head) if column and i not in (at, of)}
        return Found(name or file.resolve().name, texts.rows([row[at] for row in whole], [row[of].strip() for row in whole], cells, file.name), listed_in(file.parent))
    bare = not (columns.image or set(PATHS) & set(head))
    told = columns.label in head if columns.label else bool({*LABELS, "class"} & set(head))
    if told and (columns.features or bare):
        label = head.index(columns.among(head, "label", file.name, (*LABELS, "class")))
        return Found(name or file.resolve().name, rows_of(head, list(_whole(rows, head, file.name).values()), label, columns, file.name), listed_in(file.parent))
    if bare or not (columns.label or {*LABELS, "class"} & set(head)):
        raise BadData(
            f"{file.name} begins with {', '.join(head[:6]) or 'nothing'}; its first line is to name the columns path and label, or name yours by --image-column and --label-column"
        )
    at = head.index(columns.among(head, "image", file.name, PATHS))
    of = head.index(columns.among(head, "label", file.name, (*LABELS, "class")))
    parts: dict[str, tuple[list[str], list[str], dict[str, list[Any]]]] = {}
    extra = [i for i, column in enumerate(head) if i not in (at, of) and column and column != "split"]
    for number, row in _whole(rows, head, file.name).items():
        if not row[at].strip() or not row[of].strip():
            raise BadData(f"{file.name}, line {number} names no {'label' if row[at].strip() else 'path'}; mend or remove it")
        part = part_called(row[head.index("split")] if "split" in head else None)
        paths, labels, more = parts.setdefault(part, ([], [], {head[i]: [] for i in extra}))
        paths.append(row[at].strip())
        labels.append(row[of].strip())
        for i in extra:
            more[head[i]].append(row[i].strip())
    if not parts:
        raise BadData(f"{file.name} lists no image; give a line for each, with path and label")
    # a.png and ./a.png are one file.
    twice = [path for path, count in Counter(os.path.normpath(path) for paths, _, _ in parts.values() for path in paths).items() if count > 1]
    if twice:
        raise BadData(f"{file.name} lists {len(twice)} files twice or more, such as {twice[0]}; list each once")
    root = file.parent
    refuse_outside(root, (path for paths, _, _ in parts.values() for path in paths), columns, file.name)
    made = {
        part: Part(labels, hashed(root, paths, labels), Files(root, paths), columns={"path": paths} | {k: v for k, v in more.items() if k != "path"}, place=short("\0".join(paths)))
        for part, (paths, labels, more) in parts.items()
    }
    return Found(name or file.resolve().name, made, listed_in(root))


def _whole(rows: Sequence[Sequence[str]], head: Sequence[str], shown: str) -> dict[int, Sequence[str]]:
    """The lines below the header that hold anything, by their number.

    Raises:
        BadData: one has more or fewer cells.
    """
    found = {number: row for number, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)}
    odd = next((number for number, row in found.items() if len(row) != len(head)), None)
    if odd is not None:
        raise BadData(f"{shown}, line {odd} has {len(found[odd])} cells, the header {len(head)}; mend or remove it")
    return found


def _unpacked(file: Path) -> str:
    """The text of a packed table."""
    with gzip.GzipFile(fileobj=io.BytesIO(disk.read(file))) as packed:
        data = packed.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise BadData(f"{file.name} unpacks to more than {LARGEST:,} bytes; give a smaller table")
    return data.decode("utf-8-sig")


LARGEST = 2**30
"""Bytes of a table at most once it is unpacked."""


def _lower(asked: str | None) -> str | None:
    return None if asked is None else asked.strip().lower()
