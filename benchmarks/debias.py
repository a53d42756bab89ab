"""What `untrain.debias` does on data with a bias: Coloured MNIST, CIFAR-10 with a patch, Adult and COMPAS, beside what else could be done.

    UNTRAIN_DATA=DIR python benchmarks/debias.py adult 0          # one case and seed; a record in benchmarks/records/debias/
    UNTRAIN_DATA=DIR python benchmarks/debias.py mnist-.99 0
    UNTRAIN_DATA=DIR python benchmarks/debias.py cifar-.95 0
    UNTRAIN_DATA=DIR python benchmarks/debias.py --heads adult 0  # how far a head alone could go
    python benchmarks/debias.py --page                            # the tables of docs/debias.md, from the records
    UNTRAIN_DATA=DIR python benchmarks/debias.py --picture        # docs/debias.png

Each model is made and measured on one thread. Seconds are of the processor, so that other work on the machine is not counted.
Settings are the defaults, which were chosen on training samples at seeds 10 to 15 and another ratio; records are of other seeds.
"""

from __future__ import annotations

import csv
import gzip
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import debias_page
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.audits.bias import Bias
from untrain.core.audit import audit
from untrain.core.data import Samples
from untrain.core.data.pairs import Pairs
from untrain.core.fmd import FMD, Replacing, debias, split_of_pairs
from untrain.core.unlearn import environment
from untrain.evidence import record as records
from untrain.evidence.biased import of_a_bias
from untrain.zoo.sets import load

HERE = Path(__file__).resolve().parent
RECORDS = HERE / "records" / "debias"
PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255], [0, 255, 255], [255, 128, 0], [128, 0, 255], [128, 255, 0], [0, 128, 255]])
RATIOS = (".95", ".98", ".99", ".995")
ADULT = (("age", "education_num", "capital_gain", "capital_loss", "hours_per_week"), ("workclass", "marital_status", "occupation", "relationship", "race", "sex", "native_country"))
COMPAS = (("age", "juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count"), ("sex", "race", "c_charge_degree"))


@dataclass(frozen=True)
class Case:
    """Data, a network, pairs to step by and pairs to measure."""

    train: Samples
    test: Samples
    steps: Pairs
    measured: Pairs
    training: Pairs
    build: Callable[[], nn.Module]
    epochs: int
    balanced: Samples | None


def root() -> Path:
    return Path(os.environ["UNTRAIN_DATA"])


# Coloured MNIST, and CIFAR-10 with a coloured square.


def _idx(name: str) -> np.ndarray[Any, Any]:
    data = gzip.decompress((root() / "MNIST" / "raw" / f"{name}.gz").read_bytes())
    offset = 16 if data[3] == 3 else 8
    return np.frombuffer(data, np.uint8, offset=offset).reshape((-1, 28, 28) if offset == 16 else -1)


def _digits(part: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return _idx(f"{part}-images-idx3-ubyte"), _idx(f"{part}-labels-idx1-ubyte").astype(int)


def _photos(part: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images [n, 3, 32, 32] of CIFAR-10, and their classes."""
    samples: Samples = getattr(load("cifar10", root=root()), part)
    return samples.sources[0].x[samples.index].numpy(), samples.y.numpy()


def patched(x: np.ndarray[Any, Any], colour: np.ndarray[Any, Any]) -> Tensor:
    """Images [n, 3, 32, 32] with a square of 5 pixels a side in the lower right corner, in colours [n]: from 0 to 1."""
    x = x.copy()
    x[:, :, -5:, -5:] = PALETTE[colour][:, :, None, None]
    return torch.tensor(x).float() / 255


def painted(x: np.ndarray[Any, Any], colour: np.ndarray[Any, Any]) -> Tensor:
    """Digits [n, 28, 28] in colours [n]: [n, 3, 28, 28] from 0 to 1."""
    return torch.tensor((x[..., None] / 255 * PALETTE[colour][:, None, None]).astype(np.uint8)).permute(0, 3, 1, 2).float() / 255


def coloured(ratio: float, seed: int, train: int = 10000, pairs: int = 2000, test: int = 4000, *, digits: bool = True, held: bool = False) -> Case:
    """Each training image has the colour of its class with this chance, else one at random. Pairs: the colour of its class, and another; test colours are random.

    Args:
        ratio: That chance.
        seed: Which images, and which colours.
        train: Training images.
        pairs: Pairs to step by, of further training images.
        test: Images to measure on.
        digits: MNIST, the digits in colours; else CIFAR-10, a square in a corner.
        held: Whether what is measured on are training images that are neither of these.
    """
    rng = np.random.default_rng(seed)
    x, y = _digits("train") if digits else _photos("train")
    order = rng.permutation(len(y))
    mine, theirs, rest = order[:train], order[train : train + pairs], order[train + pairs : train + pairs + test]
    xt, yt = (x[rest], y[rest]) if held else [part[:test] for part in (_digits("t10k") if digits else _photos("test"))]
    colour = np.where(rng.random(train) < ratio, y[mine], rng.integers(0, 10, train))
    shown, side = (painted, 7) if digits else (patched, 8)

    def other(colour: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (colour + rng.integers(1, 10, len(colour))) % 10

    def samples(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], colour: np.ndarray[Any, Any]) -> Samples:
        return Samples(shown(x, colour), torch.tensor(y), columns={"group": [str(c) for c in colour.tolist()]})

    def pair(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], colour: np.ndarray[Any, Any]) -> Pairs:
        return Pairs(samples(x, y, colour), samples(x, y, other(colour)))

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * side * side, 128), nn.ReLU(), nn.Linear(128, 10)
        )

    training = pair(x[mine], y[mine], colour)
    tested = samples(xt, yt, rng.integers(0, 10, test))
    balanced = samples(x[mine], y[mine], rng.integers(0, 10, train))
    return Case(training.one, tested, pair(x[theirs], y[theirs], y[theirs]), pair(xt, yt, yt), training, build, 4 if digits else 6, balanced)


# Tables.


def _rows(name: str) -> list[dict[str, str]]:
    with gzip.open(root() / "tabular" / f"{name}.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


def tabular(name: str, seed: int) -> Case:
    """The protected attribute flipped: sex of Adult, race (African-American or Caucasian, those rows alone) of COMPAS."""
    rng, rows = np.random.default_rng(seed), _rows(name)
    (numbers, kinds), group, label = (ADULT, "sex", "income") if name == "adult" else (COMPAS, "race", "two_year_recid")
    if name == "compas":
        rows = [row for row in rows if row["race"] in ("African-American", "Caucasian")]
        test_rows = rng.permutation(len(rows)) < len(rows) // 3
        train, test = ([row for row, away in zip(rows, test_rows, strict=True) if away == side] for side in (False, True))
    else:
        train, test = ([row for row in rows if row["split"] == part] for part in ("train", "test"))
    order = rng.permutation(len(train))
    away = min(2000, len(train) // 4)
    train, steps = [train[i] for i in order[away:]], [train[i] for i in order[:away]]
    values = {column: sorted({row[column] for row in train}) for column in kinds}
    scale = {column: (np.mean([float(row[column]) for row in train]), np.std([float(row[column]) for row in train])) for column in numbers}
    ends = sorted({row[group] for row in train})
    truth = {value: i for i, value in enumerate(sorted({row[label] for row in train}))}

    def samples(rows: list[dict[str, str]], flip: bool = False) -> Samples:
        swap = {ends[0]: ends[1], ends[1]: ends[0]} if flip else {}
        told = [[(float(row[c]) - scale[c][0]) / scale[c][1] for c in numbers] for row in rows]
        marks = [[float(value == (swap.get(row[c], row[c]) if c == group else row[c])) for c in kinds for value in values[c]] for row in rows]
        return Samples(
            torch.tensor(np.hstack([told, marks]), dtype=torch.float32), torch.tensor([truth[row[label]] for row in rows]), columns={"group": [row[group] for row in rows]}
        )

    width = len(numbers) + sum(map(len, values.values()))

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))

    def pair(rows: list[dict[str, str]]) -> Pairs:
        return Pairs(samples(rows), samples(rows, flip=True))

    training = pair(train)
    return Case(training.one, samples(test), pair(steps), pair(test), training, build, 10, None)


def case_of(name: str, seed: int) -> Case:
    """A case by name; `mnist-all-.99` trains on all digits but those of the pairs."""
    kind, _, ratio = name.rpartition("-")
    if kind in ("mnist", "mnist-all", "cifar"):
        return coloured(float(ratio), seed, 58000 if kind == "mnist-all" else 10000, digits=kind != "cifar")
    return tabular(name, seed)


# What is done.


def trained(model: nn.Module, x: Tensor, y: Tensor, epochs: int, seed: int, weights: Tensor | None = None, lr: float = 1e-3) -> nn.Module:
    """Trained by Adam in batches of 128; losses weighted where that is asked for."""
    torch.manual_seed(seed)
    adam = torch.optim.Adam(model.train().parameters(), lr=lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(128):
            losses = F.cross_entropy(model(x[rows]), y[rows], reduction="none")
            adam.zero_grad()
            (losses if weights is None else losses * weights[rows]).mean().backward()
            adam.step()
    return model.eval()


def even(samples: Samples) -> Tensor:
    """Weights [n] under which each group has as many of each class as of its own share: n_y n_g / (n n_yg) (Kamiran and Calders, 2012)."""
    groups = np.array(samples.columns["group"])
    y, n = samples.y.numpy(), len(samples)
    out = np.empty(n)
    for c in np.unique(y):
        for g in np.unique(groups):
            cell = (y == c) & (groups == g)
            out[cell] = (y == c).sum() * (groups == g).sum() / (n * max(1, cell.sum()))
    return torch.tensor(out, dtype=torch.float32)


def evened(samples: Samples, seed: int) -> Samples:
    """As many of each group in each class: all of the smallest cell's number, drawn."""
    rng, groups, y = np.random.default_rng(seed), np.array(samples.columns["group"]), samples.y.numpy()
    cells = [np.flatnonzero((y == c) & (groups == g)) for c in np.unique(y) for g in np.unique(groups)]
    least = min(map(len, cells))
    return samples[torch.tensor(np.sort(np.concatenate([rng.choice(cell, least, replace=False) for cell in cells])))]


def whole(samples: Samples) -> tuple[Tensor, Tensor]:
    x, y = samples.batch(torch.arange(len(samples)))
    assert isinstance(x, Tensor)
    return x, y


def run(name: str, seed: int) -> dict[str, Any]:
    """Every model of a case, and the record of it."""
    torch.set_num_threads(1)
    case = case_of(name, seed)
    x, y = whole(case.train)
    seconds: dict[str, float] = {}
    models: dict[str, nn.Module] = {}

    def made(title: str, function: Callable[[], nn.Module]) -> nn.Module:
        began = time.process_time()
        models[title] = function()
        seconds[title] = time.process_time() - began
        print(f"{name}, seed {seed}: {title}, {seconds[title]:.1f} s", flush=True)
        return models[title]

    def fresh() -> nn.Module:
        torch.manual_seed(seed)
        return case.build()

    original = made("original", lambda: trained(fresh(), x, y, case.epochs, seed))
    even_part = case.balanced if case.balanced is not None else evened(case.train, seed)
    made("retrained on balanced data", lambda: trained(fresh(), *whole(even_part), case.epochs, seed))
    made("reweighting", lambda: trained(fresh(), x, y, case.epochs, seed, even(case.train)))
    pairs = whole(case.steps.one + case.steps.other)

    def tuned() -> nn.Module:
        model = case.build()
        model.load_state_dict(original.state_dict())
        return trained(model, *pairs, 3, seed)

    made("fine-tuning on the pairs", tuned)
    made("FMD, one step of the paper", lambda: debias(original, case.steps, method=FMD(way="paper", layers=1, solver="exact"), seed=seed).model)
    made("FMD, the head alone", lambda: debias(original, case.steps, method=FMD(layers=1, solver="exact"), seed=seed).model)
    if "-all-" not in name:
        made("FMD, training data", lambda: debias(original, case.steps, training=case.training, method=Replacing(), seed=seed).model)
    made("FMD", lambda: debias(original, case.steps, method=FMD(), seed=seed).model)
    parts = split_of_pairs(case.measured, test=case.test).replaced(retain=case.train)
    others = {title: model for title, model in models.items() if title not in ("original", "FMD")}
    found = audit(models["FMD"], parts, [Bias(group="group")], original=original, controls=others)
    request = {"forget": "nothing", "classes": [], "names": [], "bias": name}
    told: dict[str, Any] = records.finite(
        {
            "case": name,
            "seed": seed,
            "counts": {"train": len(case.train), "balanced": len(even_part), "pairs": len(case.steps), "measured": len(case.measured), "test": len(case.test)},
            "settings": {"FMD": vars(FMD()), "FMD, training data": vars(Replacing())},
            "epochs": case.epochs,
            "seconds": seconds,
            "audits": found,
            "verdict": of_a_bias(found, (), request),
            "environment": environment({"device": "cpu", "threads": 1}),
        }
    )
    return told


# What any head could do.


PULLS = (0.0, 1.0, 10.0, 100.0, 1000.0)


def heads(name: str, seed: int) -> dict[str, Any]:
    """How far the head alone can go: CE and penalty minimised to the end by L-BFGS, in double precision, on the very pairs that are measured."""
    torch.set_num_threads(1)
    case = case_of(name, seed)
    torch.manual_seed(seed)
    model = trained(case.build(), *whole(case.train), case.epochs, seed)
    body, last = model[:-1], model[-1]  # type: ignore[index]
    with torch.no_grad():
        read = [torch.cat([body(whole(side)[0]), torch.ones(len(side), 1)], 1).double() for side in (case.measured.one, case.measured.other)]
        start = torch.cat([last.weight, last.bias[:, None]], 1).double()
    y, found = case.measured.one.y, []

    def told(weights: Tensor) -> tuple[list[Tensor], Tensor]:
        answers = [x @ weights.T for x in read]
        p, q = (a.softmax(1).gather(1, y[:, None])[:, 0] for a in answers)
        return answers, p - q

    for pull in PULLS:
        weights = start.clone().requires_grad_(True)
        solver = torch.optim.LBFGS([weights], max_iter=300, history_size=30, line_search_fn="strong_wolfe", tolerance_grad=1e-7, tolerance_change=1e-10)

        def value(pull: float = pull, weights: Tensor = weights, solver: torch.optim.LBFGS = solver) -> Tensor:
            solver.zero_grad()
            answers, off = told(weights)
            loss = sum(F.cross_entropy(a, y) for a in answers) / 2 + pull * off.square().mean() + 5e-5 * weights.square().sum()
            assert isinstance(loss, Tensor)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        solver.step(value)  # type: ignore[arg-type]
        answers, off = told(weights.detach())
        found.append({"pull": pull, "bias": float(off.abs().mean()), "accuracy": [float((a.argmax(1) == y).double().mean()) for a in answers]})
    answers, off = told(start)
    before = {"bias": float(off.abs().mean()), "accuracy": [float((a.argmax(1) == y).double().mean()) for a in answers]}
    return {"case": name, "seed": seed, "pairs": len(y), "original": before, "heads": found, "environment": environment({"device": "cpu", "threads": 1})}


# The picture.


def picture(file: Path) -> None:
    """Pairs of coloured digits, one above the other."""
    from PIL import Image

    x, y = _idx("train-images-idx3-ubyte")[:60], _idx("train-labels-idx1-ubyte")[:60].astype(int)
    at = [int(np.flatnonzero(y == c)[0]) for c in range(10)]
    rows = [painted(x[at], (y[at] + shift) % 10) for shift in (0, 3)]
    whole = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    pixels = (whole.permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    Image.fromarray(pixels).resize((pixels.shape[1] * 2, pixels.shape[0] * 2), Image.Resampling.NEAREST).save(file, optimize=True)


if __name__ == "__main__":
    if sys.argv[1] == "--page":
        debias_page.write()
    elif sys.argv[1] == "--picture":
        picture(HERE.parent / "docs" / "debias.png")
    else:
        RECORDS.mkdir(parents=True, exist_ok=True)
        name, seed = sys.argv[-2:]
        alone = sys.argv[1] == "--heads"
        (RECORDS / f"{'heads-' if alone else ''}{name}-s{seed}.json").write_bytes(records.dumps((heads if alone else run)(name, int(seed))))
