"""Reference data: digits out of scikit-learn, and CIFAR from a folder of parquet files or torchvision's download."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from untrain.core import disk
from untrain.core.data import CropFlip, Data, Samples
from untrain.core.errors import BadData, MissingExtra
from untrain.core.files import cache_root
from untrain.core.vision import import_torchvision
from untrain.sources import reading

KNOWN = ("digits", "cifar10", "cifar100")
"""Data sets by name."""


def data_root() -> Path | None:
    """The folder named by UNTRAIN_DATA, if any."""
    named = os.environ.get("UNTRAIN_DATA")
    return Path(disk.at_home(named)) if named else None


def load(name: str, root: Path | None = None) -> Data:
    """Data by name: `digits`, `cifar10`, `cifar100`, or any form that `untrain.sources` reads, as it stands.

    Args:
        name: A known name, or another.
        root: Where the known ones lie; UNTRAIN_DATA where none is given.

    Raises:
        BadArgument: a name that leads nowhere.
        BadData: the files are not there, or broken.
        MissingExtra: a library that is not installed.
    """
    if name == "digits":
        return digits()
    if name in KNOWN:
        base = root or data_root()
        if base is not None and (base / name).is_dir():
            return parquet(base / name, augment=CropFlip(4, flip=True))
        return _downloaded(name)
    return reading.read(name)


def mirrors(name: str) -> bool:
    """Whether an image of a known data set, mirrored, is one of the same class."""
    return name != "digits"


def folder_of(name: Any, root: Path | None = None) -> Path | None:
    """The folder of a known data set, where it lies in one."""
    base = root or data_root()
    return base / name if isinstance(name, str) and name in KNOWN and base is not None and (base / name).is_dir() else None


def digits() -> Data:
    """The 1,797 8x8 digits that scikit-learn brings: every fourth is for testing."""
    images, labels = _brought()
    x = torch.tensor(images * (255 / 16)).round().to(torch.uint8)[:, None]
    y = torch.tensor(labels, dtype=torch.long)
    test = torch.arange(len(y)) % 4 == 3
    names = [str(i) for i in range(10)]
    shift = CropFlip(1, flip=False)
    digest = hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()
    return Data("digits", Samples(x[~test], y[~test], names=names, augment=shift), Samples(x[test], y[test], names=names, augment=shift), digest)


def _brought() -> tuple[Any, Any]:
    """Images [n, 8, 8] of 0 to 16, and labels [n]; out of the file, since importing scikit-learn brings all of scipy's statistics."""
    found = importlib.util.find_spec("sklearn")
    file = Path((found and found.origin) or "").parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(int)
    from sklearn.datasets import load_digits

    told: Any = load_digits()
    return told.images, told.target


def parquet(folder: Path, augment: CropFlip | None = None) -> Data:
    """Read `train-*.parquet` and `test-*.parquet` (columns `image` and `label`, class names in the schema)."""
    return reading.read(folder, augment=augment)


def _downloaded(name: str) -> Data:
    """CIFAR by torchvision, which downloads it once into the cache and compares its hash each time.

    Raises:
        BadData: it could not be had.
    """
    try:
        datasets = import_torchvision().datasets
    except MissingExtra as error:
        raise BadData(f"no data {name!r} here: name its folder in UNTRAIN_DATA or by --data-root, or let torchvision download it: pip install 'untrain[vision]'") from error
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    made, digest = {}, hashlib.sha256()
    for part in ("train", "test"):
        try:
            found = kind(str(cache_root()), train=part == "train", download=True)
        except Exception as error:  # a download that breaks off, a file of another hash and a missing network have no common class
            fact = f"{name} could not be had whole ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
            raise BadData(f"{fact}; see to the network and try again, or name its folder in UNTRAIN_DATA or by --data-root") from error
        digest.update(found.data.tobytes())
        x = torch.from_numpy(np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))
        made[part] = Samples(x, torch.tensor(found.targets), names=found.classes, augment=CropFlip(4, flip=True))
    return Data(name, made["train"], made["test"], digest.hexdigest())
