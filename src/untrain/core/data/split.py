"""The split of samples into named parts: what to forget, what to retain, what to test on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from untrain.core.data.naming import class_numbers, places_of_files, places_where, refuse_all_or_none
from untrain.core.data.pixels import Prepare
from untrain.core.data.samples import Samples
from untrain.core.errors import BadArgument


class Split:
    """What to forget, what to keep, and what to test on, by name.

    Args:
        forget: The forget set, training samples.
        retain: The retain set, training samples.
        test: Samples that no method is handed.
        classes: Class numbers to forget; empty where single samples are.
        **parts: Further named parts (`valid`, `holdout`, ...).
    """

    def __init__(self, forget: Samples, retain: Samples, test: Samples, classes: Sequence[int] = (), **parts: Samples) -> None:
        self.forget, self.retain, self.test = forget, retain, test
        self.classes = tuple(sorted(classes))
        self.parts: dict[str, Samples] = {"forget": forget, "retain": retain, "test": test, **parts}

    @classmethod
    def by_class(cls, train: Samples, test: Samples, *, forget: Sequence[int | str], **parts: Samples) -> Split:
        """Forget whole classes, given by number or by name.

        Raises:
            BadArgument: a class that is not there, none, or all of them.
        """
        numbers = class_numbers(train, forget)
        gone = torch.isin(train.y, torch.tensor(numbers))
        return cls(train[gone], train[~gone], test, numbers, **parts)

    @classmethod
    def by_index(cls, train: Samples, test: Samples, *, forget: Sequence[int], **parts: Samples) -> Split:
        """Forget single training samples, by their place in `train`.

        Raises:
            BadArgument: a place that is not there, a place named twice, none, or all of them.
        """
        places = [int(i) for i in forget]
        outside = [i for i in places if not 0 <= i < len(train)]
        if outside:
            raise BadArgument(f"no sample at {outside[:5]}: places run from 0 to {len(train) - 1}")
        if len(set(places)) != len(places):
            raise BadArgument(f"{len(places) - len(set(places))} places are named twice")
        gone = torch.zeros(len(train), dtype=torch.bool)
        gone[torch.tensor(places, dtype=torch.long)] = True
        refuse_all_or_none(int(gone.sum()), len(train), "samples")
        return cls(train[gone], train[~gone], test, (), **parts)

    @classmethod
    def by_group(cls, train: Samples, test: Samples, *, column: str, forget: Sequence[Any], **parts: Samples) -> Split:
        """Forget the training samples whose column holds one of these values.

        Raises:
            BadArgument: a column or a value that is not there, or all of the samples.
        """
        return cls.by_index(train, test, forget=places_where(train, column, forget), **parts)

    @classmethod
    def by_files(cls, train: Samples, test: Samples, *, forget: Sequence[str], **parts: Samples) -> Split:
        """Forget the training samples of these files, named by path or by as much of its end as tells them apart.

        Raises:
            BadArgument: names that fit no file, or several, or that are given twice (how many, and the first); none, or all of the files.
        """
        return cls.by_index(train, test, forget=places_of_files(train, forget), **parts)

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
