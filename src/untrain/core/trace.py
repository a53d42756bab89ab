"""What a run did, phase by phase: losses, steps, passes, seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from untrain.core.engine import current


@dataclass(frozen=True)
class Phase:
    """What one piece of work did.

    Args:
        name: The paper's name for it.
        losses: Loss of each step, mean over the step's samples; the sum of all, where there are several.
        steps: Optimizer steps.
        passes: Images through any network: forward 1, backward to the input 1, full backward 2.
        seconds: Wall time, over all sittings.
        curves: Where a loss is several, each one's value at each step.
    """

    name: str
    losses: list[float] = field(default_factory=list, repr=False)
    steps: int = 0
    passes: int = 0
    seconds: float = 0.0
    curves: list[list[float]] = field(default_factory=list, repr=False)

    def __add__(self, other: Phase) -> Phase:
        """Both, one after the other, under the name of the first."""
        wide = max(len(self.curves), len(other.curves))
        mine, theirs = (p.curves if len(p.curves) == wide else [[float("nan")] * len(p.losses)] * wide for p in (self, other))
        curves = [a + b for a, b in zip(mine, theirs, strict=True)]
        return Phase(self.name, self.losses + other.losses, self.steps + other.steps, self.passes + other.passes, self.seconds + other.seconds, curves)


class Trace(dict[str, Phase]):
    """Phases by name, in the paper's order."""

    @classmethod
    def of(cls, *phases: Phase) -> Trace:
        """A trace of these phases; those of one name are joined, in the place of the first.

        >>> trace = Trace.of(Phase("max", [1.0], 1), Phase("min", [2.0], 1), Phase("max", [3.0], 1))
        >>> list(trace), trace["max"].losses, trace["max"].steps
        (['max', 'min'], [1.0, 3.0], 2)
        """
        trace = cls()
        for phase in phases:
            trace[phase.name] = trace[phase.name] + phase if phase.name in trace else phase
        return trace


@contextlib.contextmanager
def phase(name: str) -> Iterator[Phase]:
    """A phase of work without steps: passes and seconds of the block, known when it has ended. What core functions do within it counts."""
    run, began = current(), time.perf_counter()
    before, done = run.passes, Phase(name)
    yield done
    # Filled in when the block has ended; who holds it holds it for the trace.
    object.__setattr__(done, "passes", run.passes - before)
    object.__setattr__(done, "seconds", time.perf_counter() - began)


def phases(trace: Trace) -> list[dict[str, Any]]:
    """The `run.phases` of a record."""
    return [
        {"name": p.name, "steps": p.steps, "passes": p.passes, "seconds": p.seconds, "losses": thinned(p.losses), "every": max(1, -(-len(p.losses) // POINTS))}
        for p in trace.values()
    ]


POINTS = 200
"""Points of a loss curve that a record keeps."""


def thinned(losses: list[float]) -> list[float]:
    """At most POINTS means of neighbouring steps.

    >>> len(thinned([0.0] * 1001)), thinned([1.0, 2.0])
    (167, [1.0, 2.0])
    """
    every = max(1, -(-len(losses) // POINTS))
    return [sum(piece) / len(piece) for piece in (losses[i : i + every] for i in range(0, len(losses), every))]
