"""Safetensors and zipped state dicts as bytes, without torch, whose import takes longer than most conversions.

Stands by itself, since the process that reads a stranger's file imports nothing of untrain. A file of `torch.save` is a zip
archive of a pickle and of one file of bytes for each storage. The pickle is read here by an unpickler that knows six names, none
of which does more than build a container or say where bytes lie; with any other it stops, and torch is asked (`sandbox`).
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
"""Kinds of storage, and what safetensors calls them."""

WIDTHS = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "F64": 8, "I64": 8}
"""Bytes of a number, in the order in which safetensors sorts kinds, from the last."""


class Unknown(Exception):
    """A file, or something in it, that is not read here."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes of one kind in the archive.

    Args:
        kind: What safetensors calls it.
        member: Name of its file in the archive.
        numel: How many numbers it holds.
    """

    kind: str
    member: str
    numel: int


class Flat:
    """A tensor, not yet read: where its numbers lie."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any) -> None:
        whole = (isinstance(storage, Storage), type(offset) is int, type(shape) is tuple, type(strides) is tuple)
        if not all(whole) or len(shape) != len(strides) or not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
            raise Unknown("a tensor that is not as others")
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if 0 not in shape else offset
        if last >= max(storage.numel, 1) and 0 not in shape:
            raise Unknown("a tensor beyond its storage")
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def __setstate__(self, state: Any) -> None:
        raise Unknown("a state for a tensor")

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers, written one after the other."""
        return int(math.prod(self.shape)) * WIDTHS[self.storage.kind]

    def bytes(self, raw: bytes) -> bytes:
        """Its numbers in their order, out of its storage's."""
        width = WIDTHS[self.storage.kind]
        steps = [math.prod(self.shape[i + 1 :]) for i in range(len(self.shape))]
        if all(n < 2 or mine == step for n, mine, step in zip(self.shape, self.strides, steps, strict=True)):
            return raw[self.offset * width : self.offset * width + self.nbytes]
        import numpy as np

        flat = np.frombuffer(raw, dtype=f"u{width}")[self.offset :]
        return np.lib.stride_tricks.as_strided(flat, self.shape, [step * width for step in self.strides]).tobytes()


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any = False, hooks: Any = None, metadata: Any = None) -> Flat:
    """What `torch._utils._rebuild_tensor_v2` is asked for."""
    if metadata:
        raise Unknown("a tensor with metadata")
    return Flat(storage, offset, shape, strides)


def _parameter(data: Any, requires_grad: Any = True, hooks: Any = None) -> Any:
    """What `torch._utils._rebuild_parameter` is asked for."""
    return data


class _Unpickler(pickle.Unpickler):
    """Reads containers and tensors; any other name ends it."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the names that are known."""
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
            ("torch._utils", "_rebuild_parameter"): _parameter,
            ("argparse", "Namespace"): argparse.Namespace,
        }
        if (module, name) not in known:
            raise Unknown(f"{module}.{name}")
        return known[module, name]

    def persistent_load(self, said: Any) -> Any:
        """A storage by what the pickle says of it."""
        match said:
            case ("storage", str(kind), str(key), str(), int(numel)) if kind in WIDTHS and numel >= 0 and "/" not in key:
                return Storage(kind, key, numel)
        raise Unknown("a storage that is not as others")


class Archive:
    """A file that `torch.save` wrote, in the form that it has had since 2020.

    Args:
        file: The file.

    Raises:
        Unknown: it is no such file.
    """

    def __init__(self, file: Path | BinaryIO) -> None:
        try:
            self.zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError) as error:
            raise Unknown("no zip archive") from error
        heads = [name for name in self.zip.namelist() if name.endswith("/data.pkl")]
        if len(heads) != 1 or any(entry.compress_type != zipfile.ZIP_STORED for entry in self.zip.infolist()):
            raise Unknown("an archive of another kind")
        self.root = heads[0].removesuffix("data.pkl")
        order = f"{self.root}byteorder"
        if order in self.zip.namelist() and self.zip.read(order) != b"little":
            raise Unknown("another order of bytes")

    def loaded(self) -> Any:
        """What it holds: plain containers, and tensors not yet read."""
        with self.zip.open(f"{self.root}data.pkl") as file:
            return _Unpickler(file).load()

    def raw(self, storage: Storage) -> bytes:
        """The bytes of a storage."""
        found = self.zip.read(f"{self.root}data/{storage.member}")
        if len(found) != storage.numel * WIDTHS[storage.kind]:
            raise Unknown("a storage of another length")
        return found


def save(tensors: Mapping[str, Flat], archive: Archive, into: BinaryIO) -> None:
    """Write tensors as safetensors, in the order in which its own library would.

    Args:
        tensors: The tensors by name.
        archive: Where their numbers lie.
        into: An open file.
    """
    kinds = list(WIDTHS)
    order = sorted(tensors.items(), key=lambda entry: (-kinds.index(entry[1].storage.kind), entry[0]))
    header, at = dict[str, Any](), 0
    for name, flat in order:
        header[name] = {"dtype": flat.storage.kind, "shape": list(flat.shape), "data_offsets": [at, at + flat.nbytes]}
        at += flat.nbytes
    into.write(headed(header))
    held: tuple[Storage | None, bytes] = (None, b"")
    for _, flat in order:
        if held[0] != flat.storage:
            held = (flat.storage, archive.raw(flat.storage))
        into.write(flat.bytes(held[1]))


def headed(header: Mapping[str, Any]) -> bytes:
    """The beginning of a safetensors file: the length of its header, and the header."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def entitled(data: bytes, about: Mapping[str, str]) -> tuple[bytes, int]:
    """A safetensors file with metadata, and how many tensors it holds."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    return headed({"__metadata__": dict(about)} | header) + data[8 + length :], len(header)
