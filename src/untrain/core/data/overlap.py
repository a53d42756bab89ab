"""Samples that stand in two parts of a split at once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from untrain.core.errors import BadData

if TYPE_CHECKING:
    from untrain.core.data.samples import Samples


def places(samples: Samples) -> list[tuple[int, int]]:
    """Where each sample lies: the source that it is of, and its place there, however it is labelled or prepared."""
    inputs = [id(source.x) for source in samples.sources]
    return [(inputs[which], index) for which, index in zip(samples.which.tolist(), samples.index.tolist(), strict=True)]


def digests(samples: Samples) -> list[bytes]:
    """Hash of each sample's inputs, as the network reads them."""
    found = []
    for x, _ in samples.stream((rows, None) for rows in torch.split(torch.arange(len(samples)), 500)):
        values = list(x.values()) if isinstance(x, dict) else [x]
        rows = [value.contiguous().flatten(1).view(torch.uint8).numpy() if value.ndim > 1 else value[:, None].contiguous().view(torch.uint8).numpy() for value in values]
        found += [hashlib.sha256(b"".join(row[i].tobytes() for row in rows)).digest() for i in range(len(rows[0]))]
    return found


def refuse_shared(holdout: Samples, *, called: str = "hold-out", **parts: Samples) -> None:
    """Refuse a hold-out that holds a sample of another part: what is compared with it would be compared with itself.

    Args:
        holdout: Samples that no model was trained on.
        called: What they are called in a message.
        **parts: The others, by name; those that are read from a Dataset when asked are looked at where they are the forget set.

    Raises:
        BadData: it does (says how many, and of which part).
    """
    held = set(digests(holdout))
    for name, part in parts.items():
        if name != "forget" and any(source.lazy for source in part.sources):
            continue
        shared = sum(digest in held for digest in digests(part))
        if shared:
            raise BadData(f"{shared} of the {len(part)} samples of {name} are in the {called} too; it is to hold samples that no model was trained on: take them out of it")
