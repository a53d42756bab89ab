"""Python objects that hold data: Samples, Datasets, pairs and dicts of them.

A Dataset of another's making is read in order and by whoever asks, item by item: it may hold one open file, or a cursor.
Each item is read once for its label, its bytes and its size.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from untrain.core.data import Data, Samples
from untrain.core.datasets import dataset_of, names_of
from untrain.core.errors import BadArgument, BadData, UntrainError
from untrain.sources import blobs, images
from untrain.sources.blobs import Rows
from untrain.sources.forms.hf_sets import of_hf
from untrain.sources.forms.parts import PLAIN, TESTS, Columns, Part

PROBED = 32
"""Items that are read again, to see whether they are the same each time."""


def objects(data: Any, shown: str = "data", columns: Columns = PLAIN) -> dict[str, Part]:
    """Parts out of Samples, Datasets, DataLoaders, pairs and dicts of them.

    Args:
        data: The objects.
        shown: What they are called in a message.
        columns: Which entry of a dict item is the image, and which the label.
    """
    if isinstance(data, Mapping):
        usual = next((name for name in TESTS if name in data), None)
        named = {"test" if k == usual else str(k): v for k, v in data.items()}
        return {part: _object(v, f"{shown} {part}", columns) for part, v in named.items()}
    if isinstance(data, tuple | list) and len(data) == 2:
        return {"train": _object(data[0], f"{shown} train", columns), "test": _object(data[1], f"{shown} test", columns)}
    return {"all": _object(data, shown, columns)}


def _object(data: Any, shown: str, columns: Columns) -> Part:
    if isinstance(data, Data):
        raise BadArgument(f"{shown} is a Data; give its train and test samples")
    if isinstance(data, Samples):
        return _of_samples(data, shown)
    if isinstance(data, DataLoader):
        data = dataset_of(data, shown)
    if hasattr(data, "features") and hasattr(data, "cast_column") and hasattr(data, "__len__"):
        return of_hf(data, shown, columns)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return of_dataset(data, shown, columns)
    raise BadArgument(f"{shown} is a {type(data).__name__}; give a map-style Dataset, Samples, a DataLoader, or a pair (train, test) of them")


def _of_samples(samples: Samples, shown: str) -> Part:
    if len(samples) == 0:
        raise BadData("samples hold nothing; give at least one a class")
    digest = hashlib.sha256(samples.y.numpy().tobytes())
    for rows in torch.split(torch.arange(len(samples)), 256):
        for number in torch.unique(samples.which[rows]).tolist():
            digest.update(_bytes(samples.sources[number].raw(samples.index[rows][samples.which[rows] == number])))
    if any(source.lazy for source in samples.sources):

        def read(i: int) -> bytes:
            return _bytes(samples.sources[int(samples.which[i])].raw(samples.index[i : i + 1]))

        refuse_random(read, len(samples), shown)
    return Part(samples.y.tolist(), digest.hexdigest(), ready=samples, names=samples.names)


def _bytes(x: Any) -> bytes:
    """The bytes of a tensor, of a dict of tensors, or of a Pillow image."""
    if isinstance(x, dict):
        return b"".join(_bytes(value) for value in x.values())
    if isinstance(x, Tensor):
        return x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return cast(bytes, x.tobytes())


def refuse_random(read: Callable[[int], bytes], n: int, shown: str, first: Mapping[int, bytes] | None = None) -> None:
    """Refuse data whose items are others each time they are read: a run on them can be neither audited nor continued.

    Args:
        read: What gives the bytes of an item.
        n: How many there are.
        shown: What the data are called.
        first: Hashes of what some items gave before, by place.

    Raises:
        BadData: an item differs.
    """
    for i in probed(n):
        before = (first or {}).get(i) or hashlib.sha256(read(i)).digest()
        # Of few items each is read several times: a transform that mirrors half of the images may leave one as it was.
        if any(hashlib.sha256(read(i)).digest() != before for _ in range(max(1, PROBED // n))):
            raise BadData(f"{shown}, item {i}, is another each time it is read; give it without its random transform: untrain changes images itself, by augment=")


def probed(n: int) -> list[int]:
    """Places of the items that are read again, evenly over all.

    >>> probed(3), len(probed(1000)), probed(1000)[-1]
    ([0, 1, 2], 32, 968)
    """
    return list(range(n)) if n <= PROBED else [i * n // PROBED for i in range(PROBED)]


def of_dataset(data: Any, shown: str, columns: Columns = PLAIN) -> Part:
    """A map-style Dataset: of Pillow images, which are read as those of files are, or of tensors.

    Args:
        data: The Dataset.
        shown: What it is called in a message.
        columns: Which entry of a dict item is the image, and which the label.

    Raises:
        BadData: it holds nothing, items that cannot be read, or others at each reading.
    """
    n = len(data)
    if n == 0:
        raise BadData(f"{shown} holds nothing; give at least one sample a class")
    items = _Items(data, shown, columns)
    seen = _seen(items, n, shown)
    refuse_random(lambda i: _bytes_of(items[i][0]), n, shown, seen.hashes)
    names = names_of(data)
    digest = hashlib.sha256(json.dumps([str(v) for v in seen.labels]).encode() + seen.contents).hexdigest()
    if not seen.sizes:
        numbers = seen.labels if all(isinstance(v, int) for v in seen.labels) else [0] * n
        samples = Samples(cast(Dataset[Any], items if columns.named else data), torch.tensor(numbers, dtype=torch.long), names=names)
        return Part(seen.labels, digest, ready=samples, names=names)

    def called(i: int) -> str:
        return f"{shown}, item {i}"

    if seen.held is not None:
        return Part(seen.labels, digest, Rows(n, seen.held.__getitem__, called, together=True), names=names, sizes=seen.sizes)
    together = int(getattr(data, "workers", 0)) > 0
    return Part(seen.labels, digest, Rows(n, lambda i: items[i][0], called, together), names=names, sizes=seen.sizes)


class _Items(Dataset[Any]):
    """The input and the label of each item, whatever it is wrapped in."""

    def __init__(self, data: Any, shown: str, columns: Columns) -> None:
        self.data, self.shown, self.columns = data, shown, columns

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        item = self.data[i]
        if isinstance(item, tuple | list) and len(item) > 1:
            return item[0], _plain(item[1], self.shown)
        if not isinstance(item, dict):
            raise BadData(f"{self.shown}, item {i}, is a {type(item).__name__}; give items of an input and a label")
        label = self.columns.among(list(item), "label", self.shown)
        if self.columns.image is not None:
            return item[self.columns.among(list(item), "image", self.shown)], _plain(item[label], self.shown)
        rest = {key: value for key, value in item.items() if key != label}
        picture = next((value for value in rest.values() if hasattr(value, "convert")), None)
        return (picture if picture is not None else next(iter(rest.values())) if len(rest) == 1 else rest), _plain(item[label], self.shown)


def _plain(label: Any, shown: str) -> Any:
    """A label as a number or a name of Python's."""
    if getattr(label, "size", 1) == 1 if not isinstance(label, Tensor) else label.numel() == 1:
        return label.item() if hasattr(label, "item") else label
    told = f"several labels a sample, {list(label.shape)}" if hasattr(label, "shape") else f"a label that is a {type(label).__name__}"
    raise BadData(f"{shown} has {told}; give one, the number of its class")


@dataclass(frozen=True)
class _Seen:
    """What one reading of all items told.

    Args:
        labels: Their labels.
        contents: A hash of all inputs.
        hashes: Those of the items that are read again.
        sizes: How many images have each height and width; none where they are no images.
        held: The images themselves, where they are few enough.
    """

    labels: list[Any]
    contents: bytes
    hashes: dict[int, bytes]
    sizes: Counter[tuple[int, int]]
    held: list[Any] | None


def _seen(items: _Items, n: int, shown: str) -> _Seen:
    labels, hashes, sizes, bad = list[Any](), dict[int, bytes](), Counter[tuple[int, int]](), list[str]()
    contents, again, taken = hashlib.sha256(), set(probed(n)), 0
    held: list[Any] | None = []
    for i in range(n):
        try:
            item, label = items[i]
            inside = _bytes_of(item)
            if hasattr(item, "convert"):
                sizes[images.size_of(item)] += 1
        except UntrainError:
            raise
        except Exception as error:  # whatever another's Dataset raises
            bad.append(f"{shown}, item {i} ({images.why(error)})")
            continue
        labels.append(label)
        line = hashlib.sha256(inside).digest()
        contents.update(line)
        if i in again:
            hashes[i] = line
        taken += len(inside)
        kept = images.kept(item) if held is not None and taken <= blobs.FITS else None
        if held is not None and kept is not None:
            held.append(kept)
        else:
            held = None
    blobs.refuse_broken(bad, n)
    return _Seen(labels, contents.digest(), hashes, sizes, held)


def _bytes_of(item: Any) -> bytes:
    return _bytes(item if hasattr(item, "convert") else default_collate([item]))
