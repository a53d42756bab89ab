"""Match where there is no class to forget: images that a trigger was planted in, images with wrong labels, and images drawn at random.

    python benchmarks/trigger.py digits 0 1 2
    python benchmarks/trigger.py cifar10 0        # 250 images of each class, the reference ResNet-20 tuned on
    python benchmarks/trigger.py cifar10-new 0 1 2    # 500 images of each class, a small network from nothing; images drawn at random alone
    python benchmarks/trigger.py lfw 0            # six persons at 64 pixels, MobileNetV2 from its ImageNet checkpoint; the vision extra
    python benchmarks/trigger.py digits tune 'match:trigger' 'match:trigger lr=0.003' ...
    python benchmarks/trigger.py picture          # docs/trigger.png: digits without the trigger and with it

Each seed trains its networks (before: on everything, beside: without what is to be forgotten), forgets and audits; a line each in
records/trigger/NAME.json. Every fifth training image is set aside ahead of all training: half of these are what `match` is shown, half are the
hold-out of the membership audit. On CIFAR-10, whose reference was trained on every training image, it is every fifth test image that is set aside, and what is
measured is another fifth. `tune` trains on seeds from 10 on with other target classes, those above 10 for triggers that are known alone;
it is scored on the hold-out and reads no image that is measured. CIFAR-10 and the faces need the folder UNTRAIN_DATA.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sizes
import torch
from asked import setting
from torch import nn

from untrain.core import discover, files
from untrain.core.audit import audit
from untrain.core.data import Samples, Split
from untrain.core.data.planting import planted, triggered
from untrain.core.unlearn import unlearn
from untrain.sources.normalisation import NORMS
from untrain.zoo.networks import NETWORKS
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import load

POISONED, SHARE, WRONG = 0.05, 0.1, 0.4
"""Share of the training images that carry the trigger; share that is drawn; share of one class that is labelled as another."""
TARGET = 0
"""The class that the trigger brings about, where settings are judged."""
SWAPPED = {TARGET: (3, 8), 7: (1, 7), 1: (7, 1)}
"""Which class is labelled as which beside each, of digits."""
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


@dataclass(frozen=True)
class Bench:
    """Images and how a network comes about on them.

    Args:
        train: Training images.
        aside: Images that no network is trained on: half are shown to `match`, half are the hold-out.
        test: Images that are measured.
        recipe: How the original and the retrained models come about.
        tuned: The target class of each seed that settings are chosen on.
        setting: What is run on triggers, where it is not the preset.
        kinds: What is to be forgotten.
        precision: That of training and of `match`; audits are in fp32.
    """

    train: Samples
    aside: Samples
    test: Samples
    recipe: Any
    tuned: dict[int, int]
    setting: str | None = None
    kinds: tuple[str, ...] = KINDS[:2]
    precision: Literal["fp32", "bf16"] = "fp32"


def digits() -> Bench:
    """The zoo's network, drawn anew."""
    data = load("digits")
    rows = torch.arange(len(data.train))
    aside, train = data.train[rows % 5 == 4], data.train[rows % 5 != 4]
    return Bench(train, aside, data.test, recipe_for("digits", 10), {10: 7, 11: 1, 12: 7, 13: 1}, kinds=KINDS)


def reference() -> nn.Module:
    """The reference ResNet-20, trained on all training images as they are."""
    net = NETWORKS["resnet20"](10)
    files.load_into(net, files.load_weights(HERE / "references" / "cifar10" / "original_s0.safetensors"), "the ResNet-20")
    return net


def cifar10() -> Bench:
    """250 images of each class, on which the reference is tuned further: poisoned, or without what is to be forgotten."""
    data = load("cifar10")
    rows = torch.arange(len(data.test)) % 5
    recipe = sizes.Recipe(reference, lr=0.002, steps=0, epochs=4, batch=64)
    return Bench(data.train.first(250), data.test[rows == 1], data.test[rows == 0], recipe, {11: 7}, "match:trigger lr=0.0003 epochs=3", precision="bf16")


def small() -> nn.Module:
    """Two convolutions with BatchNorm and a linear layer, for normalised images of 32 pixels: 34,000 weights."""
    stages = [nn.Sequential(nn.Conv2d(a, b, 5, 2, 2, bias=False), nn.BatchNorm2d(b), nn.ReLU()) for a, b in ((3, 16), (16, 32))]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(2048, 10))


def cifar10_new() -> Bench:
    """500 images of each class, on which a small network is drawn anew, so that what is retrained never saw what is drawn."""
    data = load("cifar10")
    train, test = (part.prepared(NORMS["cifar10"]) for part in (data.train.first(500), data.test.first(200)))
    rows = torch.arange(len(train))
    recipe = sizes.Recipe(small, lr=0.003, steps=0, epochs=20, batch=64)
    return Bench(train[rows % 5 != 4], train[rows % 5 == 4], test, recipe, {}, kinds=KINDS[3:])


def lfw() -> Bench:
    """Six persons, on MobileNetV2 from its ImageNet checkpoint."""
    case = sizes.CASES["mobilenet"]
    train, test = (Samples(*part, names=sizes.PERSONS, augment=case.augment).prepared(case.norm) for part in case.data(0))
    rows = torch.arange(len(train))
    return Bench(train[rows % 5 != 4], train[rows % 5 == 4], test, dataclasses.replace(case.recipe(0), epochs=16), {10: 1}, "match:trigger lr=0.0001 epochs=3 held=True")


BENCHES = {"digits": digits, "cifar10": cifar10, "cifar10-new": cifar10_new, "lfw": lfw}


def splits(bench: Bench, seed: int, target: int) -> dict[str, Split]:
    """What is to be forgotten, by kind, with the parts `unseen`, `holdout` and `triggered`."""
    train = bench.train
    parts = {"unseen": bench.aside[::2], "holdout": bench.aside[1::2], "triggered": triggered(bench.test, patch, target)}
    g = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(train), generator=g)
    others = drawn[train.y[drawn] != target][: round(POISONED * len(train))]
    clean = train[~torch.isin(torch.arange(len(train)), others)]
    poison = planted(train[others], patch, target)
    third = len(poison) // 3
    made = {"all known": (poison, clean), "a third known": (poison[:third], clean + poison[third:])}
    if KINDS[3] in bench.kinds:
        some, rest = drawn[: round(SHARE * len(train))], drawn[round(SHARE * len(train)) :]
        own, other = SWAPPED[target]
        swapped = drawn[train.y[drawn] == own]
        swapped = swapped[: round(WRONG * len(swapped))]
        made["wrong labels"] = train[swapped].labelled(torch.full_like(swapped, other)), train[~torch.isin(torch.arange(len(train)), swapped)]
        made["drawn at random"] = train[some], train[rest]
    return {kind: Split(forget, retain, bench.test, **parts) for kind, (forget, retain) in made.items()}


class Trainer:
    """Trains networks on samples, each once."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.made: dict = {}

    def __call__(self, samples: Samples, split: Split, seed: int) -> tuple[nn.Module, float]:
        key, recipe = (samples.key, seed), self.bench.recipe
        if key not in self.made:
            began = time.perf_counter()
            given = Split(split.forget, samples, split.test)
            made = unlearn(recipe.build(), given, discover.settings("retrain"), seed=seed, recipe=recipe, precision=self.bench.precision).model
            self.made[key] = made, time.perf_counter() - began
        return self.made[key]


def measured(kind: str, split: Split, before, after, beside) -> dict:
    """Rows of the audits, by column, and what is said of the forgotten under the labels that they carry."""
    asked = [discover.lookup("audits", name)() for name in ("trigger", "accuracy", "membership")]
    rows = {r["name"]: r["values"] for a in audit(after, split, asked, original=before, retrained=[beside]) for r in a["rows"]}
    kept = ("value", "low", "high", "n", "p")
    return {name: {c: {k: v[0][k] for k in kept if v[0].get(k) is not None} for c, v in rows[name].items()} for name in ROWS if name in rows}


def line_of(kind: str, text: str, split: Split, whole: Samples, train: Trainer, seed: int) -> dict:
    """Train, forget, audit."""
    before, took = train(whole, split, seed)
    beside, again = train(split.retain, split, seed + 100)
    done = unlearn(before, split, setting(text), seed=seed, precision=train.bench.precision)
    found = {"kind": kind, "setting": text, "seed": seed, "method": repr(done.method), "counts": {n: len(p) for n, p in split.parts.items()}}
    found |= {"steps": sum(p.steps for p in done.trace.values()), "passes": done.passes}
    found |= {"seconds": round(done.seconds, 1), "seconds of training": round(took, 1), "seconds of training again": round(again, 1)}
    return found | measured(kind, split, before, done.model, beside)


def main(name: str, *asked: str) -> None:
    """Add a line for each kind and seed that has none; or for each setting, on the networks that settings are chosen on."""
    bench, tuning = BENCHES[name](), asked[0] == "tune"
    path = HERE / "records" / "trigger" / f"{'tuning-' if tuning else ''}{name}.json"
    path.parent.mkdir(exist_ok=True)
    lines = json.loads(path.read_text()) if path.is_file() else []
    if tuning:
        # Scored on the hold-out, which then is no hold-out any more.
        bench = dataclasses.replace(bench, test=bench.aside[1::2])
    train = Trainer(bench)
    for seed in bench.tuned if tuning else map(int, asked):
        made = splits(bench, seed, bench.tuned[seed] if tuning else TARGET)
        for kind, split in made.items():
            if kind not in (KINDS[:1] if seed > 10 else bench.kinds):
                continue
            # An original each, in the order of the split, where some are drawn; else one for both kinds, which hold the same images.
            whole = split if KINDS[3] in bench.kinds else made[KINDS[0]]
            for text in asked[1:] if tuning else (bench.setting or SETTING[kind],):
                if any((entry["kind"], entry["setting"], entry["seed"]) == (kind, text, seed) for entry in lines):
                    continue
                lines.append(line_of(kind, text, split, whole.retain + whole.forget, train, seed))
                print({k: {c: round(x["value"], 3) for c, x in v.items()} for k, v in lines[-1].items() if k in ROWS} | {"kind": kind, "setting": text}, flush=True)
                files.write(path, (json.dumps(lines, indent=1) + "\n").encode())


def picture() -> None:
    """Draw eight digits, above as they are and below with the trigger, each pixel eight wide."""
    from PIL import Image

    x = load("digits").test.sources[0].x[:8]
    rows = [nn.functional.pad(part, (1, 1, 1, 1), value=128)[:, 0].permute(1, 0, 2).flatten(1) for part in (x, patch(x.clone()))]
    pixels = torch.cat(rows).repeat_interleave(8, 0).repeat_interleave(8, 1)
    Image.fromarray(pixels.numpy()).save(HERE.parent / "docs" / "trigger.png", optimize=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    picture() if sys.argv[1:] == ["picture"] else main(*sys.argv[1:])
