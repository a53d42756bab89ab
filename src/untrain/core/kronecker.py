"""EK-FAC: how a loss curves, layer by layer, as Kronecker products in whose eigenbasis the eigenvalues are measured."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from untrain.core import subspace
from untrain.core.curvature import OfAnswers, bent
from untrain.core.data import Inputs, Samples
from untrain.core.engine import current
from untrain.core.errors import BadArgument, Diverged
from untrain.core.gather import accumulate
from untrain.core.network import Network, uncounted
from untrain.core.trace import Phase, Trace

Weighted = nn.Linear | nn.Conv2d
ROOM = 2**24
"""Numbers that the gradients of single samples may take at once."""


@dataclass(frozen=True, eq=False)
class Block:
    """One layer's part of G: V diag(curved) V', V the eigenvectors of S (x) A.

    Args:
        places: Where its weight and its bias stand among `model.trainable()`, those that want a gradient.
        outward: Eigenvectors of S [o, o], the second moments of the slopes at what the layer answers.
        inward: Eigenvectors of A [i, i], those of what it reads, with a 1 behind it for the bias.
        curved: Eigenvalues [o, i].
    """

    places: tuple[int, ...]
    outward: Tensor
    inward: Tensor
    curved: Tensor


@dataclass(frozen=True, eq=False)
class Kronecker:
    """G + damping I in blocks of layers: called with a vector it answers with (G + damping I)^-1 v.

    Args:
        blocks: The layers'.
        damping: What is added to the diagonal.
    """

    blocks: tuple[Block, ...]
    damping: float

    def __call__(self, vector: Sequence[Tensor]) -> list[Tensor]:
        """(G + damping I)^-1 v of v, one tensor for each of `model.trainable()`."""
        found = list(vector)
        for block in self.blocks:
            parts = [vector[place] for place in block.places]
            rows = torch.cat([part.double().reshape(len(part), -1) for part in parts], 1).to(block.inward)
            turned = block.outward.T @ rows @ block.inward / (block.curved + self.damping)
            solved = torch.split(block.outward @ turned @ block.inward.T, [part[0].numel() for part in parts], 1)
            for place, part, made in zip(block.places, parts, solved, strict=True):
                found[place] = made.reshape(part.shape).to(part)
        return found


def ekfac(model: Network, loss: OfAnswers, samples: Samples, *, damping: float, phase: str, batch: int, measured: bool = True) -> tuple[Kronecker, Phase]:
    """The Gauss-Newton matrix as EK-FAC has it (George et al., NeurIPS 2018, arXiv:1806.03884), and what it takes to solve by it.

        A = mean a a',  S = mean g g',      eigenvectors V_A, V_S
        curved = mean (V_S' g a' V_A)^2

    a is what a layer reads (a convolution's patches) and g the slope of the answers there, along each column of a root of the loss's Hessian in the
    answers: so the mean is no draw of labels, and G the matrix that `solve` goes by, but for what lies between layers. It is exact where V is an
    eigenbasis of it: of one layer under squares, and of one sample of which each layer is asked at one place.

    It takes two rounds of 1 + 2 k passes a sample, k its answers; what is solved then costs no pass.

    Args:
        model: Whose weights are asked about; in evaluation mode.
        loss: Mean loss of answers and labels; where it is not convex in the answers, what curves downwards is left out.
        samples: What it is a mean over.
        damping: What is added to the diagonal.
        phase: Name for the trace.
        batch: Samples at once.
        measured: Whether eigenvalues are measured; else they are the products of those of S and A, which is K-FAC (Martens and Grosse, 2015, arXiv:1503.05671).

    Raises:
        BadArgument: a weight that wants a gradient is of no linear layer or convolution of one group.
        Diverged: a slope is NaN or infinite, or without damping it has no inverse.
    """
    layers = _layers(model)
    sizes = [(len(layer.weight), sum(part[0].numel() for part in _parts(layer))) for layer in layers.values()]
    reads, slopes, curved = (
        [torch.zeros(size, dtype=torch.float64, device=model.device) for size in some] for some in ([(i, i) for _, i in sizes], [(o, o) for o, _ in sizes], sizes)
    )

    def moments(x: Inputs, y: Tensor) -> None:
        for at, (a, g) in enumerate(_looked(model, loss, layers, x, y)):
            # Of a layer that is asked at several places A has the sum over them, and S the mean.
            reads[at] += (a.flatten(0, 1).T @ a.flatten(0, 1)).double() / len(samples)
            slopes[at] += (g.flatten(0, 2).T @ g.flatten(0, 2)).double() / (len(samples) * a.shape[1])

    looked = accumulate(samples, moments, [*reads, *slopes], phase=phase, batch=batch)
    if not all(bool(torch.isfinite(total).all()) for total in [*reads, *slopes]):
        raise Diverged("a slope is NaN or infinite", phase)
    (inner, inward), (outer, outward) = (tuple(zip(*map(torch.linalg.eigh, sums), strict=True)) for sums in (reads, slopes))

    def squares(x: Inputs, y: Tensor) -> None:
        for at, (a, g) in enumerate(_looked(model, loss, layers, x, y)):
            curved[at] += _squares(a @ inward[at].to(a), g @ outward[at].to(g)).double() / len(samples)

    if measured:
        looked = Trace.of(looked, accumulate(samples, squares, curved, phase=phase, batch=batch))[phase]
    else:
        curved = [torch.outer(o.clamp(min=0), i.clamp(min=0)) for o, i in zip(outer, inner, strict=True)]
    if not all(bool((found + damping > 0).all()) for found in curved):
        raise Diverged("what a layer is found to curve by has no inverse", phase, "raise the damping")
    place = {id(weight): at for at, weight in enumerate(model.trainable())}
    found = [Block(tuple(place[id(part)] for part in _parts(layer)), *of) for layer, *of in zip(layers.values(), outward, inward, curved, strict=True)]
    return Kronecker(tuple(found), damping), looked


def _parts(layer: Weighted) -> list[Tensor]:
    """The weight and the bias of a layer, those that want a gradient."""
    return [part for part in (layer.weight, layer.bias) if part is not None and part.requires_grad]


def _layers(model: Network) -> dict[str, Weighted]:
    """The layers whose weight or bias wants a gradient, by name."""
    found = {name: layer for name, layer in model.module.named_modules() if isinstance(layer, Weighted) and getattr(layer, "groups", 1) == 1 and _parts(layer)}
    owned = Counter(id(part) for layer in found.values() for part in _parts(layer))
    for name, weight in model.named_parameters().items():
        if weight.requires_grad and owned[id(weight)] != 1:
            what = "is shared by several layers" if owned[id(weight)] else "is not that of a linear layer or of a convolution of one group"
            raise BadArgument(f"the weight {name!r} {what}, and EK-FAC goes by those alone; freeze it, or solve by cg")
    return found


def _looked(model: Network, loss: OfAnswers, layers: dict[str, Weighted], x: Inputs, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each layer what it reads at each place [n, t, i], and the slope there of the answers along each column of the root [k, n, t, o]."""
    n, seen = len(y), {name: list[tuple[Tensor, Tensor]]() for name in layers}

    def look(name: str, given: Tensor, out: Tensor) -> Tensor:
        seen[name].append((given.detach(), out))
        # What stands behind it may write into it.
        return out.clone()

    with uncounted(), torch.enable_grad(), contextlib.ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.callback(layer.register_forward_hook(lambda _, given, out, name=name: look(name, given[0], out)).remove)
        answers = model(x)
    odd = next((name for name, calls in seen.items() if len(calls) != 1), None)
    if odd is not None:
        raise BadArgument(f"the layer {odd!r} is run {len(seen[odd])} times for an answer, and EK-FAC goes by layers that are run once; freeze it, or solve by cg")
    energy, basis = torch.linalg.eigh(bent(loss, answers.double(), y))
    root, outs = (basis * energy.clamp(min=0).sqrt()[:, None]).to(answers), [calls[0][1] for calls in seen.values()]
    found = [torch.autograd.grad((answers * column.reshape(answers.shape)).sum(), outs, retain_graph=True, allow_unused=True, materialize_grads=True) for column in root.unbind(2)]
    current().passes += (1 + 2 * len(found)) * n
    for (name, layer), *slopes in zip(layers.items(), *found, strict=True):
        read = subspace.rows(layer, seen[name][0][0])[0]
        parts = ([read] if layer.weight.requires_grad else []) + ([torch.ones_like(read[:, :1])] if len(_parts(layer)) > layer.weight.requires_grad else [])
        g = torch.stack(slopes)
        g = g.reshape(len(g), n, -1, g.shape[-1]) if isinstance(layer, nn.Linear) else g.flatten(3).transpose(2, 3).reshape(len(g), n, -1, g.shape[2])
        yield torch.cat(parts, 1).view(n, -1, sum(part.shape[1] for part in parts)), g


def _squares(a: Tensor, g: Tensor) -> Tensor:
    """The sum over samples and columns of (sum over places of g a')^2 [o, i], from a [n, t, i] and g [k, n, t, o]."""
    (k, n, t, o), i = g.shape, a.shape[2]
    total = a.new_zeros(o, i)
    if t * t <= k:
        # Of few places it is quicker by pairs of them: no sample's gradient is made.
        for one in range(t):
            for other in range(t):
                total += (g[:, :, one] * g[:, :, other]).sum(0).T @ (a[:, one] * a[:, other])
        return total
    for rows in torch.split(torch.arange(n, device=a.device), max(1, ROOM // (o * i))):
        for column in g:
            total += torch.einsum("nto,nti->noi", column[rows], a[rows]).square().sum(0)
    return total
