"""What a Dataset of torch's says without an item being read, and the Dataset that a DataLoader stands over."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from typing import Any

from torch.utils.data import ConcatDataset, DataLoader, DistributedSampler, IterableDataset, Subset, TensorDataset
from torch.utils.data import sampler as samplers

from untrain.core.errors import BadArgument, BadData

KEPT_IN = ("targets", "labels")
"""Where a Dataset may keep the labels of all its items."""


LABELS = ("label", "labels", "target", "targets", "fine_label")
"""What a Dataset with dict items may call its label."""


def label_of(item: Any) -> int:
    """The label of an item: the second of a pair, or what a dict calls so.

    Raises:
        BadData: it has none, or one that is no whole number.
    """
    key: Any = 1
    if isinstance(item, dict):
        key = next((key for key in LABELS if key in item), None)
        if key is None:
            raise BadData(f"items have {sorted(map(str, item))} and none of {', '.join(LABELS)}; give labels y")
    try:
        label, said = int(item[key]), float(item[key])
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadData(f"labels are whole numbers, one a sample; one of these is {repr(item[key])[:60]}: give labels y, or read the data by untrain.load") from error
    if label != said:
        raise BadData(f"labels are whole numbers; one of these is {said:g}")
    return label


def labels_of(data: Any) -> list[Any] | None:
    """The labels that a Dataset keeps, seen through Subset and ConcatDataset; None where only its items tell.

    >>> from torch import arange, zeros
    >>> whole = TensorDataset(zeros(4, 1), arange(4))
    >>> labels_of(ConcatDataset([Subset(whole, [3, 1]), whole]))
    [3, 1, 0, 1, 2, 3]
    """
    if isinstance(data, Subset):
        whole = labels_of(data.dataset)
        return None if whole is None else [whole[int(i)] for i in data.indices]
    if isinstance(data, ConcatDataset):
        parts = [labels_of(part) for part in data.datasets]
        return None if any(part is None for part in parts) else list(chain.from_iterable(part or () for part in parts))
    if isinstance(data, TensorDataset):
        kept: Any = data.tensors[1] if len(data.tensors) > 1 else None
    else:
        kept = next((found for name in KEPT_IN if (found := getattr(data, name, None)) is not None), None)
    if kept is None or callable(kept) or not hasattr(kept, "__len__") or isinstance(kept, str | dict) or len(kept) != len(data):
        return None
    labels = kept.tolist() if hasattr(kept, "tolist") else [value.item() if hasattr(value, "item") else value for value in kept]
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in labels):
        return None
    # What is kept is what the files say; items are changed by this.
    change = getattr(data, "target_transform", None)
    return labels if change is None else [int(change(value)) for value in labels]


def dataset_of(data: Any, called: str = "data") -> Any:
    """The Dataset under a DataLoader, or what was given where it is none.

    The order in which a DataLoader gives its items does not matter here, but which it gives does.

    Args:
        data: A DataLoader, or something else.
        called: What it is called in a message.

    Raises:
        BadArgument: a DataLoader over a stream, or one that draws some items more often than others.
    """
    if not isinstance(data, DataLoader):
        return data
    under: Any = data.dataset
    batched: Any = data.batch_sampler
    if isinstance(under, IterableDataset):
        raise BadArgument(f"{called} is a DataLoader over a stream, {type(under).__name__}; give a map-style Dataset: samples are found again by their places")
    # Where batches have a sampler of their own, that of the loader stands there and is not asked.
    sampler: Any = data.sampler if batched is None else getattr(batched, "sampler", batched)
    uneven = isinstance(sampler, samplers.WeightedRandomSampler) or (isinstance(sampler, samplers.RandomSampler) and sampler.replacement)
    if not uneven and isinstance(sampler, samplers.SequentialSampler | samplers.RandomSampler | DistributedSampler):
        return under
    listed = sampler.indices if isinstance(sampler, samplers.SubsetRandomSampler) else sampler if isinstance(sampler, list | tuple | range) else None
    given = listed if listed is not None else sampler if sampler is not batched else chain.from_iterable(sampler)
    # One more than there are, since a sampler may be endless.
    places = [] if uneven else [int(place) for place in islice(given, len(under) + 1)]
    if uneven or len(set(places)) < len(places):
        raise BadArgument(f"{called} is a DataLoader whose {type(sampler).__name__} draws some samples more often than others; give its Dataset")
    # In an order that is drawn the same places would be other samples each time.
    return Subset(under, places if listed is not None else sorted(places))


def names_of(data: Any) -> tuple[str, ...]:
    """The names of the classes that a Dataset keeps, seen through Subset and ConcatDataset; none where it keeps none.

    Raises:
        BadData: what a ConcatDataset joins numbers its classes otherwise.
    """
    if isinstance(data, Subset):
        return names_of(data.dataset)
    if isinstance(data, ConcatDataset):
        every = {f"its part {number}": names_of(part) for number, part in enumerate(data.datasets)}
        return one_order(every) if all(every.values()) else ()
    kept = getattr(data, "classes", None)
    return tuple(str(name) for name in kept) if isinstance(kept, list | tuple) else ()


def one_order(named: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The names of the classes of several parts: the longest list, of which each other one is the beginning.

    Args:
        named: Their lists, by what each part is called in a message.

    Raises:
        BadData: one number is the name of two classes.

    >>> one_order({"train": ("cat", "dog", "eel"), "test": ("cat", "dog"), "holdout": ()})
    ('cat', 'dog', 'eel')
    """
    where, longest = max(named.items(), key=lambda entry: len(entry[1]))
    for name, names in named.items():
        for place, (mine, theirs) in enumerate(zip(names, longest, strict=False)):
            if mine != theirs:
                raise BadData(f"class {place} is {mine!r} in {name} and {theirs!r} in {where}; number them alike, as untrain.load((train, test)) does by their names")
    return longest


def refuse_no_dataset(data: Any, called: str) -> None:
    """Refuse what is no map-style Dataset of inputs and labels.

    Raises:
        BadArgument: it has no length, or no items by place (says what it is).
        BadData: it holds nothing, or its items are images that nothing has made a tensor of.
    """
    kind = type(data).__name__
    if isinstance(data, IterableDataset) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, str | bytes):
        raise BadArgument(f"{called} is a {kind}; give Samples, a map-style Dataset of (input, label), or a DataLoader over one")
    if len(data) == 0:
        raise BadData(f"{called} holds nothing; give at least one sample a class")
    first = data[0]
    values = list(first.values()) if isinstance(first, dict) else list(first) if isinstance(first, tuple | list) else [first]
    if any(hasattr(value, "convert") for value in values):
        raise BadData(f"{called} gives Pillow images, and no tensors; read them by untrain.load((train, test)), or give the Dataset a transform that makes tensors")
    if len(values) < 2:
        raise BadData(f"{called} gives a {type(first).__name__} without a label; give a Dataset of (input, label)")
