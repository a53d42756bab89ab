"""Descent: is the model, halfway through, still the original? What is hidden below the last layer shows in no test of the last layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Inputs, Samples
from untrain.core.head import candidates
from untrain.core.network import Network
from untrain.metrics.recovery import Translation


@dataclass(frozen=True)
class Descent(Audit):
    """How well a model's features halfway through tell the original's, on images of what was to be forgotten.

    A linear map, the same at every position, is fitted from the model's features to the original's on retained images
    alone, in closed form (stitching: Lenc and Vedaldi, arXiv:1411.5908; Csiszarik et al., arXiv:2110.14633). What it leaves
    untold on forgotten test images is 0 where the lower half is the original's, however that is written, and above 1 where
    their mean would have told more. Networks that were trained apart learn other features, so retrained models leave far
    more. A model that leaves far less than these was made of the original, and may hold in its lower half what its last
    layer no longer shows.

    Halfway is the last layer to end before more than half of the linear layers and convolutions have, from whose output
    alone the rest can be computed: none within a residual block, and of a map that is flattened what it was before.

    Args:
        retained: Retained training samples that the map is fitted to, in all.
        probes: Forgotten test samples, in all.
    """

    question = "Is its lower half still the original's?"
    rows: ClassVar = {
        "unlike the original, halfway": Row(
            "as retrained",
            "ratio",
            -1,
            "what a map of the model's features halfway misses of the original's, on forgotten test images, over their variance: 0 where it tells all",
            "features",
            True,
        ),
        "grafted onto the original": Row(
            "as retrained", "share", +1, "forgotten test images named rightly by the original's upper half, told of the model's lower half", "features"
        ),
    }

    retained: int = 1000
    probes: int = 300

    def __call__(self, model: Subject, *, retain: Samples, test: Samples, classes: tuple[int, ...], original: Subject) -> Finding:
        """Fit the map and look."""
        probes = test[torch.isin(test.y, torch.tensor(classes))].at_most(self.probes)
        if not len(probes):
            return Finding(skipped="there is no test image of what was to be forgotten")
        known = retain.at_most(self.retained)
        layer = halfway(original.network, known[:8].batch(torch.arange(min(8, len(known))), device=original.engine.device)[0])
        if layer is None:
            return Finding(skipped="the original has no layer halfway from whose output alone the rest can be computed")
        told = Translation()
        for (mine, _), (theirs, at), _, _ in _pairs(model, original, layer, known):
            if mine.shape != theirs.shape:
                return Finding(skipped=f"one of the models has not the layer {layer!r} that the original has")
            told.add(_flat(mine, at), _flat(theirs, at))
        left, size, named = 0.0, 0.0, 0
        for (mine, _), (theirs, at), x, y in _pairs(model, original, layer, probes):
            guess, wanted = told(_flat(mine, at)), _flat(theirs, at)
            left, size = left + told.squares(guess - wanted), size + told.squares(wanted - told.mean)
            answers = original.network.at(layer, x)(_unflat(guess, theirs, at).to(theirs))[:, : model.width]
            named += int((answers.argmax(1) == y).sum())
        return Finding(
            {
                "unlike the original, halfway": Value(left / size if size else 0.0, n=len(probes)),
                "grafted onto the original": Value(named / len(probes), n=len(probes)),
            }
        )


TRIES = 40
"""How many layers are tried, from the middle back, for one that nothing passes by."""


@torch.no_grad()
def halfway(network: Network, x: Inputs) -> str | None:
    """The layer halfway through a network, by name; None where something passes by each that was tried.

    Args:
        network: In evaluation mode.
        x: A few inputs that differ.
    """
    ended: list[tuple[str, Tensor, int]] = []
    weighted = candidates(network.module).values()

    def note(name: str, part: nn.Module, out: object) -> None:
        before = ended[-1][2] if ended else 0
        # A copy, since what comes next may write into it.
        ended.append((name, out.clone() if isinstance(out, Tensor) else torch.empty(0), before + any(part is layer for layer in weighted)))

    with contextlib.ExitStack() as hooks:
        for name, part in network.module.named_modules():
            if name:
                hooks.callback(part.register_forward_hook(lambda part, _, out, name=name: note(name, part, out)).remove)
        answer = network(x)
    names = [name for name, _, _ in ended]
    half = [(name, out, count) for name, out, count in ended if 0 < count <= ended[-1][2] // 2 and out.ndim > 1 and len(out) == len(answer) and names.count(name) == 1]
    # A map that is flattened is told position by position ahead of it: of all positions at once there are more features than samples to fit by.
    maps = {(out.numel(), count) for _, out, count in half if out.ndim > 2}
    fit = [(name, out) for name, out, count in half if out.ndim > 2 or (out.numel(), count) not in maps]
    for name, out in fit[: -TRIES - 1 : -1]:
        again = network.at(name, x)(out.clone())
        if torch.allclose(again, answer, rtol=1e-3, atol=1e-5 * max(1.0, float(answer.abs().max()))):
            return name
    return None


@torch.no_grad()
def _output(network: Network, layer: str, x: Inputs) -> tuple[Tensor, int]:
    """What a layer answers, on these inputs, and where its channels stand: second in maps and last in tokens. Nothing where there is no such layer, or it is not asked."""
    seen: list[tuple[Tensor, int]] = []
    weighted: list[nn.Module] = []
    part = dict(network.module.named_modules()).get(layer)
    if part is None:
        return torch.empty(0), -1

    def note(_part: nn.Module, _given: object, out: object) -> None:
        if isinstance(out, Tensor):
            # Of three dimensions a map of one, if a convolution made it.
            seen.append((out.clone(), 1 if out.ndim > 3 or (out.ndim == 3 and weighted and isinstance(weighted[-1], nn.Conv1d)) else -1))

    with contextlib.ExitStack() as hooks:
        for other in candidates(network.module).values():
            hooks.callback(other.register_forward_hook(lambda other, _, __: weighted.append(other)).remove)
        hooks.callback(part.register_forward_hook(note).remove)
        network(x)
    return seen[-1] if seen else (torch.empty(0), -1)


def _pairs(model: Subject, original: Subject, layer: str, samples: Samples) -> Iterator[tuple[tuple[Tensor, int], tuple[Tensor, int], Inputs, Tensor]]:
    """By the batch: the layer's output in both models, and where its channels stand, the inputs and their labels."""
    parts = torch.split(torch.arange(len(samples)), 100)
    for x, y in samples.stream(((part, None) for part in parts), original.engine.device):
        yield _output(model.network, layer, x), _output(original.network, layer, x), x, y


def _flat(features: Tensor, channels: int) -> Tensor:
    """Features [N, d] of each position."""
    return features.movedim(channels, -1).flatten(0, -2).cpu().double()


def _unflat(flat: Tensor, like: Tensor, channels: int) -> Tensor:
    """The way back."""
    return flat.view(*like.movedim(channels, -1).shape).movedim(-1, channels)
