"""Accuracy: what the model still answers, on forgotten and on retained classes, on training and on test images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value, counted
from untrain.core.data import Samples, distinct
from untrain.metrics.divergence import among_the_rest


@dataclass(frozen=True)
class Accuracy(Audit):
    """Share of samples named rightly, counted, with Clopper-Pearson intervals.

    Forgotten accuracy of 0 is reached by masking the head, so it proves nothing by itself.

    Args:
        train: Training samples looked at on each side, the same number of each class.
    """

    question = "What does the model still answer?"
    rows: ClassVar = {
        "forgotten, test": Row("as retrained", "share", +1, "test images of the forgotten classes named rightly", judged=True),
        "retained, test": Row("as retrained", "share", 0, "test images of the other classes named rightly"),
        "forgotten, training": Row("as retrained", "share", +1, "forgotten training images named rightly", judged=True),
        "retained, training": Row("as retrained", "share", 0, "retained training images named rightly"),
        "retained, less the original": Row("high", "share", 0, "what it cost: retained test accuracy less the original's, paired by image"),
        "retained, less the retrained": Row("high", "share", 0, "retained test accuracy less that of the retrained models (of the others, for one of them), paired by image"),
        "answers unlike the original's": Row("as retrained", "share", 0, "test images that are called something else than the original calls them"),
        "answers of the rest, from the original": Row(
            "as retrained", "distance", 0, "total variation of the answers among retained classes from the original's on forgotten test images; 0 where these were only silenced"
        ),
    }
    axes: ClassVar = {"accuracy by class": ("class", "test accuracy")}

    train: int = 5000

    def __call__(
        self,
        model: Subject,
        *,
        retain: Samples,
        test: Samples,
        forget: Samples | None = None,
        classes: tuple[int, ...] = (),
        original: Subject | None = None,
        retrained: tuple[Subject, ...] = (),
    ) -> Finding:
        """Count."""
        logits, labels, _ = model.on(test)
        right = logits.argmax(1) == labels
        gone = torch.isin(labels, torch.tensor(classes, dtype=torch.long))
        sides = {"retained, test": right[~gone], "forgotten, test": right[gone]}
        values = {name: counted(hits) for name, hits in sides.items() if len(hits)}
        others = [r.on(test)[0].argmax(1) == labels for r in retrained if r is not model]
        if others and bool((~gone).any()):
            values["retained, less the retrained"] = _paired(right[~gone].double() - torch.stack(others)[:, ~gone].double().mean(0))
        if original is not None:
            before = original.on(test)[0]
            if model is not original and bool((~gone).any()):
                values["retained, less the original"] = _paired(right[~gone].double() - (before.argmax(1) == labels)[~gone].double())
            values["answers unlike the original's"] = counted(logits.argmax(1) != before.argmax(1))
            if 0 < len(classes) < logits.shape[1] - 1 and bool(gone.any()) and logits.shape == before.shape:
                apart = (among_the_rest(logits[gone], classes) - among_the_rest(before[gone], classes)).abs().sum(1) / 2
                values["answers of the rest, from the original"] = Value(float(apart.mean()), n=len(apart))
        by_class = {_name(test, c): float(right[labels == c].double().mean()) for c in torch.unique(labels).tolist()}
        for name, part in (("forgotten, training", forget), ("retained, training", retain)):
            if part is None:
                continue
            logits, labels, _ = model.on(part.at_most(self.train))
            values[name] = counted(logits.argmax(1) == labels)
        return Finding(values, bars={"accuracy by class": by_class})


def _paired(differences: Tensor) -> Value:
    """Mean of differences by image [n], with its 95 % interval (normal: n is large or the interval is wide)."""
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Value(mean, n=n)
    error = float(differences.std()) / n**0.5
    return Value(mean, mean - 1.96 * error, mean + 1.96 * error, n)


def _name(samples: Samples, label: int) -> str:
    return distinct(samples.names)[label] if label < len(samples.names) else str(label)
