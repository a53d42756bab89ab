"""What a run did, phase by phase: losses, steps, passes, seconds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Phase:
    """What one piece of work did.

    Args:
        name: The paper's name for it.
        losses: Loss of each step, mean over the step's samples.
        steps: Optimizer steps.
        passes: Images through any network: forward 1, backward to the input 1, full backward 2.
        seconds: Wall time, over all sittings.
    """

    name: str
    losses: list[float] = field(default_factory=list)
    steps: int = 0
    passes: int = 0
    seconds: float = 0.0


class Trace(dict[str, Phase]):
    """Phases by name, in the paper's order."""

    @classmethod
    def of(cls, *phases: Phase) -> Trace:
        """A trace of these phases."""
        return cls({phase.name: phase for phase in phases})
