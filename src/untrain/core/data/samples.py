"""Samples: labelled, indexable, in memory or lazily over a Dataset, with the same members either way."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from untrain.core.data.batches import Batches, Inputs, moved, take
from untrain.core.data.pixels import Augment, Prepare
from untrain.core.datasets import LABELS, label_of, labels_of, one_order
from untrain.core.errors import BadData
from untrain.core.wording import told


def _put(out: Inputs | None, x: Inputs, at: Tensor, n: int) -> Inputs:
    """Scatter a source's rows into the batch they belong to; of two precisions the batch has the higher."""
    if isinstance(x, dict) or isinstance(out, dict):
        mine, there = x if isinstance(x, dict) else {}, out if isinstance(out, dict) else {}
        if out is not None and mine.keys() != there.keys():
            both = " and ".join(", ".join(some) or "a single tensor" for some in (there, mine))
            raise BadData(f"inputs of {both} cannot stand in one batch; give both the same entries")
        return {key: _put_one(there.get(key), value, at, n) for key, value in mine.items()}
    return _put_one(out, x, at, n)


def _put_one(out: Tensor | None, x: Tensor, at: Tensor, n: int) -> Tensor:
    whole = x.new_empty((n, *x.shape[1:])) if out is None else out
    if x.shape[1:] != whole.shape[1:]:
        raise BadData(f"inputs of shapes {tuple(whole.shape[1:])} and {tuple(x.shape[1:])} cannot stand in one batch; give both the same shape")
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

        reads = []
        for start in range(0, len(places), 8):
            try:
                reads.append(_workers(os.getpid(), workers).submit(fill, start))
            except RuntimeError as error:
                if "start new thread" not in str(error):
                    raise
                # There are no further threads to be had: it is read here.
                fill(start)

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


def _told_apart(prepare: Prepare | None) -> Any:
    """What tells a preparation from another: itself, or which object it is where it has no hash."""
    try:
        hash(prepare)
    except TypeError:
        return id(prepare)
    return prepare


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


class Samples:
    """Labelled samples, in memory or lazily over a Dataset; the same members either way.

    Args:
        x: Inputs [n, ...] (uint8 pixels, floats, or a dict of tensors), or a map-style Dataset of (x, y) or of dicts with a `label`.
        y: Labels [n]; may be left out for a Dataset that keeps its labels (`targets`), also under Subset or ConcatDataset, or that is cheap to read once.
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
            known = labels_of(x)
            sized = cast(Any, x)
            y = [label_of(sized[i]) for i in range(len(sized))] if known is None else known
        try:
            labels = torch.as_tensor(y)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadData(f"labels are whole numbers [n], and these are not ({told(error)}); give names of classes by names=") from error
        if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise BadData(f"labels are whole numbers [n]; these are {labels.dtype} {list(labels.shape)}")
        labels = labels.long()
        counts = {key: len(value) for key, value in x.items()} if isinstance(x, dict) else {"x": len(cast(Any, x))}
        if len(set(counts.values())) != 1:
            raise BadData(f"inputs have {', '.join(f'{n} rows of {key}' for key, n in counts.items()) or 'no entry'}; give each sample a row of every entry")
        rows = next(iter(counts.values()))
        if rows != len(labels):
            raise BadData(f"{rows} inputs, but {len(labels)} labels")
        self.sources: tuple[Source, ...] = (Source(x, labels, prepare, augment),)
        self.which = torch.zeros(rows, dtype=torch.long)
        self.index = torch.arange(rows)
        self.labels: Tensor | None = None
        self.names = tuple(names)
        self.columns: dict[str, list[Any]] = {key: list(value) for key, value in (columns or {}).items()}
        for key, value in self.columns.items():
            if len(value) != rows:
                raise BadData(f"column {key!r} has {len(value)} rows, the samples {rows}")

    def _with(self, sources: tuple[Source, ...], which: Tensor, index: Tensor, columns: dict[str, list[Any]], labels: Tensor | None = None) -> Samples:
        other = object.__new__(Samples)
        other.sources, other.which, other.index, other.labels = sources, which, index, labels
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
        return self._with(self.sources, self.which[rows], self.index[rows], columns, None if self.labels is None else self.labels[rows])

    def __add__(self, other: Samples) -> Samples:
        """Both, each side with its own `prepare` and `augment`.

        Raises:
            BadData: they number their classes otherwise.
        """
        columns = {k: v + other.columns[k] for k, v in self.columns.items() if k in other.columns}
        which = torch.cat([self.which, other.which + len(self.sources)])
        labels = None if self.labels is None and other.labels is None else torch.cat([self.y, other.y])
        both = self._with(self.sources + other.sources, which, torch.cat([self.index, other.index]), columns, labels)
        both.names = one_order({"the one": self.names, "the other": other.names})
        return both

    @property
    def y(self) -> Tensor:
        """Labels [n], read from the source now; of samples labelled otherwise, those that they were given."""
        if self.labels is not None:
            return self.labels.clone()
        labels = torch.empty(len(self), dtype=torch.long)
        for number, source in enumerate(self.sources):
            at = self.which == number
            labels[at] = source.y[self.index[at].to(source.y.device)].cpu()
        return labels

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes that occur, sorted."""
        return tuple(torch.unique(self.y).tolist())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, as the network reads it.

        Raises:
            BadData: inputs that are dicts.
        """
        x = self.batch(torch.tensor([0]))[0]
        if isinstance(x, dict):
            raise BadData(f"one input of this data is a dict of {', '.join(map(str, x))}, which has no shape; what makes inputs of its own takes data of single tensors")
        return tuple(x.shape[1:])

    @property
    def key(self) -> tuple[Any, ...]:
        """Two samples with the same key hold the same rows of the same sources, labelled and prepared alike."""
        labels = () if self.labels is None else (self.labels.numpy().tobytes(),)
        return (*((id(s.x), id(s.y), _told_apart(s.prepare)) for s in self.sources), self.which.numpy().tobytes(), self.index.numpy().tobytes(), *labels)

    def rows_digest(self) -> bytes:
        """What tells these rows from others, in another process too: places, labels, and the values where they are in memory."""
        digest = hashlib.sha256(self.which.numpy().tobytes() + self.index.numpy().tobytes() + self.y.numpy().tobytes())
        for source in self.sources:
            said = repr(source.prepare) if dataclasses.is_dataclass(source.prepare) else type(source.prepare).__name__
            # Where an object lies is another place in another process.
            digest.update(re.sub(r" at 0x[0-9a-f]+", "", said).encode())
            for value in source.x.values() if isinstance(source.x, dict) else (source.x,) if isinstance(source.x, Tensor) else ():
                # Of large data every so many rows: what is told apart here are data sets, not single pixels.
                some = value[:: max(1, value.numel() * value.element_size() // 2**26)].detach().cpu().contiguous()
                digest.update(some.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.digest()

    def first(self, per_class: int) -> Samples:
        """The first `per_class` samples of each class, in the order they stand in."""
        y = self.y
        order = y.argsort(stable=True)
        _, counts = torch.unique(y, return_counts=True)
        # How many of its class stand ahead of each: its place among the sorted, less where its class begins there.
        ahead = torch.arange(len(y)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        keep = torch.zeros(len(y), dtype=torch.bool)
        keep[order[ahead < per_class]] = True
        return self[keep]

    def at_most(self, n: int) -> Samples:
        """The first n // k samples of each of its k classes, one of each at least: at most n in all, where there are no more classes than that."""
        return self.first(max(1, n // max(1, len(self.classes))))

    def labelled(self, y: Tensor) -> Samples:
        """The same samples under other labels [n]."""
        return self._with(self.sources, self.which, self.index, self.columns, torch.as_tensor(y).long().cpu().clone())

    def prepared(self, prepare: Prepare | None) -> Samples:
        """The same samples, with this preparation where they have none of their own."""
        return self.changed(lambda source: source if source.prepare is not None else replace(source, prepare=prepare))

    def changed(self, change: Callable[[Source], Source]) -> Samples:
        """The same samples out of sources that were changed so."""
        return self._with(tuple(map(change, self.sources)), self.which, self.index, self.columns, self.labels)

    def batches(self, size: int, *, epochs: int = 1, shuffle: bool = True, augment: bool = False) -> Batches:
        """A plan of batches; the seed comes from the work that runs it.

        Args:
            size: Samples in a batch, over all ranks; a remainder of one joins the batch before it, but where all are of one.
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
            labels[at] = source.y[index[at].to(source.y.device)].cpu() if self.labels is None else self.labels[rows[at]]
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
            bad = ~torch.isfinite(value.reshape(len(value), -1)).all(1)
            if bad.any():
                places = index[bad][:3].tolist()
                raise BadData(f"{int(bad.sum())} samples hold pixels that are NaN or infinite, at places {places} of the data; remove or mend them")
