"""LoTUS: answer of the forgotten as the original would if it were less sure, as much less as they are named too often."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Phase, Trace, minimize, predict

STOP = -0.01
"""How far the forgotten fall short of the target before it ends, as in the published code."""


@dataclass(frozen=True)
class LoTUS(Method):
    """Minimise CE(f(x; theta), s) over both sets, s being what the original says of x, made unsure by chance for forgotten x.

        s = softmax((f_o(x) + g) / tau),  g Gumbel noise drawn anew each time    for forgotten x,    the one class that the original names for retained x,
        tau = exp(alpha (a - goal)),    a = accuracy on the forget set as the epoch begins.

    It ends before its time where a - goal is -0.01 or less, and where nothing of the forget set is named any more. `goal` is the accuracy that a
    model has on images it never saw: 0 for classes, as the published code has it. For a list of samples give the original's accuracy on held-out
    images, or all of the list is to be missed. Accuracies are not rounded. The two sets are mixed in each batch, in training mode.

    The published code draws the class of retained samples too; its AdamW takes weight decay apart from the gradient, our adam does not, and
    begins anew each epoch. However high tau is, the likeliest answer of s is the original's: a class is missed where the training is unsteady, and else
    named as before with a probability not far from the others'. Of the digits 7 is forgotten at the default and 1 is not, nor at an alpha of 2 or 10.

    Args:
        alpha: How fast the temperature follows accuracy; 1 to 2 in the published code, at which the digits 1 and 7 are named as before.
        goal: Accuracy to come to on the forgotten; 0 for classes.
        share: Share of the retained samples that is used, the same number of each class; 0.3 in the paper.
        lr: Learning rate; 1e-4 in the published code. Ours was chosen on the digits 1 and 7.
        epochs: Passes over forgotten and retained samples, at most; the published code takes them from its command line.
        batch: Batch size; 128 in the published code.
        optimizer: adam, or sgd with Nesterov momentum 0.9.
        weight_decay: L2 weight decay; 5e-4 in the published code.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Spartalis et al., LoTUS: Large-Scale Machine Unlearning with a Taste of Uncertainty, CVPR 2025, arXiv:2503.18314"
    moves: ClassVar = {"unsettle": Move(+1, of="distance from original", on="forget", over="phase")}
    knobs: ClassVar = {"remembers": {"alpha": +1, "lr": +1, "epochs": +1}}

    alpha: float = 6.0
    goal: float = 0.0
    share: float = 0.3
    lr: float = 1e-3
    epochs: int = 10
    batch: int = 64
    optimizer: Optimizer = "adam"
    weight_decay: float = 5e-4
    augment: bool = True

    def temperature(self, named: float) -> float | None:
        """Tau where this share of the forget set is named, or None where it is to end.

        >>> LoTUS(alpha=1.0, goal=0.5).temperature(0.5), LoTUS(goal=0.5).temperature(0.49), LoTUS().temperature(0.0)
        (1.0, None, None)
        """
        return None if named - self.goal <= STOP or named == 0 else math.exp(self.alpha * (named - self.goal))

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Distil, epoch by epoch, at the temperature that accuracy asks for."""
        teacher, done = model.teacher(), list[Phase]()
        kept = retain.at_most(round(self.share * len(retain)))
        both = (kept + forget).labelled(torch.cat([torch.zeros(len(kept)), torch.ones(len(forget))]))
        for _ in range(self.epochs):
            said, label, _ = predict(model, forget)
            tau = self.temperature(float((said.argmax(1) == label).double().mean()))
            if tau is None:
                break

            def loss(x: Inputs, gone: Tensor, tau: float = tau) -> Tensor:
                with torch.no_grad():
                    told = teacher(x)
                    # Drawn on the CPU, so that every device draws alike.
                    noise = -torch.empty(told.shape).exponential_().log().to(told)
                    target = torch.where(gone[:, None] == 1, F.softmax((told + noise) / tau, dim=1), F.one_hot(told.argmax(1), told.shape[1]).to(told))
                return -(target * F.log_softmax(model(x), dim=1)).sum(1).mean()

            model.train()
            batches = both.batches(self.batch, augment=self.augment)
            done.append(minimize(loss, model.parameters(), batches, phase="unsettle", lr=self.lr, optimizer=self.optimizer, weight_decay=self.weight_decay))
        return Trace.of(*done)
