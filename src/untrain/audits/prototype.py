"""Prototype: is the class still in the features? One-shot prototypes and a head learned anew from a few images, beside retrained models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.metrics.recovery import Refit, prototype_recall, whitened


@dataclass(frozen=True)
class Prototype(Audit):
    """What little help brings back, with the features frozen.

    A network that never saw a class still separates it somewhat, so only the difference to retrained models tells.

    One-shot: one forgotten training image is the prototype of its class; the share of the class's test images
    nearer to it than to any retained class's mean. Head-reset relearning: the whole head is fitted anew, in closed form
    (ridge regression), to the retained samples and to 1, 2 and 5 forgotten ones; mean recall.

    Features are whitened by the retained ones' covariance first, and nothing is taken from the model's own head. So
    neither a mask on it matters, nor a temperature, nor whether units are written larger, smaller or in another order.

    Args:
        shots: Prototypes for each class.
        repeats: Times the head is fitted to each number of forgotten samples.
        share: Weight of the forgotten samples beside the retained ones in that fit.
        pool: Training samples of each class that prototypes, means and fits come from.
        most: Retained ones in all, the same number of each class: of many classes fewer of each.
    """

    question = "Is the class still in the features?"
    rows: ClassVar = {
        "one-shot prototype": Row("as retrained", "share", +1, "forgotten test images recovered by one training image as a prototype, mean over draws", "features", True),
        "head-reset relearning": Row("as retrained", "share", +1, "forgotten test images recovered by a head fitted anew to a few forgotten images, mean", "features", True),
    }

    shots: int = 500
    repeats: int = 16
    share: float = 10 / 64
    pool: int = 500
    most: int = 50_000

    def __call__(self, model: Subject, *, forget: Samples, retain: Samples, test: Samples, classes: tuple[int, ...]) -> Finding:
        """Recover."""
        if not bool(torch.isin(test.y, torch.tensor(classes)).any()):
            return Finding(skipped="there is no test image of what was to be forgotten")
        if not model.headed:
            return Finding(skipped="no layer of one of the models gives its logits, so it shows no features")
        _, known_y, known = model.on(retain.first(self.pool).at_most(self.most))
        _, gone_y, gone = model.on(forget.first(self.pool))
        _, test_y, seen = model.on(test)
        known, gone, seen = whitened(known, gone, seen)
        means = torch.stack([known[known_y == c].mean(0) for c in torch.unique(known_y)])
        refit = Refit(known, known_y)
        recalls, fitted, n = [], [], 0
        for label in classes:
            probes, mine = seen[test_y == label], gone[gone_y == label]
            if not (len(probes) and len(mine)):
                continue
            order = torch.randperm(len(mine))
            recalls.append(prototype_recall(mine[order[: self.shots]], probes, means).mean())
            fitted.append(self._fitted(refit, mine, probes))
            n += len(probes)
        if not n:
            return Finding(skipped="no class that was to be forgotten has both training and test images")
        return Finding(
            {
                "one-shot prototype": Value(float(torch.stack(recalls).mean()), n=n),
                "head-reset relearning": Value(sum(fitted) / len(fitted), n=n),
            }
        )

    def _fitted(self, refit: Refit, mine: Tensor, probes: Tensor) -> float:
        shots = [mine[torch.randperm(len(mine))[:k]] for k in FEW for _ in range(self.repeats)]
        return float(torch.stack([refit.recall(some, probes, self.share) for some in shots]).mean())


FEW = (1, 2, 5)
"""How many forgotten samples the head is fitted to."""
