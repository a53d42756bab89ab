"""What is kept of data between calls: where it lies, who may read it, and when it goes. Imports no torch.

Pixels of images that were decoded once lie in a folder that its owner alone can open. A run that forgets, or that audits one
that did, removes those of its data when it ends, however it ends: what is to be forgotten is not to stay behind in a cache.
Sizes and hashes stay: their names and contents are hashes and numbers.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from untrain.core.disk import cache_root

FOLDER = "data"
"""Name of the folder in the cache."""

KINDS = {
    "npy": "decoded images",
    "images": "encoded images",
    "tmp": "half written",
    "sizes.json": "sizes of images",
    "seen": "that all images can be decoded",
    "hashes.json": "hashes of files",
}
"""What a file of the cache holds, by how its name ends."""

PICTURES = ("npy", "images", "tmp")
"""Endings of those that show something."""

_NAME = re.compile(r"\.?[0-9a-f]{64}\.(?:\d+\.|[\w.]+\.)?(?P<kind>npy|images|tmp|sizes\.json|seen|hashes\.json)")


@dataclass(frozen=True)
class Kept:
    """A file of the cache.

    Args:
        path: The file.
        kind: What it holds.
        bytes: How long it is.
        when: When it was written, in seconds since 1970.
    """

    path: Path
    kind: str
    bytes: int
    when: float


def place() -> Path:
    """The folder, made so that its owner alone can open it; a place where nothing can be where another owns it or none can be made."""
    folder = cache_root() / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
            return Path(os.devnull) / "untrain"
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError:
        return Path(os.devnull) / "untrain"
    return folder


_used: set[Path] = set()
_lock = threading.Lock()


def used(path: Path) -> Path:
    """Note that pictures of this process's data lie here; gives the path back."""
    with _lock:
        _used.add(path)
    return path


@contextmanager
def forgetting() -> Iterator[None]:
    """Remove the pictures that were read or kept while the block runs, when it ends."""
    with _apart() as mine:
        try:
            yield
        finally:
            for path in set(mine):
                with suppress(OSError):
                    path.unlink()


@contextmanager
def public() -> Iterator[None]:
    """Data that everybody has stay in the cache."""
    with _apart():
        yield


@contextmanager
def _apart() -> Iterator[set[Path]]:
    """What is used while the block runs, by itself."""
    with _lock:
        before = set(_used)
        _used.clear()
    try:
        yield _used
    finally:
        with _lock:
            _used.clear()
            _used.update(before)


def listed() -> list[Kept]:
    """What is kept, the longest first: in the folder, and where earlier versions put it."""
    found = []
    for folder in (cache_root() / FOLDER, cache_root()):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                named = _NAME.fullmatch(entry.name)
                if named and entry.is_file(follow_symlinks=False):
                    told = entry.stat(follow_symlinks=False)
                    found.append(Kept(Path(entry.path), KINDS[named["kind"]], told.st_size, told.st_mtime))
    return sorted(found, key=lambda kept: (-kept.bytes, kept.path.name))


def clear() -> list[Kept]:
    """Remove it; what was removed."""
    gone = []
    for kept in listed():
        with suppress(OSError):
            kept.path.unlink()
            gone.append(kept)
    return gone
