"""Weights: how far each layer is from the original and from retrained models, and whether more than the head moved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.metrics.mantissas import told_by_low_bits
from untrain.metrics.recovery import relative_distance


@dataclass(frozen=True)
class Weights(Audit):
    """Relative L2 distance ||a - b|| / ||b|| of the weights, layer by layer.

    Two retrained models of other seeds lie far apart, so a distance to one of them says little by itself; what
    tells is a distance to the original of nothing outside the head. Layers that only one of two models has, or in
    another shape, are counted and not compared.

    The low bits of weights are noise where training left them, and room for another network's weights where somebody wrote there, which shows in no answer. So
    whether they are even is counted too. What was written evenly, by compressing or encrypting it, is not seen; rounding the weights to 16 bits removes it.
    """

    question = "Where did the weights move?"
    rows: ClassVar = {
        "outside the head, from the original": Row("high", "distance", 0, "relative distance of the weights outside the head; 0 means that only the head was changed", "weights"),
        "statistics, from the original": Row("as retrained", "distance", 0, "relative distance of buffers, such as BatchNorm's running statistics, from the original", "weights"),
        "all weights, from the original": Row("high", "distance", 0, "relative distance of all weights from the original", "weights"),
        "bias of the forgotten rows": Row("as retrained", "distance", 0, "the forgotten classes' bias in the head less the others' mean; far below 0 they are silenced", "weights"),
        "all weights, from a retrained model": Row("as retrained", "distance", 0, "relative distance from the nearest other retrained model", "weights"),
        "told by the low bits": Row("low", "share", 0, "what of the 16 low bits of a weight is no noise", "weights"),
        "layers unlike the original's": Row("low", "count", 0, "weights and buffers that only one of the two has, or in another shape", "weights"),
    }
    axes: ClassVar = {"distance from the original": ("layer", "relative distance"), "distance from a retrained model": ("layer", "relative distance")}

    def __call__(self, model: Subject, *, original: Subject, classes: tuple[int, ...] = (), retrained: tuple[Subject, ...] = ()) -> Finding:
        """Measure distances."""
        heads = next((tuple(f"{head.name}." for head in m.network.heads) for m in (model, original) if m.headed), (".",))
        mine, before = _weights(model), _weights(original)
        names = _shared(mine, before)
        body = [n for n in names if not n.startswith(heads)]
        values = {
            "outside the head, from the original": Value(_gap(mine, before, body)),
            "all weights, from the original": Value(_gap(mine, before, names)),
            "layers unlike the original's": Value(float(_unlike(model.state(), original.state()))),
        }
        told = told_by_low_bits(model.state().values())
        if told is not None:
            values["told by the low bits"] = Value(told[0], n=told[1])
        ours, theirs = _statistics(model), _statistics(original)
        if ours:
            values["statistics, from the original"] = Value(_gap(ours, theirs, _shared(ours, theirs)))
        bias = model.network.head.layer.bias if model.headed else None
        gone = torch.isin(torch.arange(0 if bias is None else len(bias)), torch.tensor(classes, dtype=torch.long))
        if bias is not None and 0 < int(gone.sum()) < len(bias):
            values["bias of the forgotten rows"] = Value(float(bias.detach().cpu()[gone].mean() - bias.detach().cpu()[~gone].mean()))
        bars = {"distance from the original": _by_layer(mine, before)}
        others = [_weights(r) for r in retrained if r is not model]
        if others:
            gaps = [_gap(mine, o, _shared(mine, o)) for o in others]
            values["all weights, from a retrained model"] = Value(min(gaps))
            bars["distance from a retrained model"] = _by_layer(mine, others[gaps.index(min(gaps))])
        return Finding(values, bars=bars)


def _weights(model: Subject) -> dict[str, Tensor]:
    return {n: p.detach().cpu() for n, p in model.network.named_parameters().items()}


def _statistics(model: Subject) -> dict[str, Tensor]:
    return {n: b.detach().cpu() for n, b in model.network.module.named_buffers() if b.is_floating_point()}


def _shared(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    """Names that both have, in one shape."""
    return [n for n in a if n in b and a[n].shape == b[n].shape]


def _unlike(a: dict[str, Tensor], b: dict[str, Tensor]) -> int:
    """How many names only one of them has, or in another shape."""
    return len(a.keys() | b.keys()) - len(_shared(a, b))


def _gap(a: dict[str, Tensor], b: dict[str, Tensor], names: list[str]) -> float:
    """Relative distance over these names; infinite where nothing can be compared."""
    return relative_distance(_flat(a, names), _flat(b, names)) if names else math.inf


def _by_layer(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, float]:
    return {n: relative_distance(a[n], b[n]) for n in _shared(a, b) if a[n].ndim > 1}


def _flat(weights: dict[str, Tensor], names: list[str]) -> Tensor:
    return torch.cat([weights[n].reshape(-1) for n in names])
