"""What a name of data names: which form, and where its folder or file lies."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from untrain.core.errors import BadArgument
from untrain.sources.forms import hf_sets
from untrain.sources.forms.csvs import table
from untrain.sources.forms.folders import class_folders
from untrain.sources.forms.objects import objects
from untrain.sources.forms.parquets import parquets
from untrain.sources.forms.parts import PLAIN, Columns, Found
from untrain.sources.forms.torchvision_sets import torchvision_set
from untrain.sources.libraries.functions import call
from untrain.sources.names import named

FORMS = (
    "a folder of class folders (or train/ and test/ of them), labels.csv (path,label), a CSV of numbers and categories with a label, a parquet file or folder, "
    "hf:NAME_OR_FOLDER[:config], torchvision:NAME, package.module:function, path/data.py:function"
)
"""How data are named that the zoo does not have."""


def found(data: Any, columns: Columns = PLAIN) -> Found:
    """What a name, or an object, leads to.

    Args:
        data: The name or the object.
        columns: Which columns hold the image and the label.

    Raises:
        BadArgument: it leads nowhere (says which forms there are), or has no columns where some are named.
    """
    if not isinstance(data, str | os.PathLike):
        return Found("data", objects(data, columns=replace(columns, outside=True)))
    name = str(data)
    path, kind = Path(name), name.partition(":")[0]
    if columns.text and not path.exists():
        raise BadArgument(f"--text-column {columns.text}: texts are read out of a CSV or parquet files, and {name!r} is neither; a function gives token ids itself")
    if kind == "hf":
        return _hf(name.partition(":")[2], columns)
    if kind == "torchvision":
        return torchvision_set(name.partition(":")[2])
    if path.is_dir():
        return _directory(path, columns)
    if path.is_file() and not name.endswith(".py"):
        return table(path, columns=columns) if name.lower().removesuffix(".gz").endswith((".csv", ".tsv")) else parquets(path, columns)
    asked = named(name)
    if asked is not None and asked.runs_code:
        return Found(asked.shown, objects(call(name, None), asked.shown, replace(columns, outside=True)))
    raise BadArgument(f"no data {name!r}: it is not there by that name; give digits, cifar10, cifar100, {FORMS}")


def path_of(data: Any) -> Path | None:
    """The folder or file that a name of data names, if it names one."""
    if not isinstance(data, str | os.PathLike) or not str(data):
        return None
    name = str(data)
    if name.startswith(("torchvision:", "split:")):
        return None
    if name.startswith("hf:"):
        return Path(name.removeprefix("hf:")) if Path(name.removeprefix("hf:")).is_dir() else None
    asked = None if Path(name).exists() else named(name)
    if asked is not None and asked.runs_code:
        return asked.path
    return Path(name)


def shown(data: str) -> str:
    """A name of data as commands and records say it: without the way to a folder or file."""
    path = path_of(data)
    if path is None:
        return data
    before, after = ("hf:", "") if data.startswith("hf:") else ("", data.removeprefix(str(path)) if not Path(data).exists() and data.startswith(str(path)) else "")
    return f"{before}{path.resolve().name}{after}"


def at(data: str, path: Path) -> str:
    """A name of data with its folder or file at another place."""
    if data.startswith("hf:"):
        return f"hf:{path}"
    own = path_of(data)
    if own is None:
        return data
    return f"{path}{data.removeprefix(str(own))}"


def _directory(path: Path, columns: Columns) -> Found:
    name = path.resolve().name
    if hf_sets.saved(path):
        return _hf(str(path), columns)
    if any(path.glob("*.parquet")):
        return parquets(path, columns)
    if (path / "labels.csv").is_file():
        return table(path / "labels.csv", name, columns)
    if columns.named:
        raise BadArgument(f"{name} is a folder of class folders and has no columns; leave out --image-column, --label-column and --columns")
    return class_folders(path, name, columns)


def _hf(name: str, columns: Columns) -> Found:
    """A folder of files as `datasets` would read them is read here; what it wrote itself, and what lies on the Hub, it reads."""
    folder = Path(name)
    saved = hf_sets.saved(folder)
    if folder.is_dir() and not saved:
        return _directory(folder, columns)
    # What the Hub gives lies in its cache; what was saved holds its images itself.
    columns = columns if saved else replace(columns, outside=True)
    return Found(folder.resolve().name if saved else f"hf:{name}", objects(hf_sets.loaded(name), folder.name if saved else name, columns))
