"""Task-vector negation: learn more of the forgotten, and go as far the other way. NegMerge: along what several such ways agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Phase, Trace, minimize


def consensus(vectors: Sequence[Tensor]) -> Tensor:
    """The mean of the vectors where all of them have one sign, 0 elsewhere.

    >>> consensus([torch.tensor([1.0, -1.0, 2.0]), torch.tensor([3.0, 1.0, 0.0])]).tolist()
    [2.0, 0.0, 0.0]
    """
    stacked = torch.stack(list(vectors))
    agree = stacked.sign().sum(0).abs() == len(stacked)
    return torch.where(agree, stacked.mean(0), 0.0)


@dataclass(frozen=True)
class TaskVector(Method):
    """Fine-tune the original on the forget set, and take the way that it went off the original.

        finetune  theta_k = argmin CE(f(x; theta), y)  over D_f, from theta_o, for k = 1 ... K
        negate    theta = theta_o - lambda tau,   tau_i = mean_k (theta_k - theta_o)_i  where all K have one sign, else 0.

    K = 1 is plain negation. Of NegMerge (the preset), which merges several, the fine-tunings differ in the order of their batches and in
    their rate, each twice that of the one before, `lr` in their middle; the paper takes those of a search that is there already.

    In evaluation mode, so that BatchNorm's statistics stay those of all data: the weights that come out are used with them. The paper
    chooses lambda on retained samples; here it is fixed, and no retained sample is seen.

    Args:
        scale: lambda; from 0 to 1 in the papers, whose fine-tunings go on for thousands of steps on what is not yet known. Ours was chosen on digits 1 and 7.
        models: K; 1 is plain negation, the preset `negmerge` has 4 (up to 30 in its paper).
        lr: Learning rate; ours, chosen with `scale`.
        epochs: Passes over the forget set.
        batch: Batch size; 128 in the papers.
        optimizer: adam (AdamW in the papers), or sgd with Nesterov momentum 0.9.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Ilharco et al., Editing Models with Task Arithmetic, ICLR 2023, arXiv:2212.04089; merging: Kim et al., NegMerge, ICML 2025, arXiv:2410.05583"
    moves: ClassVar = {"finetune": Move(-1)}
    knobs: ClassVar = {"remembers": {"scale": +1, "epochs": +1}, "collapsed": {"scale": -1, "lr": -1}, "unchanged": {"scale": +1, "lr": +1}}

    scale: float = 2.5
    models: int = 1
    lr: float = 3e-4
    epochs: int = 10
    batch: int = 64
    optimizer: Optimizer = "adam"
    augment: bool = False

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        """Fine-tune, and negate."""
        weights = model.trainable()
        start, vectors, done = [w.detach().clone() for w in weights], list[list[Tensor]](), list[Phase]()

        def loss(x: Inputs, y: Tensor) -> Tensor:
            return F.cross_entropy(model(x), y)

        model.eval()
        batches = forget.batches(self.batch, epochs=self.epochs, augment=self.augment)
        for k in range(self.models):
            lr = self.lr * 2.0 ** (k - (self.models - 1) / 2)
            done.append(minimize(loss, weights, batches, phase="finetune", lr=lr, optimizer=self.optimizer))
            with torch.no_grad():
                vectors.append([w - s for w, s in zip(weights, start, strict=True)])
                for w, s in zip(weights, start, strict=True):
                    w.copy_(s)
        with torch.no_grad():
            for w, *ways in zip(weights, *vectors, strict=True) if vectors else ():
                w.sub_(self.scale * consensus(ways))
        return Trace.of(*done)


TaskVector.presets = {"negmerge": TaskVector(models=4)}
