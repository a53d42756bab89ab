"""BadTeacher: learn of the forgotten from a network that knows nothing, and of the retained from the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.method import Method, Move, Recipe
from untrain.core.network import Network
from untrain.core.train import Optimizer, Trace, minimize


@dataclass(frozen=True)
class BadTeacher(Method):
    """Minimise the mean over both sets of l KL_T(f_bad(x) || f(x; theta)) + (1 - l) KL_T(f_o(x) || f(x; theta)), l = 1 for forgotten samples.

    f_bad, the incompetent teacher, is a network that the recipe builds and nobody trains; f_o, the competent one, is the original. Both are
    frozen, in evaluation mode. KL_T is that of softmax(. / T), without the factor T^2, as in the published code, which divides it by the number of classes as well
    (Adam does not feel that). The two sets are mixed in each batch, in training mode, so that BatchNorm follows both. No label is read.

    Args:
        share: Share of the retained samples that is used, the same number of each class; 0.3 in the paper.
        temperature: T; 1 in the paper.
        lr: Learning rate; 1e-4 in the paper, which in five passes leaves half of the digits 1 and 7 named. Ours was chosen on these.
        distill_epochs: Passes over forgotten and retained samples; 1 in the paper, over far more of them. Ours was chosen with the rate.
        batch: Batch size; 256 in the paper.
        optimizer: adam, as the paper, or sgd with Nesterov momentum 0.9.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Chundawat et al., Can Bad Teaching Induce Forgetting?, AAAI 2023, arXiv:2205.08096"
    moves: ClassVar = {"distill": Move(+1, of="distance from original", on="forget", over="phase")}

    share: float = 0.3
    temperature: float = 1.0
    lr: float = 1e-3
    distill_epochs: int = 5
    batch: int = 64
    optimizer: Optimizer = "adam"
    augment: bool = True

    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        """Distil from two teachers."""
        good, T = model.teacher(), self.temperature
        bad = model.like(recipe.build().to(model.device)).teacher()

        def loss(x: Inputs, gone: Tensor) -> Tensor:
            with torch.no_grad():
                told = torch.where(gone[:, None] == 1, F.softmax(bad(x) / T, dim=1), F.softmax(good(x) / T, dim=1))
            return F.kl_div(F.log_softmax(model(x) / T, dim=1), told, reduction="batchmean")

        kept = retain.at_most(round(self.share * len(retain)))
        both = (kept + forget).labelled(torch.cat([torch.zeros(len(kept)), torch.ones(len(forget))]))
        model.train()
        batches = both.batches(self.batch, epochs=self.distill_epochs, augment=self.augment)
        return Trace.of(minimize(loss, model.parameters(), batches, phase="distill", lr=self.lr, optimizer=self.optimizer))
