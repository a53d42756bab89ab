"""Split-relearn: does half of the forgotten samples bring back the other half?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Inputs, Samples
from untrain.core.head import of_classes
from untrain.core.network import Network
from untrain.core.relearning import by_size
from untrain.core.train import minimize, predict
from untrain.metrics.membership import calibrated, scaled_confidence
from untrain.metrics.ranked import ranked


@dataclass(frozen=True)
class SplitRelearn(Audit):
    """A copy is trained on a half of the forgotten samples that is drawn by chance, beside retained ones; then the other half is ranked against the hold-out.

    What was learned together comes back together: a model that only hides its samples is reminded of all by some. Of a model that never saw them the
    half that is not shown and the hold-out are alike before, and stay alike through any training that touches neither. So the chance of a rank
    sum is exact, and no retrained model is needed; those at hand say how hard each sample is, as the audit `membership` says.

    Sgd moves each weight in proportion to its size, as in the audit `dormant`.

    Args:
        epochs: Passes over the samples that are shown.
        lr: Learning rate, relative to each weight's size.
        batch: Batch size.
        shown: Times that each forgotten sample of the half is shown in a pass.
        retained: Retained samples beside them, drawn by chance.
    """

    question = "Does half of it bring back the other half?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "membership after relearning half": Row(
            "as retrained",
            "share",
            +1,
            "chance that a forgotten sample of the half not shown is surer than one never seen, of its class (AUC); .5 means no trace",
            "membership",
            True,
        ),
    }

    epochs: int = 2
    lr: float = 0.03
    batch: int = 100
    shown: int = 2
    retained: int = 1500

    def __call__(self, model: Subject, *, forget: Samples, retain: Samples, holdout: Samples, retrained: tuple[Subject, ...] = ()) -> Finding:
        """Remind a copy, and rank."""
        if len(forget) < 2:
            return Finding(skipped="a single sample has no other half")
        order = torch.randperm(len(forget))
        some, rest = forget[order[: len(forget) // 2]], forget[order[len(forget) // 2 :]]
        copy = self.reminded(model, some, retain)
        mine = torch.cat([_scores(copy, part, model.width) for part in (rest, holdout)])
        others = [torch.cat([scaled_confidence(*r.on(part)[:2]) for part in (rest, holdout)]) for r in retrained if r is not model]
        eased = calibrated(mine, torch.stack(others).mean(0)) if others else mine
        found = ranked(eased[: len(rest)], eased[len(rest) :], (rest.y, holdout.y))
        if found is None:
            return Finding(skipped="the hold-out has no sample of a class that is to be forgotten; bring 75 or more of the same kind")
        return Finding({"membership after relearning half": Value(**found.told)})

    def reminded(self, model: Subject, some: Samples, retain: Samples) -> Network:
        """A copy, trained on these forgotten samples and on retained ones."""
        copy = model.copy()
        copy.train()
        weights = copy.trainable()
        part = retain[torch.randperm(len(retain))[: self.retained]]
        for _ in range(self.shown):
            part = part + some

        def loss(x: Inputs, y: Tensor) -> Tensor:
            return F.cross_entropy(copy(x), y)

        minimize(loss, weights, part.batches(self.batch, epochs=self.epochs), phase="relearn half", lr=self.lr, optimizer="sgd", combine=by_size(weights))
        copy.eval()
        return copy


def _scores(network: Network, samples: Samples, width: int | None) -> Tensor:
    logits, labels, _ = predict(network, samples)
    return scaled_confidence(of_classes(logits, labels, width), labels)
