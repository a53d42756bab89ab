"""Trained networks of the zoo: a network by name, filled with weights from a file, the data folder or the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torch
from torch import nn

from untrain.core import files
from untrain.core.data import Norm
from untrain.core.errors import BadArgument, BadData
from untrain.core.model import Expects, Model
from untrain.zoo.networks import NETWORKS
from untrain.zoo.sets import data_root

PUBLISHED = {("resnet20", 10): "checkpoints/cifar10_resnet20.safetensors", ("resnet32", 10): "checkpoints/cifar10_resnet32.safetensors"}
"""Published checkpoints in the data folder, by network and number of classes."""

BUNDLED = {("digits", 10): "weights/digits.safetensors"}
"""Weights that the package brings: the zoo's recipe at seed 0."""


def refuse_unknown(name: str) -> None:
    """Refuse a network that the zoo does not have.

    Raises:
        BadArgument: there is none of this name.
    """
    if name not in NETWORKS:
        raise BadArgument(f"no model {name!r}; there are {', '.join(NETWORKS)}")


def load(name: str, classes: int, *, weights: Path | str | None = None, root: Path | str | None = None) -> Model:
    """A network of the zoo with its weights.

    Args:
        name: Its name.
        classes: Width of its head.
        weights: A safetensors file; the published checkpoint or the bundled weights where none is given.
        root: Folder of the published checkpoints; UNTRAIN_DATA where none is given.

    Raises:
        BadArgument: no such network.
        BadData: no weights at hand, or weights that do not fit.
    """
    refuse_unknown(name)
    if weights is not None:
        return _filled(name, classes, Path(weights), Path(weights).name)
    key, base = (name, classes), Path(root) if root else data_root()
    if key in BUNDLED:
        with resources.as_file(resources.files("untrain.zoo").joinpath(BUNDLED[key])) as path:
            return _filled(name, classes, path, "bundled")
    if key in PUBLISHED and base is not None and (base / PUBLISHED[key]).is_file():
        return _filled(name, classes, base / PUBLISHED[key], "published checkpoint")
    looked = f": no {PUBLISHED[key]} in the folder that UNTRAIN_DATA or --data-root names" if key in PUBLISHED else ""
    raise BadData(f"no weights of {name} for {classes} classes are at hand{looked}; give a file by --weights, or make one by `untrain train --model {name}`")


def _filled(name: str, classes: int, path: Path, origin: str) -> Model:
    state = files.load_weights(path)
    with torch.random.fork_rng(devices=[]):
        module = NETWORKS[name](classes)
    files.load_into(module, state, path.name)
    own = getattr(module, "norm", None)
    return Model(name, module.eval(), origin, files.sha256(path), {k: v.dtype for k, v in state.items()}, Expects(own if isinstance(own, Norm) else None))


def load_model(name: str, classes: int = 10, *, weights: Path | str | None = None, root: Path | str | None = None) -> nn.Module:
    """A trained network of the zoo, as `load` finds it."""
    return load(name, classes, weights=weights, root=root).module
