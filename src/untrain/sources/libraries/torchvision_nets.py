"""Networks that torchvision has by name."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from untrain.core.data import Norm
from untrain.core.errors import BadArgument
from untrain.core.model import Expects
from untrain.core.vision import import_torchvision
from untrain.sources.names import nearest

IMAGENET = Norm((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The normalisation of nearly every network that was trained on ImageNet."""


def library_with(name: str) -> Any:
    """torchvision, which has this network.

    Raises:
        BadArgument: it does not have it.
        MissingExtra: it is not installed.
    """
    vision = import_torchvision()
    models = importlib.import_module("torchvision.models")
    known = models.list_models(module=models)
    if name not in known:
        raise BadArgument(f"torchvision has no classifier {name!r}; {nearest(name, known)}")
    return vision


def expects(name: str) -> Expects:
    """What the default weights of this name were made for."""
    models = library_with(name).models
    found = list(models.get_model_weights(name))
    if not found:
        return Expects(IMAGENET)
    look = models.get_model_weights(name).DEFAULT.transforms()
    size, resized = int(look.crop_size[0]), int(look.resize_size[0])
    return Expects(Norm(tuple(look.mean), tuple(look.std)), (size, size), name.startswith(("vit_", "maxvit")), min(1.0, size / resized), str(look.interpolation.value))
