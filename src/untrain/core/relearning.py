"""A copy of a network that is trained for a while on what was forgotten, or beside it: what audits share that ask how it comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from untrain.core.data import Inputs, Samples
from untrain.core.errors import BadData
from untrain.core.network import Network
from untrain.core.train import Combine, Optimizer, minimize, predict

Rows = Literal["kept", "mean", "drawn"]
"""The head's forgotten rows at the start: as they are, the mean of the others, or drawn at the others' size."""


def places(gone: int, known: int, *, steps: int, batch: int, share: float) -> Tensor:
    """Places [steps, batch] in forgotten samples and then retained ones: in each batch a fixed share of the forgotten, in one random order after the other.

    Args:
        gone: How many forgotten samples there are; they come first.
        known: How many retained samples there are.
        steps: Batches.
        batch: Samples in a batch.
        share: Share of the forgotten in each.
    """
    of_gone = max(1, round(share * batch))
    return torch.cat([_cycled(gone, steps, of_gone), gone + _cycled(known, steps, batch - of_gone)], 1)


def relearned(
    network: Network,
    samples: Samples,
    order: Tensor,
    probes: Samples,
    classes: tuple[int, ...],
    *,
    rows: Rows,
    every: int,
    lr: float,
    optimizer: Optimizer,
) -> list[tuple[int, float]]:
    """Train a network on these batches, relative to the size of its weights; the share of probes named rightly every so many steps, by step.

    Args:
        network: A copy that may be trained.
        samples: What it is trained on.
        order: Places [steps, batch] of each batch.
        probes: Samples of what was forgotten.
        classes: What was forgotten.
        rows: Where the head's rows of it begin.
        every: Steps between two looks; it is looked at before the first and after the last.
        lr: Learning rate, relative to each weight's own size.
        optimizer: `sgd` with momentum, or `adam`.
    """
    copy = _Relative(network, classes, rows)
    copy.network.train()
    curve: list[tuple[int, float]] = []
    step = 0

    def loss(x: Inputs, y: Tensor) -> Tensor:
        # Where memory runs out it is asked several times a step.
        if step % every == 0 and (not curve or curve[-1][0] < step):
            curve.append((step, copy.recall(probes)))
        return F.cross_entropy(copy(x), y)

    def counted(gradients: list[list[Tensor]]) -> list[Tensor]:
        nonlocal step
        step += 1
        return gradients[0]

    batches = samples[order.flatten()].batches(order.shape[1], shuffle=False)
    minimize(loss, list(copy.moved.values()), batches, phase="relearn", lr=lr, optimizer=optimizer, combine=counted)
    return [*curve, (len(order), copy.recall(probes))]


def by_size(weights: Sequence[Tensor]) -> Combine:
    """What lets sgd move each weight in proportion to the size that it has now: w = w0 + |w0| u, so that how large units are written is nothing to it.

    One step of u by its gradient |w0| g is one of w by |w0|^2 g.
    """
    squares = [w.detach().square() for w in weights]

    def scaled(parts: list[list[Tensor]]) -> list[Tensor]:
        return [g * s for g, s in zip(parts[0], squares, strict=True)]

    return scaled


class _Relative:
    """A network whose weights are w0 + s u, u beginning at nothing: s is each weight's own size, in rows that start anew the mean size of the others'.

    Args:
        network: The network; w0 are its weights.
        classes: The rows of its head that are to be relearned.
        rows: Where these begin.

    Raises:
        BadData: it has no such row.
    """

    def __init__(self, network: Network, classes: tuple[int, ...], rows: Rows) -> None:
        network.module.requires_grad_(False)
        if max(classes) >= network.head.width:
            raise BadData(f"the head of one of the models has no row for class {max(classes)}, so that it cannot be relearned; give it one of zeros")
        self.network, self.held = network, _Held(network)
        self.begun = {n: p.detach().clone() for n, p in network.named_parameters().items() if p.is_floating_point()}
        self.sizes = {n: p.abs() for n, p in self.begun.items()}
        mine, others = list(classes), [i for i in range(network.head.width) if i not in classes]
        # A weight that the head shares with another layer goes by that layer's name.
        names = {id(p): n for n, p in network.named_parameters().items()}
        for row in network.head.rows(classes) if rows != "kept" else ():
            name = names[id(network.module.get_parameter(row))]
            weight, size = self.begun[name], self.sizes[name]
            if rows == "drawn" and weight.ndim > 1:
                # By each unit's own size, so that how large units are written is nothing to it; the square of its length is that of the others, on average.
                weight[mine] = weight[others].square().mean(0).sqrt() * torch.randn(len(mine), *weight.shape[1:]).to(weight)
            else:
                weight[mine] = weight[others].mean(0)
            size[mine] = size[others].mean(0)
        self.moved = {n: torch.zeros_like(p).requires_grad_() for n, p in self.begun.items()}

    def __call__(self, x: Inputs) -> Tensor:
        """Logits [n, C]."""
        weights = {f"inner.{n}": self.begun[n] + self.sizes[n] * u for n, u in self.moved.items()}
        out: Tensor = functional_call(self.held, weights, (x,))
        return out

    @torch.no_grad()
    def recall(self, probes: Samples) -> float:
        """Share of the probes that are named rightly now."""
        for name, p in self.network.named_parameters().items():
            if name in self.moved:
                p.copy_(self.begun[name] + self.sizes[name] * self.moved[name])
        logits, labels, _ = predict(self.network, probes)
        return float((logits.argmax(1) == labels).double().mean())


class _Held(nn.Module):
    """A network as a module whose weights can be exchanged for a call.

    Args:
        network: The network; its module is `inner`, as its weights are named.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.inner, self.network = network.module, network

    def forward(self, x: Inputs) -> Tensor:
        """Logits [n, C]."""
        return self.network(x)


def _cycled(n: int, steps: int, each: int) -> Tensor:
    """Places [steps, each] of n samples, in one random order after the other."""
    return torch.cat([torch.randperm(n) for _ in range(max(1, -(-steps * each // n)))])[: steps * each].view(steps, each)
