"""Noise learned through a network, to be like a class or what it errs on: what stands for a class of which no sample may be seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Samples, take
from untrain.core.site import Site
from untrain.core.train import Phase, minimize


def learned_noise(site: Site, kept: Samples, labels: Tensor, *, steps: int, lr: float, penalty: float, sign: int = -1) -> tuple[Tensor, list[Phase]]:
    """One value for each label, of the shape of the site, from N(0, 1): steps of Adam on sign CE(f(N), label) + penalty min(1, 3072/D) mean ||N||^2, D the numbers in a value.

    The network's mode is the caller's: in training mode the noise overwrites BatchNorm's running statistics.

    Args:
        site: Where it goes in.
        kept: What runs ahead of the site, where that is a layer.
        labels: A class for each value.
        steps: Steps of Adam, each over all values.
        lr: Its rate.
        penalty: Weight of their squares.
        sign: -1 learns what the network errs on, +1 what it takes for the class.
    """
    model, carried = site.model, site.carried(kept, len(labels))
    values = torch.randn(len(labels), *site.shape, dtype=model.dtype).to(model.device).requires_grad_()
    scale = penalty * min(1.0, 3072 / max(1, values[:1].numel()))

    def loss(places: Tensor, label: Tensor) -> Tensor:
        x = values[places]
        return scale * x.square().flatten(1).sum(1).mean() + sign * F.cross_entropy(site(site.batch(x, take(carried, places))), label)

    batches = Samples(torch.arange(len(labels)), labels).batches(max(1, len(labels)), epochs=steps, shuffle=False)
    phases = [minimize(loss, [values], batches, phase="noise", lr=lr)] if len(labels) else []
    return values.detach().cpu(), phases
