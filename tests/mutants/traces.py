"""Methods that leave traces, or touch what they should leave alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from mutants.breaking import breaks
from untrain import checks
from untrain.checks import Case
from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggrad import NegGrad


@breaks(checks.check_the_given_model_is_left_alone)
def given_weights_changed(case: Case) -> Method:
    class Mutated(FineTune):
        def __call__(self, model: Network, *, retain: Samples) -> Trace:
            trace = super().__call__(model, retain=retain)
            case.model.load_state_dict(model.module.state_dict())
            return trace

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_buffers_changed(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            next(case.model.buffers()).add_(1)
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_mode_changed(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            case.model.eval()
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_model_frozen(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            case.model.requires_grad_(False)
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_model_hooked(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            next(case.model.children()).register_forward_pre_hook(lambda *_: None)
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_the_given_model_is_left_alone)
def given_gradients_cleared(case: Case) -> Method:
    class Mutated(HeadOnly):
        def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
            case.model.zero_grad()
            return super().__call__(model, classes=classes)

    return Mutated()


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesGradients(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        trace = super().__call__(model, retain=retain)
        x, y = retain.batch(torch.arange(4))
        F.cross_entropy(model(x), y).backward()
        return trace


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesAHook(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.layer.register_forward_pre_hook(lambda *_: None)
        return super().__call__(model, classes=classes)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesAHookOnAWeight(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.layer.weight.register_hook(lambda gradient: gradient * 0)
        return super().__call__(model, classes=classes)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesADefaultType(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        torch.set_default_dtype(torch.float64)
        return super().__call__(model, classes=classes)


_steppers: list[torch.optim.Optimizer] = []


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesAnOptimizer(FineTune):
    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        _steppers[:] = [torch.optim.SGD(model.parameters(), lr=self.lr)]
        return super().__call__(model, retain=retain)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesABuffer(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.module.register_buffer("forgotten", torch.tensor(classes))
        return super().__call__(model, classes=classes)


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class LeavesWeightsOfAnotherType(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        trace = super().__call__(model, classes=classes)
        model.module.double()
        return trace


@breaks(checks.check_nothing_is_left_behind)
@dataclass(frozen=True)
class RelabelsTheData(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        trace = super().__call__(model, forget=forget)
        forget.sources[0].y[forget.index] = 1
        return trace


@breaks(checks.check_every_number_that_it_leaves_is_finite)
@dataclass(frozen=True)
class MasksWithInfinity(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.mask(classes, low=-float("inf"))
        return Trace()


@breaks(checks.check_every_number_that_it_leaves_is_finite)
@dataclass(frozen=True)
class AnswersWithInfinity(HeadOnly):
    def __call__(self, model: Network, *, classes: tuple[int, ...]) -> Trace:
        model.head.layer.weight.data.mul_(1e38)
        return super().__call__(model, classes=classes)
