"""Settings are chosen here: on networks of our own, held-out images, classes that no verdict uses, seeds other than 0, 1 and 2.

    python benchmarks/tune.py cifar10 WEIGHTS OUT.json 'unsir' 'unsir impair_lr=0.004' ...

WEIGHTS is what `untrain train --model resnet20 --data cifar10 --holdout-every 10 --seed 10 --precision bf16` wrote (for cifar100
with `--epochs 24`): every tenth training image (index % 10 == 9) was held out, and is what is scored. No test image is read.
For digits `untrain train --model digits --data digits --holdout-every 5 --seed 10` wrote them, and every fifth is held out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from asked import setting

from untrain.core import discover, files
from untrain.core.audit import audit
from untrain.core.data import Split
from untrain.core.unlearn import unlearn
from untrain.zoo.networks import NETWORKS
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import load

CLASSES = {"cifar10": (1, 4, 6, 8), "cifar100": (14, 72), "digits": (1, 7)}
SEED = 3


def main(name_of_data: str, weights: str, out: str, *settings: str) -> None:
    """Score each setting on each class, and add a line each to OUT."""
    data = load(name_of_data)
    small = name_of_data == "digits"
    every, network, precision = (5, "digits", "fp32") if small else (10, "resnet20", "bf16")
    held = torch.arange(len(data.train)) % every == every - 1
    model = NETWORKS[network](data.classes)
    files.load_into(model, files.load_weights(Path(weights)), weights)
    path = Path(out)
    lines = json.loads(path.read_text()) if path.is_file() else []
    audits = [discover.lookup("audits", name)() for name in ("accuracy", "prototype")]
    subjects: dict = {}
    recipe = recipe_for(network, data.classes, None if name_of_data != "cifar100" else 24)
    for text in settings:
        method = setting(text)
        for label in CLASSES[name_of_data]:
            if any(line["setting"] == text and line["class"] == label for line in lines):
                continue
            split = Split.by_class(data.train[~held], data.train[held], forget=[label])
            if "unseen" in method.needs:
                # What it is shown is not what it is scored on.
                split = split.replaced(unseen=split.test[::2], test=split.test[1::2])
            result = unlearn(model, split, method, seed=SEED, precision=precision, recipe=recipe)
            rows = {r["name"]: r["values"] for a in audit(result.model, split, audits, original=model, subjects=subjects) for r in a["rows"]}
            subjects.pop(id(result.model))
            line = {"setting": text, "class": label, "seed": SEED, "passes": result.passes, "seconds": round(result.seconds, 1)}
            for key in ("forgotten, test", "retained, test", "one-shot prototype", "head-reset relearning"):
                line[key.replace("test", "held out")] = {c: round(v[0]["value"], 4) for c, v in rows[key].items() if v}
            lines.append(line)
            print(line, flush=True)
            files.write(path, (json.dumps(lines, indent=1) + "\n").encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
