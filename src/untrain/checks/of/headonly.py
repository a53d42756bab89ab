"""The law of HeadOnly: which entries it writes, and what."""

from __future__ import annotations

from typing import Any

import torch

from untrain.checks.case import GONE, Case
from untrain.checks.nets import EarlyExit
from untrain.checks.running import LawBroken
from untrain.core.unlearn import unlearn


def check_the_forgotten_rows_are_silenced_at_every_exit_and_nothing_else(method: Any, case: Case | None = None) -> None:
    """At each exit a forgotten class's weights are 0 and its bias is -10^4; every other entry keeps its bits."""
    law, case = check_the_forgotten_rows_are_silenced_at_every_exit_and_nothing_else, case or Case.fresh()
    given = EarlyExit(case.model)
    left = unlearn(given, case.prepared, method, head=",".join(EarlyExit.heads)).model.state_dict()
    for name, value in given.state_dict().items():
        due = value.clone()
        if name.rpartition(".")[0] in EarlyExit.heads:
            due[list(GONE)] = 0.0 if name.endswith("weight") else -1e4
        if not torch.equal(left[name], due):
            raise LawBroken(law, method, f"leaves {name} other than it was with the rows {GONE} at 0 and -10^4")
