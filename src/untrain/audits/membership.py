"""Membership: can what was forgotten be told from samples of its kind that no model was trained on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.counting import difference, interval
from untrain.core.data import Samples
from untrain.core.exposed import leave_most
from untrain.metrics.coins import epsilon_between
from untrain.metrics.membership import calibrated, modified_entropy, scaled_confidence
from untrain.metrics.ranked import caught, counting_for, mixed, ranked
from untrain.metrics.shadow import told_apart


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
    caught at 1 % of false alarms (Clopper-Pearson) says more of those, and takes a hold-out of 500; at .1 % it takes 5,000, of which as
    many, five, may be called forgotten. How many stand out one by one (Benjamini-Hochberg over conformal p, within a class; 10 % of those by chance) is told by
    the calibrated score where there is one, and so is a lower bound of epsilon: how often guesses are right that the highest scores were trained on and the lowest
    not (Steinke et al., 2023, arXiv:2305.08846). It is exact where coins parted the two (`canary`), and approximate here. Which samples stand out most
    is a fact about them, and no place is written where none is asked for. How much oftener the
    forgotten are named as labelled than the hold-out (Newcombe's interval) is told beside it. In this, and in what is caught, the hold-out is weighed to the
    forgotten's mix of classes: else a class that is easier, or that any model is surer of, would be a trace in all.

    Args:
        alarms: Share of the hold-out that may be called forgotten.
        enough: Samples of the hold-out below which no share is told at such a rate; at a tenth of the rate it takes ten times as many. Once weighed they count for half at least.
        share: Share of the samples told one by one that may be there by chance.
        shown: How many of those that stand out most are named by their place in the data; 0 for none.
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
        "caught at .1 % false alarms": Row("as retrained", "share", +1, "forgotten samples surer than 99.9 % of the hold-out; .001 means no trace", "membership"),
        "told one by one, without shadows": Row("low", "count", +1, "forgotten samples that none never seen of their class explains; a tenth of these by chance", "membership"),
        "epsilon at least, approximate": Row("low", "distance", +1, "lower bound of the epsilon of differential privacy that explains how the two are told apart", "membership"),
    }
    axes: ClassVar = {"most exposed, without shadows": ("place in the data", "score of membership")}

    alarms: float = 0.01
    enough: int = 500
    share: float = 0.1
    shown: int = 0

    def __call__(self, model: Subject, *, forget: Samples, holdout: Samples, retrained: tuple[Subject, ...] = ()) -> Finding:
        """Rank."""
        labels = forget.y, holdout.y
        mine = _scores(model, forget), _scores(model, holdout)
        first = ranked(*mine, labels)
        if first is None:
            return Finding(skipped="the hold-out has no sample of a class that is to be forgotten; bring 75 or more of the same kind")
        values, last = {"membership": Value(**first.told)}, mine
        others = [(_scores(r, forget), _scores(r, holdout)) for r in retrained if r is not model]
        if others:
            hard = torch.cat([torch.stack(side).mean(0) for side in zip(*others, strict=True)])
            eased = calibrated(torch.cat(mine), hard)
            last = eased[: len(forget)], eased[len(forget) :]
            second = ranked(*last, labels)
            values |= {"membership, calibrated": Value(**second.told)} if second is not None else {}
        sure = ranked(-_entropy(model, forget), -_entropy(model, holdout), labels)
        values |= {"membership by modified entropy": Value(**sure.told)} if sure is not None else {}
        weights = mixed(labels)
        like, right, unseen = counting_for(weights), _right(model, forget)[torch.isin(*labels)], _right(model, holdout)
        hits, n, share = int(right.sum()), len(right), float(weights[unseen].sum() / weights.sum())
        values["named as labelled, less the hold-out"] = Value(hits / n - share, *difference(hits, n, share * like, like), n)
        for name, alarms, enough in (("1 %", self.alarms, self.enough), (".1 %", self.alarms / 10, 10 * self.enough)):
            if int((weights > 0).sum()) >= enough and like >= enough / 2:
                hits, n = caught(*mine, alarms, labels)
                values[f"caught at {name} false alarms"] = Value(hits / n, *interval(hits, n), n)
        values["told one by one, without shadows"] = Value(float(told_apart(*last, self.share, labels).sum()), n=len(forget))
        epsilon, guessed = epsilon_between(*last, labels)
        values["epsilon at least, approximate"] = Value(epsilon, n=guessed)
        places = dict(zip(map(str, forget.index.tolist()), last[0].tolist(), strict=True))
        return Finding(values, bars={"most exposed, without shadows": places} if self.shown else {})

    def beside(self, findings: dict[str, list[Finding]]) -> None:
        """Leave the places that stand out most in the unlearned model, and the others' scores at these."""
        if self.shown:
            leave_most(findings, "most exposed, without shadows", self.shown)


def _right(model: Subject, samples: Samples) -> Tensor:
    logits, labels, _ = model.on(samples)
    return logits.argmax(1) == labels


def _scores(model: Subject, samples: Samples) -> Tensor:
    logits, labels, _ = model.on(samples)
    return scaled_confidence(logits, labels)


def _entropy(model: Subject, samples: Samples) -> Tensor:
    logits, labels, _ = model.on(samples)
    return modified_entropy(logits, labels)
