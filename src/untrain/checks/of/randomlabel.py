"""Laws of RandomLabel: whose labels it trains on, and that it is a plain loop over them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.plain import Step, cross_entropy, hold_beside, steps_of
from untrain.checks.running import LawBroken, several_batches


@contextmanager
def _labels() -> Iterator[list[Tensor]]:
    """The labels that cross-entropies are taken of, call by call."""
    seen: list[Tensor] = []
    real = F.cross_entropy

    def spied(out: Tensor, y: Tensor, *args: Any, **how: Any) -> Tensor:
        seen.append(y.clone())
        return real(out, y, *args, **how)

    with mock.patch.object(F, "cross_entropy", spied):
        yield seen


def _key(image: Tensor) -> bytes:
    return image.float().numpy().tobytes()


def check_no_label_is_the_true_one_nor_of_a_forgotten_class(method: Any, case: Case | None = None) -> None:
    """Each forgotten image is trained on labels of kept classes: on one all along where they are drawn once, on several where they are drawn anew."""
    law, case = check_no_label_is_the_true_one_nor_of_a_forgotten_class, case or Case.fresh()
    method = replace(several_batches(method), augment=False, epochs=6)
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    true, drawn = {_key(image): int(label) for image, label in zip(x, y, strict=True)}, dict[bytes, set[int]]()
    with _labels() as told:
        _, steps, _ = steps_of(method, case, module=case.model, streams=2)
    for step, wrong in zip(steps, told[::2], strict=True):
        for image, label in zip(step.others[0][0], wrong.tolist(), strict=True):
            if _key(image) not in true:
                raise LawBroken(law, method, "labels an image that is not among the forgotten")
            if label == true[_key(image)]:
                raise LawBroken(law, method, f"trains an image of class {label} on its own label")
            if label in GONE:
                raise LawBroken(law, method, f"trains an image of class {true[_key(image)]} to be called {label}, which is to be forgotten as well")
            drawn.setdefault(_key(image), set()).add(label)
    if not method.redraw and any(len(labels) > 1 for labels in drawn.values()):
        raise LawBroken(law, method, "draws an image's label again, though it is to be drawn once")
    if method.redraw and all(len(labels) == 1 for labels in drawn.values()):
        raise LawBroken(law, method, "never draws a label anew")


def check_the_relabelling_is_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """With the labels that it drew, a plain loop over both streams comes to the same weights and buffers, to 1e-5 of each tensor's norm."""
    law, case = check_the_relabelling_is_a_plain_loop, case or Case.fresh()
    # A weight of 1 would hide what it stands at.
    method = replace(several_batches(method), alpha=0.7)
    with _labels() as told:
        steps = iter(told)

        def loss(student: nn.Module, step: Step) -> Tensor:
            # The forgotten batch goes first, so that BatchNorm ends each step with the retained one.
            wrong, _ = next(steps), next(steps)
            away = cross_entropy(student, step.others[0][0], wrong)
            kept = cross_entropy(student, step.x, step.y)
            return away + float(method.alpha) * kept

        hold_beside(law, method, case, loss)
