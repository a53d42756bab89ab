"""Data sets of Hugging Face: from the Hub, or as `save_to_disk` wrote them."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any, cast

from untrain.core import disk
from untrain.core.errors import BadData, MissingExtra
from untrain.sources import blobs
from untrain.sources.blobs import Rows
from untrain.sources.forms.parts import PLAIN, Columns, Part


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


def _elsewhere(path: Path, shown: str, columns: Columns) -> Path:
    """A file that a saved data set names by its path; those that it holds itself have none."""
    if not columns.outside:
        raise BadData(f"{shown} names a file of its own place, {path}; save the data with their images in them, or allow it by --outside where you trust who wrote it")
    return path


def of_hf(data: Any, shown: str, columns: Columns = PLAIN) -> Part:
    """A `datasets.Dataset` with an image or a sound, and a label.

    Args:
        data: The data set.
        shown: What it is called in a message.
        columns: Which columns hold the image and the label; those of these types where none are named.

    Raises:
        BadArgument: a column that was named is not there.
        BadData: it lacks one of images (or sounds) and labels, or a label is missing.
    """
    features = data.features
    known, there = {type(f).__name__: n for n, f in reversed(features.items())}, list(features)
    usual = known.get("Image", known.get("Audio"))
    image = columns.among(there, "image", shown) if columns.image or usual is None else usual
    label = columns.among(there, "label", shown) if columns.label or "ClassLabel" not in known else known["ClassLabel"]
    if type(features[image]).__name__ not in ("Image", "Audio"):
        raise BadData(f"{shown} holds no images or sounds in its column {image}, but {features[image]}; name their column by --image-column")
    names = tuple(getattr(features[label], "names", None) or ())
    kind = type(features[image])
    raw = data.with_format(None).cast_column(image, kind(decode=False))
    small = raw.select_columns([n for n in features if n != image])

    def get(i: int) -> bytes:
        row = raw[i][image]
        return cast(bytes, row["bytes"]) if row["bytes"] is not None else disk.read(_elsewhere(Path(row["path"]), shown, columns))

    labels = small[label][:]
    bare = next((i for i, value in enumerate(labels) if value is None), None)
    if bare is not None:
        raise BadData(f"{shown}, row {bare}: no label; give each image one")
    more = {n: list(small[n][:]) for n, f in features.items() if n not in (image, label) and getattr(f, "dtype", "") in ("string", "large_string", "bool", *_NUMBERS)}
    # Arrow tables are read-only maps of files: threads may read them.
    rows = Rows(len(raw), get, lambda i: f"{shown}, row {i}", together=True)
    digest = hashlib.sha256()
    for line in blobs.each(lambda i: hashlib.sha256(get(i)).digest(), len(raw)):
        digest.update(line)
    digest.update(json.dumps([str(v) for v in labels]).encode())
    return Part(labels, digest.hexdigest(), rows, names=names, columns=more)


_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
