"""`untrain convert`: a pickled checkpoint becomes safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from untrain.sources import convert as conversion
from untrain.verbs.run_files import refuse_full, refuse_unwritable


def convert(source: Path, out: Path, *, network: str | None = None, drop: Sequence[str] = ()) -> dict[str, Any]:
    """Write a `.pt`, `.pth` or Lightning `.ckpt` as safetensors, read in a process that can do nothing else.

    Args:
        source: The checkpoint.
        out: The file to write, `.safetensors`.
        network: Which part of it, where there are several.
        drop: Entries to leave out: their names, or what these begin with, such as `criterion`.

    Returns:
        `file`, `sha256`, `source_sha256`, `tensors`, and `notes` on what was taken and left out.
    """
    refuse_unwritable(out)
    if source.is_file():
        refuse_full(out, source.stat().st_size)
    return asdict(conversion.convert(source, out, network=network, drop=drop))
