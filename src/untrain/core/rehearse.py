"""Rehearsal: a run whose long work is cut down to a few timed steps on the very model, and drawn out to its full length.

While a rehearsal is on, `minimize` and `predict` hand their work over to it. It runs the same work on fewer rows,
and on more of them for as long as a step stays short; seconds and memory are a straight line in the rows of a batch.
What a method does beside these functions it does in full. No method knows of it, and nothing is stated about any.
"""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from untrain.core.data import Plan, Samples
from untrain.core.data import spread as spread
from untrain.core.engine import Engine, current, peak_memory

FIRST = 2
"""Rows of the first cut-down batch."""


@dataclass(frozen=True)
class Piece:
    """What one call of a core function would take in full.

    Args:
        name: The phase, or `predict`.
        steps: Optimizer steps; none for `predict`.
        passes: Images through any network.
        seconds: Wall time.
        peak_memory: Largest resident memory of the process, or allocated on the GPU, in bytes.
    """

    name: str
    steps: int
    passes: int
    seconds: float
    peak_memory: int


@dataclass(frozen=True)
class Look:
    """One timed step.

    Args:
        rows: Rows of its batch.
        seconds: Mean over the steps that count.
        peak_memory: Bytes, as in `Piece`.
        passes: Images through any network, for each row of each stream.
    """

    rows: int
    seconds: float
    peak_memory: int
    passes: float


@dataclass
class Rehearsal:
    """What has been rehearsed so far.

    Args:
        pause: Seconds of a step beyond which it is not tried with more rows, once it was with two batches of them.
        pieces: The core calls, in order.
        spent: Seconds that their cut-down steps took.
        asked: What was timed before: predictions on as many samples of one shape, steps of one phase on plans of one form.
            A search or a solver that asks the same again is timed once.
    """

    pause: float = 0.2
    pieces: list[Piece] = field(default_factory=list)
    spent: float = 0.0
    asked: dict[tuple[object, ...], Piece] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds of all core calls in full."""
        return sum(piece.seconds for piece in self.pieces)

    def step(self, phase: str, batches: Plan, work: Callable[[Plan], object], *, steps: int | None = None) -> Piece:
        """Rehearse steps: `work` takes a cut-down plan of batches, and tells its progress after each; so many are taken in full, all where None."""
        in_full = len(batches) if steps is None else steps
        run, ticks = current(), list[float]()
        outer = run.progress

        def timed(rows: int, steps: int) -> Look:
            # The first step warms up, and is not counted.
            some = batches.few(rows, 1 + steps)
            ticks.clear()
            passes = run.passes
            with peak(run.engine) as most:
                work(some)
            taken = [b - a for a, b in pairwise(ticks)]
            return Look(rows, sum(taken) / max(1, len(taken)), most[0], (run.passes - passes) / some.shown(len(some)))

        def tick(phase: str, step: int, steps: int) -> None:
            _settle(run.engine)
            ticks.append(time.perf_counter())

        run.progress = tick
        rows = round(batches.rows * in_full / len(batches))
        key = (phase, in_full, rows, *((stream.largest, len(stream)) for stream in batches.streams))
        try:
            if key in self.asked:
                self._again(key, lambda: work(batches.few(min(FIRST, batches.largest), 1)))
            else:
                self.asked[key] = self._drawn_out(phase, timed, batches.largest, in_full, rows, batches.shown(in_full))
            return self.asked[key]
        finally:
            run.progress = outer

    def answer(self, samples: Samples, batch: int, work: Callable[[Samples], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Rehearse predictions: `work` answers for some samples in one batch; what it says of them is repeated for the rest."""
        said: list[tuple[Tensor, ...]] = []
        run, n = current(), len(samples)

        def timed(rows: int, steps: int) -> Look:
            some = samples[spread(n, rows)]
            work(some)
            passes = run.passes
            with peak(run.engine) as most:
                began = time.perf_counter()
                said[:] = [work(some)]
                _settle(run.engine)
                seconds = time.perf_counter() - began
            return Look(rows, seconds, most[0], (run.passes - passes) / rows)

        key = (n, batch, str(samples.shape))
        if key in self.asked:
            self._again(key, lambda: said.append(work(samples[spread(n, min(FIRST, n))])))
        else:
            self.asked[key] = self._drawn_out("predict", timed, min(batch, n), 0, n)
        return tuple(value[torch.arange(n) % len(value)] if len(value) else value for value in said[0])

    def _again(self, key: tuple[object, ...], work: Callable[[], object]) -> None:
        """Work that was timed before is done once more in little, since what follows may stand on it."""
        began, token = time.perf_counter(), _rehearsal.set(None)
        try:
            work()
        finally:
            _rehearsal.reset(token)
            self.spent += time.perf_counter() - began
            self.pieces.append(self.asked[key])

    def _drawn_out(self, name: str, timed: Callable[[int, int], Look], full: int, steps: int, rows: int, shown: int | None = None) -> Piece:
        began, token = time.perf_counter(), _rehearsal.set(None)
        try:
            looks = [timed(min(full, FIRST), 1)]
            # Two looks at the least: one alone cannot tell what a batch takes from what a row takes.
            while looks[-1].rows < full and (len(looks) == 1 or looks[-1].seconds < self.pause):
                last = looks[-1]
                least = 4 * last.rows if len(looks) == 1 and last.seconds < 2 * self.pause else 2 * last.rows
                more = min(full, max(least, int(0.8 * last.rows * self.pause / max(last.seconds, 1e-6))))
                # Short steps are taken more often, or a hiccup of the machine would pass for their length.
                looks.append(timed(more, min(10, max(1, int(self.pause / max(last.seconds * more / last.rows, 1e-6))))))
        finally:
            _rehearsal.reset(token)
            self.spent += time.perf_counter() - began
        each, row = line([(look.rows, look.seconds) for look in looks])
        base, grown = line([(look.rows, float(look.peak_memory)) for look in (looks[:1] + looks[1:][-1:])])
        batches = steps or -(-rows // full)
        piece = Piece(name, steps, round(looks[-1].passes * (rows if shown is None else shown)), each * batches + row * rows, max(looks[-1].peak_memory, int(base + grown * full)))
        self.pieces.append(piece)
        return piece


def line(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Offset and slope, neither below 0, through the last point and, where it can be, the one before.

    >>> line([(1, 3.0), (3, 5.0)]), line([(4, 2.0)]), line([(2, 1.0), (4, 4.0)]), line([(2, 4.0), (4, 1.0)])
    ((2.0, 1.0), (0.0, 0.5), (0.0, 1.0), (1.0, 0.0))
    """
    x, y = points[-1]
    if len(points) == 1:
        return 0.0, y / x
    x0, y0 = points[-2]
    slope = min(max(0.0, (y - y0) / (x - x0)), y / x)
    return y - slope * x, slope


_rehearsal: ContextVar[Rehearsal | None] = ContextVar("untrain_rehearsal", default=None)


def rehearsal() -> Rehearsal | None:
    """The rehearsal that is on, if one is."""
    return _rehearsal.get()


@contextlib.contextmanager
def rehearsing(pause: float = 0.2) -> Iterator[Rehearsal]:
    """Rehearse what is run in this block; weights stand where they stood, since no step has a rate."""
    token = _rehearsal.set(Rehearsal(pause))
    try:
        found = _rehearsal.get()
        assert found is not None
        yield found
    finally:
        _rehearsal.reset(token)


def _settle(engine: Engine) -> None:
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)


@contextlib.contextmanager
def peak(engine: Engine) -> Iterator[list[int]]:
    """Peak memory of the block alone, as far as the system lets its high-water mark be put back; else of the process so far."""
    found: list[int] = []
    if engine.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(engine.device)
    else:
        with contextlib.suppress(OSError, AttributeError):
            # What was freed is given back first, or it would count as still in use.
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    yield found
    found.append(peak_memory(engine))
