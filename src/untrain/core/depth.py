"""The last layers of a network: what methods share that leave the first ones as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.data import Inputs, Samples
from untrain.core.network import Network
from untrain.core.train import Trace, minimize


@dataclass(frozen=True)
class Last:
    """The last layers of a network.

    Args:
        parts: Their modules, by name.
        weights: Their weights, but for those that an earlier layer holds as well.
    """

    parts: dict[str, nn.Module]
    weights: list[nn.Parameter]

    @contextmanager
    def training(self, model: Network) -> Iterator[None]:
        """These layers in training mode and all else in evaluation mode, as long as the block runs: what is frozen keeps its running statistics too."""
        model.eval()
        try:
            for part in self.parts.values():
                part.train()
            yield
        finally:
            model.eval()

    def fit(self, model: Network, samples: Samples, *, batch: int, epochs: int, augment: bool, **how: Any) -> Trace:
        """Train these layers on labels by cross-entropy and leave the others to the bit; `how` as `minimize` takes it."""

        def loss(x: Inputs, y: Tensor) -> Tensor:
            return F.cross_entropy(model(x), y)

        with self.training(model):
            return Trace.of(minimize(loss, self.weights, samples.batches(batch, epochs=epochs, augment=augment), **how))


def layers(model: Network, samples: Samples) -> list[list[str]]:
    """The layers that have weights, in the order in which they first run on a sample: the modules of each, by name.

    A layer is a module with a weight of two dimensions or more; a normalisation goes with the layer that runs ahead of it. What a module that
    holds layers has of its own, such as a class token, belongs to none, and neither does what does not run.
    """
    own = {name: part for name, part in model.module.named_modules() if _holds(part) and "parametrizations" not in name.split(".")}
    ran: dict[str, None] = {}
    with ExitStack() as hooks:
        for name, part in own.items():
            hooks.callback(part.register_forward_hook(lambda *_, name=name: ran.setdefault(name)).remove)
        model.eval()
        model(samples.batch(torch.arange(min(2, len(samples))), device=model.device)[0])
    found: list[list[str]] = []
    for name in ran:
        if any(other != name and other.startswith(_under(name)) for other in ran):
            continue
        if not found or (_wide(own[name]) and any(_wide(own[other]) for other in found[-1])):
            found.append([])
        found[-1].append(name)
    return found


def last(model: Network, samples: Samples, k: int) -> Last:
    """The last k layers, the head being the first of them; all, where there are fewer."""
    names = [name for layer in layers(model, samples)[-k:] for name in layer]
    parts = {name: part for name, part in model.module.named_modules() if name in names}
    under = tuple(map(_under, names))
    held = {id(p) for name, p in model.module.named_parameters(remove_duplicate=False) if not name.startswith(under)}
    weights = {id(p): p for part in parts.values() for p in part.parameters() if id(p) not in held and p.requires_grad}
    return Last({name: part for name, part in parts.items() if any(id(p) in weights for p in part.parameters())}, list(weights.values()))


def _under(name: str) -> str:
    """How the names begin of what a module holds."""
    return f"{name}." if name else ""


def _holds(part: nn.Module) -> bool:
    """Whether it has weights of its own, plain or parametrised."""
    return any(True for _ in part.parameters(recurse=False)) or "parametrizations" in part._modules


def _wide(part: nn.Module) -> bool:
    return any(p.ndim > 1 for p in part.parameters())
