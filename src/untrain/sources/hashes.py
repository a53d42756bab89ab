"""Hashes of a user's files, kept by size and times of change, so that a verb does not read again what another has read.

The cache holds no name of a file: its keys are hashes of paths. A file that was changed and given its old size and time of
change back has another time of its entry, which no program can set.
"""

from __future__ import annotations

import errno
import hashlib
import json
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from untrain.core import disk
from untrain.core.errors import Resources
from untrain.sources import cache

WORTH = 100
"""Files from which on their hashes are kept."""

SETTLED = 2.0
"""Seconds that a file must have lain: clocks of file systems are coarse, and a change within a tick would not be seen."""


class Hashes:
    """The hashes of files below a folder; threads may ask.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = cache.place() / f"{_short(str(root.resolve()))}.hashes.json"
        self.kept, self.seen = _read(self.file), dict[str, list[Any]]()

    def of(self, path: str) -> str:
        """The hash of a file's bytes.

        Raises:
            OSError: it cannot be read, or is no regular file.
        """
        file, key = self.root / path, _short(path)
        mark = _mark(file)
        known = self.kept.get(key)
        if known is not None and known[:-1] == mark:
            self.seen[key] = known
            disk.note(file, mark, str(known[-1]))
            return str(known[-1])
        digest = disk.sha256(file)
        if _mark(file) == mark and time.time() - max(mark[1:3]) / 1e9 > SETTLED:
            self.seen[key] = [*mark, digest]
        return digest

    def keep(self) -> None:
        """Keep what was asked for; what is no longer there is forgotten. A cache that cannot be written costs time, and nothing else."""
        if self.seen != self.kept and len(self.seen) >= WORTH:
            with suppress(Resources):
                disk.write(self.file, json.dumps(self.seen).encode())


def _mark(file: Path) -> list[int]:
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(file))
    return disk.mark(found)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _read(file: Path) -> dict[str, list[Any]]:
    try:
        kept = json.loads(disk.read(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return {k: v for k, v in kept.items() if isinstance(v, list) and len(v) == 5 and isinstance(v[-1], str)} if isinstance(kept, dict) else {}
