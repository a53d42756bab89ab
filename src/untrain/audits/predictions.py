"""Predictions: what the model calls the test images of the forgotten classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples, distinct
from untrain.metrics.divergence import among_the_rest, hellinger
from untrain.metrics.recovery import total_variation


@dataclass(frozen=True)
class Predictions(Audit):
    """What is answered for images of the forgotten classes, and how far that is from what the retrained models answer.

    A model that never saw a class spreads its images over the classes they look like, each image over those that it looks like. One that was pushed away
    from it often has a favourite of its own, is as sure as ever, or unsure of all alike: that nothing is named any more does not make it a
    model that never learned the name (Wang, Ebrahimpour-Boroojeny and Sundaram, arXiv:2506.20893, attack unlearned models by this). So two distances from the
    mean of the retrained models are measured, that of a retrained model itself from the mean of the others:

    - of *predictions*: the share of test images that each class is named in, by total variation;
    - of *answers*: the softmax over the classes that stay, training image by training image: the root of the mean squared Hellinger distance. The verdict looks at this one. The
      forgotten rows of the head are left out, so that silencing them changes nothing.

    Args:
        most: Forgotten training images whose answers are compared, spread over all.
    """

    question = "What does it call the forgotten images now?"
    rows: ClassVar = {
        "distance of predictions": Row("low", "distance", 0, "total variation from the retrained models' mean distribution, 0 to 1"),
        "distance of answers": Row(
            "as retrained",
            "distance",
            0,
            "Hellinger distance of the answers among retained classes from the retrained models' mean, image by image, 0 to 1",
            "answers",
            True,
        ),
    }
    axes: ClassVar = {"predictions on the forgotten classes": ("predicted class", "share of test images")}

    most: int = 2000

    def __call__(self, model: Subject, *, test: Samples, classes: tuple[int, ...], forget: Samples | None = None, retrained: tuple[Subject, ...] = ()) -> Finding:
        """Count what is predicted."""
        if not bool(torch.isin(test.y, torch.tensor(classes)).any()):
            return Finding(skipped="there is no test image of what was to be forgotten")
        shares = _shares(model, test, classes)
        names = distinct(test.names) or [str(i) for i in range(len(shares))]
        bars = {"predictions on the forgotten classes": dict(zip(names, shares.tolist(), strict=True))}
        others = [r for r in retrained if r is not model]
        if not others:
            return Finding(bars=bars)
        n = int(torch.isin(test.y, torch.tensor(classes)).sum())
        values = {"distance of predictions": Value(total_variation(shares, _mean([_shares(r, test, classes) for r in others])), n=n)}
        if forget is not None:
            gone = forget.at_most(self.most)
            mine, *theirs = (among_the_rest(m.on(gone)[0], classes) for m in (model, *others))
            values["distance of answers"] = Value(hellinger(mine, _mean(theirs)), n=len(gone))
        return Finding(values, bars=bars)


def _shares(model: Subject, test: Samples, classes: tuple[int, ...]) -> Tensor:
    logits, labels, _ = model.on(test)
    said = logits[torch.isin(labels, torch.tensor(classes))].argmax(1)
    return torch.bincount(said, minlength=logits.shape[1]).double() / len(said)


def _mean(of: list[Tensor]) -> Tensor:
    return torch.stack(of).mean(0)
