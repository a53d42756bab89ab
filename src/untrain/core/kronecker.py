"""EK-FAC: how a loss curves, layer by layer, as Kronecker products in whose eigenbasis the eigenvalues are measured."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from untrain.core import subspace
from untrain.core.curvature import OfAnswers, bent
from untrain.core.data import Inputs, Samples, take
from untrain.core.engine import current
from untrain.core.errors import Diverged
from untrain.core.gather import Asked, accumulate
from untrain.core.network import Network, uncounted
from untrain.core.trace import Phase

Weighted = nn.Linear | nn.Conv2d
ROOM = 2**24
"""Numbers that the gradients of single samples may take at once."""
TRIED = 64
"""Samples on which it is looked whether what a layer reads and answers makes up its weight's gradient."""


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
        others: What G has on its diagonal for each other weight, by its place among `model.trainable()`.
        damping: What is added to the diagonal.
    """

    blocks: tuple[Block, ...]
    others: dict[int, Tensor]
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
        for place, curved in self.others.items():
            found[place] = (vector[place].double() / (curved + self.damping)).to(vector[place])
        return found


def ekfac(model: Network, loss: OfAnswers, samples: Samples, *, damping: float, phase: str, batch: int, measured: bool = True) -> tuple[Kronecker, Phase]:
    """The Gauss-Newton matrix as EK-FAC has it (George et al., NeurIPS 2018, arXiv:1806.03884), and what it takes to solve by it.

        A = mean a a',  S = mean g g',      eigenvectors V_A, V_S
        curved = mean (V_S' g a' V_A)^2

    a is what a layer reads (a convolution's patches) and g the slope of the answers there, along each column of a root of the loss's Hessian in the
    answers: so the mean is no draw of labels, and G the matrix that `solve` goes by, but for what lies between layers. It is exact where V is an
    eigenbasis of it: of one layer under squares, and of one sample of which each layer is asked at one place.

    A layer is linear or a convolution of one group, and g a' its weight's gradient: it runs once, for itself alone. Of all other weights (BatchNorm's,
    embeddings, those that layers share or a function reads) the diagonal of G is taken, from the gradients of single samples.

    It takes 3 passes of up to 64 samples, and two rounds of 1 + 2 k passes a sample, k its answers, with a third where there are other weights; what is
    solved then costs no pass.

    Args:
        model: Whose weights are asked about; in evaluation mode.
        loss: Mean loss of answers and labels; where it is not convex in the answers, what curves downwards is left out.
        samples: What it is a mean over.
        damping: What is added to the diagonal.
        phase: Name for the trace.
        batch: Samples at once.
        measured: Whether eigenvalues are measured; else they are the products of those of S and A, which is K-FAC (Martens and Grosse, 2015, arXiv:1503.05671).

    Raises:
        Diverged: a slope is NaN or infinite, or without damping it has no inverse.
    """
    layers, tried = _layers(model, samples, phase=phase, batch=batch)
    weights = model.trainable()
    place = {id(weight): at for at, weight in enumerate(weights)}
    within = {place[id(part)] for layer in layers.values() for part in _parts(layer)}
    outside = [at for at in range(len(weights)) if at not in within]
    sizes = [(len(layer.weight), sum(part[0].numel() for part in _parts(layer))) for layer in layers.values()]
    reads, slopes, curved, others = (
        [torch.zeros(size, dtype=torch.float64, device=model.device) for size in some]
        for some in ([(i, i) for _, i in sizes], [(o, o) for o, _ in sizes], sizes, [weights[at].shape for at in outside])
    )

    def moments(x: Inputs, y: Tensor) -> None:
        for at, (a, g) in enumerate(_looked(model, loss, layers, x, y)):
            # Of a layer that is asked at several places A has the sum over them, and S the mean.
            reads[at] += (a.flatten(0, 1).T @ a.flatten(0, 1)).double() / len(samples)
            slopes[at] += (g.flatten(0, 2).T @ g.flatten(0, 2)).double() / (len(samples) * a.shape[1])

    looked = Phase(phase) + tried
    if layers:
        looked += accumulate(samples, moments, [*reads, *slopes], phase=phase, batch=batch)
    if not all(bool(torch.isfinite(total).all()) for total in [*reads, *slopes]):
        raise Diverged("a slope is NaN or infinite", phase)
    inner, outer = ([torch.linalg.eigh(total) for total in sums] for sums in (reads, slopes))

    def squares(x: Inputs, y: Tensor) -> None:
        if measured and layers:
            for at, (a, g) in enumerate(_looked(model, loss, layers, x, y)):
                curved[at] += _squares(a @ inner[at][1].to(a), g @ outer[at][1].to(g)).double() / len(samples)
        if outside:
            for total, found in zip(others, _diagonal(model, loss, [weights[at] for at in outside], x, y), strict=True):
                total += found / len(samples)

    if (measured and layers) or outside:
        # Under a name of its own, as a step of it takes longer.
        looked += accumulate(samples, squares, [*curved, *others], phase=f"{phase} (eigenvalues)", batch=batch)
    if not measured:
        curved = [torch.outer(o.clamp(min=0), i.clamp(min=0)) for (o, _), (i, _) in zip(outer, inner, strict=True)]
    if not all(bool((found + damping > 0).all()) for found in [*curved, *others]):
        raise Diverged("what a layer is found to curve by has no inverse", phase, "raise the damping")
    blocks = tuple(Block(tuple(place[id(part)] for part in _parts(layer)), outer[at][1], inner[at][1], curved[at]) for at, layer in enumerate(layers.values()))
    return Kronecker(blocks, dict(zip(outside, others, strict=True)), damping), looked


def _parts(layer: Weighted) -> list[Tensor]:
    """The weight and the bias of a layer, those that want a gradient."""
    return [part for part in (layer.weight, layer.bias) if part is not None and part.requires_grad]


def _layers(model: Network, samples: Samples, *, phase: str, batch: int) -> tuple[dict[str, Weighted], Phase]:
    """The layers of whose weight and bias every sample's gradient is the sum of g a' over its places, by name."""
    own = {id(weight) for weight in model.trainable()}
    found = {name: layer for name, layer in model.module.named_modules() if isinstance(layer, Weighted) and getattr(layer, "groups", 1) == 1 and _parts(layer)}
    owned = Counter(id(part) for layer in found.values() for part in _parts(layer))
    found = {name: layer for name, layer in found.items() if all(id(part) in own and owned[id(part)] == 1 for part in _parts(layer))}
    off = torch.zeros(2, len(found), dtype=torch.float64, device=model.device)

    def look(x: Inputs, y: Tensor) -> None:
        answers, seen = _run(model, found, x)
        # Of some of the samples, so that places are not taken for samples where a layer has them the other way about.
        n, some = len(y), answers.reshape(len(y), -1)[: max(1, len(y) // 2)]
        whole = torch.zeros_like(some) + torch.linspace(1, 2, some.shape[1]).to(some)
        outs = {name: calls[0][1] for name, calls in seen.items() if len(calls) == 1}
        parts = [part for layer in found.values() for part in _parts(layer)]
        slopes = torch.autograd.grad(some, [*outs.values(), *parts], whole, allow_unused=True, materialize_grads=True)
        current().passes += 3 * n
        made, truth = dict(zip(outs, slopes, strict=False)), iter(slopes[len(outs) :])
        for at, (name, layer) in enumerate(found.items()):
            due = torch.cat([next(truth).reshape(len(part), -1) for part in _parts(layer)], 1).double()
            a = _read(layer, seen[name][0][0]) if name in made else None
            if a is None or len(a) % n:
                off[0, at] = torch.inf
                continue
            made_up = torch.einsum("nto,nti->oi", _places(layer, made[name], n)[: len(some)].double(), a.view(n, -1, a.shape[1])[: len(some)].double())
            off[0, at] += (made_up - due).square().sum()
            off[1, at] += due.square().sum()

    looked = accumulate(samples[:TRIED], look, [off], phase=f"{phase} (layers)", batch=batch) if found else Phase(phase)
    # A product in half precision is off by less than a hundredth.
    good = (off[0] <= 0.02**2 * off[1]).tolist()
    return {name: layer for (name, layer), right in zip(found.items(), good, strict=True) if right}, looked


def _run(model: Network, layers: dict[str, Weighted], x: Inputs) -> tuple[Tensor, dict[str, list[tuple[Tensor, Tensor]]]]:
    """The answers, and of each layer what goes in and comes out each time that it runs."""
    seen = {name: list[tuple[Tensor, Tensor]]() for name in layers}

    def look(name: str, given: Tensor, out: Tensor) -> Tensor:
        seen[name].append((given.detach(), out))
        # What stands behind it may write into it.
        return out.clone()

    with uncounted(), torch.enable_grad(), contextlib.ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.callback(layer.register_forward_hook(lambda _, given, out, name=name: look(name, given[0], out)).remove)
        return model(x), seen


def _roots(loss: OfAnswers, answers: Tensor, y: Tensor) -> Iterator[Tensor]:
    """The columns of a root of each sample's Hessian of the loss in its answers, each as the answers are [n, ...]."""
    energy, basis = torch.linalg.eigh(bent(loss, answers.double(), y))
    root = (basis * energy.clamp(min=0).sqrt()[:, None]).to(answers)
    return (column.reshape(answers.shape) for column in root.unbind(2))


def _read(layer: Weighted, given: Tensor) -> Tensor:
    """What a layer's weight is multiplied with, row by row, and a 1 behind it for a bias, those of them that want a gradient."""
    read = subspace.rows(layer, given)[0]
    parts = ([read] if layer.weight.requires_grad else []) + ([torch.ones_like(read[:, :1])] if len(_parts(layer)) > layer.weight.requires_grad else [])
    return torch.cat(parts, 1)


def _places(layer: Weighted, slope: Tensor, n: int) -> Tensor:
    """A slope at what a layer answers, by sample and place [n, t, o]."""
    return (slope if isinstance(layer, nn.Linear) else slope.flatten(2).transpose(1, 2)).reshape(n, -1, len(layer.weight))


def _looked(model: Network, loss: OfAnswers, layers: dict[str, Weighted], x: Inputs, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each layer what it reads at each place [n, t, i], and the slope there of the answers along each column of the root [k, n, t, o]."""
    answers, seen = _run(model, layers, x)
    outs = [calls[0][1] for calls in seen.values()]
    found = [torch.autograd.grad((answers * column).sum(), outs, retain_graph=True, allow_unused=True, materialize_grads=True) for column in _roots(loss, answers, y)]
    current().passes += (1 + 2 * len(found)) * len(y)
    for (name, layer), *slopes in zip(layers.items(), *found, strict=True):
        a = _read(layer, seen[name][0][0])
        yield a.view(len(y), -1, a.shape[1]), torch.stack([_places(layer, slope, len(y)) for slope in slopes])


def _diagonal(model: Network, loss: OfAnswers, weights: list[nn.Parameter], x: Inputs, y: Tensor) -> list[Tensor]:
    """The sum over samples of what G has on its diagonal for each of some weights."""
    asked = Asked(model.module, lambda x, _: model(x))
    names = {id(p): name for name, p in asked.named_parameters()}

    def of_one(values: dict[str, Tensor], one: Inputs) -> Tensor:
        batch = {key: value[None] for key, value in one.items()} if isinstance(one, dict) else one[None]
        return cast(Tensor, functional_call(asked, values, (batch, None)))

    def at_once(rows: Tensor) -> list[Tensor]:
        own = {names[id(w)]: w.detach().expand(len(rows), *w.shape).requires_grad_() for w in weights}
        answers = vmap(of_one, randomness="different")(own, take(x, rows)).flatten(0, 1)
        return _own_squares(loss, answers, y[rows], list(own.values()))

    sums = [torch.zeros_like(weight, dtype=torch.float64, requires_grad=False) for weight in weights]
    for rows in torch.split(torch.arange(len(y), device=y.device), max(1, ROOM // sum(w.numel() for w in weights))):
        with uncounted(), torch.enable_grad(), warnings.catch_warnings():
            # What has no rule for a batch of its own is done sample by sample within, and says so.
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            try:
                found = [at_once(rows)]
            except RuntimeError:
                # What this network does cannot be done for all samples at once: one after the other it can, and what is wrong otherwise is said there again.
                found = [_own_squares(loss, model(take(x, row)), y[row], [*weights]) for row in torch.split(rows, 1)]
        for some in found:
            for total, part in zip(sums, some, strict=True):
                total += part.view(-1, *total.shape).sum(0)
    return sums


def _own_squares(loss: OfAnswers, answers: Tensor, y: Tensor, weights: list[Tensor]) -> list[Tensor]:
    """The squares of the slopes in each of some weights, summed over the columns of the root."""
    sums = [torch.zeros_like(weight, dtype=torch.float64, requires_grad=False) for weight in weights]
    columns = list(_roots(loss, answers, y))
    for column in columns:
        for total, slope in zip(sums, torch.autograd.grad((answers * column).sum(), weights, retain_graph=True, allow_unused=True, materialize_grads=True), strict=True):
            total += slope.double().square()
    current().passes += (1 + 2 * len(columns)) * len(y)
    return sums


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
