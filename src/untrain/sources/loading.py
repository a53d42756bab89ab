"""A user's model by name: torchvision, timm, a transformers folder or Hub name, or a Python function.

`torchvision:mobilenet_v2`, `timm:vit_tiny_patch16_224`, `hf:FOLDER` or `hf:owner/name`, a folder with a config.json,
`package.module:function`, `path/nets.py:function`. Weights come from safetensors alone. A state dict fits or is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from untrain.core import files
from untrain.core.data import Norm
from untrain.core.errors import BadData
from untrain.core.model import Expects, Model
from untrain.sources.libraries import timm_nets, torchvision_nets, transformers_nets
from untrain.sources.libraries.functions import function_of, made_by, takes_classes
from untrain.sources.names import asked
from untrain.sources.weights import fill, refuse_nan, refuse_width


def expects(model: str) -> Expects:
    """What a model says of its images, before it is built and before data are read.

    A torchvision or timm name answers for its pretrained weights, a transformers folder by its image processor.
    A function of the user's is asked only where it takes no argument: its model may carry a `norm`, as the zoo's do.

    Raises:
        BadArgument: no such model.
        BadData: no such folder.
        MissingExtra: its library is not installed.
    """
    what = asked(model)
    if what.kind == "torchvision":
        return torchvision_nets.expects(what.name)
    if what.kind == "timm":
        return timm_nets.expects(what.name)
    if what.kind == "hf":
        return transformers_nets.expects(transformers_nets.folder_of(what.name, weights=False))
    function = function_of(what)
    return _module_expects(made_by(what, None)) if not takes_classes(function) else Expects()


def load(model: str, classes: int, *, weights: Path | None = None, head: str | None = None) -> Model:
    """A model by name, filled with its weights, in evaluation mode.

    Args:
        model: Its name, see the module.
        classes: Number of classes of the data: the width of its head.
        weights: A safetensors file; needed for torchvision and timm, which bring none here.
        head: Name of the head's layer, where it is not the last.

    Raises:
        BadArgument: no such model.
        BadData: no weights, or weights that do not fit; a head of another width.
        MissingExtra: its library is not installed.
    """
    what = asked(model)
    if what.kind == "hf":
        with _drawn_alike():
            return transformers_nets.load(what, classes, weights)
    if what.kind in ("torchvision", "timm") and weights is None:
        raise BadData(f"{model} needs weights: name a file of its state dict by --weights FILE.safetensors; none are downloaded")
    module, look = built(model, classes)
    module.eval()
    hollow = next((name for name, value in (*module.named_parameters(), *module.named_buffers()) if value.is_meta), None)
    if hollow is not None:
        raise BadData(f"{what.shown} gave a network whose {hollow} has no values (it lies on the device meta); build it on the CPU")
    if weights is None:
        state = module.state_dict()
        refuse_nan(module, what.shown)
        refuse_width(module, classes, what.shown, head)
        return Model(what.shown, module, f"made by {what.shown}", files.weights_hash(state), {k: v.dtype for k, v in state.items()}, look)
    prefix, notes = fill(module, files.load_weights(weights), weights.name, classes)
    kept = {k: v.dtype for k, v in files.load_weights(weights).items()}
    return Model(what.shown, module, weights.name, files.sha256(weights), kept, look, prefix, notes)


def built(model: str, classes: int) -> tuple[nn.Module, Expects]:
    """A network by name, as its library or function gives it, and what it says of its images: that of a transformers folder holds the folder's weights.

    Raises:
        BadArgument: no such model.
        MissingExtra: its library is not installed.
    """
    what = asked(model)
    with _drawn_alike():
        if what.kind == "hf":
            found = transformers_nets.load(what, classes, None)
            return found.module, found.expects
        if what.kind == "torchvision":
            return torchvision_nets.library_with(what.name).models.get_model(what.name, weights=None, num_classes=classes), torchvision_nets.expects(what.name)
        module = timm_nets.library_with(what.name).create_model(what.name, pretrained=False, num_classes=classes) if what.kind == "timm" else made_by(what, classes)
    return module, _module_expects(module)


@contextlib.contextmanager
def _drawn_alike() -> Iterator[None]:
    """A function that draws its weights gives the same ones each time, so that a record's hash can be checked."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _module_expects(module: nn.Module) -> Expects:
    """What a built model says of itself: a `norm` of ours, or timm's configuration."""
    own = getattr(module, "norm", None)
    if isinstance(own, Norm):
        return Expects(own)
    cfg = getattr(module, "pretrained_cfg", None)
    if isinstance(cfg, dict) and cfg.get("mean") and cfg.get("input_size"):
        made = getattr(getattr(module, "patch_embed", None), "img_size", None)
        return timm_nets.configured(cfg, (int(made[0]), int(made[1])) if made is not None else None)
    return Expects()
