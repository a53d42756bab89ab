"""`.pt`, `.pth` and Lightning `.ckpt` to safetensors, without running what a stranger put into them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, deserialize

from untrain.core import disk
from untrain.core.errors import BadArgument, BadData
from untrain.sources.plainfile import entitled


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Args:
        file: Name of the file that was written.
        sha256: Hash of its bytes.
        source_sha256: Hash of the bytes of the file that was read.
        tensors: How many tensors it holds.
        notes: What was taken, taken off and left out, a sentence each.
    """

    file: str
    sha256: str
    source_sha256: str
    tensors: int
    notes: tuple[str, ...]


def convert(source: Path, out: Path, *, network: str | None = None, drop: Sequence[str] = ()) -> Converted:
    """Write a checkpoint's state dict as safetensors; the pickle is read with `weights_only=True`, in a process of its own.

    That process has limits on memory and time, and opens no socket and no further file for writing. Shared tensors are
    written each for itself. Neither it nor this one imports torch for a plain state dict: of 17.6 s of CPU for a file of 3 MB,
    .8 are left, half of it the command line.

    Args:
        source: A `.pt`, `.pth`, `.ckpt` or `.bin` file, or a `.safetensors` file of which a part is wanted.
        out: The file to write; it must not exist, and its name ends in `.safetensors`.
        network: Which part, where there are several: the name it stands under, or what the names of its entries begin with; `.` for all.
        drop: Entries to leave out: their names, or what these begin with, such as `criterion`.

    Raises:
        BadArgument: the output exists or has another name.
        BadData: no such file, a pickled object, or several networks and none named.
    """
    if not source.is_file():
        raise BadData(f"no file {source}; name a checkpoint of PyTorch (.pt, .pth, .ckpt)")
    if out.suffix != ".safetensors":
        raise BadArgument(f"{out.name} does not end in .safetensors; give such a name by -o")
    if os.path.lexists(out):
        raise BadArgument(f"{out.name} exists; give another name by -o, or remove it")
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "out.safetensors"
        notes = _sandboxed(source, written, network, drop)
        plain, digest = written.read_bytes(), disk.sha256(source)
    try:
        # What came out of there is not trusted either: the library that will read it looks at it first.
        cast(Any, deserialize)(plain)
    except SafetensorError as error:
        raise BadData(f"{source.name} was not converted: what came of it is not whole ({error}); get it anew") from error
    data, tensors = entitled(plain, {"untrain": json.dumps({"verb": "convert", "source": digest}, sort_keys=True)})
    disk.write(out, data)
    return Converted(out.name, disk.sha256(out), digest, tensors, notes)


def _sandboxed(source: Path, target: Path, network: str | None, drop: Sequence[str]) -> tuple[str, ...]:
    answer = _asked(source, target, "plain", network or "", *drop)
    if "unknown" in answer:
        # A form of file or an object that torch may know.
        answer = _asked(source, target, "torch", network or "", *drop)
    if "error" in answer:
        raise BadData(f"{source.name} was not converted: {answer['error']}")
    return tuple(answer["notes"])


def _asked(source: Path, target: Path, way: str, *more: str) -> dict[str, Any]:
    script = Path(__file__).with_name("sandbox.py")
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    command = [sys.executable, "-I", "-B", "-W", "ignore", str(script), way, str(source.resolve()), str(target), *more]
    patience = 300 + source.stat().st_size // 5_000_000
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, env=kept | {"OMP_NUM_THREADS": "1"}, check=False, cwd=target.parent)
    except subprocess.TimeoutExpired as error:
        raise BadData(f"{source.name} was not converted: reading it did not end within {patience} s; get it anew") from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        # Killed by a limit, or ended below Python.
        why = f"signal {-done.returncode}" if done.returncode < 0 else (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise BadData(f"{source.name} was not converted: reading it ended with {why}; get it anew") from error
    return answer
