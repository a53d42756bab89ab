"""ZeroScissors: Scissorhands without a forgotten sample: what is cut and what the repair goes against is told by UNSIR's noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch

from untrain.core.data import Samples
from untrain.core.fresh import renew, statistics
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.noise import learned_noise
from untrain.core.scissors import cut_and_repair, later_weights, project
from untrain.core.site import Site, site_of
from untrain.core.trace import phase
from untrain.core.train import Optimizer, Phase, Trace

RENEWING = 2000
"""Retained samples that BatchNorm's statistics are renewed on, at most."""


@dataclass(frozen=True)
class ZeroScissors(Method):
    """Reset what is salient for noise of the forgotten class, then repair on the retained, away from the noise. No forgotten sample is seen (zero-glance).

        noise   N* = argmin_N  +-CE(f(N; theta), c) + lambda min(1, 3072/D) mean_b ||N_b||^2,  N ~ N(0, 1), theta frozen, in evaluation mode
        cut     s = |theta . grad CE(f(N*), c)|  in the later layers;  theta <- a new draw where s is among the largest share
        repair  theta <- argmin CE(f(x_r; theta), y_r) - lam CE(f(N*; theta), c),  each gradient g projected so that <g, g_o> >= 0
        renew   BatchNorm's statistics, on the retained alone, since noise went through them in the repair

    The noise is UNSIR's (arXiv:2111.08947), the cut and the repair are Scissorhands', with the noise where that has the forgotten samples: g_o is the gradient of
    -CE(f(N*), c) on the reset model. In no paper. The noise stands at the input, or, where that is not one tensor of floats, at the output of a layer.

    UNSIR's noise, on which the model errs already, leaves a third of digit 1 named (the preset `unsir`). Noise of the other sign, which the model takes for the
    class, leaves nothing of digits 1 and 7 named, and is the default. All was tried on these two classes.

    Args:
        kind: What the noise is learned to be: `minimizing` the error, which is like the class, or `maximizing` it, as UNSIR's.
        noise: Noise images for each retained sample, over all forgotten classes; as many as UNSIR learns.
        noise_steps: Steps of Adam that learn them; 40 as UNSIR's.
        noise_lr: Learning rate of the noise; 0.1 as UNSIR's.
        penalty: lambda; 0.1 as UNSIR's.
        share: Share of the later layers' weights that is drawn anew; 0.03 as Scissorhands'.
        later: Share of the layers, counted from the head, that may be drawn anew.
        lam: Weight of the noise's loss; 0.1 in Scissorhands for a class.
        margin: Least multiple of g_o that a gradient in conflict is given; 0.5 in Scissorhands, which costs more of what is retained here.
        samples: Retained samples used, in all, the same number of each class.
        lr: Learning rate of the repair; as Scissorhands'.
        epochs: Passes over the retained samples.
        batch: Batch size of both.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay.
        augment: Whether to use the random change that the data carries.
    """

    paper = "after Wu and Harandi, Scissorhands, ECCV 2024, arXiv:2401.06187, and Tarun et al., arXiv:2111.08947; in no paper"
    shares: ClassVar = ("later",)
    moves: ClassVar = {"repair": Move(-1, on="retain", over="phase")}
    small: ClassVar = {"batch": 16, "lr": 0.02, "lam": 0.01, "noise_steps": 12}
    knobs: ClassVar = {"remembers": {"share": +1, "lam": +1}, "collapsed": {"lam": -1, "epochs": +1}, "unchanged": {"share": +1, "epochs": +1}}

    kind: Literal["minimizing", "maximizing"] = "minimizing"
    noise: float = 0.03
    noise_steps: int = 40
    noise_lr: float = 0.1
    penalty: float = 0.1
    share: float = 0.03
    later: float = 0.5
    lam: float = 0.01
    margin: float = 0.0
    samples: int = 9000
    lr: float = 1e-3
    epochs: int = 5
    batch: int = 64
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    augment: bool = True

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Weights of two dimensions and more, and BatchNorm's statistics."""
        return dict.fromkeys([*(name for name, weight in model.named_parameters().items() if weight.requires_grad and weight.ndim > 1), *statistics(model)])

    def learned(self, site: Site, kept: Samples, classes: tuple[int, ...]) -> tuple[Samples, list[Phase]]:
        """Noise under the class that it is for, the same number for each, one at least."""
        each = max(1, round(self.noise * len(kept) / len(classes)))
        labels = torch.tensor(sorted(classes)).repeat_interleave(each)
        with site.model.frozen():
            values, phases = learned_noise(site, kept, labels, steps=self.noise_steps, lr=self.noise_lr, penalty=self.penalty, sign=-1 if self.kind == "maximizing" else 1)
        return site.samples(values, labels, kept), phases

    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        """Learn noise, cut, and repair."""
        kept = retain.at_most(self.samples)
        site, reached = site_of(model, kept), later_weights(model, kept, self.later)
        noise, learned = self.learned(site, kept, classes)
        did = cut_and_repair(
            model,
            reached,
            noise,
            kept.batches(self.batch, epochs=self.epochs, augment=self.augment),
            answer=site,
            projected=partial(project, margin=self.margin),
            share=self.share,
            lam=self.lam,
            batch=self.batch,
            augment=False,
            lr=self.lr,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
        )
        with phase("renew") as renewed:
            renew(model, kept.at_most(RENEWING), batch=self.batch)
        return Trace.of(*learned, *did, renewed)


ZeroScissors.presets = {"unsir": ZeroScissors(kind="maximizing", lam=0.03)}
