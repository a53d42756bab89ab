"""What a run's folder keeps to itself: the key of the hashes in its record, what was asked in full, and by that key what stood on the list that it forgot."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from untrain.core import disk
from untrain.core.errors import BadData, Resources
from untrain.core.wording import called
from untrain.evidence.record import LARGEST, dumps, plain_json
from untrain.sources.keyed import MARK, hashed, keyed, numbered
from untrain.sources.request import entries, shown
from untrain.verbs.inputs import Inputs

ASKED = ".request.json"
"""There only where a record tells of its request by a keyed hash: it holds the key and the request, can be read by its owner alone, and stays on the machine."""


def told(inputs: Inputs, classes: Sequence[int]) -> tuple[str, dict[str, Any] | None]:
    """A request as its record tells it, and what of it is kept beside the record.

    Args:
        inputs: The inputs, which name it.
        classes: The classes that it leads to, where it is one for classes.
    """
    if inputs.redact and classes:
        return numbered(classes), None
    key, short = secrets.token_bytes(32), shown(inputs.asked)
    hidden = keyed(short, key)
    if hidden == short:
        return short, None
    names = entries(inputs.asked)
    return hidden, {"key": key.hex(), "forget": short} | ({"list": sorted({hashed(name, key) for name in names})} if names else {})


def keep(run: Path, asked: dict[str, Any] | None) -> None:
    """Write it, for its owner's eyes; nothing where there is nothing to keep.

    Raises:
        Resources: it cannot be written.
    """
    if asked is None:
        return
    path = run / ASKED
    try:
        with suppress(FileNotFoundError):
            path.unlink()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600), "wb") as file:
            file.write(dumps(asked))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Resources(f"{path.name} could not be written: {error.strerror or error}; make room, or give another place") from error


def kept(run: Path, forget: str) -> str | None:
    """The request of a run in full, where its record tells a keyed hash; None where that is lost, or nothing was hidden.

    Args:
        run: The run's folder.
        forget: The request as the record tells it.

    Raises:
        BadData: what is kept is not what was asked: its hash by its key is another.
    """
    found = _kept(run, forget)
    return None if found is None else str(found["forget"])


def holds(run: Path, forget: str, names: Collection[str]) -> bool:
    """Whether all of these stood on the list that a run forgot; not, where that is lost.

    Args:
        run: The run's folder.
        forget: The request as the record tells it.
        names: What a list names.

    Raises:
        BadData: what is kept is not what was asked.
    """
    found = _kept(run, forget)
    return found is not None and bool(names) and {hashed(name, bytes.fromhex(found["key"])) for name in names} <= set(found.get("list", ()))


def _kept(run: Path, forget: str) -> dict[str, Any] | None:
    path = run / ASKED
    if MARK not in forget or not path.is_file() or path.is_symlink():
        return None
    try:
        found: dict[str, Any] = plain_json(disk.read(path, LARGEST), ASKED)
        told = keyed(found["forget"], bytes.fromhex(found["key"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadData) as error:
        raise BadData(f"{ASKED} in {called(run)} is not what untrain wrote; remove it, and say by --forget what the run was to forget") from error
    if told != forget:
        raise BadData(f"{ASKED} in {called(run)} tells of another request than the record; remove it, and say by --forget what the run was to forget")
    return found
