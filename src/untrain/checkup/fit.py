"""Does the head fit, and do model and data call the classes alike?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from untrain.core import unlearn as running
from untrain.core.data import Split
from untrain.core.errors import UntrainError
from untrain.core.network import Network


def head_fit(model: nn.Module | None, split: Split, head: str | None, names: Sequence[str], problem: str | None = None) -> dict[str, Any]:
    """Whether the head has a row for each class, and whether model and data call the classes alike.

    Args:
        model: The model.
        split: The data, prepared.
        head: Name of the head's layer.
        names: Names of the classes as the model knows them.
        problem: Why there is no model, where there is none.
    """
    layer = None
    try:
        if model is not None:
            layer = Network(model, head=head).head
            layer = running.refuse_misfits(model, split, {"all": split.retain + split.forget}, head).head
    except UntrainError as error:
        problem = str(error)
    own = split.test.names or split.retain.names
    told = list(names)
    differ = [{"class": i, "model": a, "data": b} for i, (a, b) in enumerate(zip(told, own, strict=False)) if _plain(a) != _plain(b)]
    moved = sorted(map(_plain, told)) == sorted(map(_plain, own))
    say = None
    if differ:
        first = differ[0]
        what = "in another order" if moved else "otherwise"
        say = f"the model names its classes {what}: class {first['class']} is {first['model']!r} there and {first['data']!r} in the data"
    return {
        "layer": layer.name if layer else None,
        "width": layer.width if layer else None,
        "classes": len(own) or len((split.retain + split.forget).classes),
        "fits": problem is None and not differ,
        "problem": problem,
        "names": say,
        "differ": differ[:20],
    }


def _plain(name: str) -> str:
    return " ".join(str(name).casefold().replace("_", " ").replace("-", " ").split())
