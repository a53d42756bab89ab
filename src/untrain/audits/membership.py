"""Membership: can what was forgotten be told from samples of its kind that no model was trained on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.counting import difference, interval
from untrain.core.data import Samples
from untrain.metrics.membership import calibrated, modified_entropy, scaled_confidence
from untrain.metrics.ranked import caught, ranked


@dataclass(frozen=True)
class Membership(Audit):
    """Rank tests of the forgotten samples against a hold-out, class by class: is one group's confidence above the other's?

    The score is log(p_y / (1 - p_y)), of Carlini et al., 2022, arXiv:2112.03570. To a model that was trained without the
    forgotten they are samples like those of the hold-out, so that each order of the two is as likely as another and the
    chance of a rank sum is exact: no retrained model is needed for that, and none of what a method does to all images alike
    matters. Samples are compared within their class alone. Where retrained models are at hand their mean score says how
    hard a sample is, and what a straight line through it explains is taken off (calibrated), which sees far more;
    a retrained model is calibrated by the others.

    An AUC of .5 means that the two cannot be told apart; above it the forgotten are better known, below it they stand out
    the other way (the Streisand effect). An average hides single samples that leak: the share of the forgotten that is
    caught at 1 % of false alarms (Clopper-Pearson) says more of those, and takes a hold-out of 500. How much oftener the
    forgotten are named as labelled than the hold-out (Newcombe's interval) is told beside it, over all classes together.

    Args:
        alarms: Share of the hold-out that may be called forgotten.
        enough: Samples of the hold-out below which no share is told at such a rate.
    """

    question = "Can the forgotten samples be told from samples never seen?"
    rows: ClassVar = {
        "membership": Row("as retrained", "share", +1, "chance that a forgotten sample is surer than one never seen, of its class (AUC); .5 means no trace", "membership"),
        "membership, calibrated": Row("as retrained", "share", +1, "the same beside what retrained models make of each sample", "membership"),
        "membership by modified entropy": Row("as retrained", "share", +1, "the same by Song and Mittal's modified entropy", "membership"),
        "named as labelled, less the hold-out": Row(
            "as retrained", "share", +1, "forgotten samples named as labelled, less that of samples never seen; 0 means no trace", "membership"
        ),
        "caught at 1 % false alarms": Row("as retrained", "share", +1, "forgotten samples surer than 99 % of the hold-out; .01 means no trace", "membership"),
    }

    alarms: float = 0.01
    enough: int = 500

    def __call__(self, model: Subject, *, forget: Samples, holdout: Samples, retrained: tuple[Subject, ...] = ()) -> Finding:
        """Rank."""
        labels = forget.y, holdout.y
        mine = _scores(model, forget), _scores(model, holdout)
        first = ranked(*mine, labels)
        if first is None:
            return Finding(skipped="the hold-out has no sample of a class that is to be forgotten; bring 75 or more of the same kind")
        values = {"membership": Value(**first.told)}
        others = [(_scores(r, forget), _scores(r, holdout)) for r in retrained if r is not model]
        if others:
            hard = torch.cat([torch.stack(side).mean(0) for side in zip(*others, strict=True)])
            eased = calibrated(torch.cat(mine), hard)
            second = ranked(eased[: len(forget)], eased[len(forget) :], labels)
            values |= {"membership, calibrated": Value(**second.told)} if second is not None else {}
        sure = ranked(-_entropy(model, forget), -_entropy(model, holdout), labels)
        values |= {"membership by modified entropy": Value(**sure.told)} if sure is not None else {}
        known = torch.isin(labels[1], labels[0])
        right, unseen = _right(model, forget), _right(model, holdout)[known]
        apart = float(right.double().mean() - unseen.double().mean())
        values["named as labelled, less the hold-out"] = Value(apart, *difference(int(right.sum()), len(right), int(unseen.sum()), len(unseen)), len(right))
        if int(known.sum()) >= self.enough:
            hits, n = caught(mine[0], mine[1][known], self.alarms)
            values["caught at 1 % false alarms"] = Value(hits / n, *interval(hits, n), n)
        return Finding(values)


def _right(model: Subject, samples: Samples) -> Tensor:
    logits, labels, _ = model.on(samples)
    return logits.argmax(1) == labels


def _scores(model: Subject, samples: Samples) -> Tensor:
    logits, labels, _ = model.on(samples)
    return scaled_confidence(logits, labels)


def _entropy(model: Subject, samples: Samples) -> Tensor:
    logits, labels, _ = model.on(samples)
    return modified_entropy(logits, labels)
