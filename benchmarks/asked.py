"""What several benchmarks share: a method by words, a network by a recipe, settings beside retrained models, a record of lines, and a table's place on a page."""

from __future__ import annotations

import ast
import dataclasses
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

import untrain
from untrain.core import discover, disk


def setting(text: str, also: Mapping[str, Callable[[], Any]] = {}) -> Any:
    """A method by its name, its preset and what differs: `unsir floor=0`.

    Args:
        text: The words.
        also: Methods that the library does not have, by name.
    """
    name, *changes = text.split()
    method = also[name]() if name in also else discover.settings(*name.split(":"))
    return dataclasses.replace(method, **{k: ast.literal_eval(v) for k, v in (c.split("=") for c in changes)})


def trained(recipe: Any, samples: untrain.Samples, seed: int) -> nn.Module:
    """A network trained on these samples.

    Args:
        recipe: Builds and trains it.
        samples: As it reads them.
        seed: Seed of its first weights and of the training.
    """
    with untrain.seeded(seed) as run:
        network = untrain.Network(recipe.build())
        run.network = network
        recipe.train(network, samples)
    return network.module


def beside(
    original: nn.Module, retrained: Sequence[nn.Module], split: untrain.Split, settings: Sequence[str], audits: Sequence[str], *, seed: int, norm: untrain.Norm | None = None
) -> Iterator[dict[str, Any]]:
    """What is told of each setting: what ran, what is still answered, and what comes back, with the retrained models beside it.

    Args:
        original: The network that forgets.
        retrained: Networks that never saw what is forgotten.
        split: The data.
        settings: Methods by words.
        audits: What is asked, by name.
        seed: Seed of the method.
        norm: The original's normalisation.
    """
    asked, subjects = [discover.lookup("audits", name)() for name in audits], {}  # type: ignore[var-annotated]
    for text in settings:
        began = time.perf_counter()
        result = untrain.unlearn(original, split, setting(text), seed=seed, norm=norm)
        seconds = time.perf_counter() - began
        found = untrain.audit(result.model, split, asked, original=original, retrained=retrained, norm=norm, subjects=subjects)
        subjects.pop(id(result.model))
        yield {
            "setting": text,
            "counts": {name: len(part) for name, part in split.parts.items()},
            "classes": len({*split.forget.classes, *split.retain.classes}),
            "phases": {name: phase.steps for name, phase in result.trace.items()},
            "passes": result.passes,
            "seconds": round(seconds, 2),
            "marks": list(result.marks),
            "rows": {
                row["name"]: {c: [(round(v["value"], 4), v["n"]) for v in vs] for c, vs in row["values"].items() if vs}
                for entry in found
                for row in entry["rows"]
                if row["unit"] == "share" and "less" not in row["name"]
            },
        }


def read(path: Path) -> dict[str, Any]:
    """A record of lines; an empty one where there is none."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"lines": []}
    return found


def add(path: Path, line: dict[str, Any]) -> None:
    """Add a line to a record, and say where it was made."""
    # Read again: another process may have added lines meanwhile.
    kept = read(path)
    kept["lines"].append(line)
    kept["environment"] = {"untrain": version("untrain"), "torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
    kept["environment"] |= {"precision": "fp32", "threads": torch.get_num_threads()}
    path.parent.mkdir(parents=True, exist_ok=True)
    first = f'{{"{min(line)}"'
    disk.write(path, (json.dumps(kept, sort_keys=True) + "\n").replace(first, f"\n{first}").encode())


def placed(text: str, mark: str, drawn: str) -> str:
    """A page's text with what was drawn between `<!-- MARK -->` and `<!-- end -->`."""
    before, _, rest = text.partition(f"<!-- {mark} -->\n")
    return f"{before}<!-- {mark} -->\n{drawn}<!-- end -->{rest.partition('<!-- end -->')[2]}"
