"""A user's data by name: read into parts, then classes get their numbers, sizes are looked at, a test part is found or set aside.

The forms it comes in are in `forms/`, a file each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from untrain.core.data import CropFlip, Data, Samples
from untrain.core.errors import BadArgument, BadData
from untrain.core.model import Expects
from untrain.sources import cache, images, sounds
from untrain.sources.blobs import Blobs, Decoded
from untrain.sources.forms.finding import found
from untrain.sources.forms.parts import PLAIN, TESTS, Columns, Found, Part, part_called
from untrain.sources.forms.tabular import encoded
from untrain.sources.forms.texts import tokenised
from untrain.sources.images import Fit
from untrain.sources.sounds import Clip

ASIDE = 5
"""One in so many samples of each class is set aside where there is no test part."""


def read(
    data: Any,
    *,
    test: Any = None,
    holdout: Any = None,
    further: Mapping[str, Any] = {},
    size: int | None = None,
    expects: Expects | None = None,
    augment: CropFlip | None = None,
    columns: Columns = PLAIN,
    mirror: bool = False,
    rate: int | None = None,
    length: float | None = None,
    lasting: bool = False,
) -> Data:
    """Data out of any of the forms.

    Args:
        data: A name (see FORMS), or a Dataset, Samples, or a pair (train, test) of either.
        test: Another of the same kind for testing, or `split:NAME` for a part of the data.
        holdout: The same for samples that no model was trained on.
        further: The same for further parts, by the names that they have.
        size: Height and width that images are brought to; where none is given images of one size stay as they are.
        expects: What the model says of its images: the size where the data have several, its names of the classes.
        augment: The random change that suits the data; shifts by an eighth where none is named.
        columns: Which columns of the data, and of those for testing, hold the image and the label, or are read as numbers and categories.
        mirror: Whether that change mirrors half of the images too. Not unless it is asked for: a mirrored digit, letter or traffic
            sign is another one, or none, and nothing here can tell.
        rate: Samples in a second that the model reads: the data are sounds, each of this rate.
        length: How many seconds long sounds are made: cut at their end, or padded there with silence; where none is given those of one length stay as they are.
        lasting: Whether a training sample is to be read alike whichever others there are: a table is then encoded by its test part, and not by the training part.

    Raises:
        BadArgument: a name that leads nowhere, or a part that is not there.
        BadData: files that are broken, labels that do not fit.
        MissingExtra: a library that is not installed.
    """
    if size is not None and not 1 <= size <= 4096:
        raise BadArgument(f"--size {size}: images are brought to 1 to 4096 pixels a side")
    refuse_lengths(size, rate, length)
    look = expects or Expects()
    main = found(data, columns)
    train, chosen = _chosen(main, test, {"holdout": holdout, **further}, columns)
    named = tokenised(encoded({"train": train, **chosen}, by="test" if lasting else "train"), look.tokens, look.longest)
    names, numbers = _numbered(main, named, look.names)
    bring, change, notes = _sounding(main.name, named, rate, length) if rate is not None else _shown(main.name, named, size, look, augment, mirror)
    made = {part: _samples(p, numbers[part], names, bring, change) for part, p in named.items()}
    notes = [*(note for p in named.values() for note in p.notes), *_unread(main, (train, *chosen.values())), *notes]
    if "test" in named and named["test"].digest == train.digest:
        notes.append("the test part holds the very samples of the training part: what is measured on it says nothing of samples that a model has not seen")
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
    untested = [f"{c} {names[c]}" if c < len(names) else str(c) for c in made["train"].classes if c not in set(made["test"].classes)]
    if untested:
        some = f"{', '.join(untested[:5])}{', ...' if len(untested) > 5 else ''}"
        notes.append(f"{len(untested)} of {len(there)} classes have no test sample: {some}; what a model still knows of them cannot be measured")
    return Data(main.name, made["train"], made["test"], digest, made.get("holdout"), whole, tuple(dict.fromkeys(notes)), made.get("unseen"))


def refuse_lengths(size: int | None, rate: int | None, length: float | None) -> None:
    """Refuse what is said of sounds where it cannot be meant.

    Raises:
        BadArgument: a rate or a length out of range, one of images beside them, or a length without a rate.
    """
    if rate is None and length is None:
        return
    if rate is None:
        raise BadArgument(f"--length {length:g} is for sounds; say by --rate how many samples in a second the model reads")
    if size is not None:
        raise BadArgument(f"--size {size} is for images, and --rate {rate} for sounds; leave one out")
    if not 1000 <= rate <= 384_000:
        raise BadArgument(f"--rate {rate}: sounds have 1,000 to 384,000 samples in a second")
    if length is not None and not (math.isfinite(length) and 1 <= round(length * rate) <= sounds.LONGEST):
        raise BadArgument(f"--length {length:g} at {rate} Hz is not between one sample and {sounds.LONGEST:,}")


def aside(samples: Samples) -> Tensor:
    """Which samples are set aside for testing: a mask, seeded, the same share of each class and at least one where there are two."""
    y, g = samples.y, torch.Generator().manual_seed(0)
    kept = torch.zeros(len(y), dtype=torch.bool)
    for label in samples.classes:
        places = (y == label).nonzero().flatten()
        order = torch.randperm(len(places), generator=g)
        kept[places[order[: max(round(len(places) / ASIDE), int(len(places) > 1))]]] = True
    return kept


def _chosen(main: Found, test: Any, more: Mapping[str, Any], columns: Columns) -> tuple[Part, dict[str, Part]]:
    """The training part, and where there are any the test part and those that no model was trained on."""
    parts = main.parts
    train = parts.get("train") or (next(iter(parts.values())) if len(parts) == 1 else None)
    if train is None:
        raise BadData(f"{main.name} has the parts {', '.join(parts)} and no train; name one so")
    chosen: dict[str, Part] = {}
    if test is not None:
        chosen["test"] = _other(main, test, "test", (*TESTS, "all", "train"), columns)
    else:
        own = next((parts[name] for name in TESTS if name in parts and parts[name] is not train), None)
        chosen |= {"test": own} if own is not None else {}
    for name, given in more.items():
        if given is not None:
            chosen[name] = _other(main, given, name, (name, "all", *TESTS, "train"), columns)
        elif name in parts:
            chosen[name] = parts[name]
    return train, chosen


def _other(main: Found, given: Any, flag: str, order: Sequence[str], columns: Columns) -> Part:
    if isinstance(given, str) and given.startswith("split:"):
        name = part_called(given.removeprefix("split:"))
        if name not in main.parts or name == "train":
            raise BadArgument(f"--{flag} {given}: {main.name} has the parts {', '.join(main.parts)}, and a part other than train is to be named")
        return main.parts[name]
    parts = found(given, columns).parts
    return next((parts[name] for name in order if name in parts), next(iter(parts.values())))


def _unread(main: Found, taken: Sequence[Part]) -> list[str]:
    """What to tell of parts that nobody asked for."""
    left = {name: len(part.labels) for name, part in main.parts.items() if not any(part is other for other in taken)}
    told = ", ".join(f"{'no part' if name == 'all' else name} {n}" for name, n in left.items())
    return [f"samples of {main.name} that are left out, by part: {told}"] if left else []


def _numbered(main: Found, parts: Mapping[str, Part], expected: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Names of the classes, and each part's labels as numbers [n]."""
    train = parts["train"]
    written = _written(main, parts)
    own = train.names
    counted = not own and all(isinstance(label, int) for label in written["train"])
    if counted:
        # Numbers stay what they are, though folders of another part are called by them.
        written = {part: [int(label) if _is_whole(label) else label for label in labels] for part, labels in written.items()}
    elif not own:
        own = tuple(sorted({str(label) for label in written["train"]}))
    order = own
    if main.listed:
        order, lost = main.listed, [name for name in own if name not in main.listed]
        if lost:
            raise BadData(f"classes.txt of {main.name} does not list {lost[0]!r}, a class of the data; list every class, in the order of the model's outputs")
    elif set(own) <= set(expected) if own else max((label for labels in written.values() for label in labels if isinstance(label, int)), default=0) < len(expected):
        # Names or numbers that the model's own list covers are meant in its order.
        order = tuple(expected)
    at = {name: number for number, name in enumerate(order)}
    several = {name for name, count in Counter(order).items() if count > 1}
    numbers = {}
    for part, labels in written.items():
        names = () if counted else parts[part].names or train.names
        several_here = several | {name for name, count in Counter(names).items() if count > 1}
        out: list[int] = []
        missing: Counter[str] = Counter()
        for label in labels:
            if not parts[part].names and isinstance(label, int) and 0 <= label < len(names) and names[label] != str(label) in names:
                raise BadData(f"{main.name}: {label} in the {part} part is the number of the class {names[label]!r} and the name of another; give labels as the training part does")
            if names and isinstance(label, int) and (not 0 <= label < len(names) or tuple(names) == order):
                # Two classes of ImageNet are called crane: by its number each is itself.
                number = label if 0 <= label < len(names) else -1
            elif own or isinstance(label, str):
                name = names[label] if names and isinstance(label, int) else str(label)
                if name in several_here:
                    raise BadData(f"{main.name}: {name!r} is the name of several classes, and its samples could be of any; give classes names that differ, or labels as numbers")
                number = at.get(name, -1)
            else:
                number = label
            if number >= MOST:
                raise BadData(f"{main.name}: a label beyond {MOST:,} is the number of no class; give each sample a name, or a whole number from 0")
            if number < 0:
                missing[str(label)] += 1
            out.append(number)
        if missing:
            first, count = missing.most_common(1)[0]
            known = f"; classes are {', '.join(order[:8])}{', ...' if len(order) > 8 else ''}" if order else "; labels are names, or numbers from 0"
            raise BadData(f"{main.name}: {sum(missing.values())} samples of the {part} part have a class that the training part lacks, such as {first!r} ({count}){known}")
        numbers[part] = torch.tensor(out, dtype=torch.long)
    return order, numbers


MOST = 2**31
"""Classes, at most."""

# What has more digits than a number of 64 bits is a name.
_WHOLE, _NUMBER = re.compile(r"(0|[1-9]\d{0,17})(\.0+)?"), re.compile(r"[+-]?\d*\.?\d+([eE][+-]?\d+)?")


def _written(main: Found, parts: Mapping[str, Part]) -> dict[str, list[str | int]]:
    """Labels as they are meant: text that reads as a number is one, but not 007, and 2.0 only where all others are numbers too."""
    texts = {label for part in parts.values() if not part.names for label in part.labels if isinstance(label, str)}
    floats = bool(texts) and all(_WHOLE.fullmatch(text) for text in texts)
    if texts and not floats and all(_NUMBER.fullmatch(text) for text in texts) and (odd := next((t for t in sorted(texts) if "." in t and not _WHOLE.fullmatch(t)), None)):
        raise BadData(f"{main.name}: labels such as {odd!r} are numbers and no classes; give whole numbers from 0, or names")

    def meant(label: Any, named: bool) -> str | int:
        if isinstance(label, str):
            whole = None if named else _WHOLE.fullmatch(label)
            return int(whole[1]) if whole and (floats or not whole[2]) else label
        if not isinstance(label, int | float) or (isinstance(label, float) and not label.is_integer()):
            raise BadData(f"{main.name}: {repr(label)[:60]} is no class; give each sample one whole number from 0, or one name")
        return int(label)

    # Where training folders are called 1, 2 and 3, the 1 of a table is the first of them.
    called = any(map(_is_whole, parts["train"].names))
    return {name: [meant(label, bool(part.names) or called) for label in part.labels] for name, part in parts.items()}


def _is_whole(label: Any) -> bool:
    return isinstance(label, int) or _WHOLE.fullmatch(label) is not None


def _ready(parts: Mapping[str, Part], axes: int) -> tuple[int, ...]:
    """The shape of what needs no decoding, where that has so many axes; empty where nothing has."""
    some = next((part.ready for part in parts.values() if part.ready is not None), None)
    x = None if some is None else some.sources[int(some.which[0])].raw(some.index[:1])
    return tuple(x.shape[1:]) if isinstance(x, Tensor) and x.ndim == axes + 1 else ()


def _tensors(name: str, parts: Mapping[str, Part], size: int | None) -> tuple[int, ...]:
    """The shape of images that are tensors, and so stay as they are; empty where none are.

    Raises:
        BadArgument: a size is asked for that they do not have, or that no image could be brought to.
    """
    decoded = any(part.blobs is not None for part in parts.values())
    shape = _ready(parts, 3) if decoded or size else ()
    if size and ((shape and shape[1:] != (size, size)) or not (shape or decoded)):
        there = f"tensors of {shape[1]} x {shape[2]} pixels" if shape else "no image files"
        raise BadArgument(f"--size {size}: {name} has {there}, and files alone are brought to a size; leave it out")
    return shape


def _fitted(parts: Mapping[str, Part], asked: tuple[int, ...], look: Expects) -> tuple[Fit | None, tuple[int, int], list[str]]:
    """How images are brought to one size, the one asked for where there is one, that size, and what to tell of it."""
    sizes: Counter[tuple[int, int]] = Counter()
    for part in parts.values():
        if part.blobs is not None:
            sizes.update(part.sizes if part.sizes is not None else images.looked_at(part.blobs, part.key, cache.place()))
    if not sizes:
        return None, (0, 0), []
    target = (asked[0], asked[1]) if asked else look.size if look.fixed or len(sizes) > 1 else None
    if target is None and len(sizes) > 1:
        (h, w), (high, wide) = min(sizes), max(sizes)
        raise BadData(f"images of {len(sizes)} sizes, {h} x {w} to {high} x {wide}, and the model names none of its own; give one by --size")
    if target is None or set(sizes) == {target}:
        return None, next(iter(sizes)), []
    fit = Fit(target, look.crop if look.size else 1.0, look.interpolation)
    return fit, target, [f"images of {len(sizes)} size{'s' if len(sizes) > 1 else ''} were brought to {fit}"]


Bring = Callable[[Blobs, str], Tensor | Decoded]
"""Decodes blobs of a key, all to one shape."""


def _shown(name: str, parts: Mapping[str, Part], size: int | None, look: Expects, augment: CropFlip | None, mirror: bool) -> tuple[Bring, CropFlip | None, list[str]]:
    """How images are decoded, the random change that suits them, and what to tell of it."""
    heard = next((part.blobs for part in parts.values() if part.blobs is not None and sounds.is_sound(part.blobs)), None)
    if heard is not None:
        raise BadData(f"{name} holds sounds, such as {heard.name(0)}; say how many samples in a second the model reads by --rate, as in --rate 16000")
    tensors = _tensors(name, parts, size)
    # Beside tensors a hold-out of other sizes would be compared with other pictures than the network reads.
    fit, shape, notes = _fitted(parts, (size, size) if size else tensors[1:], look)
    channels = tensors[0] if tensors else 1 if look.norm is not None and len(look.norm.mean) == 1 else 3
    if channels not in (1, 3) and shape != (0, 0):
        raise BadData(f"{name} has tensors of {channels} channels, and image files have 1 or 3; give all parts as tensors")
    change = augment or CropFlip(max(1, min(shape) // 8), flip=mirror)
    return lambda blobs, key: images.read(blobs, key, shape, fit, channels, cache.place()), change, notes


def _sounding(name: str, parts: Mapping[str, Part], rate: int, length: float | None) -> tuple[Bring, CropFlip | None, list[str]]:
    """How sounds are decoded, and what to tell of it."""
    lengths, unsaid = Counter[int](), 0
    for part in parts.values():
        if part.blobs is not None:
            lengths.update(sounds.looked_at(part.blobs, rate))
            unsaid += isinstance(part.blobs.read(0), sounds.Wave) and part.blobs.read(0).rate is None
    if not lengths:
        raise BadArgument(f"--rate {rate} is for sounds, and {name} holds none; leave it out")
    beside = _ready(parts, 1)
    if beside and length is not None and beside != (round(length * rate),):
        raise BadArgument(f"--length {length:g}: {name} has tensors of {beside[0]:,} samples, which stay as they are; leave it out")
    if length is None and not beside and len(lengths) > 1:
        span = f"{min(lengths) / rate:.3g} to {max(lengths) / rate:.3g} s"
        raise BadData(f"{name} holds sounds of {len(lengths):,} lengths, {span}; say by --length how many seconds long each is made, cut at its end or padded there with silence")
    to = Clip(rate, beside[0] if beside else next(iter(lengths)) if length is None else round(length * rate))
    cut, padded = sum(n for long, n in lengths.items() if long > to.n), sum(n for long, n in lengths.items() if long < to.n)
    notes = [f"of {lengths.total():,} sounds {cut:,} were cut to {to} and {padded:,} padded with silence at their end"] if cut or padded else []
    notes += [f"the table does not say at which rate its sounds are sampled; they are taken to be of {rate:,} Hz, as --rate says"] if unsaid else []
    return lambda blobs, key: sounds.read(blobs, key, to, cache.place()), None, notes


def _samples(part: Part, y: Tensor, names: tuple[str, ...], bring: Bring, augment: CropFlip | None) -> Samples:
    if part.ready is not None:
        if names == part.ready.names and torch.equal(part.ready.y, y):
            return part.ready
        made = part.ready.labelled(y)
        made.names = names
        return made
    assert part.blobs is not None
    return Samples(bring(part.blobs, part.key), y, names=names, columns=part.columns, augment=augment)


def nameless(data: Data) -> Data:
    """The same data with classes that are called by their numbers, in what was noted of them too."""

    def without(part: Samples) -> Samples:
        made = part[torch.arange(len(part))]
        made.names = tuple(map(str, range(data.classes)))
        return made

    parts: dict[str, Any] = {field: without(part) for field in ("train", "test", "holdout", "unseen", "canaries", "whole") if (part := getattr(data, field)) is not None}
    named = sorted(enumerate(data.train.names), key=lambda pair: -len(pair[1]))
    notes = list(data.notes)
    for number, name in named:
        notes = [re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", f"class {number}", note) for note in notes]
    return dataclasses.replace(data, notes=tuple(notes), **parts)


def why_other_width(data: Data) -> str:
    """What in the labels may be why a model has another number of classes than the data; empty where nothing is."""
    y = torch.cat([part.y for part in (data.train, data.test) if len(part)])
    names, there = data.train.names, set(y.tolist())
    empty = [name for c, name in enumerate(names) if c not in there]
    if empty:
        some = f"{', '.join(empty[:3])}{', ...' if len(empty) > 3 else ''}"
        return f"{len(empty)} of the {len(names)} classes have no sample ({some}): if the model does not know them, take them away"
    if not names and int(y.min()) == 1 and there == set(range(1, len(there) + 1)):
        return f"the labels run from 1 to {len(there)}, and classes are counted from 0: give each label less one, or names"
    return ""
