"""Is this the accuracy that is expected, under the model's own normalisation and under others?"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checkup.raw import pixels
from untrain.core import audit as auditing
from untrain.core.counting import interval
from untrain.core.data import Samples, Split, moved
from untrain.core.engine import Engine
from untrain.core.errors import BadArgument
from untrain.core.network import Network
from untrain.core.rehearse import spread
from untrain.sources.normalisation import NORMS

SAMPLE = 2000
"""Images of a part that accuracy is measured on, at most."""


def accuracies(model: nn.Module, split: Split, own: Any, engine: Engine, until: float, head: str | None = None) -> dict[str, Any]:
    """Share of a sample named rightly, under the model's own normalisation and under each that is known.

    Args:
        model: The model.
        split: The data, not prepared.
        own: The model's own normalisation, or None.
        engine: Where to compute.
        until: When to stop, on `time.perf_counter`.
        head: Name of the head's layer, where it is not the last linear layer or convolution.

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
    network = Network(engine.place(copy.deepcopy(model)).eval(), head=head)
    try:
        _locate(network, split.parts[part], ways if head is not None else {})
    except BadArgument as error:
        return unmeasured(str(error))
    said, labels = _said(network, split.parts[part], ways, until)
    if not said:
        return unmeasured("the model does not take this data under any normalisation that is known")
    hits = {way: answers == labels for way, answers in said.items()}
    values = {way: asdict(auditing.counted(hit)) for way, hit in hits.items()}
    best = max(hits, key=lambda way: (int(hits[way].sum()), way == "own"))
    clear = "own" in hits and best != "own" and clearly(hits[best], hits["own"])
    measured = {part: values["own"]} if "own" in values else {}
    if "own" in values and part == "test":
        train = split.retain + split.forget
        answers, truth = _said(network, train, {"own": ways["own"]}, until)
        measured |= {"train": asdict(auditing.counted(answers["own"] == truth))} if answers else {}
    order, turned = _turned(said, labels, split.parts[part].names, int(hits[best].sum()))
    if turned is not None:
        # In a wrong order hits mean nothing: which normalisation fits is told by the order that fits.
        best, clear = turned, False
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


def _locate(network: Network, samples: Samples, ways: Mapping[str, Any]) -> None:
    """Find which of several answers is that of the head that is named, under the first of these ways that the network takes."""
    raw = pixels(samples, torch.arange(min(2, len(samples))))
    for way in ways.values():
        try:
            network.locate(way(moved(raw, network.device)))
        except BadArgument:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError):
            continue
        return


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


def clearly(one: Tensor, other: Tensor) -> bool:
    """Whether the one is right more often than the other, by the images that only one of them is right on."""
    more, less = int((one & ~other).sum()), int((other & ~one).sum())
    return more > less and interval(more, more + less)[0] > 0.5


def _turned(said: Mapping[str, Tensor], labels: Tensor, names: Sequence[str], most: int) -> tuple[list[dict[str, str]] | None, str | None]:
    """The order of classes that predictions speak for under any way of preparing images, and the way, where it fits much better than any does in the labels' own."""
    found = {way: _order(answers, labels, names) for way, answers in said.items()}
    way = max(found, key=lambda way: (found[way][0], way == "own"))
    matched, order = found[way]
    return (order, way) if order is not None and matched >= most + 0.2 * len(labels) else (None, None)


def _order(answers: Tensor, labels: Tensor, names: Sequence[str]) -> tuple[float, list[dict[str, str]] | None]:
    """How many predictions are right in the order of classes that fits them best, and that order, where it is another and fits much better."""
    own = int((answers == labels).sum())
    if own >= 0.8 * len(labels):
        # No other order could fit much better.
        return own, None
    from scipy.optimize import linear_sum_assignment

    width = int(max(answers.max(), labels.max())) + 1
    table = torch.zeros(width, width).index_put_((labels, answers), torch.ones(len(labels)), accumulate=True)
    rows, columns = linear_sum_assignment(-table.numpy())
    met = set(labels.tolist())
    matched = float(table[rows, columns].sum())
    if matched < 0.5 * len(labels) or matched < own + 0.2 * len(labels):
        return matched, None
    called = [names[i] if i < len(names) else str(i) for i in range(width)]
    return matched, [{"data": called[a], "model": str(b)} for a, b in zip(rows.tolist(), columns.tolist(), strict=True) if a != b and a in met]


def _accuracy_sentence(values: Mapping[str, dict[str, Any]], part: str, name: str, best: str, clear: bool, order: list[dict[str, str]] | None) -> str:
    def told(way: str) -> str:
        value = values[way]
        return f"{value['value']:.1%} of {value['n']:,} {part} images ({value['low']:.1%} to {value['high']:.1%})"

    if order is not None and "own" in values:
        said = f"it names {told('own')} rightly under {name}" + (f"; {best} fits better, name it by --norm" if best != "own" else "")
    elif "own" not in values:
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
