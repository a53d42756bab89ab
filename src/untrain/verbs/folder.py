"""The folder of a run.

It is written by one process at a time. While work goes on its state lies in `.state`, so that a killed run, called
again with the same arguments, goes on to the same bits. The weights are written first and the record last; `.state`
goes when both are there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist

from untrain.core import files
from untrain.core.disk import rights
from untrain.core.errors import BadArgument, BadData, Diverged, Locked, Resources
from untrain.evidence import record as records
from untrain.verbs.run_files import INPUTS, RECORD, STATE, refuse_unwritable


def read_record(run: Path) -> dict[str, Any]:
    """The record of a run's folder.

    Raises:
        BadData: there is no such folder, the run has not ended, or the record is broken.
    """
    if not run.exists():
        raise BadData(f"no folder {run}; give the folder that a run was written to")
    if (run / STATE).is_dir() and not (run / RECORD).is_file():
        raise BadData(f"{run.name} holds a run that has not ended; call it again with the same arguments, and it goes on")
    return records.read(run)


def refuse_output(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse an output that is an input, or that exists and is not a killed run."""
    if not os.path.lexists(out):
        refuse_unwritable(out)
        return
    if any(p.exists() and out.exists() and p.samefile(out) for p in inputs):
        raise BadArgument(f"--out {out.name} is an input of this run; give another folder")
    if not (out / STATE / "arguments.json").is_file():
        raise BadArgument(f"--out {out.name} exists; give another folder, or remove it")


def _refuse_other_arguments(out: Path, arguments: dict[str, Any]) -> None:
    path = out / STATE / "arguments.json"
    if not path.is_file():
        raise BadArgument(f"--out {out.name} exists; give another folder, or remove it")
    before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(records.dumps(arguments))
    differ = [f"{name} was {json.dumps(before.get(name))} and is {json.dumps(now.get(name))}" for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if differ:
        raise BadArgument(f"--out {out.name} holds a killed run of other arguments: {'; '.join(differ)}; give those, another folder, or remove it")


@contextlib.contextmanager
def writing(out: Path, arguments: dict[str, Any]) -> Iterator[Path]:
    """The folder of a run that is going on: yields where its state is kept, and clears that when all is done.

    What ends in a refusal leaves nothing behind; what is killed leaves its state. The first rank makes, locks and clears the folder.
    """
    state = out / STATE
    if dist.is_available() and dist.is_initialized():
        first = dist.get_rank() == 0
        if not first:
            dist.barrier()
            yield state
            return
    made = [p for p in (out, *out.absolute().parents) if not p.exists()]
    if not os.path.lexists(out):
        _make(out, arguments)
    try:
        with locked(out):
            _refuse_other_arguments(out, arguments)
            for orphan in [*out.glob(".*.tmp"), *state.glob(".*.tmp")]:
                orphan.unlink()
            if dist.is_available() and dist.is_initialized():
                dist.barrier()
            try:
                yield state
            except (BadArgument, BadData, Diverged):
                shutil.rmtree(state)
                raise
            (state / "arguments.json").unlink()
            shutil.rmtree(state)
    except (BadArgument, BadData, Diverged):
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def _make(out: Path, arguments: dict[str, Any]) -> None:
    """Make the folder with its arguments in it at one stroke, so that a kill leaves either nothing or a run that goes on."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
        try:
            fresh.chmod(rights(0o777))
            files.write(fresh / STATE / "arguments.json", records.dumps(arguments))
            fresh.rename(out)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        # Where another process made it in the meantime, the lock decides.
        if not out.is_dir():
            raise Resources(f"{out.name} could not be made: {error.strerror or error}; give another place") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; it goes with the process, however that ends.

    Raises:
        Locked: another process holds it.
    """
    path = folder / ".lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise Locked(f"{folder.name} is being written by another process ({file.read().strip() or 'unknown'}); wait for it, or give another folder") from error
        # Between opening and locking its owner may have ended and removed the file.
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise Locked(f"{folder.name} was being written by another process until now; try again")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def note_inputs(out: Path, paths: Mapping[str, Path]) -> None:
    """Note where inputs lay, seen from the folder; nothing is written where none was named by path."""
    noted = {name: os.path.relpath(path.resolve(), out.resolve()) for name, path in paths.items()}
    if noted:
        files.write(out / INPUTS, records.dumps(noted))


def noted_inputs(run: Path) -> dict[str, Path]:
    """Where a run's inputs lay, as it was noted."""
    path = run / INPUTS
    return {name: Path(os.path.normpath(run.resolve() / value)) for name, value in json.loads(path.read_text(encoding="utf-8")).items()} if path.is_file() else {}
