"""What a benchmark is made of: a grid of independent cells, each with a record of its own.

A scenario is a TOML file: the model and data, the cells, and the retrained models beside them. `--shard i/n` spreads a
grid over processes or machines that share a folder; no scheduler of our own.

    model = "resnet20"                     # fields of `Inputs`: of the zoo; its published weights, or
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

    [[cells]]                              # or files of settings beside the scenario, as `unlearn --settings` reads them
    files = "settings/digits/*.toml"
    classes = [[3]]
    seeds = [0]

    [[cells]]                              # or lists of samples, as `--forget` names them
    settings = ["scrub"]
    lists = ["random:10%"]
    seeds = [0]

    [[chains]]                             # class after class, each from what the one before left
    setting = "unsir"
    classes = [3, 5, 0]
    seed = 0
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from untrain.core import discover, files
from untrain.core.errors import BadArgument
from untrain.core.method import Method
from untrain.core.network import exits_of
from untrain.core.settings import read_settings
from untrain.verbs.about import flags, setting_flags
from untrain.verbs.inputs import Inputs
from untrain.zoo.sets import KNOWN, data_root

_DEFAULTS = {field.name: field.default for field in fields(Inputs)}


@dataclass(frozen=True)
class Cell:
    """One run.

    Args:
        inputs: The model, its weights, the data, the seed, and so on.
        setting: A method, or a method and preset: `unsir:paper`.
        classes: What to forget.
        changes: Fields of the setting that have other values.
        audits: The audits asked; all where none are named.
        after: Classes forgotten one after the other before this cell's, by the same setting and seed.
        listed: A list of samples to forget in the place of classes, as `--forget` takes it.
    """

    inputs: Inputs
    setting: str
    classes: tuple[int, ...]
    changes: tuple[tuple[str, Any], ...] = ()
    audits: tuple[str, ...] = ()
    after: tuple[int, ...] = ()
    listed: str | None = None

    @property
    def method(self) -> Method:
        """The setting with its changes."""
        method: Method = discover.settings(*self.setting.split(":"))
        return replace(method, **dict(self.changes))

    @property
    def name(self) -> str:
        """File name of its record: readable, and changed by any change of what is run."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "inputs"}
        # Where it is run is not what is run, and a field that came later leaves the names that there were as they are.
        asked = {f.name: getattr(self.inputs, f.name) for f in fields(self.inputs) if f.name not in ("device", "data_root")}
        asked = {name: value for name, value in asked.items() if value != _DEFAULTS[name] or name in ("seed", "precision")}
        said = {k: str(v) if isinstance(v, Path) else v for k, v in (asked | own).items() if v not in (None, ())}
        digest = hashlib.sha256(json.dumps([said, _settings(self.method)], sort_keys=True).encode()).hexdigest()
        changed = "".join(f"_{name}={value}" for name, value in self.changes)
        classes = tagged(self.forget) if len(self.classes) < 8 else f"{len(self.classes)}classes"
        return f"{self.setting.replace(':', '-')}{changed}_{classes}_s{self.inputs.seed}_{digest[:8]}.json"

    @property
    def command(self) -> list[str]:
        """Arguments of `untrain` that run it."""
        words = replace(self.inputs, forget=self.forget).words(after={"forget": {"out": "run"}, "seed": {"precision": self.inputs.precision}})
        if self.inputs.precision == "fp32":
            del words["precision"]
        return ["unlearn", discover.name_of(self.method), *flags(**words), *setting_flags(self.method)]

    @property
    def forget(self) -> str:
        """What to forget, as the command line takes it."""
        return self.listed or by_class(self.classes)

    @property
    def asked(self) -> str:
        """The same with the classes that went before it: what its last run leaves without."""
        return self.listed or by_class(tuple(sorted((*self.after, *self.classes))))


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
            BadArgument: not a scenario, a word in it that nothing reads, or several exits.
        """
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
            _refuse_unread(found, path.name)
            cells = [*_blocks(found, path.parent), *_chains(found)]
        except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
            raise BadArgument(f"{path.name} is not a scenario: {error}") from error
        return cls(path.stem, tuple(dict.fromkeys(cells)), path.parent, found.get("references", path.stem))

    @property
    def records(self) -> Path:
        """Folder of its records."""
        return self.folder / "records" / self.name

    def references(self, forget: str) -> list[Path]:
        """Weights of the models that were retrained without what a request names."""
        name = f"retrain_{tagged(forget)}_s*.safetensors"
        return sorted((self.folder / "references" / self.beside).glob(name)) or sorted(kept(self.beside).glob(name))

    def weights(self, cell: Cell) -> Path | None:
        """The cell's file of weights: beside the scenario, or in the cache."""
        if cell.inputs.weights is None:
            return None
        beside = self.folder / cell.inputs.weights
        return beside if beside.is_file() else kept(self.beside) / beside.name

    def inputs(self, cell: Cell) -> Inputs:
        """The cell's inputs with its files where they lie."""
        root = data_root()
        # A folder of that name may lie beside the known data.
        data = cell.inputs.data if cell.inputs.data in KNOWN or root is None else str(root / cell.inputs.data)
        return replace(cell.inputs, data=data, weights=self.weights(cell), forget=cell.forget)

    def missing(self) -> Iterator[Cell]:
        """Cells that have no record yet."""
        return (cell for cell in self.cells if not (self.records / cell.name).is_file())


def by_class(classes: tuple[int, ...]) -> str:
    """Classes as `--forget` takes them."""
    return "class:" + ",".join(map(str, classes))


def tagged(forget: str) -> str:
    """What a request names, as it stands in the name of a file.

    >>> tagged("class:3,5"), tagged("random:10%,seed=3")
    ('3-5', 'random-10-seed-3')
    """
    return "-".join(re.findall(r"\w+", forget.removeprefix("class:")))


def kept(name: str) -> Path:
    """Where trained networks that are too large for the tree are kept: the cache."""
    return files.cache_root() / "references" / name


def _inputs(found: dict[str, Any], seed: int) -> Inputs:
    """The scenario's fields of `Inputs`, which all its cells share but for the seed."""
    named = {field.name: found[field.name] for field in fields(Inputs) if field.name in found}
    if "weights" in named:
        named["weights"] = Path(named["weights"])
    return Inputs(model=named.pop("model"), data=named.pop("data"), precision=named.pop("precision"), seed=seed, **named)


_WORDS = {
    "cells": ("settings", "files", "classes", "lists", "seeds", "audits", "sweep"),
    "chains": ("setting", "classes", "seed", "audits"),
}
"""What blocks say."""


def _refuse_unread(found: dict[str, Any], name: str) -> None:
    """Refuse a word that nothing reads: a cell would run without what it was to change."""
    known = ({*_DEFAULTS} - {"seed", "forget"}) | {"references", *_WORDS}
    unread = [word for word in found if word not in known]
    unread += [f"{word} in a block of {kind}" for kind, words in _WORDS.items() for block in found.get(kind, ()) for word in block if word not in words]
    if unread:
        raise BadArgument(f"{name} says {unread[0]}, which nothing reads; see the words in untrain.bench.scenario")
    if len(exits_of(found.get("head"))) > 1:
        raise BadArgument(f"{name} names the exits {found['head']}, and a cell looks at one answer; name the head that counts")


def _settings(method: Method) -> str:
    """A method as its `repr`, without fields that came `later`: they leave the records that there were as they are, and a cell that changes one says so."""
    said = ", ".join(f"{f.name}={getattr(method, f.name)!r}" for f in fields(method) if not f.metadata.get("later"))
    return f"{type(method).__name__}({said})"


def _blocks(found: dict[str, Any], folder: Path) -> Iterator[Cell]:
    if not found.keys() & {"cells", "chains"}:
        raise KeyError("cells")
    for block in found.get("cells", []):
        sweeps: list[tuple[tuple[str, Any], ...]] = [((name, value),) for name, values in block.get("sweep", {}).items() for value in values] or [()]
        named = [(setting, changes) for setting in block.get("settings", ()) for changes in sweeps]
        said = sorted(folder.glob(block["files"])) if "files" in block else []
        named += [_said(file) for file in said]
        if not block.keys() & {"settings", "files"}:
            raise KeyError("settings")
        if "files" in block and not said:
            raise KeyError(f"files = {block['files']!r} names none")
        wanted: list[tuple[tuple[int, ...], str | None]] = [(tuple(classes), None) for classes in block.get("classes", ())]
        wanted += [((), listed) for listed in block.get("lists", ())]
        if not wanted:
            raise KeyError("classes")
        for (setting, changes), (classes, listed), seed in itertools.product(named, wanted, block["seeds"]):
            yield Cell(_inputs(found, seed), setting, classes, changes, tuple(block.get("audits", ())), listed=listed)


def _said(file: Path) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """What a file of settings says: the method, and what is not its default."""
    method = read_settings(file)
    name = discover.name_of(method)
    default = discover.settings(name)
    return name, tuple((f.name, getattr(method, f.name)) for f in fields(method) if getattr(method, f.name) != getattr(default, f.name))


def _chains(found: dict[str, Any]) -> Iterator[Cell]:
    for chain in found.get("chains", []):
        for i, label in enumerate(chain["classes"]):
            yield Cell(_inputs(found, chain["seed"]), chain["setting"], (label,), audits=tuple(chain.get("audits", ())), after=tuple(chain["classes"][:i]))
