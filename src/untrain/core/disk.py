"""Files as bytes: written whole or not at all, and hashed. Imports no torch."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from untrain.core.errors import Resources


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, flushed to disk, then renamed.

    Raises:
        Resources: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, rights(0o666))
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Resources(f"{path} could not be written: {error.strerror or error}; no part of it was left") from error


def cache_root() -> Path:
    """Where decoded images are kept: UNTRAIN_CACHE, or a folder under the user's cache; a place where nothing can be where there is no home."""
    if named := os.environ.get("UNTRAIN_CACHE"):
        return Path(named)
    try:
        return Path.home() / ".cache" / "untrain"
    except RuntimeError:
        return Path(os.devnull) / "untrain"


def sha256(path: Path) -> str:
    """Hash of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def rights(whole: int) -> int:
    """Rights of a new file or folder: those that any program here would give it, 0o666 or 0o777 less the umask."""
    # umask() can be asked for only by setting it, which for that moment holds for all threads; Linux tells it besides.
    status = Path("/proc/self/status")
    told = next((line for line in status.read_text(encoding="ascii", errors="replace").splitlines() if line.startswith("Umask:")), None) if status.is_file() else None
    if told is not None:
        return whole & ~int(told.split()[1], 8)
    umask = os.umask(0o077)
    os.umask(umask)
    return whole & ~umask
