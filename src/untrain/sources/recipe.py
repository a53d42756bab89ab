"""How a user's model came about, by a function of theirs: what `retrain` runs again without the forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from untrain.core.data import Samples
from untrain.core.errors import BadArgument
from untrain.core.network import Network
from untrain.core.train import Phase
from untrain.sources.libraries.functions import call, hash_of
from untrain.sources.names import named


@dataclass(frozen=True, eq=False)
class Recipe:
    """A recipe out of `path.py:function` or `package.module:function`.

    Args:
        function: How it is named, without the way to a folder.
        sha256: Hash of the file that it stands in.
        made: What the function gave: an object with `build()` and `train(model, samples)`.
    """

    function: str
    sha256: str
    made: Any

    @property
    def about(self) -> dict[str, str]:
        """What records say of it."""
        return {"function": self.function, "sha256": self.sha256}

    def build(self) -> nn.Module:
        """The network before training, drawn from the random state of the moment."""
        built = self.made.build()
        if not isinstance(built, nn.Module):
            raise BadArgument(f"{self.function}: build() gave a {type(built).__name__}; it is to give a torch.nn.Module")
        return built

    def train(self, model: Network, samples: Samples) -> Phase:
        """Train it on these samples."""
        phase = self.made.train(model, samples)
        if not isinstance(phase, Phase):
            raise BadArgument(f"{self.function}: train() gave a {type(phase).__name__}; it is to give what untrain.fit or untrain.minimize gave it")
        return phase


def recipe(name: str, classes: int) -> Recipe:
    """The recipe that a `--recipe` names.

    Args:
        name: `path.py:function` or `package.module:function`; the function is told the number of classes if it takes an argument.
        classes: Number of classes of the data.

    Raises:
        BadArgument: there is no such function, or what it gives is no recipe.
    """
    what = named(name)
    if what is None or not what.runs_code:
        raise BadArgument(f"--recipe {name!r} names no function; write path.py:function or package.module:function")
    # What is run is what is hashed, however long it takes.
    digest = hash_of(what)
    made = call(name, classes)
    lacks = [part for part in ("build", "train") if not callable(getattr(made, part, None))]
    if lacks:
        raise BadArgument(f"{what.shown} gave a {type(made).__name__} without {' and '.join(lacks)}; a recipe has build() and train(model, samples)")
    return Recipe(what.shown, digest, made)


def refuse_other(found: Recipe, model: nn.Module, name: str) -> None:
    """Refuse a recipe that builds another network than the model, before any work.

    Raises:
        BadArgument: names or shapes differ (says the first).
    """
    with torch.random.fork_rng(devices=[]):
        built = {k: v.shape for k, v in found.build().state_dict().items()}
    own = {k: v.shape for k, v in model.state_dict().items()}
    differ = [k for k in own.keys() | built.keys() if own.get(k) != built.get(k)]
    if differ:
        first = next(k for k in [*own, *built] if k in differ)
        shapes = [list(s[first]) if first in s else "not there" for s in (own, built)]
        raise BadArgument(f"{found.function} builds another network than {name}: {first} is {shapes[0]} in the model and {shapes[1]} in what build() gives")
