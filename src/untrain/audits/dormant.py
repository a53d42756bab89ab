"""Dormant: does training on nothing but the retained samples bring the forgotten ones back?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Inputs, Samples
from untrain.core.network import Network
from untrain.core.relearning import by_size
from untrain.core.train import minimize, predict
from untrain.metrics.membership import calibrated, scaled_confidence
from untrain.metrics.ranked import ranked


@dataclass(frozen=True)
class Dormant(Audit):
    """A copy is trained on retained samples alone, and membership is asked again: what was covered and not removed comes back by itself.

    Of a model that never saw the forgotten samples, they and the hold-out stay alike through any training that touches neither, so that the chance of
    a rank sum is exact here too, and no retrained model is needed (those at hand say how hard each sample is). Fine-tuning on retained samples brought back
    what many methods had hidden: From Dormant to Deleted, 2025, arXiv:2505.22310.

    Sgd moves each weight in proportion to its size, w = w0 + |w0| u, as relearning does, so that a network whose units are
    written larger or smaller learns the same. The first half of the epochs has the rate, the second a tenth of it. Where there are so many retained samples
    that some are left out, the rates are larger: 50 steps at twice the rate bring back what 105 do (`benchmarks/records/tuning-dormant.json`).

    Args:
        epochs: Passes over the retained samples, an even number: half at each rate.
        lr: Learning rate of u.
        batch: Batch size.
        steps: Steps at each rate, about, at most; of more samples some are drawn by chance.
        faster: How much larger the rates are at most, where steps are left out.
    """

    question = "Does training on what is retained bring it back?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "membership after training on the retained": Row(
            "as retrained", "share", +1, "chance that a forgotten sample is surer than one never seen, of its class (AUC), after it; .5 means no trace", "membership"
        ),
    }

    epochs: int = 6
    lr: float = 0.03
    batch: int = 100
    steps: int = 50
    faster: float = 2.0

    def __call__(self, model: Subject, *, forget: Samples, retain: Samples, holdout: Samples, retrained: tuple[Subject, ...] = ()) -> Finding:
        """Train a copy, and rank."""
        copy = self.woken(model, retain)
        mine = [_scores(copy, part, model.width) for part in (forget, holdout)]
        others = [[scaled_confidence(*r.on(part)[:2]) for part in (forget, holdout)] for r in retrained if r is not model]
        if others:
            hard = torch.cat([torch.stack([o[side] for o in others]).mean(0) for side in (0, 1)])
            eased = calibrated(torch.cat(mine), hard)
            mine = [eased[: len(forget)], eased[len(forget) :]]
        found = ranked(mine[0], mine[1], (forget.y, holdout.y))
        if found is None:
            return Finding(skipped="the hold-out has no sample of a class that is to be forgotten; bring 75 or more of the same kind")
        return Finding({"membership after training on the retained": Value(**found.told)})

    def woken(self, model: Subject, retain: Samples) -> Network:
        """A copy, trained on retained samples alone."""
        copy = model.copy()
        copy.train()
        weights = copy.trainable()
        sized = by_size(weights)

        def loss(x: Inputs, y: Tensor) -> Tensor:
            return F.cross_entropy(copy(x), y)

        passes, most = max(1, self.epochs // 2), self.steps * self.batch
        rate = self.lr * min(self.faster, max(1.0, passes * len(retain) / most))
        for lr in (rate, rate / 10):
            batches = _cut(retain, most, passes).batches(self.batch, epochs=passes)
            minimize(loss, weights, batches, phase="dormant", lr=lr, optimizer="sgd", combine=sized)
        copy.eval()
        return copy


def _cut(samples: Samples, seen: int, epochs: int) -> Samples:
    """As many of them as are seen `epochs` times in so many draws, in a random order."""
    keep = max(1, seen // epochs)
    return samples if len(samples) <= keep else samples[torch.randperm(len(samples))[:keep]]


def _scores(network: Network, samples: Samples, width: int | None) -> Tensor:
    logits, labels, _ = predict(network, samples)
    return scaled_confidence(logits[:, :width], labels)
