"""DUCK: move the features of the forgotten to where the nearest other class lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Samples
from untrain.core.errors import BadArgument, BadData
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Phase, Trace, minimize, predict


@dataclass(frozen=True)
class DUCK(Method):
    """Minimise pull mean(1 - cos(h(x_f), c)) + keep CE(f(x_r) / T, y_r), h what the head reads, until the forgotten are named no more.

    c is the centroid of the retained class, other than the sample's own, that lies nearest by cosine, assigned once: means of what the original's head reads of
    retained samples, class by class, in evaluation mode. Each step sees a batch of both, in training mode; epochs end once no more than `until` of the forgotten are
    named. The published code gives each forgotten batch so many retained ones (40 on CIFAR-10, 5 on CIFAR-100); here the retained set the length, and the forgotten are gone
    through again.

    Args:
        pull: Weight of the distance; 1 in the published code.
        keep: Weight of the retained samples' loss; 1.4 in the published code.
        temperature: T, above 0; 2 in the published code.
        until: Share of the forgotten, still named, at which it ends; 0.01 in the published code.
        samples: Retained samples used, in all, the same number of each class; 50 batches for the centroids in the published code.
        lr: Learning rate; 4e-4 in the published code. Ours keeps most of three rates on digits 1 and 7, and is there soonest.
        epochs: Passes over the retained samples, at most.
        batch: Batch size of both parts; 256 in the published code.
        optimizer: adam, which begins anew each epoch, or sgd with Nesterov momentum 0.9.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Cotogni et al., DUCK: Distance-based Unlearning via Centroid Kinematics, 2023, arXiv:2312.02052"
    shares: ClassVar = ("until",)
    moves: ClassVar = {"move": Move(+1, on="forget", over="phase")}
    small: ClassVar = {"batch": 16, "lr": 1e-3, "until": 0.1, "epochs": 8}
    knobs: ClassVar = {"remembers": {"epochs": +1, "lr": +1, "pull": +1}, "collapsed": {"lr": -1, "keep": +1}, "unchanged": {"lr": +1, "until": -1}}

    pull: float = 1.0
    keep: float = 1.4
    temperature: float = 2.0
    until: float = 0.01
    samples: int = 9000
    lr: float = 2e-3
    epochs: int = 20
    batch: int = 64
    optimizer: Optimizer = "adam"
    augment: bool = True

    def goals(self, model: Network, forget: Samples, retain: Samples) -> Tensor:
        """The centroid [n, d] that each forgotten sample is to move to.

        Raises:
            BadData: nothing is retained of any other class.
        """
        _, labels, read = predict(model, retain, features=True)
        _, own, mine = predict(model, forget, features=True)
        classes = torch.unique(labels)
        centroids = torch.stack([read[labels == c].mean(0) for c in classes])
        near = F.normalize(mine, dim=1) @ F.normalize(centroids, dim=1).T
        near = near.masked_fill(own[:, None] == classes[None], -torch.inf)
        if not bool(near.isfinite().any(1).all()):
            raise BadData("DUCK moves the forgotten to another class, and nothing is retained of any; retain samples of two classes at least")
        return centroids[near.argmax(1)]

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Move, epoch by epoch, until the forgotten are named no more."""
        head = {id(p) for p in model.head.layer.parameters()}
        if all(id(p) in head for p in model.trainable()):
            raise BadArgument("DUCK moves features, and all ahead of the head is frozen; thaw some of it, or take a method that moves answers")
        kept, done = retain.at_most(self.samples), list[Phase]()
        goals, places = self.goals(model, forget, kept).to(model.device), forget.labelled(torch.arange(len(forget)))

        def losses(x: Any, y: Any) -> tuple[Tensor, Tensor]:
            read, _ = model.features(x[1])
            away = self.pull * (1 - F.cosine_similarity(read, goals[y[1]])).mean()
            # The retained batch goes last, so that BatchNorm ends each step with it.
            return self.keep * F.cross_entropy(model(x[0]) / self.temperature, y[0]), away

        batches = kept.batches(self.batch, augment=self.augment).beside(places.batches(self.batch, augment=self.augment))
        for _ in range(self.epochs):
            said, labels, _ = predict(model, forget)
            if float((said.argmax(1) == labels).double().mean()) <= self.until:
                break
            model.train()
            done.append(minimize(losses, model.trainable(), batches, phase="move", lr=self.lr, optimizer=self.optimizer))
        return Trace.of(*done)
