"""What it takes that a class is as hard to relearn as by a model that never saw it: a ladder of changes to UNSIR, and what each costs.

    python benchmarks/deep.py                        # every line that is missing
    python benchmarks/deep.py digits 1 'unsir shrink=0.5' ...   # of these cases, classes and settings alone
    python benchmarks/deep_page.py                   # draws docs/deep.md from the record

The networks are those that settings are chosen on (benchmarks/tune.py): held-out training images are scored and no test image is read, and the
classes and seeds are none that a verdict uses. `cifar10` needs the folder UNTRAIN_DATA. What is no setting of the library stands in deep_tried.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from asked import add, read, setting
from deep_tried import TRIED
from torch import nn

from untrain.core import discover, files
from untrain.core.audit import audit
from untrain.core.data import Split
from untrain.core.unlearn import unlearn
from untrain.zoo.networks import NETWORKS
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import load

HERE = Path(__file__).resolve().parent
RECORD, TUNING = HERE / "records" / "deep" / "ladder.json", HERE / "references" / "tuning"

AUDITS = ("accuracy", "prototype", "relearn", "attack")


# Running.


@dataclass(frozen=True)
class Case:
    """A network that settings are chosen on.

    Args:
        title: What the page calls it.
        data: Name of the data.
        network: Name of the network.
        weights: The original, in the folder of references.
        every: Every so-manieth training image was held out of its training, and is scored; none where 0, and test images are.
        classes: What is forgotten, one at a time.
        seeds: Seeds of the method.
        settings: The ladder.
        retrained: Models trained without the class by the same recipe, by their seed; where there are files of them, these.
        beside: Files of retrained models, with the class for {}.
        audits: What is asked; the attack takes longest.
        ladders: Settings that stand for alpha 0 in the figure: of the usual repair, and of a longer one.
    """

    title: str
    data: str
    network: str
    weights: str
    every: int
    classes: tuple[int, ...]
    seeds: tuple[int, ...]
    settings: tuple[str, ...]
    retrained: tuple[int, ...] = ()
    beside: tuple[str, ...] = ()
    ladders: tuple[str, str] = ("unsir", "")
    audits: tuple[str, ...] = AUDITS


ALPHAS = (0.3, 0.5, 0.7, 0.9)
LONG = 2000

DIGITS = (
    "unsir",
    *(f"unsir shrink={a}" for a in ALPHAS),
    f"unsir floor={LONG}",
    *(f"unsir shrink={a} floor={LONG}" for a in ALPHAS),
    *(f"unsir repair_lr={lr} schedule='onecycle'" for lr in (0.003, 0.01, 0.03)),
    "unsir shrink=0.5 repair_lr=0.01 schedule='onecycle'",
    "unsir shrink=0.7 repair_lr=0.01 schedule='onecycle'",
    *(f"unsir impair_lr={lr}" for lr in (0.005, 0.01, 0.02, 0.05)),
    f"unsir impair_lr=0.02 floor={LONG}",
    *(f"unsir:{control} impair_lr=0.02" for control in ("plain-noise", "no-noise", "black", "wrong-sign")),
    "aimed",
    *(f"distorted sigma={s}" for s in (0.02, 0.1, 0.2)),
    *(f"scored share={s}{how}" for s in (0.01, 0.03, 0.1) for how in ("", " at_random=True")),
    *(f"away away={a}" for a in (1.0, 10.0)),
    "twice shrink=0.25",
    "undo alpha=0.6",
    "undo alpha=0.9",
)
CIFAR = ("unsir samples=4500 impair_lr=0.02", "unsir samples=4500")

DEEP = "unsir:no-noise samples=33000 impair_lr=0.01 repair='labels' repair_epochs=2 repair_lr=0.003 schedule='onecycle' batch=128"
"""The preset `deep`, in words."""

CASES = {
    "digits": Case(
        "digits, a small convolutional network",
        "digits",
        "digits",
        "digits_s10",
        5,
        (1, 7),
        (3, 4),
        DIGITS,
        retrained=(11, 12, 13, 14, 15),
        ladders=("unsir", f"unsir floor={LONG}"),
    ),
    "cifar10": Case(
        "CIFAR-10, our ResNet-20", "cifar10", "resnet20", "original_s10", 10, (8,), (3,), CIFAR, beside=("cifar10/retrain_{}_s0", "tuning/retrain_{}_s11"), audits=AUDITS[:3]
    ),
    "cifar10-test": Case(
        "CIFAR-10, our ResNet-20, test images",
        "cifar10",
        "resnet20",
        "../cifar10/original_s0",
        0,
        (3, 5),
        (0, 1, 2),
        (DEEP,),
        beside=tuple(f"cifar10/retrain_{{}}_s{seed}" for seed in range(5)),
        audits=AUDITS[:3],
    ),
    "cifar100-test": Case(
        "CIFAR-100, our ResNet-20, test images",
        "cifar100",
        "resnet20",
        "../cifar100/original_s0",
        0,
        (23,),
        (0,),
        (DEEP, "unsir"),
        beside=("cifar100/retrain_{}_s0",),
        audits=AUDITS[:3],
    ),
}


def given(path: Path, network: str, classes: int) -> nn.Module:
    """A network of the zoo with the weights of a file."""
    module = NETWORKS[network](classes)
    files.load_into(module, files.load_weights(path.with_suffix(".safetensors")), str(path))
    return module


def measured(name: str, label: int, wanted: list[tuple[str, int]]) -> Iterator[dict[str, Any]]:
    """A line for each setting and seed."""
    case = CASES[name]
    data = load(case.data)
    held = torch.arange(len(data.train)) % case.every == case.every - 1 if case.every else torch.zeros(len(data.train), dtype=torch.bool)
    split = Split.by_class(data.train[~held], data.train[held] if case.every else data.test, forget=[label])
    original, recipe = given(TUNING / case.weights, case.network, data.classes), recipe_for(case.network, data.classes)
    lines = [line for line in read(RECORD)["lines"] if (line["case"], line["class"]) == (name, label)]
    known = next((line for line in lines if len(beside(line)) == len(case.retrained) + len(case.beside)), None)
    retrained = [] if known else references(case, label, split)
    audits, subjects = [discover.lookup("audits", name)() for name in case.audits], {}  # type: ignore[var-annotated]
    for text, seed in wanted:
        began = time.process_time()
        result = unlearn(original, split, setting(text, TRIED), seed=seed, recipe=recipe)
        seconds = time.process_time() - began
        found = audit(result.model, split, audits, original=original, retrained=retrained, subjects=subjects)
        subjects.pop(id(result.model))
        line = {
            "case": name,
            "class": label,
            "setting": text,
            "seed": seed,
            "passes": result.passes,
            "seconds": round(seconds, 1),
            "marks": list(result.marks),
            "phases": {name: done.steps for name, done in result.trace.items()},
            "rows": rows(found),
            "attacks": attacks(found),
        }
        known = known or line
        # What the models beside it show is measured once, with the first line.
        yield line | {part: {name: known[part].get(name, {}) | columns for name, columns in line[part].items()} for part in ("rows", "attacks")}


def beside(line: dict[str, Any]) -> list[float]:
    """What the retrained models that a line was measured with show to one image; there may be more of them now."""
    return list(line["rows"]["one-shot prototype"]["retrained"])


def references(case: Case, label: int, split: Split) -> list[nn.Module]:
    """Models trained without the class, by the original's recipe."""
    classes = len(split.test.names)
    recipe = recipe_for(case.network, classes)
    made = [unlearn(recipe.build(), split, discover.settings("retrain"), recipe=recipe, seed=seed).model for seed in case.retrained]
    return [given(TUNING.parent / name.format(label), case.network, classes) for name in case.beside] + made


def rows(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What was measured, by row and column. What holds only beside others is left to the page, which has them all."""
    return {
        row["name"].replace("test", "held out"): {c: [round(v["value"], 4) for v in vs if v["value"] is not None] for c, vs in row["values"].items() if vs}
        for entry in found
        for row in entry["rows"]
        if row["name"] not in ("above the retrained models' band", "over-scrubbed", "anamnesis index")
    }


def attacks(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The areas of all six attacks, with the head's rows as they are and drawn anew."""
    figures = [figure for entry in found for figure in entry["figures"] if figure["name"].startswith("attacks")]
    return {f["name"]: {column: [{k: round(v, 4) for k, v in bars.items()} for bars in models] for column, models in f["series"].items()} for f in figures}


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one line from another."""
    return line["case"], line["class"], line["setting"], line["seed"]


def run(names: list[str], classes: list[int], settings: list[str]) -> None:
    """Run what has no line yet."""
    for name in names:
        case = CASES[name]
        for label in classes or case.classes:
            have = {key(line) for line in read(RECORD)["lines"]}
            wanted = [(text, seed) for seed in case.seeds for text in settings or case.settings if (name, label, text, seed) not in have]
            for line in measured(name, label, wanted) if wanted else ():
                add(RECORD, line)
                values = {row: [round(v, 3) for v in line["rows"].get(row, {}).get("unlearned", [])] for row in ROWS}
                print(line["case"], label, line["setting"], line["seed"], line["passes"], line["seconds"], "s", values, line["marks"], flush=True)


ROWS = (
    "forgotten, held out",
    "retained, held out",
    "one-shot prototype",
    "head-reset relearning",
    "relearning recall",
    "relearning recall, row reset",
    "worst relearning recall",
    "worst relearning recall, row drawn",
    "loss barrier to the original",
    "filters turned from the original's",
)


def main(*arguments: str) -> None:
    """Run what is asked for."""
    settings = [a for a in arguments if a.partition(" ")[0].partition(":")[0] in {*discover.found("methods"), *TRIED}]
    run([a for a in arguments if a in CASES] or list(CASES), [int(a) for a in arguments if a.isdecimal()], settings)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
