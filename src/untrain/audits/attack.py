"""Attack: how far the forgotten classes come back to one who picks the attack that brings back most, and how far the weights have gone."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.core.errors import Diverged
from untrain.core.fresh import renew
from untrain.core.network import Network
from untrain.core.relearning import Rows, places, relearned
from untrain.core.train import Optimizer, predict
from untrain.evidence.statistics import limit
from untrain.metrics.recovery import turned

BEGINS: tuple[tuple[Rows, str], ...] = (("kept", ""), ("drawn", ", row drawn"))
"""The head's forgotten rows as an attack begins, and how its rows of the table are called."""


@dataclass(frozen=True)
class Attack(Audit):
    """Relearning by sgd and by Adam at three rates each, of which the one with the largest area under its curve counts; told, and judged by no verdict.

    A single optimizer at a single rate can favour one model over another: what withstands sgd need not withstand Adam (Tran and Woo, arXiv:2604.09391). So each
    model, and each retrained model, is attacked by all six and answers for its worst, once with the head's rows as they are and once with the forgotten
    ones drawn at the size of the others. All weights move in proportion to their own size, under both optimizers, as the relearn audit says: at plain
    rates Adam would tell networks apart that answer the same and are only written otherwise. An attack that goes to infinity brings nothing back, and is left out.

    Beside two retrained models or more, the distance of the worst beyond the 95 % band that they leave for one more of them is told on both sides: above it
    the class is easier to relearn than by a model that never saw it; below, harder, which no retraining makes it. The method has done more than to
    forget: it is over-scrubbed.

    Two rows look at the weights, since both foretell how a model withstands relearning ("From Dormant to Deleted", arXiv:2505.22310). The loss barrier is the highest
    mean loss on retained images on the straight way from the model to the original, less the mean of its two ends, BatchNorm's statistics renewed at each point. Filters are
    compared by their angle, since ahead of BatchNorm their length says nothing. Both hang on how a network is written, as all straight ways do.

    What it takes, for each model: 12 times steps * batch images forward and backward, and steps / every + 1 looks at the probes; and 2 (points + 1) looks at the retained.

    Args:
        steps: Steps of each attack.
        every: Steps between two looks.
        batch: Batch size.
        share: Share of forgotten samples in every batch.
        sgd: Middle rate of sgd, relative to each weight's size.
        adam: Middle rate of Adam, relative to each weight's size.
        rates: Rates of each optimizer, around the middle one.
        apart: How many times the one before each rate is.
        forgotten: Forgotten training samples, of each forgotten class.
        retained: Retained training samples, of each retained class.
        probes: Forgotten test samples looked at, in all.
        points: Pieces that the straight way to the original is cut into.
        path: Retained training samples whose loss is looked at on it, in all.
    """

    question = "How far does it come back to its worst attack?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "worst relearning recall": Row("as retrained", "share", +1, "forgotten test accuracy, mean over the steps of the attack that brings back most", "relearning"),
        "worst relearning recall, row drawn": Row("as retrained", "share", +1, "the same, with the head's forgotten rows drawn anew", "relearning"),
        "above the retrained models' band": Row("low", "share", +1, "how far the farther of the two lies above what one more retrained model would show", "relearning"),
        "over-scrubbed": Row("low", "share", 0, "how far the farther of the two lies below what one more retrained model would show", "relearning"),
        "loss barrier to the original": Row("as retrained", "distance", 0, "highest retained loss on the straight way to the original, less the mean of its ends", "weights"),
        "filters turned from the original's": Row("as retrained", "distance", 0, "1 less the cosine of a filter with the original's, mean over those outside the head", "weights"),
    }
    axes: ClassVar = {
        "worst attack": ("optimizer steps", "forgotten test accuracy"),
        "worst attack, row drawn": ("optimizer steps", "forgotten test accuracy"),
        "attacks": ("attack", "mean forgotten test accuracy"),
        "attacks, row drawn": ("attack", "mean forgotten test accuracy"),
        "way to the original": ("share of the way", "loss on retained images"),
    }

    steps: int = 30
    every: int = 5
    batch: int = 32
    share: float = 10 / 64
    sgd: float = 0.03
    adam: float = 0.003
    rates: int = 3
    apart: float = 3.0
    forgotten: int = 200
    retained: int = 100
    probes: int = 200
    points: int = 10
    path: int = 200

    def __call__(self, model: Subject, *, forget: Samples, retain: Samples, test: Samples, classes: tuple[int, ...], original: Subject | None = None) -> Finding:
        """Attack copies, and walk to the original."""
        if not model.headed:
            return Finding(skipped="no layer of one of the models gives its logits, so no row of a head can be drawn anew")
        gone, known = forget.first(self.forgotten), retain.first(self.retained)
        probes = test[torch.isin(test.y, torch.tensor(classes))].at_most(self.probes)
        if not len(probes):
            return Finding(skipped="there is no test image of what was to be forgotten")
        # One order of images for all, so that attacks differ in nothing else.
        order = places(len(gone), len(known), steps=self.steps, batch=self.batch, share=self.share)
        values, curves, bars = {}, {}, {}
        for rows, how in BEGINS:
            found, lost = {}, list[Diverged]()
            for optimizer, lr in self.attacks():
                try:
                    found[f"{optimizer} {lr:.2g}"] = relearned(model.copy(), gone + known, order, probes, classes, rows=rows, every=self.every, lr=lr, optimizer=optimizer)
                except Diverged as error:
                    lost.append(error)
            if not found:
                raise lost[0]
            areas = {name: statistics.fmean(share for _, share in curve) for name, curve in found.items()}
            worst = max(areas, key=lambda name: areas[name])
            values[f"worst relearning recall{how}"] = Value(areas[worst], n=len(probes))
            curves[f"worst attack{how}"] = ([float(step) for step, _ in found[worst]], [share for _, share in found[worst]])
            bars[f"attacks{how}"] = areas
        if original is not None:
            values |= self._weights(model, original, retain, curves)
        return Finding(values, curves, bars)

    def attacks(self) -> list[tuple[Optimizer, float]]:
        """Each an optimizer and its rate."""
        by: tuple[tuple[Optimizer, float], ...] = (("sgd", self.sgd), ("adam", self.adam))
        return [(optimizer, lr * self.apart ** (i - (self.rates - 1) / 2)) for optimizer, lr in by for i in range(self.rates)]

    def beside(self, findings: dict[str, list[Finding]]) -> None:
        """The distance beyond the band of the retrained models, on both sides; each of these is compared with the others."""
        names = [f"worst relearning recall{how}" for _, how in BEGINS]
        for finding in (f for column in findings.values() for f in column):
            others = [f for f in findings["retrained"] if f is not finding]
            if len(others) < 2:
                continue
            above, below = 0.0, 0.0
            for name in names:
                own, theirs = finding.values[name].value or 0.0, [f.values[name].value or 0.0 for f in others]
                high, low = (limit(theirs, side, level=0.025) for side in (+1, -1))
                above, below = max(above, own - high), max(below, low - own)
            finding.values["above the retrained models' band"] = Value(above)
            finding.values["over-scrubbed"] = Value(below)

    def _weights(self, model: Subject, original: Subject, retain: Samples, curves: dict[str, tuple[list[float], list[float]]]) -> dict[str, Value]:
        """How far the weights are from the original's, where these have the same layers."""
        mine, before = ({n: p.detach() for n, p in m.network.named_parameters().items()} for m in (model, original))
        if mine.keys() != before.keys() or any(mine[n].shape != before[n].shape for n in mine):
            return {}
        head = model.network.head.rows(())
        angles = [turned(mine[n], before[n]) for n in mine if mine[n].ndim > 1 and n not in head]
        known, way = retain.at_most(self.path), []
        known = known[torch.randperm(len(known))]
        between, shares = model.copy(), [i / self.points for i in range(self.points + 1)]
        for share in shares:
            with torch.no_grad():
                for name, weight in between.named_parameters().items():
                    weight.copy_(torch.lerp(mine[name], before[name].to(mine[name]), share) if weight.is_floating_point() else mine[name])
            renew(between, known, batch=100)
            way.append(_loss(between, known))
        curves["way to the original"] = (shares, way)
        values = {"loss barrier to the original": Value(max(way) - (way[0] + way[-1]) / 2, n=len(known))}
        return values | ({"filters turned from the original's": Value(float(torch.cat(angles).mean()))} if angles else {})


def _loss(network: Network, samples: Samples) -> float:
    """Mean cross-entropy."""
    logits, labels, _ = predict(network, samples)
    value: Tensor = F.cross_entropy(logits.double(), labels)
    return float(value)
