"""How many processors a process may use, which in a container is fewer than the machine has, and what they can do. Importing it imports no torch."""

from __future__ import annotations

import math
import os
import platform
from contextlib import suppress
from pathlib import Path

THREADS = "OMP_NUM_THREADS"
"""What says how many threads a library of numbers starts, where it is set before that is loaded."""

GROUPS = Path("/sys/fs/cgroup")


def processors() -> int:
    """How many processors this process may use: those it is bound to, or the share of time that its control group has, in whole ones.

    What other processes do at the moment is left out: a number of threads that hung on it would give other bits from run to run.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.ceil(share) for share in _shares())]))


def _shares() -> list[float]:
    """The limits of the control group that this process is in, and of those around it, in processors."""
    found, own = [], "/"
    with suppress(OSError):
        own = next((line[3:] for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines() if line.startswith("0::")), "/")
    place = GROUPS / own.lstrip("/")
    for folder in (place, *(parent for parent in place.parents if GROUPS in (parent, *parent.parents))):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            found.append(int(quota) / int(period))
    with suppress(OSError, ValueError, ZeroDivisionError):
        # The first form of control groups, which says -1 where there is no limit.
        some, of = (int((GROUPS / "cpu" / f"cpu.cfs_{what}_us").read_text(encoding="ascii")) for what in ("quota", "period"))
        found += [some / of] if some > 0 else []
    return found


def cap() -> None:
    """Let libraries that are loaded from here on start no more threads than that, where nobody has said how many."""
    if THREADS not in os.environ and processors() < (os.cpu_count() or 1):
        os.environ[THREADS] = str(processors())


def crowded(threads: int) -> str | None:
    """What to tell of so many threads, where they are more than there are processors for."""
    there = processors()
    return f"{threads} threads on {there} processors wait for each other, and a step takes many times as long; set {THREADS}={there}" if threads > there else None


def has_bf16() -> bool:
    """Whether the CPU computes in bf16 itself; one that does not takes about nine times as long as in fp32."""
    import torch

    return torch.backends.cpu.get_cpu_capability() not in ("AVX2", "NO AVX", "DEFAULT") or "arm" in platform.machine() or "aarch" in platform.machine()
