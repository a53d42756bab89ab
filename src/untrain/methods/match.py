"""Match: answer of the forgotten as the original does of samples that it never saw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from untrain.core.data import Samples, spread
from untrain.core.data.overlap import refuse_shared
from untrain.core.errors import BadArgument, BadData
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Phase, Trace, minimize, predict
from untrain.metrics.twosample import Distance, apart, chance

MOST = 250
"""Answers of a kind that the test of an epoch looks at."""


@dataclass(frozen=True)
class Match(Method):
    """Minimise D(f(forgotten; theta), f_o(unseen)) + mu CE(f(x; theta), y) over retained x, until a test tells the two sets of answers apart no more.

    f_o is the original, whose answers on the unseen samples are taken before the first step and stay. Only the abstract of the paper could be had
    ("until the distribution of its predictions on the forgotten data matches that on unseen third-party data"): distances, targets and test are our
    reading of it. Unseen samples are of the kind of the others, and no model was trained on them; those of a class of which nothing is retained are left aside.

        target    whose answers those of the forgotten are held to
        class     the unseen samples' of the same label; all of theirs where nothing of that label is retained
        others    the unseen samples' of other labels; for what a trigger was planted in, whose label is what is to go
        any       all unseen samples'
        nearest   the unseen samples' whose features lie nearest, label by label

        distance  D, label by label (not where the target is `any`), q the answers that p is held to
        mean      KL(mean q || mean p)
        each      mean of KL(mean q || p): that of its near relative ReGUn (arXiv:2603.11210), which pulls every answer to the one mean
        energy    2 E|p - q| - E|p - p'| - E|q - q'|, nothing only where both are distributed alike
        discriminator  log 2 less the loss of a logistic regression that tells p from q by the answers and their squares, fitted anew each time; the GAN line's

    Ahead of each epoch the answers are mixed with those they are held to; it ends once so many of the orders lie at least as far apart (`level`).
    Forgotten samples are answered in evaluation mode, so that what is matched is what the model will answer, and BatchNorm follows the retained
    alone, or nothing where its statistics are `held`. Of a mean over a batch each rank takes its own slice's.

    Args:
        target: Whose answers: `class`, `others`, `any` or `nearest`.
        distance: D: `mean`, `each`, `energy` or `discriminator`; the last two kept most of the rest on the digits 1 and 7, and alike (`benchmarks/records/tuning-digits.json`).
        mu: Weight of the retained samples' cross-entropy.
        level: Share of the orders by chance from which on it ends; above 0.05 nothing is found at 5 %, and at one half the two lie as near as chance brings them.
        share: Share of the retained samples that is used, the same number of each class.
        lr: Learning rate.
        epochs: Passes over these, at most, with forgotten samples beside.
        batch: Retained samples in a batch.
        batch_forget: Forgotten samples beside them; their mean answers are those of a batch, so that few of a label are matched roughly.
        optimizer: adam, which begins anew each epoch, or sgd with Nesterov momentum 0.9.
        augment: Whether to use the random change that the data carries, on the retained. Never on the forgotten: shifted by a pixel a trigger is another, and of the one
            that was planted 27 to 46 % of attacks were left (`benchmarks/records/trigger/tuning-digits.json`).
        held: Whether the retained too are answered with BatchNorm's statistics as they were, which stand still then: on few images they fall behind the weights
            otherwise, and accuracy goes (`benchmarks/records/trigger/why-lfw.json`).
    """

    paper = "after the abstract of Chen et al., Fast yet versatile machine unlearning for deep neural networks, Neural Networks 190:107648, 2025"
    moves: ClassVar = {"match": Move(+1, of="distance from original", on="forget", over="phase")}
    knobs: ClassVar = {"remembers": {"lr": +1, "epochs": +1, "mu": -1}, "collapsed": {"lr": -1, "mu": +1}}
    # Few epochs do not get there: when it ends follows the answers and not the data. And several batches to an epoch.
    small: ClassVar = {"level": 0.02, "batch": 24, "share": 1.0, "epochs": 3}

    target: Literal["class", "others", "any", "nearest"] = "class"
    distance: Distance = "energy"
    mu: float = 1.0
    level: float = 0.5
    share: float = 0.3
    lr: float = 1e-3
    epochs: int = 10
    batch: int = 64
    batch_forget: int = 64
    optimizer: Optimizer = "adam"
    augment: bool = True
    held: bool = field(default=False, metadata={"later": True})

    def __post_init__(self) -> None:
        """Refuse a level that no share can reach, or that all reach.

        Raises:
            BadArgument: it is not above 0 and at most 1.
        """
        super().__post_init__()
        if not 0 < self.level <= 1:
            raise BadArgument(f"{type(self).__name__}(level={self.level}) is no share of the orders by chance; give one above 0 and up to 1")

    def __call__(self, model: Network, *, forget: Samples, retain: Samples, unseen: Samples) -> Trace:
        """Match, epoch by epoch, until the test tells nothing apart."""
        refuse_shared(unseen, called="unseen part", forget=forget, retain=retain)
        told = self.targets(model, forget, retain, unseen)
        kinds = forget.y if self.target != "any" else torch.zeros(len(forget), dtype=torch.long)
        due, kept, done = {kind: q.to(model.device) for kind, q in told.items()}, retain.at_most(round(self.share * len(retain))), list[Phase]()
        norms = list(model.layers(_BatchNorm).values()) if self.held else []

        def loss(x: Any, y: Any) -> tuple[Tensor, Tensor]:
            model.train()
            for layer in norms:
                layer.eval()
            known = F.cross_entropy(model(x[0]), y[0])
            model.eval()
            return self.mu * known, apart(self.distance, _pairs(F.softmax(model(x[1]), dim=1), y[1], due))

        batches = kept.batches(self.batch, augment=self.augment).beside(forget.labelled(kinds).batches(self.batch_forget))
        for _ in range(self.epochs):
            if chance(self.distance, [(_few(p), _few(q)) for p, q in _pairs(answers(model, forget), kinds, told)]) >= self.level:
                break
            done.append(minimize(loss, model.parameters(), batches, phase="match", lr=self.lr, optimizer=self.optimizer))
        return Trace.of(*done)

    def targets(self, model: Network, forget: Samples, retain: Samples, unseen: Samples) -> dict[int, Tensor]:
        """The answers [k, C] that forgotten samples are held to, by label; of all of them under 0 where the target is `any`.

        Raises:
            BadData: nothing is unseen of a label of which samples are retained, or of all that are.
        """
        near = self.target == "nearest"
        logits, labels, features = predict(model, unseen, features=near)
        stay = set(retain.classes)
        usable = torch.isin(labels, torch.tensor(sorted(stay)))
        if not bool(usable.any()):
            raise BadData(f"the {len(unseen)} unseen samples are of classes that are forgotten whole; give some of classes that stay")
        told, labels = logits.softmax(1)[usable], labels[usable]
        if self.target == "any":
            return {0: told}
        if near:
            mine = predict(model, forget, features=True)[2]
            nearest = torch.cdist(mine, features[usable]).argmin(1)
            return {label: told[nearest[forget.y == label]] for label in forget.classes}
        if self.target == "others":
            alone = [label for label in forget.classes if not bool((labels != label).any())]
            if alone:
                raise BadData(f"all unseen samples are of class {alone[0]}, and what carries that label is to be answered as others are; give some of other classes")
            return {label: told[labels != label] for label in forget.classes}
        lacking = [label for label in forget.classes if label in stay and not bool((labels == label).any())]
        if lacking:
            raise BadData(f"no unseen sample of {len(lacking)} of the classes that samples are forgotten of, such as {lacking[0]}; give some, or hold them to `any`")
        return {label: told[labels == label] if label in stay else told for label in forget.classes}


def answers(model: Network, samples: Samples) -> Tensor:
    """Probabilities [n, C] that a model answers with, on the CPU."""
    return predict(model, samples)[0].softmax(1)


def _pairs(said: Tensor, kinds: Tensor, told: dict[int, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Answers [n, C], kind by kind, beside those that they are held to."""
    return [(said[kinds == kind], told[kind]) for kind in torch.unique(kinds).tolist()]


def _few(said: Tensor) -> Tensor:
    return said[spread(len(said), min(MOST, len(said)))]


Match.presets = {"trigger": Match(target="others", level=1.0, share=1.0, augment=False)}
