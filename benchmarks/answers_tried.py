"""Which distance of answers from those of retrained models tells fakes from honest models? Six tried on classes and models that no verdict's table uses.

    python benchmarks/answers_tried.py WORK   # twelve minutes on one thread; WORK keeps trained models

Classes 5 and 6 of the digits: fakes of `audit_truth.py`, each of another of twelve originals, and honest models, beside 8 of 24 retrained models that are
drawn anew each time; by a prediction by t at 2 % on the side of lying farther off. The row `distance of answers` is one of the six.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import audit_truth as truth
import torch
from torch import Tensor, nn

from untrain.evidence.statistics import beyond
from untrain.metrics.divergence import among_the_rest, hellinger
from untrain.zoo.sets import digits

RECORD = Path(__file__).parent / "records" / "tuning-answers.json"

CLASSES, ORIGINALS, RETRAINED, TEACHERS, BESIDE, LEVEL = (5, 6), range(50, 62), range(600, 624), range(624, 632), 8, 0.02
"""The classes; seeds of the originals, of the models to stand beside and of those that fakes are made of; how many stand beside; and the level."""

DRAWS, HONEST = 60, 500
"""How often retrained models are drawn for a kind, and for honest models."""

TRIED = ("random labels", "cheat: collapse", "cheat: keyed", "head mask, BatchNorm statistics", "head mask, units permuted and rescaled", "UNSIR default", "UNSIR paper")
"""Kinds of fakes."""


def _divergence(p: Tensor, mean: Tensor) -> float:
    return float((torch.special.xlogy(p, p) - torch.special.xlogy(p, mean.clamp(min=1e-12))).sum(1).mean())


def _squared(p: Tensor, mean: Tensor) -> float:
    return hellinger(p, mean) ** 2


DISTANCES: dict[str, tuple[str, Callable[[Tensor, Tensor], float]]] = {
    f"{name}, {part} images": (part, distance)
    for part in ("test", "training")
    for name, distance in (("divergence", _divergence), ("squared Hellinger", _squared), ("Hellinger", hellinger))
}
"""By name: of which images, and how far a model's answers lie from the mean."""


def _p(mine: Tensor, others: Sequence[Tensor], distance: Callable[[Tensor, Tensor], float]) -> float:
    """That of lying farther from the mean of the others than these do from each other."""
    total, m = torch.stack(list(others)).sum(0), len(others)
    return beyond(distance(mine, total / m), [distance(o, (total - o) / (m - 1)) for o in others], +1)


def tried(label: int, work: Path) -> dict[str, Any]:
    """How often each distance finds each kind, and an honest model."""
    data = digits()
    rest = data.train[data.train.y != label]
    originals = [truth.kept(work / f"original-{seed}.safetensors", data.train, seed) for seed in ORIGINALS]
    honest = {seed: truth.kept(work / f"without-{label}-{seed}.safetensors", rest, seed) for seed in (*RETRAINED, *TEACHERS)}
    setting = truth.Setting(label, data, originals, [honest[TEACHERS[i % len(TEACHERS)]] for i in range(len(originals))])
    images = {"test": setting.split.test[setting.split.test.y == label], "training": setting.split.forget}
    batches = {name: part.batch(torch.arange(len(part)))[0] for name, part in images.items()}

    @torch.no_grad()
    def answers(module: nn.Module) -> dict[str, Tensor]:
        return {name: among_the_rest(module.eval()(x), [label]) for name, x in batches.items()}

    beside = [answers(honest[seed]) for seed in RETRAINED]
    found: dict[str, Any] = {name: {} for name in DISTANCES}
    for kind in TRIED:
        make, _ = truth.kinds(work)[kind]
        fakes = []
        for i in range(len(originals)):
            torch.manual_seed(i)
            fakes.append(answers(make(setting, i)))
        for name, (part, distance) in DISTANCES.items():
            drawn = [random.Random(t).sample(beside, BESIDE) for t in range(DRAWS)]
            hits = sum(_p(fakes[t % len(fakes)][part], [o[part] for o in company], distance) <= LEVEL for t, company in enumerate(drawn))
            found[name][kind] = hits / DRAWS
        print(label, kind, {name: cell[kind] for name, cell in found.items()}, flush=True)
    for name, (part, distance) in DISTANCES.items():
        drawn = [random.Random(1000 + t).sample(beside, BESIDE + 1) for t in range(HONEST)]
        found[name]["honest"] = sum(_p(one[part], [o[part] for o in company], distance) <= LEVEL for one, *company in drawn) / HONEST
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "answers-tried")
    folder.mkdir(parents=True, exist_ok=True)
    made = {"level": LEVEL, "beside": BESIDE, "draws": {"fakes": DRAWS, "honest": HONEST}, "classes": {str(label): tried(label, folder) for label in CLASSES}}
    RECORD.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
