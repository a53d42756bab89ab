"""The few functions that do all long work: minimize, fit, predict.

They are numbered in order of call within a run. A call's seed comes from the run's seed and its number;
what it finished is kept where the run has a folder, so that a killed run goes on by replay: a finished
call is read back, the current one goes on from its saved state, and the end is the same to the bit.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core import resume
from untrain.core.data import Batches, Inputs, Samples, mix
from untrain.core.engine import Run, current, own_stream
from untrain.core.errors import Diverged
from untrain.core.network import Network
from untrain.core.rehearse import rehearsal
from untrain.core.trace import Phase as Phase
from untrain.core.trace import Trace as Trace

Optimizer = Literal["adam", "sgd"]
Schedule = Literal["constant", "cosine", "onecycle"]
Loss = Callable[[Any, Tensor], Tensor]


def rate(schedule: Schedule, step: int, steps: int) -> float:
    """Share of the learning rate at a step.

    `constant` is 1; `cosine` falls from 1 to 0; `onecycle` climbs to 1 over the first 30 % and falls to 0.

    >>> [round(rate("cosine", k, 4), 2) for k in range(4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    climb = 0.3 * steps
    return (step + 1) / (climb + 1) if step < climb else (steps - step) / (steps - climb)


def _optimizer(kind: Optimizer, parameters: Sequence[Tensor], lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    if kind == "adam":
        return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0)


def minimize(
    loss: Loss,
    parameters: Sequence[Tensor],
    batches: Batches,
    *,
    phase: str,
    lr: float,
    optimizer: Optimizer = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: Schedule = "constant",
) -> Phase:
    """Take one optimizer step on `loss(x, y)` for each batch.

    Only the gradients of `parameters` are computed, so that learning an input costs no weight gradient.

    Args:
        loss: Mean loss of a batch, a scalar.
        parameters: What is moved: weights, or an input that is learned.
        batches: The batches, in a seeded order.
        phase: Name for the trace and the progress bar.
        lr: Learning rate.
        optimizer: `adam`, or `sgd` (Nesterov where there is momentum).
        momentum: Momentum of sgd.
        weight_decay: L2 weight decay.
        schedule: How the learning rate runs over the steps.

    Raises:
        Diverged: a loss or a parameter is NaN or infinite (looked at after epochs, at least 50 steps apart, so that no step waits for the device).
    """
    if (rehearsed := rehearsal()) is not None and len(batches) and any(p.requires_grad for p in parameters):

        def cut_down(some: Batches) -> None:
            # At a rate of 0 every step does its work, and the weights stay.
            taken.append(minimize(loss, parameters, some, phase=phase, lr=0.0, optimizer=optimizer, momentum=momentum, schedule=schedule))

        taken: list[Phase] = []
        piece = rehearsed.step(phase, batches, cut_down)
        return Phase(phase, taken[-1].losses, piece.steps, piece.passes, piece.seconds)
    run = current()
    number = run.call()
    seed, engine, steps = mix(run.seed, number), run.engine, len(batches)
    moved = [p for p in parameters if p.requires_grad]
    if steps == 0 or not moved:
        return Phase(phase)
    began, before = time.perf_counter(), run.passes
    losses: list[Tensor] = []
    with own_stream(run, seed), _cleared(moved):
        stepper = _optimizer(optimizer, moved, lr, momentum, weight_decay)
        saved = resume.resume(run, number, moved, stepper)
        if saved is not None:
            losses = list(torch.tensor(saved.losses, dtype=torch.float64))
            run.passes += saved.passes
            began -= saved.seconds
        start = looked = len(losses)
        for step, (x, y, whole) in enumerate(batches.run(seed, start=start, rank=engine.rank, world=engine.world, device=engine.device), start):
            for group in stepper.param_groups:
                group["lr"] = lr * rate(schedule, step, steps)
            share = 0.0
            if x is None or y is None:
                value = torch.zeros((), device=engine.device)
                gradients: Sequence[Tensor] = [torch.zeros_like(p) for p in moved]
            else:
                if run.watch is not None:
                    run.watch(phase, x, y)
                share = len(y) / whole
                value = loss(x, y)
                gradients = torch.autograd.grad(value, moved, allow_unused=True, materialize_grads=True)
            if engine.world > 1:
                gradients = [g * share for g in gradients]
                value = value.detach() * share
                engine.sum([*gradients, value])
            for parameter, gradient in zip(moved, gradients, strict=True):
                parameter.grad = gradient
            stepper.step()
            losses.append(value.detach())
            run.progress(phase, step + 1, steps)
            if step + 1 == steps or ((step + 1) % batches.per_epoch == 0 and step + 1 - looked >= 50):
                looked = step + 1
                kept = Phase(phase, _refuse_nan(phase, losses, moved), step + 1, run.passes - before, time.perf_counter() - began)
                if step + 1 == steps:
                    _agree(run)
                resume.keep(run, number, moved, stepper, kept)
        if start == steps:
            kept = Phase(phase, _refuse_nan(phase, losses, moved), steps, run.passes - before, time.perf_counter() - began)
    return kept


@contextlib.contextmanager
def _cleared(parameters: Sequence[Tensor]) -> Iterator[None]:
    """No gradient is left behind, however the block ends."""
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.grad = None


def _refuse_nan(phase: str, losses: list[Tensor], parameters: Sequence[Tensor]) -> list[float]:
    values = torch.stack([v.double().cpu() for v in losses])
    bad = ~torch.isfinite(values)
    if bad.any():
        raise Diverged(f"the loss went to NaN or infinity at step {int(bad.nonzero()[0]) + 1}", phase)
    if not all(bool(torch.isfinite(p).all()) for p in parameters):
        raise Diverged(f"a weight went to NaN or infinity within {len(values)} steps", phase)
    return [float(v) for v in values]


def _agree(run: Run) -> None:
    """Running statistics are each rank's own slice's; their mean over the ranks is what all go on with."""
    if run.engine.world > 1 and run.network is not None:
        running = [b for b in run.network.buffers() if b.is_floating_point()]
        run.engine.sum(running)
        for value in running:
            value /= run.engine.world


def fit(
    model: Network,
    samples: Samples,
    *,
    phase: str,
    lr: float,
    epochs: int,
    batch: int,
    augment: bool = False,
    optimizer: Optimizer = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: Schedule = "constant",
) -> Phase:
    """Train on labels by cross-entropy, in training mode (BatchNorm follows these samples)."""
    model.train()

    def loss(x: Inputs, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x), y)

    batches = samples.batches(batch, epochs=epochs, augment=augment)
    return minimize(loss, model.parameters(), batches, phase=phase, lr=lr, optimizer=optimizer, momentum=momentum, weight_decay=weight_decay, schedule=schedule)


@torch.no_grad()
def predict(model: Network, samples: Samples, *, batch: int | None = None, features: bool = False, device: torch.device | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [n, C], labels [n], and (where asked) features [n, d], on the CPU, in evaluation mode and fp32.

    Where no batch is named it holds 500 images of up to 64 x 64, and of larger ones as many as have that many pixels.
    """
    batch = batch or _at_once(samples)
    if (rehearsed := rehearsal()) is not None and len(samples):
        told, _, seen = rehearsed.answer(samples, batch, lambda some: predict(model, some, batch=len(some), features=features, device=device))
        return told, samples.y, seen
    rows, device = torch.arange(len(samples)), device or next(iter(model.parameters())).device
    with model.frozen():
        outs, labels, read = [], [], []
        for x, y in samples.stream(((part, None) for part in torch.split(rows, batch)), device):
            with torch.autocast(device.type, enabled=False):
                if features:
                    f, out = model.features(x)
                    read.append(f.float().cpu())
                else:
                    out = model(x)
            outs.append(out.cpu())
            labels.append(y.cpu())
    return torch.cat(outs), torch.cat(labels), torch.cat(read) if read else torch.empty(0)


def _at_once(samples: Samples) -> int:
    """Samples in a batch of predictions, so that what a network holds of them stays within bounds."""
    if not len(samples):
        return 1
    x, _ = samples.batch(torch.tensor([0]))
    numbers = sum(value.numel() for value in x.values()) if isinstance(x, dict) else x.numel()
    return max(8, min(500, 500 * 3 * 64 * 64 // max(1, numbers)))
