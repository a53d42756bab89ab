"""Networks that timm has by name."""

from __future__ import annotations

from typing import Any

from untrain.core.data import Norm
from untrain.core.errors import BadArgument
from untrain.core.model import Expects
from untrain.core.vision import import_timm
from untrain.sources.libraries.torchvision_nets import IMAGENET
from untrain.sources.names import nearest


def library_with(name: str) -> Any:
    """timm, which has this network.

    Raises:
        BadArgument: it does not have it.
        MissingExtra: it is not installed.
    """
    timm = import_timm()
    if not timm.is_model(name):
        raise BadArgument(f"timm has no model {name!r}; {nearest(name.partition('.')[0], timm.list_models())}")
    return timm


def expects(name: str) -> Expects:
    """What the pretrained weights of this name were made for."""
    cfg = library_with(name).get_pretrained_cfg(name)
    return configured(cfg.to_dict()) if cfg is not None else Expects(IMAGENET)


def configured(cfg: dict[str, Any], size: tuple[int, int] | None = None) -> Expects:
    """What a configuration of timm says, for images of this size."""
    made_for = (int(cfg["input_size"][1]), int(cfg["input_size"][2]))
    return Expects(
        Norm(tuple(cfg["mean"]), tuple(cfg["std"])),
        size or made_for,
        bool(cfg.get("fixed_input_size", False)),
        # The share belongs to the size that the pretrained weights had.
        float(cfg.get("crop_pct") or 1.0) if size in (None, made_for) else 1.0,
        str(cfg.get("interpolation") or "bilinear"),
    )
