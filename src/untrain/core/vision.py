"""torchvision, timm and transformers, imported in the one way that also works beside a torch without CUDA."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any, cast

import torch

from untrain.core.errors import MissingExtra

_kept: list[Any] = []


def import_torchvision() -> Any:
    """torchvision; where its compiled part does not fit this torch, without that part.

    A torchvision built for CUDA beside a torch built for the CPU ends on import, since two operators have no schema.
    With these two defined by name all that is Python in it works: networks, data sets, transforms.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except ImportError as error:
        raise MissingExtra("torchvision is not installed: pip install 'untrain[vision]'") from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library: Any = cast(Any, torch.library.Library)("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # The definitions go when the library object does.
    _kept.append(library)
    return importlib.import_module("torchvision")


def import_timm() -> Any:
    """timm, which imports torchvision.

    Raises:
        MissingExtra: it is not installed.
    """
    import_torchvision()
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise MissingExtra("timm is not installed: pip install 'untrain[vision]'") from error


def import_transformers() -> Any:
    """transformers, which imports torchvision where that is installed.

    Raises:
        MissingExtra: it is not installed.
    """
    with contextlib.suppress(MissingExtra):
        import_torchvision()
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra("transformers is not installed: pip install 'untrain[hf]'") from error
