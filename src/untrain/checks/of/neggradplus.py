"""Laws of NegGradPlus: it is a plain loop over a difference of two losses, and its weight is shared out as it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.plain import Step, cross_entropy, hold_beside
from untrain.checks.running import LawBroken, several_batches, watched


def check_the_difference_is_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """A plain loop down alpha CE of the retained less (1 - alpha) CE of the forgotten comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case, method = check_the_difference_is_a_plain_loop, case or Case.fresh(), several_batches(method)

    def loss(student: nn.Module, step: Step) -> Tensor:
        # The forgotten batch goes first, so that BatchNorm ends each step with the retained one.
        (gone, true), *_ = step.others
        away, alpha = cross_entropy(student, gone, true), float(method.alpha)
        return alpha * cross_entropy(student, step.x, step.y) - (1 - alpha) * away

    hold_beside(law, method, case, loss)


def check_alpha_is_the_share_of_the_retained(method: Any, case: Case | None = None) -> None:
    """At alpha 1 the weights hang on the retained alone, at 0 on the forgotten alone."""
    law, case = check_alpha_is_the_share_of_the_retained, case or Case.fresh()
    for alpha, idle in ((1.0, "forget"), (0.0, "retain")):
        still = replace(several_batches(method), alpha=alpha, epochs=1)
        one = watched(still, case)[0]
        two = watched(still, case, **{idle: case.other(idle).prepared(case.model.norm)})[0]  # type: ignore[arg-type]
        if not all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True)):
            raise LawBroken(law, method, f"leaves other weights for other samples to {idle} at alpha {alpha:g}")
