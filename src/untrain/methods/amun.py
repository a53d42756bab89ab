"""AMUN: train the forgotten's nearest adversarial neighbours under the wrong labels that they get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from untrain.core.around import asked, numbers, put
from untrain.core.data import Inputs, Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.trace import phase
from untrain.core.train import Optimizer, Trace, fit


@dataclass(frozen=True)
class AMUN(Method):
    """Fine-tune on retained samples and on the forgotten ones' neighbours x', with the labels y' that the original gives these.

        attack    x' = the first of  PGD(x, e), PGD(x, 2 e), PGD(x, 4 e), ...  with  y' = argmax f(x'; theta_o) != y
        finetune  theta <- argmin CE  over  D_r and {(x', y')}, and D_f under its true labels where `keep` says so.

    PGD(x, e) climbs CE(f(x; theta_o), y) by steps of `attack_step` e along the slope, each brought back to within e of x in the l2 norm
    of the input as the network reads it. It is run once, on the original in evaluation mode; samples without a neighbour within the
    largest radius are left out. Of several classes each may still be called by the name of another, where its neighbours are.

    The paper forgets single samples, and keeps them among the training data: their own labels bring them to the confidence of unseen ones, not to none
    (the preset `paper`). Of a whole class that keeps the class named, so that by default D_f is left out.

    Args:
        ratio: Retained samples for each forgotten one, the same number of each class; 0 takes all of them, as the published code. So many neighbours hold their own
            against few retained samples only: ours was chosen on digits 1 and 7, with `lr` and `augment`.
        keep: Whether the forgotten samples are trained on, too.
        radius: e, the first radius; 0.1 in the published code.
        attack_step: A step's length as a share of the radius; 0.1 in the published code.
        attack_steps: Steps for each radius; 50 in the published code.
        doublings: How often the radius is doubled at most; 6 in the published code.
        lr: Learning rate; 0.01 in the published code.
        epochs: Passes over all of them; 10 in the published code.
        batch: Batch size.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        augment: Whether to use the random change that the data carries; neighbours have none.
    """

    paper = "Ebrahimpour-Boroojeny et al., Not All Wrong is Bad: Using Adversarial Examples for Unlearning, ICML 2025, arXiv:2503.00917"
    moves: ClassVar = {"finetune": Move(-1)}
    small: ClassVar = {"radius": 0.8, "doublings": 3, "attack_steps": 6, "attack_step": 0.5, "lr": 0.02, "epochs": 5}

    ratio: float = 2.5
    keep: bool = False
    radius: float = 0.1
    attack_step: float = 0.1
    attack_steps: int = 50
    doublings: int = 6
    lr: float = 0.1
    epochs: int = 10
    batch: int = 128
    optimizer: Optimizer = "sgd"
    augment: bool = False

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Attack once, and fine-tune."""
        kept = retain.at_most(round(self.ratio * len(forget))) if self.ratio else retain
        with phase("attack") as made:
            near = self.neighbours(model, forget)
        for part in (forget if self.keep else None, near):
            kept = kept if part is None else kept + part
        done = fit(model, kept, phase="finetune", lr=self.lr, epochs=self.epochs, batch=self.batch, augment=self.augment, optimizer=self.optimizer)
        return Trace.of(made, done)

    def neighbours(self, model: Network, forget: Samples) -> Samples | None:
        """The neighbours that the network as it is misnames, labelled as it names them; None where no sample has one."""
        rows, named = asked(model, forget, lambda x, y: self.attacked(model, x, y), batch=250)
        some = (named != forget.y).nonzero().flatten()
        if not len(some):
            return None
        return Samples(put(forget.batch(some)[0], rows[some]), named[some])

    def attacked(self, model: Network, x: Inputs, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For each input the numbers [n, d] of its neighbour, and what the network names it; of those that have none the last that was tried."""
        start = numbers(x)
        best, named, radius = start.clone(), y.clone(), self.radius
        for _ in range(self.doublings + 1):
            left = (named == y).nonzero().flatten()
            if not len(left):
                break
            here = {k: v[left] for k, v in x.items()} if isinstance(x, dict) else x[left]
            rows = start[left].clone()
            for _ in range(self.attack_steps):
                rows.requires_grad_()
                (slope,) = torch.autograd.grad(F.cross_entropy(model(put(here, rows)), y[left], reduction="sum"), rows)
                away = rows.detach() + self.attack_step * radius * F.normalize(slope, dim=1) - start[left]
                rows = start[left] + away * (radius / away.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
            with torch.no_grad():
                best[left], named[left] = rows, model(put(here, rows)).argmax(1)
            radius *= 2
        return best, named


AMUN.presets = {"paper": AMUN(ratio=0.0, keep=True, lr=0.01, augment=True)}
