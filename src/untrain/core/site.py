"""Where noise goes into a network: its input where that is continuous, else the output of a layer.

What is learned for a site (`Site.samples`) stands in one batch with samples that run through the whole network (`Site.beside`);
the site answers for both, in one forward pass.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from untrain.core.data import Inputs, Prepare, Samples, moved, spread, take
from untrain.core.errors import BadArgument
from untrain.core.network import Network, uncounted

INPUT, VALUES, ENTERS = "untrain.input", "untrain.values", "untrain.enters"
"""Entries of a batch for a layer: what ahead of it is run on, what stands at it, and for which samples."""

LONG = 4000
"""Numbers in a row from which on an input is a waveform: half a second at 8 kHz."""

LOOKED = 8
"""Samples that a site is looked for on."""


@dataclass(frozen=True, eq=False)
class Site:
    """A place in a network where a value may stand for some samples of a batch: the input, or what a layer answers with.

    Args:
        model: The network.
        layer: The layer's name; None is the input.
        shape: Shape of one sample's value.
    """

    model: Network
    layer: str | None
    shape: tuple[int, ...]

    def samples(self, values: Tensor, labels: Tensor, kept: Samples) -> Samples:
        """Values [n, *shape] as samples under these labels, carried by some of the samples kept."""
        return Samples(self.batch(values, moved(self.carried(kept, len(values)), values.device)), labels)

    def carried(self, kept: Samples, n: int) -> Inputs:
        """Prepared inputs of so many samples, evenly from all: what runs ahead of a layer, and beside it (masks of attention), where values stand at it. Nothing at the input."""
        return {} if self.layer is None else take(kept.batch(spread(len(kept), max(1, n)), device=self.model.device)[0], torch.arange(n))

    def beside(self, samples: Samples) -> Samples:
        """Samples that run through the whole network, so that they may stand in one batch with those of the site."""
        if self.layer is None:
            return samples
        return samples.changed(lambda source: replace(source, prepare=_Whole(source.prepare, self.shape)))

    def batch(self, values: Tensor, carriers: Inputs) -> Inputs:
        """A batch of values [n, *shape], all of which enter here, upon the prepared inputs that carry them."""
        return values if self.layer is None else _entries(carriers, values, enters=True)

    def __call__(self, x: Inputs) -> Tensor:
        """Logits [n, C] of a batch: samples of the site enter at it, others run through the whole network."""
        with self._entered(x) as inputs:
            return self.model(inputs)

    def answers(self, x: Inputs) -> tuple[Tensor, ...]:
        """The same of each exit, as `Network.answers` gives them."""
        with self._entered(x) as inputs:
            return self.model.answers(inputs)

    @contextlib.contextmanager
    def _entered(self, x: Inputs) -> Iterator[Inputs]:
        """What the network is asked, for as long as the layer answers with the values of those that enter at it."""
        if self.layer is None or not isinstance(x, dict) or VALUES not in x:
            yield x
            return
        values, enters = x[VALUES], x[ENTERS]
        rest = {name: value for name, value in x.items() if name not in (VALUES, ENTERS)}

        def put(layer: nn.Module, given: Any, out: Tensor) -> Tensor:
            return torch.where(enters.view(-1, *[1] * (out.ndim - 1)), values.to(out.dtype), out)

        handle = self.model.module.get_submodule(self.layer).register_forward_hook(put)
        try:
            yield rest.get(INPUT, rest)
        finally:
            handle.remove()


@dataclass(frozen=True)
class _Whole:
    """Prepares samples that run through the whole network for a batch with those of a site: nothing of them enters there.

    Args:
        own: Their own preparation.
        shape: Shape of a value at the site.
    """

    own: Prepare | None
    shape: tuple[int, ...]

    def __call__(self, x: Any) -> Any:
        """Prepare a batch."""
        x = x if self.own is None else self.own(x)
        some = next(iter(x.values())) if isinstance(x, dict) else x
        return _entries(x, torch.zeros(len(some), *self.shape, device=some.device), enters=False)


def _entries(x: Inputs, values: Tensor, *, enters: bool) -> dict[str, Tensor]:
    ahead = x if isinstance(x, dict) else {INPUT: x}
    return {**ahead, VALUES: values, ENTERS: torch.full((len(values),), enters, device=values.device)}


def site_of(model: Network, samples: Samples, name: str | None = None) -> Site:
    """Where noise goes into a network.

    That is the input where it is one tensor of floats, but for long waveforms the output of the network's encoder of them (convolutions in one dimension alone), where it has one.
    Of token ids, of rows of numbers and categories and of dicts it is the first layer whose output decides the answer by itself: the embedding.

    Args:
        model: The network.
        samples: What it reads; a few are looked at, in evaluation mode.
        name: The layer whose output it is; found where none is named.

    Raises:
        BadArgument: no such layer, one whose output is not one float tensor for each sample, or none that will do.
    """
    x = samples.batch(spread(len(samples), LOOKED), device=model.device)[0]
    whole = Site(model, None, tuple(x.shape[1:])) if isinstance(x, Tensor) and x.is_floating_point() else None
    if name is None and whole is not None and not _is_long(x):
        return whole
    seen, layers = _seen(model, x), model.layers(nn.Module)
    if name is not None and name not in seen:
        fact = "does not answer, once in a pass, with one float tensor for each sample" if name in layers else "is not in the model"
        fit = list(islice(_deciding(model, x, seen), 6)) or list(seen)[:6]
        raise BadArgument(f"noise cannot go in at {name!r} (site=, --site): that layer {fact}; these would do: {', '.join(fit) or 'none'}")
    if name is None and _is_long(x):
        name = next((layer for layer in _deciding(model, x, seen) if _encodes(layers[layer])), None)
        if name is None and whole is not None:
            return whole
    name = name or next(_deciding(model, x, seen), None)
    if name is None:
        raise BadArgument(
            f"no layer's output decides the answer by itself, so it is not known where noise could go in; name one by site= (--site), such as {', '.join(list(seen)[:6])}"
        )
    return Site(model, name, tuple(seen[name].shape[1:]))


def _is_long(x: Inputs) -> bool:
    """Whether there is a waveform in it: one row of many numbers for each sample."""
    return any(v.is_floating_point() and v.ndim > 1 and v.shape[-1] >= LONG and v[0].numel() == v.shape[-1] for v in (x.values() if isinstance(x, dict) else [x]))


def _encodes(layer: nn.Module) -> bool:
    """Whether it is several convolutions in one dimension, and nothing that looks over the whole."""
    parts = list(layer.modules())
    return sum(isinstance(part, nn.Conv1d) for part in parts) > 1 and not any(isinstance(part, nn.Linear | nn.MultiheadAttention | nn.RNNBase) for part in parts)


def _outputs(model: Network, x: Inputs) -> tuple[dict[str, Any], Tensor]:
    """What each layer that is asked once answers with, in the order in which they answer, and the logits."""
    out, asked = dict[str, Any](), Counter[str]()

    def look(name: str) -> Any:
        def hook(layer: nn.Module, given: Any, answer: Any) -> None:
            asked[name] += 1
            # What comes next may be in place.
            out[name] = answer.clone() if isinstance(answer, Tensor) else None

        return hook

    handles = [layer.register_forward_hook(look(name)) for name, layer in model.layers(nn.Module).items() if name]
    try:
        with model.frozen(), torch.no_grad(), uncounted():
            logits = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return {name: answer for name, answer in out.items() if asked[name] == 1}, logits


def _seen(model: Network, x: Inputs) -> dict[str, Tensor]:
    """The outputs that are one float tensor for each sample."""
    fewer = {name: value[1:] for name, value in x.items()} if isinstance(x, dict) else x[1:]
    (more, _), (less, _) = _outputs(model, x), _outputs(model, fewer)
    return {
        name: out
        for name, out in more.items()
        if isinstance(out, Tensor) and out.is_floating_point() and out.ndim > 1 and len(out) == LOOKED and isinstance(less.get(name), Tensor) and len(less[name]) == LOOKED - 1
    }


def _deciding(model: Network, x: Inputs, seen: dict[str, Tensor]) -> Iterator[str]:
    """The layers whose output decides the answer by itself, in order: with it put in place, other samples get the same answer."""
    other = {name: _other(name, value) for name, value in x.items()} if isinstance(x, dict) else _other("", x)
    answer = _outputs(model, x)[1]
    for name, out in seen.items():
        site = Site(model, name, tuple(out.shape[1:]))
        with model.frozen(), torch.no_grad(), uncounted():
            if torch.allclose(site(site.batch(out, other)), answer, rtol=1e-3, atol=1e-5 * max(1.0, float(answer.abs().max()))):
                yield name


def _other(name: str, value: Tensor) -> Tensor:
    """The samples' values for one another, but for masks, and for what padding may be: of that masks are made."""
    if value.dtype == torch.bool or "mask" in name:
        return value
    moved = value.roll(1, 0)
    if value.is_floating_point() or value.ndim != 2:
        return moved
    ends = [value[:, end].mode().values for end in (0, -1)]
    stays = sum(((value == end) | (moved == end) for end in ends), torch.zeros_like(value, dtype=torch.bool))
    return torch.where(stays, value, moved)
