"""The last layers of a network as a network of their own, over what the first of them reads of both sides of pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from untrain.core.curvature import refuse_bent
from untrain.core.data import Samples, spread, take
from untrain.core.errors import BadData
from untrain.core.gather import gather
from untrain.core.head import Layer, candidates
from untrain.core.host import copied
from untrain.core.network import Network, uncounted
from untrain.core.train import predict

LOOKED = 8
"""Samples on which it is looked whether the answer hangs on what a layer reads alone."""


@dataclass(frozen=True, eq=False)
class Rest:
    """The last layers of a network.

    Args:
        network: What answers [2 n, C], one side after the other, to what the first of them reads of n pairs [n, 2, ...].
        names: Their names, the head's last.
    """

    network: Network
    names: tuple[str, ...]

    @classmethod
    def of(cls, model: Network, layers: int, samples: Samples) -> Rest:
        """The last so many layers, or as many as answer by what the first of them reads alone and share no weight; a copy, in double precision where it is the head.

        Args:
            model: The network, in evaluation mode.
            layers: Layers at most.
            samples: Some of which it is asked.

        Raises:
            BadData: a head that shares its weight with another layer.
        """
        if model.head.tied:
            raise BadData(f"the head {model.head.name!r} shares its weight with {model.head.tied[0]!r}, which would move with it; untie them first")
        names = tuple(up_to_head(model))[-layers:]
        for at in range(len(names) - 1):
            # A layer ahead that has a weight of theirs would move with them, and what was read would be another network's.
            called = None if _shared(model, names[at:]) else _alone(model, names[at], samples)
            if called is not None:
                body = copied(model.module).requires_grad_(False)
                parts = dict(body.named_modules())
                for name in names[at:]:
                    parts[name].requires_grad_(True)
                return cls(model.like(_From(body, parts[names[at]], called)), names[at:])
        return cls(_head(model), names[-1:])

    def read(self, model: Network, samples: Samples) -> Samples:
        """What the first of them reads of samples, under their labels.

        Raises:
            BadArgument: the head alone moves, and the answers are not its linear function.
        """
        if len(self.names) == 1:
            answers, labels, read = predict(model, samples, features=True)
            refuse_bent(model, read.to(model.device), answers.to(model.device))
            return Samples(read.double(), labels)
        seen: list[Tensor] = []
        gather(model, samples, self.names[:1], lambda _, given, __: seen.append(given.cpu()), phase="read")
        return Samples(torch.cat(seen), samples.y)

    def told(self, pairs: Samples, batch: int = 500) -> tuple[Tensor, float, float]:
        """The answers [2 n, C], beside the labels in memory and not on the device; the bias of the pairs, and the accuracy over both sides."""
        rows = torch.split(torch.arange(len(pairs)), batch)
        with torch.no_grad():
            answers = torch.cat([self.network(x).cpu() for x, _ in pairs.stream(((some, None) for some in rows), self.network.device)])
        both, labels = answers.double().view(len(pairs), 2, -1), pairs.y[:, None].expand(-1, 2)
        p, q = both.softmax(2).gather(2, labels[:, :, None])[..., 0].T
        return answers, float((p - q).abs().mean()), float((both.argmax(2) == labels).double().mean())

    @torch.no_grad()
    def put(self, model: Network) -> None:
        """Write the layers, as they are now, into the network that they were taken from."""
        head = model.head
        if len(self.names) > 1:
            own = model.named_parameters()
            for name, value in cast(Any, self.network.module).body.named_parameters():
                if value.requires_grad:
                    own[name].copy_(value)
            return
        layer = self.network.head.layer
        for label in range(head.width):
            head.write(label, layer.weight[label].reshape(head.layer.weight.shape[1:]).to(head.layer.weight))
        if head.layer.bias is not None:
            head.layer.bias.copy_(cast(Tensor, layer.bias))


def up_to_head(model: Network) -> dict[str, Layer]:
    """The layers that have weights up to the head, by name, in the order in which they were put in."""
    layers = candidates(model.module)
    return {name: layers[name] for name in list(layers)[: list(layers).index(model.head.name) + 1]}


def _shared(model: Network, names: tuple[str, ...]) -> bool:
    """Whether one of these layers has a parameter that another layer has too."""
    owners = Counter(id(p) for part in model.module.modules() for p in part.parameters(recurse=False))
    parts = dict(model.module.named_modules())
    return any(owners[id(p)] > 1 for name in names for p in parts[name].parameters())


def beside(one: Samples, other: Samples) -> Samples:
    """Both sides of pairs [n, 2, ...] as one."""
    (x, y), (z, _) = (side.batch(torch.arange(len(side))) for side in (one, other))
    return Samples(torch.stack([cast(Tensor, x), cast(Tensor, z)], 1), y)


class _From(nn.Module):
    """A network from what a layer reads on: it is asked of one sample, and what that layer reads is put in the place of what it would read of it."""

    def __init__(self, body: nn.Module, layer: nn.Module, called: tuple[Any, Any]) -> None:
        super().__init__()
        self.body, self.called = body, called
        self._layer = [layer]

    def forward(self, x: Tensor) -> Any:
        handle = self._layer[0].register_forward_pre_hook(lambda *_: (x.flatten(0, 1),))
        try:
            args, named = self.called
            return self.body(*args, **named)
        finally:
            handle.remove()


def _alone(model: Network, name: str, samples: Samples) -> tuple[Any, Any] | None:
    """How the module is asked of one sample, where its answer hangs on what a layer reads alone; else None."""
    x, _ = samples.batch(spread(len(samples), min(len(samples), LOOKED)), device=model.device)
    layer, read, called = dict(model.module.named_modules())[name], list[Tensor](), list[tuple[Any, Any]]()
    with model.frozen(), torch.no_grad(), uncounted():
        handle = layer.register_forward_pre_hook(lambda _, args: read.append(args[0]))
        out = model(x)
        handle.remove()
        if len(read) != 1 or len(read[0]) != len(out):
            return None
        hooks = [
            model.module.register_forward_pre_hook(lambda _, args, named: called.append((args, named)), with_kwargs=True),
            layer.register_forward_pre_hook(lambda *_: (read[0],)),
        ]
        try:
            again = model(take(x, torch.zeros(1, dtype=torch.long)))
        except (RuntimeError, ValueError, BadData):
            # What lies between does not take so many where one was asked about.
            return None
        finally:
            for hook in hooks:
                hook.remove()
    return called[0] if again.shape == out.shape and torch.allclose(again, out, rtol=1e-3, atol=1e-4 * float(out.abs().max())) else None


def _head(model: Network) -> Network:
    """The head as a network of its own, over what it reads, in double precision."""
    head = model.head
    layer = nn.Linear(head.matrix.shape[1], head.width, bias=head.layer.bias is not None, dtype=torch.float64, device=model.device)
    with torch.no_grad():
        layer.weight.copy_(head.matrix)
        if head.layer.bias is not None:
            layer.bias.copy_(head.layer.bias)
    return Network(nn.Sequential(nn.Flatten(0, 1), layer).eval())
