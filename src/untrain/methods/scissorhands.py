"""Scissorhands: draw anew the weights that the forgotten hang on most, then mend, and never against the way that forgetting went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from untrain.core.data import Samples
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.scissors import cut_and_repair, later_weights, project
from untrain.core.train import Optimizer, Trace


@dataclass(frozen=True)
class Scissorhands(Method):
    """Reset what is salient for the forgotten in the later layers, then repair on the retained, away from the forgotten.

        cut     s = |theta . grad CE(D_f)|  in the later layers;  theta <- a new draw where s is among the largest share
        repair  theta <- argmin CE(f(x_r; theta), y_r) - lam CE(f(x_f; theta), y_f),  each gradient g projected so that <g, g_o> >= 0

    g_o is the gradient of -CE(D_f) on the reset model. Only weights of two dimensions and more are scored and drawn (norms and biases stay), by the rule
    of a new layer, as in the published code. That names layers of a ResNet (layer3, layer4, fc) and on any other network resets nothing; here they are the later
    part of the layers in the order in which they run. The score is of the whole forget set, not of one batch of it, whose size the mask would hang on.

    Args:
        share: Share of the later layers' weights that is drawn anew; 0.03 in the paper for CIFAR-10 (sparsity 0.97), 0.1 for a class of
            SVHN. On digits 1 and 7 that keeps two points less of the one, and two more of the other.
        later: Share of the layers, counted from the head, that may be drawn anew; about half of a ResNet's in the published code.
        lam: Weight of the forgotten samples' loss; 0.05 in the paper for CIFAR-10, 0.1 for a class.
        margin: Least multiple of g_o that a gradient in conflict is given; 0.5 in the published code.
        samples: Retained samples used, in all, the same number of each class.
        lr: Learning rate; 1e-3 for a class in the published code, 5e-3 for samples. At three times as much digits 1 and 7 cost most of what is retained.
        epochs: Passes over the retained samples; 10 in the published code, which keep no more on digits 1 and 7.
        batch: Batch size of both parts; 128 in the published code.
        optimizer: sgd with Nesterov momentum 0.9, or adam.
        weight_decay: L2 weight decay; 5e-4 in the published code.
        augment: Whether to use the random change that the data carries.
    """

    paper = "Wu and Harandi, Scissorhands: Scrub Data Influence via Connection Sensitivity in Networks, ECCV 2024, arXiv:2401.06187"
    shares: ClassVar = ("later",)
    moves: ClassVar = {"repair": Move(-1, on="retain", over="phase")}
    small: ClassVar = {"batch": 16, "lr": 0.02, "lam": 0.01}
    knobs: ClassVar = {"remembers": {"share": +1, "lam": +1}, "collapsed": {"lam": -1, "epochs": +1}, "unchanged": {"share": +1, "epochs": +1}}

    share: float = 0.03
    later: float = 0.5
    lam: float = 0.1
    margin: float = 0.5
    samples: int = 9000
    lr: float = 1e-3
    epochs: int = 5
    batch: int = 64
    optimizer: Optimizer = "sgd"
    weight_decay: float = 5e-4
    augment: bool = True

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Weights of two dimensions and more."""
        return {name: None for name, weight in model.named_parameters().items() if weight.requires_grad and weight.ndim > 1}

    def reached(self, model: Network, samples: Samples) -> list[nn.Parameter]:
        """The weights that may be drawn anew.

        Raises:
            BadArgument: there is none.
        """
        return later_weights(model, samples, self.later)

    def projected(self, slope: Sequence[Tensor], way: Sequence[Tensor]) -> list[Tensor]:
        """A step's gradient, where it would oppose the way of forgetting brought to where it does not."""
        return project(slope, way, self.margin)

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Cut, and repair."""
        reached = self.reached(model, forget)
        kept = retain.at_most(self.samples).batches(self.batch, epochs=self.epochs, augment=self.augment)
        return Trace.of(
            *cut_and_repair(
                model,
                reached,
                forget,
                kept,
                answer=model,
                projected=self.projected,
                share=self.share,
                lam=self.lam,
                batch=self.batch,
                augment=self.augment,
                lr=self.lr,
                optimizer=self.optimizer,
                weight_decay=self.weight_decay,
            )
        )
