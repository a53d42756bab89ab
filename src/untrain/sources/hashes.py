"""Hashes of a user's files, kept by size and times of change, so that a verb does not read again what another has read.

The cache holds no name of a file: its keys are hashes of paths. A file that was changed and given its old size and time of
change back has another time of its entry, which no program can set.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from untrain.core import disk
from untrain.core.errors import Resources

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
        self.file = disk.cache_root() / f"{_short(str(root.resolve()))}.hashes.json"
        self.kept, self.seen = _read(self.file), dict[str, list[Any]]()

    def of(self, path: str) -> str:
        """The hash of a file's bytes.

        Raises:
            OSError: it cannot be read.
        """
        file, key = self.root / path, _short(path)
        mark = _mark(file)
        known = self.kept.get(key)
        if known is not None and known[:-1] == mark:
            self.seen[key] = known
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
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _read(file: Path) -> dict[str, list[Any]]:
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in kept.items() if isinstance(v, list) and len(v) == 5} if isinstance(kept, dict) else {}
