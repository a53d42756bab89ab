"""How right `untrain check` is about time and memory: its estimate beside the run itself, for five networks and the methods that it times unasked, and NegGrad.

    python benchmarks/estimates.py OUT.json

A network has a process of its own, in which estimates and runs take turns, and the peak of memory is put back before each. Images are random
bytes, so no data is needed; the heavier a network is, the fewer and the smaller it gets. The settings are each method's own, with few passes for those that train anew. What else
the machine does bears on both; the share of the processor that each got is in the record. On one thread it takes half an hour.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrain.checkup.estimate import USUAL, estimate
from untrain.core.data import Norm, Samples, Split
from untrain.core.discover import settings
from untrain.core.engine import Engine
from untrain.core.rehearse import peak
from untrain.core.unlearn import unlearn
from untrain.zoo.networks import NETWORKS
from untrain.zoo.recipes import Recipe, recipe_for

CLASSES, FORGET, EPOCHS = 10, 3, 2
NETS = {"digits": (1, 8, 1300), "mlp": (3, 32, 600), "resnet20": (3, 32, 200), "allcnn": (3, 8, 40), "resnet18": (3, 8, 20)}
"""By network: channels, side and number of images."""

METHODS = (*USUAL, "neggrad")

REPEATS = 3
"""Turns of each method; the one of the median ratio of seconds counts, and all ratios are in the record."""


class MLP(nn.Module):
    """Two hidden layers on flattened images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = Norm((0.5,) * 3, (0.25,) * 3)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3072, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.layers(x)


class MLPRecipe(Recipe):
    """The zoo's training for a network that is not in it."""

    def build(self) -> nn.Module:
        """A new one."""
        return MLP()


def case(net: str) -> tuple[nn.Module, Split, Any]:
    """A network, random images of ten classes one of which is to be forgotten, and a recipe of few epochs."""
    torch.manual_seed(0)
    channels, side, n = NETS[net]
    model = MLP() if net == "mlp" else NETWORKS[net](CLASSES)
    x = torch.randint(0, 256, (n, channels, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    samples = Samples(x, torch.arange(n) % CLASSES, names=[str(i) for i in range(CLASSES)])
    recipe = MLPRecipe("mlp", CLASSES, EPOCHS) if net == "mlp" else recipe_for(net, CLASSES, EPOCHS)
    return model.eval(), Split.by_class(samples, samples[:100], forget=[FORGET]), recipe


def measure(net: str, threads: int, out: Any) -> None:
    """Estimate and run each of METHODS, by turns, REPEATS times, and say what it takes."""
    torch.set_num_threads(threads)
    model, split, recipe = case(net)
    # The first call in a process loads and builds what later ones find.
    unlearn(model, split, settings("neggrad"), recipe=recipe)
    told: dict[str, list[dict[str, Any]]] = {}
    for name in METHODS * REPEATS:
        wall, busy = time.perf_counter(), time.process_time()
        said = estimate(model, split, settings(name), recipe=recipe)
        between = time.perf_counter()
        with peak(Engine()) as memory:
            done = unlearn(model, split, settings(name), recipe=recipe)
        share = (time.process_time() - busy) / (time.perf_counter() - wall) / threads
        told.setdefault(name, []).append(
            {
                "estimated": {"seconds": said["seconds"], "memory": said["peak_memory_bytes"], "passes": said["passes"], "took": between - wall},
                "measured": {"seconds": done.seconds, "memory": memory[0], "passes": done.passes},
                "ratio_seconds": said["seconds"] / done.seconds,
                "ratio_memory": said["peak_memory_bytes"] / memory[0],
                "processor_share": share,
            }
        )
    out.put(told)


def main(out: str) -> None:
    """Measure each network and method, and write the record."""
    rows, spawn = [], multiprocessing.get_context("spawn")
    for net in NETS:
        queue = spawn.Queue()
        process = spawn.Process(target=measure, args=(net, torch.get_num_threads(), queue))
        process.start()
        told: dict[str, list[dict[str, Any]]] = queue.get(timeout=3600)
        process.join()
        for name, turns in told.items():
            ratios = {key: [turn[key] for turn in turns] for key in ("ratio_seconds", "ratio_memory")}
            middle = sorted(turns, key=lambda t: t["ratio_seconds"])[len(turns) // 2]
            rows.append({"network": net, "method": name, "images": NETS[net][2], **middle, "all_ratios": ratios})
            print(net, name, {k: [round(r, 2) for r in v] for k, v in ratios.items()}, f"{middle['measured']['seconds']:.2f} s, {middle['processor_share']:.0%}", flush=True)
        _write(out, rows)


def _write(out: str, rows: list[dict[str, Any]]) -> None:
    worst = {what: max(max(r[f"ratio_{what}"], 1 / r[f"ratio_{what}"]) for r in rows) for what in ("seconds", "memory")}
    about = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine(), "threads": torch.get_num_threads(), "cores": os.cpu_count()}
    record = {"about": about, "repeats": REPEATS, "epochs_of_recipes": EPOCHS, "rows": rows, "worst_factor": worst}
    Path(out).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    print("worst factor so far", worst, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
