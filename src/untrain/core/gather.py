"""What is measured on samples without a step: gradients, products with the Hessian, the inputs and outputs of layers.

Like `minimize`, each is numbered in order of call, seeded, saved where the run has a folder, cut over ranks and summed
over them, cut down in a rehearsal, and counted in passes.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from untrain.core.data import Plan, Samples, mix
from untrain.core.engine import Run, current, own_stream
from untrain.core.errors import BadArgument, Diverged
from untrain.core.network import Network, uncounted
from untrain.core.rehearse import rehearsal
from untrain.core.resume import Saving
from untrain.core.stopping import asked, refuse_further, saving_first
from untrain.core.trace import Phase

Loss = Callable[[Any, Tensor], Tensor]
ROOM = 2**26
"""Numbers that the gradients of single samples may take at once."""


def gradients(model: Network, loss: Loss, samples: Samples, *, phase: str, batch: int, each: bool = False, power: float = 1) -> tuple[list[Tensor], Phase]:
    """The mean over samples of the loss's gradient, or of a power of it, for each of `model.trainable()`.

    The modes of the model are left as they are: call `model.eval()` first where BatchNorm should not follow these samples.

    Args:
        model: Whose weights are asked about.
        loss: Mean loss of a batch, a scalar; it closes over the model.
        samples: What it is asked of.
        phase: Name for the trace and the progress bar.
        batch: Samples at once.
        each: Whether the power is taken of every single sample's gradient and not of every batch's. This needs evaluation mode.
        power: 1 for the gradient itself, 2 for the diagonal of the Fisher information, and so on.

    Raises:
        BadArgument: nothing wants a gradient, or samples one by one in training mode.
        Diverged: a gradient is NaN or infinite.
    """
    if each and any(part.training for part in model.module.modules()):
        raise BadArgument(f"{phase}: the gradient of a single sample is taken in evaluation mode; call model.eval() first")
    weights = model.trainable()
    if not weights:
        raise BadArgument(f"{phase}: no weight of the model wants a gradient")

    def whole(x: Any, y: Tensor) -> list[Tensor]:
        return [g.detach() for g in torch.autograd.grad(loss(x, y), weights, allow_unused=True, materialize_grads=True)]

    def single(x: Any, y: Tensor) -> list[Tensor]:
        return _one_by_one(model, loss, weights, x, y, power)

    def raised(found: list[Tensor], share: float) -> list[Tensor]:
        return [_wide(g).pow(power) * share if power != 1 else g * share for g in found]

    if each:
        # Sums over single samples, whoever has them: they are divided by all of them, and added over the ranks in the end.
        work = _Work(phase, samples, batch, weights, lambda x, y, n: [g / len(samples) for g in single(x, y)])
    elif power == 1:
        work = _Work(phase, samples, batch, weights, lambda x, y, n: [g * (len(y) / len(samples)) for g in whole(x, y)])
    else:
        work = _Work(phase, samples, batch, weights, lambda x, y, n: [g * (len(y) / n) for g in whole(x, y)], fold=lambda found, n: raised(found, n / len(samples)))
    return work.run({"kind": "gradients", "each": each, "power": power})


def hvp(model: Network, loss: Loss, samples: Samples, vector: Sequence[Tensor], *, phase: str, batch: int) -> tuple[list[Tensor], Phase]:
    """The Hessian of the mean loss over the samples, times a vector given for each of `model.trainable()`; 7 passes a sample.

    A pass counts the forward (1), the gradient (2), and the gradient of that, which is twice as long (4).

    Args:
        model: Whose weights are asked about.
        loss: Mean loss of a batch, a scalar; it closes over the model.
        samples: What it is asked of.
        vector: One tensor for each of `model.trainable()`.
        phase: Name for the trace and the progress bar.
        batch: Samples at once.

    Raises:
        Diverged: it is NaN or infinite.
    """
    weights = model.trainable()

    def product(x: Any, y: Tensor, n: int) -> list[Tensor]:
        # Fused attention has no second derivative.
        with uncounted(), sdpa_kernel(SDPBackend.MATH):
            first = torch.autograd.grad(loss(x, y), weights, create_graph=True, allow_unused=True, materialize_grads=True)
            found = torch.autograd.grad(along_them(first, vector), weights, allow_unused=True, materialize_grads=True)
        current().passes += 7 * len(y)
        return [g.detach() * (len(y) / len(samples)) for g in found]

    return _Work(phase, samples, batch, weights, product).run({"kind": "hvp"})


def gather(
    model: Network,
    samples: Samples,
    layers: Sequence[str] | Mapping[str, nn.Module],
    reduce: Callable[[str, Tensor, Tensor], None],
    *,
    phase: str,
    batch: int = 100,
    into: Mapping[str, Tensor] | None = None,
) -> Phase:
    """Show `reduce(name, input, output)` what goes in and out of layers, batch by batch, in evaluation mode and without gradients.

    Args:
        model: The network; its modes and hooks are as before when this ends.
        samples: What it is shown.
        layers: Names of layers, or `model.layers(kinds)`.
        reduce: Takes a layer's name, its input and its output. It is called for each batch, in the order in which the layers run.
        phase: Name for the trace.
        batch: Samples at once.
        into: What `reduce` adds to, in place: each rank then has a part of the samples, the sums are added over the ranks, and they
            survive a kill. Without it every rank is shown everything, and a run that goes on does this again.

    Raises:
        BadArgument: no such layer.
    """
    known = dict(model.module.named_modules())
    absent = [name for name in layers if name not in known]
    if absent:
        raise BadArgument(f"{phase}: no layer {absent[0]!r} in the model; there are {list(known)[1:6]}, ...")

    def look(x: Any, y: Tensor, n: int) -> list[Tensor]:
        with model.frozen(), torch.no_grad(), contextlib.ExitStack() as hooks:
            for name in layers:
                hooks.callback(known[name].register_forward_hook(lambda _, given, out, name=name: reduce(name, given[0].detach(), out.detach())).remove)
            model(x)
        return []

    sums = list((into or {}).values())
    return _Work(phase, samples, batch, sums, look, shared=into is not None, given=sums).run({"kind": "gather", "layers": list(layers)})[1]


def accumulate(samples: Samples, add: Callable[[Any, Tensor], None], into: Sequence[Tensor], *, phase: str, batch: int) -> Phase:
    """Show `add(x, y)` samples batch by batch; what it adds to `into`, in place, is summed over ranks and survives a kill.

    Args:
        samples: What it is shown.
        add: Called for each batch; it counts its own passes.
        into: What it adds to.
        phase: Name for the trace.
        batch: Samples at once.
    """
    sums = list(into)

    def look(x: Any, y: Tensor, n: int) -> list[Tensor]:
        add(x, y)
        return []

    return _Work(phase, samples, batch, sums, look, given=sums).run({"kind": "accumulate"})[1]


class _Work:
    """A sum over batches, of whatever `find(x, y, size of the whole batch)` says of each; `fold` is applied to each batch's, reduced over ranks."""

    def __init__(
        self,
        phase: str,
        samples: Samples,
        batch: int,
        like: Sequence[Tensor],
        find: Callable[[Any, Tensor, int], list[Tensor]],
        *,
        fold: Callable[[list[Tensor], int], list[Tensor]] | None = None,
        shared: bool = True,
        given: list[Tensor] | None = None,
    ) -> None:
        self.phase, self.samples, self.batch, self.like, self.find, self.fold, self.shared, self.given = phase, samples, batch, like, find, fold, shared, given

    def run(self, print: dict[str, Any]) -> tuple[list[Tensor], Phase]:
        plan = self.samples.batches(self.batch, shuffle=False)
        if (rehearsed := rehearsal()) is not None and len(plan):
            return self._rehearsed(rehearsed, plan)
        run = current()
        number = run.call()
        sums = [torch.zeros_like(v, dtype=torch.promote_types(v.dtype, torch.float32), requires_grad=False) for v in self.like] if self.given is None else self.given
        if not len(plan):
            return sums, Phase(self.phase)
        if self.given is not None and self.shared and run.engine.rank:
            # What was there before counts once, and not once a rank.
            for total in sums:
                total.zero_()
        seed, began, before, done = mix(run.seed, number), time.perf_counter(), run.passes, torch.zeros(1, dtype=torch.long)
        rank, world = (run.engine.rank, run.engine.world) if self.shared else (0, 1)
        with own_stream(run, seed), saving_first(run.engine.world == 1):
            about = print | {"phase": self.phase, "batches": plan.digest()} if run.store is not None else {}
            saving = Saving(run, number, about, {}, {f"sum.{i}": s for i, s in enumerate(sums)} | {"done": done})
            for kept in (saving.resume() or []) if self.shared else []:
                run.passes += kept.passes
                began -= kept.seconds
            at = int(done)
            for step, (x, y, whole) in enumerate(plan.run(seed, start=at, rank=rank, world=world, device=run.engine.device), at + 1):
                found = self.find(x, y, whole) if x is not None and y is not None else [torch.zeros_like(s) for s in sums]
                if self.fold is not None:
                    run.engine.sum(found)
                    found = self.fold(found, whole)
                for total, value in zip(sums, found, strict=False):
                    total += value
                done.fill_(step)
                run.progress(self.phase, step, len(plan))
                last = step == len(plan)
                if last and self.shared and self.fold is None:
                    run.engine.sum(sums)
                stop = asked()
                if self.shared and (last or stop or step % 10 == 0):
                    saving.keep([self._phase(run, began, before)], last=last, now=stop)
                refuse_further()
        if self.given is None and not all(bool(torch.isfinite(s).all()) for s in sums):
            raise Diverged("a gradient is NaN or infinite", self.phase)
        return sums, self._phase(run, began, before)

    def _phase(self, run: Run, began: float, before: int) -> Phase:
        return Phase(self.phase, [], 0, run.passes - before, time.perf_counter() - began)

    def _rehearsed(self, rehearsed: Any, plan: Plan) -> tuple[list[Tensor], Phase]:
        answers: list[list[Tensor]] = []

        def cut_down(some: Plan) -> None:
            samples = cast(Samples, some.streams[0].samples)
            sums, _ = _Work(self.phase, samples, some.largest, self.like, self.find, fold=self.fold, shared=self.shared, given=self.given).run({})
            # The mean is over all samples, and these are a few.
            answers[:] = [sums if self.given is not None else [s * (len(self.samples) / len(samples)) for s in sums]]

        piece = rehearsed.step(self.phase, plan, cut_down)
        return answers[-1], Phase(self.phase, [], 0, piece.passes, piece.seconds)


def along_them(slopes: Sequence[Tensor], vector: Sequence[Tensor]) -> Tensor:
    """The sum of slopes times a vector, over those that hang on anything."""
    return torch.stack([(slope * part.to(slope)).sum() for slope, part in zip(slopes, vector, strict=True) if slope.requires_grad]).sum()


def _wide(value: Tensor) -> Tensor:
    """In single precision at least."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


class Asked(nn.Module):
    """A loss as a module around the one that it closes over, so that other weights can be put in for as long as it runs."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.inside, self.loss = module, loss

    def forward(self, x: Any, y: Tensor) -> Tensor:
        """The loss of a batch."""
        return self.loss(x, y)


def _one_by_one(model: Network, loss: Loss, weights: list[nn.Parameter], x: Any, y: Tensor, power: float) -> list[Tensor]:
    """Sum over the samples of a batch of a power of each one's gradient."""
    asked = Asked(model.module, loss)
    names = {id(p): name for name, p in asked.named_parameters()}
    room = max(1, ROOM // max(1, sum(w.numel() for w in weights)))
    sums = [torch.zeros_like(w, dtype=torch.promote_types(w.dtype, torch.float32), requires_grad=False) for w in weights]

    def of_one(values: dict[str, Tensor], one: Any, label: Tensor) -> Tensor:
        batch = {k: v[None] for k, v in one.items()} if isinstance(one, dict) else one[None]
        return cast(Tensor, functional_call(asked, values, (batch, label[None])))

    for rows in torch.split(torch.arange(len(y), device=y.device), room):
        some = {k: v[rows] for k, v in x.items()} if isinstance(x, dict) else x[rows]
        try:
            with uncounted(), warnings.catch_warnings():
                # What has no rule for a batch of its own is done sample by sample within, and says so: it is right, and slower.
                warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
                # Weights for each sample and torch's own gradient: functorch's imports the compiler, as much time as torch itself takes.
                own = {names[id(w)]: w.detach().expand(len(rows), *w.shape).requires_grad_() for w in weights}
                losses = vmap(of_one, in_dims=(0, 0, 0), randomness="different")(own, some, y[rows])
                each = list(torch.autograd.grad(losses.sum(), list(own.values()), allow_unused=True, materialize_grads=True))
            current().passes += 3 * len(rows)
        except (RuntimeError, NotImplementedError):
            # What this network does cannot be done for all samples at once: one after the other it can.
            each = []
        for total, i in zip(sums, range(len(weights)), strict=True):
            if each:
                total += _wide(each[i]).pow(power).sum(0)
        if not each:
            for row in rows:
                one = {k: v[row : row + 1] for k, v in x.items()} if isinstance(x, dict) else x[row : row + 1]
                for total, g in zip(sums, torch.autograd.grad(loss(one, y[row : row + 1]), weights, allow_unused=True, materialize_grads=True), strict=True):
                    total += _wide(g.detach()).pow(power)
    return sums
