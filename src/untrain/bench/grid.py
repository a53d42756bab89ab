"""A benchmark is a grid of independent cells. Each writes one record; a record that is there is not made again.

A scenario is a TOML file: the model and data, the cells, and the retrained models beside them. `--shard i/n` spreads a
grid over processes or machines that share a folder; no scheduler of our own.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from untrain import runs
from untrain.core import discover, record, store
from untrain.core.audit import Subject, audit
from untrain.core.data import Split
from untrain.core.engine import Precision
from untrain.core.errors import BadArgument
from untrain.core.run import describe, unlearn
from untrain.core.verdict import judge, what
from untrain.zoo.data import Data, load
from untrain.zoo.models import load_model
from untrain.zoo.networks import NETWORKS, parameters
from untrain.zoo.recipes import recipe_for


@dataclass(frozen=True)
class Cell:
    """One run.

    Args:
        model: Network of the zoo, with its published weights.
        data: Data set.
        setting: A method, or a method and preset: `unsir:paper`.
        classes: What to forget.
        seed: Seed.
        precision: `fp32` or `bf16`.
    """

    model: str
    data: str
    setting: str
    classes: tuple[int, ...]
    seed: int
    precision: Precision

    @property
    def name(self) -> str:
        """File name of its record: readable, and changed by any change of what is run."""
        method = discover.settings(*self.setting.split(":"))
        digest = hashlib.sha256(json.dumps([asdict(self), repr(method)], sort_keys=True).encode()).hexdigest()
        return f"{self.setting.replace(':', '-')}_{'-'.join(map(str, self.classes))}_s{self.seed}_{digest[:8]}.json"

    @property
    def command(self) -> list[str]:
        """Arguments of `untrain` that run it."""
        method = discover.settings(*self.setting.split(":"))
        forget = "class:" + ",".join(map(str, self.classes))
        flags = runs.flags(model=self.model, data=self.data, forget=forget, out="run", seed=self.seed or None, precision=None if self.precision == "fp32" else self.precision)
        return ["unlearn", discover.name_of(method), *flags, *runs.setting_flags(method)]


@dataclass(frozen=True)
class Scenario:
    """A grid and what it stands on.

    Args:
        name: Its name, and that of its folder of records.
        cells: The runs.
        folder: Where it lies.
    """

    name: str
    cells: tuple[Cell, ...]
    folder: Path

    @classmethod
    def read(cls, path: Path) -> Scenario:
        """Read a scenario from TOML.

        Raises:
            BadArgument: not a scenario.
        """
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
            cells = [
                Cell(found["model"], found["data"], setting, tuple(classes), seed, found["precision"])
                for block in found["cells"]
                for setting, classes, seed in itertools.product(block["settings"], block["classes"], block["seeds"])
            ]
        except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
            raise BadArgument(f"{path.name} is not a scenario: {error}") from error
        return cls(path.stem, tuple(dict.fromkeys(cells)), path.parent)

    @property
    def records(self) -> Path:
        """Folder of its records."""
        return self.folder / "records" / self.name

    def references(self, classes: tuple[int, ...]) -> list[Path]:
        """Weights of the models that were retrained without these classes."""
        tag = "-".join(map(str, classes))
        return sorted((self.folder / "references" / self.name).glob(f"retrain_{tag}_s*.safetensors"))

    def missing(self) -> Iterator[Cell]:
        """Cells that have no record yet."""
        return (cell for cell in self.cells if not (self.records / cell.name).is_file())


def reference(scenario: Scenario, classes: tuple[int, ...], seed: int) -> Path:
    """Retrain without these classes by the zoo's recipe, and keep the weights in half precision with what is known of them.

    Returns:
        The file of weights; one that is there is not made again.
    """
    first = scenario.cells[0]
    path = scenario.folder / "references" / scenario.name / f"retrain_{'-'.join(map(str, classes))}_s{seed}.safetensors"
    if path.is_file():
        return path
    data = load(first.data)
    model, split = load_model(first.model, data.classes), Split.by_class(data.train, data.test, forget=classes)
    recipe = recipe_for(first.model, data.classes)
    state = scenario.folder / "references" / f".{path.stem}"
    result = unlearn(model, split, discover.settings("retrain"), seed=seed, recipe=recipe, precision=first.precision, store=state)
    keep_reference(path, result.model, {"recipe": asdict(recipe), "seed": seed, "precision": first.precision, "passes": result.passes, "seconds": result.seconds})
    shutil.rmtree(state)
    return path


def keep_reference(path: Path, module: nn.Module, about: dict[str, Any]) -> None:
    """Write a reference's weights, halved, and beside them what is known of it."""
    halved = {k: v.half() if v.is_floating_point() else v for k, v in module.state_dict().items()}
    store.save_weights(path, halved, {})
    store.write(path.with_suffix(".json"), (json.dumps(record.finite(about), indent=1, sort_keys=True) + "\n").encode())


def run(scenario: Scenario, *, shard: tuple[int, int] = (0, 1), say: Callable[[str], None] = print) -> int:
    """Run the cells of this shard that have no record yet; how many that were.

    Args:
        scenario: The grid.
        shard: (i, n): every n-th cell from the i-th.
        say: Told of each cell.
    """
    mine = set(scenario.cells[shard[0] :: shard[1]])
    subjects: dict[int, Subject] = {}
    held: dict[Any, Any] = {}
    count = 0
    for cell in [c for c in scenario.missing() if c in mine]:
        found = run_cell(cell, scenario, subjects, held)
        store.write(scenario.records / cell.name, record.dumps(found))
        say(f"{cell.name}: {found['verdict']['code']}")
        count += 1
    return count


def run_cell(cell: Cell, scenario: Scenario, subjects: dict[int, Subject], held: dict[Any, Any]) -> dict[str, Any]:
    """Run and audit one cell; what is loaded or measured once is held for the next."""
    data: Data = _once(held, cell.data, lambda: load(cell.data))
    model: nn.Module = _once(held, (cell.model, cell.data), lambda: load_model(cell.model, data.classes))
    split: Split = _once(held, (cell.data, cell.classes), lambda: Split.by_class(data.train, data.test, forget=cell.classes))
    paths = scenario.references(cell.classes)
    retrained = [_once(held, path, partial(_reference, cell.model, data.classes, path)) for path in paths]
    method = discover.settings(*cell.setting.split(":"))
    result = unlearn(model, split, method, seed=cell.seed, precision=cell.precision)
    norm = getattr(model, "norm", None)
    found = record.compose(
        describe(result),
        command=cell.command,
        request={"forget": "class:" + ",".join(map(str, cell.classes)), "classes": list(cell.classes), "names": [data.train.names[c] for c in cell.classes]},
        model={
            "name": cell.model,
            "origin": "published checkpoint",
            "sha256": store.weights_hash(model.state_dict()),
            "parameters": parameters(model),
            "norm": None if norm is None else asdict(norm),
        },
        data={"name": data.name, "sha256": data.sha256, "counts": {name: len(part) for name, part in split.parts.items()}},
        output={"file": "model.safetensors", "sha256": store.weights_hash(result.model.state_dict())},
    )
    found["references"] = [{"column": "retrained", "file": p.name, "sha256": store.sha256(p), "about": _about(p)} for p in paths]
    audits = [discover.lookup("audits", name)() for name in discover.found("audits")]
    said = audit(result.model, split, audits, original=model, retrained=retrained, subjects=subjects)
    subjects.pop(id(result.model))
    found["audits"] = record.finite(said)
    found["verdict"] = record.finite(judge(found["audits"], found["run"]["marks"], what(found["request"])))
    return found


def _once(held: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    if key not in held:
        held[key] = make()
    return held[key]


def _reference(name: str, classes: int, path: Path) -> nn.Module:
    module = NETWORKS[name](classes)
    store.load_into(module, store.load_weights(path), path.name)
    return module


def _about(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    found: dict[str, Any] = json.loads(beside.read_text()) if beside.is_file() else {}
    return found
