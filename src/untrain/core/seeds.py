"""Seeds: one out of several numbers, and streams of random numbers that leave the caller's as they were."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import torch


def mix(*numbers: int) -> int:
    """One 63-bit seed out of several numbers, the same on every machine.

    >>> mix(0, 1) == mix(0, 1) != mix(1, 0)
    True
    """
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextlib.contextmanager
def stream(seed: int, devices: Sequence[int] = ()) -> Iterator[None]:
    """A stream of random numbers of its own, on the CPU and on these GPUs; the state from before is put back."""
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
