"""Canaries in a file: which samples of which data were drawn, under which wrong labels, and how each coin fell."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from untrain.core import disk
from untrain.core.canary import Canaries, planted
from untrain.core.data import Data, Samples
from untrain.core.errors import BadData, wall
from untrain.evidence.record import dumps, plain_json

SCHEMA = "untrain.canaries/1"
"""The kind of file, and its version."""


def written(data: Data, drawn: Canaries) -> bytes:
    """The file: of each canary its `place` in the training part, the `file` where there is one, the `label` that it has and the one it is `given`, and whether it is `inside`."""
    files, names = data.train.columns.get("path"), data.train.names
    told = []
    for place, label, given, inside in zip(drawn.places.tolist(), data.train.y[drawn.places].tolist(), drawn.every.y.tolist(), drawn.inside.tolist(), strict=True):
        file = {} if files is None else {"file": str(files[place])}
        told.append({"place": place, **file, "label": _called(names, label), "given": _called(names, given), "inside": inside})
    return dumps({"schema": SCHEMA, "data": {"name": data.name, "train": len(data.train), "sha256": _digest(data.train)}, "canaries": told})


def with_canaries(data: Data, path: Path) -> Data:
    """The data as what was drawn makes them: the training samples that are no canaries, behind them the canaries inside under their wrong labels, and all canaries as a part.

    Args:
        data: The data that they were drawn of.
        path: The file.

    Raises:
        BadData: the file is none of canaries, or of other data.
    """
    try:
        read = disk.read(path)
    except OSError as error:
        raise BadData(f"{path.name} cannot be read ({error.strerror or error}); name the file that `untrain canaries` wrote by --canaries") from error
    found = plain_json(read, path.name)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise BadData(f"{path.name} holds no canaries; name the file that `untrain canaries` wrote by --canaries")
    with wall(path.name, "draw canaries anew, before the training"):
        rows, called = found["canaries"], {_called(data.train.names, label): label for label in range(data.classes)}
        if found["data"]["sha256"] != _digest(data.train):
            raise BadData(f"{path.name} was drawn of other training samples than those of {data.name}, or they were labelled otherwise then; name the same by --data")
        places, given, coins = ([row[field] for row in rows] for field in ("place", "given", "inside"))
        if not places or len(set(places)) != len(places) or not all(type(place) is int and 0 <= place < len(data.train) for place in places):
            raise BadData(f"{path.name} names a place twice, or one that is not there, or none; it is not what `untrain canaries` wrote")
        own = [_called(data.train.names, label) for label in data.train.y[places].tolist()]
        if any(row["label"] != label or row["given"] == label or type(row["inside"]) is not bool for row, label in zip(rows, own, strict=True)):
            raise BadData(f"{path.name} gives a canary its own label, tells another of it than it has, or a coin that is neither true nor false; draw canaries anew")
        drawn = planted(data.train, torch.tensor(places), torch.tensor([called[name] for name in given]), torch.tensor(coins))
    note = f"{len(places)} of the training samples were drawn as canaries: those that a coin chose are trained on under wrong labels, the others are left out"
    sha256 = hashlib.sha256(data.sha256.encode() + hashlib.sha256(read).digest()).hexdigest()
    return replace(data, train=drawn.train, sha256=sha256, whole=None, notes=(*data.notes, note), canaries=drawn.every)


def _called(names: tuple[str, ...], label: int) -> str | int:
    """A class as the file says it: by name, since its number can hang on the model; by number where it has no name, or one that is not its own."""
    return names[label] if label < len(names) and names.count(names[label]) == 1 else label


def _digest(train: Samples) -> str:
    """Hash of training samples in their order: what each is called, and its file; where there are no files, the values that are in memory."""
    digest = hashlib.sha256(dumps({"labels": [_called(train.names, label) for label in train.y.tolist()]}))
    if "path" in train.columns:
        digest.update(dumps({"files": [str(path) for path in train.columns["path"]]}))
    else:
        for source in train.sources:
            values = source.x.values() if isinstance(source.x, dict) else [source.x]
            for value in (v for v in values if isinstance(v, Tensor)):
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        digest.update(train.index.numpy().tobytes())
    return digest.hexdigest()
