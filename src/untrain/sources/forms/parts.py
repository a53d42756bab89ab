"""What every form of data is read into, and what several forms share."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from untrain.core import disk
from untrain.core.data import LABELS, Samples
from untrain.core.errors import BadArgument, BadData, refuse_both
from untrain.sources import blobs, images
from untrain.sources.blobs import Blobs
from untrain.sources.hashes import Hashes

TESTS = ("test", "val", "valid", "validation")
"""Names of a test part, the first that is there."""

PARTS = ("train", "holdout", "unseen", *TESTS)
"""Names of parts."""


OTHERWISE = {"training": "train", "testing": "test"}
"""What parts are called besides."""


def part_called(name: Any) -> str:
    """The part that a folder, a file or a cell of a column `split` names; the usual ones in capitals or not, `all` where it names none.

    >>> part_called("Train"), part_called(" testing "), part_called("Spare"), part_called(None)
    ('train', 'test', 'Spare', 'all')
    """
    text = "" if name is None else str(name).strip()
    usual = OTHERWISE.get(text.lower(), text.lower())
    return usual if usual in PARTS else text or "all"


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a data set as it was found.

    Args:
        labels: A name or a number for each sample.
        digest: Hash of its files, or several one after the other.
        blobs: Its images or sounds.
        ready: Its samples, where they need no decoding.
        names: Names of the classes by number, where the source says.
        columns: Further facts by row.
        notes: What to tell of it.
        sizes: How many of its images have each height and width, where that is known.
        texts: Its texts; what they are made into, the model's tokenizer says.
        cells: Of a table of numbers and categories the cells of each column that is read, as text; what they are made into, the training part says.
        place: What else its images go by in the cache, where the hash says neither their order nor their column.
    """

    labels: Sequence[Any]
    digest: str
    blobs: Blobs | None = None
    ready: Samples | None = None
    names: tuple[str, ...] = ()
    columns: dict[str, list[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sizes: Mapping[tuple[int, int], int] | None = None
    cells: Mapping[str, list[str]] | None = None
    texts: Sequence[str] | None = None
    place: str = ""

    @property
    def key(self) -> str:
        """What the cache keeps its images under."""
        return self.digest + self.place


@dataclass(frozen=True)
class Columns:
    """How data are read: which columns of a table, or entries of an item, hold the image (or the sound) and the label, None where the usual names tell.

    Args:
        image: The image, or the path to it.
        label: The label.
        outside: Whether paths may lead out of the folder of the data.
        features: Names, with commas between, of the columns of numbers and categories that are read.
        text: The text, where the rows are texts; empty where the usual names tell.
    """

    image: str | None = None
    label: str | None = None
    outside: bool = False
    features: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        whole = "each says what of a row a sample is"
        image, text, features = (("--image-column", self.image is not None), ("--text-column", bool(self.text)), ("--columns", self.features is not None))
        refuse_both((*image, *text, whole), (*image, *features, whole), (*text, *features, whole))

    @property
    def named(self) -> bool:
        """Whether a column is named."""
        return self.image is not None or self.label is not None or self.features is not None or bool(self.text)

    def among(self, there: Sequence[str], which: Literal["image", "label", "text"], shown: str, usual: Sequence[str] | None = None) -> str:
        """The column of this kind.

        Args:
            there: The columns that there are.
            which: `image`, `label` or `text`.
            shown: What the data are called.
            usual: Names that tell; those of labels, images or texts where none are given.

        Raises:
            BadArgument: there is none of the name that was asked for.
            BadData: none is called as usual.
        """
        asked = {"image": self.image, "label": self.label, "text": self.text or None}[which]
        listed = f"{', '.join(map(str, there[:8]))}{', ...' if len(there) > 8 else ''}"
        if asked is not None:
            if asked not in there:
                raise BadArgument(f"--{which}-column {asked}: {shown} has the columns {listed}")
            return asked
        names = usual or {"image": IMAGES, "label": LABELS, "text": TEXTS}[which]
        found = next((name for name in names if name in there), None)
        if found is None:
            raise BadData(f"{shown} has the columns {listed or 'none'}, and none for the {which} that is called {', '.join(names[:4])}; name it by --{which}-column")
        return found


IMAGES = ("image", "img", "bytes", "audio", "pcm")
"""What a column of images, or of sounds, is usually called."""

TEXTS = ("text", "sentence", "content")
"""What a column of texts is usually called."""

PLAIN = Columns()
"""The usual names."""


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


IGNORED = ("thumbs.db", "desktop.ini", "__macosx", "classes.txt")


def visible(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name, but for what systems leave there."""
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith(".") and e.name.lower() not in IGNORED), key=lambda e: e.name)


def listed_in(folder: Path) -> tuple[str, ...]:
    """The classes that classes.txt lists, one a line.

    Raises:
        BadData: it lists none, or one twice.
    """
    file = folder / "classes.txt"
    if not file.is_file():
        return ()
    names = tuple(line.strip() for line in text_of(file).splitlines() if line.strip())
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        raise BadData(f"classes.txt lists {f'{twice[0]!r} twice' if twice else 'no class'}; list every class once, one a line, in the order of the model's outputs")
    return names


def text_of(file: Path) -> str:
    """The text of a file.

    Raises:
        BadData: it is no regular file, or not UTF-8.
    """
    return disk.text(file)


def refuse_outside(root: Path, paths: Iterable[str], columns: Columns, shown: str) -> None:
    """Refuse files that lie outside of the folder of the data: of a stranger's table they would be pictures of the user's own.

    Args:
        root: The folder.
        paths: The files, seen from there.
        columns: Whether that was asked for.
        shown: What the data are called.

    Raises:
        BadData: how many do, and the first.
    """
    if columns.outside:
        return
    top, known, out = os.path.realpath(root), dict[str, bool](), list[str]()

    def within(path: str) -> bool:
        return os.path.realpath(root / path).startswith(top.rstrip(os.sep) + os.sep)

    for path in paths:
        folder = path[: path.rfind("/") + 1]
        if folder not in known:
            known[folder] = within(f"{folder}x")
        try:
            leads_out = not known[folder] or ((root / path).is_symlink() and not within(path))
        except OSError:
            # A name that no file can have; whoever reads it says so.
            continue
        if leads_out:
            out.append(path)
    if out:
        raise BadData(f"{len(out)} files of {shown} lie outside of its folder, such as {out[0]}; put them into it, or allow it by --outside where you trust who wrote it")


def hashed(root: Path, paths: Sequence[str], labels: Sequence[Any]) -> str:
    """A hash of files by name, bytes and label, whatever order they come in.

    Raises:
        BadData: some cannot be read.
    """
    known = Hashes(root)

    def one(i: int) -> bytes | str:
        try:
            return os.fsencode(f"{paths[i]}\0{known.of(paths[i])}\0{labels[i]}\n")
        except (OSError, ValueError) as error:
            return f"{paths[i]} ({images.why(error)})"

    told = list(blobs.each(one, len(paths)))
    blobs.refuse_broken([line for line in told if isinstance(line, str)], len(paths))
    known.keep()
    digest = hashlib.sha256()
    for line in sorted(cast(list[bytes], told)):
        digest.update(line)
    return digest.hexdigest()
