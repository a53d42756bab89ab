"""HeadOnly: mask the forgotten classes in the head and leave everything else. A control: it hides, it does not forget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace


@dataclass(frozen=True)
class HeadOnly(Method):
    """Set the head's rows w_c = 0 and b_c = -10^4 for the forgotten classes c, finite numbers that no other logit falls below.

    The model no longer answers with these classes; what it learned about them stays where it was. An audit that
    does not tell this from retraining is not an audit.
    """

    paper = "a control; see Jeon et al., 2024, arXiv:2405.17878"
    draws: ClassVar = False

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """The head's rows of the forgotten classes, at every exit."""
        return {name: rows for head in model.heads for name, rows in head.rows(classes).items()}

    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        """Mask."""
        for head in model.heads:
            head.mask(classes)
        return Trace()
