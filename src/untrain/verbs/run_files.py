"""Names of the files in a run's folder, and places where nothing can be written. Importing it imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from untrain.core.errors import Resources

WEIGHTS, RECORD, TRAINING, PAGE = "model.safetensors", "record.json", "train.json", "report.html"

STATE = ".state"
"""Folder of the state of a run that goes on."""

INPUTS = ".inputs.json"
"""There only where inputs were named by path: it says where, seen from the folder, and stays on the machine."""


def refuse_unwritable(path: Path) -> None:
    """Refuse a place where nothing can be written.

    Raises:
        Resources: it is one.
    """
    there = next(p for p in path.absolute().parents if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise Resources(f"{path.name} cannot be written: {there} is {'not writable' if there.is_dir() else 'not a folder'}; give another place")
