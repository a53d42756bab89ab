"""A trigger by name: a patch image, or a function of the user's that puts one in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from untrain.core import disk
from untrain.core.data.planting import Trigger
from untrain.core.errors import BadArgument, BadCode, BadData, UntrainError
from untrain.core.wording import told
from untrain.sources import images
from untrain.sources.forms.folders import PICTURES
from untrain.sources.libraries.functions import function_of, hash_of
from untrain.sources.names import RUNS_CODE, Named, named

GRAMMAR = "a patch image (.png, ...), or path/file.py:function, which is given raw images [n, C, H, W] and gives them back with the trigger in them"
"""How a trigger is named."""


@dataclass(frozen=True)
class Read:
    """A trigger that was read.

    Args:
        put: Puts it into images.
        shown: What records call it: without the way to its file.
        sha256: Hash of its file.
        notes: What a user should know, such as that code of theirs is run.
    """

    put: Trigger
    shown: str
    sha256: str
    notes: tuple[str, ...] = ()


def read(name: str) -> Read:
    """A trigger by name, see GRAMMAR.

    Raises:
        BadArgument: there is no such file or function.
        BadData: a file that is no image.
        BadCode: the file of the function ends in an error.
        MissingExtra: pillow is not installed, where an image is named.
    """
    path = Path(name)
    if path.is_file() and path.suffix.lower() in PICTURES:
        return Read(patch(path), path.name, disk.sha256(path))
    what = named(name)
    if what is None or not what.runs_code:
        raise BadArgument(f"--trigger {name} is no image and names no function; give {GRAMMAR}")
    sha256 = hash_of(what)
    return Read(_held(what), what.shown, sha256, (RUNS_CODE.format(what.shown, "runs"),))


def patch(path: Path) -> Trigger:
    """Paste an image into the lower right corner; where it has transparent pixels the image stays. One of the images' own size puts them anywhere.

    Args:
        path: The patch, with or without an alpha channel; in grey where the images are.

    Raises:
        BadData: it is no image, or nothing of it is opaque.
    """
    import numpy as np

    data = disk.read(path)
    try:
        found = images.upright(data).convert("RGBA")
    except UntrainError:
        raise
    except Exception as error:  # what a decoder raises on a stranger's file has no common class
        raise BadData(f"{path.name}: {images.why(error)}; give an image file") from error
    whole = torch.from_numpy(np.array(found)).permute(2, 0, 1)
    grey = torch.from_numpy(np.array(found.convert("L")))[None]
    shown = whole[3] >= 128
    if not bool(shown.any()):
        raise BadData(f"{path.name} is transparent all over, and would change no image; make the trigger's pixels opaque")
    high, wide = shown.shape

    def put(x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] not in (1, 3) or high > x.shape[2] or wide > x.shape[3]:
            raise BadData(f"a patch of {high} x {wide} does not go into inputs of shape {list(x.shape[1:])}; give a smaller one, or a function, FILE.py:function")
        if x.is_floating_point() and (float(x.min()) < 0 or float(x.max()) > 1):
            raise BadData("a patch is pasted into raw pixels (uint8, or floats from 0 to 1), and these are not; give a function that knows how they were made, FILE.py:function")
        pixels = grey if x.shape[1] == 1 else whole[:3]
        corner = x[:, :, x.shape[2] - high :, x.shape[3] - wide :]
        corner[:, :, shown] = (pixels / 255 if x.is_floating_point() else pixels).to(x)[:, shown]
        return x

    return put


def _held(what: Named) -> Trigger:
    """The user's function, whose errors are refusals in one line."""
    function = function_of(what)

    def put(x: Tensor) -> Tensor:
        try:
            return cast(Tensor, function(x))
        except (UntrainError, KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # whatever a stranger's function raises is a refusal in one line, that it would exit too
            raise BadCode(f"{what.shown} ended in {told(error)}; mend the function") from error

    return put
