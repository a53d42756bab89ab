"""What the inputs of layers span: second moments, principal directions, and gradients kept off them. What methods share that leave some inputs' answers as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.data import Samples
from untrain.core.gather import gather
from untrain.core.network import Network
from untrain.core.trace import Phase


def directions(moments: Tensor) -> tuple[Tensor, Tensor]:
    """U and s of second moments [groups, d, d]: the principal directions, and each one's share of the energy."""
    energy, U = torch.linalg.eigh(moments)
    energy = energy.clamp(min=0)
    return U, energy / energy.sum(-1, keepdim=True).clamp(min=torch.finfo(energy.dtype).tiny)


def layers(model: Network) -> dict[str, nn.Linear | nn.Conv2d]:
    """The linear layers and convolutions whose weight may move, by name."""
    return {name: layer for name, layer in model.module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d) and layer.weight.requires_grad}


def rows(layer: nn.Linear | nn.Conv2d, x: Tensor) -> Tensor:
    """What a layer's weight is multiplied with, [groups, n, d]: its inputs, or a convolution's patches."""
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    patches = F.unfold(x, layer.kernel_size, layer.dilation, 0, layer.stride)
    return patches.reshape(len(x), layer.groups, -1, patches.shape[-1]).permute(1, 0, 3, 2).flatten(1, 2)


def sizes(layer: nn.Linear | nn.Conv2d) -> tuple[int, int, int]:
    """Groups, d and d of a layer's second moments."""
    d = layer.weight[0].numel()
    return (1 if isinstance(layer, nn.Linear) else layer.groups), d, d


def second_moments(model: Network, found: dict[str, nn.Linear | nn.Conv2d], samples: Samples) -> tuple[dict[str, Tensor], Phase]:
    """Sum of x x^T over what each layer's weight is multiplied with, [groups, d, d], by the layer's name."""
    sums = {name: torch.zeros(sizes(layer), dtype=torch.double, device=model.device) for name, layer in found.items()}

    def add(name: str, x: Tensor, _: Tensor) -> None:
        seen = rows(found[name], x).float()
        sums[name] += (seen.mT @ seen).double()

    did = gather(model, samples, found, add, phase="activations", into=sums)
    return {name: value for name, value in sums.items() if value.any()}, did


def by_weight(found: dict[str, nn.Linear | nn.Conv2d], moments: dict[str, Tensor]) -> dict[str, Tensor]:
    """Second moments of what each weight is multiplied with, by the first layer that has it: of one that several layers share the sum of theirs."""
    first, sums = dict[int, str](), dict[str, Tensor]()
    for name, layer in found.items():
        own = layer._parameters.get("weight")
        # By all layers, also those that read nothing, so that one weight goes by one name whatever was read.
        place = name if own is None else first.setdefault(id(own), name)
        if name in moments:
            sums[place] = sums[place] + moments[name] if place in sums else moments[name]
    return sums


def basis(moments: Tensor, energy: float) -> Tensor:
    """B [groups, d, d]: the fewest principal directions of second moments [groups, d, d] with this share of the energy, as columns, and zeros behind them.

    >>> basis(torch.diag(torch.tensor([0.1, 2.0, 0.9])), 0.9).abs().sum(0)
    tensor([0., 1., 1.])
    """
    U, s = directions(moments)
    # Ascending, as eigenvalues are told: a direction goes where it and all weaker ones hold less than the rest of the energy.
    return U * (s.cumsum(-1) > 1 - energy).unsqueeze(-2).to(U)


class Spared:
    """The weights of layers that may move without changing what the layers answer to some inputs, and the gradients that do so: g <- g - g B B'.

    A layer counts that has a weight of its own and read something. Weights of one dimension are none of these: they would move answers whatever the inputs.

    Args:
        model: The network.
        moments: Second moments of the inputs by layer, as `second_moments` tells them.
        energy: Share of the energy that is spared.
    """

    def __init__(self, model: Network, moments: dict[str, Tensor], energy: float) -> None:
        found, own = layers(model), {id(w) for w in model.trainable()}
        # One weight in two layers is to spare the inputs of both.
        sums = {name: value for name, value in by_weight(found, moments).items() if id(found[name].weight) in own}
        self.weights = [cast(nn.Parameter, found[name].weight) for name in sums]
        self.bases = [basis(value, energy) for value in sums.values()]

    def off(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of these weights without what lies along the inputs that are spared."""
        out = []
        for g, B in zip(gradients, self.bases, strict=True):
            rows = g.reshape(len(B), -1, B.shape[-1]).to(B)
            out.append((rows - rows @ B @ B.mT).reshape(g.shape).to(g))
        return out
