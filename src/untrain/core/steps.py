"""How optimizer steps are taken: one phase's, or those of several that take turns, as one call that is saved and goes on to the bit."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from untrain.core.data import Plan, everywhere, mix
from untrain.core.engine import Engine, Run, current, own_stream
from untrain.core.errors import BadArgument, BadData, Diverged
from untrain.core.lean import lean
from untrain.core.memory import ran_out
from untrain.core.rehearse import Rehearsal, rehearsal
from untrain.core.resume import Saving
from untrain.core.stopping import asked, refuse_further, saving_first
from untrain.core.trace import Phase

Optimizer = Literal["adam", "sgd"]
Schedule = Literal["constant", "cosine", "onecycle"]
Rate = Callable[[int, int], float]
"""The share of the learning rate at a step, out of so many."""
Loss = Callable[[Any, Any], Tensor | tuple[Tensor, ...]]
"""Of a batch's inputs and labels; tuples of them where streams stand beside each other."""
Combine = Callable[[list[list[Tensor]]], list[Tensor]]
"""Of the gradients of several losses, each a list with one for each parameter."""


def rate(schedule: Schedule | Rate, step: int, steps: int) -> float:
    """Share of the learning rate at a step.

    `constant` is 1; `cosine` falls from 1 to 0; `onecycle` climbs to 1 over the first 30 % and falls to 0.

    >>> [round(rate("cosine", k, 4), 2) for k in range(4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    if not isinstance(schedule, str):
        return schedule(step, steps)
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    climb = 0.3 * steps
    return (step + 1) / (climb + 1) if step < climb else (steps - step) / (steps - climb)


def _optimizer(kind: Optimizer, parameters: Sequence[Tensor], lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    if kind == "adam":
        return lean(torch.optim.Adam)(parameters, lr=lr, weight_decay=weight_decay)
    return lean(torch.optim.SGD)(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Turn:
    """One of several phases that take turns, see `alternate`; the fields of `minimize` mean what they mean there.

    Args:
        phase: Name for the trace and the progress bar.
        loss: Mean loss of a batch, a scalar or a tuple of scalars.
        parameters: What is moved.
        batches: The batches; each round goes on where the one before it ended, in new orders.
        lr: Learning rate.
        optimizer: `adam`, or `sgd` (Nesterov where there is momentum).
        momentum: Momentum of sgd.
        weight_decay: L2 weight decay.
        schedule: How the learning rate runs over the turn's steps in all rounds.
        steps: Steps in each round; all of the batches where None.
        rounds: It takes part in the first so many rounds only; in all where None.
        mask: Where an entry of a parameter may move.
        clip: Largest norm of a step's gradient.
        combine: What makes one gradient of several losses'.
        carry: State of the loss that must survive a kill.
        shared: Turns of one name here share one optimizer: its momentum goes on from turn to turn. Alone where empty.
    """

    phase: str
    loss: Loss
    parameters: Sequence[Tensor]
    batches: Plan
    lr: float
    optimizer: Optimizer = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Schedule | Rate = "constant"
    steps: int | None = None
    rounds: int | None = None
    mask: Sequence[Tensor] | None = None
    clip: float | None = None
    combine: Combine | None = None
    carry: Mapping[str, Tensor] = field(default_factory=dict)
    shared: str = ""

    @property
    def each(self) -> int:
        """Steps in a round."""
        return (len(self.batches) if self.steps is None else self.steps) if len(self.batches) else 0

    def print(self) -> dict[str, Any]:
        """What tells this turn from another."""
        names = ("phase", "lr", "optimizer", "momentum", "weight_decay", "steps", "rounds", "clip", "shared")
        found = {name: getattr(self, name) for name in names if getattr(self, name) not in (None, "")}
        shapes = [list(p.shape) for p in self.parameters]
        return found | {
            "schedule": self.schedule if isinstance(self.schedule, str) else "own",
            "batches": self.batches.digest(),
            "shapes": str(shapes),
            "masked": self.mask is not None,
        }


class Taker:
    """What takes a turn's steps: its optimizer, its masks, its place in the batches, what it has done so far."""

    def __init__(self, turn: Turn, steps: int, seed: int, stepper: torch.optim.Optimizer, moved: list[Tensor]) -> None:
        self.turn, self.steps, self.seed, self.stepper, self.moved = turn, steps, seed, stepper, moved
        wanted = [p.requires_grad for p in turn.parameters]
        self.masks = None if turn.mask is None else [m.bool() for m, want in zip(turn.mask, wanted, strict=True) if want]
        self.stays: list[Tensor] | None = None
        self.losses: list[Tensor] = []
        self.curves: list[list[Tensor]] = []
        self.passes, self.seconds, self.looked, self.told = 0, 0.0, 0, Phase(turn.phase)
        self.plan = turn.batches if steps == len(turn.batches) else turn.batches.lasting(steps)

    @property
    def done(self) -> int:
        """Steps taken so far."""
        return len(self.losses)

    def resumed(self, phase: Phase, run: Run) -> None:
        """Go on from what was done."""
        self.losses = list(torch.tensor(phase.losses, dtype=torch.float64))
        self.curves = [list(torch.tensor(curve, dtype=torch.float64)) for curve in phase.curves]
        self.passes, self.seconds, self.looked, self.told = phase.passes, phase.seconds, len(phase.losses), phase
        run.passes += phase.passes

    def begin(self, engine: Engine) -> None:
        """Open the batches at the step where it stands."""
        self.batches: Iterator[Any] = iter(self.plan.run(self.seed, start=self.done, rank=engine.rank, world=engine.world, device=engine.device))

    def take_over(self) -> None:
        """Remember where masked entries stand as a turn begins: other turns may have moved them since the last."""
        self.stays = None if self.masks is None else [p.detach().clone() for p in self.moved]

    def step(self, run: Run) -> None:
        """Take one step."""
        before, turn = run.passes, self.turn
        x, y, whole = next(self.batches)
        for group in self.stepper.param_groups:
            group["lr"] = turn.lr * rate(turn.schedule, self.done, self.steps)
        values, gradients = self._gradients(run, x, y, whole)
        step = gradients[0] if len(gradients) == 1 and turn.combine is None else (turn.combine or summed)(gradients)
        if self.masks is not None:
            step = [torch.where(m, g, torch.zeros_like(g)) for m, g in zip(self.masks, step, strict=True)]
        if turn.clip is not None:
            norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in step]))
            step = [g * (turn.clip / (norm + 1e-6)).clamp(max=1.0) for g in step]
        if len({g.data_ptr() for g in step}) < len(step):
            # Weights that are added have one gradient between them, to which an optimizer would add the momentum of each.
            step = [g.clone() for g in step]
        for parameter, gradient in zip(self.moved, step, strict=True):
            parameter.grad = gradient
        self.stepper.step()
        if self.masks is not None and self.stays is not None:
            self._put_back(self.masks, self.stays)
        self.losses.append(values[0] if len(values) == 1 else torch.stack(values).sum())
        if len(values) > 1:
            self.curves = self.curves or [[] for _ in values]
            for curve, value in zip(self.curves, values, strict=True):
                curve.append(value)
        self.passes += run.passes - before
        run.progress(turn.phase, self.done, self.steps)

    def _gradients(self, run: Run, x: Any, y: Any, whole: int | tuple[int, ...]) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Each loss and its gradient, of the whole batch; where memory runs out, of twice as many pieces of it, down to two samples each."""
        engine, turn, several = run.engine, self.turn, isinstance(whole, tuple)
        values: list[Tensor] = []
        found: list[list[Tensor]] = []
        if several or x is not None:
            if isinstance(whole, tuple) and not all(everywhere(n, engine.world) for n in whole):
                raise BadData(f"{turn.phase}: a batch of {min(whole)} samples gives none to one of {engine.world} ranks; take larger batches")
            if run.watch is not None:
                for part, label in zip(x, y, strict=True) if several else ((x, y),):
                    run.watch(turn.phase, part, label)
            while (got := self._of_pieces(run, x, y, whole)) is None:
                run.pieces *= 2
                engine.free()
                logging.getLogger("untrain").warning("untrain: memory ran out; each batch is taken in %d pieces from here on, and of them BatchNorm sees one at a time", run.pieces)
            values, found = got
        if engine.world > 1:
            if not isinstance(whole, tuple) and not everywhere(whole, engine.world):
                # A rank that has no row does not know how many losses there are.
                lacks = range(engine.most(len(values)) - len(values))
                values += [torch.zeros((), device=engine.device) for _ in lacks]
                found += [[torch.zeros_like(p) for p in self.moved] for _ in lacks]
            engine.sum([*(g for gradients in found for g in gradients), *values])
        return values, found

    def _of_pieces(self, run: Run, x: Any, y: Any, whole: int | tuple[int, ...]) -> tuple[list[Tensor], list[list[Tensor]]] | None:
        """Each loss and its gradient, summed over the pieces of this rank's slice; None where memory ran out and smaller pieces may do."""
        values: list[Tensor] = []
        found: list[list[Tensor]] = []
        fewest = min(map(len, y)) if isinstance(whole, tuple) else len(y)
        number = max(1, min(run.pieces, fewest // 2))
        try:
            for part, label in pieces(x, y, number):
                more, steeper = self._of_one(run.engine.world * number > 1, part, label, whole)
                values = [a + b for a, b in zip(values, more, strict=True)] if values else more
                found = [[a.add_(b) for a, b in zip(one, other, strict=True)] for one, other in zip(found, steeper, strict=True)] if found else steeper
        except (RuntimeError, MemoryError) as error:
            # What a loss keeps from step to step would be kept once a piece, and ranks that meet within a forward would wait for one that begins another.
            if not ran_out(error) or self.turn.carry or fewest < 4 * number or _meeting(run):
                raise
            return None
        return values, found

    def _of_one(self, shared: bool, x: Any, y: Any, whole: int | tuple[int, ...]) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Each loss and its gradient of one piece; where others have a share in the batch, by its own."""
        turn = self.turn
        try:
            value = turn.loss(x, y)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise BadData(f"{turn.phase}: a batch of a single sample, of which BatchNorm has no variance in training mode; give two or more") from error
        values = list(value) if isinstance(value, tuple) else [value]
        last = len(values) - 1
        found = [list(torch.autograd.grad(v, self.moved, retain_graph=i < last, allow_unused=True, materialize_grads=True)) for i, v in enumerate(values)]
        values = [v.detach() for v in values]
        if shared:
            each = [len(part) / n for part, n in zip(y, whole, strict=True)] if isinstance(whole, tuple) else [len(y) / whole]
            shares = each if len(each) == len(values) else [each[0]] * len(values)
            found = [[g * share for g in gradients] for gradients, share in zip(found, shares, strict=True)]
            values = [v * share for v, share in zip(values, shares, strict=True)]
        return values, found

    @torch.no_grad()
    def _put_back(self, masks: list[Tensor], stays: list[Tensor]) -> None:
        """What is masked is where it was, to the bit, and leaves no momentum either."""
        for parameter, mask, kept in zip(self.moved, masks, stays, strict=True):
            parameter.copy_(torch.where(mask, parameter, kept))
            for value in self.stepper.state[parameter].values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value.masked_fill_(~mask, 0)

    def look(self) -> Phase:
        """What was done so far; refuses what is not finite among what was not looked at."""
        phase, fresh = self.turn.phase, self.losses[self.looked :]
        values = torch.stack(fresh).cpu().double() if fresh else torch.empty(0, dtype=torch.float64)
        bad = ~torch.isfinite(values)
        if bad.any():
            raise Diverged(f"the loss went to NaN or infinity at step {self.looked + int(bad.nonzero()[0]) + 1}", phase)
        if not all(bool(torch.isfinite(p).all()) for p in self.moved):
            raise Diverged(f"a weight went to NaN or infinity within {self.done} steps", phase)
        curves = [told + [float(v) for v in curve[self.looked :]] for told, curve in zip(self.told.curves or [[] for _ in self.curves], self.curves, strict=True)]
        self.told = Phase(phase, self.told.losses + values.tolist(), self.done, self.passes, self.seconds, curves)
        self.looked = self.done
        return self.told


def _meeting(run: Run) -> bool:
    """Whether ranks wait for each other within a forward."""
    return run.engine.world > 1 and any(isinstance(part, nn.SyncBatchNorm) for network in run.networks for part in network.module.modules())


def pieces(x: Any, y: Any, number: int) -> Iterator[tuple[Any, Any]]:
    """A batch cut into so many pieces, near equal; of streams beside each other each is cut so.

    >>> [y.tolist() for _, y in pieces(torch.arange(5), torch.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    if isinstance(y, tuple):
        for several in zip(*(pieces(a, b, number) for a, b in zip(x, y, strict=True)), strict=True):
            yield tuple(a for a, _ in several), tuple(b for _, b in several)
        return
    columns = {name: torch.tensor_split(value, number) for name, value in x.items()} if isinstance(x, dict) else {}
    rows = torch.tensor_split(x, number) if not columns else [{name: cut[i] for name, cut in columns.items()} for i in range(number)]
    yield from zip(rows, torch.tensor_split(y, number), strict=True)


def summed(gradients: list[list[Tensor]]) -> list[Tensor]:
    """The sum of several losses' gradients: what `combine` is where none is given."""
    return [sum(parts[1:], parts[0]) for parts in zip(*gradients, strict=True)]


def taken(turns: list[Turn], rounds: int) -> list[Phase]:
    """Take all turns of all rounds; each turn's phase."""
    if (rehearsed := rehearsal()) is not None:
        return [_rehearsed(rehearsed, turn, rounds) for turn in turns]
    run = current()
    number = run.call()
    seed, engine = mix(run.seed, number), run.engine
    # Moves all of a turn's steps, or none where it has nothing to move.
    moved = [[p for p in turn.parameters if p.requires_grad] for turn in turns]
    parts = [min(rounds, rounds if turn.rounds is None else turn.rounds) if some else 0 for turn, some in zip(turns, moved, strict=True)]
    order = [(i, last) for r in range(rounds) for i, turn in enumerate(turns) if r < parts[i] for last in [False] * (turn.each - 1) + [True] * (turn.each > 0)]
    if not order:
        return [Phase(turn.phase) for turn in turns]
    everything = list({id(p): p for some in moved for p in some}.values())
    # Under ranks one alone may be asked to stop, and the others would wait for it.
    with own_stream(run, seed), _cleared(everything), saving_first(engine.world == 1):
        steppers = _steppers(turns, moved)
        takers = [
            Taker(turn, turn.each * part, mix(seed, 4, i) if i else seed, stepper, some)
            for i, (turn, part, stepper, some) in enumerate(zip(turns, parts, steppers, moved, strict=True))
        ]
        saving = Saving(
            run,
            number,
            {"kind": "minimize" if len(turns) == 1 else "alternate", "rounds": rounds, "turns": [turn.print() for turn in turns]} if run.store is not None else {},
            {f"parameter.{i}": p for i, p in enumerate(everything)},
            {f"carry.{i}.{name}": value for i, turn in enumerate(turns) for name, value in turn.carry.items()},
            list({id(s): s for s in steppers}.values()),
        )
        for taker, phase in zip(takers, saving.resume() or [], strict=False):
            taker.resumed(phase, run)
        done = looked = sum(taker.done for taker in takers)
        turn_of = -1
        for taker in takers:
            taker.begin(engine)
        for place, (i, ends) in enumerate(order[done:], done + 1):
            began = time.perf_counter()
            if i != turn_of:
                turn_of = i
                takers[i].take_over()
            takers[i].step(run)
            last, stop = place == len(order), asked()
            if last or stop or (place - looked >= 50 and (ends or takers[i].done % turns[i].batches.per_epoch == 0)):
                looked = place
                phases = [taker.look() for taker in takers]
                if last:
                    _agree(run)
                saving.keep(phases, last=last, now=stop)
                refuse_further()
            takers[i].seconds += time.perf_counter() - began
        return [taker.look() for taker in takers]


def _steppers(turns: list[Turn], moved: list[list[Tensor]]) -> list[torch.optim.Optimizer]:
    """An optimizer for each turn; turns of one `shared` name have one together."""
    made: dict[str | int, tuple[Turn, list[Tensor], torch.optim.Optimizer]] = {}
    for i, (turn, some) in enumerate(zip(turns, moved, strict=True)):
        key: str | int = turn.shared or i
        if key not in made:
            made[key] = (turn, some, _optimizer(turn.optimizer, some or [torch.zeros(1)], turn.lr, turn.momentum, turn.weight_decay))
        first, theirs, _ = made[key]
        how = [(t.optimizer, t.momentum, t.weight_decay) for t in (first, turn)]
        if how[0] != how[1] or [id(p) for p in theirs] != [id(p) for p in some]:
            raise BadArgument(f"the turns {first.phase} and {turn.phase} share an optimizer, but not its settings and parameters; give both the same")
    return [made[turn.shared or i][2] for i, turn in enumerate(turns)]


def _rehearsed(rehearsed: Rehearsal, turn: Turn, rounds: int) -> Phase:
    """A turn of all its rounds, rehearsed: at a rate of 0 every step does its work, and the weights stay."""
    steps = turn.each * min(rounds, rounds if turn.rounds is None else turn.rounds)
    if not steps or not any(p.requires_grad for p in turn.parameters):
        return Phase(turn.phase)
    done: list[Phase] = []

    def cut_down(some: Plan) -> None:
        done.extend(taken([replace(turn, batches=some, lr=0.0, weight_decay=0.0, steps=None, rounds=None)], 1))

    piece = rehearsed.step(turn.phase, turn.batches if steps == len(turn.batches) else turn.batches.lasting(steps), cut_down, steps=steps)
    return Phase(turn.phase, done[-1].losses, piece.steps, piece.passes, piece.seconds)


@contextlib.contextmanager
def _cleared(parameters: Sequence[Tensor]) -> Iterator[None]:
    """No gradient is left behind, however the block ends."""
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.grad = None


def _agree(run: Run) -> None:
    """Running statistics are each rank's own slice's; their mean over the ranks is what all go on with."""
    if run.engine.world > 1:
        buffers = list({id(b): b for module in run.saved() for b in module.buffers()}.values())
        running = [b for b in buffers if b.is_floating_point()]
        # In double, so that of three ranks too those that stand alike stay to the bit: a frozen layer's, or what is kept of the past.
        sums = [b.double() for b in running]
        run.engine.sum(sums)
        for value, total in zip(running, sums, strict=True):
            value.copy_(total / run.engine.world)
        # Counts are the first rank's, which has rows in every batch.
        counts = [b for b in buffers if not b.is_floating_point()]
        for value in counts:
            value *= run.engine.rank == 0
        run.engine.sum(counts)
