"""Names of the files in a run's folder, and places where nothing can be written. Importing it imports no torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from untrain.core.errors import BadData, Resources
from untrain.core.wording import called

WEIGHTS, RECORD, TRAINING, PAGE = "model.safetensors", "record.json", "train.json", "report.html"

STATE = ".state"
"""Folder of the state of a run that goes on."""

INPUTS = ".inputs.json"
"""There only where inputs were named by path: it says where, seen from the folder, and stays on the machine."""


def weights_in(paths: Iterable[Path]) -> list[Path]:
    """The files of weights that are named; a folder stands for the `.safetensors` in it, such as those of `untrain reference`.

    Raises:
        BadData: a folder that holds none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.safetensors"), key=lambda p: (len(p.name), p.name)) if path.is_dir() else [path]
        if not inside:
            raise BadData(f"the folder {path.name} holds no weights (.safetensors); `untrain reference` trains models that never saw the forgotten data")
        found += inside
    return found


def hashes(record: Mapping[str, Any]) -> dict[str, str]:
    """The hashes of what a run wrote that makes its model: its weights, and what their library reads beside them, by names in the run's folder.

    The weights are those of the name that untrain writes: a record does not say which files of a machine are read.
    """
    return {WEIGHTS: record["output"]["sha256"]} | {Path(name).name: sha256 for name, sha256 in sorted(record["output"].get("beside", {}).items())}


def refuse_unwritable(path: Path) -> None:
    """Refuse a place where nothing can be written.

    Raises:
        Resources: it is one.
    """
    there = next(p for p in path.absolute().parents if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise Resources(f"{called(path)} cannot be written: {there} is {'not writable' if there.is_dir() else 'not a folder'}; give another place")


def refuse_full(out: Path, room: int) -> None:
    """Refuse to begin where the disk has not the room.

    Raises:
        Resources: it has not.
    """
    there = next(p for p in (out, *out.absolute().parents) if p.exists())
    try:
        free = shutil.disk_usage(there).free
    except OSError:
        return
    if free < room:
        raise Resources(f"{called(out)} may take {room:,} bytes, and the disk has {free:,} free; make room, or give another place")
