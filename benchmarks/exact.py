"""What exact and certified forgetting cost on digits: what docs/exact.md is drawn from.

    python benchmarks/exact.py                    # two minutes on one thread; draws the page again

SISA by the zoo's recipe, and a linear model on pixels with certified removal, both at their defaults, which no class below chose (`lam` and `sigma` of the latter were looked at on
every fifth training image, held out). Beside each the same trained anew without the forgotten, at other seeds.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from asked import add, placed, read
from torch import nn

import untrain
from untrain.methods.certifiedremoval import CertifiedRemoval
from untrain.methods.sisa import SISA

HERE = Path(__file__).parent
OUT, PAGE = HERE / "records" / "exact.json", HERE.parent / "docs" / "exact.md"
SEEDS = (0, 1, 2)
SHARDS = (1, 5, 10)


def requests(data: Any) -> dict[str, torch.Tensor]:
    """What is to be forgotten, a mask each: a sample, five, a tenth, a class."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    some = {"1 sample": order[:1], "5 samples": order[:5], "10 % of the samples": order[: len(order) // 10]}
    masks = {name: torch.zeros(len(data.train), dtype=torch.bool).scatter(0, rows, True) for name, rows in some.items()}
    return masks | {"class 3": data.train.y == 3}


def right(model: nn.Module, samples: untrain.Samples, norm: Any) -> float:
    out, y, _ = untrain.predict(untrain.Network(model), samples.prepared(norm))
    return float((out.argmax(1) == y).double().mean())


def told(model: nn.Module, split: untrain.Split, norm: Any) -> dict[str, float]:
    """Accuracy on what is forgotten, and on test images: of classes that stay."""
    stay = split.test[~torch.isin(split.test.y, torch.tensor(split.classes))] if split.classes else split.test
    return {"forgotten": round(right(model, split.forget, norm), 4), "test": round(right(model, stay, norm), 4)}


def main() -> None:
    """Run what is missing, and draw."""
    data, norm, recipe = untrain.load("digits"), untrain.load_model("digits").norm, untrain.recipe_for("digits", 10)
    there = {(line["method"], line["request"], line["seed"]) for line in read(OUT)["lines"]}
    for method in (*(SISA(shards=s) for s in SHARDS), CertifiedRemoval()):
        for seed in SEEDS:
            if (repr(method), "class 3", seed) in there:
                continue
            began = untrain.prepare(method, data.train, recipe=recipe, norm=norm, seed=seed)
            for name, mask in requests(data).items():
                split = untrain.Split(data.train[mask], data.train[~mask], data.test, (3,) if name == "class 3" else ())
                result = untrain.unlearn(began.model, split, method, recipe=recipe, seed=seed)
                anew = untrain.prepare(method, split.retain, recipe=recipe, norm=norm, seed=100 + seed)
                line: dict[str, Any] = {"method": repr(method), "request": name, "seed": seed, "passes": result.passes, "seconds": round(result.seconds, 2), "anew": anew.passes}
                line |= {"before": told(began.model, split, norm), "after": told(result.model, split, norm), "retrained": told(anew.model, split, norm)}
                if isinstance(method, CertifiedRemoval):
                    line |= {"phases": list(result.trace), "spent": float(result.model.spent), "budget": method.budget}  # type: ignore[arg-type]
                add(OUT, line)
            if isinstance(method, CertifiedRemoval):
                add(OUT, in_a_row(method, began.model, data, seed))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(placed(placed(page, "table sisa", sisa_table()), "table certified", certified_table()), encoding="utf-8")


def in_a_row(method: CertifiedRemoval, model: nn.Module, data: Any, seed: int) -> dict[str, Any]:
    """How many single samples are removed, one after another, before the noise hides no more; what is spent beside what is left."""
    order, gone, off, began = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed)), 0, 0.0, time.perf_counter()
    while True:
        result = untrain.unlearn(model, untrain.Split(data.train[order[gone : gone + 1]], data.train[order[gone + 1 :]], data.test, ()), method, seed=seed)
        if "train" in result.trace:
            break
        model, gone = result.model, gone + 1
        off = left(method, model, data.train[order[gone:]])
    each = (time.perf_counter() - began) / (gone + 1)
    return {
        "method": repr(method),
        "request": "one after another",
        "seed": seed,
        "removed": gone,
        "spent": float(model.spent),
        "budget": method.budget,
        "left": off,
        "each": round(each, 3),
    }  # type: ignore[arg-type]


def left(method: CertifiedRemoval, model: Any, samples: untrain.Samples) -> float:
    """The length of the gradient of the loss on these samples, noise and penalty with it."""
    x, y = samples.prepared(model.norm).batch(torch.arange(len(samples)))
    weight, bias = (p.detach().clone().requires_grad_() for p in (model.linear.weight, model.linear.bias))
    said = x.double().flatten(1) @ weight.T + bias  # type: ignore[union-attr]
    w = torch.cat([weight, bias[:, None]], 1)
    size = nn.functional.binary_cross_entropy_with_logits(said, nn.functional.one_hot(y, 10).double(), reduction="sum")
    total = size + method.lam * len(samples) / 2 * w.square().sum() + (model.noise * w).sum()
    return math.sqrt(sum(float(g.square().sum()) for g in torch.autograd.grad(total, [weight, bias])))


def mean(lines: list[dict[str, Any]], *path: str) -> float:
    values = []
    for line in lines:
        found: Any = line
        for key in path:
            found = found[key]
        values.append(float(found))
    return statistics.fmean(values)


def share(value: float) -> str:
    return f"{100 * value:.1f}%"


def sisa_table() -> str:
    """A row for each number of shards and request: means over the seeds."""
    lines = [line for line in read(OUT)["lines"] if line["method"].startswith("SISA")]
    rows = ["| shards | to forget | passes, as a share of training anew | forgotten, before | after | trained anew | test, before | after | trained anew |", "|" + "---|" * 9]
    for method, request in dict.fromkeys((line["method"], line["request"]) for line in lines):
        some = [line for line in lines if (line["method"], line["request"]) == (method, request)]
        cost = statistics.fmean(line["passes"] / line["anew"] for line in some)
        cells = [share(mean(some, when, what)) for what in ("forgotten", "test") for when in ("before", "after", "retrained")]
        rows.append(f"| {method.partition('shards=')[2].partition(',')[0]} | {request} | {share(cost)} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def certified_table() -> str:
    """A row for each request, and one for removals in a row: means over the seeds."""
    lines = [line for line in read(OUT)["lines"] if line["method"].startswith("Certified")]
    rows = ["| to forget | how | spent, of a budget of | forgotten, before | after | trained anew | test, before | after | trained anew |", "|" + "---|" * 9]
    for request in dict.fromkeys(line["request"] for line in lines):
        some = [line for line in lines if line["request"] == request]
        spent = f"{mean(some, 'spent'):.3f} of {mean(some, 'budget'):.2f}"
        if request == "one after another":
            counts = ", ".join(str(line["removed"]) for line in some)
            rows.append(f"| {request} | {counts} samples, then trained anew | {spent}; the gradient left is {mean(some, 'left'):.4f} | | | | | | |")
            continue
        anew = sum("train" in line["phases"] for line in some)
        cells = [share(mean(some, when, what)) for what in ("forgotten", "test") for when in ("before", "after", "retrained")]
        rows.append(f"| {request} | {'a Newton step' if not anew else f'trained anew in {anew} of {len(some)}'} | {spent} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
