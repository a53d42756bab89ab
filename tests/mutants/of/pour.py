"""POUR, broken."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import pour as laws
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.pour import POUR


@breaks(laws.check_only_what_is_shared_with_the_forgotten_rows_changes)
@dataclass(frozen=True)
class ProjectsOneClassOfTwo(POUR):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        return super().__call__(model, classes=classes[:1])


@breaks(laws.check_only_what_is_shared_with_the_forgotten_rows_changes)
@dataclass(frozen=True)
class ProjectsRowByRow(POUR):
    """One after the other, which is no projection where the rows are not orthogonal."""

    def projection(self, rows: Tensor) -> Tensor:
        out = torch.eye(rows.shape[1], dtype=torch.double)
        for row in rows:
            out = out @ super().projection(row[None])
        return out


@breaks(laws.check_only_what_is_shared_with_the_forgotten_rows_changes)
@dataclass(frozen=True)
class MasksTheRowsAlone(POUR):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.mask(classes)
        return Trace()


@breaks(laws.check_the_projection_takes_the_rows_out)
@dataclass(frozen=True)
class DividesByTheLengthAlone(POUR):
    def projection(self, rows: Tensor) -> Tensor:
        rows = rows.double()
        return torch.eye(rows.shape[1], dtype=torch.double) - rows.T @ rows / rows.norm()
