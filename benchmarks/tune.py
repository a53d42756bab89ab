"""Settings are chosen here: on networks of our own, held-out images, classes that no verdict uses, seeds other than 0, 1 and 2.

    python benchmarks/tune.py cifar10 WEIGHTS OUT.json 'unsir' 'unsir impair_lr=0.004' ...

WEIGHTS is what `untrain train --model resnet20 --data cifar10 --holdout-every 10 --seed 10 --precision bf16` wrote (for cifar100
with `--epochs 24`): every tenth training image (index % 10 == 9) was held out, and is what is scored. No test image is read.
For digits `untrain train --model digits --data digits --holdout-every 5 --seed 10` wrote them, and every fifth is held out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from asked import setting
from torch import nn

from untrain.core import discover, files
from untrain.core.audit import Subject, audit
from untrain.core.data import Samples, Split
from untrain.core.engine import Precision
from untrain.core.unlearn import Result, unlearn
from untrain.zoo.networks import NETWORKS
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import load

CLASSES = {"cifar10": (1, 4, 6, 8), "cifar100": (14, 72), "digits": (1, 7)}
SEED = 3


@dataclass
class Ground:
    """What settings are tried on.

    Args:
        model: The network.
        train: What it was trained on.
        held: Training images that were held out.
        classes: What is forgotten, one class a run.
        recipe: How the network came about.
        precision: Of the runs.
    """

    model: nn.Module
    train: Samples
    held: Samples
    classes: tuple[int, ...]
    recipe: Any
    precision: Precision
    subjects: dict[int, Subject] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, weights: Path) -> Ground:
        """The ground of a data set, with the weights of the network that was trained without what is held out."""
        data, small = load(name), name == "digits"
        every, network, precision = (5, "digits", "fp32") if small else (10, "resnet20", "bf16")
        held = torch.arange(len(data.train)) % every == every - 1
        model = NETWORKS[network](data.classes)
        files.load_into(model, files.load_weights(weights), str(weights))
        recipe = recipe_for(network, data.classes, None if name != "cifar100" else 24)
        return cls(model, data.train[~held], data.train[held], CLASSES[name], recipe, precision)

    def run(self, method: Any, label: int, audits: Sequence[str]) -> tuple[Result, dict[str, Any]]:
        """Forget a class, and what audits measure, by row; the held-out images are its `test`."""
        split = Split.by_class(self.train, self.held, forget=[label])
        if "unseen" in method.needs:
            # What it is shown is not what it is scored on.
            split = split.replaced(unseen=split.test[::2], test=split.test[1::2])
        result = unlearn(self.model, split, method, seed=SEED, precision=self.precision, recipe=self.recipe)
        asked = [discover.lookup("audits", name)() for name in audits]
        rows = {r["name"]: r["values"] for a in audit(result.model, split, asked, original=self.model, subjects=self.subjects) for r in a["rows"]}
        self.subjects.pop(id(result.model))
        return result, rows


def main(name_of_data: str, weights: str, out: str, *settings: str) -> None:
    """Score each setting on each class, and add a line each to OUT."""
    ground, path = Ground.of(name_of_data, Path(weights)), Path(out)
    lines = json.loads(path.read_text()) if path.is_file() else []
    for text in settings:
        for label in ground.classes:
            if any(line["setting"] == text and line["class"] == label for line in lines):
                continue
            result, rows = ground.run(setting(text), label, ("accuracy", "prototype"))
            line = {"setting": text, "class": label, "seed": SEED, "passes": result.passes, "seconds": round(result.seconds, 1)}
            for key in ("forgotten, test", "retained, test", "one-shot prototype", "head-reset relearning"):
                line[key.replace("test", "held out")] = {c: round(v[0]["value"], 4) for c, v in rows[key].items() if v}
            lines.append(line)
            print(line, flush=True)
            files.write(path, (json.dumps(lines, indent=1) + "\n").encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
