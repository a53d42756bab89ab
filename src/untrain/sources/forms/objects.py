"""Python objects that hold data: Samples, Datasets, pairs and dicts of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch.utils.data import Dataset

from untrain.core.data import LABELS, Data, Samples
from untrain.core.errors import BadArgument, BadData
from untrain.sources import images
from untrain.sources.forms.hf_sets import of_hf
from untrain.sources.forms.parts import TESTS, Part
from untrain.sources.images import Rows


def objects(data: Any, shown: str = "data") -> dict[str, Part]:
    """Parts out of Samples, Datasets, pairs and dicts of them."""
    if isinstance(data, Mapping):
        named = {("test" if str(k) in TESTS and "test" not in data else str(k)): v for k, v in data.items()}
        return {part: _object(v, f"{shown} {part}") for part, v in named.items()}
    if isinstance(data, tuple | list) and len(data) == 2:
        return {"train": _object(data[0], f"{shown} train"), "test": _object(data[1], f"{shown} test")}
    return {"all": _object(data, shown)}


def _object(data: Any, shown: str) -> Part:
    if isinstance(data, Data):
        raise BadArgument(f"{shown} is a Data; give its train and test samples")
    if isinstance(data, Samples):
        return _of_samples(data)
    if hasattr(data, "features") and hasattr(data, "cast_column"):
        return of_hf(data, shown)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return of_dataset(data, shown)
    raise BadArgument(f"{shown} is a {type(data).__name__}; give a map-style Dataset, Samples, or a pair (train, test) of them")


def _of_samples(samples: Samples) -> Part:
    if len(samples) == 0:
        raise BadData("samples hold nothing; give at least one a class")
    digest = hashlib.sha256(samples.y.numpy().tobytes())
    for rows in torch.split(torch.arange(len(samples)), 256):
        for number in torch.unique(samples.which[rows]).tolist():
            raw = samples.sources[number].raw(samples.index[rows][samples.which[rows] == number])
            for value in raw.values() if isinstance(raw, dict) else (raw,):
                digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return Part(samples.y.tolist(), digest.hexdigest(), ready=samples, names=samples.names)


def of_dataset(data: Any, shown: str) -> Part:
    """A map-style Dataset: of Pillow images, which are read as those of files are, or of tensors."""
    if len(data) == 0:
        raise BadData(f"{shown} holds nothing; give at least one sample a class")
    first = data[0]
    item = next((v for k, v in first.items() if k not in LABELS), None) if isinstance(first, dict) else first[0] if isinstance(first, tuple | list) else first
    known = next((getattr(data, name) for name in ("targets", "labels", "_labels") if getattr(data, name, None) is not None), None)
    names = tuple(str(n) for n in getattr(data, "classes", ()) or ())
    if not hasattr(item, "convert"):
        samples = Samples(cast(Dataset[Any], data), None if known is None else torch.as_tensor(known), names=names)
        return _of_samples(samples)

    def get(i: int) -> Any:
        row = data[i]
        return next(v for k, v in row.items() if k not in LABELS) if isinstance(row, dict) else row[0]

    def label(i: int) -> Any:
        row = data[i]
        return next(row[k] for k in LABELS if k in row) if isinstance(row, dict) else row[1]

    labels = [v.item() if hasattr(v, "item") else v for v in known] if known is not None else [label(i) for i in range(len(data))]
    digest = hashlib.sha256(json.dumps([str(v) for v in labels]).encode())
    for line in images.each(lambda i: hashlib.sha256(get(i).tobytes()).digest(), len(data)):
        digest.update(line)
    return Part(labels, digest.hexdigest(), Rows(len(data), get, lambda i: f"{shown}, item {i}"), names=names)
