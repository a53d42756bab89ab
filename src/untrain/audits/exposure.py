"""Exposure: which forgotten samples can be told from samples never seen, by who knows models with and without each?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Shadow, Subject, Value
from untrain.core.counting import interval
from untrain.core.data import Samples
from untrain.core.data.overlap import places
from untrain.core.exposed import leave_most
from untrain.metrics.membership import scaled_confidence
from untrain.metrics.ranked import caught, counting_for, mixed, ranked
from untrain.metrics.shadow import interpolated, kernel_ratio, lira, rmia, told_apart


@dataclass(frozen=True)
class Exposure(Audit):
    """Attacks that compare each sample's score with what models say that were trained with it and without it.

    Such models (`shadows`) see the retained samples and a random half of the forgotten and the held out. LiRA is Carlini's (2022, arXiv:2112.03570), U-LiRA the same beside
    shadows that the method itself has made forget their half (Hayes et al., 2024, arXiv:2403.01218), RMIA Zarifzadeh's (2024, arXiv:2312.03262). RULI's two games (Naderloui
    et al., 2025, arXiv:2506.13009) go by densities of kernels: privacy asks what U-LiRA asks; efficacy whether a forgotten sample, as this model has it, can be told from one
    never seen, as the original has it, beside shadows that forgot it and shadows that were trained without it. Two models are compared there, so that it has no p. Forgotten and
    held out samples go through all of it alike, so that to a model that saw neither each order of them is as likely as another, within a class: the null is exact, and
    an AUC of .5 means that the two cannot be told apart.

    An average hides single samples that leak. So it is told how many of the forgotten are caught at 1 % of false alarms (Clopper-Pearson), how many
    stand out one by one (Benjamini-Hochberg over conformal p; 10 % of those by chance), the hold-out weighed to the forgotten's mix of classes in both, and which are
    most exposed, by their place in the data.

    Args:
        alarms: Share of the hold-out that may be called forgotten.
        enough: Samples of the hold-out below which no share is told at such a rate; once weighed to the forgotten's mix of classes they have to count for half as many.
        share: Share of the samples told one by one that may be there by chance.
        gamma: How far ahead of another a sample has to be to dominate it (RMIA); 1 as its authors' code has it.
        shown: How many of the most exposed are named.
    """

    question = "Which forgotten samples can be told from samples never seen, by who knows models with and without each?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "LiRA": Row(
            "as retrained", "share", +1, "chance that a forgotten sample's likelihood ratio is above that of one never seen, of its class (AUC); .5 means no trace", "membership"
        ),
        "LiRA, caught at 1 % false alarms": Row("as retrained", "share", +1, "forgotten samples above 99 % of the hold-out; .01 means no trace", "membership"),
        "RMIA": Row("as retrained", "share", +1, "the same chance by RMIA", "membership"),
        "U-LiRA": Row("as retrained", "share", +1, "the same chance beside shadows that were made to forget by the same method", "membership"),
        "U-LiRA, caught at 1 % false alarms": Row("as retrained", "share", +1, "forgotten samples above 99 % of the hold-out by U-LiRA", "membership"),
        "RULI, privacy": Row("as retrained", "share", +1, "the same chance as U-LiRA's by densities of kernels", "membership"),
        "RULI, efficacy": Row(
            "as retrained",
            "share",
            +1,
            "chance that a forgotten sample looks more forgotten here than one never seen in the original; .5 means as if trained without it",
            "membership",
        ),
        "gone of the way": Row(
            "as retrained", "ratio", -1, "median of how far a forgotten sample's score has gone from models that saw it (0) to models that did not (1)", "membership"
        ),
        "told one by one": Row("low", "count", +1, "forgotten samples that no sample never seen explains; a tenth of these by chance", "membership"),
    }
    axes: ClassVar = {"most exposed": ("place in the data", "log of the likelihood ratio")}

    alarms: float = 0.01
    enough: int = 100
    share: float = 0.1
    gamma: float = 1.0
    shown: int = 10

    def __call__(self, model: Subject, *, forget: Samples, holdout: Samples, test: Samples, shadows: tuple[Shadow[Subject], ...], original: Subject | None = None) -> Finding:
        """Attack."""
        both = forget + holdout[torch.isin(holdout.y, forget.y)]
        member = torch.stack([shadow.saw(both) for shadow in shadows])
        if int(torch.stack([member.sum(0), (~member).sum(0)]).min()) < 2:
            return Finding(skipped="each sample takes two shadow models that saw it and two that did not; train 4 or more, such as 16 (untrain reference --shadows)")
        if len(both) == len(forget):
            return Finding(skipped="the hold-out has no sample of a class that is to be forgotten; bring 75 or more of the same kind")
        own = _scores(model, both)
        before = torch.stack([_scores(s.model, both) for s in shadows])
        told, labels = {"LiRA": lira(own, before, member)}, (both.y[: len(forget)], both.y[len(forget) :])
        forgot = torch.stack([_scores(s.after, both) for s in shadows if s.after is not None] or [own[:0]])
        if len(forgot) == len(shadows):
            told["U-LiRA"] = lira(own, forgot, member)
        values: dict[str, Value] = {}
        for name, found in told.items():
            values |= self._ranked(name, found, both, len(forget))
            if len(both) - len(forget) >= self.enough and counting_for(mixed(labels)) >= self.enough / 2:
                hits, n = caught(found[: len(forget)], found[len(forget) :], self.alarms, labels)
                values[f"{name}, caught at 1 % false alarms"] = Value(hits / n, *interval(hits, n), n)
        if "U-LiRA" in told:
            values |= self._ranked("RULI, privacy", kernel_ratio(own, forgot, member, forgot, ~member), both, len(forget))
            if original is not None:
                # The hold-out as a model has it that was trained, without it, and forgot nothing.
                trained = torch.cat([own[: len(forget)], _scores(original, both)[len(forget) :]])
                game = self._ranked("RULI, efficacy", kernel_ratio(trained, forgot, member, before, ~member), both, len(forget))
                values |= {name: replace(value, p=None, least=None) for name, value in game.items()}
        held = set(places(holdout))
        far = test[torch.tensor([place not in held for place in places(test)])]
        if len(far):
            sides = [torch.stack([_scores(s.model, part) for s in shadows]).sigmoid() for part in (both, far)]
            values |= self._ranked("RMIA", rmia(own.sigmoid(), sides[0], member, _scores(model, far).sigmoid(), sides[1], self.gamma), both, len(forget))
        way = interpolated(own, before, member)[: len(forget)].nanmedian()
        if bool(way.isfinite()):
            values["gone of the way"] = Value(float(way), n=len(forget))
        last = told.get("U-LiRA", told["LiRA"])
        mine, others = last[: len(forget)], last[len(forget) :]
        values["told one by one"] = Value(float(told_apart(mine, others, self.share, labels, across=True).sum()), n=len(forget))
        return Finding(values, bars={"most exposed": dict(zip(map(str, forget.index.tolist()), mine.tolist(), strict=True))})

    def _ranked(self, name: str, found: Tensor, both: Samples, n: int) -> dict[str, Value]:
        ranks = ranked(found[:n], found[n:], (both.y[:n], both.y[n:]))
        return {} if ranks is None else {name: Value(**ranks.told)}

    def beside(self, findings: dict[str, list[Finding]]) -> None:
        """Leave the places that are most exposed in the unlearned model, and the others' scores at these."""
        leave_most(findings, "most exposed", self.shown)


def _scores(model: Subject, samples: Samples) -> Tensor:
    logits, labels, _ = model.on(samples)
    return scaled_confidence(logits, labels)
