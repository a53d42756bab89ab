"""Nearby: what it says of images close to the forgotten ones, beside the original and retrained models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.core.head import of_classes
from untrain.metrics.divergence import js_divergence


@dataclass(frozen=True)
class Nearby(Audit):
    """Over-unlearning OU@eps and the ratio of residual knowledge, on images drawn within eps of the forgotten; neither decides a verdict.

    OU@eps (Ha et al., 2025, arXiv:2506.01318): mean JS divergence, here in bits, of the model's answers from the original's with the
    forgotten classes taken out and the rest brought to 1: what else was hurt near the forgotten. Neighbours are
    drawn evenly within eps, where the paper's code moves them by gradient steps as well. Residual knowledge (Hsu et al., The Unseen Threat, 2025):
    how often the label is still given to them, over how often retrained models give it; 1 is ideal, above it there is
    knowledge left nearby, though the images themselves are no longer named. Of a retrained model it is the ratio to the others.

    Args:
        eps: How far each input value may move, in standard deviations of the inputs.
        draws: Neighbours of each image.
        most: Forgotten samples looked at, the same number of each class.
    """

    question = "What does it say of images near the forgotten ones?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "over-unlearning": Row("as retrained", "distance", 0, "divergence near forgotten images from the original without the forgotten classes, in bits"),
        "residual knowledge": Row("as retrained", "ratio", 0, "how often the label is given near forgotten images, over the retrained models'; 1 is ideal"),
    }

    eps: float = 0.03
    draws: int = 5
    most: int = 200

    def __call__(self, model: Subject, *, forget: Samples, classes: tuple[int, ...] = (), original: Subject | None = None, retrained: tuple[Subject, ...] = ()) -> Finding:
        """Draw and compare."""
        if not retrained and (original is None or not classes):
            return Finding(skipped="there is no retrained model to compare with, nor an original without the forgotten classes")
        gone = forget.at_most(self.most)
        x, y = gone.batch(torch.arange(len(gone)), device=model.engine.device)
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return Finding(skipped="inputs are no numbers that could be moved a little")
        near = [x + self.eps * x.std() * (2 * torch.rand(x.shape).to(x) - 1) for _ in range(self.draws)]
        mine = _answers(model, near, y)
        n, values = len(mine), dict[str, Value]()
        if original is not None and classes:
            wanted = _answers(original, near, y)
            wanted[:, list(classes)] = 0
            left = wanted.sum(1, keepdim=True)
            told = left[:, 0] > 0
            values["over-unlearning"] = Value(float(js_divergence(mine[told], (wanted / left)[told]).mean()), n=n)
        others = [_hit(_answers(r, near, y), y, self.draws) for r in retrained if r is not model]
        rate = sum(others) / len(others) if others else 0.0
        if rate:
            values["residual knowledge"] = Value(_hit(mine, y, self.draws) / rate, n=n)
        return Finding(values)


@torch.no_grad()
def _answers(model: Subject, near: list[Tensor], labels: Tensor) -> Tensor:
    """Probabilities [draws * n, C] on the CPU."""
    said = torch.cat([model.network(part) for x in near for part in torch.split(x, 500)])
    return of_classes(said, labels, model.width).double().cpu().softmax(1)


def _hit(answers: Tensor, labels: Tensor, draws: int) -> float:
    return float((answers.argmax(1) == labels.cpu().repeat(draws)).double().mean())
