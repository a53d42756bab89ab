"""Accuracy: what the model still answers, on forgotten and on retained classes, on training and on test images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value, counted
from untrain.core.counting import paired
from untrain.core.data import Samples, distinct
from untrain.evidence.statistics import holm
from untrain.metrics.coins import coin_p
from untrain.metrics.divergence import among_the_rest


@dataclass(frozen=True)
class Accuracy(Audit):
    """Share of samples named rightly, counted, with Clopper-Pearson intervals.

    Forgotten accuracy of 0 is reached by masking the head, so it proves nothing by itself.

    What it cost is told on the same test images: how many more the model names rightly than the original does, with Tango's interval, of all that is kept and of its
    neighbours, the two classes that the original gives most to, itself aside, where it looks at the forgotten. A class counts as named worse where
    McNemar's exact test says so, by Holm's correction over the kept classes at 5 %.

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
        "neighbours, less the original": Row("high", "share", 0, "the same of the two kept classes that the original takes the forgotten for most"),
        "classes named worse": Row("low", "count", 0, "kept classes of which fewer test images are named rightly than by the original, beyond chance"),
        "retained, less the retrained": Row("high", "share", 0, "retained test accuracy less that of the retrained models (of the others, for one of them), paired by image"),
        "answers unlike the original's": Row("as retrained", "share", 0, "test images that are called something else than the original calls them"),
        "answers of the rest, from the original": Row(
            "as retrained", "distance", 0, "total variation of the answers among retained classes from the original's on forgotten test images; 0 where these were only silenced"
        ),
    }
    axes: ClassVar = {
        "accuracy by class": ("class", "test accuracy"),
        "less the original, by class": ("class", "test accuracy less the original's"),
        "less the original, neighbours": ("class", "test accuracy less the original's"),
    }

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
        bars = {"accuracy by class": {_name(test, c): float(right[labels == c].double().mean()) for c in torch.unique(labels).tolist()}}
        others = [r.on(test)[0].argmax(1) == labels for r in retrained if r is not model]
        if others and bool((~gone).any()):
            values["retained, less the retrained"] = _paired(right[~gone].double() - torch.stack(others)[:, ~gone].double().mean(0))
        if original is not None:
            before = original.on(test)[0]
            if model is not original and bool((~gone).any()):
                was = before.argmax(1) == labels
                changed = {c: _changed(right, was, labels == c) for c in torch.unique(labels[~gone]).tolist()}
                near = {c: changed[c] for c in _neighbours(before[gone], classes) if c in changed}
                values |= _cost(changed, near)
                for name, shown in (("by class", changed), ("neighbours", near)):
                    bars |= {f"less the original, {name}": {_name(test, c): _gain([counts]).value or 0.0 for c, counts in shown.items()}} if shown else {}
            values["answers unlike the original's"] = counted(logits.argmax(1) != before.argmax(1))
            if 0 < len(classes) < logits.shape[1] - 1 and bool(gone.any()) and logits.shape == before.shape:
                apart = (among_the_rest(logits[gone], classes) - among_the_rest(before[gone], classes)).abs().sum(1) / 2
                values["answers of the rest, from the original"] = Value(float(apart.mean()), n=len(apart))
        for name, part in (("forgotten, training", forget), ("retained, training", retain)):
            if part is None:
                continue
            logits, labels, _ = model.on(part.at_most(self.train))
            values[name] = counted(logits.argmax(1) == labels)
        return Finding(values, bars=bars)


def _changed(after: Tensor, before: Tensor, of: Tensor) -> tuple[int, int, int]:
    """Of some samples those that are named rightly after and were not before, those that were and are not, and all."""
    return int((after & ~before & of).sum()), int((before & ~after & of).sum()), int(of.sum())


def _cost(changed: dict[int, tuple[int, int, int]], near: dict[int, tuple[int, int, int]]) -> dict[str, Value]:
    """What is named otherwise than by the original, of all kept classes, of the neighbours among them, and class by class."""
    values = {name: _gain(of.values()) for name, of in (("retained", changed), ("neighbours", near)) if of}
    unlike = holm({str(c): coin_p(gained, gained + lost) for c, (gained, lost, _) in changed.items()}, 0.05)
    worse = [c for c in map(int, unlike) if changed[c][0] < changed[c][1]]
    return {f"{name}, less the original": value for name, value in values.items()} | {"classes named worse": Value(float(len(worse)), n=len(changed))}


def _gain(parts: Collection[tuple[int, int, int]]) -> Value:
    """How much oftener samples are named rightly after than before, with Tango's interval."""
    gained, lost, n = (sum(counts) for counts in zip(*parts, strict=True))
    return Value((gained - lost) / n, *paired(gained, lost, n), n)


def _neighbours(before: Tensor, classes: tuple[int, ...]) -> list[int]:
    """The two classes that forgotten images [n, C] are taken for most, these classes themselves aside; none where no more are kept."""
    if not len(before) or before.shape[1] - len(classes) <= 2:
        return []
    found: list[int] = among_the_rest(before, classes).mean(0).topk(2).indices.tolist()
    return found


def _paired(differences: Tensor) -> Value:
    """Mean of differences by image [n], with its 95 % interval (normal: n is large or the interval is wide)."""
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Value(mean, n=n)
    error = float(differences.std()) / n**0.5
    return Value(mean, mean - 1.96 * error, mean + 1.96 * error, n)


def _name(samples: Samples, label: int) -> str:
    return distinct(samples.names)[label] if label < len(samples.names) else str(label)
