"""Which samples and which classes are meant by a name: of a class, of a file, of a value in a column."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import torch

from untrain.core.data.samples import Samples
from untrain.core.errors import BadArgument
from untrain.core.seeds import mix


def places_where(train: Samples, column: str, values: Sequence[Any]) -> list[int]:
    """Places of the samples whose column holds one of these values.

    Raises:
        BadArgument: a column or a value that is not there.

    >>> import torch
    >>> places_where(Samples(torch.zeros(3, 1), [0, 1, 0], columns={"who": ["a", "b", "a"]}), "who", ["a"])
    [0, 2]
    """
    if column not in train.columns:
        raise BadArgument(f"no column {column!r}; there are {sorted(train.columns)}")
    held, wanted = train.columns[column], set(values)
    there = set(held)
    absent = sorted(wanted - there, key=str)
    if absent:
        shown = ", ".join(sorted(map(str, there))[:5])
        raise BadArgument(f"column {column!r} of the training samples holds no {absent[0]!r}; it holds {len(there)} values, such as {shown}")
    return [i for i, value in enumerate(held) if value in wanted]


def places_of_files(train: Samples, named: Sequence[str], *, elsewhere: Mapping[str, Samples] | None = None) -> list[int]:
    """Places of the samples of these files: each name is a path of the data, or as much of its end as tells it apart.

    Args:
        train: Where they are looked for.
        named: Names.
        elsewhere: Other parts by name, for the message where a name is one of theirs.

    Raises:
        BadArgument: names that fit no file, or several, or that are given twice.

    >>> import torch
    >>> places_of_files(Samples(torch.zeros(3, 1), [0, 1, 0], columns={"path": ["cat/1.png", "dog/1.png", "cat/2.png"]}), ["dog/1.png", "2.png"])
    [1, 2]
    """
    if "path" not in train.columns:
        raise BadArgument("the data has no file names (no column 'path'); name samples by their places, or by another column")
    ends: dict[str, list[int]] = {}
    whole: dict[str, list[int]] = {}
    for place, path in enumerate(train.columns["path"]):
        mine = _ends(str(path))
        whole.setdefault(mine[0], []).append(place)
        for end in mine:
            ends.setdefault(end, []).append(place)
    found, lost, several = list[int](), list[str](), list[str]()
    for name in named:
        # A whole path begins with folders that lie outside of the data, and all of what the data call the file is its end: by less it would be another's of that name.
        outside = PurePosixPath(name).is_absolute() or name.startswith("..")
        fits = next((whole[end] for end in _ends(name) if end in whole), []) if outside else ends.get(_ends(name)[0], [])
        exact = [place for place in fits if str(train.columns["path"][place]) == name]
        fits = exact if len(exact) == 1 else fits
        (found.append(fits[0]) if len(fits) == 1 else several.append(name) if fits else lost.append(name))
    if lost:
        close = difflib.get_close_matches(lost[0], [str(p) for p in train.columns["path"][:5000]], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; a name is a path such as {train.columns['path'][0]!r}" if len(train) else ""
        for part, samples in (elsewhere or {}).items():
            theirs = {end for path in samples.columns.get("path", ()) for end in _ends(str(path))}
            if count := sum(_ends(name)[0] in theirs for name in lost):
                hint = f"; {count} of them are {part} samples, which no model learned from"
        raise BadArgument(f"{len(lost)} of {len(named)} names fit no training sample: {_few(lost)}{hint}")
    if several:
        raise BadArgument(f"{len(several)} of {len(named)} names fit several training samples each: {_few(several)}; write more of their paths")
    seen: dict[int, str] = {}
    twice = [name for name, place in zip(named, found, strict=True) if seen.setdefault(place, name) is not name]
    if twice:
        raise BadArgument(f"{len(twice)} of {len(named)} names are given twice: {_few(twice)}; name each file once")
    return found


def _ends(path: str) -> list[str]:
    """A path and every shorter end of it.

    >>> _ends("./a/b/c.png")
    ['a/b/c.png', 'b/c.png', 'c.png']
    """
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    return ["/".join(parts[i:]) for i in range(len(parts))] or [path]


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(repr(name) for name in names[:most]) + (", ..." if len(names) > most else "")


def class_numbers(samples: Samples, named: Sequence[int | str], *, elsewhere: Samples | None = None) -> tuple[int, ...]:
    """Class numbers, sorted, of classes given by number, by name, or as `#3` by what can be nothing but a number.

    A class that no sample shows any more, its images having been deleted, is one all the same where its name is known or samples elsewhere show it.

    Args:
        samples: The training samples.
        named: Classes.
        elsewhere: Further samples whose labels tell of classes: the test part.

    Raises:
        BadArgument: a class that is not there (says which are), one that could be several, none, or all.

    >>> import torch
    >>> class_numbers(Samples(torch.zeros(2, 1), [0, 1], names=["cat", "dog"]), ["dog"])
    (1,)
    >>> class_numbers(Samples(torch.zeros(3, 1), [0, 1, 2], names=["crane", "cat", "crane"]), ["#2"])
    (2,)
    >>> class_numbers(Samples(torch.zeros(2, 1), [0, 1], names=["cat", "dog", "eel"]), ["eel"])
    (2,)
    """
    there, names = samples.classes, samples.names
    known = {*there, *range(len(names)), *(elsewhere.classes if elsewhere is not None else ())}
    found = set()
    for given in named:
        text = str(given)
        called = [c for c, name in enumerate(names) if name == text]
        plain = text if called else text.removeprefix("#")
        number = int(plain) if plain.isdecimal() and len(plain) <= 18 and not isinstance(given, bool) else None
        could = sorted({*called, *([number] if number is not None and number in known else [])})
        if len(could) > 1:
            raise BadArgument(f"{_why_several(text, called, number, names)}; write {' or '.join(f'#{c}' for c in could)} for the one that is meant")
        number = could[0] if could else number
        if number is None or number not in known:
            there_are = [f"{c} {names[c]}" if c < len(names) and names[c] != str(c) else str(c) for c in there]
            shown = ", ".join(there_are[:20]) + (f", ... ({len(there_are)} in all)" if len(there_are) > 20 else "")
            near = next((name for name in names if name.casefold() == text.casefold()), None)
            hint = f"; did you mean {near!r}?" if near else ""
            raise BadArgument(f"no class {given!r}; there are {shown}{hint}")
        found.add(number)
    if not found or found.issuperset(there):
        refuse_all_or_none(len(found.intersection(there)), len(there), "classes")
    return tuple(sorted(found))


def _why_several(text: str, called: Sequence[int], number: int | None, names: Sequence[str]) -> str:
    """Why a class that was named could be several."""
    if number is None or number in called:
        return f"{text!r} is the name of {len(called)} classes"
    return f"{text!r} is the name of class {called[0]} and the number of another, {names[number]!r}"


def places_drawn(n: int, ratio: float, seed: int = 0) -> list[int]:
    """Places of a random share of n samples, the same for a seed and a number of samples on every machine.

    Raises:
        BadArgument: a share that is none, or all.

    >>> places_drawn(10, 0.3) == places_drawn(10, 0.3) != places_drawn(10, 0.3, seed=1)
    True
    """
    count = round(n * ratio) if 0 < ratio < 1 else 0
    if count == 0:
        raise BadArgument(f"a share of {ratio:.3g} of {n} samples is none, or all of them; give one between 0 and 1 that is at least one sample")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(mix(seed, n)))
    return sorted(order[:count].tolist())


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names for tables and bars: of classes that are called alike each has its number behind it.

    >>> distinct(["crane", "cat", "crane"])
    ('crane #0', 'cat', 'crane #2')
    """
    return tuple(f"{name} #{i}" if names.count(name) > 1 else name for i, name in enumerate(names))


def refuse_all_or_none(some: int, of: int, what: str) -> None:
    """Refuse a list that names nothing, or leaves nothing.

    Raises:
        BadArgument: which of the two.
    """
    if some == 0:
        raise BadArgument(f"nothing to forget: no {what} named")
    if some == of:
        raise BadArgument(f"all {of} {what} are named to be forgotten, and nothing is left to retain; name fewer")
