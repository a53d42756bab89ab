"""What a user should hear before a run: a model that hardly knows its own data, a class that no test image shows."""

from __future__ import annotations

import time

import torch
from torch import nn

from untrain.core import unlearn as running
from untrain.core.data import Split
from untrain.core.discover import found
from untrain.core.network import Network
from untrain.core.rehearse import spread

SECONDS = 2.0
"""How long it may take to look."""

IMAGES = 500
"""Test images that are looked at, at most."""

PLAIN = 0.25
"""Share of the way from guessing to naming all rightly, below which a model is said hardly to know its data."""


def doubts(model: nn.Module, split: Split, head: str | None = None, seconds: float = SECONDS) -> list[str]:
    """Sentences on what makes a run, or what will be measured of it, doubtful.

    Args:
        model: The model.
        split: The data, prepared.
        head: Name of the head's layer, where it is not the last linear layer or convolution.
        seconds: How long it may take; fewer images are looked at where time runs out.
    """
    return [*unseen(split), *unknown(model, split, head, seconds)]


def unseen(split: Split) -> list[str]:
    """Sentences on classes to forget of which there is no test image, or no training image any more."""
    untested, gone = ([c for c in split.classes if not bool((part.y == c).any())] for part in (split.test, split.forget))
    names = split.test.names or split.retain.names

    def called(classes: list[int]) -> str:
        return ", ".join(names[c] if c < len(names) else str(c) for c in classes)

    said = [f"no test image is of {called(untested)}: that it is forgotten cannot be measured; give a test part that shows it, by --test"] if untested else []
    if gone:
        lacking = ", ".join(name for name, entry in found("audits").items() if "forget" in entry.load().needs)
        said.append(f"no training image is of {called(gone)}: methods that need the forget set are refused, and of audits these are not asked: {lacking}")
    return said


def unknown(model: nn.Module, split: Split, head: str | None, seconds: float) -> list[str]:
    """A sentence on a model that names hardly more of its own test images than guessing would."""
    if not len(split.test):
        return []
    network, until = Network(model, head=head), time.perf_counter() + seconds
    if head is not None:
        running.width_on(network, split.test)
    right = n = 0
    with network.frozen(), torch.no_grad():
        # A few from everywhere, and in a fixed shuffle, so that what was seen when time ran out is a fair sample.
        places = spread(len(split.test), min(IMAGES, len(split.test)))
        for rows in torch.split(places[torch.randperm(len(places), generator=torch.Generator().manual_seed(0))], 50):
            x, y = split.test.batch(rows, device=network.device)
            right, n = right + int((network(x).argmax(1) == y).sum()), n + len(rows)
            if time.perf_counter() > until:
                break
    guessed = 1 / max(2, len(split.test.names) or len(torch.unique(torch.cat([split.retain.y, split.forget.y]))))
    if right / n >= guessed + PLAIN * (1 - guessed):
        return []
    return [
        f"the model names {right} of {n} test images rightly ({right / n:.1%}), and guessing would name {guessed:.1%}: these classes in another order, "
        "or another normalisation than it was trained with? `untrain check` looks"
    ]
