"""RUM: sort the forgotten by how hard the model holds on to them, and let a method of its own forget each part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Samples
from untrain.core.discover import settings
from untrain.core.errors import BadArgument
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.trace import phase
from untrain.core.train import Trace, predict

PARTS = ("low", "medium", "high")
"""The parts of the forget set, in the order of their turn."""

GIVEN = ("forget", "retain")
"""What a part's method may be given."""


@dataclass(frozen=True)
class RUM(Method):
    """Refine the forget set into parts of one kind, and unlearn part after part, each by a method that suits it.

        refine  S_low, S_medium, S_high of D_f by how much of each sample is memorised, which p(y | x; theta_o) tells: the surest are memorised least
        forget  theta <- U_low(theta; S_low, D_r),  then  theta <- U_medium(theta; S_medium, D_r),  then  theta <- U_high(theta; S_high, D_r)

    Memorisation proper asks for hundreds of trainings without the sample. In the authors' next paper (arXiv:2410.16516) how sure a model is stands in its
    place; they take the mean over the epochs of the training, and here there is only its end. Each U is another method at its default or a preset's
    settings, given what it names of its part and of the retained; one that asks for more is refused. A part that holds no sample is left out. Where one part
    holds all, RUM is that part's method, to the bit.

    The published code keeps parts whose turn is to come among the retained until then; here D_r is what is retained, so that no method trains on what the
    next one is to forget. The paper's own choice for CIFAR-10 is the default: leave the low, fine-tune for the medium, SalUn for the high. The preset `salun`
    is one method part after part, which the paper sets beside that method on all at once (for CIFAR-100 NegGrad+ so was its best).

    Args:
        low: Method for what is memorised least, `METHOD` or `METHOD:PRESET`; `nothing` in the paper for CIFAR-10, as what would be named without it needs no unlearning.
        medium: Method for what is between; `finetune` in the paper for CIFAR-10.
        high: Method for what is memorised most; `salun` in the paper for CIFAR-10.
        low_share: Share of the forget set that is the low part; a third in the paper.
        high_share: Share of the forget set that is the high part; a third in the paper. The rest is the medium part.
    """

    paper = "Zhao et al., What Makes Unlearning Hard and What to Do About It, NeurIPS 2024, arXiv:2406.01257"
    idle: ClassVar = dict.fromkeys(PARTS, "nothing")
    knobs: ClassVar = {"remembers": {"high_share": +1, "low_share": -1}, "collapsed": {"high_share": -1}, "unchanged": {"high_share": +1}, "diverged": {"high_share": -1}}

    low: str = field(default="nothing", metadata={"names": "methods"})
    medium: str = field(default="finetune", metadata={"names": "methods"})
    high: str = field(default="salun", metadata={"names": "methods"})
    low_share: float = 0.333
    high_share: float = 0.333

    def __post_init__(self) -> None:
        """Refuse numbers that it cannot mean.

        Raises:
            BadArgument: more in two parts than there is.
        """
        super().__post_init__()
        if self.low_share + self.high_share > 1:
            raise BadArgument(f"RUM(low_share={self.low_share}, high_share={self.high_share}) shares out more than the whole; give two that come to 1 at most")

    def method(self, part: str) -> Method:
        """The method of a part: `low`, `medium` or `high`.

        Raises:
            BadArgument: there is none of that name, or it asks for more than the forgotten and the retained.
        """
        name: str = getattr(self, part)
        found: Method = settings(*name.split(":", 1))
        if found.prepares is not None or not set(found.needs) <= set(GIVEN):
            raise BadArgument(f"RUM gives the {part} part's method the forgotten and the retained samples, and {name} asks for more: {', '.join(found.needs)}")
        return found

    def promised(self) -> dict[str, Move | tuple[Move, ...]]:
        """What the methods of its parts promise."""
        return {name: move for part in PARTS for name, move in self.method(part).promised().items()}

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """What the methods of its parts edit; a method that will not do is refused here, before any time is spent."""
        return {name: rows for part in PARTS for name, rows in self.method(part).edits(model, classes).items()}

    def memorised(self, model: Network, forget: Samples) -> Tensor:
        """How much of each sample is memorised, by how unsure the model is of its label."""
        out, y, _ = predict(model, forget)
        return 1 - F.softmax(out.double(), dim=1).gather(1, y[:, None]).squeeze(1)

    def parts(self, model: Network, forget: Samples) -> dict[str, Samples]:
        """The forget set in parts, in the order of their turn; each in the order in which it stood."""
        n = len(forget)
        low, high = round(self.low_share * n), round(self.high_share * n)
        sizes = {"low": low, "medium": max(0, n - low - high), "high": min(high, n - low)}
        if n in sizes.values():
            return {part: forget for part, size in sizes.items() if size}
        order = self.memorised(model, forget).argsort(stable=True)
        cut = zip(sizes, torch.split(order, list(sizes.values())), strict=True)
        return {part: forget[rows.sort().values] for part, rows in cut if len(rows)}

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Refine, and forget part after part."""
        with phase("refine") as done:
            parts = self.parts(model, forget)
        told = [done]
        for part, samples in parts.items():
            method, known = self.method(part), {"forget": samples, "retain": retain}
            told += method(model, **{name: known[name] for name in method.needs}).values()
        return Trace.of(*told)


RUM.presets = {"salun": RUM(low="salun", medium="salun", high="salun")}
