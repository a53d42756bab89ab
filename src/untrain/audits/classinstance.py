"""Class-instance: does it know these images of a class, beyond the class?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.metrics.membership import scaled_confidence
from untrain.metrics.ranked import Ranked, ranked
from untrain.metrics.recovery import whitened

NAMES = {
    "confidence": "how sure it is of the class",
    "best other class": "how sure it is of the likeliest other class, its own left out",
    "energy": "the logarithm of the summed exponentials of all logits",
    "size of features": "the length of its features, whitened by the retained ones'",
    "distance to a class": "how far its features lie from the nearest mean of a retained class",
}
"""Signals on an image, and what each is."""


def _named(signal: str) -> str:
    return f"instances by {signal}"


@dataclass(frozen=True)
class ClassInstance(Audit):
    """Rank tests of a class's training images against its test images, by five signals.

    A model that was trained without the class has met neither, so that they are alike to it, whatever is measured on them, and the chance of a rank
    sum is exact: no retrained model is needed and no hold-out but the test images. No signal asks the original, which has met the training images: by its head
    a model that kept a pretrained body and never saw the class would know them. Each row is one signal's AUC, on both sides: .5 means no
    trace. The last has the signal with the smallest p, and that p times their number (Bonferroni), so that looking at five alarms no oftener than looking at one.

    It sees what was learned by heart. Where the original is no surer of its training images than of others, as on easy data, it sees nothing in any model:
    read a row only where the original's own p is small. Training and test images have to be of one kind, since a difference between them is a finding in every model.
    So the verdict looks at the last row beside retrained models alone, and not where it finds one of them too. A model that never met them tells them
    from others on neither side, so either is a trace.

    Args:
        most: Training images looked at, the same number of each class.
        pool: Retained training images that features are whitened by, in all; of each class at most 500.
    """

    question = "Does it know these images of the class?"
    by_name: ClassVar = True
    rows: ClassVar = {
        **{
            _named(name): Row("as retrained", "share", +1, f"chance that a training image lies above an unseen one of its class (AUC) by {what}", "membership")
            for name, what in NAMES.items()
        },
        "instances by any signal": Row("as retrained", "share", +1, "the AUC whose p is smallest; its p is that one times the number of signals", "membership", True),
    }

    most: int = 2000
    pool: int = 5000

    def __call__(self, model: Subject, *, forget: Samples, retain: Samples, test: Samples, classes: tuple[int, ...]) -> Finding:
        """Rank."""
        unseen = torch.isin(test.y, torch.tensor(classes))
        if not bool(unseen.any()):
            return Finding(skipped="there is no test image of what was to be forgotten")
        gone = forget.at_most(self.most)
        met, unmet, labels = model.on(gone), model.on(test), torch.cat([gone.y, test.y[unseen]])
        signals = _of_answers(torch.cat([met[0], unmet[0][unseen]]), labels)
        if model.headed:
            _, known_y, known = model.on(retain.first(500).at_most(self.pool))
            signals |= _of_features(torch.cat([met[2], unmet[2][unseen]]), known, known_y)
        found = {name: ranked(values[: len(gone)], values[len(gone) :], (labels[: len(gone)], labels[len(gone) :])) for name, values in signals.items()}
        told = {_named(name): Value(**r.told) for name, r in found.items() if r is not None}
        if not told:
            return Finding(skipped="no class has both training and test images")
        clearest: Ranked = min((r for r in found.values() if r is not None), key=lambda r: (r.p, -abs(r.auc - 0.5)))
        return Finding(told | {"instances by any signal": replace(Value(**clearest.told), p=min(1.0, len(told) * clearest.p), low=None, high=None, least=None)})


def _of_answers(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    z = logits.double()
    others = z.scatter(1, labels[:, None], -torch.inf).log_softmax(1)
    return {"confidence": scaled_confidence(logits, labels), "best other class": others.max(1).values, "energy": z.logsumexp(1)}


def _of_features(features: Tensor, known: Tensor, known_y: Tensor) -> dict[str, Tensor]:
    known, seen = whitened(known, features)
    means = torch.stack([known[known_y == c].mean(0) for c in torch.unique(known_y)])
    return {"size of features": seen.norm(dim=1), "distance to a class": torch.cdist(seen, means).min(1).values}
