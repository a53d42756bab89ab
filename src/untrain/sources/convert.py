"""`.pt`, `.pth` and Lightning `.ckpt` to safetensors, without running what a stranger put into them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, cast

from safetensors import SafetensorError, deserialize

from untrain.core import disk
from untrain.core.errors import BadArgument, BadData
from untrain.core.wording import called
from untrain.sources.plainfile import entitled
from untrain.sources.seccomp import TOLD


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Args:
        file: Name of the file that was written.
        sha256: Hash of its bytes.
        source_sha256: Hash of the bytes of the file that was read.
        tensors: How many tensors it holds.
        notes: What was taken, taken off and left out, a sentence each.
        wall: Behind what the file was read.
    """

    file: str
    sha256: str
    source_sha256: str
    tensors: int
    notes: tuple[str, ...]
    wall: str


HOLE = (2, 10)
"""The first torch whose reading of pickles with `weights_only=True` has no known hole: CVE-2026-24747 was mended in 2.10.0, CVE-2025-32434 in 2.6.0."""


def convert(source: Path, out: Path, *, network: str | None = None, drop: Sequence[str] = ()) -> Converted:
    """Write a checkpoint's state dict as safetensors; the pickle is read with `weights_only=True`, in a process of its own.

    That process has limits on memory and time, opens no further file and writes to none; on Linux the kernel refuses it every call but a few (`seccomp`); where
    bubblewrap or `unshare` is there and lets it, it has no network and sees no other process, and with the former a file system that cannot be written. The
    answer says how high that wall is.
    Shared tensors are written each for itself. Neither it nor this one imports torch for a plain state dict: of 17.6 s of CPU for a file of 3 MB,
    .8 are left, half of it the command line.

    Args:
        source: A `.pt`, `.pth`, `.ckpt` or `.bin` file, or a `.safetensors` file of which a part is wanted.
        out: The file to write; it must not exist, and its name ends in `.safetensors`.
        network: Which part, where there are several: the name it stands under, or what the names of its entries begin with; `.` for all.
        drop: Entries to leave out: their names, or what these begin with, such as `criterion`.

    Raises:
        BadArgument: the output exists or has another name.
        BadData: no such file, a pickled object, several networks and none named, or a torch whose reading of pickles has a known hole.
        Resources: the output could not be written.
    """
    if not source.is_file():
        raise BadData(f"no file {source}; name a checkpoint of PyTorch (.pt, .pth, .ckpt)")
    if out.suffix != ".safetensors":
        raise BadArgument(f"{called(out)} does not end in .safetensors; give such a name by -o")
    if os.path.lexists(out):
        raise BadArgument(f"{called(out)} exists; give another name by -o, or remove it")
    plain, notes, wall = _sandboxed(source, network, drop)
    digest = disk.sha256(source)
    try:
        # What came out of there is not trusted either: the library that will read it looks at it first.
        cast(Any, deserialize)(plain)
    except SafetensorError as error:
        raise BadData(f"{source.name} was not converted: what came of it is not whole ({error}); get it anew") from error
    data, tensors = entitled(plain, {"untrain": json.dumps({"verb": "convert", "source": digest}, sort_keys=True)})
    disk.write(out, data)
    return Converted(out.name, disk.sha256(out), digest, tensors, notes, wall)


def _sandboxed(source: Path, network: str | None, drop: Sequence[str]) -> tuple[bytes, tuple[str, ...], str]:
    """The tensors as safetensors, what to tell of them, and the wall."""
    wall, prefix = enclosure(source)
    plain, answer = _asked(source, prefix, "plain", network or "", *drop)
    if "unknown" in answer:
        # A form of file or an object that torch may know.
        _refuse_holes(source)
        plain, answer = _asked(source, prefix, "torch", network or "", *drop)
    notes, held = answer.get("notes", []), answer.get("holds")
    if isinstance(answer.get("error"), str):
        raise BadData(f"{source.name} was not converted: {answer['error']}")
    if "error" in answer or not (isinstance(notes, list) and all(isinstance(n, str) for n in notes) and isinstance(held, dict) and all(type(h) is bool for h in held.values())):
        raise BadData(f"{source.name} was not converted: what came of it is not whole; get it anew")
    return plain, tuple(notes), _told(wall, held)


def _refuse_holes(source: Path) -> None:
    """Refuse to let a torch with a known hole read a pickle; safetensors are none."""
    found = version("torch")
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if source.suffix != ".safetensors" and numbers < HOLE:
        fact = f"only torch can read it, and torch {found} has a known hole in reading pickles (CVE-2026-24747, mended in 2.10.0)"
        raise BadData(f"{source.name} was not converted: {fact}; pip install 'torch>=2.10', or save a plain state dict where it was made")


ENCLOSURES = {
    "bubblewrap": ("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--chdir", "/"),
    "namespaces": ("unshare", "--user", "--net", "--ipc", "--pid", "--fork", "--kill-child"),
}
"""Programs that put a process into namespaces of its own, the highest wall first; what does not work here is passed over."""

SHUT = {"bubblewrap": "no network, no other processes, a file system that cannot be written (bubblewrap)", "namespaces": "no network, no other processes (unshare)", "": ""}
"""What they shut off."""


def enclosure(source: Path) -> tuple[str, list[str]]:
    """The highest wall that this machine builds around a Python that reads a file, tried: its name, and the beginning of the command."""
    for name, (program, *options) in ENCLOSURES.items():
        path = shutil.which(program)
        if path is None:
            continue
        trial = [path, *options, sys.executable, "-I", "-S", "-B", "-c", "import sys; open(sys.argv[1], 'rb')", str(source.resolve())]
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            if subprocess.run(trial, capture_output=True, timeout=20, check=False, cwd=os.sep).returncode == 0:
                return name, [path, *options]
    return "", []


def _told(wall: str, holds: dict[str, bool]) -> str:
    """How high the wall was, in words.

    >>> _told("", {"opens no further file": True, "starts no program": False})
    'wall 1 of 4: opens no further file; here it does not hold that it starts no program'
    """
    shut = [*([SHUT[wall]] if wall else []), *(what for what, held in holds.items() if held)]
    height = 4 if holds.get(TOLD) else {"bubblewrap": 3, "namespaces": 2}.get(wall, int(any(holds.values())))
    open_ = [what for what, held in holds.items() if not held]
    missing = f"; here it does not hold that it {' and '.join(open_)}" if open_ else ""
    return f"wall {height} of 4: {', '.join(shut) or 'weights_only and a hook of Python alone'}{missing}"


def _asked(source: Path, prefix: Sequence[str], way: str, *more: str) -> tuple[bytes, dict[str, Any]]:
    """What the process wrote, and its answer."""
    script = Path(__file__).with_name("sandbox.py")
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    size = source.stat().st_size
    patience, most = 300 + size // 5_000_000, 5 * size + (512 << 20)
    reading, writing = os.pipe()
    held = bytearray()
    command = [*prefix, sys.executable, "-I", "-B", "-W", "ignore", str(script), way, str(source.resolve()), str(writing), *more]
    with os.fdopen(reading, "rb") as pipe:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(writing,), env=kept | {"OMP_NUM_THREADS": "1"}, cwd=os.sep
            )
        finally:
            os.close(writing)
        thread = threading.Thread(target=_drain, args=(pipe, held, most), daemon=True)
        thread.start()
        try:
            out, said = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise BadData(f"{source.name} was not converted: reading it did not end within {patience} s; get it anew") from error
        thread.join(10)
    if len(held) > most:
        raise BadData(f"{source.name} was not converted: far more came of it than its size warrants; get it anew")
    try:
        answer: dict[str, Any] = dict(json.loads(out.decode(errors="replace").splitlines()[-1]))
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        # Killed by a limit, or ended below Python.
        lines = said.decode(errors="replace").strip().splitlines()
        why = f"signal {-process.returncode}" if process.returncode < 0 else (lines or [f"exit {process.returncode}"])[-1]
        raise BadData(f"{source.name} was not converted: reading it ended with {why}; get it anew") from error
    return bytes(held), answer


def _drain(pipe: BinaryIO, held: bytearray, most: int) -> None:
    """Read a pipe to its end, or to one piece beyond what is taken."""
    while len(held) <= most and (piece := pipe.read(1 << 20)):
        held += piece
