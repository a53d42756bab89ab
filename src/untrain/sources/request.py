"""What to forget: classes, or single samples by place, by file, by what a column says of them, or those that were planted."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from pathlib import Path

import torch

from untrain.core import disk
from untrain.core.data import Data, Samples, Split, overlap, places_of_files, places_where
from untrain.core.errors import BadArgument, BadData, wall
from untrain.sources.keyed import MARK

GRAMMAR = "class:3,5 or class:cat,dog, index:FILE, files:LIST.csv, where:COLUMN=VALUE, random:10% or random:10%,seed=3, canaries"
"""How it is written."""

CANARIES = "canaries"
"""The request for the canaries that are inside."""


def split(data: Data, forget: str) -> Split:
    """The split that a request makes of data.

    Where the test part was set aside from the data, samples named one by one are taken out of it too: they are to be forgotten.

    Args:
        data: The data.
        forget: See GRAMMAR.

    Raises:
        BadArgument: not of this form, or names that fit nothing, several, or everything: how many, and the first.
        BadData: a list that cannot be read.
    """
    kind, _, what = forget.partition(":")
    parts = data.beside
    if kind == "class":
        return Split.by_class(data.train, data.test, forget=classes_in(forget), **parts)
    if kind == "random":
        # What was set aside for testing stays there: a random share of the training samples is meant.
        ratio, seed = drawn(forget)
        return Split.random(data.train, data.test, ratio=ratio, seed=seed, **parts)
    if forget == CANARIES:
        # To no model are samples of a hold-out, under the labels that are theirs, like canaries under wrong ones; what compares with them is left out.
        return Split.by_index(data.train, data.test, forget=_inside(data), **{name: part for name, part in parts.items() if name != "holdout"})
    pool = data.train if data.whole is None else data.whole
    if kind == "index" and what:
        places = _places(Path(what), len(pool))
    elif kind == "files" and what:
        places = places_of_files(
            pool,
            _files(Path(what)),
            elsewhere={n: p for n, p in (("test", data.test), ("hold-out", data.holdout), ("unseen part", data.unseen)) if p is not None and data.whole is None},
        )
    elif kind == "where" and "=" in what:
        column, _, value = what.partition("=")
        places = _where(pool, column.strip(), value.strip())
    else:
        raise BadArgument(f"--forget {forget!r} is not of the form {GRAMMAR}")
    if data.whole is None:
        return Split.by_index(data.train, data.test, forget=places, **parts)
    gone = torch.zeros(len(pool), dtype=torch.bool)
    gone[torch.tensor(places, dtype=torch.long)] = True
    tested = torch.isin(torch.arange(len(pool)), data.test.index) & ~gone
    if not bool(tested.any()):
        raise BadArgument(f"{len(places)} of {len(pool)} samples are named to be forgotten, and none is left to test on; name fewer, or give a test part by --test")
    rest = (~tested).nonzero().flatten()
    own = torch.isin(rest, gone.nonzero().flatten()).nonzero().flatten()
    return Split.by_index(pool[rest], pool[tested], forget=own.tolist(), **parts)


def refuse_unknown(forget: str) -> None:
    """Refuse a request that is of no known form, before data are read.

    Raises:
        BadArgument: it is not of GRAMMAR.
        BadData: a list that is not there.
    """
    kind, _, what = forget.partition(":")
    if kind in ("where", "index", "files") and what.rpartition("=")[2].startswith(MARK):
        raise BadArgument(f"--forget {forget}: a record tells a name by a keyed hash alone, and from that it is not found; say in full what is meant")
    if kind == "class":
        classes_in(forget)
    elif kind == "random":
        drawn(forget)
    elif kind in ("index", "files") and what:
        _lines(Path(what))
    elif forget != CANARIES and (kind != "where" or not what.partition("=")[0].strip() or "=" not in what):
        raise BadArgument(f"--forget {forget!r} is not of the form {GRAMMAR}")


def classes_in(forget: str) -> list[str]:
    """The classes that `class:cat,dog` names, as given."""
    kind, colon, named = forget.partition(":")
    classes = [name.strip() for name in named.split(",") if name.strip()]
    if kind != "class" or not colon or not classes:
        raise BadArgument(f"--forget {forget!r} names no class; write class:3,5 or class:cat,dog")
    return classes


def drawn(forget: str) -> tuple[float, int]:
    """The share and the seed that `random:10%,seed=3` names.

    Raises:
        BadArgument: it is not of this form, or the share is none or all.

    >>> drawn("random:2.5%"), drawn("random:10%,seed=3")
    ((0.025, 0), (0.1, 3))
    """
    asked = re.fullmatch(r"random:\s*(\d+(?:\.\d+)?)%(?:,\s*seed=(\d{1,18}))?", forget)
    if asked is None or not 0 < float(asked[1]) < 100:
        raise BadArgument(f"--forget {forget!r} names no share of the training samples; write random:10%, or random:10%,seed=3")
    return float(asked[1]) / 100, int(asked[2] or 0)


def path_of(forget: str) -> Path | None:
    """The list that a request names, if it names one."""
    kind, _, what = forget.partition(":")
    return Path(what) if kind in ("index", "files") and what else None


def entries(forget: str) -> list[str]:
    """What stands on the list that a request names, if it names one: files or places, as they are written."""
    path = path_of(forget)
    return [] if path is None else _files(path) if forget.startswith("files:") else [line for _, line in _numbered(path)]


def shown(forget: str) -> str:
    """A request as commands and records say it: without the way to a list."""
    path = path_of(forget)
    return forget if path is None else f"{forget.partition(':')[0]}:{path.name}"


def digest(split: Split) -> str:
    """Hash of which samples are to be forgotten; with the data's own hash it says exactly which."""
    rows = sorted(zip(split.forget.which.tolist(), split.forget.index.tolist(), strict=True))
    return hashlib.sha256(",".join(f"{a}.{b}" for a, b in rows).encode()).hexdigest()


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise BadData(f"no file {path} that --forget could name")
    return disk.text(path).splitlines()


def _numbered(path: Path) -> list[tuple[int, str]]:
    """The lines of a file of places, by number; those that are blank or begin with # say nothing."""
    return [(number, line.strip()) for number, line in enumerate(_lines(path), 1) if line.strip() and not line.lstrip().startswith("#")]


def _places(path: Path, n: int) -> list[int]:
    """Places that a file names, one a line."""
    lines = _numbered(path)
    for number, line in lines:
        if not line.isdecimal() or len(line) > 18:
            raise BadArgument(f"{path.name}, line {number}: {line[:40]!r} is no place; write one number a line, from 0 to {n - 1}")
    places = [int(line) for _, line in lines]
    if not places:
        raise BadArgument(f"{path.name} names no sample; write one number a line, from 0 to {n - 1}")
    outside = [p for p in places if p >= n]
    if outside:
        raise BadArgument(f"{len(outside)} of {len(places)} places in {path.name} lie outside of the training samples, such as {outside[:3]}; they run from 0 to {n - 1}")
    twice = [p for p, count in Counter(places).items() if count > 1]
    if twice:
        raise BadArgument(f"{len(twice)} places are named twice or more in {path.name}, such as {twice[:3]}; name each once")
    return places


def _files(path: Path) -> list[str]:
    """File names that a list names: a column `file` or `path`, or one a line."""
    with wall(path.name, "write one file name a line, or a column file or path"):
        names = _listed([line for line in _lines(path) if line.strip()])
    if not names:
        raise BadArgument(f"{path.name} names no file; write one a line, or a column file or path")
    return names


def _listed(lines: list[str]) -> list[str]:
    head = [cell.strip().lower() for cell in next(csv.reader(lines[:1]), [])]
    column = next((head.index(name) for name in ("path", "file", "filename", "file_name") if name in head), None)
    rows = [[line.strip().strip('"')] for line in lines] if column is None else list(csv.reader(lines[1:]))
    return [row[column or 0].strip() for row in rows if len(row) > (column or 0) and row[column or 0].strip()]


def _inside(data: Data) -> list[int]:
    """Places in the training part of the canaries that are inside."""
    if data.canaries is None:
        raise BadArgument("--forget canaries: it is not said which they are; name the file that `untrain canaries` wrote by --canaries")
    known = set(overlap.places(data.canaries))
    return [i for i, place in enumerate(overlap.places(data.train)) if place in known]


def _where(pool: Samples, column: str, value: str) -> list[int]:
    """Places where a column says this, whatever type it has."""
    # Each NaN is another to Python, and all of them read the same.
    return places_where(pool, column, [held for held in pool.columns.get(column, ()) if str(held) == value] or [value])
