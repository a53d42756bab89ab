"""Networks for laws of noise that goes in at a layer: one behind a layer that hands on, and one of token ids, with a case for it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, cast

from torch import Tensor, nn

from untrain.checks.case import CLASSES, GONE, Case
from untrain.core.data import Samples, Split
from untrain.core.engine import seeded
from untrain.core.network import Network
from untrain.core.site import ENTERS, INPUT, VALUES
from untrain.core.train import fit


class Ahead(nn.Module):
    """A network behind a layer that hands on what it is given.

    Args:
        network: The network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.door, self.network, self.norm = nn.Identity(), network, network.norm

    def forward(self, x: Tensor) -> Any:
        """What the network answers."""
        return self.network(self.door(x))


class Tokens(nn.Module):
    """A network of token ids: a table of embeddings, and two layers on all that it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(17, 3)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of token ids x [n, 64]."""
        return cast(Tensor, self.head(self.body(self.table(x))))


@cache
def _learned_tokens() -> tuple[dict[str, Samples], dict[str, Tensor]]:
    parts = {}
    for name, part in Case.fresh().split.parts.items():
        x = cast(Tensor, part.sources[0].raw(part.index))
        parts[name] = Samples((x.flatten(1).double() / 255 * 16).round().long(), part.y, names=part.names)
    with seeded(0) as run:
        run.network = Network(Tokens())
        fit(run.network, parts["forget"] + parts["retain"], phase="train", lr=0.02, epochs=6, batch=16)
    return parts, run.network.module.state_dict()


def tokens() -> Case:
    """A case whose images are token ids, one of 17 for each pixel."""
    parts, weights = _learned_tokens()
    model = Tokens()
    model.load_state_dict(weights)
    case = Case.fresh()
    return replace(case, model=model.train(), split=Split.by_class(parts["forget"] + parts["retain"], parts["test"], forget=GONE))


def told_apart(x: Any) -> list[Tensor]:
    """What tells the samples of a batch apart: a sample's input, or the noise that stands for it at a layer."""
    if not isinstance(x, dict):
        return list(x)
    return [value if bool(enters) else image for value, enters, image in zip(x[VALUES], x[ENTERS], x[INPUT], strict=True)]
