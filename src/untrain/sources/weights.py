"""Weights into a module: a state dict fits to the letter, but for what all its names begin with, or is refused."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from untrain.core import files
from untrain.core.errors import BadData, OtherHead
from untrain.core.network import Network


def fill(module: nn.Module, state: dict[str, Tensor], origin: str, classes: int | None = None) -> tuple[str, tuple[str, ...]]:
    """Put a state dict into a module that it fits exactly, but for what all its names begin with.

    Args:
        module: The model.
        state: Weights by name.
        origin: What the file is called.
        classes: Number of classes of the data, for the message where only the head differs.

    Returns:
        What all names begin with and the module's own do not (`module.`), and what to tell of it.

    Raises:
        BadData: names or shapes differ (says the first few), or a value is not finite.
    """
    own = {k for k in module.state_dict() if not k.endswith("num_batches_tracked")}
    prefix = _prefix(own, state)
    bare = {k.removeprefix(prefix): v for k, v in state.items()}
    if not own <= bare.keys():
        parts = sorted({k.partition(".")[0] for k in state})
        fitting = [p for p in parts if own <= {k.removeprefix(f"{p}.") for k in state if k.startswith(f"{p}.")}]
        if fitting:
            ways = " or ".join(f"--network {p}" for p in fitting)
            raise BadData(f"{origin} holds more than this network ({', '.join(parts[:6])}); take a part by `untrain convert {origin} -o FILE.safetensors {ways}`")
    extra = sorted({k.partition(".")[0] for k in bare} - {k.partition(".")[0] for k in own})
    if own <= bare.keys() and extra:
        ways = " ".join(f"--drop {first}" for first in extra[:3])
        raise BadData(f"{origin} holds more than this network, under {', '.join(extra[:6])}; leave that out by `untrain convert {origin} -o FILE.safetensors {ways}`")
    _refuse_other_head(module, bare, origin, classes)
    files.load_into(module, bare, origin)
    note = f"names in {origin} begin with {prefix!r}, which the network's do not: it was taken off to read them, and is there again in what is written"
    return prefix, (note,) if prefix else ()


def _prefix(own: set[str], state: dict[str, Tensor]) -> str:
    """The longest run of first components that all names share, at which they become the module's."""
    prefix = ""
    while state:
        bare = [k.removeprefix(prefix) for k in state]
        if own <= set(bare):
            return prefix
        first = {k.partition(".")[0] for k in bare}
        if len(first) != 1 or not all("." in k for k in bare):
            break
        prefix += first.pop() + "."
    # Of another architecture: the names alone cannot say what to take off, but what a wrapper puts there can.
    return next((p for p in ("module.", "model.", "net.") if all(k.startswith(p) for k in state) and not any(k.startswith(p) for k in own)), "")


def _refuse_other_head(module: nn.Module, state: dict[str, Tensor], origin: str, classes: int | None) -> None:
    own = module.state_dict()
    differ = {k for k, v in own.items() if k in state and v.shape != state[k].shape}
    rows = set(Network(module).head.rows((0,))) if differ else set()
    if differ and differ <= rows and all(own[k].shape[1:] == state[k].shape[1:] for k in differ):
        name = sorted(differ)[-1]
        raise other_head(origin, state[name].shape[0], classes or own[name].shape[0], f" ({name} is {list(state[name].shape)} in the file)")


def other_head(origin: str, width: int, classes: int, where: str = "") -> OtherHead:
    """The refusal of a model that answers with another number of classes than the data has, or with one number for both.

    Args:
        origin: The model.
        width: With how many it answers.
        classes: How many the data has.
        where: Where that is seen.
    """
    if width == 1:
        way = "give it a head of two rows, the first of zeros: softmax of [0, z] is sigmoid of z"
        return OtherHead(f"{origin} answers with one number{where}, as a yes or no does, and untrain reads a logit for each class; {way}")
    return OtherHead(f"{origin} answers with {width} classes{where}, the data has {classes}; give the data it was trained on, or a model trained on this data")


def refuse_width(module: nn.Module, classes: int, origin: str, head: str | None = None) -> None:
    """Refuse a head of another width than the data has classes.

    Raises:
        OtherHead: it has another width.
        BadData: its head is no layer but a parameter.
    """
    found = Network(module, head=head).head
    if found.width == classes:
        return
    fitting = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and layer.out_features == classes]
    if fitting and head is None:
        raise OtherHead(
            f"the last layer of {origin}, {found.name}, has {found.width} rows, and the data has {classes} classes; if it answers by another, name it: --head {fitting[-1]}"
        )
    layers = {f"{name}." for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)}
    bare = [name for name, p in module.named_parameters() if p.ndim == 2 and p.shape[0] == classes and f"{name.rpartition('.')[0]}." not in layers]
    if bare:
        raise BadData(f"{origin}: {bare[0]} has {classes} rows and is no layer; untrain finds heads that are layers: hold it as the weight of a torch.nn.Linear")
    raise other_head(origin, found.width, classes)


def refuse_nan(module: nn.Module, origin: str) -> None:
    """Refuse weights and running statistics that are not finite; other buffers may hold infinity, as the masks of attention do.

    Raises:
        BadData: some are not (says the first three).
    """
    held = dict(module.named_parameters()) | {k: b for k, b in module.named_buffers() if k.endswith(("running_mean", "running_var"))}
    bad = [k for k, v in held.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise BadData(f"{origin} holds NaN or infinity in {bad[:3]}; get it anew")
