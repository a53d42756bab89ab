"""What laws run a method on: a small network trained on five digits, and data that can be spoilt in place."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from untrain.core.data import CropFlip, Samples, Split
from untrain.core.engine import seeded
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.preparing import prepare
from untrain.core.train import Phase
from untrain.core.unlearn import digest, given_to, prepared
from untrain.zoo import recipes
from untrain.zoo.networks import DigitsNet

CLASSES = 5


GONE = (0, 2)


OTHERS = (1, 3)


SIZES = {"train": 16, "test": 6, "valid": 6, "holdout": 6, "unseen": 6, "spare": 16}
"""Images of each class, part by part."""


class Closed(RuntimeError):
    """Something was read that the method does not name."""


class Shelf(Dataset[Tensor]):
    """Images read one by one; those at closed places raise.

    Args:
        x: The images.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.closed: set[int] = set()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> Tensor:
        if place in self.closed:
            raise Closed(f"the image at place {place}")
        return self.x[place]


@dataclass
class SmallRecipe:
    """A training of a few steps.

    Args:
        epochs: Passes over the samples.
        lr: Highest learning rate.
        skipped: Random numbers drawn before the network is built, so that another recipe builds another one.
        closed: Whether it raises when used.
    """

    epochs: int = 2
    lr: float = 0.05
    skipped: int = 0
    closed: bool = False

    def build(self) -> nn.Module:
        """The network before training."""
        self._open()
        torch.rand(self.skipped)
        return DigitsNet(CLASSES)

    def train(self, model: Network, samples: Samples) -> Phase:
        """Train it on these samples."""
        self._open()
        return recipes.Recipe("digits", CLASSES, self.epochs, self.lr, batch=16).train(model, samples)

    def _open(self) -> None:
        if self.closed:
            raise Closed("the recipe")


@dataclass
class KnownRecipe(SmallRecipe):
    """A recipe whose network is known before it is built: drawn at seed 1, with running statistics that are not a fresh network's.

    Args:
        module: What it builds.
    """

    module: nn.Module = field(default_factory=lambda: _drawn())

    def build(self) -> nn.Module:
        """A copy of the network."""
        return copy.deepcopy(self.module)


def _drawn() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = DigitsNet(CLASSES)
        module(torch.randn(8, 1, 8, 8))
    return module


@dataclass(eq=False)
class Case:
    """What a law runs a method on. Classes 0 and 2 of the digits 0 to 4 are to be forgotten.

    Args:
        model: A trained network.
        split: Forget, retain, test, and the further parts valid, holdout and unseen.
        recipe: A training of a few steps.
        spare: Images in no part, to exchange a part for.
    """

    model: nn.Module
    split: Split
    recipe: SmallRecipe
    spare: Samples

    @classmethod
    def fresh(cls, *, lazy: bool = False) -> Case:
        """A case that shares nothing with another; the same bits each time, read image by image where it is lazy."""
        cut = {name: _samples(x.clone(), y.clone(), lazy) for name, (x, y) in _pixels().items()}
        split = Split.by_class(cut.pop("train"), cut.pop("test"), forget=GONE, valid=cut["valid"], holdout=cut["holdout"], unseen=cut["unseen"])
        model = DigitsNet(CLASSES)
        model.load_state_dict(_trained())
        # In training mode, as training leaves it: what needs evaluation mode has to ask for it.
        return cls(model.train(), split, SmallRecipe(), cut["spare"]).begun()

    def begun(self, method: Method | None = None) -> Case:
        """The same with the model that this method prepares (the one that a law is asked of, where none is named), if it must be there from the start."""
        method = method or _asked.get()
        if method is not None and method.prepares is not None:
            named = repr((method, self.recipe, digest(self.prepared)))
            if named not in _BEGUN:
                _BEGUN[named] = prepare(method, self.split.forget + self.split.retain, recipe=self.recipe, norm=getattr(self.model, "norm", None)).model
            self.model = copy.deepcopy(_BEGUN[named]).train()
        return self

    def misnamed(self) -> Case:
        """The same with every fifth forgotten and retained sample under the label of another class of its part, so that a label is one thing and what the model says another."""
        self.split = self.split.replaced(**{name: _turned(self.split.parts[name]) for name in ("forget", "retain")})
        return self

    @property
    def prepared(self) -> Split:
        """The split as `unlearn` hands it out: pixels normalised as the network wants them."""
        return prepared(self.model, self.split)

    def given(self, method: Method, **exchanged: Any) -> dict[str, Any]:
        """What the method names, with some things exchanged for others."""
        return given_to(method, self.prepared, self.recipe) | exchanged

    def other(self, name: str) -> Samples:
        """Other images of the same number and classes as this part's."""
        part = self.split.parts[name]
        return self.spare[torch.isin(self.spare.y, torch.tensor(part.classes))].first(len(part) // len(part.classes))

    @contextlib.contextmanager
    def spoilt(self, but: Collection[str]) -> Iterator[None]:
        """Spoil everything but what is named, in place, so that whoever kept a reference meets it; mend it afterwards."""
        parts = [part for name, part in self.split.parts.items() if name not in but]
        places = [(source, part.index[part.which == i]) for part in parts for i, source in enumerate(part.sources)]
        kept = [(source, source.y.clone(), source.x.clone() if isinstance(source.x, Tensor) else None) for source, _ in places]
        classes = self.split.classes
        try:
            for source, at in places:
                source.y[at] = (source.y[at] + 1) % CLASSES
                if isinstance(source.x, Tensor):
                    source.x[at] = 255 - source.x[at]
                elif isinstance(source.x, Shelf):
                    # The shape of an input is read off the first one of a part, by the house and not by the method.
                    source.x.closed.update(at.tolist()["shape" in but :])
            self.split.classes = classes if "classes" in but else OTHERS
            self.recipe.closed = "recipe" not in but
            yield
        finally:
            self.split.classes, self.recipe.closed = classes, False
            for source, y, x in kept:
                source.y.copy_(y)
                if isinstance(source.x, Tensor) and x is not None:
                    source.x.copy_(x)
                elif isinstance(source.x, Shelf):
                    source.x.closed.clear()


_asked: ContextVar[Method | None] = ContextVar("untrain_asked", default=None)
_BEGUN: dict[str, nn.Module] = {}
"""What methods prepared, by their settings, the recipe and the data."""


@contextlib.contextmanager
def asking(method: Method) -> Iterator[None]:
    """Cases that are made within the block are made for this method."""
    token = _asked.set(method)
    try:
        yield
    finally:
        _asked.reset(token)


def _turned(part: Samples) -> Samples:
    y, classes = part.y, torch.tensor(part.classes)
    y[::5] = classes[(torch.searchsorted(classes, y) + 1) % len(classes)][::5]
    return part.labelled(y)


def _samples(x: Tensor, y: Tensor, lazy: bool) -> Samples:
    return Samples(Shelf(x) if lazy else x, y, names=[str(i) for i in range(CLASSES)], augment=CropFlip(1, flip=False))


STORED = Path(__file__).with_name("case.safetensors")
"""Images, labels and weights of the case, so that nothing is trained before the first law is asked; `case_made_anew` says where they come from."""


@cache
def _stored() -> dict[str, Tensor]:
    return load_file(STORED)


def _pixels() -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (_stored()[f"{name}.x"], _stored()[f"{name}.y"].long()) for name in SIZES}


def _trained() -> dict[str, Tensor]:
    return {name.removeprefix("weights."): value.clone() for name, value in _stored().items() if name.startswith("weights.")}


def case_made_anew(pool: Samples) -> dict[str, Tensor]:
    """What `case.safetensors` holds: the first images of each of five classes of the digits, and a network trained on those of them that are for training.

    Args:
        pool: The digits' training images.
    """
    source, y = pool.sources[0], pool.y
    assert isinstance(source.x, Tensor)
    place = torch.stack([(y == c).cumsum(0) - 1 for c in range(CLASSES)])
    place = place.gather(0, y.clamp(max=CLASSES - 1)[None])[0]
    out, start = {}, 0
    for name, size in SIZES.items():
        keep = (y < CLASSES) & (place >= start) & (place < start + size)
        out[f"{name}.x"], out[f"{name}.y"] = source.x[pool.index[keep]].contiguous(), y[keep].to(torch.uint8)
        start += size
    with seeded(0) as run:
        module = DigitsNet(CLASSES)
        run.network = Network(module)
        train = _samples(out["train.x"], out["train.y"].long(), lazy=False).prepared(module.norm)
        recipes.Recipe("digits", CLASSES, epochs=10, lr=0.05, batch=16).train(run.network, train)
    return out | {f"weights.{name}": value.clone() for name, value in module.state_dict().items()}
