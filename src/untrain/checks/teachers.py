"""The law of teachers: what they teach is what the model was, from the first step to the last."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from untrain.checks.case import Case
from untrain.checks.running import LawBroken, watched
from untrain.core.engine import current
from untrain.core.errors import Shared
from untrain.core.method import Method
from untrain.core.network import Network


def check_its_teachers_stay_what_they_were(method: Method, case: Case | None = None) -> None:
    """At no step has a frozen network of the run moved, and none shares a value with another."""
    law, case = check_its_teachers_stay_what_they_were, case or Case.fresh()

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        current().verify()

    try:
        watched(method, case, watch=watch)
    except Shared as error:
        raise LawBroken(law, method, f"is told: {error}") from error
