"""Graft: does the original's head, set upon the features as they are now, still name the forgotten classes?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, counted
from untrain.core.counting import above
from untrain.core.data import Samples


@dataclass(frozen=True)
class Graft(Audit):
    """The original's head on the model's features: logits = features @ W0.T + b0, without a step of training.

    Where the features are still those that the head was trained on it names the retained classes as before, and the forgotten ones
    too: what was learned is one transplant away. Features of a retrained model mean something else in each unit, so that the
    head names hardly anything there. Where the head no longer names what is retained it says nothing of what was forgotten,
    and a model whose units were put in another order is not seen through.

    So the first row has a p only where the second is above half of the original's retained accuracy: that of so many being named by a head that names as much by
    chance as `share` says. On a body that all share, as a pretrained one that was frozen, the head works on retrained models too, and the verdict leaves the row out.

    Args:
        share: Share of the forgotten above which more are named than by chance, and at the least twice that of one class. Ours: twice that of one of ten, since upon other
            features a head may call many images one class, however many there are.
    """

    question = "Does the original's head still work on its features?"
    rows: ClassVar = {
        "graft, forgotten": Row("as retrained", "share", +1, "forgotten test images that the original's head names rightly on these features", "features", True),
        "graft, retained": Row("as retrained", "share", 0, "retained test images that it names rightly; where few, the row above says nothing", "features"),
    }

    share: float = 0.2

    def __call__(self, model: Subject, *, test: Samples, classes: tuple[int, ...], original: Subject) -> Finding:
        """Transplant."""
        if not (model.headed and original.headed):
            return Finding(skipped="no layer of one of the models gives its logits, so there is no head to set upon the other")
        _, labels, features = model.on(test)
        head = original.network.head
        weight, bias = head.matrix.detach().cpu().double(), head.layer.bias
        if features.shape[1] != weight.shape[1]:
            return Finding(skipped=f"the original's head reads {weight.shape[1]} features and one of the models has {features.shape[1]}")
        logits: Tensor = features.double() @ weight.T + (0 if bias is None else bias.detach().cpu().double())
        right = logits[:, : model.width].argmax(1) == labels
        gone = torch.isin(labels, torch.tensor(classes))
        sides = {"graft, forgotten": right[gone], "graft, retained": right[~gone]}
        values = {name: counted(hits) for name, hits in sides.items() if len(hits)}
        known = (original.on(test)[0].argmax(1) == labels)[~gone]
        if len(values) == 2 and int(right[~gone].sum()) > int(known.sum()) / 2:
            chance = max(self.share, 2 / logits[:, : model.width].shape[1])
            values["graft, forgotten"] = replace(values["graft, forgotten"], p=above(int(right[gone].sum()), int(gone.sum()), chance))
        return Finding(values)
