"""Images out of files and bytes: looked at before any work, decoded when asked, resized to what a model reads."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from untrain.core import disk, files
from untrain.core.errors import BadData, MissingExtra, Resources
from untrain.sources import blobs as under
from untrain.sources.blobs import Blobs, Decoded, each, refuse_broken, short, strict

FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "TGA", "ICO")
"""What is read, whatever a file's name ends in. None of them runs a program, as EPS would."""

PIXELS = 100_000_000
"""Pixels of an image beyond which it is taken for a decompression bomb."""


@dataclass(frozen=True)
class Fit:
    """How an image is brought to one size: the middle of it, at the ratio of sides asked for, resized with antialiasing.

    It equals to resize the shorter side to size / crop and to cut out the centre, but needs no large image on the way.

    Args:
        size: Height and width in pixels.
        crop: Share of the resized image that is kept along each side.
        interpolation: `bilinear`, `bicubic`, `lanczos`, `nearest`, `box`.
    """

    size: tuple[int, int]
    crop: float = 1.0
    interpolation: str = "bilinear"

    def __str__(self) -> str:
        h, w = self.size
        kept = f", the middle {self.crop:.3g} of each side" if self.crop < 1 else ""
        return f"{h} x {w} pixels ({self.interpolation}, centre crop{kept})"

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """What is kept of an image, in its own pixels: left, top, right, bottom.

        >>> Fit((2, 2)).box(40, 20), Fit((2, 2), crop=0.5).box(20, 20)
        ((10.0, 0.0, 30.0, 20.0), (5.0, 5.0, 15.0, 15.0))
        """
        h, w = self.size
        scale = min(width / w, height / h) * self.crop
        left, top = (width - w * scale) / 2, (height - h * scale) / 2
        return left, top, left + w * scale, top + h * scale


class Images(Decoded):
    """Images [channels, h, w] as bytes.

    Args:
        blobs: The images.
        shape: Height and width that they have or are brought to.
        fit: How they are brought to it; None leaves each as it is.
        channels: 3 for colour, 1 for grey.
    """

    called = "images"

    def __init__(self, blobs: Blobs, shape: tuple[int, int], fit: Fit | None = None, channels: int = 3) -> None:
        super().__init__(blobs)
        self.shape, self.fit, self.channels = shape, fit, channels

    def empty(self, n: int) -> Tensor:
        """Room for n of them."""
        return torch.empty((n, self.channels, *self.shape), dtype=torch.uint8)

    def decode(self, i: int) -> Tensor:
        """One of them."""
        return torch.from_numpy(_pixels(self.blobs.read(i), self.fit, self.channels))

    def why(self, error: Exception) -> str:
        """What is wrong with an image, in words."""
        return why(error)


def pillow() -> Any:
    """Pillow's Image module, its formats known.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("reading images needs pillow: pip install 'untrain[data]'") from error
    Image.init()
    return Image


def opened_by_header(found: Any) -> Any:
    """A Pillow image out of bytes; only its header is read.

    Raises:
        BadData: there are none, or it unfolds to too many pixels.
    """
    image = pillow()
    if not isinstance(found, bytes | bytearray | memoryview):
        opened = found
    elif len(found) == 0:
        raise BadData("the file is empty")
    else:
        opened = image.open(io.BytesIO(found), formats=[f for f in FORMATS if f in image.OPEN])
    if opened.width * opened.height > PIXELS:
        raise BadData(f"it unfolds to {opened.width} x {opened.height} pixels, more than {PIXELS // 10**6} million")
    return opened


def _turned(opened: Any) -> int:
    """Its orientation by EXIF, 1 to 8."""
    turned = opened.getexif().get(0x0112, 1) if hasattr(opened, "getexif") else 1
    return turned if turned in range(1, 9) else 1


def kept(found: Any) -> Any | None:
    """A copy of a Pillow image that stands by itself and shows the same; None where there is no such copy."""
    if not hasattr(found, "convert"):
        return None
    copy = found.copy()
    copy.format = getattr(found, "format", None)
    return copy if _turned(copy) == _turned(found) else None


def size_of(found: Any) -> tuple[int, int]:
    """Height and width, as the image is shown."""
    opened = opened_by_header(found)
    _refuse_range(opened)
    return (opened.width, opened.height) if _turned(opened) > 4 else (opened.height, opened.width)


def _refuse_range(opened: Any) -> None:
    if opened.mode == "F" or (opened.mode == "I" and opened.format not in ("PNG", "PPM")):
        raise BadData(f"its pixels are {'floats' if opened.mode == 'F' else '32-bit numbers'} of no known range; save it with 8 or 16 bits")


def upright(found: Any) -> Any:
    """A Pillow image out of bytes as it is shown: turned as EXIF says, 16 bits made 8.

    Raises:
        BadData: its pixels have no known range.
    """
    from PIL import ImageOps

    opened = opened_by_header(found)
    _refuse_range(opened)
    if _turned(opened) != 1:
        opened = ImageOps.exif_transpose(opened)
    if opened.mode.startswith("I"):
        deep = np.asarray(opened, dtype=np.int64)
        opened = pillow().fromarray(((deep.clip(0, 65535) + 128) // 257).astype(np.uint8))
    return opened


def _pixels(found: Any, fit: Fit | None, channels: int) -> np.ndarray[Any, Any]:
    """Pixels [channels, h, w], uint8: the first frame, upright; 16 bits become 8, and transparency is left out, as other libraries do."""
    image, opened = pillow(), upright(found)
    if opened.mode in ("P", "PA") and "transparency" in opened.info:
        opened = opened.convert("RGBA")
    opened = opened.convert("L" if channels == 1 else "RGB")
    if fit is not None and (opened.height, opened.width) != fit.size:
        h, w = fit.size
        opened = opened.resize((w, h), image.Resampling[fit.interpolation.upper()], box=fit.box(opened.width, opened.height))
    pixels = np.array(opened, dtype=np.uint8)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def why(error: Exception) -> str:
    """What is wrong with an image, in words."""
    if isinstance(error, BadData):
        return str(error)
    kind = type(error).__name__
    if kind == "UnidentifiedImageError":
        return "not an image that can be read"
    if kind.startswith("DecompressionBomb"):
        return "it unfolds to too many pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"not a whole image ({' '.join(str(error).split())[:80] or kind})"


def looked_at(blobs: Blobs, key: str, cache: Path) -> dict[tuple[int, int], int]:
    """How many images have each height and width.

    Args:
        blobs: The images.
        key: A hash of them.
        cache: Folder where the answer is kept, under the key.

    Raises:
        BadData: some cannot be read: how many, and the first three with what is wrong.
    """

    def look(i: int) -> tuple[int, int] | str:
        try:
            return size_of(blobs.read(i))
        except Exception as error:  # see Images
            return f"{blobs.name(i)} ({why(error)})"

    kept = cache / f"{short(key)}.sizes.json"
    if kept.is_file():
        with suppress(OSError, ValueError, TypeError):
            return {(int(h), int(w)): int(n) for h, w, n in json.loads(disk.read(kept))}
    sizes: dict[tuple[int, int], int] = {}
    bad: list[str] = []
    with strict():
        for found in each(look, len(blobs), blobs.together):
            if isinstance(found, str):
                bad.append(found)
            else:
                sizes[found] = sizes.get(found, 0) + 1
    refuse_broken(bad, len(blobs))
    if len(blobs) >= under.KEEP:
        with suppress(Resources):
            files.write(kept, json.dumps([[h, w, n] for (h, w), n in sizes.items()]).encode())
    return sizes


def read(blobs: Blobs, key: str, shape: tuple[int, int], fit: Fit | None, channels: int, cache: Path) -> Tensor | Images:
    """All images in memory where they fit, else a Dataset that decodes them when asked; every one was decoded once by then.

    Args:
        blobs: The images.
        key: A hash of them.
        shape: Height and width that they have or are brought to.
        fit: How they are brought to it.
        channels: 3 for colour, 1 for grey.
        cache: Folder where decoded pixels are kept, under the key.

    Raises:
        BadData: some cannot be decoded: how many, and the first three with what is wrong.
    """
    told = json.dumps([key, len(blobs), *shape, repr(fit), channels])
    return under.held(Images(blobs, shape, fit, channels), told, key, cache)
