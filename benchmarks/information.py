"""Does the information difference order methods as its paper does? Five methods on the digits: what docs/limits.md says of it.

    python benchmarks/information.py WORK     # some minutes on one thread; WORK keeps trained models

Classes 5 and 6, three originals, beside three retrained models of each class. The paper's order, from what is the original's to what is a retrained
model's: head only, SalUn, random labels, ascent, SCRUB (Jeon et al., 2024, arXiv:2405.17878, ResNet-18 on CIFAR-10).
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import audit_truth as truth
import torch

from untrain.audits.accuracy import Accuracy
from untrain.audits.likeness import Likeness
from untrain.core.audit import audit
from untrain.core.data import Split
from untrain.core.discover import settings
from untrain.core.engine import Engine
from untrain.core.unlearn import environment, unlearn
from untrain.evidence.record import finite
from untrain.zoo.sets import digits

RECORD = Path(__file__).parent / "records" / "information.json"
METHODS, CLASSES, ORIGINALS = ("headonly", "salun", "randomlabel", "neggrad", "scrub"), (5, 6), 3
TOLD = ("information difference", "forgotten neighbour's percentile", "forgotten, test", "retained, test")


def run(work: Path) -> dict[str, Any]:
    """Train, unlearn and measure."""
    data, cells = digits(), []
    for label in CLASSES:
        split = Split.by_class(data.train, data.test, forget=[label])
        retrained = [truth.kept(work / f"without-{label}-{seed}.safetensors", split.retain, seed) for seed in range(900, 903)]
        for seed in range(ORIGINALS):
            original = truth.kept(work / f"original-{seed}.safetensors", data.train, seed)
            for name in METHODS:
                module = unlearn(copy.deepcopy(original), split, settings(name), seed=seed).model
                entries = audit(module, split, [Likeness(), Accuracy()], original=original, retrained=retrained)
                rows = {row["name"]: row["values"]["unlearned"] for entry in entries for row in entry["rows"]}
                cells.append({"class": label, "original": seed, "method": name, **{told: rows[told][0]["value"] if rows.get(told) else None for told in TOLD}})
                print(cells[-1], flush=True)
    made: dict[str, Any] = finite({"schema": "untrain.information/1", "order": METHODS, "cells": cells, "environment": environment(Engine().report())})
    return made


if __name__ == "__main__":
    torch.set_num_threads(1)
    work = Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(run(work), indent=1) + "\n", encoding="utf-8")
