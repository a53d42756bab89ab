"""The few functions that do all long work: minimize, fit, predict. They stand in one file, since each is made of the one before.

They are numbered in order of call within a run. A call's seed comes from the run's seed and its number;
what it finished is kept where the run has a folder, so that a killed run goes on by replay: a finished
call is read back, the current one goes on from its saved state, and the end is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Plan, Samples
from untrain.core.memory import ran_out
from untrain.core.network import Network
from untrain.core.rehearse import rehearsal
from untrain.core.steps import Combine as Combine
from untrain.core.steps import Loss as Loss
from untrain.core.steps import Optimizer as Optimizer
from untrain.core.steps import Rate, taken
from untrain.core.steps import Schedule as Schedule
from untrain.core.steps import Turn as Turn
from untrain.core.steps import rate as rate
from untrain.core.trace import Phase as Phase
from untrain.core.trace import Trace as Trace


def minimize(
    loss: Loss,
    parameters: Sequence[Tensor],
    batches: Plan,
    *,
    phase: str,
    lr: float,
    optimizer: Optimizer = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: Schedule | Rate = "constant",
    mask: Sequence[Tensor] | None = None,
    clip: float | None = None,
    combine: Combine | None = None,
    carry: Mapping[str, Tensor] | None = None,
) -> Phase:
    """Take one optimizer step on `loss(x, y)` for each batch.

    Only the gradients of `parameters` are computed, so that learning an input costs no weight gradient.

    Args:
        loss: Mean loss of a batch, a scalar; or several of them, a tuple. Of streams beside each other it is given tuples `x` and `y`;
            over several ranks each of a tuple's losses is then a mean over the stream in its place.
        parameters: What is moved: weights, or an input that is learned.
        batches: The batches, in a seeded order.
        phase: Name for the trace and the progress bar.
        lr: Learning rate.
        optimizer: `adam`, or `sgd` (Nesterov where there is momentum).
        momentum: Momentum of sgd.
        weight_decay: L2 weight decay.
        schedule: How the learning rate runs over the steps: a name, or a function of the step and their number.
        mask: For each of `parameters` a tensor of its shape, true where an entry may move. The others get no gradient, momentum or
            weight decay, and are put back to the bit after each step.
        clip: Norm that a step's gradient is cut down to where it is longer, over all parameters together.
        combine: Makes one gradient of the losses' gradients, each of the whole batch, reduced over ranks: `combine([[g, ...], [g, ...]])`; their sum where None.
        carry: Tensors that the loss keeps from step to step (a moving average, a count): saved and put back with the call.

    Raises:
        Diverged: a loss or a parameter is NaN or infinite (looked at after epochs, at least 50 steps apart, so that no step waits for the device).
    """
    turn = Turn(
        phase=phase,
        loss=loss,
        parameters=list(parameters),
        batches=batches,
        lr=lr,
        optimizer=optimizer,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
        mask=mask,
        clip=clip,
        combine=combine,
        carry=carry or {},
    )
    return taken([turn], 1)[0]


def alternate(*turns: Turn, rounds: int) -> Trace:
    """Let phases take turns: each in the order given, so many rounds, as one call that is saved and goes on to the bit.

    Each turn has an optimizer of its own, which lives through all rounds; turns of one `shared` name have one together.

    Raises:
        BadArgument: turns that share an optimizer differ in its kind or in what they move.
        Diverged: as `minimize`.
    """
    return Trace.of(*taken(list(turns), rounds))


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
    answers: Callable[[Inputs], tuple[Tensor, ...]] | None = None,
) -> Phase:
    """Train on labels by cross-entropy, mean over the exits where there are several, in training mode (BatchNorm follows these samples).

    `answers` gives the logits of each exit where it is not the model as it is that does, such as `Site.answers`.
    """
    model.train()

    def loss(x: Inputs, y: Tensor) -> Tensor:
        return torch.stack([F.cross_entropy(out, y) for out in (answers or model.answers)(x)]).mean()

    batches = samples.batches(batch, epochs=epochs, augment=augment)
    return minimize(loss, model.parameters(), batches, phase=phase, lr=lr, optimizer=optimizer, momentum=momentum, weight_decay=weight_decay, schedule=schedule)


@torch.no_grad()
def predict(model: Network, samples: Samples, *, batch: int | None = None, features: bool = False, device: torch.device | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [n, C], labels [n], and (where asked) features [n, d], on the CPU, in evaluation mode and told in fp32; a run in bf16 computes them so.

    Where no batch is named it holds 500 images of up to 64 x 64, and of larger ones as many as have that many pixels. Where memory runs out it is halved.
    """
    batch = batch or _at_once(samples)
    if (rehearsed := rehearsal()) is not None and len(samples):
        told, _, seen = rehearsed.answer(samples, batch, lambda some: predict(model, some, batch=len(some), features=features, device=device))
        return told, samples.y, seen
    while True:
        try:
            return _predicted(model, samples, batch, features, device)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error) or batch < 2:
                raise
        batch //= 2


def _predicted(model: Network, samples: Samples, batch: int, features: bool, device: torch.device | None) -> tuple[Tensor, Tensor, Tensor]:
    """The same, in batches of this size."""
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
