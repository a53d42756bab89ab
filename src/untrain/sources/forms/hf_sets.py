"""Data sets of Hugging Face: from the Hub, or as `save_to_disk` wrote them."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any, cast

from untrain.core.data import LABELS
from untrain.core.errors import BadData, MissingExtra
from untrain.sources import images
from untrain.sources.forms.parts import Part
from untrain.sources.images import Rows


def saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))


def loaded(name: str) -> Any:
    """What `datasets` gives for a folder that it wrote, or for a name of the Hub.

    Raises:
        BadData: it is not to be had.
        MissingExtra: datasets is not installed.
    """
    folder = Path(name)
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtra("datasets is not installed: pip install 'untrain[hf]'") from error
    where, _, config = name.partition(":")
    try:
        return datasets.load_from_disk(name) if saved(folder) else datasets.load_dataset(where, config or None)
    except Exception as error:  # offline, unknown and forbidden have no common class below Exception
        if saved(folder):
            raise BadData(f"{folder.name} is not a data set that save_to_disk wrote ({' '.join(str(error).split())[:160]}); save it anew") from error
        raise BadData(
            f"hf:{name} is neither a folder here nor could it be had from the Hub ({type(error).__name__}); "
            f"see to the name and the network, or save it where there is one by save_to_disk and name that folder"
        ) from error


def of_hf(data: Any, shown: str) -> Part:
    """A `datasets.Dataset` with an image and a label."""
    features = data.features
    image = next((n for n, f in features.items() if type(f).__name__ == "Image"), None)
    label = next((n for n, f in features.items() if type(f).__name__ == "ClassLabel"), None) or next((n for n in LABELS if n in features), None)
    if image is None or label is None:
        raise BadData(f"{shown} has the columns {', '.join(features)}; give one of images and one of labels (label)")
    names = tuple(getattr(features[label], "names", None) or ())
    kind = type(features[image])
    raw = data.with_format(None).cast_column(image, kind(decode=False))
    small = raw.select_columns([n for n in features if n != image])

    def get(i: int) -> bytes:
        row = raw[i][image]
        return cast(bytes, row["bytes"]) if row["bytes"] is not None else Path(row["path"]).read_bytes()

    labels = small[label][:]
    bare = next((i for i, value in enumerate(labels) if value is None), None)
    if bare is not None:
        raise BadData(f"{shown}, row {bare}: no label; give each image one")
    columns = {n: list(small[n][:]) for n, f in features.items() if n not in (image, label) and getattr(f, "dtype", "") in ("string", "large_string", "bool", *_NUMBERS)}
    rows = Rows(len(raw), get, lambda i: f"{shown}, row {i}")
    digest = hashlib.sha256()
    for line in images.each(lambda i: hashlib.sha256(get(i)).digest(), len(raw)):
        digest.update(line)
    digest.update(json.dumps([str(v) for v in labels]).encode())
    return Part(labels, digest.hexdigest(), rows, names=names, columns=columns)


_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
