"""Likeness: how alike its features are to the original's and to retrained models', and what they tell of having been forgotten."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.metrics.likeness import information, information_difference, linear_cka, neighbour_percentile


@dataclass(frozen=True)
class Likeness(Audit):
    """Linear CKA, the information difference and the forgotten neighbour's percentile, of the features that the head reads; none of them decides a verdict.

    CKA (Kornblith et al., 2019, arXiv:1905.00414) with the original says how much stayed, with a retrained model how near it came; retrained models of
    other seeds set the measure. The information difference (Jeon et al., 2024, arXiv:2405.17878) asks how well features tell forgotten from retained
    samples, 0 as in retrained models and 1 as in the original; here at the last layer alone and by a logistic
    regression with five folds, where the paper trains a critic at several layers. A mask on the head leaves it at 1. The percentile is our reading of RULER's M4 (Cosma and
    Finke, 2026, arXiv:2605.27569, its abstract) and needs no other model: forgotten samples that are still more like each other than like anything retained have one near 1. But a
    class that was never seen lies together too, so that retrained models are its measure as well.

    Args:
        most: Forgotten samples looked at, and as many retained ones.
    """

    question = "Are its features the original's, or a retrained model's?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "CKA with the original": Row("as retrained", "share", 0, "likeness of features on forgotten samples, 0 to 1", "features"),
        "CKA with a retrained model": Row("as retrained", "share", 0, "the same with retrained models, their mean", "features"),
        "forgotten neighbour's percentile": Row(
            "as retrained", "share", 0, "retained samples less like a forgotten one than its nearest forgotten neighbour is, mean over the forgotten", "features"
        ),
        "information difference": Row("as retrained", "ratio", 0, "what features tell of having been forgotten: 0 as in retrained models, 1 as in the original", "features"),
    }

    most: int = 500

    def __call__(self, model: Subject, *, forget: Samples, retain: Samples, original: Subject | None = None, retrained: tuple[Subject, ...] = ()) -> Finding:
        """Compare features."""
        others = [r for r in retrained if r is not model]
        if not all(m.headed for m in (model, *others, *([original] if original else []))):
            return Finding(skipped="no layer of one of the models gives its logits, so it shows no features")
        gone = forget.at_most(self.most)
        stay = retain[torch.arange(min(len(retain), len(gone))) * len(retain) // min(len(retain), len(gone))]
        mine, values, n = model.on(gone)[2], dict[str, Value](), len(gone)
        if n > 1:
            values["forgotten neighbour's percentile"] = Value(float(neighbour_percentile(mine, model.on(stay)[2]).mean()), n=n)
        if original is not None:
            values["CKA with the original"] = Value(linear_cka(mine, original.on(gone)[2]), n=n)
        if others:
            values["CKA with a retrained model"] = Value(statistics.fmean(linear_cka(mine, r.on(gone)[2]) for r in others), n=n)
        # Of a single sample there is none to fit to beside the one that is asked after.
        if others and original is not None and n > 1 and len(stay) > 1:
            told = information_difference(_told(model, gone, stay), _told(original, gone, stay), statistics.fmean(_told(r, gone, stay) for r in others))
            values |= {} if told is None else {"information difference": Value(told, n=n + len(stay))}
        return Finding(values)


def _told(model: Subject, gone: Samples, stay: Samples) -> float:
    """Bits that its features tell of having been forgotten."""
    sides: list[Tensor] = [model.on(part)[2] for part in (gone, stay)]
    return information(torch.cat(sides), torch.cat([torch.ones(len(gone)), torch.zeros(len(stay))]).long())
