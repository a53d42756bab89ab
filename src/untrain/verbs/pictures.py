"""Sample images of a record, and images as PNG."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from untrain.core.audit import Subject
from untrain.core.data import Samples


def pictures(test: Samples, classes: Sequence[int], shown: dict[str, Subject], forgotten: int = 12, retained: int = 4) -> list[dict[str, Any]]:
    """A few test images, forgotten ones first, and what each model calls them."""
    gone = torch.isin(test.y, torch.tensor(list(classes)))
    places = torch.arange(len(test))
    rows = [*_first(test, places[gone], forgotten), *_first(test, places[~gone], retained)]
    said = {column: subject.on(test)[0].softmax(1) for column, subject in shown.items()}
    names = test.names or [str(i) for i in range(next(iter(said.values())).shape[1])]
    out = []
    for row in rows:
        source = test.sources[int(test.which[row])]
        pixels = source.raw(test.index[row : row + 1])
        if not isinstance(pixels, Tensor) or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
            return []
        best = {column: int(shares[row].argmax()) for column, shares in said.items()}
        out.append(
            {
                "png": base64.b64encode(png(pixels[0])).decode(),
                "truth": names[int(test.y[row])],
                "said": {column: {"name": names[label], "probability": float(said[column][row, label])} for column, label in best.items()},
            }
        )
    return out


def _first(test: Samples, places: Tensor, n: int) -> list[int]:
    """At most n of these places, evenly from their classes."""
    y = test.y[places]
    labels = torch.unique(y)[:n]
    each = max(1, n // max(1, len(labels)))
    return [p for label in labels for p in places[y == label][:each].tolist()]


def png(pixels: Tensor) -> bytes:
    """An image [1 or 3, h, w] of bytes, or of floats in 0..1, as PNG."""
    grey = pixels.shape[0] == 1
    values = pixels if pixels.dtype == torch.uint8 else (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    _, h, w = values.shape
    lines = b"".join(b"\0" + line.numpy().tobytes() for line in values.permute(1, 2, 0).contiguous().reshape(h, -1))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", w, h, 8, 0 if grey else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
