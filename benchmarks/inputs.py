"""UNSIR on what is no image: rows of Adult under a perceptron and an FT-Transformer, texts of AG News under a BERT, and digits to compare; beside two retrained models.

    python benchmarks/inputs.py                       # every cell that has no line yet
    python benchmarks/inputs.py adult-mlp             # of these networks alone
    python benchmarks/inputs.py --page                # draws docs/inputs.md and its pictures from the record

A cell is a network, the class to forget, and a seed. The seed trains the original and the two retrained models, and runs the method.
Needs the folder UNTRAIN_DATA; texts need transformers and pyarrow (the extras `hf` and `data`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import input_nets as nets
import torch
from asked import add, beside, read, setting, trained
from torch import nn

import untrain
from untrain.core import discover
from untrain.core.site import VALUES, site_of
from untrain.core.train import Phase
from untrain.zoo.networks import NETWORKS

HERE = Path(__file__).resolve().parent
RECORD, PAGE = HERE / "records" / "inputs" / "inputs.json", HERE.parent / "docs" / "inputs.md"

SEEDS, RETRAINED = (0, 1, 2), 2
SETTINGS = ("unsir", "unsir:no-noise")
AUDITS = ("accuracy", "prototype", "relearn")


@dataclass(frozen=True)
class Recipe:
    """One cycle of Adam.

    Args:
        network: The network before training.
        lr: Highest learning rate.
        epochs: Passes over the samples.
        batch: Batch size.
    """

    network: Callable[[], nn.Module]
    lr: float
    epochs: int
    batch: int = 64

    def build(self) -> nn.Module:
        """The network before training."""
        return self.network()

    def train(self, model: untrain.Network, samples: untrain.Samples) -> Phase:
        """Train all of it."""
        return untrain.fit(model, samples, phase="train", lr=self.lr, epochs=self.epochs, batch=self.batch, schedule="onecycle")


@dataclass(frozen=True)
class Case:
    """A network with data.

    Args:
        title: What the page calls it.
        data: Training and test samples.
        recipe: How the original and the retrained models come about.
        forget: Classes of the reported cells, one at a time.
    """

    title: str
    data: Callable[[], tuple[untrain.Samples, untrain.Samples]]
    recipe: Recipe
    forget: tuple[int, ...]


def digits() -> tuple[untrain.Samples, untrain.Samples]:
    """The zoo's digits."""
    data, norm = untrain.load("digits"), NETWORKS["digits"](10).norm
    return data.train.prepared(norm), data.test.prepared(norm)


CASES = {
    "adult-mlp": Case("Adult, a perceptron", nets.adult, Recipe(nets.perceptron, lr=0.003, epochs=8), forget=(1,)),
    "adult-ft": Case("Adult, an FT-Transformer", nets.adult, Recipe(nets.ft_transformer, lr=0.003, epochs=6), forget=(1,)),
    "agnews": Case("AG News, a BERT of transformers", nets.ag_news, Recipe(nets.bert, lr=0.002, epochs=4, batch=32), forget=(1,)),
    "digits": Case("digits, the zoo's network", digits, Recipe(lambda: NETWORKS["digits"](10), lr=0.01, epochs=20), forget=(3,)),
}


@dataclass(frozen=True)
class Cell:
    """One network.

    Args:
        case: Name of the network and its data.
        label: The class that is forgotten.
        seed: What trains, and runs the method.
    """

    case: str
    label: int
    seed: int


def cells(names: list[str]) -> Iterator[Cell]:
    """The cells, a seed of every network before the next."""
    for seed in SEEDS:
        for name in names:
            for label in CASES[name].forget:
                yield Cell(name, label, seed)


def measured(cell: Cell, settings: list[str]) -> Iterator[dict[str, Any]]:
    """A line for each setting: what ran, where its noise went in, what is still answered, and what comes back."""
    case = CASES[cell.case]
    train, scored = case.data()
    split = untrain.Split.by_class(train, scored, forget=[cell.label])
    original = trained(case.recipe, train, cell.seed).eval()
    retrained = [trained(case.recipe, split.retain, 1000 * (i + 1) + cell.seed).eval() for i in range(RETRAINED)]
    site = site_of(untrain.Network(original), split.retain)
    about = {"name": train.names[cell.label] if train.names else str(cell.label), "site": site.layer, "shape": list(site.shape)}
    for told in beside(original, retrained, split, settings, AUDITS, seed=cell.seed):
        line = dataclasses.asdict(cell) | about | told
        if line["setting"] == "unsir" and cell.seed == 0:
            line["seen"] = seen(original, split, cell)
        yield line


SHOWN = 60
"""Points of each kind in the picture."""


def seen(original: nn.Module, split: untrain.Split, cell: Cell) -> dict[str, list[list[float]]]:
    """What stands at the site of samples of each class and of the noise, mean over all but the last axis of several, in the two directions in which the samples vary most."""
    method, network = setting("unsir"), untrain.Network(original)
    kept = split.retain.at_most(method.samples)
    site = site_of(network, kept)
    with untrain.seeded(cell.seed, network=network):
        noise, _ = method.learn_noise(site, kept, (cell.label,))
    x, _ = noise.batch(torch.arange(len(noise))[:: max(1, len(noise) // SHOWN)][:SHOWN])
    parts = {"noise": x[VALUES] if isinstance(x, dict) else x}
    for label in split.test.classes:
        x, _ = split.test[split.test.y == label].batch(torch.arange(min(SHOWN, int((split.test.y == label).sum()))))
        parts[str(label)] = standing(network, site, x)
    flat = {name: at.flatten(1) if at.ndim != 3 else at.mean(1) for name, at in parts.items()}
    samples = torch.cat([at for name, at in flat.items() if name != "noise"])
    mean, (_, _, v) = samples.mean(0), torch.linalg.svd(samples - samples.mean(0), full_matrices=False)
    return {name: [[round(float(n), 3) for n in row] for row in (at - mean) @ v[:2].T] for name, at in flat.items()}


@torch.no_grad()
def standing(network: untrain.Network, site: Any, x: Any) -> torch.Tensor:
    """What stands at the site of these samples."""
    if site.layer is None:
        return x  # type: ignore[no-any-return]
    out: list[torch.Tensor] = []
    handle = network.module.get_submodule(site.layer).register_forward_hook(lambda *given: out.append(given[-1]))
    network.eval()
    network(x)
    handle.remove()
    return out[0]


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one line from another."""
    return (*(line[f.name] for f in dataclasses.fields(Cell)), line["setting"])


def run(names: list[str], settings: list[str]) -> None:
    """Run what has no line yet."""
    for cell in cells(names):
        have = {key(line) for line in read(RECORD)["lines"]}
        left = [text for text in settings if (*dataclasses.astuple(cell), text) not in have]
        for line in measured(cell, left) if left else ():
            add(RECORD, line)
            print(brief(line), flush=True)


def brief(line: dict[str, Any]) -> str:
    """A line as it is said while it runs."""

    def of(row: str, column: str) -> str:
        return "/".join(f"{v:.3f}" for v, _ in line["rows"].get(row, {}).get(column, []))

    rows = ("forgotten, test", "retained, test", *RECOVERY)
    said = "  ".join(f"{row}: {of(row, 'original')} > {of(row, 'unlearned')} | {of(row, 'retrained')}" for row in rows)
    return f"{line['case']} c{line['label']} s{line['seed']} {line['setting']!r} at {line['site']} {line['phases']} {line['seconds']} s {line['marks']}\n    {said}"


RECOVERY = ("one-shot prototype", "head-reset relearning", "relearning recall", "relearning recall, row reset")


def main(*arguments: str) -> None:
    """Run, or draw."""
    if "--page" in arguments:
        import inputs_page

        text, pictures = inputs_page.page(read(RECORD))
        for name, drawn in {PAGE.name: text, **pictures}.items():
            (PAGE.parent / name).write_text(drawn, encoding="utf-8")
        return
    settings = [a for a in arguments if a.partition(" ")[0].partition(":")[0] in discover.found("methods")]
    run([a for a in arguments if a in CASES] or list(CASES), settings or list(SETTINGS))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
