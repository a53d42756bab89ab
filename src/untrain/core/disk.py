"""Files as bytes: read where they are files, written whole or not at all, hashed, and watched. Imports no torch."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from untrain.core.errors import BadData, Resources

LARGEST = 2**30
"""Bytes of a text or an image beyond which it is taken for something else."""

TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")
"""How what is being written is called."""

UNFLUSHED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES)
"""What file systems answer that cannot flush a folder."""


def opened(path: Path, flags: int = os.O_RDONLY) -> int:
    """A file's descriptor, where it is a file: a pipe or a device would be waited for, or read, without end.

    Raises:
        OSError: it is not there, cannot be read, or is no regular file.
    """
    try:
        handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except ValueError as error:
        raise OSError(errno.EINVAL, "a name with a zero byte", str(path).replace("\0", "\\0")) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return handle


def read(path: Path, largest: int = LARGEST) -> bytes:
    """A regular file's bytes.

    Raises:
        OSError: it is not there, cannot be read, is no regular file, or is larger than that.
    """
    with os.fdopen(opened(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > largest:
            raise OSError(errno.EFBIG, f"larger than {largest:,} bytes", str(path))
        return file.read()


def text(path: Path) -> str:
    """The text of a file.

    Raises:
        BadData: it is no regular file, or not UTF-8.
    """
    try:
        return read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{path.name} is not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise BadData(f"{path.name} cannot be read ({error.strerror or error}); give a file of text") from error


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, flushed to disk, then renamed.

    What an earlier writing of it left behind when it was killed is removed.

    Raises:
        Resources: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        handle, temporary = _beside(path)
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
    except OSError as error:
        raise Resources(f"{path} could not be written: {error.strerror or error}; no part of it was left") from error
    flush(path.parent)


def _beside(path: Path) -> tuple[int, str]:
    """A temporary file beside another, held by a lock: whoever sweeps sees by it that it is being written."""
    while True:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # It was swept before it was held.
            os.close(handle)
            continue
        except OSError:
            # No locks here, so that nobody sweeps either.
            return handle, temporary
        if os.path.exists(temporary):
            return handle, temporary
        os.close(handle)


def flush(folder: Path) -> None:
    """Flush a folder, so that what was renamed in it outlasts a power cut; a note where its file system cannot.

    Raises:
        Resources: the disk failed. What was written stands there, and may not outlast a power cut.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in UNFLUSHED:
            raise Resources(f"{folder} could not be flushed: {error.strerror or error}; what was written into it is there, and a power cut could take it") from error
        if not _unflushed:
            logging.getLogger("untrain").warning("untrain: the file system of %s cannot flush folders: what was written there last may not outlast a power cut", folder.name)
            _unflushed.append(folder)


_unflushed = list[Path]()
"""Where it was told once."""


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what a killed writing left in a folder: temporary files of this name, or of any, that nobody holds any more."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ours = TEMPORARY.fullmatch(entry.name) if name is None else entry.name.startswith(f".{name}.") and TEMPORARY.fullmatch(entry.name)
            if not ours or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(OSError), os.fdopen(opened(Path(entry.path), os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry.path)


def at_home(way: str) -> str:
    """A way with `~` as the home that it stands for, where there is one."""
    return os.path.expanduser(way)


def cache_root() -> Path:
    """Where decoded images are kept: UNTRAIN_CACHE, or a folder under the user's cache; a place where nothing can be where there is no home."""
    if named := os.environ.get("UNTRAIN_CACHE"):
        return Path(at_home(named))
    try:
        return Path.home() / ".cache" / "untrain"
    except RuntimeError:
        return Path(os.devnull) / "untrain"


def sha256(path: Path) -> str:
    """Hash of a file's bytes, read in pieces.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    digest = hashlib.sha256()
    with os.fdopen(opened(path), "rb") as file:
        before = mark(os.fstat(file.fileno()))
        while piece := file.read(1 << 20):
            digest.update(piece)
    found = digest.hexdigest()
    note(path, before, found)
    return found


def mark(found: os.stat_result) -> list[int]:
    """What tells that a file was written to: size, times of change, and which file it is."""
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


_watched: dict[Path, tuple[list[int], str]] | None = None


@contextmanager
def watching() -> Iterator[None]:
    """Remember each file that is hashed while the block runs, by any thread, so that `changed` can tell."""
    global _watched
    before, _watched = _watched, {}
    try:
        yield
    finally:
        _watched = before


def note(path: Path, mark: list[int], digest: str) -> None:
    """Remember a file by its mark and hash, where files are watched."""
    if _watched is not None:
        _watched[path.absolute()] = (mark, digest)


def refuse_changed() -> None:
    """Refuse what was read while it is no longer what it was.

    Raises:
        BadData: how many files changed, and the first three.
    """
    global _watched
    known, _watched = _watched, None
    changed = []
    try:
        for path, (before, digest) in (known or {}).items():
            try:
                if mark(os.stat(path)) != before and sha256(path) != digest:
                    changed.append(path.name)
            except OSError:
                changed.append(f"{path.name} (gone)")
    finally:
        _watched = known
    if changed:
        some = f"{', '.join(changed[:3])}{', ...' if len(changed) > 3 else ''}"
        raise BadData(f"{len(changed)} files changed while they were worked with: {some}; nothing was written: see to it that they stay, and run it again")


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
