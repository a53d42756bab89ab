"""Data sets that torchvision has by name."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from untrain.core import files
from untrain.core.errors import BadArgument, BadData
from untrain.core.vision import import_torchvision
from untrain.sources.forms.objects import of_dataset
from untrain.sources.forms.parts import Found, Part


def torchvision_set(name: str) -> Found:
    """A data set of `torchvision.datasets`, downloaded once into the cache.

    Raises:
        BadArgument: there is none of this name.
        BadData: it could not be had.
    """
    vision = import_torchvision()
    sets = importlib.import_module("torchvision.datasets")
    kind = getattr(sets, name, None) if name in getattr(sets, "__all__", ()) else None
    if kind is None:
        near = [n for n in sets.__all__ if n.lower() == name.lower()]
        raise BadArgument(f"torchvision has no data set {name!r}{f'; did you mean {near[0]!r}?' if near else ', such as CIFAR10'}")
    assert vision is not None
    parameters, root = inspect.signature(kind.__init__).parameters, str(files.cache_root() / "torchvision")
    ways: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}} if "train" in parameters else {"train": {"split": "train"}, "test": {"split": "test"}}
    if "train" not in parameters and "split" not in parameters:
        ways = {"all": {}}
    more = {"download": True} if "download" in parameters else {}
    parts: dict[str, Part] = {}
    for part, how in ways.items():
        try:
            made = kind(root, **how, **more)
        except Exception as error:  # a missing file, a missing network and an unknown part have no common class
            raise BadData(f"torchvision:{name} could not be had, part {part} ({type(error).__name__}: {' '.join(str(error).split())[:120]}); see to the network") from error
        parts |= {part: of_dataset(made, f"torchvision:{name} {part}")}
    return Found(f"torchvision:{name}", parts)
