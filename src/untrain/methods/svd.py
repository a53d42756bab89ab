"""SVD: take the directions that only the forgotten excite out of each layer's input, in one step and without a gradient."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.subspace import by_weight, directions, layers, second_moments
from untrain.core.trace import Trace, phase
from untrain.core.train import predict

GRID = ((10.0, 30.0, 100.0, 300.0, 1000.0), (1.0, 3.0, 10.0, 30.0, 100.0))
"""The values of alpha_r and of alpha_f that the published code tries."""


def space(U: Tensor, s: Tensor, alpha: float) -> Tensor:
    """M = U Lambda U^T, the projection on these directions, the stronger ones nearly whole: Lambda = alpha s / ((alpha - 1) s + 1).

    >>> space(torch.eye(2), torch.tensor([0.75, 0.25]), 1.0)
    tensor([[0.7500, 0.0000],
            [0.0000, 0.2500]])
    """
    return (U * (alpha * s / ((alpha - 1) * s + 1)).unsqueeze(-2)) @ U.mT


def removal(forget: Tensor, retain: Tensor) -> Tensor:
    """P = I - (M_f - M_f M_r): what the forgotten excite is taken out, but for what the retained excite too.

    >>> removal(torch.diag(torch.tensor([1.0, 1.0])), torch.diag(torch.tensor([1.0, 0.0])))
    tensor([[1., 0.],
            [0., 0.]])
    """
    return torch.eye(forget.shape[-1], dtype=forget.dtype, device=forget.device) - (forget - forget @ retain)


@torch.no_grad()
def put(layer: nn.Linear | nn.Conv2d, weight: Tensor) -> None:
    """Give a layer this weight, through whatever it is made of."""
    if parametrize.is_parametrized(layer, "weight"):
        layer.weight = cast(nn.Parameter, weight)
    else:
        layer.weight.copy_(weight)


@dataclass(frozen=True)
class SVD(Method):
    """Multiply each layer's weight by a projection that removes what the forgotten excite and the retained do not.

        W <- W P^T,  P = I - (M_f - M_f M_r),  M = U Lambda U^T,  Lambda_i = alpha s_i / ((alpha - 1) s_i + 1),

    U and s the principal directions of the layer's input over some samples (a convolution's: its patches) and each one's share of
    the energy; M_f of the forgotten at alpha_f, M_r of the retained at alpha_r. For every linear layer and convolution at once, in
    evaluation mode; the bias, normalisations and other layers stay. Where an alpha is 0, those that the published code tries (alpha_r
    10, 30, 100, 300, 1000; alpha_f 1, 3, 10, 30, 100) are tried on the same training samples, and the pair with the highest (accuracy on the
    retained) x (1 - accuracy on the forgotten) stays, as in the paper. The preset `published` is the pair that its script for CIFAR-10 and VGG-11 fixes.

    It takes no step, draws nothing, and needs no gradient. Directions come from the matrix of second moments of all positions; the
    published code draws 10,000 patches.

    Args:
        samples: Samples of each part whose activations are looked at, the same number of each class; 900 in the published code.
        alpha_r: How much of the retained directions is protected; 0 looks for it.
        alpha_f: How much of the forgotten directions is taken out; 0 looks for it.
    """

    paper = "Kodge et al., Deep Unlearning: Fast and Efficient Gradient-free Class Forgetting, TMLR 2024, arXiv:2312.00761"
    draws: ClassVar = False
    small: ClassVar = {"alpha_r": 30.0}
    knobs: ClassVar = {"unchanged": {"alpha_f": +1, "alpha_r": -1}, "collapsed": {"alpha_r": +1, "alpha_f": -1}}

    samples: int = 900
    alpha_r: float = 0.0
    alpha_f: float = 0.0

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """The weights of all linear layers and convolutions, or what they are made of."""
        held = [(name, own) for name, layer in layers(model).items() for own, _ in layer.named_parameters() if own.startswith(("weight", "parametrizations.weight."))]
        return dict.fromkeys(f"{name}.{own}".removeprefix(".") for name, own in held)

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Look at the activations of both parts, and take the difference out."""
        gone, kept = forget.at_most(self.samples), retain.at_most(self.samples)
        found = layers(model)
        (of_gone, looked), (of_kept, more) = (second_moments(model, found, part) for part in (gone, kept))
        of_gone, of_kept = (by_weight(found, moments) for moments in (of_gone, of_kept))
        forgotten = {name: directions(value) for name, value in of_gone.items()}
        # Of a layer that the retained leave at nothing, nothing is protected.
        retained = {name: directions(of_kept.get(name, torch.zeros_like(value))) for name, value in of_gone.items()}
        weights = {name: layer.weight.detach().clone() for name, layer in found.items()}

        def project(alpha_r: float, alpha_f: float) -> None:
            for name in forgotten:
                W, P = weights[name], removal(space(*forgotten[name], alpha_f), space(*retained[name], alpha_r))
                put(found[name], (W.reshape(len(P), -1, P.shape[-1]).to(P) @ P.mT).reshape(W.shape).to(W))

        def score() -> float:
            named = [float((out.argmax(1) == y).double().mean()) for out, y, _ in (predict(model, part) for part in (gone, kept))]
            return (1 - named[0]) * named[1]

        pairs = list(itertools.product([self.alpha_r] if self.alpha_r else GRID[0], [self.alpha_f] if self.alpha_f else GRID[1]))
        with phase("projection") as tried:
            scores = []
            for pair in pairs if len(pairs) > 1 else ():
                project(*pair)
                scores.append(score())
            project(*(pairs[scores.index(max(scores))] if scores else pairs[0]))
        return Trace.of(looked, more, tried)


SVD.presets = {"published": SVD(alpha_r=100.0, alpha_f=3.0)}
