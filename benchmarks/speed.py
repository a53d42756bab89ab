"""How fast: the engine's step beside a bare loop, and UNSIR beside a plain re-implementation of the published notebook's loops.

    python benchmarks/speed.py OUT.json

Ratios are measured side by side in one process, alternating which goes first, medians; peak memory of each in processes of their own, by turns, with
the allocator as it is where nothing is set, medians too: what is fragmented differs from process to process.
Images are random bytes of CIFAR's shape, so no data is needed. Run it on a quiet machine; the share of the cores that it got is in the record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from untrain.core.data import Samples
from untrain.core.engine import Engine, peak_memory, seeded
from untrain.core.network import Network
from untrain.core.train import fit
from untrain.methods.unsir import UNSIR
from untrain.sources.normalisation import NORMS
from untrain.zoo.networks import CifarResNet

BATCH, STEPS, N, PEAKS = 256, 8, 2304, 5
NORM = NORMS["imagenet"]


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """N retained images of nine classes, as bytes."""
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (N, 3, 32, 32), generator=g, dtype=torch.uint8), torch.arange(N) % 9


def network() -> nn.Module:
    """A ResNet-20, the same each time."""
    torch.manual_seed(0)
    return CifarResNet(3)


def ours_step(x: torch.Tensor, y: torch.Tensor) -> None:
    """STEPS training steps by the engine."""
    view = Network(Engine().place(network()))
    with seeded(0, network=view):
        fit(view, Samples(x, y, prepare=NORM)[: STEPS * BATCH], phase="train", lr=0.01, epochs=1, batch=BATCH, optimizer="sgd")


def bare_step(x: torch.Tensor, y: torch.Tensor) -> None:
    """The same steps, written by hand."""
    model = network().to(memory_format=torch.channels_last).train()
    stepper = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (NORM.mean, NORM.std))
    order = torch.randperm(STEPS * BATCH)
    for rows in order.split(BATCH):
        batch = ((x[rows].float() / 255 - mean) / std).to(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(batch), y[rows])
        stepper.zero_grad()
        loss.backward()
        stepper.step()


def ours_unsir(x: torch.Tensor, y: torch.Tensor) -> None:
    """UNSIR at the paper's settings: 40 steps of noise, one pass of impair, one of repair."""
    method = dataclasses.replace(UNSIR.presets["paper"], noise=256 * 20 / 9000)
    view = Network(Engine().place(network()))
    with seeded(0, network=view):
        method(view, retain=Samples(x, y, prepare=NORM), classes=(9,))


def notebook_unsir(x: torch.Tensor, y: torch.Tensor) -> None:
    """The same steps as the notebook takes them: lists of tensors in a DataLoader, weight gradients while noise is learned."""
    model = network().train()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (NORM.mean, NORM.std))
    kept = [((image.float() / 255 - mean) / std, int(label)) for image, label in zip(x, y, strict=True)]
    count = round(256 * 20 / 9000 * len(kept))
    distinct = -(-count // 20)
    noise = nn.Parameter(torch.randn(distinct, 3, 32, 32))
    stepper = torch.optim.Adam([noise], lr=0.1)
    label = torch.full((distinct,), 9)
    for _ in range(40):
        loss = -F.cross_entropy(model(noise), label) + 0.1 * noise.square().sum((1, 2, 3)).mean()
        stepper.zero_grad()
        loss.backward()
        stepper.step()
    mixed = kept + [(noise.detach()[i % distinct], 9) for i in range(count)]
    for lr, part in ((0.02, mixed), (0.01, kept)):
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        for batch, labels in DataLoader(part, BATCH, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(batch), labels).backward()
            optimizer.step()


PAIRS: dict[str, tuple[Callable[..., None], Callable[..., None], int]] = {
    "training step, engine over bare loop": (ours_step, bare_step, 15),
    "UNSIR, ours over the notebook's loops": (ours_unsir, notebook_unsir, 5),
}


def seconds(work: Callable[..., None], *data: torch.Tensor) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(*data)
    return time.perf_counter() - wall, time.process_time() - cpu


@contextlib.contextmanager
def unset(prefix: str) -> Iterator[None]:
    """Variables of these names are not seen by a process that starts meanwhile."""
    kept = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(prefix)}
    try:
        yield
    finally:
        os.environ.update(kept)


def peak(name: str, threads: int, out: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    """Growth of the largest resident size while this runs, in a process of its own."""
    torch.set_num_threads(threads)
    data = images()
    before = peak_memory(Engine())
    globals()[name](*data)
    out.put(peak_memory(Engine()) - before)


def main(out: str) -> None:
    """Measure and write a record."""
    data, found = images(), {}
    spawn = multiprocessing.get_context("spawn")
    for title, (ours, theirs, repeats) in PAIRS.items():
        for work in (ours, theirs):
            seconds(work, *data)  # first calls build kernels
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        busy = []
        for i in range(repeats):
            pair = (("ours", ours), ("theirs", theirs))
            # What goes second finds the memory that the first has freed, so they take turns.
            for key, work in pair[:: 1 if i % 2 else -1]:
                wall, cpu = seconds(work, *data)
                times[key].append(wall)
                busy.append(cpu / wall / torch.get_num_threads())
        memory: dict[str, list[int]] = {"ours": [], "theirs": []}
        for key, work in (("ours", ours), ("theirs", theirs)) * PEAKS:
            queue = spawn.Queue()
            process = spawn.Process(target=peak, args=(work.__name__, torch.get_num_threads(), queue))
            with unset("MALLOC_"):
                process.start()
            memory[key].append(queue.get())
            process.join()
        ratios = [a / b for a, b in zip(times["ours"], times["theirs"], strict=True)]
        found[title] = {
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "repeats": repeats,
            "median_seconds": {k: statistics.median(v) for k, v in times.items()},
            "peak_memory_growth_bytes": {k: statistics.median(v) for k, v in memory.items()},
            "all_peak_memory_growth_bytes": memory,
            "processor_share": statistics.median(busy),
        }
        print(title, round(found[title]["ratio"], 3), found[title], flush=True)
    about = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "allocator": {k: v for k, v in os.environ.items() if k.startswith("MALLOC_")},
    }
    record = {"about": about, "batch": BATCH, "images": N, "network": "resnet20", "precision": "fp32", "found": found}
    Path(out).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
