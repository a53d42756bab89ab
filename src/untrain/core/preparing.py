"""`prepare`: train the original as a method needs it that must be there from the start."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from untrain.core.data import Norm, Prepare, Samples
from untrain.core.discover import name_of
from untrain.core.engine import Engine, Precision, Progress, seeded, silent
from untrain.core.errors import BadArgument
from untrain.core.method import Method, Recipe
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace


@dataclass(frozen=True)
class Prepared:
    """What came of it.

    Args:
        model: The original, which carries what the method has to remember.
        trace: Losses, steps, passes and seconds of each phase.
        seconds: Wall time.
        passes: Images through any network.
        engine: Device, precision, threads, ranks.
    """

    model: nn.Module
    trace: Trace
    seconds: float
    passes: int
    engine: dict[str, Any]


@dataclass(frozen=True)
class Preparation:
    """How a model was prepared, as its file says it.

    Args:
        method: The method, with its settings.
        recipe: What is said of the recipe that its networks were trained by; None where the method asks for none.
        norm: The normalisation that it was trained with.
        changed: Name of another method that has changed the model since, so that it is no longer what was prepared.
    """

    method: Method
    recipe: Mapping[str, Any] | None = None
    norm: Norm | None = None
    changed: str | None = None

    @property
    def said(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "method": name_of(self.method),
            "settings": asdict(self.method),
            "recipe": None if self.recipe is None else dict(self.recipe),
            "norm": None if self.norm is None else asdict(self.norm),
            "changed": self.changed,
        }

    def after(self, method: Method) -> Preparation:
        """What it is once a method has made a model of it: the method that prepared it keeps it whole, and what trains it anew makes it whole."""
        if type(method) is type(self.method):
            return replace(self, method=method)
        return replace(self, changed=None if name_of(method) == "retrain" else name_of(method))


@dataclass(frozen=True, eq=False)
class Again:
    """A preparation as a recipe: how an original that was prepared is trained anew.

    Args:
        preparation: How it was prepared.
        recipe: How its networks are built and trained, where the method asks for it.
        state: A state dict in whose shapes it is.
        about: What records say of it.
    """

    preparation: Preparation
    recipe: Any
    state: Mapping[str, Tensor]
    about: Mapping[str, Any]

    def build(self) -> nn.Module:
        """The model before training."""
        made = self.preparation.method.shell(self.recipe.build if self.recipe is not None else nn.Identity, self.state)
        return normed(made, self.preparation.norm)

    def train(self, model: Network, samples: Samples) -> Phase:
        """Prepare it on these samples."""
        made, trace = given_to_prepare(self.preparation.method, samples, self.recipe)
        model.module.load_state_dict(made.state_dict())
        return reduce(Phase.__add__, trace.values())


def normed(model: nn.Module, norm: Prepare | None) -> nn.Module:
    """The model, with the normalisation that it was prepared with as its own, where one is given."""
    if norm is not None:
        setattr(model, "norm", norm)  # noqa: B010
    return model


def given_to_prepare(method: Method, train: Samples, recipe: Recipe | None) -> tuple[nn.Module, Trace]:
    """Prepare by what the method asks for, and nothing else."""
    known = {"train": train, "recipe": recipe}
    return method.prepare(**{given: known[given] for given in method.prepares or ()})


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
    precision: Precision = "fp32",
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
        precision: `fp32`, or `bf16` autocast.
        progress: Told of each step.
        store: Folder where finished work is kept, so that a killed run goes on.

    Raises:
        BadArgument: a method that takes any trained model, or one that needs a recipe, and none is given.
    """
    engine, asks = Engine.of(device, precision), method.prepares or ()
    if "recipe" in asks and recipe is None:
        raise BadArgument(f"{type(method).__name__} prepares networks by the recipe of their training; give one that has build() and train(model, samples) (recipe=)")
    began = time.perf_counter()
    with seeded(seed, engine=engine, progress=progress, store=store, told={"method": repr(method), "prepares": True}) as run:
        model, trace = given_to_prepare(method, train.prepared(norm), recipe)
    return Prepared(normed(model, norm).to(engine.device), trace, time.perf_counter() - began, run.passes, run.report())
