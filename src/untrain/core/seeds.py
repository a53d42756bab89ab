"""Seeds: one out of several numbers, and streams of random numbers that leave the caller's as they were."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor


def mix(*numbers: int) -> int:
    """One 63-bit seed out of several numbers, the same on every machine.

    >>> mix(0, 1) == mix(0, 1) != mix(1, 0)
    True
    """
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextlib.contextmanager
def stream(seed: int, device: torch.device) -> Iterator[None]:
    """A stream of random numbers of its own, on the CPU and on this device; the state from before is put back."""
    before = states(device)
    try:
        torch.manual_seed(seed)
        yield
    finally:
        put_back(before, device)


def states(device: torch.device) -> dict[str, Tensor]:
    """Where the generators stand: the CPU's, and the device's where it has one of its own."""
    found = {"random": torch.get_rng_state()}
    if device.type == "cuda":
        found["random.cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        found["random.mps"] = torch.mps.get_rng_state()
    return found


def put_back(found: dict[str, Tensor], device: torch.device) -> None:
    """Put the generators where they stood."""
    torch.set_rng_state(found["random"])
    if "random.cuda" in found:
        torch.cuda.set_rng_state(found["random.cuda"], device)
    if "random.mps" in found:
        torch.mps.set_rng_state(found["random.mps"])
