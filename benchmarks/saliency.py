"""Grad-CAM on a few fixed test images, before and after: of the original, of what UNSIR's defaults leave of it, and of a retrained model.

    python benchmarks/saliency.py OUT.json

The scenario is questions.toml beside this file: its model, data, first class and seed. Needs the extra `saliency` (Captum).
A map is that of the last convolution stage for the image's own class, negative evidence cut off, over its own peak.
Computed in fp32 in evaluation mode; the images stand in the record.
"""

from __future__ import annotations

import base64
import copy
import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor, nn

from untrain.bench.scenario import Scenario
from untrain.core import files
from untrain.core.data import Samples, Split
from untrain.core.unlearn import prepared, unlearn
from untrain.evidence import record
from untrain.verbs.given import given_model
from untrain.verbs.pictures import png
from untrain.zoo.sets import load

SCHEMA, LAYER = "untrain.saliency/1", "layer3"
MINE, OTHERS = 4, (5, 8)
"""Test images shown: the first so many of the forgotten class, and the first of each of these."""


def main(out: str) -> None:
    """Unlearn, look, write."""
    scenario = Scenario.read(Path(__file__).with_name("questions.toml"))
    cell = scenario.cells[0]
    data = load(cell.inputs.data)
    given = given_model(cell.inputs.model, data.classes, weights=scenario.weights(cell))
    split = Split.by_class(data.train, data.test, forget=cell.classes)
    result = unlearn(given.module, split, cell.method, seed=cell.inputs.seed, precision=cell.inputs.precision, norm=given.norm)
    beside = scenario.references(cell.asked)[0]
    models = {
        "original": (given.module, scenario.weights(cell).name),
        "unlearned": (result.model, cell.setting),
        "retrained": (given_model(cell.inputs.model, data.classes, weights=beside).module, beside.name),
    }
    y = data.test.y
    rows = torch.cat([(y == c).nonzero().flatten()[:n] for c, n in ((cell.classes[0], MINE), *((c, 1) for c in OTHERS))])
    shown = prepared(given.module, Split.by_class(data.train, data.test[rows], forget=cell.classes), given.norm).test
    looked = {column: look(module, shown) for column, (module, _) in models.items()}
    found = {
        "schema": SCHEMA,
        "model": cell.inputs.model,
        "data": {"name": data.name, "sha256": data.sha256},
        "classes": list(cell.classes),
        "seed": cell.inputs.seed,
        "settings": asdict(cell.method),
        "layer": LAYER,
        "tool": f"captum {version('captum')}, torch {torch.__version__}",
        "models": [{"column": c, "file": file, "sha256": files.weights_hash(module.state_dict())} for c, (module, file) in models.items()],
        "images": [
            {
                "index": int(row),
                "label": int(y[row]),
                "truth": data.test.names[int(y[row])],
                "png": base64.b64encode(png(raw(data.test, row))).decode(),
                "maps": {c: maps[i] | {"alike": alike(maps[i]["map"], looked["original"][i]["map"])} for c, maps in looked.items()},
            }
            for i, row in enumerate(rows)
        ],
    }
    files.write(Path(out), (json.dumps(record.finite(found), indent=1, sort_keys=True) + "\n").encode())
    print(f"{out}: {len(rows)} images")


def look(module: nn.Module, shown: Samples) -> list[dict]:
    """Of each image its map [h, w] over its peak, the peak, and what the model says."""
    # A copy, since hooks go into it.
    model = copy.deepcopy(module).eval()
    x, y = shown.batch(torch.arange(len(shown)))
    cam = LayerGradCam(model, model.get_submodule(LAYER)).attribute(x, target=y, relu_attributions=True).detach().squeeze(1)
    with torch.no_grad():
        chances, said = F.softmax(model(x), dim=1).max(1)
    peaks = cam.flatten(1).max(1).values
    return [
        {
            "map": [[round(v, 3) for v in line] for line in (m / p if p > 0 else m).tolist()],
            "peak": float(p),
            "said": {"name": shown.names[int(s)], "probability": float(c)},
        }
        for m, p, s, c in zip(cam, peaks, said, chances, strict=True)
    ]


def alike(one: list, other: list) -> float | None:
    """Correlation of two maps; None where one is flat."""
    a, b = (torch.tensor(m).flatten() for m in (one, other))
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1]) if a.std() > 0 and b.std() > 0 else None


def raw(samples: Samples, row: Tensor) -> Tensor:
    """An image's own bytes [c, h, w]."""
    return samples.sources[0].raw(samples.index[row].reshape(1))[0]


if __name__ == "__main__":
    main(sys.argv[1])
