"""Nothing: leave the model as it is. The control that every audit must flag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace


@dataclass(frozen=True)
class Nothing(Method):
    """Change no weight: theta <- theta."""

    paper = "a control"
    draws: ClassVar = False
    forgets: ClassVar = False

    def __call__(self, model: Network) -> Trace:
        """Do nothing."""
        return Trace()
