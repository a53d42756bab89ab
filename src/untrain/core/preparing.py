"""`prepare`: train the original as a method needs it that must be there from the start."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrain.core.data import Prepare, Samples
from untrain.core.engine import Engine, Progress, seeded, silent
from untrain.core.errors import BadArgument
from untrain.core.method import Method
from untrain.core.trace import Trace


@dataclass(frozen=True)
class Prepared:
    """What came of it.

    Args:
        model: The original, which carries what the method has to remember.
        trace: Losses, steps, passes and seconds of each phase.
        seconds: Wall time.
        passes: Images through any network.
    """

    model: nn.Module
    trace: Trace
    seconds: float
    passes: int


# A caller may have turned gradients off for what surrounds this.
@torch.inference_mode(False)
@torch.enable_grad()
def prepare(
    method: Method,
    train: Samples,
    *,
    recipe: Any = None,
    seed: int = 0,
    norm: Prepare | None = None,
    device: str | torch.device | None = None,
    progress: Progress = silent,
    store: Path | None = None,
) -> Prepared:
    """Train the original for a method that forgets only in what it was there to train: SISA, certified removal.

    Args:
        method: The method, with the settings that it is to forget by.
        train: The training samples.
        recipe: How a network is built and trained, where the method asks for it.
        seed: Same seed, same bits, on the same kind of machine.
        norm: Preparation of raw pixels, which the model then has as its own; that of the recipe's network where none is given.
        device: Where to compute; the CPU where none is named.
        progress: Told of each step.
        store: Folder where finished work is kept, so that a killed run goes on.

    Raises:
        BadArgument: a method that takes any trained model, or one that needs a recipe, and none is given.
    """
    engine, asks = Engine.of(device), method.prepares or ()
    if "recipe" in asks and recipe is None:
        raise BadArgument(f"{type(method).__name__} prepares networks by the recipe of their training; give one that has build() and train(model, samples) (recipe=)")
    known = {"train": train.prepared(norm), "recipe": recipe}
    began = time.perf_counter()
    with seeded(seed, engine=engine, progress=progress, store=store, told={"method": repr(method), "prepares": True}) as run:
        model, trace = method.prepare(**{given: known[given] for given in asks})
    if norm is not None:
        setattr(model, "norm", norm)  # noqa: B010
    return Prepared(model.to(engine.device), trace, time.perf_counter() - began, run.passes)
