"""Prototype: is the class still in the features? One-shot prototypes and a head relearned from nothing, beside retrained models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.metrics.recovery import prototype_recall


@dataclass(frozen=True)
class Prototype(Audit):
    """What little help brings back, with the features frozen.

    A network that never saw a class still separates it somewhat, so only the difference to retrained models tells.

    One-shot: one forgotten training image is the prototype of its class; the share of the class's test images
    nearer to it than to any retained class's mean. Head-reset relearning: the forgotten rows start at nothing and
    the head alone is trained for 25 steps on a few forgotten and retained samples; mean recall on the way.

    Args:
        shots: Prototypes drawn for each class.
        steps: Steps of the head.
        batch_forgotten: Forgotten samples in a batch.
        batch_retained: Retained samples in a batch.
        lr: Learning rate of the head, sgd with momentum 0.9.
        repeats: Times the head is relearned.
        pool: Training samples of each class that prototypes, means and batches come from.
    """

    question = "Is the class still in the features?"
    rows: ClassVar = {
        "one-shot prototype": Row("as retrained", "share", +1, "forgotten test images recovered by one training image as a prototype, mean over draws"),
        "head-reset relearning": Row("as retrained", "share", +1, "forgotten test images recovered while the head alone is relearned, mean over steps"),
    }

    shots: int = 50
    steps: int = 25
    batch_forgotten: int = 10
    batch_retained: int = 54
    lr: float = 0.02
    repeats: int = 3
    pool: int = 500

    def __call__(self, model: Subject, *, forget: Samples, retain: Samples, test: Samples, classes: tuple[int, ...]) -> Finding:
        """Recover."""
        _, known_y, known = model.on(retain.first(self.pool))
        _, gone_y, gone = model.on(forget.first(self.pool))
        _, test_y, seen = model.on(test)
        recalls, probes = [], torch.isin(test_y, torch.tensor(classes))
        for label in classes:
            shots = gone[gone_y == label]
            shots = shots[torch.randperm(len(shots))[: self.shots]]
            recalls.append(prototype_recall(shots, seen[test_y == label], known, known_y).mean())
        n = int(probes.sum())
        relearned = [self._relearned(model, (gone, gone_y), (known, known_y), (seen[probes], test_y[probes]), classes) for _ in range(self.repeats)]
        return Finding(
            {
                "one-shot prototype": Value(float(torch.stack(recalls).mean()), n=n),
                "head-reset relearning": Value(sum(relearned) / len(relearned), n=n),
            }
        )

    def _relearned(self, model: Subject, gone: tuple[Tensor, Tensor], known: tuple[Tensor, Tensor], probes: tuple[Tensor, Tensor], classes: tuple[int, ...]) -> float:
        layer = model.network.head.layer
        weight = layer.weight.detach().cpu().flatten(1).clone()
        bias = layer.bias.detach().cpu().clone() if layer.bias is not None else torch.zeros(len(weight))
        kept = torch.ones(len(weight), dtype=torch.bool)
        kept[list(classes)] = False
        # The forgotten row at nothing and its bias at the others' mean: a masked logit would otherwise look forgotten.
        weight[~kept], bias[~kept] = 0.0, bias[kept].mean()
        weight.requires_grad_()
        bias.requires_grad_()
        stepper = torch.optim.SGD([weight, bias], lr=self.lr, momentum=0.9)
        looks = []
        for step in range(1, self.steps + 1):
            f, r = torch.randint(len(gone[0]), (self.batch_forgotten,)), torch.randint(len(known[0]), (self.batch_retained,))
            x, y = torch.cat([gone[0][f], known[0][r]]), torch.cat([gone[1][f], known[1][r]])
            weight.grad, bias.grad = torch.autograd.grad(F.cross_entropy(F.linear(x, weight, bias), y), [weight, bias])
            stepper.step()
            if step % 5 == 0:
                looks.append(float((F.linear(probes[0], weight.detach(), bias.detach()).argmax(1) == probes[1]).double().mean()))
        return sum(looks) / len(looks)
