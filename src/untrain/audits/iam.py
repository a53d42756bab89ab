"""IAM: how far is each forgotten sample unlearned, by one model that never saw it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.metrics.ranked import ranked
from untrain.metrics.shadow import iam


@dataclass(frozen=True)
class IAM(Audit):
    """Interpolated approximate measurement: where each sample's confidence lies between that of models that never saw it and that of one that fits it.

    Wang et al., 2025, arXiv:2506.06112. Retrained models are its shadows, and one is enough; a retrained model is measured by the others. Two things are told.
    `IAM` ranks the forgotten beside a hold-out: certainty is the fitting end for both, so that to a model that saw neither each order of them is as likely as another, within a
    class, and the p is exact. `IAM, unlearned` is the paper's score, with the original as the fitting end: its mean over the forgotten samples, to be compared with that of
    retrained models and not with 1, since a sample that the original does not know better than they do scores about one half. None of both decides a verdict.

    Args:
        points: Signals between both ends; 100 as in the authors' code.
    """

    question = "How far is each forgotten sample unlearned, by one model that never saw it?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "IAM": Row("as retrained", "share", +1, "chance that a forgotten sample is less unlearned than one never seen, of its class (AUC); .5 means no trace", "membership"),
        "IAM, unlearned": Row("as retrained", "share", 0, "mean score of the forgotten samples: 0 as the original knows them, higher the less they are known", "membership"),
    }

    points: int = 100

    def __call__(self, model: Subject, *, forget: Samples, holdout: Samples, retrained: tuple[Subject, ...], original: Subject | None = None) -> Finding:
        """Measure."""
        both = forget + holdout[torch.isin(holdout.y, forget.y)]
        if len(both) == len(forget):
            return Finding(skipped="the hold-out has no sample of a class that is to be forgotten; bring 75 or more of the same kind")
        others = [r for r in retrained if r is not model]
        if not others:
            return Finding()
        n, own, unseen = len(forget), _sure(model, both), torch.stack([_sure(r, both) for r in others])
        known = -iam(own, unseen, points=self.points)
        ranks = ranked(known[:n], known[n:], (both.y[:n], both.y[n:]))
        values = {} if ranks is None else {"IAM": Value(**ranks.told)}
        if original is not None:
            values["IAM, unlearned"] = Value(float(iam(own[:n], unseen[:, :n], _sure(original, forget), self.points).mean()), n=n)
        return Finding(values)


def _sure(model: Subject, samples: Samples) -> Tensor:
    """Probability of each sample's label."""
    logits, labels, _ = model.on(samples)
    return logits.double().softmax(1).gather(1, labels[:, None])[:, 0]
