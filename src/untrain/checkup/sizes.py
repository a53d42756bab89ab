"""Would the model's own size of images serve it better than the data's?"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from untrain.checkup.norms import clearly
from untrain.core import unlearn as running
from untrain.core.audit import counted
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.rehearse import spread

IMAGES = 200
"""Images that are looked at, at most."""


def own_size(model: nn.Module, here: Samples, there: Samples, size: int, seconds: float, head: str | None = None) -> dict[str, Any] | None:
    """How many of the same images are named rightly at the data's size and at the model's own; None where the model does not take the latter.

    Args:
        model: The model.
        here: Images as the data have them, prepared.
        there: The same images at the model's own size, prepared.
        size: That size, in pixels.
        seconds: About how long it may take.
        head: Name of the head's layer, where it is not the last linear layer or convolution.

    Returns:
        `here` and `there`, whether the model's own size is `clear`ly better, and a sentence where it is.
    """
    network, until = Network(model, head=head), time.perf_counter() + seconds
    if head is not None:
        running.width_on(network, here)
    hits: list[list[torch.Tensor]] = [[], []]
    places = spread(len(here), min(IMAGES, len(here)))
    with network.frozen(), torch.no_grad():
        for rows in torch.split(places[torch.randperm(len(places), generator=torch.Generator().manual_seed(0))], 20):
            for found, samples in zip(hits, (here, there), strict=True):
                x, y = samples.batch(rows, device=network.device)
                try:
                    found.append(network(x).argmax(1) == y)
                except RuntimeError:
                    return None
            if time.perf_counter() > until:
                break
    own, other = torch.cat(hits[0]).cpu(), torch.cat(hits[1]).cpu()
    clear = clearly(other, own)
    values = [asdict(counted(hit)) for hit in (own, other)]
    at_its, at_theirs = (f"{value['value']:.1%}" for value in (values[1], values[0]))
    said = f"at {size} pixels, which it was made for, it names {at_its} of {len(own)} images rightly, at the data's own size {at_theirs}: give --size {size}"
    return {"size": size, "here": values[0], "there": values[1], "clear": clear, "sentence": said if clear else None}
