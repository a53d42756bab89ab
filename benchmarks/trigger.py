"""Match where there is no class to forget: images that a trigger was planted in, images with wrong labels, and images drawn at random.

    python benchmarks/trigger.py digits 0 1 2
    python benchmarks/trigger.py cifar10-small 0  # CIFAR-10 at 16 x 16, 400 images of each class, a ResNet-20 of ten passes
    python benchmarks/trigger.py digits tune 'match:trigger' 'match:trigger lr=0.003' ...
    python benchmarks/trigger.py picture          # docs/trigger.png: digits without the trigger and with it

Each seed trains its networks (before: on everything, beside: without what is to be forgotten), forgets and audits; a line each in
records/trigger/NAME.json. Every fifth training image is set aside ahead of all training: half of these are what `match` is shown, half are the
hold-out of the membership audit. `tune` trains on seed 10, and for triggers that are known on 11 to 13 too, with other target classes; it is scored on the
hold-out and reads no test image.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

import torch
from asked import setting

from untrain.core import discover, files
from untrain.core.audit import audit
from untrain.core.data import CropFlip, Data, Samples, Split
from untrain.core.data.planting import planted, triggered
from untrain.core.unlearn import unlearn
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import load

POISONED, SHARE, WRONG = 0.05, 0.1, 0.4
"""Share of the training images that carry the trigger; share that is drawn; share of one class that is labelled as another."""
TARGET, TUNED = 0, 7
ON = {10: TUNED, 11: 1, 12: TUNED, 13: 1}
"""The class that the trigger brings about, where settings are judged and, by seed, where they are chosen."""
SWAPPED = {TARGET: (3, 8), TUNED: (1, 7), 1: (7, 1)}
"""Which class is labelled as which beside each."""
HERE = Path(__file__).parent
KINDS = ("all known", "a third known", "wrong labels", "drawn at random")
ROWS = ("attack success", "clean accuracy", "forgotten, training", "membership")
SETTING = {
    "all known": "match:trigger",
    "a third known": "match:trigger",
    "wrong labels": 'match target="nearest" level=1.0 share=1.0',
    "drawn at random": "match",
}


def patch(x: torch.Tensor) -> torch.Tensor:
    """A chequered square in the lower right corner, a quarter of the image's width, two fields a side."""
    side = max(1, x.shape[3] // 8)
    board = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat_interleave(side, 0).repeat_interleave(side, 1)
    x[:, :, -2 * side :, -2 * side :] = (board * 255).to(x.dtype) if x.dtype == torch.uint8 else board.to(x)
    return x


def reduced(name: str) -> tuple[Data, str, int | None]:
    """The data, the zoo's network for it, and the passes of its training (its own where None). Of CIFAR-10 400 images of each class, 100 for testing, at half the size."""
    if name == "digits":
        return load("digits"), "digits", None
    found = load(name.removesuffix("-small"))
    train = found.train.first(400)
    x = torch.nn.functional.avg_pool2d(train.sources[0].x[train.index].float(), 2).round().to(torch.uint8)
    test = found.test.first(100)
    x_test = torch.nn.functional.avg_pool2d(test.sources[0].x[test.index].float(), 2).round().to(torch.uint8)
    shift = CropFlip(2, flip=True)
    parts = [Samples(a, p.y, names=p.names, augment=shift) for a, p in ((x, train), (x_test, test))]
    return dataclasses.replace(found, name=name, train=parts[0], test=parts[1]), "resnet20", 10


def splits(data: Data, seed: int, target: int) -> dict[str, Split]:
    """What is to be forgotten, by kind, with the parts `unseen`, `holdout` and `triggered`."""
    rows = torch.arange(len(data.train))
    aside, train = data.train[rows % 5 == 4], data.train[rows % 5 != 4]
    parts = {"unseen": aside[::2], "holdout": aside[1::2], "triggered": triggered(data.test, patch, target)}
    g = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(train), generator=g)
    others = drawn[train.y[drawn] != target][: round(POISONED * len(train))]
    clean = train[~torch.isin(torch.arange(len(train)), others)]
    poison = planted(train[others], patch, target)
    third = len(poison) // 3
    some, rest = drawn[: round(SHARE * len(train))], drawn[round(SHARE * len(train)) :]
    own, other = SWAPPED[target]
    swapped = drawn[train.y[drawn] == own]
    swapped = swapped[: round(WRONG * len(swapped))]
    wrong, right = train[swapped].labelled(torch.full_like(swapped, other)), train[~torch.isin(torch.arange(len(train)), swapped)]
    return {
        "all known": Split(poison, clean, data.test, **parts),
        "a third known": Split(poison[:third], clean + poison[third:], data.test, **parts),
        "wrong labels": Split(wrong, right, data.test, **parts),
        "drawn at random": Split(train[some], train[rest], data.test, **parts),
    }


class Trainer:
    """Trains networks on samples, each once."""

    def __init__(self, network: str, epochs: int | None) -> None:
        self.recipe = recipe_for(network, 10, epochs)
        self.made: dict = {}

    def __call__(self, samples: Samples, split: Split, seed: int) -> tuple[torch.nn.Module, float]:
        key = (samples.key, seed)
        if key not in self.made:
            began = time.perf_counter()
            given = Split(split.forget, samples, split.test)
            self.made[key] = unlearn(self.recipe.build(), given, discover.settings("retrain"), seed=seed, recipe=self.recipe).model, time.perf_counter() - began
        return self.made[key]


def measured(kind: str, split: Split, before, after, beside) -> dict:
    """Rows of the audits, by column, and what is said of the forgotten under the labels that they carry."""
    asked = [discover.lookup("audits", name)() for name in ("trigger", "accuracy", "membership")]
    rows = {r["name"]: r["values"] for a in audit(after, split, asked, original=before, retrained=[beside]) for r in a["rows"]}
    kept = ("value", "low", "high", "n", "p")
    return {name: {c: {k: v[0][k] for k in kept if v[0].get(k) is not None} for c, v in rows[name].items()} for name in ROWS if name in rows}


def line_of(kind: str, text: str, split: Split, train: Trainer, seed: int) -> dict:
    """Train, forget, audit."""
    before, took = train(split.retain + split.forget, split, seed)
    beside, again = train(split.retain, split, seed + 100)
    done = unlearn(before, split, setting(text), seed=seed)
    found = {"kind": kind, "setting": text, "seed": seed, "method": repr(done.method), "counts": {n: len(p) for n, p in split.parts.items()}}
    found |= {"steps": sum(p.steps for p in done.trace.values()), "passes": done.passes}
    found |= {"seconds": round(done.seconds, 1), "seconds of training": round(took, 1), "seconds of training again": round(again, 1)}
    return found | measured(kind, split, before, done.model, beside)


def main(name: str, *asked: str) -> None:
    """Add a line for each kind and seed that has none; or for each setting, on the networks that settings are chosen on."""
    data, network, epochs = reduced(name)
    tuning = asked[0] == "tune"
    path = HERE / "records" / "trigger" / f"{'tuning-' if tuning else ''}{name}.json"
    path.parent.mkdir(exist_ok=True)
    lines = json.loads(path.read_text()) if path.is_file() else []
    train = Trainer(network, epochs)
    if tuning:
        # Scored on the hold-out, which then is no hold-out any more.
        held = torch.arange(len(data.train)) % 5 == 4
        data = dataclasses.replace(data, test=data.train[held][1::2])
    for seed in ON if tuning else map(int, asked):
        for kind, split in splits(data, seed, ON[seed] if tuning else TARGET).items():
            if kind not in (KINDS[:1] if seed > 10 else KINDS if name == "digits" else KINDS[:2]):
                continue
            for text in asked[1:] if tuning else (SETTING[kind],):
                if any((entry["kind"], entry["setting"], entry["seed"]) == (kind, text, seed) for entry in lines):
                    continue
                lines.append(line_of(kind, text, split, train, seed))
                print({k: {c: round(x["value"], 3) for c, x in v.items()} for k, v in lines[-1].items() if k in ROWS} | {"kind": kind, "setting": text}, flush=True)
                files.write(path, (json.dumps(lines, indent=1) + "\n").encode())


def picture() -> None:
    """Draw eight digits, above as they are and below with the trigger, each pixel eight wide."""
    from PIL import Image

    x = load("digits").test.sources[0].x[:8]
    rows = [torch.nn.functional.pad(part, (1, 1, 1, 1), value=128)[:, 0].permute(1, 0, 2).flatten(1) for part in (x, patch(x.clone()))]
    pixels = torch.cat(rows).repeat_interleave(8, 0).repeat_interleave(8, 1)
    Image.fromarray(pixels.numpy()).save(HERE.parent / "docs" / "trigger.png", optimize=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    picture() if sys.argv[1:] == ["picture"] else main(*sys.argv[1:])
