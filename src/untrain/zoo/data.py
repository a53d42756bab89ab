"""Reference data: digits out of scikit-learn, and CIFAR from a folder of parquet files or torchvision's download."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from untrain.core import store
from untrain.core.data import CropFlip, Samples
from untrain.core.errors import BadArgument, BadData, MissingExtra
from untrain.core.vision import import_torchvision

KNOWN = ("digits", "cifar10", "cifar100")
"""Data sets by name."""


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: its name, training and test samples, and a hash of its files.

    Args:
        name: Its name, or the name of its folder.
        train: Training samples.
        test: Test samples.
        sha256: Hash of the bytes it was read from.
    """

    name: str
    train: Samples
    test: Samples
    sha256: str

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.train.names)


def data_root() -> Path | None:
    """The folder named by UNTRAIN_DATA, if any."""
    named = os.environ.get("UNTRAIN_DATA")
    return Path(named) if named else None


def cache_root() -> Path:
    """Where decoded images are kept: UNTRAIN_CACHE, or a folder under the user's cache."""
    return Path(os.environ.get("UNTRAIN_CACHE") or Path.home() / ".cache" / "untrain")


def load(name: str, root: Path | None = None) -> Data:
    """Data by name (`digits`, `cifar10`, `cifar100`), or a folder of `train-*.parquet` and `test-*.parquet`.

    Args:
        name: A known name, or a path.
        root: Where the known ones lie; UNTRAIN_DATA where none is given.

    Raises:
        BadArgument: neither a known name nor a folder.
        BadData: the files are not there, or broken.
        MissingExtra: parquet files without pyarrow and pillow.
    """
    if name == "digits":
        return digits()
    if name in KNOWN:
        base = root or data_root()
        if base is not None and (base / name).is_dir():
            return parquet(base / name, augment=CropFlip(4, flip=True))
        return _downloaded(name)
    folder = Path(name)
    if not folder.is_dir():
        raise BadArgument(f"no data {name!r}: it is neither a folder nor one of {', '.join(KNOWN)}")
    return parquet(folder, augment=CropFlip(4, flip=True))


def digits() -> Data:
    """The 1,797 8x8 digits that scikit-learn brings: every fourth is for testing."""
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    x = torch.tensor(found.images * (255 / 16)).round().to(torch.uint8)[:, None]
    y = torch.tensor(found.target, dtype=torch.long)
    test = torch.arange(len(y)) % 4 == 3
    names = [str(i) for i in range(10)]
    shift = CropFlip(1, flip=False)
    digest = hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()
    return Data("digits", Samples(x[~test], y[~test], names=names, augment=shift), Samples(x[test], y[test], names=names, augment=shift), digest)


def parquet(folder: Path, augment: CropFlip | None = None) -> Data:
    """Read `train-*.parquet` and `test-*.parquet` (columns `image` and `label`, class names in the schema).

    Decoded pixels are kept in the cache as .npy, under the hash of the files, and mapped into memory from there.
    """
    parts, digest = {}, hashlib.sha256()
    names: list[str] = []
    for part in ("train", "test"):
        files = sorted(folder.glob(f"{part}-*.parquet"))
        if not files:
            raise BadData(f"{folder.name} holds no {part}-*.parquet; give a folder with train-*.parquet and test-*.parquet")
        hashes = "".join(store.sha256(file) for file in files)
        digest.update(hashes.encode())
        x, y, names = _decoded(files, hashlib.sha256(hashes.encode()).hexdigest())
        parts[part] = (x, y)
    made = {k: Samples(x, y, names=names, augment=augment) for k, (x, y) in parts.items()}
    absent = sorted(set(range(len(names))) - set(made["train"].classes))
    if absent:
        raise BadData(f"{folder.name}: no training image of class {absent[0]} {names[absent[0]]}")
    return Data(folder.name, made["train"], made["test"], digest.hexdigest())


def _decoded(files: list[Path], key: str) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    kept = cache_root() / f"{key}.npz"
    if not kept.is_file():
        x, y, names = _decode(files)
        buffer = io.BytesIO()
        np.savez(buffer, x=x, y=y, names=np.array(json.dumps(names)))
        store.write(kept, buffer.getvalue())
    with np.load(kept, allow_pickle=False) as found:
        return torch.from_numpy(found["x"]), torch.from_numpy(found["y"]), json.loads(str(found["names"]))


def _decode(files: list[Path]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[str]]:
    try:
        import pyarrow.parquet as pq
        from PIL import Image, UnidentifiedImageError
        from pyarrow import ArrowException
    except ImportError as error:
        raise MissingExtra(f"reading parquet needs {error.name}: pip install 'untrain[data]'") from error
    images, labels, names = [], [], []
    for file in files:
        try:
            table = pq.read_table(file)
            column = table["image"].combine_chunks().field("bytes")
            names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
            labels.append(table["label"].to_numpy())
        except (ArrowException, OSError, KeyError, TypeError) as error:
            raise BadData(f"{file.name} is not a parquet file of images and labels ({error}); get it anew") from error
        for row, data in enumerate(column):
            try:
                with Image.open(io.BytesIO(data.as_py())) as image:
                    images.append(np.asarray(image.convert("RGB")))
            except (UnidentifiedImageError, OSError, TypeError) as error:
                raise BadData(f"{file.name}, row {row}: not an image ({error}); remove or mend it") from error
    shapes = {i.shape for i in images}
    if not images:
        raise BadData(f"{files[0].name} holds no image; give at least one a class")
    if len(shapes) != 1:
        raise BadData(f"images of {len(shapes)} sizes {sorted(shapes)[:3]}; give images of one size")
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)), np.concatenate(labels).astype(np.int64), names


def _downloaded(name: str) -> Data:
    """CIFAR by torchvision, which downloads it once into the cache."""
    try:
        datasets = import_torchvision().datasets
    except MissingExtra as error:
        raise BadData(f"no data {name!r} here: name its folder in UNTRAIN_DATA or by --data-root, or let torchvision download it: pip install 'untrain[vision]'") from error
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    made, digest = {}, hashlib.sha256()
    for part in ("train", "test"):
        found = kind(str(cache_root()), train=part == "train", download=True)
        digest.update(found.data.tobytes())
        x = torch.from_numpy(np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))
        made[part] = Samples(x, torch.tensor(found.targets), names=found.classes, augment=CropFlip(4, flip=True))
    return Data(name, made["train"], made["test"], digest.hexdigest())
