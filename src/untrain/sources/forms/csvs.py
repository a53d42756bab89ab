"""Tables of files: labels.csv, or any CSV with a path and a label in each line."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from untrain.core.data import LABELS
from untrain.core.errors import BadData, wall
from untrain.sources.blobs import Files
from untrain.sources.forms.parts import PLAIN, Columns, Found, Part, hashed, listed_in, refuse_outside, text_of

PATHS = ("path", "file", "filename", "file_name", "image")
"""What a column of paths is usually called."""


def table(file: Path, name: str | None = None, columns: Columns = PLAIN) -> Found:
    """A header with `path` and `label`, and where the data are divided `split`; further columns are kept. Paths are seen from the file's folder.

    Args:
        file: The table.
        name: What the data are called; its own name where none is given.
        columns: Which columns hold the path and the label.

    Raises:
        BadArgument: it lacks a column that was named.
        BadData: it lacks the usual ones, lists nothing, one file twice, or files that lie elsewhere; a line that is not as the first says.
    """
    with wall(file.name, "save it as a table of paths and labels"):
        return _table(file, name, columns)


def _table(file: Path, name: str | None, columns: Columns) -> Found:
    lines = text_of(file).splitlines()
    delimiter = max(",;\t", key=(lines[0] if lines else "").count)
    rows = list(csv.reader(lines, delimiter=delimiter))
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    # As a header is read: without regard to capitals.
    columns = replace(columns, image=_lower(columns.image), label=_lower(columns.label))
    if not (columns.image or set(PATHS) & set(head)) or not (columns.label or {*LABELS, "class"} & set(head)):
        raise BadData(
            f"{file.name} begins with {', '.join(head[:6]) or 'nothing'}; its first line is to name the columns path and label, or name yours by --image-column and --label-column"
        )
    at = head.index(columns.among(head, "image", file.name, PATHS))
    of = head.index(columns.among(head, "label", file.name, (*LABELS, "class")))
    parts: dict[str, tuple[list[str], list[str], dict[str, list[Any]]]] = {}
    extra = [i for i, column in enumerate(head) if i not in (at, of) and column and column != "split"]
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(head) or not row[at].strip() or not row[of].strip():
            what = f"has {len(row)} cells, the header {len(head)}" if len(row) != len(head) else f"names no {'label' if row[at].strip() else 'path'}"
            raise BadData(f"{file.name}, line {number} {what}; mend or remove it")
        part = (row[head.index("split")].strip() if "split" in head else "") or "all"
        paths, labels, more = parts.setdefault(part, ([], [], {head[i]: [] for i in extra}))
        paths.append(row[at].strip())
        labels.append(row[of].strip())
        for i in extra:
            more[head[i]].append(row[i].strip())
    if not parts:
        raise BadData(f"{file.name} lists no image; give a line for each, with path and label")
    twice = [path for path, count in Counter(path for paths, _, _ in parts.values() for path in paths).items() if count > 1]
    if twice:
        raise BadData(f"{file.name} lists {len(twice)} files twice or more, such as {twice[0]}; list each once")
    root = file.parent
    refuse_outside(root, (path for paths, _, _ in parts.values() for path in paths), columns, file.name)
    made = {
        part: Part(labels, hashed(root, paths, labels), Files(root, paths), columns={"path": paths} | {k: v for k, v in more.items() if k != "path"})
        for part, (paths, labels, more) in parts.items()
    }
    return Found(name or file.resolve().name, made, listed_in(root))


def _lower(asked: str | None) -> str | None:
    return None if asked is None else asked.strip().lower()
