"""`untrain check`: looks at a model, its data and what is to be forgotten, and changes nothing.

Each question is a function that answers in plain data; `look` asks them all. Nothing is written, but for the page of
picture pairs where one is asked for.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from untrain import runs
from untrain.core import audit as auditing
from untrain.core import files
from untrain.core import unlearn as running
from untrain.core.data import Prepare, Samples, Split, moved
from untrain.core.discover import found
from untrain.core.engine import Engine, Progress, silent
from untrain.core.errors import BadArgument, BadData, Diverged, OtherHead, UntrainError
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.rehearse import rehearsing, spread
from untrain.evidence import record as records
from untrain.evidence.statistics import interval
from untrain.metrics.copies import Sought, grey
from untrain.zoo.networks import NETWORKS, NORMS

SCHEMA = "untrain.check/1"

SAMPLE = 2000
"""Images of a part that accuracy is measured on, at most."""

NEAR, NEAR_TINY = 0.97, 0.99
"""Correlation from which on two images are near-copies; of images below 16 pixels a side, which have less to tell them apart."""

LISTED = 1000
"""Pairs that are listed, at most; all are counted."""

PAUSE = 0.2
"""Seconds that a rehearsed step is to take at most, where a minute is given in all."""

SHARES = {"accuracy": 0.25, "methods": 0.65}
"""Share of the time that may be gone when a question ends; copies are sought in the rest."""


def check(
    model: str,
    data: str,
    forget: str,
    *,
    weights: Path | None = None,
    test: str | None = None,
    holdout: str | None = None,
    size: int | None = None,
    norm: str | None = None,
    head: str | None = None,
    recipe: str | None = None,
    device: str | None = None,
    data_root: Path | None = None,
    seconds: float = 60.0,
    near: float | None = None,
    pages: Path | None = None,
    progress: Progress = silent,
    say: runs.Say = runs.unsaid,
) -> dict[str, Any]:
    """The verb: look at a model, data and a request as they are named on the command line. Nothing is written but `pages`.

    Args:
        model: The model, as for `unlearn`.
        data: The data, as for `unlearn`.
        forget: What to forget, as for `unlearn`.
        weights: The model's weights.
        test: Data for testing, where `data` has no such part.
        holdout: Samples that no model was trained on.
        size: Height and width that images are brought to.
        norm: A normalisation by name or numbers, where it is not to be the network's own.
        head: Name of the head's layer, where it is not the last.
        recipe: How a model that is not of the zoo was trained: `path.py:function`.
        device: Where to compute.
        data_root: Where the known data and the published checkpoints lie, if not in UNTRAIN_DATA.
        seconds: About how long it may take.
        near: Correlation from which on two images count as near-copies.
        pages: A file to write the pairs of copies to as pictures.
        progress: Told of each question.
        say: Told what the user should know.

    Returns:
        What `look` answers, with the names of the model and of the data.
    """
    runs.refuse_unknown(model)
    normed = runs.norm_of(norm)
    refuse_output(pages, seconds, near)
    runs._say_code(say, model, recipe, data, test, holdout)
    wants = runs.expects(model)
    source = runs.given_data(data, test=test, holdout=holdout, size=size, data_root=data_root, expects=replace(wants, norm=normed or wants.norm))
    split = runs.split_of(source, forget)
    for note in source.notes:
        say(note)
    misfit, given, taught = None, None, None
    try:
        given = runs.given_model(model, source.classes, weights=weights, norm=norm, data_root=data_root)
        for note in given.notes:
            say(note)
        if recipe is not None or model in NETWORKS:
            taught = runs._recipe(model, recipe, source.classes, None)
    except OtherHead as error:
        misfit = str(error)
    answer = look(
        given.module if given else None,
        split,
        recipe=taught,
        norm=given.norm if given else None,
        names=given.expects.names if given else (),
        head=head,
        device=device,
        seconds=seconds,
        near=near,
        pages=pages,
        misfit=misfit,
        progress=progress,
    )
    return answer | {"model": given.name if given else model, "data": source.name, "request": runs.request(forget, split), "notes": list(source.notes)}


def look(
    model: nn.Module | None,
    split: Split,
    *,
    recipe: Any = None,
    norm: Prepare | None = None,
    names: Sequence[str] = (),
    head: str | None = None,
    device: str | None = None,
    seconds: float = 60.0,
    near: float | None = None,
    pages: Path | None = None,
    misfit: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Look at a model, its data and what is to be forgotten; neither is changed.

    Args:
        model: The model; None where it could not be made, and the data alone are looked at.
        split: What to forget, what to retain, what to test on, and a part `holdout` where there is one.
        recipe: How the model came about, where that is known.
        norm: Preparation of raw pixels; the network's own `norm` where none is given.
        names: Names of the classes as the model knows them, where it does.
        head: Name of the head's layer, where it is not the last linear layer or convolution.
        device: Where to compute.
        seconds: About how long it may take. What there was no time for is said.
        near: Correlation from which on two images count as near-copies; .97, and .99 for images below 16 pixels a side.
        pages: A file to write the pairs of copies to as pictures; none is written where it is None.
        misfit: Why there is no model.
        progress: Told of each question.

    Returns:
        Plain JSON: `head`, `accuracy`, `forget`, `holdout`, `methods`, `copies`, and how long it took.

    Raises:
        BadArgument: `pages` names a file that is not such a page, or a number is out of range.
    """
    refuse_output(pages, seconds, near)
    engine, began = Engine.of(device), time.perf_counter()
    own = norm or getattr(model, "norm", None)
    progress("accuracy", 0, 3)
    accuracy = accuracies(model, split, own, engine, began + SHARES["accuracy"] * seconds) if model is not None else unmeasured("there is no model that fits")
    ready = split.prepared(own or NORMS.get(accuracy["best"] or ""))
    fits = head_fit(model, ready, head, names, misfit)
    progress("methods", 1, 3)
    asked = methods(model, ready, recipe, head, device, began + SHARES["methods"] * seconds, fits["problem"], min(PAUSE, PAUSE * seconds / 60))
    progress("copies", 2, 3)
    copies = near_copies(split, near, began + seconds)
    if pages is not None:
        files.write(pages, _page(copies, split))
    progress("copies", 3, 3)
    answer: dict[str, Any] = records.finite(
        {
            "schema": SCHEMA,
            "counts": {name: len(part) for name, part in split.parts.items()},
            "head": fits,
            "accuracy": accuracy,
            "forget": forgotten(split),
            "holdout": holdout(split),
            "methods": asked,
            "copies": copies,
            "machine": engine.report(),
            "seconds": time.perf_counter() - began,
        }
    )
    return answer


# Does the head fit?


def head_fit(model: nn.Module | None, split: Split, head: str | None, names: Sequence[str], problem: str | None = None) -> dict[str, Any]:
    """Whether the head has a row for each class, and whether model and data call the classes alike.

    Args:
        model: The model.
        split: The data, prepared.
        head: Name of the head's layer.
        names: Names of the classes as the model knows them.
        problem: Why there is no model, where there is none.
    """
    layer = None
    try:
        if model is not None:
            layer = Network(model, head=head).head
            running.refuse_misfits(model, split, {"all": split.retain + split.forget}, head)
    except UntrainError as error:
        problem = str(error)
    own = split.test.names or split.retain.names
    told = list(names)
    differ = [{"class": i, "model": a, "data": b} for i, (a, b) in enumerate(zip(told, own, strict=False)) if _plain(a) != _plain(b)]
    moved = sorted(map(_plain, told)) == sorted(map(_plain, own))
    say = None
    if differ:
        first = differ[0]
        what = "in another order" if moved else "otherwise"
        say = f"the model names its classes {what}: class {first['class']} is {first['model']!r} there and {first['data']!r} in the data"
    return {
        "layer": layer.name if layer else None,
        "width": layer.width if layer else None,
        "classes": len(own) or len((split.retain + split.forget).classes),
        "fits": problem is None and not differ,
        "problem": problem,
        "names": say,
        "differ": differ[:20],
    }


def _plain(name: str) -> str:
    return " ".join(str(name).casefold().replace("_", " ").replace("-", " ").split())


# Is this the accuracy that is expected?


def accuracies(model: nn.Module, split: Split, own: Any, engine: Engine, until: float) -> dict[str, Any]:
    """Share of a sample named rightly, under the model's own normalisation and under each that is known.

    Args:
        model: The model.
        split: The data, not prepared.
        own: The model's own normalisation, or None.
        engine: Where to compute.
        until: When to stop, on `time.perf_counter`.

    Returns:
        `own` by part, `candidates` (all on the same sample of the test part), `best` of these, whether it is better `clear`ly (95 %, on the
        images that only one of the two names rightly), `order` where predictions fit better with labels in another order, and a sentence.
    """
    part = "test" if len(split.test) else "retain"
    given = _carried(split.parts[part])
    own = given or own
    first: Any = pixels(split.parts[part], torch.tensor([0]))
    image = isinstance(first, Tensor) and first.ndim == 4
    if own is None and not (image and first.dtype == torch.uint8):
        own = as_it_is
    ways: dict[str, Any] = {"own": own} if own is not None else {}
    if given is None and image and (first.dtype == torch.uint8 or 0 <= first.min() <= first.max() <= 1):
        ways |= {name: norm for name, norm in NORMS.items() if norm != own}
    network = Network(engine.place(copy.deepcopy(model)).eval(), head=None)
    said, labels = _said(network, split.parts[part], ways, until)
    if not said:
        return unmeasured("the model does not take this data under any normalisation that is known")
    hits = {way: answers == labels for way, answers in said.items()}
    values = {way: asdict(auditing.counted(hit)) for way, hit in hits.items()}
    best = max(hits, key=lambda way: (int(hits[way].sum()), way == "own"))
    clear = "own" in hits and best != "own" and _clearly(hits[best], hits["own"])
    measured = {part: values["own"]} if "own" in values else {}
    if "own" in values and part == "test":
        train = split.retain + split.forget
        answers, truth = _said(network, train, {"own": ways["own"]}, until)
        measured |= {"train": asdict(auditing.counted(answers["own"] == truth))} if answers else {}
    order = _order(said[best], labels, split.parts[part].names)
    candidates = [{"norm": way, "part": part, **values[way]} for way in sorted(values, key=lambda way: -int(hits[way].sum())) if way != "own"]
    name = "no normalisation" if own is as_it_is else next((n for n, norm in NORMS.items() if norm == own), "its own normalisation")
    return {
        "own": measured,
        "norm": name if "own" in ways else None,
        "candidates": candidates,
        "best": best,
        "clear": clear,
        "order": order,
        "sentence": _accuracy_sentence(values, part, name, best, clear, order),
    }


def unmeasured(why: str) -> dict[str, Any]:
    """The answer where accuracy could not be measured."""
    return {"own": {}, "norm": None, "candidates": [], "best": None, "clear": False, "order": None, "sentence": f"accuracy was not measured: {why}"}


def as_it_is(x: Any) -> Any:
    """Inputs as the data hold them."""
    return x


def _carried(samples: Samples) -> Any:
    """The preparation that samples carry themselves, so that no other can be tried."""
    return samples.sources[0].prepare


def _said(network: Network, samples: Samples, ways: Mapping[str, Any], until: float) -> tuple[dict[str, Tensor], Tensor]:
    """What the network answers on a sample, by way of preparing it, and the labels; fewer images where time runs out."""
    places = spread(len(samples), min(SAMPLE, len(samples)))
    # A fixed shuffle, so that what was seen when time ran out is a fair sample.
    places = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(0))]
    answers: dict[str, list[Tensor]] = {way: [] for way in ways}
    labels: list[Tensor] = []
    with network.frozen(), torch.no_grad():
        for rows in torch.split(places, 50):
            if labels and time.perf_counter() > until:
                break
            raw = pixels(samples, rows)
            labels.append(samples.y[rows])
            for way in list(answers):
                try:
                    x = ways[way](moved(raw, network.device))
                    answers[way].append(network(x).argmax(1).cpu())
                except (RuntimeError, TypeError, ValueError, IndexError):
                    # Another number of channels, or another size: this way is none for these images.
                    del answers[way]
    return {way: torch.cat(found) for way, found in answers.items() if found}, torch.cat(labels) if labels else torch.empty(0)


def _clearly(one: Tensor, other: Tensor) -> bool:
    """Whether the one is right more often than the other, by the images that only one of them is right on."""
    more, less = int((one & ~other).sum()), int((other & ~one).sum())
    return more > less and interval(more, more + less)[0] > 0.5


def _order(answers: Tensor, labels: Tensor, names: Sequence[str]) -> list[dict[str, str]] | None:
    """The order of classes that predictions speak for, where it is another than the labels' and fits much better."""
    width = int(max(answers.max(), labels.max())) + 1
    table = torch.zeros(width, width).index_put_((labels, answers), torch.ones(len(labels)), accumulate=True)
    rows, columns = linear_sum_assignment(-table.numpy())
    met = set(labels.tolist())
    matched, own = float(table[rows, columns].sum()), float(table.diagonal().sum())
    if matched < 0.5 * len(labels) or matched < own + 0.2 * len(labels):
        return None
    called = [names[i] if i < len(names) else str(i) for i in range(width)]
    return [{"data": called[a], "model": str(b)} for a, b in zip(rows.tolist(), columns.tolist(), strict=True) if a != b and a in met]


def _accuracy_sentence(values: Mapping[str, dict[str, Any]], part: str, name: str, best: str, clear: bool, order: list[dict[str, str]] | None) -> str:
    def told(way: str) -> str:
        value = values[way]
        return f"{value['value']:.1%} of {value['n']:,} {part} images ({value['low']:.1%} to {value['high']:.1%})"

    if "own" not in values:
        said = f"no normalisation is known for this model; {best} fits best, under which it names {told(best)} rightly: name it by --norm"
    elif clear:
        gain = values[best]["value"] - values["own"]["value"]
        said = f"under {name} it names {told('own')} rightly, under {best} {told(best)}, {100 * gain:.1f} points more: the normalisation is probably {best}, give --norm {best}"
    else:
        others = "; no other normalisation that is known does clearly better" if len(values) > 1 else ""
        said = f"it names {told('own')} rightly under {name}{others}"
    if order:
        pairs = ", ".join(f"{pair['data']} is its number {pair['model']}" for pair in order[:3])
        said += f"; the labels seem to stand in another order than those it was trained with: {pairs}"
    return said


# What will be forgotten?


def forgotten(split: Split) -> dict[str, Any]:
    """How many samples are to be forgotten, of all and by class."""
    gone, kept = Counter(split.forget.y.tolist()), Counter(split.retain.y.tolist())
    names = split.test.names or split.retain.names
    rows = [
        {"class": c, "name": names[c] if c < len(names) else str(c), "forget": n, "of": n + kept[c], "share": n / (n + kept[c]), "whole": kept[c] == 0}
        for c, n in sorted(gone.items())
    ]
    total = len(split.forget) + len(split.retain)
    return {"count": len(split.forget), "of": total, "share": len(split.forget) / total, "by_class": rows, "as": "classes" if split.classes else "list"}


# Is there a hold-out, and what cannot be said without one?


def holdout(split: Split) -> dict[str, Any]:
    """Samples of the hold-out, and for each audit the evidence that it lacks here and now."""
    have = {name for name, part in split.parts.items() if len(part)} | {"original"} | ({"classes"} if split.classes else set())
    rows = []
    for name, entry in found("audits").items():
        cls = entry.load()
        needed, wanted = [n for n in cls.needs if n not in have], [n for n in cls.wants if n not in have]
        if needed or wanted:
            rows.append({"audit": name, "question": cls.question, "impossible": bool(needed), "lacks": needed or wanted})
    return {"count": len(split.parts.get("holdout", ())), "lacking": rows}


# Which methods fit, how long and how large?


def methods(
    model: nn.Module | None, split: Split, recipe: Any, head: str | None, device: str | None, until: float, blocked: str | None, pause: float = PAUSE
) -> list[dict[str, Any]]:
    """Each method in its default: whether it fits what is at hand, and what it would take by a rehearsal on this model.

    Args:
        model: The model.
        split: The data, prepared.
        recipe: How the model came about, or None.
        head: Name of the head's layer.
        device: Where to compute.
        until: When to stop timing, on `time.perf_counter`.
        blocked: Why no method can run, where that is so.
        pause: Seconds of a step beyond which it is not tried with more rows.
    """
    out, start = [], _started() if model is not None and blocked is None else 0.0
    for name, entry in found("methods").items():
        method: Method = entry.load()()
        row: dict[str, Any] = {"method": name, "fits": True, "why_not": None, "seconds": None, "peak_memory_bytes": None, "passes": None, "phases": [], "untimed": None}
        out.append(row)
        try:
            running.given_to(method, split, recipe)
        except BadArgument as error:
            row |= {"fits": False, "why_not": str(error).removeprefix(type(method).__name__).strip()}
            continue
        if model is None or blocked is not None:
            row["untimed"] = "the model does not take this data"
        elif time.perf_counter() > until:
            row["untimed"] = "there was no time left for it; give more by --seconds"
        else:
            row |= estimate(model, split, method, recipe=recipe, head=head, device=device, pause=pause)
            row["seconds"] = row["seconds"] + start if row["phases"] else row["seconds"]
    return out


def _started() -> float:
    """Seconds that the first optimizer of a process takes, since torch then loads what it needs; a run in a fresh process takes them too."""
    began = time.perf_counter()
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).step()
    return time.perf_counter() - began


def estimate(model: nn.Module, split: Split, method: Method, *, recipe: Any = None, head: str | None = None, device: str | None = None, pause: float = PAUSE) -> dict[str, Any]:
    """What a run would take, by a rehearsal: seconds, peak memory of the process, passes, and its phases.

    Loading data, auditing and writing are not in it.
    """
    try:
        with rehearsing(pause) as rehearsed:
            done = running.unlearn(model, split, method, recipe=recipe, head=head, device=device)
    except (Diverged, BadData) as error:
        return {"untimed": f"its rehearsal failed: {error}"}
    pieces = rehearsed.pieces
    return {
        "seconds": done.seconds - rehearsed.spent + rehearsed.seconds,
        "peak_memory_bytes": max([done.peak_memory if not pieces else 0, *(p.peak_memory for p in pieces)]),
        "passes": sum(p.passes for p in pieces),
        "phases": [{"name": p.name, "steps": p.steps, "passes": p.passes, "seconds": p.seconds} for p in pieces],
    }


# What near-copies stay behind?


@dataclass(frozen=True)
class Place:
    """An image: its part, and its place there.

    Args:
        part: Name of the part.
        at: Place in the part.
    """

    part: str
    at: int


def near_copies(split: Split, near: float | None, until: float) -> dict[str, Any]:
    """Copies of what is to be forgotten in every other part: `exact` by the hash of decoded pixels, `near` by correlation.

    The parts are gone through once, in pieces and in a fixed shuffled order; memory holds the forgotten images' small pictures and one piece.
    Time: about one second for seven million pairs on one core, and the reading of the images.

    Args:
        split: The data, not prepared.
        near: The threshold; None for the usual one.
        until: When to stop, on `time.perf_counter`.
    """
    none: dict[str, Any] = {"threshold": near, "exact": 0, "near": 0, "pairs": [], "looked": {}, "skipped": None}
    pieces = list(_pieces(split))
    gone = [rows for part, rows in pieces if part == "forget"]
    hashes: dict[bytes, int] = {}
    pictures, places = [], []
    try:
        for rows in gone:
            images = pixels(split.forget, rows)
            if not isinstance(images, Tensor) or images.ndim != 4:
                return none | {"skipped": "the data are no images"}
            places += rows.tolist()
            pictures.append(grey(images))
            for at, digest in zip(rows.tolist(), _digests(images), strict=True):
                hashes.setdefault(digest, at)
            if time.perf_counter() > until:
                break
        if len({p.shape[-1] for p in pictures}) != 1:
            return none | {"skipped": "the images have sizes of their own"}
        sought = Sought(torch.cat(pictures))
    except (RuntimeError, TypeError) as error:
        return none | {"skipped": f"the images could not be compared: {str(error).partition(chr(10))[0]}"}
    side = sought.pictures.shape[-1]
    threshold = near if near is not None else NEAR if side >= 16 else NEAR_TINY
    looked, counts, pairs = Counter({"forget": len(places)}), Counter[str](), list[dict[str, Any]]()

    def note(kind: str, mine: int, other: Place, correlation: float) -> None:
        counts[kind] += 1
        if len(pairs) < LISTED:
            pairs.append({"kind": kind, "correlation": correlation, "forget": _called(split, Place("forget", mine)), "other": _called(split, other)})

    for part, rows in [p for p in pieces if p[0] != "forget"]:
        if time.perf_counter() > until and looked.total() > len(places):
            break
        images = pixels(split.parts[part], rows)
        same = {j: hashes[digest] for j, digest in enumerate(_digests(images)) if digest in hashes}
        for j, mine in same.items():
            note("exact", mine, Place(part, int(rows[j])), 1.0)
        rest = [j for j in range(len(rows)) if j not in same]
        for i, j, correlation in sought.among(grey(images)[rest], threshold) if rest else ():
            note("near", places[i], Place(part, int(rows[rest[j]])), correlation)
        looked[part] += len(rows)
    pairs.sort(key=lambda p: (-p["correlation"], p["other"]["part"], p["other"]["at"]))
    seen = {part: {"looked": looked[part], "of": len(samples)} for part, samples in split.parts.items() if len(samples)}
    return {"threshold": threshold, "exact": counts["exact"], "near": counts["near"], "pairs": pairs, "looked": seen, "skipped": None}


def _pieces(split: Split, rows: int = 256) -> Iterator[tuple[str, Tensor]]:
    """All parts cut into pieces, in a fixed shuffled order, so that what was seen when time ran out is a fair share of each."""
    pieces = [(name, piece) for name, part in split.parts.items() if len(part) for piece in torch.split(torch.arange(len(part)), rows)]
    for i in torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0)).tolist():
        yield pieces[i]


def pixels(samples: Samples, rows: Tensor) -> Any:
    """What the data hold at these rows, before any preparation."""
    which, index = samples.which[rows], samples.index[rows]
    if len(torch.unique(which)) == 1:
        return samples.sources[int(which[0])].raw(index)
    # Each as the others are; where they differ in shape, stacking says so.
    rest: list[Any] = [samples.sources[int(w)].raw(i[None]) for w, i in zip(which, index, strict=True)]
    return torch.cat(rest)


def _digests(images: Tensor) -> list[bytes]:
    about = f"{images.dtype} {tuple(images.shape[1:])}".encode()
    return [hashlib.sha256(about + image.contiguous().numpy().tobytes()).digest() for image in images]


FILES = ("path", "file", "filename")
"""Columns that may hold an image's file."""


def _called(split: Split, place: Place) -> dict[str, Any]:
    samples = split.parts[place.part]
    column = next((c for c in FILES if c in samples.columns), None)
    return {"part": place.part, "at": place.at, "index": int(samples.index[place.at]), "file": str(samples.columns[column][place.at]) if column else None}


# The page of pairs.

PAGE_TITLE = "Copies of what is to be forgotten"
SHOWN = 200
"""Pairs that a page shows, at most."""


def _page(copies: dict[str, Any], split: Split) -> bytes:
    """A page of picture pairs. It shows the images, and no names of files."""
    from untrain.report.markup import asset, draw
    from untrain.report.page import policy

    shown = [
        {"kind": p["kind"], "correlation": p["correlation"], "part": p["other"]["part"], "forget": _picture(split, p["forget"]), "other": _picture(split, p["other"])}
        for p in copies["pairs"][:SHOWN]
    ]
    return (draw("copies", title=PAGE_TITLE, pairs=shown, copies=copies, policy=policy([]), style=asset("style.css")) + "\n").encode()


def _picture(split: Split, called: Mapping[str, Any]) -> str:
    image = pixels(split.parts[called["part"]], torch.tensor([called["at"]])).float()
    scale = 1.0 if image.max() <= 1.0 else 255.0
    image = F.adaptive_avg_pool2d(image / scale, (min(96, image.shape[2]), min(96, image.shape[3])))[0]
    return base64.b64encode(runs.png(image[:3] if image.shape[0] >= 3 else image[:1])).decode()


def refuse_output(pages: Path | None, seconds: float, near: float | None) -> None:
    """Refuse a page that is another's file, and numbers out of range.

    Raises:
        BadArgument: so it is.
        Resources: the page cannot be written there.
    """
    if not seconds > 0:
        raise BadArgument(f"--seconds {seconds:g} leaves no time to look; give a number above 0")
    if near is not None and not 0 < near <= 1:
        raise BadArgument(f"--near {near:g} is no correlation that a copy could have; give a number above 0 and up to 1")
    if pages is not None:
        _refuse_page(pages)


def _refuse_page(path: Path) -> None:
    if os.path.lexists(path):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if path.is_file() and f"<title>{PAGE_TITLE}" in path.read_text(encoding="utf-8")[:4096]:
                return
        raise BadArgument(f"{path.name} exists and is not a page of copies; give another name by --pages")
    runs._refuse_unwritable(path)
