"""Folders of images or sounds: a folder of class folders, or `train/` and others of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from untrain.core.errors import BadData
from untrain.sources import sounds
from untrain.sources.blobs import Files
from untrain.sources.forms.parts import PARTS, PLAIN, Columns, Found, Part, hashed, listed_in, part_called, refuse_outside, visible

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".heic")
"""How the names of images end."""


def class_folders(path: Path, name: str, columns: Columns = PLAIN) -> Found:
    """Class folders directly inside, or `train/` and others of class folders."""
    below = [entry for entry in visible(path) if entry.is_dir()]
    loose = [entry.name for entry in visible(path) if not entry.is_dir() and entry.name.lower().endswith((*PICTURES, *sounds.SUFFIXES))]
    if not below:
        raise BadData(f"{name} holds neither class folders of images, nor labels.csv, nor train-*.parquet and test-*.parquet; see `untrain unlearn --help`")
    # A class may be called train: then images lie in it, and no folders.
    divided = any(part_called(entry.name) == "train" and any(inner.is_dir() for inner in visible(path / entry.name)) for entry in below)
    if loose:
        kind = "sounds" if loose[0].lower().endswith(sounds.SUFFIXES) else "images"
        raise BadData(f"{len(loose)} {kind} such as {loose[0]} lie in {name} beside its folders; put them into the folder of their class")
    if not divided:
        return Found(name, {"all": _classes(path, path, name, columns)}, listed_in(path))
    known: dict[str, str] = {}
    for entry in below:
        if (part := part_called(entry.name)) in PARTS and known.setdefault(part, entry.name) != entry.name:
            raise BadData(f"{name} holds {known[part]} and {entry.name}, and each would be its part {part}; take one of them away")
    _refuse_one_folder_twice(path, name, list(known.values()))
    extra = [entry.name for entry in below if entry.name not in known.values()]
    parts = {part: _classes(path / folder, path, f"{name}/{folder}", columns) for part, folder in known.items()}
    if extra:
        parts["train"] = replace(parts["train"], notes=(f"folders beside train/ were left out: {', '.join(extra[:5])}",))
    return Found(name, parts, listed_in(path))


def _classes(folder: Path, root: Path, shown: str, columns: Columns) -> Part:
    classes = [entry.name for entry in visible(folder) if entry.is_dir()]
    loose = [entry.name for entry in visible(folder) if not entry.is_dir()]
    if folder != root and loose:
        raise BadData(f"{len(loose)} files such as {loose[0]} lie in {shown} beside its class folders; put them into the folder of their class, or take them away")
    _refuse_one_folder_twice(folder, shown, classes)
    paths, labels = [], []
    for name in classes:
        inside = sorted(_below(folder / name, root))
        paths += inside
        labels += [name] * len(inside)
    if not paths:
        raise BadData(f"{shown} holds {len(classes)} class folders and no image or sound in any; give at least one a class")
    refuse_outside(root, paths, columns, shown)
    return Part(labels, hashed(root, paths, labels), Files(root, paths), names=tuple(classes), columns={"path": paths})


def _refuse_one_folder_twice(folder: Path, shown: str, names: Sequence[str]) -> None:
    """Refuse a link to another class or part: one image would be forgotten there and stay here, or be trained on here and tested on there."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(os.path.realpath(folder / name), name)
        if other != name:
            raise BadData(f"{shown} holds one folder twice, as {other} and as {name}, by a link; take the link away")


def _below(folder: Path, root: Path) -> Iterator[str]:
    for entry in visible(folder):
        path = Path(entry.path)
        if entry.is_dir() and entry.is_symlink():
            raise BadData(f"{path.relative_to(root).as_posix()} is a link to a folder, which is not followed; put the images there themselves")
        if entry.is_dir():
            yield from _below(path, root)
        else:
            yield path.relative_to(root).as_posix()
