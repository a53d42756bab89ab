"""Predictions: what the model calls the test images of the forgotten classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples, distinct
from untrain.metrics.recovery import total_variation


@dataclass(frozen=True)
class Predictions(Audit):
    """The distribution of predicted classes on the forgotten classes' test images, and how far it is from the retrained models'.

    A model that never saw a class spreads its images over the classes they look like; one that was pushed away
    from it often has a favourite of its own. The distance of a retrained model is that to the mean of the others.
    """

    question = "What does it call the forgotten images now?"
    rows: ClassVar = {"distance of predictions": Row("low", "distance", 0, "total variation from the retrained models' mean distribution, 0 to 1")}
    axes: ClassVar = {"predictions on the forgotten classes": ("predicted class", "share of test images")}

    def __call__(self, model: Subject, *, test: Samples, classes: tuple[int, ...], retrained: tuple[Subject, ...] = ()) -> Finding:
        """Count what is predicted."""
        if not bool(torch.isin(test.y, torch.tensor(classes)).any()):
            return Finding(skipped="there is no test image of what was to be forgotten")
        shares = self._shares(model, test, classes)
        names = distinct(test.names) or [str(i) for i in range(len(shares))]
        bars = {"predictions on the forgotten classes": dict(zip(names, shares.tolist(), strict=True))}
        others = [self._shares(r, test, classes) for r in retrained if r is not model]
        if not others:
            return Finding(bars=bars)
        n = int(torch.isin(test.y, torch.tensor(classes)).sum())
        return Finding({"distance of predictions": Value(total_variation(shares, torch.stack(others).mean(0)), n=n)}, bars=bars)

    def _shares(self, model: Subject, test: Samples, classes: tuple[int, ...]) -> torch.Tensor:
        logits, labels, _ = model.on(test)
        said = logits[torch.isin(labels, torch.tensor(classes))].argmax(1)
        return torch.bincount(said, minlength=logits.shape[1]).double() / len(said)
