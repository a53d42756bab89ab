"""Strangeness: do images of the class look as strange to the model as they do to one that never saw them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.metrics.recovery import strangeness, whitened


@dataclass(frozen=True)
class Strangeness(Audit):
    """How far the class's test images lie from everything retained, in the features that the head reads.

    To a network that never saw a class its images look strange. To one that learned it they stand apart further still; to one
    whose features of them were moved onto those of other classes they look too familiar. So both sides tell, and against
    retrained models only. Out-of-distribution detection by nearest neighbours: Sun et al., arXiv:2204.06507.

    Features are whitened by the retained ones' covariance, and the head is not looked at.

    Args:
        pool: Retained training samples that are looked at, in all; of each class at most 500.
        probes: Test samples of either side, in all.
        nearest: Which neighbour counts; the first is one image's accident.
    """

    question = "Does the class look strange?"
    rows: ClassVar = {
        "strangeness": Row(
            "as retrained", "ratio", +1, "median distance of forgotten test images from their fifth-nearest retained training image, over that of retained ones", "features", True
        )
    }

    pool: int = 5000
    probes: int = 2000
    nearest: int = 5

    def __call__(self, model: Subject, *, retain: Samples, test: Samples, classes: tuple[int, ...]) -> Finding:
        """Measure distances."""
        gone = torch.isin(test.y, torch.tensor(classes))
        if not bool(gone.any()) or bool(gone.all()):
            return Finding(skipped="there are no test images of both what was to be forgotten and what stays")
        if not model.headed:
            return Finding(skipped="no layer of one of the models gives its logits, so it shows no features")
        _, _, known = model.on(retain.first(500).at_most(self.pool))
        _, _, seen = model.on(test)
        mine, others = _spread(seen[gone], self.probes), _spread(seen[~gone], self.probes)
        known, mine, others = whitened(known, mine, others)
        return Finding({"strangeness": Value(strangeness(known, mine, others, nearest=self.nearest), n=len(mine))})


def _spread(features: Tensor, most: int) -> Tensor:
    """At most so many rows, evenly over all."""
    return features if len(features) <= most else features[torch.linspace(0, len(features) - 1, most).long()]
