"""Weights: how far each layer is from the original and from retrained models, and whether more than the head moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.metrics.recovery import relative_distance


@dataclass(frozen=True)
class Weights(Audit):
    """Relative L2 distance ||a - b|| / ||b|| of the weights, layer by layer.

    Two retrained models of other seeds lie far apart, so a distance to one of them says little by itself; what
    tells is a distance to the original of nothing outside the head.
    """

    question = "Where did the weights move?"
    rows: ClassVar = {
        "outside the head, from the original": Row("high", "distance", 0, "relative distance of the weights outside the head; 0 means that only the head was changed"),
        "statistics, from the original": Row("as retrained", "distance", 0, "relative distance of the buffers, such as BatchNorm's running statistics, from the original"),
        "all weights, from the original": Row("high", "distance", 0, "relative distance of all weights from the original"),
        "bias of the forgotten rows": Row("as retrained", "distance", 0, "the forgotten classes' bias in the head less the others' mean; far below 0 they are silenced"),
        "all weights, from a retrained model": Row("as retrained", "distance", 0, "relative distance from the nearest other retrained model"),
    }
    axes: ClassVar = {"distance from the original": ("layer", "relative distance"), "distance from a retrained model": ("layer", "relative distance")}

    def __call__(self, model: Subject, *, original: Subject, classes: tuple[int, ...] = (), retrained: tuple[Subject, ...] = ()) -> Finding:
        """Measure distances."""
        head = model.network.head.name
        mine, before = _weights(model), _weights(original)
        body = [n for n in mine if not n.startswith(f"{head}.")]
        values = {
            "outside the head, from the original": Value(relative_distance(_flat(mine, body), _flat(before, body))),
            "all weights, from the original": Value(relative_distance(_flat(mine, list(mine)), _flat(before, list(mine)))),
        }
        ours, theirs = _statistics(model), _statistics(original)
        if ours:
            values["statistics, from the original"] = Value(relative_distance(_flat(ours, list(ours)), _flat(theirs, list(ours))))
        bias = model.network.head.layer.bias
        if bias is not None and 0 < len(classes) < len(bias):
            gone = torch.zeros(len(bias), dtype=torch.bool)
            gone[list(classes)] = True
            values["bias of the forgotten rows"] = Value(float(bias.detach().cpu()[gone].mean() - bias.detach().cpu()[~gone].mean()))
        bars = {"distance from the original": {n: relative_distance(mine[n], before[n]) for n in mine if mine[n].ndim > 1}}
        others = [_weights(r) for r in retrained if r is not model]
        if others:
            gaps = [relative_distance(_flat(mine, list(mine)), _flat(o, list(mine))) for o in others]
            values["all weights, from a retrained model"] = Value(min(gaps))
            nearest = others[gaps.index(min(gaps))]
            bars["distance from a retrained model"] = {n: relative_distance(mine[n], nearest[n]) for n in mine if mine[n].ndim > 1}
        return Finding(values, bars=bars)


def _weights(model: Subject) -> dict[str, Tensor]:
    return {n: p.detach().cpu() for n, p in model.network.named_parameters().items()}


def _statistics(model: Subject) -> dict[str, Tensor]:
    return {n: b.detach().cpu() for n, b in model.network.module.named_buffers() if b.is_floating_point()}


def _flat(weights: dict[str, Tensor], names: list[str]) -> Tensor:
    return torch.cat([weights[n].reshape(-1) for n in names]) if names else torch.zeros(1)
