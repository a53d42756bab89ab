"""Sounds out of files, bytes and rows of numbers: looked at before any work, decoded when asked, brought to one length, never resampled."""

from __future__ import annotations

import importlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from untrain.core.errors import BadData, MissingExtra
from untrain.sources.blobs import Blobs, Decoded, each, held, refuse_broken, strict

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
"""How the names of sounds end."""

BEGINS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd")
"""How their bytes begin."""

SLACK, STREAMED = 64, 0x7F000000
"""Bytes by which a WAV may be wrong about its length, and the length from which on it says that it is none: what writes to a pipe writes the largest number there."""

LONGEST = 2**28
"""Samples of a sound beyond which it is not unfolded."""


@dataclass(frozen=True)
class Wave:
    """A sound that a table holds sample by sample.

    Args:
        samples: Numbers [n]: 16-bit integers, or floats from -1 to 1.
        rate: Samples in a second, where the table says.
    """

    samples: np.ndarray[Any, Any]
    rate: int | None = None


@dataclass(frozen=True)
class Clip:
    """What a sound is brought to: cut at its end, or padded there with silence.

    Args:
        rate: Samples in a second; a sound of another rate is refused.
        n: Samples.
    """

    rate: int
    n: int

    def __str__(self) -> str:
        return f"{self.n / self.rate:g} s ({self.n:,} samples at {self.rate:,} Hz)"


class Sounds(Decoded):
    """Sounds [n] as floats from -1 to 1.

    Args:
        blobs: The sounds.
        clip: What each is brought to.
    """

    called = "sounds"

    def __init__(self, blobs: Blobs, clip: Clip) -> None:
        super().__init__(blobs)
        self.clip = clip

    def empty(self, n: int) -> Tensor:
        """Room for n of them."""
        return torch.empty((n, self.clip.n))

    def decode(self, i: int) -> Tensor:
        """One of them."""
        found, out = self.blobs.read(i), torch.zeros(self.clip.n)
        heard = _numbers(found) if isinstance(found, Wave) else soundfile().read(io.BytesIO(found), frames=self.clip.n, dtype="float32")[0]
        if not np.isfinite(heard).all():
            raise BadData("it holds NaN or infinity")
        some = torch.from_numpy(heard[: self.clip.n])
        out[: len(some)] = some
        return out

    def why(self, error: Exception) -> str:
        """What is wrong with a sound, in words."""
        return why(error)


def soundfile() -> Any:
    """The library that decodes.

    Raises:
        MissingExtra: it is not installed, or lacks libsndfile.
    """
    try:
        return importlib.import_module("soundfile")
    except (ImportError, OSError) as error:
        raise MissingExtra("reading sounds needs soundfile: pip install 'untrain[audio]'") from error


def is_sound(blobs: Blobs) -> bool:
    """Whether these are sounds, by how the first is called and begins."""
    if not len(blobs):
        return False
    if blobs.name(0).lower().endswith(SUFFIXES):
        return True
    try:
        first = blobs.read(0)
    except Exception:  # who reads it says what is wrong with it
        return False
    return isinstance(first, Wave) or (isinstance(first, bytes) and first.startswith(BEGINS) and first[8:12] != b"WEBP")


def why(error: Exception) -> str:
    """What is wrong with a sound, in words."""
    if isinstance(error, BadData):
        return str(error)
    if type(error).__name__ == "LibsndfileError":
        return "not a sound that can be read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"not a whole sound ({' '.join(str(error).split())[:80] or type(error).__name__})"


def looked_at(blobs: Blobs, rate: int) -> Counter[int]:
    """How many sounds have each length in samples; all of them of one channel and of this rate.

    Raises:
        BadData: some cannot be read, have several channels, or another rate (how many, the first, both rates, and the way out).
        MissingExtra: they are encoded, and soundfile is not installed.
    """
    if len(blobs) and not isinstance(blobs.read(0), Wave):
        soundfile()

    def look(i: int) -> tuple[int, int] | str:
        try:
            return _header(blobs.read(i), rate)
        except Exception as error:  # see Decoded
            return f"{blobs.name(i)} ({why(error)})"

    with strict():
        found = list(each(look, len(blobs), blobs.together))
    refuse_broken([bad for bad in found if isinstance(bad, str)], len(found), "sounds")
    told = [one for one in found if not isinstance(one, str)]
    other = [i for i, (theirs, _) in enumerate(told) if theirs != rate]
    if other:
        theirs, several = told[other[0]][0], len(other) > 1
        first = f"{len(other)} of {len(told)} sounds have another rate than --rate {rate}, such as " if several else ""
        raise BadData(
            f"{first}{blobs.name(other[0])}{',' if several else ' is'} sampled at {theirs} Hz{'' if several else f', and --rate says {rate}'}; nothing is resampled here: "
            f"resample to {rate} Hz (sox, ffmpeg -ar {rate}), or give --rate {theirs} where that is what the model was trained on"
        )
    return Counter(n for _, n in told)


def read(blobs: Blobs, key: str, clip: Clip, cache: Path) -> Tensor | Sounds:
    """All sounds in memory where they fit, else a Dataset that decodes them when asked; every one was decoded once by then.

    Args:
        blobs: The sounds.
        key: A hash of them.
        clip: What they are brought to.
        cache: Folder where they are kept decoded, under the key.

    Raises:
        BadData: some cannot be decoded: how many, and the first three with what is wrong.
    """
    return held(Sounds(blobs, clip), json.dumps([key, len(blobs), clip.rate, clip.n]), key, cache)


def _header(found: Any, rate: int) -> tuple[int, int]:
    """Rate and length of a sound."""
    if isinstance(found, Wave):
        return found.rate or rate, len(_numbers(found))
    if len(found) == 0:
        raise BadData("the file is empty")
    _refuse_cut(found)
    told = soundfile().info(io.BytesIO(found))
    if told.channels != 1:
        raise BadData(f"it has {told.channels} channels; mix it down to one")
    if not 0 < told.frames <= LONGEST:
        raise BadData("it holds no sample" if told.frames <= 0 else f"it unfolds to {told.frames:,} samples")
    return int(told.samplerate), int(told.frames)


def _refuse_cut(found: bytes) -> None:
    """Refuse a WAV that ends before it says that it does: it would be read as a shorter one. Of what was written as a stream the length is not known."""
    says = 8 + int.from_bytes(found[4:8], "little")
    if found[:4] == b"RIFF" and len(found) + SLACK < says < STREAMED:
        raise BadData(f"not a whole sound: it says that it is {says:,} bytes long, and has {len(found):,}")


def _numbers(wave: Wave) -> np.ndarray[Any, Any]:
    """A table's samples [n] as floats from -1 to 1."""
    x = wave.samples
    if x.ndim != 1 or not len(x):
        raise BadData("it holds no sample" if x.ndim == 1 else "it is no row of numbers")
    if x.dtype.kind == "i":
        if not -(2**15) <= int(x.min()) <= int(x.max()) < 2**15:
            raise BadData(f"its numbers reach {max(int(x.max()), -int(x.min()))} and are no 16-bit samples")
        return x.astype(np.float32) / 2**15
    if x.dtype.kind != "f":
        raise BadData("it is no row of numbers")
    return x.astype(np.float32)
