"""Networks of several kinds, and a law for each: on it a method does what it does on the case's own.

They are trained in a second each, when a law first asks for one, and kept for the process.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from untrain.checks.case import CLASSES, GONE, Case, SmallRecipe
from untrain.checks.running import Law, LawBroken, left_by, manners, moved_rows, unequal, values, without_steps
from untrain.core.data import Samples, Split
from untrain.core.engine import seeded
from untrain.core.method import Method
from untrain.core.network import Network, logits
from untrain.zoo.recipes import Recipe


class Convolutions(nn.Module):
    """Two convolutions, each with a normalisation made for its channels, and a linear head; subclasses change a part.

    Args:
        classes: Width of the head.
        normal: Makes a normalisation of so many channels.
    """

    def __init__(self, classes: int, normal: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), normal(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), normal(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 16), nn.ReLU())
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Any:
        """Logits [n, classes] of images x [n, 1, 8, 8]."""
        return self.head(self.body(x))


class Attention(nn.Module):
    """Patches of 2 x 2, one layer of attention between LayerNorms, a linear head.

    Args:
        classes: Width of the head.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 2, 2)
        self.place = nn.Parameter(0.02 * torch.randn(16, 16))
        self.before, self.after = nn.LayerNorm(16), nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.between = nn.Linear(16, 16)
        self.head = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of images x [n, 1, 8, 8]."""
        x = self.patches(x).flatten(2).mT + self.place
        seen = self.before(x)
        x = x + self.attention(seen, seen, seen, need_weights=False)[0]
        return cast(Tensor, self.head(F.gelu(self.between(self.after(x))).flatten(1)))


class Dropout(Convolutions):
    """With dropout ahead of the head."""

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        return self.head(F.dropout(self.body(x), 0.3, self.training))


class WeightNorm(Convolutions):
    """With the head's weight computed from a direction and a length."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        parametrizations.weight_norm(self.head)


class Tied(Convolutions):
    """With one weight in two layers."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        del self.head
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 16)
        self.two.weight = self.one.weight
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        return self.head(F.relu(self.two(F.relu(self.one(self.body(x))))))


class TiedKernels(nn.Module):
    """With one kernel in two convolutions.

    Args:
        classes: Width of the head.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.one, self.two = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.two.weight = self.one.weight
        self.head = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of images x [n, 1, 8, 8]."""
        return cast(Tensor, self.head(F.relu(self.two(F.relu(self.one(F.relu(self.first(x)))))).flatten(1)))


class Dicts(Convolutions):
    """That wants its input by name and answers with a dict."""

    def forward(self, pixels: Tensor) -> Any:
        """Logits."""
        return {"logits": self.head(self.body(pixels))}


class Auxiliary(Convolutions):
    """With a layer behind the head that has no say in the answer."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.auxiliary = nn.Linear(16, 7)


class Masked(Convolutions):
    """With minus infinity in a buffer, as masks of attention have."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.register_buffer("mask", torch.full((classes, classes), -math.inf).triu(1))


class ExtraState(Convolutions):
    """With something in its state dict that is no tensor."""

    def get_extra_state(self) -> Any:
        """A version."""
        return {"version": 1}

    def set_extra_state(self, state: Any) -> None:
        """Nothing to do."""


class ConvolutionAsHead(nn.Module):
    """Whose head is a convolution in one dimension, averaged over places.

    Args:
        classes: Width of the head.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Conv1d(64, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of images x [n, 1, 8, 8]."""
        return cast(Tensor, self.head(self.body(x).flatten(1, 2)).mean(2))


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Args:
        build: Makes one, of so many classes.
        classes: How many.
        frozen: Whether all but the head is frozen once it is trained.
        half: Whether it is brought to half precision once it is trained.
        named: Whether its inputs go by a name.
    """

    build: Callable[[int], nn.Module]
    classes: int = CLASSES
    frozen: bool = False
    half: bool = False
    named: bool = False


KINDS: dict[str, Kind] = {
    "attention_and_layer_norm": Kind(Attention),
    "group_norm": Kind(lambda classes: Convolutions(classes, lambda channels: nn.GroupNorm(2, channels))),
    "dropout": Kind(Dropout),
    "weight_norm": Kind(WeightNorm),
    "tied_weights": Kind(Tied),
    "a_frozen_body": Kind(Convolutions, frozen=True),
    "dicts_in_and_out": Kind(Dicts, named=True),
    "two_classes": Kind(Convolutions, classes=2),
    "half_precision": Kind(Convolutions, half=True),
    "a_layer_behind_the_head": Kind(Auxiliary),
    "a_mask_of_infinities": Kind(Masked),
    "extra_state": Kind(ExtraState),
    "a_convolution_as_head": Kind(ConvolutionAsHead),
}
"""Kinds by name; `check_it_works_on_NAME` is the law of each."""


@dataclass
class KindRecipe(SmallRecipe):
    """A training of a few steps for a network of some kind.

    Args:
        kind: Its name.
    """

    kind: str = "group_norm"

    def build(self) -> nn.Module:
        """The network before training."""
        return KINDS[self.kind].build(KINDS[self.kind].classes)

    def train(self, model: Network, samples: Samples) -> Any:
        """Train it on these samples."""
        return Recipe("digits", KINDS[self.kind].classes, self.epochs, self.lr, batch=16).train(model, samples)


@cache
def _trained(name: str) -> dict[str, Any]:
    """Weights of a trained network of this kind."""
    recipe = KindRecipe(epochs=12, lr=0.1, kind=name)
    with seeded(0) as run:
        run.network = Network(recipe.build())
        recipe.train(run.network, _parts(name)["train"])
    return copy.deepcopy(run.network.module.state_dict())


def _parts(name: str) -> dict[str, Samples]:
    """The case's samples as a network of this kind wants them: normalised, as they are or by name."""
    kind, split, out = KINDS[name], Case.fresh().prepared, {}
    for part, samples in {"train": split.forget + split.retain, "test": split.test}.items():
        x, y = samples.batch(torch.arange(len(samples)))
        assert isinstance(x, Tensor)
        keep = y < kind.classes
        out[part] = Samples({"pixels": x[keep]} if kind.named else x[keep], y[keep], names=[str(i) for i in range(kind.classes)])
    return out


def case_of(name: str) -> Case:
    """A case whose network is of this kind."""
    kind, parts = KINDS[name], _parts(name)
    model = KindRecipe(kind=name).build()
    model.load_state_dict(_trained(name))
    if kind.frozen:
        for weight, parameter in model.named_parameters():
            parameter.requires_grad_(weight.startswith("head"))
    if kind.half:
        model.half()
    split = Split.by_class(parts["train"], parts["test"][::2], forget=[c for c in GONE if c < kind.classes], unseen=parts["test"][1::2])
    return Case(model.train(), split, KindRecipe(epochs=4, kind=name), parts["test"]).begun()


def _law(name: str) -> Law:
    def law(method: Method, case: Case | None = None) -> None:
        case = case or case_of(name)
        given, before = copy.deepcopy(case.model), values(case.model) | manners(case.model)
        left = left_by(law, method, case)
        changed = unequal(before, values(case.model) | manners(case.model))
        if changed:
            raise LawBroken(law, method, f"changed {changed[0]} of the model that it was given")
        odd = unequal(manners(given), manners(left)) or unequal(*({k: v[:2] for k, v in values(m).items()} for m in (given, left)))
        if odd:
            raise LawBroken(law, method, f"left {odd[0]} other than it was")
        _moved_as_it_may(law, method, case, left)
        told = [_loss(model, case.split.forget) for model in (given, left)]
        if not math.isfinite(told[1]):
            raise LawBroken(law, method, "left a model that answers with NaN or infinity")
        # Some of these networks are so sure that a default raises nothing; what may not be is that the forget set is learned.
        if method.forgets and told[1] < told[0] / 2 - 1e-3:
            raise LawBroken(law, method, f"lowers the loss of the forget set from {told[0]:.4f} to {told[1]:.4f}")

    law.__name__ = law.__qualname__ = f"check_it_works_on_{name}"
    law.__doc__ = f"On a network with {name.replace('_', ' ')} it moves what may move and nothing else, does not learn the forget set, and leaves no trace."
    return law


def _moved_as_it_may(law: Law, method: Method, case: Case, left: nn.Module) -> None:
    """Something moves; what is frozen does not, but for what is edited; without a step only what is edited does."""
    edits = _edits(method, case)
    wanted = {name for name, weight in case.model.named_parameters(remove_duplicate=False) if weight.requires_grad}
    moved = {name: moved_rows(value, left.state_dict()[name]) for name, value in case.model.state_dict().items() if isinstance(value, Tensor)}
    names = {name for name, _ in case.model.named_parameters(remove_duplicate=False)}
    if method.forgets and not any(moved[name] for name in names):
        raise LawBroken(law, method, "moved no weight")
    frozen = [name for name in names - wanted if moved[name] and name not in edits]
    if frozen:
        raise LawBroken(law, method, f"moved {frozen[0]}, which is frozen")
    still = without_steps(method)
    edits = _edits(still, case)
    # A method without steps has done already what it does without them.
    same = still == method and "recipe" not in method.needs
    stayed = (left if same else left_by(law, still, case, recipe=replace(case.recipe, epochs=0))).state_dict()
    edited = {name: moved_rows(value, stayed[name]) for name, value in case.model.state_dict().items() if isinstance(value, Tensor)}
    unknown = edits.keys() - stayed.keys()
    if unknown:
        raise LawBroken(law, method, f"declares that it edits {sorted(unknown)}, which the model does not have")
    for name, rows in edited.items():
        declared = edits.get(name, ())
        if declared is not None and rows - set(declared):
            raise LawBroken(law, method, f"takes no step, but changes {name}, which it does not declare as edited")
    if edits and not any(edited.values()):
        raise LawBroken(law, method, f"declares that it edits {', '.join(list(edits)[:3])}, but leaves all of it as it was")


def _edits(method: Method, case: Case) -> dict[str, tuple[int, ...] | None]:
    """What the method declares as edited, under each name that it goes by."""
    model = copy.deepcopy(case.model)
    view = Network(model)
    view.locate(case.split.test.batch(torch.arange(2))[0])
    declared = method.edits(view, case.split.classes)
    held = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    return declared | {other: rows for name, rows in declared.items() for other, value in held.items() if name in held and value == held[name]}


def _loss(module: nn.Module, samples: Samples) -> float:
    """Cross-entropy in evaluation mode."""
    x, y = samples.batch(torch.arange(len(samples)))
    module = copy.deepcopy(module).float().eval()
    with torch.no_grad():
        return float(F.cross_entropy(logits(module(**x) if isinstance(x, dict) else module(x)), y))


def with_tied_kernels(case: Case) -> Case:
    """The case with a network of which two convolutions have one kernel, as it is drawn at a seed that no run of a law has."""
    with seeded(99):
        return replace(case, model=TiedKernels(CLASSES), split=case.prepared)


OF_KINDS: dict[str, Law] = {name: _law(name) for name in KINDS}
"""A law for each kind of network."""

LAWS_OF_KINDS: tuple[Law, ...] = tuple(OF_KINDS.values())


class EarlyExit(nn.Module):
    """The case's network with an exit after its first convolution, drawn at a seed that no run of a law has.

    Args:
        model: The network.
    """

    heads = ("early", "model.linear")

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        with seeded(99):
            self.early = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both exits."""
        first: Tensor = cast(Any, self.model).conv1(x)
        return self.early(F.relu(first).mean((2, 3))), self.model(x)
