"""The split of samples into named parts: what to forget, what to retain, what to test on."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from untrain.core.data.naming import class_numbers, places_drawn, places_of_files, places_where, refuse_all_or_none
from untrain.core.data.pixels import Prepare
from untrain.core.data.samples import Samples
from untrain.core.datasets import dataset_of, names_of, one_order, refuse_no_dataset
from untrain.core.errors import BadArgument

Given = Samples | Dataset[Any] | DataLoader[Any]
"""What a part may be given as."""


def samples_of(given: Given, called: str = "data") -> Samples:
    """Samples, out of a map-style Dataset of (input, label), or of that under a DataLoader, whose order is no matter.

    Args:
        given: Samples, a Dataset or a DataLoader.
        called: What it is called in a message.

    Raises:
        BadArgument: it is none of them, or a DataLoader that draws some samples more often than others.
        BadData: it holds nothing, or images that nothing has made a tensor of.
    """
    if isinstance(given, Samples):
        return given
    under = dataset_of(given, called)
    refuse_no_dataset(under, called)
    return Samples(under, names=names_of(under))


def _all_of(test: Given, parts: Mapping[str, Given]) -> dict[str, Samples]:
    return {name: samples_of(part, name) for name, part in {"test": test, **parts}.items()}


def _each(named: Any) -> Sequence[Any]:
    """What is named, one by one: a text or a number alone is one name, though a text could be taken for its letters."""
    named = _plain(named)
    return [named] if isinstance(named, str | bytes) or not hasattr(named, "__iter__") else [_plain(one) for one in named]


def _plain(named: Any) -> Any:
    """The same of Python's own types, where it is a tensor or an array."""
    return named.tolist() if hasattr(named, "tolist") else named


def _place(given: Any) -> int:
    """A place as a number.

    Raises:
        BadArgument: it is none: a fraction, or of a mask.
    """
    try:
        if not isinstance(given, bool):
            return operator.index(given)
    except (TypeError, RuntimeError):
        pass
    raise BadArgument(f"{given!r} is no place of a sample; name whole numbers from 0, of a mask those where it is true: mask.nonzero().flatten()")


class Split:
    """What to forget, what to keep, and what to test on, by name.

    The functions that make one take Samples, a map-style Dataset, or a DataLoader, whose Dataset is then taken.

    Args:
        forget: The forget set, training samples.
        retain: The retain set, training samples.
        test: Samples that no method is handed.
        classes: Class numbers to forget; empty where single samples are.
        **parts: Further named parts (`valid`, `holdout`, ...).

    Raises:
        BadData: two parts name their classes otherwise, so that one number means two classes.
    """

    def __init__(self, forget: Samples, retain: Samples, test: Samples, classes: Sequence[int] = (), **parts: Samples) -> None:
        self.forget, self.retain, self.test = forget, retain, test
        self.classes = tuple(sorted(classes))
        self.parts: dict[str, Samples] = {"forget": forget, "retain": retain, "test": test, **parts}
        one_order({name: part.names for name, part in self.parts.items()})

    @classmethod
    def by_class(cls, train: Given, test: Given, *, forget: Sequence[int | str], **parts: Given) -> Split:
        """Forget whole classes, given by number or by name.

        Their training samples may be gone already: the forget set is empty then, and methods that need none of it (UNSIR) forget the class all the same.

        Raises:
            BadArgument: a class that is not there, none, or all of them.
        """
        train, given = samples_of(train, "train"), _all_of(test, parts)
        numbers = class_numbers(train, _each(forget), elsewhere=given["test"])
        gone = torch.isin(train.y, torch.tensor(numbers))
        return cls(train[gone], train[~gone], given.pop("test"), numbers, **given)

    @classmethod
    def by_index(cls, train: Given, test: Given, *, forget: Sequence[int], **parts: Given) -> Split:
        """Forget single training samples, by their place in `train`.

        Raises:
            BadArgument: a place that is not there, a place named twice, none, or all of them.
        """
        train, given = samples_of(train, "train"), _all_of(test, parts)
        places = [_place(i) for i in _each(forget)]
        outside = [i for i in places if not 0 <= i < len(train)]
        if outside:
            raise BadArgument(f"no sample at {outside[:5]}: places run from 0 to {len(train) - 1}")
        if len(set(places)) != len(places):
            raise BadArgument(f"{len(places) - len(set(places))} places are named twice")
        gone = torch.zeros(len(train), dtype=torch.bool)
        gone[torch.tensor(places, dtype=torch.long)] = True
        refuse_all_or_none(int(gone.sum()), len(train), "samples")
        return cls(train[gone], train[~gone], given.pop("test"), (), **given)

    @classmethod
    def random(cls, train: Given, test: Given, *, ratio: float = 0.1, seed: int = 0, **parts: Given) -> Split:
        """Forget a random share of the training samples: the same ones for a seed and a number of samples.

        Raises:
            BadArgument: a share that is none, or all.
        """
        train = samples_of(train, "train")
        return cls.by_index(train, test, forget=places_drawn(len(train), ratio, seed), **parts)

    @classmethod
    def by_group(cls, train: Given, test: Given, *, column: str, forget: Sequence[Any], **parts: Given) -> Split:
        """Forget the training samples whose column holds one of these values.

        Raises:
            BadArgument: a column or a value that is not there, or all of the samples.
        """
        train = samples_of(train, "train")
        return cls.by_index(train, test, forget=places_where(train, column, _each(forget)), **parts)

    @classmethod
    def by_files(cls, train: Given, test: Given, *, forget: Sequence[str], **parts: Given) -> Split:
        """Forget the training samples of these files, named by path or by as much of its end as tells them apart.

        Raises:
            BadArgument: names that fit no file, or several, or that are given twice (how many, and the first); none, or all of the files.
        """
        train = samples_of(train, "train")
        return cls.by_index(train, test, forget=places_of_files(train, _each(forget)), **parts)

    def prepared(self, prepare: Prepare | None) -> Split:
        """The same split, each part prepared so where it has no preparation of its own."""
        parts = {name: part.prepared(prepare) for name, part in self.parts.items()}
        return self._of(parts)

    def replaced(self, **parts: Samples) -> Split:
        """The same split with some parts exchanged."""
        return self._of({**self.parts, **parts})

    def _of(self, parts: dict[str, Samples]) -> Split:
        rest = {k: v for k, v in parts.items() if k not in ("forget", "retain", "test")}
        return Split(parts["forget"], parts["retain"], parts["test"], self.classes, **rest)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={len(part)}" for name, part in self.parts.items())
        return f"Split({sizes}, classes={self.classes})"
