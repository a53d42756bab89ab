"""Weights drawn anew, wholly or in part, and BatchNorm's statistics after it: what methods share that start some of a network again."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from untrain.core.data import Plan, Samples
from untrain.core.engine import current
from untrain.core.network import Network
from untrain.core.rehearse import rehearsal


def fresh(weight: Tensor) -> Tensor:
    """Values as PyTorch draws them for a new linear layer or convolution: uniform within 1 / sqrt(inputs of a row).

    Drawn on the CPU, so that every device draws alike, by a generator of its own, which the random state of the moment seeds: straight from that
    state a run would draw the very weights again with which a network began that was built at the same seed.
    """
    bound = 1 / math.sqrt(max(1, weight[0].numel()))
    own = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    return torch.empty(weight.shape, dtype=weight.dtype).uniform_(-bound, bound, generator=own).to(weight.device)


@torch.no_grad()
def shrink_and_perturb(weight: Tensor, alpha: float, beta: float = 1.0) -> None:
    """Make w, in place, (1 - alpha) w + alpha beta N, N drawn as a new layer is."""
    noise = fresh(weight)
    weight.copy_((1 - alpha) * weight + alpha * beta * noise)


def statistics(network: Network) -> list[str]:
    """Names of the buffers that `renew` measures anew."""
    return [f"{name}.{own}" for name, layer in network.layers(_BatchNorm).items() for own, _ in layer.named_buffers()]


@torch.no_grad()
def renew(network: Network, samples: Samples, *, batch: int) -> None:
    """Measure BatchNorm's running statistics anew: the mean over batches of these samples. Leaves the network in training mode, where it has any.

    Args:
        network: The network.
        samples: What it is shown.
        batch: Batch size.
    """
    layers = [layer for layer in network.layers(_BatchNorm).values() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    if not layers:
        return
    held = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    network.train()
    plan, run = samples.batches(batch, shuffle=False), current()

    def through(some: Plan) -> None:
        for step, (x, _, _) in enumerate(some.run(0, device=network.device), 1):
            network(x)
            run.progress("renew", step, len(some))

    if (rehearsed := rehearsal()) is None:
        through(plan)
    else:
        rehearsed.step("renew", plan, through)
    for layer, momentum in zip(layers, held, strict=True):
        layer.momentum = momentum
