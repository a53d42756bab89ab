"""UNSIR on few images: 12, 40, 120 and 400 of each class, five networks, beside two models retrained by the same recipe.

    python benchmarks/sizes.py                     # every cell that has no line yet, the telling ones first
    python benchmarks/sizes.py small digits 12     # of these networks and sizes alone
    python benchmarks/sizes.py --tune small        # classes, seeds and images that no reported cell uses; to records/sizes/tuning.json
    python benchmarks/sizes.py --tune digits 'unsir' 'unsir impair_lr=0.004'
    python benchmarks/sizes.py --page              # draws docs/sizes.md from the record

A cell is a network, a number of images of each class, the class to forget, and a seed. The seed chooses the images, trains the original and
the two retrained models, and runs the method. `mobilenet` needs torchvision and `vit` timm (the `vision` extra), `cifar` and `mobilenet` the folder UNTRAIN_DATA.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from asked import add, beside, read, trained
from torch import Tensor, nn

import untrain
from untrain.core import discover, files
from untrain.core.train import Phase
from untrain.evidence.statistics import interval
from untrain.zoo.networks import NETWORKS, NORMS
from untrain.zoo.sets import data_root

HERE = Path(__file__).resolve().parent
RECORD, TUNING, PAGE = HERE / "records" / "sizes" / "sizes.json", HERE / "records" / "sizes" / "tuning.json", HERE.parent / "docs" / "sizes.md"

SIZES, SEEDS, RETRAINED = (12, 40, 120, 400), (0, 1, 2), 2
SETTINGS = ("unsir", "unsir floor=0", "neggrad")
AUDITS = ("accuracy", "prototype", "relearn")

Pixels = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Recipe:
    """One cycle of Adam, with as many passes as few images need to be learned.

    Args:
        network: The network before training.
        lr: Highest learning rate.
        steps: Optimizer steps at least.
        epochs: Passes at least.
        batch: Batch size.
    """

    network: Callable[[], nn.Module]
    lr: float
    steps: int
    epochs: int
    batch: int = 32

    def build(self) -> nn.Module:
        """The network before training."""
        return self.network()

    def train(self, model: untrain.Network, samples: untrain.Samples) -> Phase:
        """Train all of it."""
        epochs = max(self.epochs, -(-self.steps * self.batch // len(samples)))
        return untrain.fit(model, samples, phase="train", lr=self.lr, epochs=epochs, batch=self.batch, augment=True, schedule="onecycle")


@dataclass(frozen=True)
class Case:
    """A network with data.

    Args:
        title: What the table calls it.
        data: Training and test pixels and labels, for the class that is forgotten.
        recipe: How the original and the retrained models come about, for the class that is forgotten.
        forget: Classes of the reported cells, one at a time.
        tune: Classes that settings were chosen on.
        norm: Its normalisation.
        augment: The random change of its pixels.
        most: Test images of each class at most, since each is looked at many times.
        tune_seeds: Seeds that settings were chosen on.
    """

    title: str
    data: Callable[[int], tuple[Pixels, Pixels]]
    recipe: Callable[[int], Recipe]
    forget: tuple[int, ...]
    tune: tuple[int, ...]
    norm: untrain.Norm
    augment: untrain.CropFlip
    most: int = 1000
    tune_seeds: tuple[int, ...] = (10,)


# The networks and their data.


def pixels(samples: untrain.Samples, classes: tuple[int, ...] | None = None) -> Pixels:
    """Raw pixels and labels, of some classes alone, which are numbered anew."""
    y = samples.y
    chosen = tuple(samples.classes) if classes is None else classes
    rows = torch.isin(y, torch.tensor(chosen)).nonzero().flatten()
    number = {label: i for i, label in enumerate(chosen)}
    x = torch.cat([samples.batch(part)[0] for part in torch.split(rows, 2000)])  # type: ignore[misc]
    return x, torch.tensor([number[label] for label in y[rows].tolist()])


@cache
def known(name: str) -> Any:
    """A data set by name."""
    return untrain.load(name)


def digits(_: int) -> tuple[Pixels, Pixels]:
    """The zoo's digits; there are some 135 to train on of each."""
    return pixels(known("digits").train), pixels(known("digits").test)


def tiles(_: int) -> tuple[Pixels, Pixels]:
    """What docs/class.md stands on in the tests: three colours under noise, 16 x 16."""
    g = torch.Generator().manual_seed(0)
    colours = torch.tensor([(40, 60, 200), (200, 60, 40), (60, 180, 60)])

    def draw(n: int) -> Pixels:
        y = torch.arange(3).repeat_interleave(n)
        return (torch.randint(0, 50, (3 * n, 3, 16, 16), generator=g) + colours[y][:, :, None, None]).to(torch.uint8), y

    return draw(800), draw(200)


CIFAR = {3: (0, 3, 5, 9), 5: (0, 3, 5, 9), 1: (1, 4, 6, 8), 8: (1, 4, 6, 8)}
"""Of CIFAR-10, the four classes among which each is forgotten."""


def cifar(label: int) -> tuple[Pixels, Pixels]:
    """Four classes of CIFAR-10."""
    return pixels(known("cifar10").train, CIFAR[label]), pixels(known("cifar10").test, CIFAR[label])


def resnet20(label: int) -> nn.Module:
    """Our ResNet-20 that was trained on the nine other classes of CIFAR-10, under a new head of four: what it knows of the class, it has from the few images."""
    net = NETWORKS["resnet20"](10)
    files.load_into(net, files.load_weights(HERE / "references" / "cifar10" / f"retrain_{label}_s0.safetensors"), "the ResNet-20")
    net.linear = nn.Linear(64, 4)
    return net


def small(classes: int) -> nn.Module:
    """The network of docs/class.md."""
    code = (HERE.parent / "docs" / "class.md").read_text(encoding="utf-8").split("# nets.py\n", 1)[1].split("```", 1)[0]
    scope: dict[str, Any] = {}
    exec(code, scope)
    made: nn.Module = scope["small"](classes)
    return made


PERSONS = ("Colin_Powell", "Donald_Rumsfeld", "George_W_Bush", "Gerhard_Schroeder", "Ariel_Sharon", "Tony_Blair")


@cache
def people(_: int) -> tuple[Pixels, Pixels]:
    """Six persons of Labeled Faces in the Wild at 64 pixels; of most there are fewer than 120."""
    root = data_root()
    assert root is not None, "UNTRAIN_DATA names no folder with lfw100"
    found = untrain.load(str(root / "lfw100"))
    chosen = tuple(found.train.names.index(name) for name in PERSONS)

    def shrunk(part: Pixels) -> Pixels:
        return nn.functional.interpolate(part[0].float(), 64, mode="bilinear", antialias=True).round().clamp(0, 255).to(torch.uint8), part[1]

    return shrunk(pixels(found.train, chosen)), shrunk(pixels(found.test, chosen))


def mobilenet() -> nn.Module:
    """MobileNetV2 from its ImageNet checkpoint under a new head."""
    from untrain.core.vision import import_torchvision

    net: Any = import_torchvision().models.mobilenet_v2(weights=None)
    root = data_root()
    assert root is not None, "UNTRAIN_DATA names no folder with the checkpoint"
    state = files.load_weights(root / "checkpoints" / "imagenet1k_mobilenet_v2_fp16.safetensors")
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    net.classifier[1] = nn.Linear(net.last_channel, len(PERSONS))
    return net  # type: ignore[no-any-return]


def vit() -> nn.Module:
    """A small vision transformer of timm, from random weights: four blocks, no BatchNorm."""
    from untrain.core.vision import import_timm

    made: nn.Module = import_timm().models.VisionTransformer(img_size=32, patch_size=4, embed_dim=96, depth=4, num_heads=3, num_classes=4)
    return made


CASES = {
    "small": Case(
        "the network of the guide, three colours",
        tiles,
        lambda _: Recipe(lambda: small(3), lr=0.01, steps=40, epochs=5, batch=16),
        forget=(1,),
        tune=(0,),
        norm=NORMS["half"],
        augment=untrain.CropFlip(2),
        tune_seeds=tuple(range(10, 18)),
    ),
    "digits": Case(
        "the zoo's network, digits",
        digits,
        lambda _: Recipe(lambda: NETWORKS["digits"](10), lr=0.01, steps=300, epochs=20, batch=64),
        forget=(3,),
        tune=(1, 7),
        norm=NORMS["grey"],
        augment=untrain.CropFlip(1, flip=False),
    ),
    "small-cifar": Case(
        "the network of the guide, four classes of CIFAR-10",
        cifar,
        lambda _: Recipe(lambda: small(4), lr=0.01, steps=600, epochs=20),
        forget=(3,),
        tune=(1,),
        norm=NORMS["half"],
        augment=untrain.CropFlip(4),
        most=500,
    ),
    "cifar": Case(
        "ResNet-20, four classes of CIFAR-10",
        cifar,
        lambda label: Recipe(lambda: resnet20(label), lr=0.002, steps=150, epochs=5),
        forget=(3, 5),
        tune=(1, 8),
        norm=NORMS["imagenet"],
        augment=untrain.CropFlip(4),
        most=500,
    ),
    "mobilenet": Case(
        "MobileNetV2, six persons",
        people,
        lambda _: Recipe(mobilenet, lr=0.001, steps=60, epochs=8),
        forget=(5,),
        tune=(3,),
        norm=NORMS["imagenet"],
        augment=untrain.CropFlip(4),
    ),
    "vit": Case(
        "a small ViT of timm, four classes of CIFAR-10",
        cifar,
        lambda _: Recipe(vit, lr=0.001, steps=400, epochs=20),
        forget=(3,),
        tune=(1,),
        norm=NORMS["cifar10"],
        augment=untrain.CropFlip(4),
        most=500,
    ),
}


# A cell.


@dataclass(frozen=True)
class Cell:
    """One network on so many images of each class.

    Args:
        case: Name of the network and its data.
        images: Images of each class; fewer where there are no more.
        label: The class that is forgotten, by its number in the data set.
        seed: What chooses images, trains, and runs the method.
        tuning: Whether settings are chosen on it: what is scored then are training images that it does not train on.
    """

    case: str
    images: int
    label: int
    seed: int
    tuning: bool = False


def cells(names: list[str], sizes: list[int], tuning: bool) -> Iterator[Cell]:
    """The cells, the telling ones first."""
    for size in sizes:
        for name in names:
            case = CASES[name]
            for label in case.tune if tuning else case.forget:
                for seed in case.tune_seeds if tuning else SEEDS:
                    yield Cell(name, size, label, seed, tuning)


def drawn(cell: Cell) -> tuple[untrain.Samples, untrain.Samples]:
    """Training images, so many of each class in an order of the seed, and those that are scored."""
    case = CASES[cell.case]
    (x, y), (tx, ty) = case.data(cell.label)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(cell.seed))
    chosen = untrain.Samples(x[order], y[order])
    rest = torch.ones(len(y), dtype=torch.bool)
    taken = chosen.first(cell.images)
    if cell.tuning:
        # A quarter of each class at least is left to be scored, and never the test part.
        quarter = {c: int((y == c).sum()) * 3 // 4 for c in chosen.classes}
        places = torch.cat([(chosen.y == c).nonzero().flatten()[: min(cell.images, quarter[c])] for c in chosen.classes])
        taken = chosen[places.sort().values]
        rest[places] = False
        scored = chosen[rest].first(case.most)
        tx, ty = pixels(scored)
    else:
        scored = untrain.Samples(tx, ty).first(case.most)
        tx, ty = pixels(scored)
    fx, fy = pixels(taken)
    return untrain.Samples(fx, fy, augment=case.augment), untrain.Samples(tx, ty, augment=case.augment)


def measured(cell: Cell, settings: list[str]) -> Iterator[dict[str, Any]]:
    """A line for each setting: what ran, what is still answered, and what comes back."""
    case = CASES[cell.case]
    train, scored = drawn(cell)
    gone = CIFAR[cell.label].index(cell.label) if case.data is cifar else cell.label
    split, recipe = untrain.Split.by_class(train, scored, forget=[gone]), case.recipe(cell.label)
    original = trained(recipe, train.prepared(case.norm), cell.seed)
    retrained = [trained(recipe, split.retain.prepared(case.norm), 1000 * (i + 1) + cell.seed) for i in range(RETRAINED)]
    for told in beside(original, retrained, split, settings, AUDITS, seed=cell.seed, norm=case.norm):
        yield dataclasses.asdict(cell) | told


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one line from another."""
    return (*(line[f.name] for f in dataclasses.fields(Cell)), line["setting"])


def run(names: list[str], sizes: list[int], settings: list[str], tuning: bool) -> None:
    """Run what has no line yet."""
    path = TUNING if tuning else RECORD
    for cell in cells(names, sizes, tuning):
        have = {key(line) for line in read(path)["lines"]}
        left = [text for text in settings if (*dataclasses.astuple(cell), text) not in have]
        for line in measured(cell, left) if left else ():
            add(path, line)
            print(brief(line), flush=True)


def brief(line: dict[str, Any]) -> str:
    """A line as it is said while it runs."""

    def of(row: str, column: str) -> str:
        return "/".join(f"{v:.3f}" for v, _ in line["rows"].get(row, {}).get(column, []))

    rows = ("forgotten, test", "retained, test", "one-shot prototype", "head-reset relearning", "relearning recall", "relearning recall, row reset")
    steps = "+".join(str(n) for n in line["phases"].values())
    said = "  ".join(f"{row}: {of(row, 'original')} > {of(row, 'unlearned')} | {of(row, 'retrained')}" for row in rows)
    return f"{line['case']} {line['images']} c{line['label']} s{line['seed']} {line['setting']!r} steps {steps} {line['seconds']} s {line['marks']}\n    {said}"


# The page.


def pooled(lines: list[dict[str, Any]], row: str, column: str) -> tuple[int, int]:
    """Images named rightly, of how many, over the seeds."""
    found = [value for line in lines for value in line["rows"][row].get(column, [])]
    return sum(round(v * n) for v, n in found), sum(n for _, n in found)


def share(lines: list[dict[str, Any]], row: str, column: str) -> str:
    """A share of images over the seeds, with the upper end of its interval where few are named."""
    k, n = pooled(lines, row, column)
    return f"{k / n:.1%}"


def mean(lines: list[dict[str, Any]], row: str, column: str) -> float:
    """Mean of a row over seeds and models."""
    found = [v for line in lines for v, _ in line["rows"][row].get(column, [])]
    return sum(found) / len(found)


def still_named() -> str:
    """On how many networks of three colours that settings are chosen on the class stays named, at each setting."""
    held: dict[str, list[bool]] = {}
    for line in read(TUNING)["lines"]:
        if line["case"] == "small" and line["images"] == 12 and line["seed"] >= 10 and line["setting"] in ("unsir", "unsir floor=700", "unsir repair_lr=0.002"):
            held.setdefault(line["setting"], []).append(line["rows"]["forgotten, test"]["unlearned"][0][0] > 0.02)
    told = {"unsir": "networks by the default", "unsir floor=700": "after twice the steps", "unsir repair_lr=0.002": "at twice the rate"}
    return ", ".join(f"{sum(held[text])} of {len(held[text])} {how}" for text, how in told.items())


def farther() -> str:
    """How much farther than from retrained models the head alone relearns, on few images and on more, over the seeds."""
    lines = [line for line in read(RECORD)["lines"] if (line["case"], line["setting"]) == ("cifar", "unsir")]
    told = []
    for size in SIZES:
        some = [line for line in lines if line["images"] == size]
        more = mean(some, "head-reset relearning", "unlearned") - mean(some, "head-reset relearning", "retrained")
        told.append(f"+{more:.2f} on {size}")
    return ", ".join(told)


def page() -> str:
    """The page, from the record."""
    found = read(RECORD)
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for line in found["lines"]:
        groups.setdefault((line["case"], line["images"], line["setting"]), []).append(line)
    parts = [OPENING.format(left=still_named(), far=farther())]
    for name, case in CASES.items():
        if not any(key[0] == name for key in groups):
            continue
        rows = []
        for size in SIZES:
            # Others were tried where a cell failed.
            for text in dict.fromkeys((*SETTINGS, *(key[2] for key in groups))):
                lines = groups.get((name, size, text))
                if not lines:
                    continue
                k, n = pooled(lines, "forgotten, test", "unlearned")
                most = max(line["counts"]["forget"] for line in lines)
                there = size if most == size else f"{size} ({most} of the forgotten)"
                change = mean(lines, "retained, test", "unlearned") - mean(lines, "retained, test", "original")
                beside = [
                    f"{mean(lines, row, 'unlearned'):.2f} / {mean(lines, row, 'retrained'):.2f}" for row in ("one-shot prototype", "head-reset relearning", "relearning recall")
                ]
                steps = " + ".join(str(v) for phase, v in lines[0]["phases"].items() if phase != "noise")
                rows.append(
                    f"| {there} | `{text}` | {len(lines)} | {steps} | {share(lines, 'forgotten, test', 'original')} | {k / n:.1%} (at most {interval(k, n)[1]:.1%}) "
                    f"| {share(lines, 'retained, test', 'original')} | {100 * change:+.1f} | {' | '.join(beside)} |"
                )
        parts.append(f"## {case.title[0].upper()}{case.title[1:]}\n\n{HEAD}\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


OPENING = f"""# Few images

<!-- drawn by benchmarks/sizes.py from benchmarks/records/sizes/sizes.json; do not edit -->

UNSIR's lengths are passes over the retained images, so on few of them it took few steps: with a dozen of each of four
classes 6, where 9,000 give 236. On three colours the class stayed wholly as it was; on digits it went from the answers,
and some of the retained accuracy with it. So there is a floor: retained images that are too few for it are gone over in
batches of about 64 until the repair has taken 350 steps and the impair 58. With it the class is not named, in all cells but one,
and what is retained stays. Less comes back than without it, and still more than of the models that never saw the class, most of all
on the three colours, where the head alone relearns it at once: on few images look at the audits and not at the answers.

The cell that fails is three colours with 120 images of each: one of three networks names the class wholly as before. Two colours
are retained, and nothing among them is like the third. After the impair its images get answers far below nought for all three, and
the repair, which sees the two alone, does not say which of them is highest. So it is chance which wins, of one network and run. Twice the
steps left it named in one image of nine, and twice the repair's rate in none; both were tried when the failure was seen, on the
cells that show it. On cells that no table here holds (another colour, 12 images of each, other seeds) the class stayed named on
{{left}}.
So where two classes are retained, in few images, `untrain check` and `untrain unlearn` say so before anything starts,
and of such a run, which is marked `remembers`, it says to raise `--repair-lr`; the default is what it was, since
what twice the rate does to other networks was not measured. What the head alone relearns of the four classes of CIFAR-10
lies beyond the retrained models on few images by little more than on 400 ({{far}}, means over the seeds).

Runs on 4,500 images and more are, to the bit, what they were. `unsir floor=0` is UNSIR without a floor, and `neggrad` NegGrad at
its defaults, which has none and leaves the class as it was.

Each line is so many training images of each class (as many as there are, where there are fewer), over its seeds: the seed
chooses the images, trains the original and {RETRAINED} models without the class, and runs the method. Shares of test images
are pooled over the seeds, with the upper end of the 95 % interval; *change* is that of retained accuracy, in points. The last
three columns are what comes back, of the unlearned / of the retrained models. A cell without a line was not run.
Where the original already errs on most of the class, its going says little: look at *forgotten, original*.
"""

RECOVERY = ("one-shot prototype", "head-reset relearning", "relearning recall")

COLUMNS = ("images of each class", "setting", "seeds", "steps", "forgotten, original", "forgotten, unlearned", "retained, original", "change", *RECOVERY)

HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def main(*arguments: str) -> None:
    """Run, or draw."""
    if "--page" in arguments:
        PAGE.write_text(page(), encoding="utf-8")
        return
    settings = [a for a in arguments if a.partition(" ")[0].partition(":")[0] in discover.found("methods")]
    names = [a for a in arguments if a in CASES] or [name for name in CASES if name != "vit"]
    sizes = [int(a) for a in arguments if a.isdecimal()] or list(SIZES)
    run(names, sizes, settings or list(SETTINGS), "--tune" in arguments)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
