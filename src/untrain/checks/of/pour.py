"""Laws of `POUR`: a projection of the head's rows, and of nothing else."""

from __future__ import annotations

import copy
from typing import Any

import torch

from untrain.checks.case import GONE, Case
from untrain.checks.running import LawBroken, left_by


def check_the_projection_takes_the_rows_out(method: Any, case: Case | None = None) -> None:
    """P is symmetric and its own square, gives 0 for every row that it takes out, and leaves what is orthogonal to them; rows that say the same count once."""
    law = check_the_projection_takes_the_rows_out
    rows = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    for some in (rows[:1], rows, torch.cat([rows, 2 * rows[:1]])):
        P, rank = method.projection(some), min(3, len(some))
        if not (torch.allclose(P @ P, P, atol=1e-10) and torch.allclose(P, P.T, atol=1e-12)):
            raise LawBroken(law, method, "has a P that is not a projection")
        if float((P @ some.T).abs().max()) > 1e-9:
            raise LawBroken(law, method, f"leaves {float((P @ some.T).abs().max()):.2g} of a row that is to be taken out")
        if abs(float(P.trace()) - (12 - rank)) > 1e-8:
            raise LawBroken(law, method, f"takes out {12 - float(P.trace()):.3g} directions of {rank}")


def check_only_what_is_shared_with_the_forgotten_rows_changes(method: Any, case: Case | None = None) -> None:
    """Each row loses its part along the forgotten classes' rows and keeps the rest, to 1e-5; bias, features and everything else keep their bits."""
    law, case = check_only_what_is_shared_with_the_forgotten_rows_changes, case or Case.fresh()
    before, left = case.model.state_dict(), copy.deepcopy(left_by(law, method, case)).state_dict()
    name = next(key for key in reversed(before) if key.endswith("weight"))
    W, found = before[name].double(), left[name].double()
    w = W[list(GONE)]
    # The part along the rows, by least squares.
    due = W - (torch.linalg.lstsq(w.T, W.T).solution.T @ w)
    if float((found - due).norm()) > 1e-5 * float(W.norm()):
        raise LawBroken(law, method, f"leaves rows {float((found - due).norm()):.2g} off those without what they share with the forgotten ones")
    other = [key for key, value in before.items() if key != name and not torch.equal(value, left[key])]
    if other:
        raise LawBroken(law, method, f"changes {other[0]}")
