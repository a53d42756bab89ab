"""Where a step's time goes, and how far it is from its floor: what its sums and its bytes alone would take on the machine at hand.

    python benchmarks/floor.py OUT.json

UNSIR's three kinds of step (noise, impair, repair) on a ResNet-20 and a batch of 256 images of CIFAR's shape. Counted: additions and multiplications of
convolutions and matrices (torch's own counter), and the bytes that every operation reads and writes at least once, each of its tensors. Measured, taking
turns with the step in one process: a large matrix product and a large sum of two tensors, which give what the machine does at best. The floor of an operation
is the longer of the two, and a step's is their sum. Medians; processor seconds, so that other work beside counts for little.
"""

from __future__ import annotations

import collections
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from untrain.zoo.networks import CifarResNet

BATCH, TURNS, SIDE, CLASSES, FORGOTTEN = 256, 7, 2048, 10, 3
WRITES = ("view", "detach", "t", "transpose", "permute", "expand", "unsqueeze", "squeeze", "alias", "as_strided", "_unsafe_view", "slice", "select")
"""Operations that move no bytes."""


class Counted(TorchDispatchMode):
    """Counts sums and bytes of every operation: (operation, sums, bytes) in the order of call."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        if name not in WRITES:
            tensors = {id(t): t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)}
            sums = flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out) if func._overloadpacket in flop_registry else 0
            self.found.append((name, sums, sum(t.numel() * t.element_size() for t in tensors.values())))
        return out


def network() -> nn.Module:
    """A ResNet-20, the same each time, in the layout that the engine gives it."""
    torch.manual_seed(0)
    return CifarResNet(3).to(memory_format=torch.channels_last)


def steps() -> dict[str, Callable[[], None]]:
    """A step of each phase, written by hand as the method takes it."""
    model, teacher = network().train(), network().eval()
    frozen = network().eval().requires_grad_(False)
    x = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    y, wanted = torch.arange(BATCH) % CLASSES, torch.full((BATCH,), FORGOTTEN)
    learned = x.clone().requires_grad_()
    of_noise, of_weights = torch.optim.Adam([learned], lr=0.1), torch.optim.Adam(model.parameters(), lr=0.001)

    def noise() -> None:
        of_noise.zero_grad()
        (0.1 * learned.square().sum((1, 2, 3)).mean() - F.cross_entropy(frozen(learned), wanted)).backward()
        of_noise.step()

    def impair() -> None:
        of_weights.zero_grad()
        F.cross_entropy(model(x), y).backward()
        of_weights.step()

    def repair() -> None:
        of_weights.zero_grad()
        with torch.no_grad():
            target = F.softmax(teacher(x).index_fill(1, torch.tensor([FORGOTTEN]), -torch.inf) / 4, dim=1)
        F.kl_div(F.log_softmax(model(x) / 4, dim=1), target, reduction="batchmean").backward()
        of_weights.step()

    return {"noise": noise, "impair": impair, "repair": repair}


def spent(work: Callable[[], object]) -> float:
    """Processor seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


KINDS = {
    "convolution": ("convolution", "mkldnn", "addmm", "mm"),
    "batch norm": ("batch_norm",),
    "activation and sum": ("relu", "threshold", "add", "clamp"),
    "optimizer": ("_foreach", "_fused", "addc", "lerp", "sqrt", "div", "mul"),
}


def kind(name: str) -> str:
    """What an operation is counted with."""
    return next((k for k, words in KINDS.items() if any(word in name for word in words)), "the rest")


def shares(work: Callable[[], None]) -> dict[str, float]:
    """Share of a step's own processor time by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as told:
        for _ in range(3):
            work()
    by: collections.Counter[str] = collections.Counter()
    for entry in told.key_averages():
        by[kind(entry.key)] += entry.self_cpu_time_total
    return {k: round(v / sum(by.values()), 3) for k, v in by.most_common()}


def main(out: str) -> None:
    """Measure and write a record."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    big, other, into = torch.randn(2**24), torch.randn(2**24), torch.empty(2**24)
    work = steps()
    found: dict[str, Any] = {}
    for name, step in work.items():
        step()
        with Counted() as counted:
            step()
        times: dict[str, list[float]] = {"step": [], "product": [], "sum": []}
        for _ in range(TURNS):
            times["step"].append(spent(step))
            times["product"].append(spent(lambda: torch.mm(a, b)))
            times["sum"].append(spent(lambda: torch.add(big, other, out=into)))
        middle = {k: statistics.median(v) for k, v in times.items()}
        rate, width = 2 * SIDE**3 / middle["product"], 3 * 4 * 2**24 / middle["sum"]
        floor = sum(max(sums / rate, moved / width) for _, sums, moved in counted.found)
        found[name] = {
            "seconds": round(middle["step"], 4),
            "floor_seconds": round(floor, 4),
            "over_floor": round(middle["step"] / floor, 3),
            "sums": sum(sums for _, sums, _ in counted.found),
            "bytes": sum(moved for *_, moved in counted.found),
            "sums_a_second_at_best": round(rate),
            "bytes_a_second_at_best": round(width),
            "sums_alone_seconds": round(sum(sums for _, sums, _ in counted.found) / rate, 4),
            "share_of_time": shares(step),
        }
        print(name, found[name], flush=True)
    about = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine(), "threads": torch.get_num_threads()}
    record = {"about": about, "batch": BATCH, "network": "resnet20", "precision": "fp32", "turns": TURNS, "found": found}
    Path(out).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
