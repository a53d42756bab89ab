"""What a method is: a frozen dataclass of hyper-parameters with one function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from untrain.core.data import Samples, Split
from untrain.core.discover import name_of
from untrain.core.errors import BadArgument
from untrain.core.network import Network
from untrain.core.train import Phase, Trace

FAILURES = ("unchanged", "collapsed", "diverged", "remembers")
"""How a run can fail: nothing moved; too much did; it went to NaN; the forgotten are named as before."""


class Recipe(Protocol):
    """How the original came about."""

    def build(self) -> nn.Module:
        """The network before training."""
        ...

    def train(self, model: Network, samples: Samples) -> Phase:
        """Train it on these samples."""
        ...


@dataclass(frozen=True)
class Move:
    """Which way a phase moves a quantity.

    Args:
        way: +1 up, -1 down; 0 is a phase that promises neither, and says why.
        of: What it moves: the `cross-entropy` of the labels, the `distance from original` (KL of the answers from those of the model
            that was given), or the `p of forgotten`, the probability of the classes to forget.
        on: Of which samples: the phase's own first `batch`, with the labels that it carries, or a part of the split under its true ones: `forget` or `retain`.
        over: By a small `step` where the first one goes, in the mode of that step, or by what the weights do in the whole `phase` (of several turns the first), in evaluation mode.
        why: Why it promises nothing, in a sentence.
    """

    way: Literal[-1, 0, 1]
    of: Literal["cross-entropy", "distance from original", "p of forgotten"] = "cross-entropy"
    on: Literal["batch", "forget", "retain"] = "batch"
    over: Literal["step", "phase"] = "step"
    why: str = ""


@dataclass(frozen=True)
class Method:
    """Base of all methods.

    A method is one file with one frozen dataclass and one function; *the keyword names of the function
    are the data it is given*, so what a method sees is a fact and not a claim. It may name `forget`,
    `retain` or any further part of the split but `test`, and `classes`, `recipe` and `shape` (of one input, as the network reads it).
    """

    found_in: ClassVar[str] = "methods"
    """The room whose files are looked through for its like."""

    paper: ClassVar[str] = ""
    """Where it comes from: authors, title, year, arXiv number."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Names of what it is given: read off the signature, never written by hand."""

    prepares: ClassVar[tuple[str, ...] | None] = None
    """What its `prepare` is given, read off the signature like `needs`; None where any trained model will do."""

    presets: ClassVar[dict[str, Method]] = {}
    """Named settings: found, listed, tested and benchmarked like methods of their own."""

    draws: ClassVar[bool] = True
    """Whether it draws random numbers; one that does not gives the same bits for every seed."""

    forgets: ClassVar[bool] = True
    """Whether it sets out to forget; a control that does not says so."""

    moves: ClassVar[dict[str, Move | tuple[Move, ...]]] = {}
    """By phase that moves weights: what it moves, and which way; several promises in a tuple."""

    small: ClassVar[dict[str, Any]] = {}
    """Fields as the laws set them, where a run's length does not follow the data, or a threshold does not fit a few images; counts are set no higher than they are."""

    idle: ClassVar[dict[str, Any]] = {}
    """Fields that count no steps, as they stand where it takes none: of a method that is made of others, their names."""

    shares: ClassVar[tuple[str, ...]] = ()
    """Fields that are shares of something, so that none is above 1, beside those whose name says so."""

    knobs: ClassVar[dict[str, dict[str, int]]] = {}
    """By failure (`unchanged`, `collapsed`, `diverged`, `remembers`): fields to move, the likeliest first, and which way (+1 up, -1 down).
    Where none are stated: rates and epochs, up where nothing changed or the forgotten are remembered, down where too much did."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.needs = _keywords(cls.__call__)
        cls.prepares = None if cls.prepare is Method.prepare else _keywords(cls.prepare)

    def __post_init__(self) -> None:
        """Refuse numbers that no method can mean.

        Raises:
            BadArgument: a negative or infinite number, a batch of no samples, or a share above 1.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not math.isfinite(value) or value < 0:
                raise BadArgument(f"{type(self).__name__}({field.name}={value}) is negative or not finite; give a number from 0 up")
            if field.name.startswith("batch") and value < 1:
                raise BadArgument(f"{type(self).__name__}({field.name}={value}): a batch holds at least one sample")
            if self.is_share(field.name) and value > 1:
                raise BadArgument(f"{type(self).__name__}({field.name}={value}) is more than the whole; give a share from 0 to 1")

    def is_share(self, name: str) -> bool:
        """Whether a field is a share of something."""
        return name.endswith("share") or name in self.shares

    def advice(self, failure: str, phase: str = "") -> str:
        """Which knob to move after a failure, in a few words and in terms of its own flags.

        Args:
            failure: `unchanged`, `collapsed`, `diverged` or `remembers`.
            phase: The phase that it happened in, where that is known; its own rate goes before the others.
        """
        moves = self.knobs.get(failure) or self._usual_knobs(failure, phase)
        # What stands at 0 cannot be lowered, nor a share that is the whole be raised.
        moves = {name: way for name, way in moves.items() if (getattr(self, name) > 0 if way < 0 else not self.is_share(name) or getattr(self, name) < 1)}
        said = [f"{'raise' if way > 0 else 'lower'} --{name.replace('_', '-')} (it was {getattr(self, name)})" for name, way in moves.items()]
        if said:
            # What it was prepared by it forgets by: other settings are refused then.
            return " or ".join(said) + ("" if self.prepares is None else f" where the original is prepared, by `untrain prepare {name_of(self)}`")
        if "recipe" in self.needs:
            return "its training is the recipe's: raise --epochs" if failure in ("unchanged", "remembers") else "its training is the recipe's: lower the rate there"
        return "it has no setting that would help; `untrain methods` lists others"

    def _usual_knobs(self, failure: str, phase: str) -> dict[str, int]:
        names = [f.name for f in fields(self)]
        rates = [n for n in names if n == "lr" or n.endswith("_lr")]
        epochs = [n for n in names if n == "epochs" or n.endswith("_epochs")]
        if failure == "diverged":
            return dict.fromkeys([n for n in rates if n == f"{phase}_lr"] or rates, -1)
        return dict.fromkeys(rates + epochs, 1 if failure in ("unchanged", "remembers") else -1)

    def promised(self) -> dict[str, Move | tuple[Move, ...]]:
        """By phase what it moves: its `moves`, and of a method that is made of others theirs."""
        return self.moves

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Entries that it may change by hand, without a step: rows by tensor name, None for the whole tensor.

        At least one of them does change, and nothing else.
        """
        return {}

    def doubts(self, split: Split) -> list[str]:
        """Sentences on what of this data the method is known to fail at now and then, told before it starts; what it cannot do it refuses."""
        return []

    def prepare(self, **given: Any) -> tuple[nn.Module, Trace]:
        """Make the original, where the method must be there when that is trained: `(*, train, recipe)`, each only where it is needed.

        What it has to remember for later is state of the module, so that it is saved, copied and moved with the weights.

        Raises:
            BadArgument: it takes any trained model.
        """
        name = type(self).__name__
        raise BadArgument(f"{name} takes a model however it was trained; there is nothing to prepare for it: unlearn(model, split, {name}())")

    def shell(self, build: Callable[[], nn.Module], state: Mapping[str, Tensor]) -> nn.Module:
        """What `prepare` makes, before it holds anything: of networks as `build` gives them, in the shapes of a state dict that it is to be filled with.

        Raises:
            BadArgument: it takes any trained model.
            BadData: the state dict is of other settings.
        """
        raise BadArgument(f"{type(self).__name__} prepares nothing, so that there is no shell of it")

    def certificate(self, model: nn.Module) -> Any:
        """What is certified of a model that it made, as a dataclass of numbers; None where nothing is."""
        return None

    def __call__(self, *args: Any, **given: Any) -> Trace:
        """Change the model in place: `(model, *, forget, retain, classes, ...)`, each keyword only where it is needed."""
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


def _keywords(function: Any) -> tuple[str, ...]:
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY)
