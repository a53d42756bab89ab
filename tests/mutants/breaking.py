"""How a mutant is entered.

`breaks(law)` stands over each: over a class that is broken by itself, or over a function of the case for one
that needs hold of the model or the data that it should not see.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch.nn.functional as F
from torch import nn

from untrain.checks import Case, Law
from untrain.core.method import Method
from untrain.core.network import Network


@dataclass(frozen=True)
class Mutant:
    law: Law
    make: Callable[[Case], Method]
    lazy: bool


MUTANTS: dict[str, Mutant] = {}


def breaks(law: Law, *, lazy: bool = False) -> Callable[[Any], Any]:
    def enter(broken: Any) -> Any:
        assert broken.__name__ not in MUTANTS, f"two mutants are called {broken.__name__}"
        MUTANTS[broken.__name__] = Mutant(law, (lambda case: broken()) if isinstance(broken, type) else broken, lazy)
        return broken

    return enter


def by_layer(model: Network, kind: type[nn.Module]) -> dict[str, nn.Parameter]:
    """Weights by the layer that has them, so that one which two share stands there twice."""
    weights = model.named_parameters().values()
    return {name: weight for name, layer in model.layers(kind).items() for weight in weights if weight is layer.weight}


@contextlib.contextmanager
def bent(name: str, change: Callable[[Any], Callable[..., Any]]) -> Iterator[None]:
    """A function of `torch.nn.functional` changed for as long as the block runs."""
    with mock.patch.object(F, name, change(getattr(F, name))):
        yield


def turned(loss: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: -loss(*args, **named)
