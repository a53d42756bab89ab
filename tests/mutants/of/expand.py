"""Boundary Expand, broken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import torch

from mutants.breaking import breaks
from untrain.checks.of import expand as laws
from untrain.core.data import Samples
from untrain.core.head import Head
from untrain.core.network import Network
from untrain.core.train import Trace, fit
from untrain.methods.expand import Expand

WIDER = Head.wider
HELD: list[contextlib.ExitStack] = []


@breaks(laws.check_it_is_the_naive_loop_on_the_added_class)
@dataclass(frozen=True)
class ExpandsOnTrueLabels(Expand):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(Samples, "labelled", lambda samples, y: samples):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_is_the_naive_loop_on_the_added_class)
@dataclass(frozen=True)
class PutsTheOldHeadBack(Expand):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        kept = {name: value.detach().clone() for name, value in model.head.layer.named_parameters()}
        trace = super().__call__(model, forget=forget)
        with torch.no_grad():
            for name, value in model.head.layer.named_parameters():
                value.copy_(kept[name])
        return trace


@breaks(laws.check_it_is_the_naive_loop_on_the_added_class)
@dataclass(frozen=True)
class ExpandsInEvaluationMode(Expand):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(Network, "train", Network.eval):
            return super().__call__(model, forget=forget)


@breaks(laws.check_the_head_has_its_shape_again)
@dataclass(frozen=True)
class KeepsTheAddedRow(Expand):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        # Entered and never left.
        HELD.append(contextlib.ExitStack())
        (shadow,) = HELD[-1].enter_context(model.head.wider(1))
        beyond = forget.labelled(torch.full_like(forget.y, shadow))
        trace = Trace.of(fit(model, beyond, phase="expand", lr=self.lr, epochs=self.epochs, batch=self.batch, optimizer=self.optimizer))
        layer = model.head.layer
        left = torch.nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
        left.load_state_dict(layer.state_dict())
        setattr(model.module, model.head.name, left)
        return trace


@breaks(laws.check_every_exit_is_expanded_and_pruned)
@dataclass(frozen=True)
class ExpandsTheLastExitAlone(Expand):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with mock.patch.object(Network, "heads", property(lambda network: (network.head,))):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_begins_with_a_new_row_beneath_the_old_ones)
@dataclass(frozen=True)
class AddsTheForgottenRowAgain(Expand):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        @contextlib.contextmanager
        def copied(head: Head, n: int) -> Iterator[tuple[int, ...]]:
            with WIDER(head, n) as (shadow,):
                with torch.no_grad():
                    head.layer.weight[shadow] = head.layer.weight[int(forget.y[0])]
                yield (shadow,)

        with mock.patch.object(Head, "wider", copied):
            return super().__call__(model, forget=forget)


@breaks(laws.check_it_begins_with_a_new_row_beneath_the_old_ones)
@dataclass(frozen=True)
class DrawsTheWholeHeadAnew(Expand):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        model.head.redraw(range(model.head.width))
        return super().__call__(model, forget=forget)
