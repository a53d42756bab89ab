"""Dormant: does training on nothing but the retained samples bring the forgotten ones back?"""

from __future__ import annotations

from collections.abc import Sequence
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
from untrain.metrics.membership import calibrated, plausibility, scaled_confidence, sharpness
from untrain.metrics.ranked import ranked


@dataclass(frozen=True)
class Dormant(Audit):
    """A copy is trained on retained samples alone, and membership is asked again: what was covered and not removed comes back by itself.

    Of a model that never saw the forgotten samples, they and the hold-out stay alike through any training that touches neither, so that the chance of
    a rank sum is exact here too, and no retrained model is needed (those at hand say how hard each sample is). Fine-tuning on retained samples brought back
    what many methods had hidden: From Dormant to Deleted, 2025, arXiv:2505.22310.

    Two things are ranked. How sure the copy is of the label, at the temperature at which it fits retained samples best, so that one that was laid over the answers hides nothing.
    And, where retrained models are at hand, how likely its answer is to these, whatever the label. Labels drawn at random leave the forgotten unsure, or sure of what no retrained
    model says, and about as often right as samples never seen: the first hardly tells that, and the second does (`benchmarks/records/tuning-membership.json`).

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
        "plausibility after training on the retained": Row(
            "as retrained",
            "share",
            +1,
            "chance that its answer to a forgotten sample is likelier to retrained models than that to one never seen, of its class (AUC), after it; below .5 it stands out",
            "membership",
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
        said = torch.cat([_logits(copy, part, model.width) for part in (forget, holdout)])
        labels, n = torch.cat([forget.y, holdout.y]), len(forget)
        others = [torch.cat([r.on(part)[0] for part in (forget, holdout)]) for r in retrained if r is not model]
        sure = scaled_confidence(said * self.sharp(copy, retain, model.width), labels)
        if others:
            sure = calibrated(sure, torch.stack([scaled_confidence(o, labels) for o in others]).mean(0))
        found = ranked(sure[:n], sure[n:], (forget.y, holdout.y))
        if found is None:
            return Finding(skipped="the hold-out has no sample of a class that is to be forgotten; bring 75 or more of the same kind")
        values = {"membership after training on the retained": Value(**found.told)}
        if others:
            likely = plausible(said, others)
            second = ranked(likely[:n], likely[n:], (forget.y, holdout.y))
            values |= {"plausibility after training on the retained": Value(**second.told)} if second is not None else {}
        return Finding(values)

    def woken(self, model: Subject, retain: Samples) -> Network:
        """A copy, trained on retained samples alone."""
        copy = model.copy()
        copy.train()
        weights = copy.trainable()
        sized = by_size(weights)

        def loss(x: Inputs, y: Tensor) -> Tensor:
            return F.cross_entropy(copy(x), y)

        passes, most = self._seen
        rate = self.lr * min(self.faster, max(1.0, passes * len(retain) / most))
        for lr in (rate, rate / 10):
            batches = _cut(retain, most, passes).batches(self.batch, epochs=passes)
            minimize(loss, weights, batches, phase="dormant", lr=lr, optimizer="sgd", combine=sized)
        copy.eval()
        return copy

    def sharp(self, copy: Network, retain: Samples, width: int | None = None) -> float:
        """What the copy's logits are to be multiplied by to fit retained samples best, as many as it is trained on at a rate."""
        passes, most = self._seen
        logits, labels, _ = predict(copy, _cut(retain, most, passes))
        return sharpness(logits[:, :width], labels)

    @property
    def _seen(self) -> tuple[int, int]:
        """Passes at each rate, and samples drawn at each at most."""
        return max(1, self.epochs // 2), self.steps * self.batch


def plausible(said: Tensor, others: Sequence[Tensor]) -> Tensor:
    """How likely these answers are to other models [n], less what a straight line through how likely the others' own mean answer is explains of it.

    Args:
        said: Logits [n, C].
        others: Logits [n, C] of each of the others.
    """
    mean = torch.stack([o.double().softmax(1) for o in others]).mean(0)
    return calibrated(plausibility(said, mean), plausibility(mean.log(), mean))


def _cut(samples: Samples, seen: int, epochs: int) -> Samples:
    """As many of them as are seen `epochs` times in so many draws, in a random order."""
    keep = max(1, seen // epochs)
    return samples if len(samples) <= keep else samples[torch.randperm(len(samples))[:keep]]


def _logits(network: Network, samples: Samples, width: int | None) -> Tensor:
    logits, labels, _ = predict(network, samples)
    return of_classes(logits, labels, width)
