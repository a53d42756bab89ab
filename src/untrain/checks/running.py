"""How laws run a method and look at it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import Case, asking
from untrain.core.audit import Audit
from untrain.core.data import Split
from untrain.core.engine import Run, seeded
from untrain.core.errors import Diverged
from untrain.core.files import weights_hash
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.core.unlearn import unlearn

Law = Callable[..., None]
"""`(method, case=None)`: a law makes a case of its own where none is given."""


class LawBroken(AssertionError):
    """A method or an audit breaks a law.

    Args:
        law: The law, a function.
        method: The culprit, a method or an audit.
        fact: What it did.
    """

    def __init__(self, law: Law, method: Method | Audit, fact: str) -> None:
        super().__init__(f"{sentence(law)}: {method!r} {fact}")
        self.law, self.method, self.fact = law, method, fact


def sentence(law: Law) -> str:
    """A law in words.

    >>> from untrain.checks import check_the_weights_move
    >>> sentence(check_the_weights_move)
    'the weights move'
    """
    return law.__name__.removeprefix("check_").replace("_", " ")


def ask(law: Law, method: Method, case: Case | None = None) -> None:
    """Hold a method, in the small settings that it names for laws, to one of them; a method that ends in an error of another kind has broken it.

    Raises:
        LawBroken: it breaks it.
    """
    small = shrunk(method)
    try:
        with asking(small):
            law(small, case)
    except LawBroken:
        raise
    except Exception as error:
        raise LawBroken(law, method, f"ended in {type(error).__name__}: {error}") from error


def shrunk(method: Any) -> Any:
    """The same method with the fields that its `small` names set as it says; a count that is lower already stays."""
    return replace(method, **{name: min(value, getattr(method, name)) if type(value) is int else value for name, value in method.small.items()})


def without_steps(method: Any) -> Any:
    """The same method with every field that counts steps or epochs at 0, and those that its `idle` names as it says."""
    return replace(method, **{f.name: 0 for f in fields(method) if counts_steps(f.name)}, **method.idle)


def left_by(law: Law, method: Method, case: Case, *, seed: int = 0, split: Split | None = None, recipe: Any = None) -> nn.Module:
    """What `unlearn` leaves."""
    try:
        return unlearn(case.model, split or case.split, method, seed=seed, recipe=recipe or case.recipe).model
    except Diverged as error:
        raise LawBroken(law, method, f"ended in {error}") from error


def bits_of(law: Law, method: Method, case: Case, **how: Any) -> str:
    """Hash of the weights that `unlearn` leaves."""
    return weights_hash(left_by(law, method, case, **how).state_dict())


def no_watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
    """Look at nothing."""


def watched(
    method: Method,
    case: Case,
    *,
    module: nn.Module | None = None,
    watch: Callable[[Network, str, Any, Tensor], None] = no_watch,
    after: Callable[[Network, str, int], None] | None = None,
    **exchanged: Any,
) -> tuple[nn.Module, Trace, Run]:
    """Run a method by itself, at seed 0, and look at each batch before its step (`watch`) and at the weights behind it (`after`)."""
    network = Network(copy.deepcopy(module or case.model))

    def progress(phase: str, step: int, steps: int) -> None:
        if after is not None:
            after(network, phase, step)

    with seeded(0, network=network, progress=progress) as run:
        run.watch = lambda phase, x, y: watch(network, phase, x, y)
        trace = method(network, **case.given(method, **exchanged))
    return network.module, trace, run


def several_batches(method: Any) -> Any:
    """The same method with several batches to an epoch; the last is smaller, of 6 or 9 in the case, so that what is divided by the size of a batch shows."""
    return replace(method, **{f.name: min(13, getattr(method, f.name)) for f in fields(method) if f.name.startswith("batch")})


def unequal(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Names under which the two hold other values."""
    return [name for name in {**a, **b} if name not in a or name not in b or a[name] != b[name]]


def raw(value: Tensor | None) -> bytes | None:
    """A tensor's bytes."""
    return None if value is None else value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def manners(module: nn.Module) -> dict[str, Any]:
    """What a model carries beside its values: modes, gradients, hooks, which weights want a gradient."""
    out: dict[str, Any] = {}
    for name, part in module.named_modules():
        out[f"the mode of {name or 'the model'}"] = part.training
        out[f"the hooks of {name or 'the model'}"] = {k: list(v) for k, v in vars(part).items() if k.endswith("_hooks") and v}
    for name, weight in module.named_parameters():
        out[f"requires_grad of {name}"] = weight.requires_grad
        out[f"the gradient of {name}"] = raw(weight.grad)
        out[f"the graph of {name}"] = weight.grad_fn
        out[f"the hooks of {name}"] = [len(getattr(weight, k, None) or ()) for k in ("_backward_hooks", "_post_accumulate_grad_hooks")]
    return out


def values(module: nn.Module) -> dict[str, Any]:
    """Type, shape and bytes of each parameter and buffer, by name."""
    return {name: (value.dtype, tuple(value.shape), raw(value)) for name, value in [*module.named_parameters(), *module.named_buffers()]}


def moved_rows(a: Tensor, b: Tensor) -> set[int]:
    """Rows in which the two differ in a bit."""
    one, two = (t.detach().reshape(-1, 1) if t.ndim < 2 else t.detach().flatten(1) for t in (a, b))
    return set((one.contiguous().view(torch.uint8) != two.contiguous().view(torch.uint8)).any(1).nonzero().flatten().tolist())


def contents(case: Case) -> dict[str, Any]:
    """Pixels and labels of each part, as bytes."""
    out = {}
    for name, part in case.split.parts.items():
        out[f"the labels of {name}"] = raw(part.y)
        out[f"the pixels of {name}"] = raw(part.sources[0].raw(part.index))  # type: ignore[arg-type]
    return out


def counts_steps(name: str) -> bool:
    """Whether a field counts steps or epochs, by its name.

    >>> [counts_steps(name) for name in ("epochs", "noise_steps", "lr")]
    [True, True, False]
    """
    return re.search(r"(^|_)(steps|epochs)$", name) is not None
