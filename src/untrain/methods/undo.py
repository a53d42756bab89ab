"""UNDO, shrink-perturb-distil: damage all weights, and distil what is left of the answers into them on retained samples alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.data import Inputs, Samples
from untrain.core.fresh import renew, shrink_and_perturb, statistics
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.trace import phase
from untrain.core.train import Optimizer, Schedule, Trace, minimize


@dataclass(frozen=True)
class UNDO(Method):
    """Shrink and perturb the weights of theta_s, the model that is given, and distil it, the forgotten classes taken out of its answers.

        corrupt  theta <- (1 - alpha) theta_s + alpha beta N   for weights of two dimensions and more, N drawn as a new layer is
        renew    BatchNorm's statistics, on retained images
        distil   theta <- argmin mean KL(p* || softmax f(x; theta))  over D_r,   p* = softmax f(x; theta_s) with 0 at the forgotten classes, renormalised

    No loss on answers that starts from the old weights can win against relearning, the authors found; starting from damaged ones can, and the more the
    larger alpha is: 0 is plain distillation, 1 a new network. The paper corrupts what another method has suppressed: give it the model which that one
    left. As the suppression is part of the teacher here (its answers are without the classes), it stands on its own as well.

    The paper is on language models. Its code shrinks vectors (norms and biases) and refuses convolutions; it draws N by Xavier's rule and scales it by
    0.1. A filter ahead of BatchNorm is free of scale: shrinking alone changes nothing there, which is why N has the size of a new layer.

    Args:
        alpha: Share of the weights that is replaced; 0.6 in the paper, from 0.1 to 0.8 in its sweep.
        beta: Size of N beside a new layer's; 0.1 in the paper for language models.
        vectors: Whether weights of one dimension (norms, biases) shrink too, as in the paper's code.
        samples: Retained samples used, in all, the same number of each class.
        lr: Learning rate; 7e-4 to 9e-4 in the paper. Ours was tried on digits 1 and 7.
        epochs: Passes over the retained samples; the paper goes on until the student is within 5 % of its teacher.
        batch: Batch size.
        clip: Largest length of a step's gradient; 1 in the paper.
        optimizer: adam (the paper's AdamW has no decay), or sgd with Nesterov momentum 0.9.
        schedule: How the learning rate runs; cosine in the paper, after 50 steps of warm-up.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Lee et al., Distillation Robustifies Unlearning, NeurIPS 2025, arXiv:2506.06278"
    shares: ClassVar = ("alpha",)
    moves: ClassVar = {"distil": (Move(-1, of="distance from original", on="retain"), Move(-1, of="p of forgotten", on="retain", over="phase"))}
    small: ClassVar = {"batch": 16, "epochs": 6, "lr": 0.01}
    knobs: ClassVar = {"remembers": {"alpha": +1, "epochs": +1}, "collapsed": {"epochs": +1, "alpha": -1}, "unchanged": {"alpha": +1}}

    alpha: float = 0.6
    beta: float = 1.0
    vectors: bool = False
    samples: int = 9000
    lr: float = 1e-3
    epochs: int = 10
    batch: int = 64
    clip: float = 1.0
    optimizer: Optimizer = "adam"
    schedule: Schedule = "cosine"
    augment: bool = True

    def corrupted(self, model: Network) -> dict[str, nn.Parameter]:
        """The weights that it shrinks and perturbs, by name."""
        return {name: w for name, w in model.named_parameters().items() if w.requires_grad and (w.ndim > 1 or self.vectors)}

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """What is corrupted, and BatchNorm's statistics."""
        if not self.alpha:
            return {}
        return dict.fromkeys([*self.corrupted(model), *statistics(model)])

    def renew(self, model: Network, samples: Samples) -> None:
        """Measure BatchNorm's running statistics anew on these samples."""
        renew(model, samples, batch=self.batch)

    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        """Corrupt, renew and distil."""
        teacher, kept, gone = model.teacher(), retain.at_most(self.samples), torch.tensor(classes, device=model.device)

        def loss(x: Inputs, y: Tensor) -> Tensor:
            with torch.no_grad():
                target = F.softmax(teacher(x).index_fill(1, gone, -torch.inf), dim=1)
            return F.kl_div(F.log_softmax(model(x), dim=1), target, reduction="batchmean")

        with phase("corrupt") as done, torch.no_grad():
            for weight in self.corrupted(model).values():
                if weight.ndim > 1:
                    shrink_and_perturb(weight, self.alpha, self.beta)
                else:
                    weight.mul_(1 - self.alpha)
        with phase("renew") as renewed:
            if self.alpha:
                self.renew(model, kept)
        model.train()
        batches = kept.batches(self.batch, epochs=self.epochs, augment=self.augment)
        distilled = minimize(loss, model.trainable(), batches, phase="distil", lr=self.lr, optimizer=self.optimizer, schedule=self.schedule, clip=self.clip or None)
        return Trace.of(done, renewed, distilled)
