"""Teachers that are not what the model was."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain import checks
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.delete import DELETE


def shallow(module: torch.nn.Module) -> torch.nn.Module:
    """A copy whose layers are copied, and whose weights are not."""
    copied = copy.copy(module)
    copied._modules = {name: None if part is None else shallow(part) for name, part in module._modules.items()}
    return copied


@breaks(checks.check_its_teachers_stay_what_they_were)
@dataclass(frozen=True)
class TeacherIsAShallowCopy(DELETE):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(model, "teacher", return_value=Network(shallow(model.module).eval())):
            return super().__call__(model, forget=forget)


@breaks(checks.check_its_teachers_stay_what_they_were)
@dataclass(frozen=True)
class TeacherIsWrappedAnew(DELETE):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch("untrain.core.network.copy.deepcopy", shallow):
            return super().__call__(model, forget=forget)


@breaks(checks.check_its_teachers_stay_what_they_were)
@dataclass(frozen=True)
class TeacherFollowsItsBatches(DELETE):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        teacher = model.teacher()
        teacher.train()
        with mock.patch.object(model, "teacher", return_value=teacher):
            return super().__call__(model, forget=forget)
