"""Samples, the batches cut from them, and their split into named parts."""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import functools
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from untrain.core.errors import BadArgument, BadData

Inputs = Tensor | dict[str, Tensor]


def mix(*numbers: int) -> int:
    """One 63-bit seed out of several numbers, the same on every machine.

    >>> mix(0, 1) == mix(0, 1) != mix(1, 0)
    True
    """
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Augment(Protocol):
    """A random change of raw pixels, as a pure function of the pixels and of uniform numbers.

    The numbers are drawn for a whole batch and handed out by row, so that a batch cut over
    several ranks is augmented as the whole one would be.
    """

    @property
    def draws(self) -> int:
        """Uniform numbers that a row takes."""
        ...

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        """Change x [n, c, h, w] by the numbers u [n, draws] in [0, 1)."""
        ...


class Prepare(Protocol):
    """What turns raw inputs into what the network reads: decoding, scaling, normalising."""

    def __call__(self, x: Any) -> Any:
        """Prepare a batch of inputs."""
        ...


@dataclass(frozen=True)
class Norm:
    """Pixels to network input: bytes are scaled to [0, 1], then (x - mean) / std by channel.

    Args:
        mean: One number a channel, on the scale of 0 to 1.
        std: One number a channel, on the same scale.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise x [n, c, h, w]: uint8 in 0..255, or floats already in [0, 1]."""
        if x.ndim != 4 or x.shape[1] != len(self.mean):
            raise BadData(f"images of shape {tuple(x.shape[1:])} do not fit a normalisation of {len(self.mean)} channels; give data that it was made for")
        fresh = x.dtype == torch.uint8
        x = x.float().div_(255) if fresh else x
        mean = torch.tensor(self.mean, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
        # What was made here is changed in place: an image of 224 x 224 in floats is 600 kB.
        return x.sub_(mean).div_(std) if fresh else (x - mean) / std


@dataclass(frozen=True)
class CropFlip:
    """Shift by up to `pad` pixels over a black border and, where asked, mirror half of the images.

    Args:
        pad: Largest shift in pixels.
        flip: Whether to mirror left and right, each image with probability one half.
    """

    pad: int = 4
    flip: bool = True
    draws: int = field(default=3, init=False)

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        """Augment x [n, c, h, w] by the numbers u [n, 3]."""
        n, _, h, w = x.shape
        padded = torch.nn.functional.pad(x, (self.pad,) * 4)
        down, right = (u[:, :2] * (2 * self.pad + 1)).long().unbind(1)
        rows = down[:, None] + torch.arange(h, device=x.device)
        columns = right[:, None] + torch.arange(w, device=x.device)
        if self.flip:
            columns = torch.where(u[:, 2:] < 0.5, columns.flip(1), columns)
        each = torch.arange(n, device=x.device)[:, None, None]
        # Advanced indices around a slice put the channels last; move them back.
        return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def take(x: Inputs, rows: Tensor) -> Inputs:
    """The named rows of a tensor or of a dict of tensors."""
    return {key: value[rows] for key, value in x.items()} if isinstance(x, dict) else x[rows]


def moved(x: Inputs, device: torch.device) -> Inputs:
    """A batch's inputs on the device."""
    if isinstance(x, dict):
        return {key: value.to(device, non_blocking=True) for key, value in x.items()}
    return x.to(device, non_blocking=True)


def _put(out: Inputs | None, x: Inputs, at: Tensor, n: int) -> Inputs:
    """Scatter a source's rows into the batch they belong to; of two precisions the batch has the higher."""
    if isinstance(x, dict):
        base = cast(dict[str, Tensor], out or {k: v.new_empty((n, *v.shape[1:])) for k, v in x.items()})
        for key, value in x.items():
            base[key][at] = value
        return base
    whole = x.new_empty((n, *x.shape[1:])) if out is None else cast(Tensor, out)
    if whole.is_floating_point() and x.is_floating_point():
        dtype = torch.promote_types(whole.dtype, x.dtype)
        whole, x = whole.to(dtype), x.to(dtype)
    whole[at] = x
    return whole


@dataclass(frozen=True, eq=False)
class Source:
    """Where samples come from: tensors in memory, or a map-style Dataset read when asked.

    Args:
        x: The inputs, or a Dataset whose items begin with one input. One that has `workers` above 0 says that its
            items are tensors, the same whoever asks and when: so many threads put them into `empty(n)`, ahead of their use.
        y: Labels [n], int64.
        prepare: What turns raw inputs into network inputs; None passes them on.
        augment: The random change that suits this data; None where there is none.
    """

    x: Inputs | Dataset[Any]
    y: Tensor
    prepare: Prepare | None = None
    augment: Augment | None = None

    @property
    def lazy(self) -> bool:
        """Whether inputs are read from a Dataset when asked for."""
        return not isinstance(self.x, Tensor | dict)

    def raw(self, rows: Tensor) -> Inputs:
        """The raw inputs at these rows."""
        return self.ask(rows)()

    def ask(self, rows: Tensor) -> Callable[[], Inputs]:
        """Begin to read the raw inputs at these rows, where workers can; calling the answer waits for them."""
        if isinstance(self.x, Tensor | dict):
            kept = self.x
            return lambda: take(kept, rows)
        data, places, workers = self.x, rows.tolist(), int(getattr(self.x, "workers", 0))
        if not workers:
            # A Dataset of another's making may draw random numbers: it is read here, in order, when its turn comes.
            return lambda: _collated([data[i] for i in places])
        whole: Tensor = cast(Any, data).empty(len(places))

        def fill(start: int) -> None:
            for at, place in enumerate(places[start : start + 8], start):
                whole[at] = data[place]

        reads = [_workers(os.getpid(), workers).submit(fill, start) for start in range(0, len(places), 8)]

        def wait() -> Tensor:
            for read in reads:
                read.result()
            return whole

        return wait


GIVE_BACK = 16 * 2**20
"""Bytes read by workers after which freed memory is given back."""


def give_back() -> None:
    """Give freed memory back to the system, where its C library can.

    Batches that threads fill are freed at odd times; glibc does not fill all the gaps again, and by the clock's chance
    the process grew by up to a GB over a few hundred batches (`benchmarks/memory.py`).
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def _workers(process: int, workers: int) -> ThreadPoolExecutor:
    """Threads that read: decoding lets go of the interpreter. A forked process makes its own."""
    return ThreadPoolExecutor(workers, thread_name_prefix="untrain-read")


LABELS = ("label", "labels", "target", "targets", "fine_label")
"""What a Dataset with dict items may call its label."""


def _collated(items: list[Any]) -> Inputs:
    """One batch of inputs; of a pair the first, of a dict all but the label, and a single input as it is."""
    return cast(Inputs, default_collate([_input(item) for item in items]))


def _input(item: Any) -> Any:
    if isinstance(item, tuple | list):
        return item[0]
    if isinstance(item, dict):
        rest = {key: value for key, value in item.items() if key not in LABELS}
        return next(iter(rest.values())) if len(rest) == 1 else rest
    return item


def _label(item: Any) -> int:
    if isinstance(item, dict):
        key = next((key for key in LABELS if key in item), None)
        if key is None:
            raise BadData(f"items have {sorted(map(str, item))} and none of {', '.join(LABELS)}; give labels y")
        return int(item[key])
    return int(item[1])


class Samples:
    """Labelled samples, in memory or lazily over a Dataset; the same members either way.

    Args:
        x: Inputs [n, ...] (uint8 pixels, floats, or a dict of tensors), or a map-style Dataset of (x, y) or of dicts with a `label`.
        y: Labels [n]; may be left out for a Dataset that has `targets`, or that is cheap to read once.
        names: Names of the classes, by number.
        columns: Further facts by row (a group, a file), for `Split.by_group`.
        prepare: What turns raw inputs into network inputs, by the batch, on the device.
        augment: The random change that suits this data, used where a method or a recipe asks for it.

    Raises:
        BadData: no samples, or labels that do not fit them.

    >>> s = Samples(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))
    >>> len(s), s.shape, s.first(1).index.tolist()
    (4, (2,), [0, 1])
    """

    def __init__(
        self,
        x: Inputs | Dataset[Any],
        y: Tensor | Sequence[int] | None = None,
        *,
        names: Sequence[str] = (),
        columns: Mapping[str, Sequence[Any]] | None = None,
        prepare: Prepare | None = None,
        augment: Augment | None = None,
    ) -> None:
        if y is None:
            if isinstance(x, Tensor | dict):
                raise BadData("Samples(x) of tensors needs labels y")
            known = getattr(x, "targets", None)
            sized = cast(Any, x)
            y = [_label(sized[i]) for i in range(len(sized))] if known is None else known
        labels = torch.as_tensor(y)
        if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise BadData(f"labels are whole numbers [n]; these are {labels.dtype} {list(labels.shape)}")
        labels = labels.long()
        rows = len(next(iter(x.values()))) if isinstance(x, dict) else len(cast(Any, x))
        if rows != len(labels):
            raise BadData(f"{rows} inputs, but {len(labels)} labels")
        self.sources: tuple[Source, ...] = (Source(x, labels, prepare, augment),)
        self.which = torch.zeros(rows, dtype=torch.long)
        self.index = torch.arange(rows)
        self.names = tuple(names)
        self.columns: dict[str, list[Any]] = {key: list(value) for key, value in (columns or {}).items()}
        for key, value in self.columns.items():
            if len(value) != rows:
                raise BadData(f"column {key!r} has {len(value)} rows, the samples {rows}")

    def _with(self, sources: tuple[Source, ...], which: Tensor, index: Tensor, columns: dict[str, list[Any]]) -> Samples:
        other = object.__new__(Samples)
        other.sources, other.which, other.index = sources, which, index
        other.names, other.columns = self.names, columns
        return other

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, index: Any) -> Samples:
        """The samples at these places: a slice, a mask, or numbers."""
        places = index if isinstance(index, slice) else torch.as_tensor(index)
        if isinstance(places, Tensor) and places.numel() == 0:
            places = places.long()
        rows = torch.arange(len(self))[places].reshape(-1)
        at = rows.tolist() if self.columns else []
        columns = {key: [value[i] for i in at] for key, value in self.columns.items()}
        return self._with(self.sources, self.which[rows], self.index[rows], columns)

    def __add__(self, other: Samples) -> Samples:
        """Both, each side with its own `prepare` and `augment`."""
        columns = {k: v + other.columns[k] for k, v in self.columns.items() if k in other.columns}
        which = torch.cat([self.which, other.which + len(self.sources)])
        return self._with(self.sources + other.sources, which, torch.cat([self.index, other.index]), columns)

    @property
    def y(self) -> Tensor:
        """Labels [n], read from the source now."""
        labels = torch.empty(len(self), dtype=torch.long)
        for number, source in enumerate(self.sources):
            at = self.which == number
            labels[at] = source.y[self.index[at]]
        return labels

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes that occur, sorted."""
        return tuple(torch.unique(self.y).tolist())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, as the network reads it."""
        return tuple(cast(Tensor, self.batch(torch.tensor([0]))[0]).shape[1:])

    @property
    def key(self) -> tuple[Any, ...]:
        """Two samples with the same key hold the same rows of the same sources, labelled and prepared alike."""
        return (*((id(s.x), id(s.y), s.prepare) for s in self.sources), self.which.numpy().tobytes(), self.index.numpy().tobytes())

    def first(self, per_class: int) -> Samples:
        """The first `per_class` samples of each class, in the order they stand in."""
        y = self.y
        keep = torch.zeros(len(y), dtype=torch.bool)
        for label in self.classes:
            keep[(y == label).nonzero().flatten()[:per_class]] = True
        return self[keep]

    def at_most(self, n: int) -> Samples:
        """The first n // k samples of each of its k classes: at most n in all, whatever the number of classes."""
        return self.first(max(1, n // max(1, len(self.classes))))

    def labelled(self, y: Tensor) -> Samples:
        """The same samples under other labels [n]."""
        sources = tuple(replace(s, y=s.y.clone()) for s in self.sources)
        for number, source in enumerate(sources):
            mine = self.which == number
            source.y[self.index[mine]] = y[mine]
        return self._with(sources, self.which, self.index, self.columns)

    def prepared(self, prepare: Prepare | None) -> Samples:
        """The same samples, with this preparation where they have none of their own."""
        sources = tuple(s if s.prepare is not None else replace(s, prepare=prepare) for s in self.sources)
        return self._with(sources, self.which, self.index, self.columns)

    def batches(self, size: int, *, epochs: int = 1, shuffle: bool = True, augment: bool = False) -> Batches:
        """A plan of batches; the seed comes from the work that runs it.

        Args:
            size: Samples in a batch, over all ranks; a remainder of one joins the batch before it.
            epochs: Passes over the samples.
            shuffle: Whether each epoch has an order of its own.
            augment: Whether to use the random change that the data carries.
        """
        return Batches(self, size, epochs, shuffle, augment)

    def batch(self, rows: Tensor, u: Tensor | None = None, device: torch.device | None = None) -> tuple[Inputs, Tensor]:
        """Prepared inputs and labels at these rows, augmented where numbers u [n, draws] are given."""
        return self._made(rows, u, device or torch.device("cpu"), self._asked(rows))

    def stream(self, plan: Iterable[tuple[Tensor, Tensor | None]], device: torch.device | None = None) -> Iterator[tuple[Inputs, Tensor]]:
        """The batches of a plan of rows and numbers u, in its order; where workers read, the next one is read while this one is used."""
        device = device or torch.device("cpu")
        waiting: deque[tuple[Tensor, Tensor | None, dict[int, Callable[[], Inputs]]]] = deque()
        room = sum(s.x.empty(1).nbytes for s in self.sources if getattr(s.x, "workers", 0))  # type: ignore[union-attr]
        used = 0
        for rows, u in plan:
            waiting.append((rows, u, self._asked(rows)))
            if len(waiting) > 1:
                now = waiting.popleft()
                yield self._made(now[0], now[1], device, now[2])
                used += room * len(now[0])
                if used > GIVE_BACK:
                    used = 0
                    give_back()
        for rows, u, asked in waiting:
            yield self._made(rows, u, device, asked)

    def _asked(self, rows: Tensor) -> dict[int, Callable[[], Inputs]]:
        which, index = self.which[rows], self.index[rows]
        return {number: self.sources[number].ask(index[which == number]) for number in torch.unique(which).tolist()}

    def _made(self, rows: Tensor, u: Tensor | None, device: torch.device, asked: dict[int, Callable[[], Inputs]]) -> tuple[Inputs, Tensor]:
        which, index = self.which[rows], self.index[rows]
        out: Inputs | None = None
        labels = torch.empty(len(rows), dtype=torch.long)
        for number, read in asked.items():
            source, at = self.sources[number], (which == number).nonzero().flatten()
            x = moved(read(), device)
            if u is not None and source.augment is not None and isinstance(x, Tensor):
                x = source.augment(x, u[at, : source.augment.draws].to(device))
            x = x if source.prepare is None else source.prepare(x)
            _refuse_nan(x, index[at])
            labels[at] = source.y[index[at]]
            out = x if len(at) == len(rows) else _put(out, x, at.to(device), len(rows))
        if out is None:
            raise BadData("a batch of no samples")
        return out, labels.to(device)

    @property
    def draws(self) -> int:
        """How many uniform numbers a row's augmentation takes."""
        return max((s.augment.draws for s in self.sources if s.augment is not None), default=0)

    def __repr__(self) -> str:
        lazy = ", lazy" if any(s.lazy for s in self.sources) else ""
        return f"Samples({len(self)} of {len(self.classes)} classes{lazy})"


def _refuse_nan(x: Inputs, index: Tensor) -> None:
    """Inputs that are not finite end the run before they reach a weight (host side only: no device waits)."""
    for value in x.values() if isinstance(x, dict) else (x,):
        # One sum tells whether any is NaN or infinite; only then is it looked at which.
        if value.is_floating_point() and value.device.type == "cpu" and not bool(value.sum().isfinite()):
            bad = ~torch.isfinite(value.flatten(1)).all(1)
            if bad.any():
                places = index[bad][:3].tolist()
                raise BadData(f"{int(bad.sum())} samples hold pixels that are NaN or infinite, at places {places} of the data; remove or mend them")


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: its name, training and test samples, and a hash of its files.

    Args:
        name: Its name, or the name of its folder or file.
        train: Training samples.
        test: Test samples.
        sha256: Hash of the bytes it was read from, with names and labels.
        holdout: Samples of the same kind that no model was trained on, where there are any.
        whole: What train and test were cut from, where the data had no test part of its own.
        notes: How it was read, a sentence each: what was set aside, resized, left out.
    """

    name: str
    train: Samples
    test: Samples
    sha256: str
    holdout: Samples | None = None
    whole: Samples | None = None
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes: of their names, or up to the highest label."""
        return len(self.train.names) or 1 + max(int(part.y.max()) for part in (self.train, self.test))


@dataclass(frozen=True, eq=False)
class Batches:
    """A sized, seedable plan of batches that can start at any step.

    Args:
        samples: What is batched.
        size: Samples in a batch.
        epochs: Passes over the samples.
        shuffle: Whether each epoch has an order of its own.
        augment: Whether to use the data's random change.
    """

    samples: Samples
    size: int
    epochs: int
    shuffle: bool
    augment: bool

    @property
    def cuts(self) -> list[int]:
        """Where an epoch is cut. A last batch of one would have no variance for BatchNorm, so it joins the one before."""
        n = len(self.samples)
        cuts = [*range(0, n, self.size), n]
        if len(cuts) > 2 and cuts[-1] - cuts[-2] == 1:
            del cuts[-2]
        return cuts

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return len(self.cuts) - 1 if len(self.samples) else 0

    def __len__(self) -> int:
        return self.epochs * self.per_epoch

    def run(self, seed: int, *, start: int = 0, rank: int = 0, world: int = 1, device: torch.device | None = None) -> Iterator[tuple[Inputs | None, Tensor | None, int]]:
        """Yield (x, y, size of the whole batch), each rank its slice; x is None where a rank has none."""
        slices = [torch.arange(b - a).tensor_split(world)[rank] for a, b in pairwise(self.cuts)]
        sizes = [b - a for a, b in pairwise(self.cuts)]

        def plan() -> Iterator[tuple[Tensor, Tensor | None]]:
            for step, (rows, u) in enumerate(self._rows(seed, start), start):
                own = slices[step % self.per_epoch]
                if len(own):
                    yield rows[own], None if u is None else u[own]

        made = self.samples.stream(plan(), device)
        for step in range(start, len(self)):
            place = step % self.per_epoch
            x, y = next(made) if len(slices[place]) else (None, None)
            yield x, y, sizes[place]

    def _rows(self, seed: int, start: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The rows of each whole batch from step `start`, and the numbers that change them."""
        cuts, per_epoch, n = self.cuts, self.per_epoch, len(self.samples)
        draws = self.samples.draws if self.augment else 0
        for epoch in range(self.epochs):
            if (epoch + 1) * per_epoch <= start:
                continue
            order = torch.randperm(n, generator=torch.Generator().manual_seed(mix(seed, 0, epoch))) if self.shuffle else torch.arange(n)
            for step in range(max(0, start - epoch * per_epoch), per_epoch):
                rows = order[cuts[step] : cuts[step + 1]]
                u = None
                if draws:
                    g = torch.Generator().manual_seed(mix(seed, 1, epoch, step))
                    u = torch.rand(len(rows), draws, generator=g)
                yield rows, u


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
        _refuse_all_or_none(int(gone.sum()), len(train), "samples")
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


def places_where(train: Samples, column: str, values: Sequence[Any]) -> list[int]:
    """Places of the samples whose column holds one of these values.

    Raises:
        BadArgument: a column or a value that is not there.

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

    >>> places_of_files(Samples(torch.zeros(3, 1), [0, 1, 0], columns={"path": ["cat/1.png", "dog/1.png", "cat/2.png"]}), ["dog/1.png", "2.png"])
    [1, 2]
    """
    if "path" not in train.columns:
        raise BadArgument("the data has no file names (no column 'path'); name samples by their places, or by another column")
    ends: dict[str, list[int]] = {}
    for place, path in enumerate(train.columns["path"]):
        for end in _ends(str(path)):
            ends.setdefault(end, []).append(place)
    found, lost, several = list[int](), list[str](), list[str]()
    for name in named:
        # A whole path begins with folders that lie outside of the data.
        outside = PurePosixPath(name).is_absolute() or name.startswith("..")
        fits = next((ends[end] for end in (_ends(name) if outside else [_ends(name)[0]]) if end in ends), [])
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


def class_numbers(samples: Samples, named: Sequence[int | str]) -> tuple[int, ...]:
    """Class numbers, sorted, of classes given by number or by name.

    Raises:
        BadArgument: a class that is not there (says which are), none, or all.

    >>> class_numbers(Samples(torch.zeros(2, 1), [0, 1], names=["cat", "dog"]), ["dog"])
    (1,)
    """
    there, names = samples.classes, samples.names
    found = set()
    for given in named:
        number = names.index(given) if isinstance(given, str) and given in names else None
        if number is None and not isinstance(given, bool):
            text = str(given)
            number = int(text) if text.isdecimal() else None
        if number is None or number not in there:
            known = [f"{c} {names[c]}" if c < len(names) and names[c] != str(c) else str(c) for c in there]
            shown = ", ".join(known[:20]) + (f", ... ({len(known)} in all)" if len(known) > 20 else "")
            meant = next((name for name in names if name.casefold() == str(given).casefold()), None)
            hint = f"; {given!r} has no training sample" if given == meant or (number is not None and number < len(names)) else f"; did you mean {meant!r}?" if meant else ""
            raise BadArgument(f"no class {given!r}; there are {shown}{hint}")
        found.add(number)
    _refuse_all_or_none(len(found), len(there), "classes")
    return tuple(sorted(found))


def _refuse_all_or_none(some: int, of: int, what: str) -> None:
    if some == 0:
        raise BadArgument(f"nothing to forget: no {what} named")
    if some == of:
        raise BadArgument(f"all {of} {what} are named to be forgotten, and nothing is left to retain; name fewer")
