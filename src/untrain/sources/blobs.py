"""What images and sounds share before they are decoded: where their bytes lie, who reads them, what is kept of them."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from untrain.core import disk, files
from untrain.core.errors import BadData, Resources
from untrain.sources.cache import used

T = TypeVar("T")

FITS = 256 * 2**20
"""Bytes of decoded pixels or waves up to which a set is decoded once and kept in memory; a larger one is read by the batch."""

KEEP = 1000
"""Items from which on what was decoded, or the fact that all can be, are kept in the cache."""


class Blobs(Protocol):
    """Images or sounds not yet decoded, by their place."""

    @property
    def together(self) -> bool:
        """Whether several threads may read at once; else they are read in order, by whoever asks."""
        ...

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """What one is called in a message."""
        ...

    def read(self, i: int) -> Any:
        """Its bytes, or what a library or a table has made of them."""
        ...


@dataclass(frozen=True)
class Files:
    """What lies in files.

    Args:
        root: The folder that the paths are seen from.
        paths: Paths with forward slashes.
    """

    root: Path
    paths: Sequence[str]
    together: bool = field(default=True, init=False)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, i: int) -> str:
        """The path."""
        return self.paths[i]

    def read(self, i: int) -> bytes:
        """The file's bytes."""
        return disk.read(self.root / self.paths[i])


@dataclass(frozen=True)
class Rows:
    """What lies in rows, by a function that reads one; bytes in memory are `list.__getitem__`.

    Args:
        n: How many.
        get: What lies at a place.
        called: Name of one.
        together: Whether several threads may call `get` at once. What others wrote may hold one open file, or a cursor:
            two threads then read each other's bytes, and nothing says so.
    """

    n: int
    get: Callable[[int], Any]
    called: Callable[[int], str]
    together: bool = False

    def __len__(self) -> int:
        return self.n

    def name(self, i: int) -> str:
        """Its name."""
        return self.called(i)

    def read(self, i: int) -> Any:
        """What the function gives."""
        return self.get(i)


def workers() -> int:
    """Threads that decode: one for each processor that this process may use, 8 at most."""
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def each(work: Callable[[int], T], n: int, together: bool = True) -> Iterator[T]:
    """The answers of work(0) ... work(n - 1), in order, by several threads where they may, a few at a time so that memory does not grow with n."""
    if not together:
        yield from map(work, range(n))
        return
    with ThreadPoolExecutor(workers(), thread_name_prefix="untrain-look") as pool:
        for start in range(0, n, 512):
            some = range(start, min(n, start + 512))
            try:
                answers = list(pool.map(work, some))
            except RuntimeError as error:
                if "start new thread" not in str(error):
                    raise
                # There are no further threads to be had: it goes without, and the answers are the same.
                answers = list(map(work, some))
            yield from answers


@contextmanager
def strict() -> Iterator[None]:
    """Warnings of the decoder about a file are answers here, not lines on a user's screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def short(key: str) -> str:
    """A name for what is kept under a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def refuse_broken(bad: Sequence[str], n: int, called: str = "images") -> None:
    """Refuse data in which some of n images or sounds cannot be read.

    Raises:
        BadData: how many, and the first three.
    """
    if bad:
        raise BadData(f"{len(bad)} of {n} {called} cannot be read: {'; '.join(bad[:3])}{'; ...' if len(bad) > 3 else ''}; remove or mend them")


class Decoded(Dataset[Tensor]):
    """What decodes blobs when asked, by threads where they may be read so; every item a tensor of one shape. An abstract base.

    Args:
        blobs: What is decoded.
    """

    called = ""
    """What they are called in a message, such as `images`."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self.workers = workers() if blobs.together else 0

    def __len__(self) -> int:
        return len(self.blobs)

    def __getitem__(self, i: int) -> Tensor:
        try:
            return self.decode(i)
        except Exception as error:  # what a decoder raises on a stranger's file has no common class
            raise BadData(f"{self.blobs.name(i)}: {self.why(error)}; remove or mend it") from error

    def decode(self, i: int) -> Tensor:
        """One of them; whatever a decoder raises."""
        raise NotImplementedError

    def why(self, error: Exception) -> str:
        """What is wrong with one, in words."""
        raise NotImplementedError

    def empty(self, n: int) -> Tensor:
        """Room for n of them."""
        raise NotImplementedError


D = TypeVar("D", bound=Decoded)


def held(lazy: D, told: str, key: str, cache: Path) -> Tensor | D:
    """All of them in memory where they fit, else as they are; every one was decoded once by then.

    Args:
        lazy: What decodes them.
        told: What tells this decoding from another of the same files.
        key: A hash of the files.
        cache: Folder where what was decoded is kept, under both.

    Raises:
        BadData: some cannot be decoded: how many, and the first three with what is wrong.
    """
    n = len(lazy)
    kept, seen = cache / f"{short(told)}.npy", cache / f"{short(key)}.seen"
    fits = n * lazy.empty(1).nbytes <= FITS
    if fits and used(kept).is_file():
        return torch.from_numpy(np.load(kept, allow_pickle=False))
    if not fits and seen.is_file():
        return lazy
    whole = lazy.empty(n) if fits else None

    def decode(i: int) -> str | None:
        try:
            found = lazy.decode(i)
        except Exception as error:  # see Decoded
            return f"{lazy.blobs.name(i)} ({lazy.why(error)})"
        if whole is not None:
            whole[i] = found
        return None

    with strict():
        refuse_broken([bad for bad in each(decode, n, lazy.blobs.together) if bad is not None], n, lazy.called)
    if n >= KEEP:
        # A cache that cannot be written costs time, and nothing else.
        with suppress(Resources):
            if whole is not None:
                file = io.BytesIO()
                np.save(file, whole.numpy())
                files.write(kept, file.getvalue())
            else:
                files.write(seen, b"")
    return lazy if whole is None else whole
