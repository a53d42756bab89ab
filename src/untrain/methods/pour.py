"""POUR-P: project the forgotten classes' directions out of what the head reads. A control: the features stay as they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.trace import Trace, phase


@dataclass(frozen=True)
class POUR(Method):
    """Read P z for each feature z, P the projection off the head's rows of the forgotten classes.

        P = I - w_c w_c^T / |w_c|^2  (of several classes off the space of their rows),   W <- W P.

    P is folded into the head, so that no layer is added and nothing else moves; the bias stays, which is then all that a forgotten class's logit
    is made of. Logits of other classes change by what their rows share with those. The features hold all that they held: whoever
    fits a head anew has the class again, and an audit that does not see that sees nothing.
    """

    paper = "a control, the projection of POUR, CVPR 2026, arXiv:2511.19339"
    draws: ClassVar = False

    def projection(self, rows: Tensor) -> Tensor:
        """P = I - Q Q^T, Q an orthonormal basis of these rows [k, d]: what takes them out, in double precision.

        >>> POUR().projection(torch.tensor([[0.0, 2.0]]))
        tensor([[1., 0.],
                [0., 0.]], dtype=torch.float64)
        """
        rows = rows.double()
        _, s, Vh = torch.linalg.svd(rows, full_matrices=False)
        basis = Vh[s > 1e-12 * s.max().clamp(min=1e-300)]
        out: Tensor = torch.eye(rows.shape[1], dtype=torch.double, device=rows.device) - basis.T @ basis
        return out

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """The head's weight."""
        return {name: None for name in model.head.rows(classes) if not name.endswith("bias")}

    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        """Project."""
        head = model.head
        with phase("project") as done, torch.no_grad():
            matrix = head.matrix.double()
            projected = (matrix @ self.projection(matrix[sorted(classes)])).to(head.matrix)
            for label, row in enumerate(projected):
                head.write(label, row.view_as(head.layer.weight[label]))
        return Trace.of(done)
