"""Shadows in a folder: where each lies, what it saw, and what a run's method made of it."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from untrain.core import files
from untrain.core.audit import Shadow, halves
from untrain.core.data import Prepare, Samples, Split
from untrain.core.discover import lookup, name_of
from untrain.core.errors import BadArgument, BadData, wall
from untrain.core.marks import correct
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import predict
from untrain.core.unlearn import width_on
from untrain.core.wording import called
from untrain.evidence import record as records
from untrain.metrics.membership import scaled_confidence
from untrain.metrics.shadow import epsilons, forgetting_quality, klom
from untrain.metrics.summary import competition
from untrain.sources import request as forgetting
from untrain.verbs.folder import read_record
from untrain.verbs.given import given_model

Shadows = tuple[list[Shadow[nn.Module]], dict[str, Any]]
"""The shadows of a folder, and what a record says of them."""


def file_of(folder: Path, seed: int) -> Path:
    """Where a trained model lies in its folder."""
    return folder / f"seed-{seed}.safetensors"


def after_in(folder: Path, method: Method) -> Path:
    """Where those lie that a method made forget their half."""
    return folder / f"after-{name_of(method)}-{hashlib.sha256(records.dumps(asdict(method))).hexdigest()[:12]}"


def half_of(split: Split, seed: int) -> dict[str, Any]:
    """What halves are drawn of, as files of shadows say it."""
    held = split.parts.get("holdout")
    return {"of": forgetting.digest(split), "holdout": held.rows_digest().hex() if held is not None else "", "seed": seed}


def method_of(run: Path) -> Method:
    """The method of a run, with its settings.

    Raises:
        BadArgument: its record says of none, since the model came from elsewhere.
    """
    found = method_in(read_record(run))
    if found is None:
        raise BadArgument(f"{called(run)} is of a model that no run made, so that it has no method to be repeated; leave --like out")
    return found


def method_in(record: Mapping[str, Any]) -> Method | None:
    """The method that a record says, where it says of one."""
    said = record["method"]
    return None if said["name"] == records.ELSEWHERE else lookup("methods", said["name"])(**said["settings"])


def shadows_in(folder: Path, model: str, classes: int, split: Split, method: Method | None) -> Shadows:
    """The shadows that lie in a folder, and what a record says of them: `models`, and the `sha256` of their hashes.

    Args:
        folder: What `untrain reference --shadows` wrote.
        model: Name of the network.
        classes: Number of classes.
        split: The data as it is read; with a hold-out.
        method: That of the run; what it made of the shadows stands beside them, where all are there.

    Raises:
        BadData: there are none, or they are of other samples or of several calls, or do not say what they are.
    """
    found = sorted(folder.glob("seed-*.safetensors"), key=lambda path: (len(path.name), path.name)) if folder.is_dir() else []
    abouts = [files.about(path) for path in found]
    if not found or any("shadows" not in about for about in abouts):
        raise BadData(f"{folder.name} holds no shadows; `untrain reference --shadows` trains them")
    with wall(f"what the shadows in {folder.name} say of themselves", "train them anew"):
        begin, seeds = int(abouts[0]["shadows"]["seed"]), [int(about["seed"]) for about in abouts]
        if any(about["shadows"] != half_of(split, begin) for about in abouts):
            raise BadData(f"the shadows in {folder.name} are of other samples to be forgotten, or another hold-out; train them by the same --forget and --holdout")
        if len({about["of"] for about in abouts}) > 1 or [path.name for path in found] != [file_of(folder, seed).name for seed in seeds]:
            raise BadData(f"{folder.name} holds shadows of several calls, or under other names than they were given; name a folder as `untrain reference --shadows` wrote it")
        drawn = dict(halves(split, max(seeds) - begin, begin))
        seen = [drawn[seed] for seed in seeds]
    after = [] if method is None else [file_of(after_in(folder, method), seed) for seed in seeds]
    whole = bool(after) and all(path.is_file() for path in after)

    def read(path: Path) -> nn.Module:
        return given_model(model, classes, weights=path).module

    made = [Shadow(read(path), half, read(after[i]) if whole else None) for i, (path, half) in enumerate(zip(found, seen, strict=True))]
    hashes = [files.sha256(path) for path in (*found, *(after if whole else ()))]
    return made, {"models": len(made), "after": whole, "sha256": hashlib.sha256("".join(hashes).encode()).hexdigest()}


MOST = 5000
"""Samples of each set that the accuracies behind the competition's final score are counted on, at most."""


def left_by(shadows: Sequence[Shadow[nn.Module]], forget: Samples, norm: Prepare | None, head: str | None = None, kept: Sequence[Samples] = ()) -> dict[str, Any]:
    """What a method leaves of the forgotten samples, told by the shadows that it made forget their half: those that forgot each sample beside those that never saw it.

    Args:
        shadows: Each with what it became.
        forget: The samples.
        norm: Preparation of raw pixels, where a network has none of its own.
        head: Name of the head's layer, where it is not the last linear layer or convolution.
        kept: Retained and test samples, for the competition's final score.

    Returns:
        `models` of each kind; `klom`, of which 95 % of the samples have less; `epsilon`, the competition's, their median; `quality`, its F without the
        ratios of accuracies; `final`, its score with them, where something is kept: its retrained models are the shadows as they were trained; and
        `chance`, the same of models that do not differ, whose ratios are 1.
    """
    both: tuple[list[list[float]], list[list[float]]] = ([[] for _ in forget.index], [[] for _ in forget.index])
    for shadow in shadows:
        assert shadow.after is not None
        network, ready = Network(shadow.after, head=head), forget.prepared(getattr(shadow.after, "norm", norm))
        if head is not None:
            width_on(network, ready)
        logits, labels, _ = predict(network, ready)
        for i, (phi, saw) in enumerate(zip(scaled_confidence(logits, labels).tolist(), shadow.saw(forget).tolist(), strict=True)):
            both[0 if saw else 1][i].append(phi)
    few = min(len(scores) for side in both for scores in side)
    forgot, never = (torch.tensor([scores[:few] for scores in side]).T for side in both)
    found = _measured(forgot, never)
    if kept:
        mine, trained = ([_accuracy(models, part, norm, head) for part in kept] for models in ([s.after for s in shadows], [s.model for s in shadows]))
        found["final"] = competition(found["quality"], mine, trained)
    return found | {"chance": by_chance(few)}


def _accuracy(models: Sequence[nn.Module | None], part: Samples, norm: Prepare | None, head: str | None) -> float:
    """Their mean accuracy on some of the samples, the same number of each class."""
    return statistics.fmean(correct(model, part.at_most(MOST).prepared(getattr(model, "norm", norm)), head) for model in models if model is not None)


def by_chance(models: int, draws: int = 400) -> dict[str, Any]:
    """The same of models that do not differ, by draws of normal numbers: the best of many rules tells them apart anyhow, and more models find better rules.

    Args:
        models: How many of each kind.
        draws: How many samples are drawn.
    """
    g = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, models, draws, generator=g, dtype=torch.float64)
    return _measured(one, other)


def _measured(forgot: Tensor, never: Tensor) -> dict[str, Any]:
    eps = epsilons(forgot, never)
    return {"models": len(forgot), "klom": float(klom(forgot, never).quantile(0.95)), "epsilon": float(eps.median()), "quality": forgetting_quality(eps, len(forgot))}


def said_of_a_method(name: str, left: Mapping[str, Any]) -> str:
    """The same in a sentence."""
    chance = left["chance"]
    quality = f"{left['quality']:.2f}" + (f" (final score {left['final']:.2f}, what it cost in accuracy counted in)" if "final" in left else "")
    return (
        f"{name} leaves a median epsilon of {left['epsilon']:.2f}, a forgetting quality of {quality}, and KLoM below {left['klom']:.2f} for 95 % of the samples; "
        f"{left['models']} models of each kind that do not differ show {chance['epsilon']:.2f}, {chance['quality']:.2f} and {chance['klom']:.2f}"
    )
