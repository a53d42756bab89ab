"""Records that lie about a run: those of other runs beside it, and that of the run whose result it took."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from untrain.core.errors import BadData
from untrain.evidence import record as records
from untrain.evidence import seal
from untrain.verbs.run_files import RECORD

FOLDERS = 1000
"""Entries of a folder that are looked at for runs beside one."""


def chain(record: dict[str, Any], out: Path, *origins: Path | None) -> dict[str, Any]:
    """What a new record says of those before it.

    Args:
        record: The record that is being made.
        out: The folder of its run; runs that lie beside it for the same request, on the same model and data, are earlier attempts.
        origins: Folders or files that the original came from, where one was named.
    """
    parent = next((found for origin in origins if origin is not None and (found := _wrote(origin, record["model"]["sha256"]))), None)
    tried = seal.attempts(record, [found for _, found in beside(out)])
    return {"attempts": tried, "requests": [] if parent is None else seal.requests(parent), "audits": []}


def beside(run: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The records of other runs in the folder that a run lies in."""
    run = run.absolute()
    for folder in sorted(islice(run.parent.iterdir(), FOLDERS)):
        if folder != run and (found := readable(folder)) is not None:
            yield folder, found


def readable(folder: Path) -> dict[str, Any] | None:
    """A folder's record, if it holds a whole one."""
    if not (folder / RECORD).is_file() or (folder / RECORD).is_symlink():
        return None
    try:
        found = records.read(folder)
        seal.asked(found), seal.chained(found), found["output"]["sha256"], found["verdict"]
    except (BadData, OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        # What lies beside a run may be anything.
        return None
    return found


def _wrote(origin: Path, sha256: str) -> dict[str, Any] | None:
    """The record of the run that wrote these weights, if they lie where they were written."""
    found = readable(origin if origin.is_dir() else origin.parent)
    return found if found is not None and found["output"]["sha256"] == sha256 else None
