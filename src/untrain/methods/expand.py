"""Boundary Expand: give the forgotten samples to a class that is added to the head, and take that class away again."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import ClassVar

import torch

from untrain.core.data import Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Optimizer, Trace, fit


@dataclass(frozen=True)
class Expand(Method):
    """Widen the head by a shadow class C, train the forgotten samples into it, and prune it.

        expand  theta <- argmin CE(f+(x; theta), C)  over  x in D_f,     f+ the network with C + 1 answers, the new row drawn anew
        prune   f = the first C answers of f+

    The boundary of the forgotten class is pushed out into space that no other class holds, and what is left when the shadow class
    is gone falls to its neighbours. No retained sample is seen. In training mode: BatchNorm follows the forgotten samples.

    Args:
        lr: Learning rate; 1e-5 in the published code, at which digits stay named (the preset `paper`). The default is that of Zhou et al.'s
            script (arXiv:2503.23751), who ran this method on CIFAR-10.
        epochs: Passes over the forget set; 10 in the published code.
        batch: Batch size; 64 in the published code.
        optimizer: sgd with Nesterov momentum 0.9 (the published code's is plain), or adam.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Chen et al., Boundary Unlearning, CVPR 2023, arXiv:2303.11570"
    moves: ClassVar = {"expand": (Move(-1), Move(+1, on="forget", over="phase"), Move(-1, of="p of forgotten", on="forget", over="phase"))}

    lr: float = 8e-4
    epochs: int = 10
    batch: int = 64
    optimizer: Optimizer = "sgd"
    augment: bool = False

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        """Expand and prune."""
        beyond = forget.labelled(torch.full_like(forget.y, model.head.width))
        with contextlib.ExitStack() as wider:
            # Every exit gets the class, as all of them are trained.
            for head in model.heads:
                wider.enter_context(head.wider(1))
            done = fit(model, beyond, phase="expand", lr=self.lr, epochs=self.epochs, batch=self.batch, augment=self.augment, optimizer=self.optimizer)
        return Trace.of(done)


Expand.presets = {"paper": Expand(lr=1e-5)}
