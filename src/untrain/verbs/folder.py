"""The folder of a run.

It is written by one process at a time. While work goes on its state lies in `.state`, so that a killed run, called
again with the same arguments, goes on to the same bits. The weights are written first and the record last; `.state`
goes when both are there, at one stroke. A folder may come from a stranger: nothing is written through a link in it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist

from untrain.core import disk, files
from untrain.core.disk import rights
from untrain.core.errors import BadArgument, BadData, Diverged, Locked, Resources
from untrain.core.wording import called
from untrain.evidence import record as records
from untrain.sources.libraries.functions import blamed
from untrain.verbs.run_files import INPUTS, RECORD, STATE, refuse_full, refuse_unwritable

LOCKED = ".lock"
"""The file of a folder's lock."""

LOCK = "process "
"""How the line begins that is in a lock."""


def folder_of(run: Path) -> Path:
    """The folder of a run, which its record may stand for."""
    return run.parent if run.name == RECORD and run.is_file() else run


def read_record(run: Path) -> dict[str, Any]:
    """The record of a run's folder.

    Raises:
        BadData: there is no such folder, the run has not ended, or the record is broken, or names a file that is not beside it.
    """
    if not run.exists():
        raise BadData(f"no folder {run}; give the folder that a run was written to")
    if (run / STATE).is_dir() and not (run / RECORD).is_file():
        raise BadData(f"{called(run)} holds a run that has not ended; call it again with the same arguments, and it goes on")
    return records.read(run)


def refuse_output(out: Path, inputs: Mapping[str, Path]) -> None:
    """Refuse an output that is an input, lies within one, or exists and is not a killed run.

    Args:
        out: The folder to write.
        inputs: Folders and files that are read, by the flag that names them.
    """
    refuse_among(out, inputs)
    if not os.path.lexists(out):
        refuse_unwritable(out)
        return
    _refuse_links(out)
    if not (out / STATE / "arguments.json").is_file():
        sweep(out)
        raise BadArgument(f"--out {called(out)} exists and {_there(out, inputs)}")


def refuse_among(out: Path, inputs: Mapping[str, Path], flag: str = "--out") -> None:
    """Refuse an output that is read itself, or lies below a folder that is: the next reading would find it there.

    Args:
        out: What is to be written.
        inputs: Folders and files that are read, by the flag that names them.
        flag: The flag that names the output.
    """
    above = [parent for parent in out.absolute().resolve().parents if parent.exists()]
    for name, path in inputs.items():
        if path.exists() and out.exists() and path.samefile(out):
            raise BadArgument(f"{flag} {called(out)} is an input of this run, by {_flag(name)}; give another place")
        # The folder of the known data holds each in a folder of its own.
        if name != "data_root" and path.is_dir() and any(parent.samefile(path) for parent in above):
            raise BadArgument(f"{flag} {called(out)} lies in {called(path)}, which {_flag(name)} reads; give a place outside of it")


def _flag(name: str) -> str:
    """The flag of a field; one that is given several times has a number behind it."""
    return f"--{name.partition(' ')[0].replace('_', '-')}"


def _there(out: Path, inputs: Mapping[str, Path]) -> str:
    """What stands where a run is to be written, and the way out: none is told to remove what is not a run's."""
    if not out.is_dir():
        return "is no folder; give the name of one that is not there yet"
    held = next((name for name, path in inputs.items() if path.exists() and any(parent.samefile(out) for parent in path.resolve().parents)), None)
    if held is not None:
        return f"holds {called(inputs[held])}, which {_flag(held)} reads; give a folder that is not there yet"
    if (out / RECORD).is_file():
        return "holds a run that has ended; give another folder, or remove it"
    first = min((path.name for path in out.iterdir()), default=None)
    return "is empty; give another folder, or remove it" if first is None else f"holds other things, such as {first}; give a folder that is not there yet"


def _refuse_links(out: Path) -> None:
    """Refuse to write into a folder in which a link stands where state is kept: it would lead the writing elsewhere."""
    link = next((name for name in (STATE, LOCKED) if (out / name).is_symlink()), None)
    if link is not None:
        raise BadData(f"{link} in {called(out)} is a link, which is not followed; remove it")


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a run's folder: half-written files, state that was being removed, a lock that nobody holds."""
    disk.sweep(folder)
    with contextlib.suppress(OSError), os.fdopen(disk.opened(folder / LOCKED, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        # One without a word is of a process that was killed before it had said who it was, where the folder is a run's; elsewhere it is another's.
        ours = (folder / STATE).is_dir() or (folder / RECORD).is_file()
        if file.read(len(LOCK)) in ((b"", LOCK.encode()) if ours else (LOCK.encode(),)):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / LOCKED).unlink()
    for left in folder.glob(f"{STATE}.*.tmp"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def _refuse_other_arguments(out: Path, arguments: dict[str, Any]) -> None:
    path = out / STATE / "arguments.json"
    if not path.is_file():
        raise BadArgument(f"--out {called(out)} exists; give another folder, or remove it")
    way = "give those, another folder, or remove it"
    try:
        before, now = records.plain_json(disk.read(path), path.name), json.loads(records.dumps(arguments))
    except (BadData, OSError) as error:
        raise BadData(f"--out {called(out)} holds a killed run, and what of cannot be read any more (arguments.json); give another folder, or remove it") from error
    if not isinstance(before, dict):
        raise BadData(f"--out {called(out)} holds a killed run, and what of cannot be read any more (arguments.json); give another folder, or remove it")
    differ = [f"{name} was {json.dumps(before.get(name))} and is {json.dumps(now.get(name))}" for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if differ:
        raise BadArgument(f"--out {called(out)} holds a killed run of other arguments: {'; '.join(differ)}; {way}")


@contextlib.contextmanager
def writing(out: Path, arguments: dict[str, Any], room: int = 0) -> Iterator[Path]:
    """The folder of a run that is going on: yields where its state is kept, and clears that when all is done.

    What ends in a refusal, one of the user's own code included, or of a machine before any work was saved, leaves nothing behind; what is killed leaves its state.
    The first rank makes, locks and clears the folder.

    Args:
        out: The folder.
        arguments: What tells this run from another.
        room: Bytes that it will take.
    """
    state = out / STATE
    if dist.is_available() and dist.is_initialized():
        first = dist.get_rank() == 0
        if not first:
            dist.barrier()
            yield state
            return
    made = [p for p in (out, *out.absolute().parents) if not p.exists()]
    refuse_full(out, room)
    if not os.path.lexists(out):
        _make(out, arguments)
    try:
        with locked(out):
            _refuse_other_arguments(out, arguments)
            for orphan in [*out.glob(".*.tmp"), *state.glob(".*.tmp")]:
                if orphan.is_symlink() or not orphan.is_dir():
                    orphan.unlink()
            sweep(out)
            if dist.is_available() and dist.is_initialized():
                dist.barrier()
            try:
                yield state
            except BaseException as error:
                theirs = blamed(error)
                if theirs is None and not isinstance(error, BadArgument | BadData | Diverged) and not (isinstance(error, Resources) and _unbegun(state)):
                    raise
                shutil.rmtree(state)
                # It was made for this run, by this call or an earlier one.
                made = made or [out]
                if theirs is not None:
                    raise theirs from error
                raise
            _clear(state)
    except (BadArgument, BadData, Diverged, Resources):
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def _unbegun(state: Path) -> bool:
    """Whether nothing of the work was saved yet."""
    return state.is_dir() and {path.name for path in state.iterdir()} <= {"arguments.json"}


def _clear(state: Path) -> None:
    """Remove a state at one stroke: it is there whole, or it is not there."""
    shutil.rmtree(state.rename(state.with_name(f"{STATE}.{os.getpid()}.tmp")), ignore_errors=True)


def _make(out: Path, arguments: dict[str, Any]) -> None:
    """Make the folder with its arguments in it at one stroke, so that a kill leaves either nothing or a run that goes on."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep_beside(out)
        fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
        with _held(fresh):
            try:
                fresh.chmod(rights(0o777))
                files.write(fresh / STATE / "arguments.json", records.dumps(arguments))
                fresh.rename(out)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        # Where another process made it in the meantime, the lock decides.
        if not out.is_dir():
            raise Resources(f"{called(out)} could not be made: {error.strerror or error}; give another place") from error


def _sweep_beside(out: Path) -> None:
    """Remove what was made for this folder by a process that was killed before it had its name."""
    for left in out.parent.glob(f".{glob.escape(out.name)}.????????.tmp"):
        if left.is_dir() and not left.is_symlink() and {p.name for p in left.iterdir()} <= {STATE}:
            with contextlib.suppress(OSError), _held(left):
                shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder against those who sweep, for as long as this process lives."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; it goes with the process, however that ends.

    Raises:
        BadData: a link, a pipe or a file of another's stands in the lock's place.
        Locked: another process holds it.
        Resources: this file system has no locks.
    """
    path = folder / LOCKED
    other = f".lock in {folder.name} is none of untrain's (a link, or a file of another's making); remove it"
    try:
        handle = disk.opened(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EISDIR):
            raise BadData(other) from error
        raise Resources(f"{folder.name} cannot be locked: {error.strerror or error}; see to its rights, or give another place") from error
    with os.fdopen(handle, "r+", encoding="utf-8", errors="replace") as file:
        said = file.read(200)
        # Another name of the same file would be emptied with it.
        if os.fstat(handle).st_nlink > 1 or (said and not said.startswith(LOCK)):
            raise BadData(other)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(f"{folder.name} is being written by another process ({said.strip() or 'unknown'}); wait for it, or give another folder") from error
        except OSError as error:
            raise Resources(f"{folder.name} cannot be locked: {error.strerror or error}; give a place on a file system that has locks") from error
        # Between opening and locking its owner may have ended and removed the file.
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise Locked(f"{folder.name} was being written by another process until now; try again")
        file.seek(0)
        file.truncate(0)
        file.write(f"{LOCK}{os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            # What cannot be removed holds nobody up: its owner is gone.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def note_inputs(out: Path, paths: Mapping[str, Path]) -> None:
    """Note where inputs lay, seen from the folder; nothing is written where none was named by path."""
    noted = {name: os.path.relpath(path.resolve(), out.resolve()) for name, path in paths.items()}
    if noted:
        files.write(out / INPUTS, records.dumps(noted))
        (out / INPUTS).chmod(0o600)


def noted_inputs(run: Path) -> dict[str, Path]:
    """Where a run's inputs lay, as it was noted.

    Raises:
        BadData: the note is not an object of paths.
    """
    path = run / INPUTS
    if not path.is_file():
        return {}
    said = records.plain_json(disk.read(path, 2**20), INPUTS)
    if not isinstance(said, dict) or not all(isinstance(value, str) and value and "\0" not in value for value in said.values()):
        raise BadData(f"{INPUTS} in {called(run)} is not a list of where inputs lie; remove it, and name them anew")
    return {name: Path(os.path.normpath(run.resolve() / value)) for name, value in said.items()}
