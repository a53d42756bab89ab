"""Divergence: how far its answers lie from those of retrained models, the original and an untrained network, by the field's usual numbers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.core.head import of_classes
from untrain.core.network import Network
from untrain.core.train import predict
from untrain.metrics.divergence import activation_distance, completeness, entropy, js_divergence, largest_gap, rf_jsd, zrf


@dataclass(frozen=True)
class Divergence(Audit):
    """JS divergence, ZRF, activation distance, completeness, RF-JSD and the Streisand test, as papers define them; none of them decides a verdict.

    They are told for comparison with papers. JS is in bits and divided by nothing: published numbers of ZRF and JS were often
    made with the KL turned round and divided by the number of classes (`metrics.divergence.js_compat`), and are not comparable. All of them look at
    answers, which a mask on the head changes; two retrained models of other seeds lie apart too, and that is the measure of any distance.
    Of a retrained model the distance is that to the others. Papers stand beside the formulas in `untrain.metrics.divergence`.

    Args:
        most: Samples of each part looked at, the same number of each class.
    """

    question = "How far are its answers from a retrained model's?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "JS divergence": Row("low", "distance", 0, "mean over forgotten samples, from a retrained model's answers, in bits"),
        "activation distance": Row("low", "distance", 0, "mean distance of probabilities on forgotten samples from a retrained model's"),
        "completeness": Row("high", "share", 0, "test samples that are called what a retrained model calls them"),
        "ZRF": Row("as retrained", "share", 0, "1 less the JS divergence from an untrained network on forgotten samples; legacy: its aim is not what retraining gives"),
        "RF-JSD": Row("as retrained", "distance", 0, "divergence of the mean answer on forgotten samples from the original's mean answer on test samples, in bits"),
        "Streisand gap": Row("as retrained", "distance", 0, "largest gap between the distributions of entropy on forgotten samples and on unseen ones of their classes, 0 to 1"),
    }

    most: int = 5000

    def __call__(
        self,
        model: Subject,
        *,
        forget: Samples,
        test: Samples,
        original: Subject | None = None,
        holdout: Samples | None = None,
        retrained: tuple[Subject, ...] = (),
    ) -> Finding:
        """Compare."""
        gone, seen = forget.at_most(self.most), test.at_most(self.most)
        mine, n = _answers(model, gone), len(gone)
        values = {}
        others = [r for r in retrained if r is not model]
        if others:
            far = [_answers(r, gone) for r in others]
            values["JS divergence"] = Value(statistics.fmean(float(js_divergence(mine, p).mean()) for p in far), n=n)
            values["activation distance"] = Value(statistics.fmean(activation_distance(mine, p) for p in far), n=n)
            said = model.on(seen)[0].argmax(1)
            values["completeness"] = Value(statistics.fmean(completeness(said, r.on(seen)[0].argmax(1)) for r in others), n=len(seen))
        untrained = _untrained(model)
        if untrained is not None:
            logits, labels, _ = predict(untrained, gone)
            values["ZRF"] = Value(zrf(mine, of_classes(logits, labels, model.width).double().softmax(1)), n=n)
        if original is not None:
            values["RF-JSD"] = Value(rf_jsd(mine, _answers(original, seen)), n=n)
        unseen = holdout if holdout is not None else test
        alike = unseen[torch.isin(unseen.y, torch.unique(gone.y))]
        if len(alike):
            values["Streisand gap"] = Value(largest_gap(entropy(mine), entropy(_answers(model, alike))), n=n)
        return Finding(values)


def _answers(model: Subject, samples: Samples) -> Tensor:
    return model.on(samples)[0].double().softmax(1)


def _untrained(model: Subject) -> Network | None:
    """The same network, drawn anew; None where a layer with weights cannot be."""
    made = model.copy()
    owners = [part for part in made.module.modules() if next(iter(part.parameters(recurse=False)), None) is not None]
    if not all(callable(getattr(part, "reset_parameters", None)) for part in owners):
        return None
    for part in owners:
        cast(Any, part).reset_parameters()
    return made
