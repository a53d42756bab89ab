"""Optimizers of torch that do without its compiler.

The first optimizer of a process imports `torch._dynamo`, 800 modules and as much time as torch itself takes: `add_param_group`
and the like are marked as not to be compiled, and each step says that it is not. Nothing is compiled here, so what they wrap is called
as it stands. The arithmetic is torch's own.
"""

from __future__ import annotations

import inspect
from typing import TypeVar, cast

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)


def lean(kind: type[Kind]) -> type[Kind]:
    """An optimizer's class with its own arithmetic, and none of the detours to the compiler.

    >>> import sys
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> weight.grad = torch.ones(2)
    >>> lean(torch.optim.SGD)([weight], lr=0.5).step()
    >>> weight.tolist()
    [-0.5, -0.5]
    """
    bare = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad")}
    return cast(type[Kind], type(kind.__name__, (kind,), bare | {"step": torch.no_grad()(inspect.unwrap(kind.step))}))
