"""How much memory a set larger than memory takes: peak over 1, 2 and 4 GB of images, each in a process of its own.

    python benchmarks/memory.py OUT.json

Images are made for the purpose and deleted after: 224 x 224 pixels of three bytes, uncompressed (BMP), so that a GB on disk is a GB decoded.
Each process reads the folder (hashing and decoding every image once), forgets a class by fine-tuning over every retained image, and lets the
result answer for every training and test image. The network is small, so that what is measured is the data's share.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from untrain.core.data import Norm
from untrain.core.engine import Engine, peak_memory
from untrain.core.network import Network
from untrain.core.train import predict
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune
from untrain.verbs.given import given_data, split_of

SIDE, CLASSES, GIGABYTES, BATCH = 224, 10, (1, 2, 4), 32
PIXELS = SIDE * SIDE * 3


def make(folder: Path, gigabytes: float) -> int:
    """Write so many images; how many."""
    from PIL import Image

    n, random = int(gigabytes * 1e9 / PIXELS), np.random.default_rng(0)
    noise = random.integers(0, 256, 2 * PIXELS, dtype=np.uint8)
    for i in range(n):
        path = folder / f"class{i % CLASSES}" / f"{i:06d}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        start = int(random.integers(PIXELS))
        Image.fromarray(noise[start : start + PIXELS].reshape(SIDE, SIDE, 3)).save(path)
    return n


class Small(nn.Sequential):
    """A network whose own memory is little."""

    norm = Norm((0.5,) * 3, (0.25,) * 3)


def measure(folder: Path) -> dict[str, float]:
    """Forget a class of this folder, and say what it took."""
    torch.manual_seed(0)
    model = Small(nn.Conv2d(3, 8, 7, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES))
    began = time.perf_counter()
    before = peak_memory(Engine())
    data = given_data(str(folder))
    read = time.perf_counter()
    split = split_of(data, "class:class3")
    result = unlearn(model, split, FineTune(samples=10**9, epochs=1, batch=BATCH, augment=False))
    touched = 0
    for part in (data.train, data.test):
        logits, _, _ = predict(Network(result.model), part.prepared(model.norm))
        touched += len(logits)
    ended = time.perf_counter()
    return {
        "peak_memory_bytes": peak_memory(Engine()),
        "before_reading_bytes": before,
        "images": len(data.train) + len(data.test),
        "answered": touched,
        "steps": result.trace["finetune"].steps,
        "seconds_reading": read - began,
        "seconds_after": ended - read,
        "lazy": all(source.lazy for source in data.train.sources),
    }


def main(out: str) -> None:
    """Measure each size and write the record."""
    found = {}
    for gigabytes in GIGABYTES:
        folder = Path(tempfile.mkdtemp(prefix="untrain-memory-"))
        try:
            make(folder / "images", gigabytes)
            environment = os.environ | {"UNTRAIN_CACHE": str(folder / "cache")}
            told = subprocess.run([sys.executable, __file__, "--one", str(folder / "images")], env=environment, check=True, capture_output=True, text=True)
        finally:
            shutil.rmtree(folder)
        found[f"{gigabytes} GB"] = json.loads(told.stdout)
        print(gigabytes, found[f"{gigabytes} GB"], flush=True)
    peaks = [entry["peak_memory_bytes"] for entry in found.values()]
    about = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine(), "threads": torch.get_num_threads()}
    record = {
        "about": about,
        "images": f"{SIDE} x {SIDE} x 3 bytes, uncompressed BMP, {PIXELS} bytes of pixels each; 1 GB is 10^9 bytes",
        "batch": BATCH,
        "found": found,
        "peak_memory_differs_by_bytes": max(peaks) - min(peaks),
    }
    Path(out).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    print(f"peaks differ by {(max(peaks) - min(peaks)) / 1e6:.1f} MB")


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        main(sys.argv[1])
