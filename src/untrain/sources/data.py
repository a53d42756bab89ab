"""A user's data by name: image folders, CSV, parquet, Hugging Face and torchvision data sets, Python functions.

Each form is read into parts (`train`, `test`, ...) of images not yet decoded, or of samples as they stand. What is common
to all forms comes after: classes get their numbers, sizes are looked at, a test part is found or set aside.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import inspect
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from untrain.core import store
from untrain.core.data import LABELS, CropFlip, Data, Samples
from untrain.core.errors import BadArgument, BadData, MissingExtra
from untrain.core.model import Expects
from untrain.core.vision import import_torchvision
from untrain.sources import images, models
from untrain.sources.images import Blobs, Files, Fit, Rows

FORMS = (
    "a folder of class folders (or train/ and test/ of them), labels.csv (path,label), a parquet file or folder, "
    "hf:NAME_OR_FOLDER[:config], torchvision:NAME, package.module:function, path/data.py:function"
)
"""How data are named that the zoo does not have."""

TESTS = ("test", "val", "valid", "validation")
"""Names of a test part, the first that is there."""

IGNORED = ("thumbs.db", "desktop.ini", "__macosx", "classes.txt")
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".heic")
ASIDE = 5
"""One in so many samples of each class is set aside where there is no test part."""


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a data set as it was found.

    Args:
        labels: A name or a number for each sample.
        digest: Hash of its files, or several one after the other.
        blobs: Its images.
        ready: Its samples, where they need no decoding.
        names: Names of the classes by number, where the source says.
        columns: Further facts by row.
        notes: What to tell of it.
    """

    labels: Sequence[Any]
    digest: str
    blobs: Blobs | None = None
    ready: Samples | None = None
    names: tuple[str, ...] = ()
    columns: dict[str, list[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Found:
    """What a name of data led to.

    Args:
        name: How records call it: without the way to a folder.
        parts: By name; `all` where it is not divided.
        listed: Classes in the order of their numbers, where the user lists them in classes.txt.
    """

    name: str
    parts: dict[str, Part]
    listed: tuple[str, ...] = ()


def read(
    data: Any,
    *,
    test: Any = None,
    holdout: Any = None,
    size: int | None = None,
    expects: Expects | None = None,
    augment: CropFlip | None = None,
) -> Data:
    """Data out of any of the forms.

    Args:
        data: A name (see FORMS), or a Dataset, Samples, or a pair (train, test) of either.
        test: Another of the same kind for testing, or `split:NAME` for a part of the data.
        holdout: The same for samples that no model was trained on.
        size: Height and width that images are brought to; where none is given images of one size stay as they are.
        expects: What the model says of its images: the size where the data have several, its names of the classes.
        augment: The random change that suits the data; shifts by an eighth and mirroring where none is named.

    Raises:
        BadArgument: a name that leads nowhere, or a part that is not there.
        BadData: files that are broken, labels that do not fit.
        MissingExtra: a library that is not installed.
    """
    if size is not None and not 1 <= size <= 4096:
        raise BadArgument(f"--size {size}: images are brought to 1 to 4096 pixels a side")
    look = expects or Expects()
    main = found(data)
    train, chosen = _chosen(main, test, holdout)
    named = {"train": train, **chosen}
    names, numbers = _numbered(main, named, look.names)
    fit, shape, notes = _fitted(named, size, look)
    channels = 1 if look.norm is not None and len(look.norm.mean) == 1 else 3
    made = {part: _samples(p, numbers[part], names, fit, shape, channels, augment) for part, p in named.items()}
    notes = [*(note for p in named.values() for note in p.notes), *notes]
    digest = hashlib.sha256("".join(p.digest for p in named.values()).encode()).hexdigest()
    whole = None
    if "test" not in made:
        whole = made["train"]
        kept = aside(whole)
        made["train"], made["test"] = whole[~kept], whole[kept]
        notes.append(
            f"no test part was given: {int(kept.sum())} of {len(whole)} samples, 1 in {ASIDE} of each class, were set aside for testing; the model may have been trained on them"
        )
    there = set(made["train"].classes)
    empty = [f"{c} {name}" for c, name in enumerate(names) if c not in there]
    if empty:
        notes.append(f"{len(empty)} of {len(names)} classes have no training sample: {', '.join(empty[:5])}{', ...' if len(empty) > 5 else ''}")
    return Data(main.name, made["train"], made["test"], digest, made.get("holdout"), whole, tuple(dict.fromkeys(notes)))


def aside(samples: Samples) -> Tensor:
    """Which samples are set aside for testing: a mask, seeded, the same share of each class and at least one where there are two."""
    y, g = samples.y, torch.Generator().manual_seed(0)
    kept = torch.zeros(len(y), dtype=torch.bool)
    for label in samples.classes:
        places = (y == label).nonzero().flatten()
        order = torch.randperm(len(places), generator=g)
        kept[places[order[: max(round(len(places) / ASIDE), int(len(places) > 1))]]] = True
    return kept


def _chosen(main: Found, test: Any, holdout: Any) -> tuple[Part, dict[str, Part]]:
    """The training part, and the test and hold-out parts where there are any."""
    parts = main.parts
    train = parts.get("train") or (next(iter(parts.values())) if len(parts) == 1 else None)
    if train is None:
        raise BadData(f"{main.name} has the parts {', '.join(parts)} and no train; name one so")
    chosen: dict[str, Part] = {}
    if test is not None:
        chosen["test"] = _other(main, test, "test", (*TESTS, "all", "train"))
    else:
        own = next((parts[name] for name in TESTS if name in parts and parts[name] is not train), None)
        chosen |= {"test": own} if own is not None else {}
    if holdout is not None:
        chosen["holdout"] = _other(main, holdout, "holdout", ("holdout", "all", *TESTS, "train"))
    elif "holdout" in parts:
        chosen["holdout"] = parts["holdout"]
    return train, chosen


def _other(main: Found, given: Any, flag: str, order: Sequence[str]) -> Part:
    if isinstance(given, str) and given.startswith("split:"):
        name = given.removeprefix("split:")
        if name not in main.parts or name == "train":
            raise BadArgument(f"--{flag} {given}: {main.name} has the parts {', '.join(main.parts)}, and a part other than train is to be named")
        return main.parts[name]
    parts = found(given).parts
    return next((parts[name] for name in order if name in parts), next(iter(parts.values())))


# Classes and sizes.


def _numbered(main: Found, parts: Mapping[str, Part], expected: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Names of the classes, and each part's labels as numbers [n]."""
    train = parts["train"]
    written = {part: [label if isinstance(label, str) and p.names else _label(label) for label in p.labels] for part, p in parts.items()}
    own = train.names
    if not own and not all(isinstance(label, int) for labels in written.values() for label in labels):
        own = tuple(sorted({str(label) for label in written["train"]}))
    order = own
    if main.listed:
        order, lost = main.listed, [name for name in own if name not in main.listed]
        if lost:
            raise BadData(f"classes.txt of {main.name} does not list {lost[0]!r}, a class of the data; list every class, in the order of the model's outputs")
    elif set(own) <= set(expected) if own else max((int(label) for labels in written.values() for label in labels), default=0) < len(expected):
        # Names or numbers that the model's own list covers are meant in its order.
        order = tuple(expected)
    at = {name: number for number, name in enumerate(order)}
    numbers = {}
    for part, labels in written.items():
        names = parts[part].names or train.names
        out: list[int] = []
        missing: Counter[str] = Counter()
        for label in labels:
            if names and isinstance(label, int):
                number = at.get(names[label], -1) if 0 <= label < len(names) else -1
            else:
                number = at.get(str(label), -1) if own or isinstance(label, str) else label
            if number < 0:
                missing[str(label)] += 1
            out.append(number)
        if missing:
            first, count = missing.most_common(1)[0]
            known = f"; classes are {', '.join(order[:8])}{', ...' if len(order) > 8 else ''}" if order else "; labels are names, or numbers from 0"
            raise BadData(f"{main.name}: {sum(missing.values())} samples of the {part} part have a class that the training part lacks, such as {first!r} ({count}){known}")
        numbers[part] = torch.tensor(out, dtype=torch.long)
    return order, numbers


def _label(label: Any) -> str | int:
    """A label as it is meant: text that reads as a number is one, but not 007."""
    if isinstance(label, str):
        return int(label) if label.isdecimal() and str(int(label)) == label else label
    return int(label)


def _fitted(parts: Mapping[str, Part], size: int | None, look: Expects) -> tuple[Fit | None, tuple[int, int], list[str]]:
    """How images are brought to one size, that size, and what to tell of it."""
    sizes: Counter[tuple[int, int]] = Counter()
    for part in parts.values():
        if part.blobs is not None:
            sizes.update(images.looked_at(part.blobs, part.digest, store.cache_root()))
    if not sizes:
        return None, (0, 0), []
    target = (size, size) if size else look.size if look.fixed or len(sizes) > 1 else None
    if target is None and len(sizes) > 1:
        (h, w), (high, wide) = min(sizes), max(sizes)
        raise BadData(f"images of {len(sizes)} sizes, {h} x {w} to {high} x {wide}, and the model names none of its own; give one by --size")
    if target is None or set(sizes) == {target}:
        return None, next(iter(sizes)), []
    fit = Fit(target, look.crop if look.size else 1.0, look.interpolation)
    return fit, target, [f"images of {len(sizes)} size{'s' if len(sizes) > 1 else ''} were brought to {fit}"]


def _samples(part: Part, y: Tensor, names: tuple[str, ...], fit: Fit | None, shape: tuple[int, int], channels: int, augment: CropFlip | None) -> Samples:
    if part.ready is not None:
        return part.ready
    assert part.blobs is not None
    x = images.read(part.blobs, part.digest, shape, fit, channels, store.cache_root())
    return Samples(x, y, names=names, columns=part.columns, augment=augment or CropFlip(max(1, min(shape) // 8), flip=True))


# Forms.


def found(data: Any) -> Found:
    """What a name, or an object, leads to.

    Raises:
        BadArgument: it leads nowhere (says which forms there are).
    """
    if not isinstance(data, str | os.PathLike):
        return Found("data", _objects(data))
    name = str(data)
    path, kind = Path(name), name.partition(":")[0]
    if kind == "hf":
        return _hf(name.partition(":")[2])
    if kind == "torchvision":
        return _torchvision(name.partition(":")[2])
    if path.is_dir():
        return _directory(path)
    if path.is_file() and not name.endswith(".py"):
        return _csv(path) if path.suffix.lower() in (".csv", ".tsv") else _parquet(path)
    asked = models.named(name)
    if asked is not None and asked.runs_code:
        return Found(asked.shown, _objects(models.call(name, None), asked.shown))
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
    asked = None if Path(name).exists() else models.named(name)
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


def _directory(path: Path) -> Found:
    name = path.resolve().name
    if any((path / file).is_file() for file in ("dataset_dict.json", "state.json")):
        return _hf(str(path))
    if any(path.glob("*.parquet")):
        return _parquet(path)
    if (path / "labels.csv").is_file():
        return _csv(path / "labels.csv", name)
    return _folder(path, name)


def _listed(folder: Path) -> tuple[str, ...]:
    """The classes that classes.txt lists, one a line."""
    file = folder / "classes.txt"
    if not file.is_file():
        return ()
    names = tuple(line.strip() for line in _text(file).splitlines() if line.strip())
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        raise BadData(f"classes.txt lists {f'{twice[0]!r} twice' if twice else 'no class'}; list every class once, one a line, in the order of the model's outputs")
    return names


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{file.name} is not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error


# Image folders.


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith(".") and e.name.lower() not in IGNORED), key=lambda e: e.name)


def _folder(path: Path, name: str) -> Found:
    """Class folders directly inside, or `train/` and others of class folders."""
    below = [entry for entry in _visible(path) if entry.is_dir()]
    loose = [entry.name for entry in _visible(path) if not entry.is_dir() and entry.name.lower().endswith(SUFFIXES)]
    if not below:
        raise BadData(f"{name} holds neither class folders of images, nor labels.csv, nor train-*.parquet and test-*.parquet; see `untrain unlearn --help`")
    # A class may be called train: then images lie in it, and no folders.
    divided = any(entry.name == "train" and any(inner.is_dir() for inner in _visible(path / "train")) for entry in below)
    if loose:
        raise BadData(f"{len(loose)} images such as {loose[0]} lie in {name} beside its folders; put them into the folder of their class")
    if not divided:
        return Found(name, {"all": _classes(path, path, name)}, _listed(path))
    known = [entry.name for entry in below if entry.name in ("train", "holdout", *TESTS)]
    extra = [entry.name for entry in below if entry.name not in known]
    parts = {part: _classes(path / part, path, f"{name}/{part}") for part in known}
    if extra:
        parts["train"] = replace(parts["train"], notes=(f"folders beside train/ were left out: {', '.join(extra[:5])}",))
    return Found(name, parts, _listed(path))


def _classes(folder: Path, root: Path, shown: str) -> Part:
    classes = [entry.name for entry in _visible(folder) if entry.is_dir()]
    loose = [entry.name for entry in _visible(folder) if not entry.is_dir()]
    if folder != root and loose:
        raise BadData(f"{len(loose)} files such as {loose[0]} lie in {shown} beside its class folders; put them into the folder of their class, or take them away")
    paths, labels = [], []
    for name in classes:
        inside = sorted(_below(folder / name, root))
        paths += inside
        labels += [name] * len(inside)
    if not paths:
        raise BadData(f"{shown} holds {len(classes)} class folders and no image in any; give at least one a class")
    return Part(labels, _hashed(root, paths, labels), Files(root, paths), names=tuple(classes), columns={"path": paths})


def _below(folder: Path, root: Path) -> Iterator[str]:
    for entry in _visible(folder):
        path = Path(entry.path)
        if entry.is_dir() and entry.is_symlink():
            raise BadData(f"{path.relative_to(root).as_posix()} is a link to a folder, which is not followed; put the images there themselves")
        if entry.is_dir():
            yield from _below(path, root)
        else:
            yield path.relative_to(root).as_posix()


def _hashed(root: Path, paths: Sequence[str], labels: Sequence[Any]) -> str:
    """A hash of files by name, bytes and label, whatever order they come in."""

    def one(i: int) -> bytes | str:
        try:
            return os.fsencode(f"{paths[i]}\0{store.sha256(root / paths[i])}\0{labels[i]}\n")
        except OSError as error:
            return f"{paths[i]} ({error.strerror})"

    told = list(images.each(one, len(paths)))
    bad = [line for line in told if isinstance(line, str)]
    if bad:
        raise BadData(f"{len(bad)} of {len(paths)} images cannot be read: {'; '.join(bad[:3])}{'; ...' if len(bad) > 3 else ''}; remove or mend them")
    digest = hashlib.sha256()
    for line in sorted(cast(list[bytes], told)):
        digest.update(line)
    return digest.hexdigest()


# CSV.

PATHS = ("path", "file", "filename", "file_name", "image")


def _csv(file: Path, name: str | None = None) -> Found:
    """A header with `path` and `label`, and where the data are divided `split`; further columns are kept. Paths are seen from the file's folder."""
    lines = _text(file).splitlines()
    delimiter = max(",;\t", key=(lines[0] if lines else "").count)
    rows = list(csv.reader(lines, delimiter=delimiter))
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    at = next((head.index(c) for c in PATHS if c in head), None)
    of = next((head.index(c) for c in (*LABELS, "class") if c in head), None)
    if at is None or of is None:
        raise BadData(f"{file.name} begins with {', '.join(head[:6]) or 'nothing'}; its first line is to name the columns path and label")
    parts: dict[str, tuple[list[str], list[str], dict[str, list[Any]]]] = {}
    extra = [i for i, column in enumerate(head) if i not in (at, of) and column and column != "split"]
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(head) or not row[at].strip() or not row[of].strip():
            what = f"has {len(row)} cells, the header {len(head)}" if len(row) != len(head) else f"names no {'label' if row[at].strip() else 'path'}"
            raise BadData(f"{file.name}, line {number} {what}; mend or remove it")
        part = (row[head.index("split")].strip() if "split" in head else "") or "all"
        paths, labels, columns = parts.setdefault(part, ([], [], {head[i]: [] for i in extra}))
        paths.append(row[at].strip())
        labels.append(row[of].strip())
        for i in extra:
            columns[head[i]].append(row[i].strip())
    if not parts:
        raise BadData(f"{file.name} lists no image; give a line for each, with path and label")
    twice = [path for path, count in Counter(path for paths, _, _ in parts.values() for path in paths).items() if count > 1]
    if twice:
        raise BadData(f"{file.name} lists {len(twice)} files twice or more, such as {twice[0]}; list each once")
    root = file.parent
    made = {
        part: Part(labels, _hashed(root, paths, labels), Files(root, paths), columns={"path": paths} | {k: v for k, v in columns.items() if k != "path"})
        for part, (paths, labels, columns) in parts.items()
    }
    return Found(name or file.resolve().name, made, _listed(root))


# Parquet.


def _parquet(path: Path) -> Found:
    """A file, or a folder of `train-*.parquet` and others."""
    files: dict[str, list[Path]] = {}
    if path.is_dir():
        for file in sorted(path.glob("*.parquet")):
            part = re.split(r"[-.]", file.name)[0]
            files.setdefault(part if part in ("train", "holdout", *TESTS) else "all", []).append(file)
        if "train" in files and "all" in files:
            raise BadData(f"{path.name} holds train-*.parquet and also {files['all'][0].name}; call each file by its part, or take it away")
    else:
        files["all"] = [path]
    return Found(path.resolve().name, {part: parquet(some) for part, some in files.items()}, _listed(path if path.is_dir() else path.parent))


def parquet(files: Sequence[Path]) -> Part:
    """Images and labels out of parquet files; further columns are kept, and class names are those of the schema.

    Raises:
        BadData: not such files, or none.
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet as pq
        from pyarrow import ArrowException
    except ImportError as error:
        raise MissingExtra(f"reading parquet needs {error.name}: pip install 'untrain[data]'") from error
    hashes = [store.sha256(file) for file in files]
    digest = "".join(hashes)
    large = sum(file.stat().st_size for file in files) > images.FITS
    held = _Held(store.cache_root() / f"{hashlib.sha256(digest.encode()).hexdigest()}.images" if large else None)
    labels, names, columns, rows = list[Any](), tuple[str, ...](), dict[str, list[Any]](), list[tuple[str, int]]()
    for file in files:
        try:
            opened = pq.ParquetFile(file)
            schema = opened.schema_arrow
            image, label = _column(schema.names, ("image", "img", "bytes")), _column(schema.names, LABELS)
            names = _class_names(schema.metadata, label) or names
            kept = [n for n in schema.names if n not in (image, label) and str(schema.field(n).type) in _SCALARS]
            before = len(rows)
            for batch in opened.iter_batches(batch_size=512, columns=[image, label, *kept]):
                column = batch.column(0)
                binary = column.field("bytes") if hasattr(column.type, "num_fields") and column.type.num_fields else column
                held.add(value.as_py() for value in binary)
                if hasattr(column.type, "num_fields") and "path" in [column.type.field(i).name for i in range(column.type.num_fields)]:
                    columns.setdefault("path", []).extend(value.as_py() for value in column.field("path"))
                labels += batch.column(1).to_pylist()
                for i, name in enumerate(kept, 2):
                    columns.setdefault(name, []).extend(batch.column(i).to_pylist())
            rows += [(file.name, i) for i in range(len(labels) - before)]
        except (ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise BadData(f"{file.name} is not a parquet file of images and labels ({' '.join(str(error).split())[:200]}); get it anew") from error
    if not labels:
        raise BadData(f"{files[0].name} holds no image; give at least one a class")
    bare = next((i for i, label in enumerate(labels) if label is None), None)
    if bare is not None:
        raise BadData(f"{rows[bare][0]}, row {rows[bare][1]}: no label; give each image one")
    columns = {name: values for name, values in columns.items() if len(values) == len(labels) and any(v is not None for v in values)}
    called = Rows(len(labels), held.reader(), lambda i: f"{rows[i][0]}, row {rows[i][1]}")
    return Part(labels, digest, called, names=names, columns=columns)


_SCALARS = ("string", "large_string", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "float", "double", "halffloat")


def _column(names: Sequence[str], wanted: Sequence[str]) -> str:
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise KeyError(f"columns {', '.join(names[:6])}, and none of {', '.join(wanted)}")
    return found


def _class_names(metadata: Mapping[bytes, bytes] | None, label: str) -> tuple[str, ...]:
    about = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    return tuple(about.get("info", {}).get("features", {}).get(label, {}).get("names") or ())


class _Held:
    """Encoded images: in memory, or one after the other in a file of the cache, where any can be read by itself."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.rows, self.ends = path, list[Any](), [0]
        self.whole = path is not None and path.is_file()
        self.writing = None
        if path is not None and not self.whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writing = path.with_suffix(f".{os.getpid()}.tmp").open("wb")

    def add(self, values: Iterator[Any]) -> None:
        """Keep further images."""
        for value in values:
            if self.path is None:
                self.rows.append(value if value is not None else b"")
                continue
            self.ends.append(self.ends[-1] + len(value or b""))
            if self.writing is not None:
                self.writing.write(value or b"")

    def reader(self) -> Callable[[int], bytes]:
        """What reads one."""
        if self.path is None:
            return cast(Callable[[int], bytes], self.rows.__getitem__)
        if self.writing is not None:
            self.writing.close()
            Path(self.writing.name).replace(self.path)
        file, ends = os.open(self.path, os.O_RDONLY), np.array(self.ends)
        return lambda i: os.pread(file, int(ends[i + 1] - ends[i]), int(ends[i]))


# Hugging Face.


def _hf(name: str) -> Found:
    folder = Path(name)
    saved = any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))
    if folder.is_dir() and not saved:
        return _directory(folder)
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtra("datasets is not installed: pip install 'untrain[hf]'") from error
    where, _, config = name.partition(":")
    try:
        loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(where, config or None)
    except Exception as error:  # offline, unknown and forbidden have no common class below Exception
        if saved:
            raise BadData(f"{folder.name} is not a data set that save_to_disk wrote ({' '.join(str(error).split())[:160]}); save it anew") from error
        raise BadData(
            f"hf:{name} is neither a folder here nor could it be had from the Hub ({type(error).__name__}); "
            f"see to the name and the network, or save it where there is one by save_to_disk and name that folder"
        ) from error
    return Found(folder.resolve().name if saved else f"hf:{name}", _objects(loaded, folder.name if saved else name))


def _of_hf(data: Any, shown: str) -> Part:
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


# torchvision.


def _torchvision(name: str) -> Found:
    vision = import_torchvision()
    sets = importlib.import_module("torchvision.datasets")
    kind = getattr(sets, name, None) if name in getattr(sets, "__all__", ()) else None
    if kind is None:
        near = [n for n in sets.__all__ if n.lower() == name.lower()]
        raise BadArgument(f"torchvision has no data set {name!r}{f'; did you mean {near[0]!r}?' if near else ', such as CIFAR10'}")
    assert vision is not None
    parameters, root = inspect.signature(kind.__init__).parameters, str(store.cache_root() / "torchvision")
    ways: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}} if "train" in parameters else {"train": {"split": "train"}, "test": {"split": "test"}}
    if "train" not in parameters and "split" not in parameters:
        ways = {"all": {}}
    more = {"download": True} if "download" in parameters else {}
    parts: dict[str, Part] = {}
    for part, how in ways.items():
        try:
            made = kind(root, **how, **more)
        except Exception as error:  # a missing file, a missing network and an unknown part have no common class
            raise BadData(f"torchvision:{name} could not be had, part {part} ({type(error).__name__}: {' '.join(str(error).split())[:120]}); see to the network") from error
        parts |= {part: _of_dataset(made, f"torchvision:{name} {part}")}
    return Found(f"torchvision:{name}", parts)


# Objects of Python.


def _objects(data: Any, shown: str = "data") -> dict[str, Part]:
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
        return _of_hf(data, shown)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return _of_dataset(data, shown)
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


def _of_dataset(data: Any, shown: str) -> Part:
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
