"""Parquet: a file, or a folder of `train-*.parquet` and others, with images or sounds as bytes, or sounds sample by sample."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from untrain.core import files
from untrain.core.errors import BadData, MissingExtra, Resources, UntrainError, wall
from untrain.core.wording import told
from untrain.sources import blobs, cache
from untrain.sources.blobs import Rows
from untrain.sources.forms.parts import PARTS, PLAIN, Columns, Found, Part, listed_in, part_called
from untrain.sources.forms.texts import rows as rows_of_texts
from untrain.sources.sounds import Wave


def parquets(path: Path, columns: Columns = PLAIN) -> Found:
    """A file, or a folder of `train-*.parquet` and others.

    Args:
        path: The file or folder.
        columns: Which columns hold the image and the label.
    """
    by_part: dict[str, list[Path]] = {}
    if path.is_dir():
        for file in sorted(path.glob("*.parquet")):
            part = part_called(re.split(r"[-._]", file.name)[0])
            by_part.setdefault(part if part in PARTS else "all", []).append(file)
        if "train" in by_part and "all" in by_part:
            raise BadData(f"{path.name} holds train-*.parquet and also {by_part['all'][0].name}; call each file by its part, or take it away")
    else:
        by_part["all"] = [path]
    listed = listed_in(path if path.is_dir() else path.parent)
    if columns.text is not None:
        made = {part: _texts(some, columns, list(by_part) == ["all"]) for part, some in by_part.items()}
        # A file that says its part by its name is one, whatever a column says.
        return Found(path.resolve().name, made["all"] if list(made) == ["all"] else {part: some["all"] for part, some in made.items()}, listed)
    parts = {part: parquet(some, columns) for part, some in by_part.items()}
    return Found(path.resolve().name, _divided(parts["all"]) if list(parts) == ["all"] else parts, listed)


def _texts(paths: Sequence[Path], columns: Columns, divided: bool) -> dict[str, Part]:
    """Parts of texts and labels out of parquet files; one, `all`, where their names divide them."""
    pq = _pyarrow()
    texts, labels, names, more = list[Any](), list[Any](), tuple[str, ...](), dict[str, list[Any]]()
    for file in paths:
        with wall(file.name, "give parquet files of texts and labels"):
            table = pq.read_table(file)
        text, label = columns.among(table.column_names, "text", file.name), columns.among(table.column_names, "label", file.name)
        names = _one_order(names, _class_names(table.schema.metadata, label), file.name)
        texts += table[text].to_pylist()
        labels += table[label].to_pylist()
        for name in table.column_names:
            if name not in (text, label) and _is_scalar(table.schema.field(name).type):
                more.setdefault(name, []).extend(table[name].to_pylist())
    made = rows_of_texts(texts, labels, {name: values for name, values in more.items() if len(values) == len(labels) and (divided or name != "split")}, paths[0].name)
    return {part: replace(some, names=names) for part, some in made.items()}


def _pyarrow() -> Any:
    """Pyarrow's reader of parquet.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(f"reading parquet needs {error.name}: pip install 'untrain[data]'") from error
    return pyarrow.parquet


def _divided(whole: Part) -> dict[str, Part]:
    """The parts that a column `split` names, where train is one of them; any other such column is a fact of the rows."""
    said, blobs = [part_called(cell) for cell in whole.columns.get("split", [])], whole.blobs
    if "train" not in said or blobs is None:
        return {"all": whole}
    made = {}
    for part in dict.fromkeys(said):
        rows = [i for i, name in enumerate(said) if name == part]
        some = Rows(len(rows), lambda i, rows=rows: blobs.read(rows[i]), lambda i, rows=rows: blobs.name(rows[i]), together=True)  # type: ignore[misc]
        more = {name: [values[i] for i in rows] for name, values in whole.columns.items() if name != "split"}
        made[part] = replace(whole, labels=[whole.labels[i] for i in rows], digest=f"{whole.digest}{part}", blobs=some, columns=more)
    return made


def parquet(paths: Sequence[Path], columns: Columns = PLAIN) -> Part:
    """Images or sounds and labels out of parquet files; further columns are kept, and class names are those of the schema.

    Args:
        paths: The files.
        columns: Which columns hold the image and the label.

    Raises:
        BadArgument: a column that was named is not there.
        BadData: not such files, or none.
        MissingExtra: pyarrow is not installed.
    """
    pq = _pyarrow()
    from pyarrow import ArrowException

    hashes = [files.sha256(file) for file in paths]
    digest, place = "".join(hashes), columns.image or ""
    large = sum(file.stat().st_size for file in paths) > blobs.FITS
    held = _Held(cache.used(cache.place() / f"{blobs.short(digest + place)}.images") if large else None)
    labels, names, more, rows = list[Any](), tuple[str, ...](), dict[str, list[Any]](), list[tuple[str, int]]()
    numbers: tuple[np.dtype[Any], int | None] | None = None
    for file in paths:
        try:
            opened = pq.ParquetFile(file)
            schema = opened.schema_arrow
            image, label = columns.among(schema.names, "image", file.name), columns.among(schema.names, "label", file.name)
            names = _one_order(names, _class_names(schema.metadata, label), file.name)
            sampled = str(schema.field(image).type).startswith(("list<", "large_list<", "fixed_size_list<"))
            told_of = (np.dtype(schema.field(image).type.value_type.to_pandas_dtype()), _rate(schema.metadata, image)) if sampled else None
            if labels and told_of != numbers:
                raise BadData(f"{file.name} holds its {image} as {_form(told_of)}, and {paths[0].name} as {_form(numbers)}; write all files in one form")
            numbers = told_of
            kept = [n for n in schema.names if n not in (image, label) and _is_scalar(schema.field(n).type)]
            before = len(rows)
            for batch in opened.iter_batches(batch_size=512, columns=[image, label, *kept]):
                column = batch.column(0)
                struct = not sampled and hasattr(column.type, "num_fields") and column.type.num_fields
                binary = column.field("bytes") if struct else column
                at = enumerate(column, len(labels) - before)
                held.add((_samples(value, f"{file.name}, row {i}") for i, value in at) if sampled else (value.as_py() for value in binary))
                if struct and "path" in [column.type.field(i).name for i in range(column.type.num_fields)]:
                    more.setdefault("path", []).extend(value.as_py() for value in column.field("path"))
                labels += batch.column(1).to_pylist()
                for i, name in enumerate(kept, 2):
                    more.setdefault(name, []).extend(batch.column(i).to_pylist())
            rows += [(file.name, i) for i in range(len(labels) - before)]
        except BaseException as error:
            held.drop()
            if isinstance(error, UntrainError) or not isinstance(error, (ArrowException, OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError)):
                raise
            raise BadData(f"{file.name} is not a parquet file of images or sounds and labels ({' '.join(told(error).split())[:200]}); get it anew") from error
    read = held.reader()
    if not labels:
        raise BadData(f"{paths[0].name} holds no image or sound; give at least one a class")
    bare = next((i for i, label in enumerate(labels) if label is None), None)
    if bare is not None:
        raise BadData(f"{rows[bare][0]}, row {rows[bare][1]}: no label; give each image or sound one")
    more = {name: values for name, values in more.items() if len(values) == len(labels) and any(v is not None for v in values)}
    get = read if numbers is None else lambda i: Wave(np.frombuffer(read(i), numbers[0]), numbers[1])
    called = Rows(len(labels), get, lambda i: f"{rows[i][0]}, row {rows[i][1]}", together=True)
    return Part(labels, digest, called, names=names, columns=more, place=place)


def _is_scalar(kind: Any) -> bool:
    """Whether a column of this type is kept, one of categories by what they are of."""
    told = str(getattr(kind, "value_type", kind)) if str(kind).startswith("dictionary<") else str(kind)
    return told in _SCALARS or told.startswith(("date", "timestamp"))


_SCALARS = ("string", "large_string", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "float", "double", "halffloat")


def _class_names(metadata: Mapping[bytes, bytes] | None, label: str) -> tuple[str, ...]:
    about = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    names = about.get("info", {}).get("features", {}).get(label, {}).get("names") or ()
    return tuple(str(name) for name in names)


def _one_order(before: tuple[str, ...], names: tuple[str, ...], shown: str) -> tuple[str, ...]:
    """The class names of a part's files, whose numbers are those of one list.

    Raises:
        BadData: a file has another list.
    """
    if before and names and before != names:
        listed, other = (", ".join(some[:4]) for some in (names, before))
        raise BadData(f"{shown} lists the classes {listed}, and the files before it {other}: one number would be two classes; write all files with one list")
    return names or before


def _form(numbers: tuple[np.dtype[Any], int | None] | None) -> str:
    """How a file holds its images or sounds, in words."""
    if numbers is None:
        return "encoded bytes"
    return f"samples of {numbers[0]}" + (f" at {numbers[1]:,} Hz" if numbers[1] else "")


def _rate(metadata: Mapping[bytes, bytes] | None, column: str) -> int | None:
    """Samples in a second of a column of sounds, where the schema says."""
    about = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {}).get(column, {})
    said = about.get("sampling_rate") or (metadata or {}).get(b"sampling_rate")
    return int(said) if said else None


def _samples(value: Any, shown: str) -> bytes:
    """A row's samples as bytes; of a row without, none."""
    if not value.is_valid:
        return b""
    if value.values.null_count:
        raise BadData(f"{shown}: {value.values.null_count} of its {len(value.values):,} samples are missing; fill them in, or remove the row")
    return cast(bytes, value.values.to_numpy(zero_copy_only=False).tobytes())


class _Held:
    """Encoded images or sounds: in memory, or one after the other in a file, where any can be read by itself.

    The file lies in the cache; where that cannot be written it has no name, and is gone with this process.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.rows, self.ends = path, list[Any](), [0]
        self.file: BinaryIO | None = None
        self.made: Path | None = None
        if path is None:
            return
        try:
            # Open from now on, since another process may remove what is kept.
            self.file = path.open("rb")
        except OSError:
            self.file = self._room(path)

    def _room(self, path: Path) -> BinaryIO:
        made = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = made.open("w+b")
        except OSError:
            return cast(BinaryIO, tempfile.TemporaryFile())
        self.made = made
        return file

    def add(self, values: Iterator[Any]) -> None:
        """Keep further images.

        Raises:
            Resources: there is no room.
        """
        if self.file is None:
            self.rows += (value if value is not None else b"" for value in values)
            return
        writes = self.file.writable()
        try:
            for value in values:
                self.ends.append(self.ends[-1] + len(value or b""))
                if writes:
                    self.file.write(value or b"")
            self.file.flush()
        except OSError as error:
            where = tempfile.gettempdir() if self.made is None else self.made.parent
            fact = f"encoded images are kept in {where}, to be read by the batch, and that failed ({error.strerror or error})"
            raise Resources(f"{fact}; make room, or name another place by UNTRAIN_CACHE") from error

    def drop(self) -> None:
        """Remove what was half written."""
        if self.file is not None:
            self.file.close()
        if self.made is not None:
            self.made.unlink(missing_ok=True)

    def reader(self) -> Callable[[int], bytes]:
        """What reads one."""
        if self.file is None:
            return cast(Callable[[int], bytes], self.rows.__getitem__)
        if self.made is not None and self.path is not None:
            self.made.replace(self.path)
        # Open for as long as the data are read.
        file, ends = os.dup(self.file.fileno()), np.array(self.ends)
        self.file.close()
        return lambda i: os.pread(file, int(ends[i + 1] - ends[i]), int(ends[i]))
