"""A benchmark is a grid of independent cells. Each writes one record; a record that is there is not made again.

A scenario is a TOML file: the model and data, the cells, and the retrained models beside them. `--shard i/n` spreads a
grid over processes or machines that share a folder; no scheduler of our own.

    model = "resnet20"                     # of the zoo; its published weights, or
    weights = "references/own/original_s0.safetensors"   # a file beside the scenario
    data = "cifar10"
    precision = "bf16"
    norm = "cifar10"                       # where it is not the network's own
    references = "cifar10"                 # folder of retrained models, where it is not the scenario's own name

    [[cells]]                              # every setting x classes x seed x value
    settings = ["unsir", "unsir:paper"]
    classes = [[3], [0, 2]]
    seeds = [0]
    audits = ["accuracy", "prototype"]     # all, where none are named
    sweep = { impair_lr = [0.001, 0.01] }  # one field after another, the rest as it is

    [[chains]]                             # class after class, each from what the one before left
    setting = "unsir"
    classes = [3, 5, 0]
    seed = 0
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from untrain import runs
from untrain.core import discover, files
from untrain.core.audit import Subject, audit
from untrain.core.data import Data, Split
from untrain.core.engine import Precision
from untrain.core.errors import BadArgument, Diverged
from untrain.core.method import Method
from untrain.core.model import Model
from untrain.core.unlearn import Result, describe, unlearn
from untrain.evidence import record
from untrain.evidence.verdict import judge, what
from untrain.zoo.networks import parameters
from untrain.zoo.recipes import Recipe, recipe_for
from untrain.zoo.sets import KNOWN, data_root, load


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
        weights: File of the model's weights, beside the scenario; the published ones where none is named.
        changes: Fields of the setting that have other values.
        audits: The audits asked; all where none are named.
        after: Classes forgotten one after the other before this cell's, by the same setting and seed.
        norm: The normalisation, by name or as `mean/std`; the network's own where none is named.
    """

    model: str
    data: str
    setting: str
    classes: tuple[int, ...]
    seed: int
    precision: Precision
    weights: str | None = None
    changes: tuple[tuple[str, Any], ...] = ()
    audits: tuple[str, ...] = ()
    after: tuple[int, ...] = ()
    norm: str | None = None

    @property
    def method(self) -> Method:
        """The setting with its changes."""
        method: Method = discover.settings(*self.setting.split(":"))
        return replace(method, **dict(self.changes))

    @property
    def name(self) -> str:
        """File name of its record: readable, and changed by any change of what is run."""
        said = {k: v for k, v in asdict(self).items() if v not in (None, ())}
        digest = hashlib.sha256(json.dumps([said, repr(self.method)], sort_keys=True).encode()).hexdigest()
        changed = "".join(f"_{name}={value}" for name, value in self.changes)
        classes = "-".join(map(str, self.classes)) if len(self.classes) < 8 else f"{len(self.classes)}classes"
        return f"{self.setting.replace(':', '-')}{changed}_{classes}_s{self.seed}_{digest[:8]}.json"

    @property
    def command(self) -> list[str]:
        """Arguments of `untrain` that run it."""
        forget = "class:" + ",".join(map(str, self.classes))
        weights = Path(self.weights).name if self.weights else None
        precision = None if self.precision == "fp32" else self.precision
        flags = runs.flags(model=self.model, data=self.data, forget=forget, out="run", weights=weights, seed=self.seed or None, precision=precision, norm=self.norm)
        return ["unlearn", discover.name_of(self.method), *flags, *runs.setting_flags(self.method)]


@dataclass(frozen=True)
class Scenario:
    """A grid and what it stands on.

    Args:
        name: Its name, and that of its folder of records.
        cells: The runs.
        folder: Where it lies.
        beside: Name of the folder of its retrained models.
    """

    name: str
    cells: tuple[Cell, ...]
    folder: Path
    beside: str

    @classmethod
    def read(cls, path: Path) -> Scenario:
        """Read a scenario from TOML.

        Raises:
            BadArgument: not a scenario.
        """
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
            cells = [*_blocks(found), *_chains(found)]
        except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
            raise BadArgument(f"{path.name} is not a scenario: {error}") from error
        return cls(path.stem, tuple(dict.fromkeys(cells)), path.parent, found.get("references", path.stem))

    @property
    def records(self) -> Path:
        """Folder of its records."""
        return self.folder / "records" / self.name

    def references(self, classes: tuple[int, ...]) -> list[Path]:
        """Weights of the models that were retrained without these classes."""
        tag = "-".join(map(str, classes))
        name = f"retrain_{tag}_s*.safetensors"
        return sorted((self.folder / "references" / self.beside).glob(name)) or sorted(kept(self.beside).glob(name))

    def weights(self, cell: Cell) -> Path | None:
        """The cell's file of weights: beside the scenario, or in the cache."""
        if cell.weights is None:
            return None
        beside = self.folder / cell.weights
        return beside if beside.is_file() else kept(self.beside) / beside.name

    def missing(self) -> Iterator[Cell]:
        """Cells that have no record yet."""
        return (cell for cell in self.cells if not (self.records / cell.name).is_file())


def kept(name: str) -> Path:
    """Where trained networks that are too large for the tree are kept: the cache."""
    return files.cache_root() / "references" / name


def _blocks(found: dict[str, Any]) -> Iterator[Cell]:
    if not found.keys() & {"cells", "chains"}:
        raise KeyError("cells")
    for block in found.get("cells", []):
        sweeps: list[tuple[tuple[str, Any], ...]] = [((name, value),) for name, values in block.get("sweep", {}).items() for value in values] or [()]
        for setting, classes, seed, changes in itertools.product(block["settings"], block["classes"], block["seeds"], sweeps):
            yield Cell(
                found["model"],
                found["data"],
                setting,
                tuple(classes),
                seed,
                found["precision"],
                weights=found.get("weights"),
                norm=found.get("norm"),
                changes=changes,
                audits=tuple(block.get("audits", ())),
            )


def _chains(found: dict[str, Any]) -> Iterator[Cell]:
    for chain in found.get("chains", []):
        for i, label in enumerate(chain["classes"]):
            after, audits = tuple(chain["classes"][:i]), tuple(chain.get("audits", ()))
            yield Cell(
                found["model"],
                found["data"],
                chain["setting"],
                (label,),
                chain["seed"],
                found["precision"],
                weights=found.get("weights"),
                norm=found.get("norm"),
                audits=audits,
                after=after,
            )


def reference(scenario: Scenario, classes: tuple[int, ...], seed: int) -> Path:
    """Retrain without these classes by the original's recipe (the zoo's, where it tells none), and keep the weights in half precision with what is known of them.

    Returns:
        The file of weights; one that is there is not made again.
    """
    first = scenario.cells[0]
    path = scenario.folder / "references" / scenario.beside / f"retrain_{'-'.join(map(str, classes))}_s{seed}.safetensors"
    if path.is_file():
        return path
    data = _data(first.data)
    weights = scenario.weights(first)
    model, split = runs.given_model(first.model, data.classes, weights=weights).module, Split.by_class(data.train, data.test, forget=classes)
    told = _about(weights).get("recipe") if weights is not None else None
    recipe = Recipe(**told) if told else recipe_for(first.model, data.classes)
    state = scenario.folder / "references" / f".{path.stem}"
    result = unlearn(model, split, discover.settings("retrain"), seed=seed, recipe=recipe, precision=first.precision, store=state)
    keep_reference(path, result.model, {"recipe": asdict(recipe), "seed": seed, "precision": first.precision, "passes": result.passes, "seconds": result.seconds})
    shutil.rmtree(state)
    return path


def keep_reference(path: Path, module: nn.Module, about: dict[str, Any]) -> None:
    """Write a reference's weights, halved, and beside them what is known of it."""
    halved = {k: v.half() if v.is_floating_point() else v for k, v in module.state_dict().items()}
    files.save_weights(path, halved, {})
    files.write(path.with_suffix(".json"), (json.dumps(record.finite(about), indent=1, sort_keys=True) + "\n").encode())


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
        try:
            found = run_cell(cell, scenario, subjects, held)
        except Diverged as error:
            # It writes nothing, as the command line would; the cell stays open, and the table says so.
            say(f"{cell.name}: {error}")
            continue
        files.write(scenario.records / cell.name, record.dumps(found))
        say(f"{cell.name}: {found['verdict']['code']}")
        count += 1
    return count


def run_cell(cell: Cell, scenario: Scenario, subjects: dict[int, Subject], held: dict[Any, Any]) -> dict[str, Any]:
    """Run and audit one cell; what is loaded or measured once is held for the next."""
    data: Data = _once(held, cell.data, lambda: _data(cell.data))
    weights = scenario.weights(cell)
    given: Model = _once(held, (cell.model, cell.data, weights, cell.norm), lambda: runs.given_model(cell.model, data.classes, weights=weights, norm=cell.norm))
    model, norm = given.module, given.norm
    split: Split = _once(held, (cell.data, cell.classes, cell.after), lambda: Split.by_class(data.train, data.test, forget=(*cell.after, *cell.classes)))
    paths = scenario.references(split.classes)
    retrained = [_once(held, path, partial(_module, cell.model, data.classes, path)) for path in paths]
    result = _forgotten(cell, data, given, held)
    found = record.compose(
        describe(result),
        command=cell.command,
        request=runs.request("class:" + ",".join(map(str, cell.classes)), split) | ({"after": list(cell.after)} if cell.after else {}),
        model={
            "name": cell.model,
            "origin": "published checkpoint" if weights is None else weights.name,
            "sha256": files.weights_hash(model.state_dict()),
            "parameters": parameters(model),
            "norm": None if norm is None else asdict(norm),
        },
        data={"name": data.name, "sha256": data.sha256, "counts": {name: len(part) for name, part in split.parts.items()}},
        output={"file": "model.safetensors", "sha256": files.weights_hash(result.model.state_dict())},
    )
    found["references"] = [{"column": "retrained", "file": p.name, "sha256": files.sha256(p), "about": _about(p)} for p in paths]
    audits = [discover.lookup("audits", name)() for name in cell.audits or discover.found("audits")]
    said = audit(result.model, split, audits, original=model, retrained=retrained, norm=norm, subjects=subjects)
    subjects.pop(id(result.model))
    found["audits"] = record.finite(said)
    found["verdict"] = record.finite(judge(found["audits"], found["run"]["marks"], what(found["request"])))
    return found


def _forgotten(cell: Cell, data: Data, given: Model, held: dict[Any, Any]) -> Result:
    """What the cell's run leaves: in a chain, from what the runs before it left."""
    model, norm = given.module, given.norm

    def run(module: nn.Module, gone: tuple[int, ...]) -> Result:
        split = Split.by_class(data.train, data.test, forget=gone)
        return unlearn(module, split, cell.method, seed=cell.seed, precision=cell.precision, norm=norm)

    for i in range(1, len(cell.after) + 1):
        gone, key = cell.after[:i], (cell.setting, cell.changes, cell.seed, cell.weights, cell.after[:i])
        if key not in held:
            held[key] = run(model, gone).model
        model = held[key]
    return run(model, (*cell.after, *cell.classes))


def _data(name: str) -> Data:
    """Data by name, or a folder of that name beside the known ones."""
    root = data_root()
    return load(name if name in KNOWN or root is None else str(root / name))


def _once(held: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    if key not in held:
        held[key] = make()
    return held[key]


def _module(name: str, classes: int, weights: Path) -> nn.Module:
    return runs.given_model(name, classes, weights=weights).module


def _about(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    found: dict[str, Any] = json.loads(beside.read_text()) if beside.is_file() else {}
    return found
