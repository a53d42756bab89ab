"""Seeds: one out of several numbers, and streams of random numbers that leave the caller's as they were.

A Dataset of a user's may draw by numpy or by `random`: a stream is one of these as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
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
    """A stream of random numbers of its own: of torch on the CPU and on this device, of numpy and of `random`; the state from before is put back."""
    before = states(device)
    try:
        # By device: `torch.manual_seed` would seed those of all others too, which are not put back.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device) if device.index is not None else contextlib.nullcontext():
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        yield
    finally:
        put_back(before, device)


def states(device: torch.device) -> dict[str, Tensor]:
    """Where the generators stand: torch's on the CPU, and on the device where it has one of its own, numpy's, and that of `random`."""
    _, own, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    found = {
        "random": torch.get_rng_state(),
        "random.python": torch.tensor(own),
        "random.python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
    }
    if kind == "MT19937":
        found["random.numpy"] = torch.tensor([*(int(k) for k in keys), int(place), int(has_gauss)])
        found["random.numpy.gauss"] = torch.tensor([float(cached)], dtype=torch.float64)
    if device.type == "cuda":
        found["random.cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        found["random.mps"] = torch.mps.get_rng_state()
    return found


def put_back(found: dict[str, Tensor], device: torch.device) -> None:
    """Put the generators where they stood."""
    torch.set_rng_state(found["random"])
    if "random.python" in found:
        random.setstate((3, tuple(found["random.python"].tolist()), next(iter(found["random.python.gauss"].tolist()), None)))
    if "random.numpy" in found:
        *keys, place, has_gauss = found["random.numpy"].tolist()
        np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), place, has_gauss, found["random.numpy.gauss"].item()))
    if "random.cuda" in found:
        torch.cuda.set_rng_state(found["random.cuda"], device)
    if "random.mps" in found:
        torch.mps.set_rng_state(found["random.mps"])
