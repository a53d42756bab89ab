"""Samples that stand in two parts of a split at once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from untrain.core.errors import BadData

if TYPE_CHECKING:
    from untrain.core.data.batches import Inputs
    from untrain.core.data.samples import Samples


def places(samples: Samples) -> list[tuple[int, int]]:
    """Where each sample lies: the source that it is of, and its place there, however it is labelled or prepared."""
    inputs = [id(source.x) for source in samples.sources]
    return [(inputs[which], index) for which, index in zip(samples.which.tolist(), samples.index.tolist(), strict=True)]


def digests(samples: Samples) -> list[bytes]:
    """Hash of each sample's inputs, as the network reads them."""
    return [one for x, _ in samples.stream((rows, None) for rows in torch.split(torch.arange(len(samples)), 500) if len(rows)) for one in _hashes(x)]


def raw_digests(samples: Samples) -> list[bytes]:
    """Hash of each sample's inputs as they were given, before any preparation: what a sample goes by for good, in another process and another order too."""
    found = [b""] * len(samples)
    for number, source in enumerate(samples.sources):
        at = (samples.which == number).nonzero().flatten()
        # None may be left of a source, and a Dataset cannot be asked for no rows.
        for places in torch.split(at, 500) if len(at) else ():
            for place, one in zip(places.tolist(), _hashes(source.raw(samples.index[places])), strict=True):
                found[place] = one
    return found


def _hashes(x: Inputs) -> list[bytes]:
    """Hash of each row of a batch."""
    values = [value.detach().cpu().contiguous() for value in (x.values() if isinstance(x, dict) else [x])]
    rows = [value.flatten(1).view(torch.uint8).numpy() if value.ndim > 1 else value[:, None].view(torch.uint8).numpy() for value in values]
    return [hashlib.sha256(b"".join(row[i].tobytes() for row in rows)).digest() for i in range(len(rows[0]))]


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
