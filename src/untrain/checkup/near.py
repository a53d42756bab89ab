"""What near-copies of the forgotten images stay behind?"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from untrain.checkup.raw import pixels
from untrain.core.data import Split
from untrain.metrics.copies import Sought, grey

NEAR, NEAR_TINY = 0.97, 0.99
"""Correlation from which on two images are near-copies; of images below 16 pixels a side, which have less to tell them apart."""


LISTED = 1000
"""Pairs that are listed, at most; all are counted."""


@dataclass(frozen=True)
class Place:
    """An image: its part, and its place there.

    Args:
        part: Name of the part.
        at: Place in the part.
    """

    part: str
    at: int


def near_copies(split: Split, near: float | None, until: float) -> dict[str, Any]:
    """Copies of what is to be forgotten in every other part: pairs that are `exact` by the hash of decoded pixels, or `near` by correlation, and how many `images` stay behind.

    The parts are gone through once, in pieces and in a fixed shuffled order; memory holds the forgotten images' small pictures and one piece.
    Time: about one second for seven million pairs on one core, and the reading of the images.

    Args:
        split: The data, not prepared.
        near: The threshold; None for the usual one.
        until: When to stop, on `time.perf_counter`.
    """
    none: dict[str, Any] = {"threshold": near, "exact": 0, "near": 0, "images": 0, "pairs": [], "looked": {}, "skipped": None}
    pieces = list(_pieces(split))
    gone = [rows for part, rows in pieces if part == "forget"]
    hashes: dict[bytes, int] = {}
    pictures, places = [], []
    try:
        for rows in gone:
            images = pixels(split.forget, rows)
            if not isinstance(images, Tensor) or images.ndim != 4:
                return none | {"skipped": "the data are no images"}
            places += rows.tolist()
            pictures.append(grey(images))
            for at, digest in zip(rows.tolist(), _digests(images), strict=True):
                hashes.setdefault(digest, at)
            if time.perf_counter() > until:
                break
        if len({p.shape[-1] for p in pictures}) != 1:
            return none | {"skipped": "the images have sizes of their own"}
        sought = Sought(torch.cat(pictures))
    except (RuntimeError, TypeError) as error:
        return none | {"skipped": f"the images could not be compared: {str(error).partition(chr(10))[0]}"}
    side = sought.pictures.shape[-1]
    threshold = near if near is not None else NEAR if side >= 16 else NEAR_TINY
    looked, counts, pairs = Counter({"forget": len(places)}), Counter[str](), list[dict[str, Any]]()
    behind = set[Place]()

    def note(kind: str, mine: int, other: Place, correlation: float) -> None:
        counts[kind] += 1
        behind.add(other)
        if len(pairs) < LISTED:
            pairs.append({"kind": kind, "correlation": correlation, "forget": _called(split, Place("forget", mine)), "other": _called(split, other)})

    for part, rows in [p for p in pieces if p[0] != "forget"]:
        if time.perf_counter() > until and looked.total() > len(places):
            break
        images = pixels(split.parts[part], rows)
        same = {j: hashes[digest] for j, digest in enumerate(_digests(images)) if digest in hashes}
        for j, mine in same.items():
            note("exact", mine, Place(part, int(rows[j])), 1.0)
        rest = [j for j in range(len(rows)) if j not in same]
        for i, j, correlation in sought.among(grey(images, side)[rest], threshold) if rest else ():
            note("near", places[i], Place(part, int(rows[rest[j]])), correlation)
        looked[part] += len(rows)
    pairs.sort(key=lambda p: (-p["correlation"], p["other"]["part"], p["other"]["at"]))
    seen = {part: {"looked": looked[part], "of": len(samples)} for part, samples in split.parts.items() if len(samples)}
    return {"threshold": threshold, "exact": counts["exact"], "near": counts["near"], "images": len(behind), "pairs": pairs, "looked": seen, "skipped": None}


def _pieces(split: Split, rows: int = 256) -> Iterator[tuple[str, Tensor]]:
    """All parts cut into pieces, in a fixed shuffled order, so that what was seen when time ran out is a fair share of each."""
    pieces = [(name, piece) for name, part in split.parts.items() if len(part) for piece in torch.split(torch.arange(len(part)), rows)]
    for i in torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0)).tolist():
        yield pieces[i]


def _digests(images: Tensor) -> list[bytes]:
    about = f"{images.dtype} {tuple(images.shape[1:])}".encode()
    return [hashlib.sha256(about + image.contiguous().numpy().tobytes()).digest() for image in images]


FILES = ("path", "file", "filename")
"""Columns that may hold an image's file."""


def _called(split: Split, place: Place) -> dict[str, Any]:
    samples = split.parts[place.part]
    column = next((c for c in FILES if c in samples.columns), None)
    return {"part": place.part, "at": place.at, "index": int(samples.index[place.at]), "file": str(samples.columns[column][place.at]) if column else None}
