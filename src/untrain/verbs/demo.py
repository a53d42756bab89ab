"""The demo: forget a class, and set beside it what never saw the class and what only hides it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrain.core import files
from untrain.core import unlearn as running
from untrain.core.data import Data, Split
from untrain.core.discover import settings
from untrain.core.engine import Progress, silent
from untrain.core.errors import BadArgument
from untrain.core.wording import called
from untrain.evidence import record as records
from untrain.evidence import seal
from untrain.sources.request import classes_in
from untrain.verbs.about import about_data, about_model, about_weights, flags, request
from untrain.verbs.auditing import Reference, examine, filled, reference
from untrain.verbs.folder import locked, refuse_among
from untrain.verbs.inputs import Inputs
from untrain.verbs.reporting import report
from untrain.verbs.run_files import PAGE, RECORD, WEIGHTS, weights_in
from untrain.zoo.recipes import Recipe, recipe_for

NETWORK = {"digits": "digits", "cifar10": "resnet20"}
"""Which network stands for which data."""

MASK = "head mask"
"""Column of the control that only hides the class."""

MARKER = ".untrain-demo"
"""A file that says that a folder is a demo's own."""

SEEDS = (1, 2, 3, 4, 5, 6, 7, 8)
"""Seeds of the retrained digit classifiers."""


def asked(data: str = "digits", **named: Any) -> Inputs:
    """The demo's inputs: data, with the network that stands for them.

    Args:
        data: `digits`, or `cifar10` for the published ResNet-20.
        named: Further fields of `Inputs`.

    Raises:
        BadArgument: there is no demo on this data.
    """
    if data not in NETWORK:
        raise BadArgument(f"no demo on {data!r}; there are {', '.join(NETWORK)}")
    return Inputs(model=NETWORK[data], data=data, **named)


def demo(inputs: Inputs, *, out: Path = Path("untrain-demo"), retrained: Sequence[Path] = (), retrain: bool = False, progress: Progress = silent) -> dict[str, Any]:
    """Forget a class by UNSIR's default and draw the page; writes `model.safetensors`, `record.json` and `report.html`.

    Args:
        inputs: What is named, see `asked`.
        out: The folder to write; one of an earlier demo is replaced.
        retrained: Weights of models that never saw the class, where there are any.
        retrain: Train one, where none is at hand (digits trains eight anyhow).
        progress: Told of each step.

    Returns:
        The record.
    """
    refuse_among(out, inputs.paths() | {f"retrained {n}": path for n, path in enumerate(retrained, 1)})
    if os.path.lexists(out) and not (out / MARKER).is_file():
        raise BadArgument(f"--out {called(out)} exists and is no folder of a demo; give another folder")
    classes_in(inputs.asked)
    opened = inputs.open()
    source, split, given = opened.data, opened.split, opened.model
    references = [reference(path, inputs.model, source.classes, split) for path in weights_in(retrained)]
    files.write(out / MARKER, b"The demo of untrain made this folder, and replaces it.\n")
    with locked(out), _threads(1 if source.name == "digits" else torch.get_num_threads()):
        for name in (RECORD, PAGE, WEIGHTS):
            (out / name).unlink(missing_ok=True)
        method = settings("unsir")
        result = running.unlearn(given.module, split, method, seed=inputs.seed, progress=progress)
        references = references or _retrained(given.module, split, source, recipe_for(inputs.model, source.classes), retrain, progress)
        mask = settings("headonly")
        masked = running.unlearn(given.module, split, mask).model
        references.append(Reference(MASK, masked, "not kept", files.weights_hash(masked.state_dict()), about_weights(mask, source, split, 0)))
        words = inputs.words() | {"model": None, "data": None if inputs.data == "digits" else inputs.data, "retrain": retrain or None}
        record = records.compose(
            running.describe(result),
            command=["demo", *flags(**words)],
            request=request(inputs.asked, split),
            model=about_model(given),
            data=about_data(source, split),
            output={"file": WEIGHTS, "sha256": ""},
        )
        # What is audited is what is written: the weights in the types of the file that was given.
        files.save_weights(out / WEIGHTS, given.state(result.model), about_weights(method, source, split, inputs.seed))
        record["output"]["sha256"] = files.sha256(out / WEIGHTS)
        written = filled(inputs.model, source.classes, out / WEIGHTS)
        examine(record, opened, split, written, references, show_images=True, progress=progress)
        record = seal.sealed(record)
        files.write(out / RECORD, records.dumps(record))
        report(out)
    return record


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads meanwhile. Of a network as small as that of digits a second one takes nothing off, and where the machine is busy they wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _retrained(original: nn.Module, split: Split, source: Data, recipe: Recipe, retrain: bool, progress: Progress) -> list[Reference]:
    """Models that never saw the class: eight for digits, where one takes a second, else one from the cache, trained only where that is asked for.

    Beside five of digits the verdict hung on rounding.
    """
    if source.name == "digits":
        return [_trained(original, split, source, recipe, seed, _named(progress, f"retrained model {n} of {len(SEEDS)}")) for n, seed in enumerate(SEEDS, 1)]
    key = hashlib.sha256(records.dumps({"data": source.sha256, "recipe": asdict(recipe), "classes": list(split.classes), "seed": SEEDS[0]})).hexdigest()[:16]
    kept = files.cache_root() / f"retrained-{recipe.network}-{key}.safetensors"
    if not kept.is_file() and retrain:
        state = kept.with_suffix(".state")
        made = _trained(original, split, source, recipe, SEEDS[0], _named(progress, "retrained model"), state)
        files.save_weights(kept, made.module.state_dict(), made.about)
        shutil.rmtree(state, ignore_errors=True)
    return [reference(kept, recipe.network, source.classes, split)] if kept.is_file() else []


def _trained(original: nn.Module, split: Split, source: Data, recipe: Recipe, seed: int, progress: Progress, state: Path | None = None) -> Reference:
    method = settings("retrain")
    module = running.unlearn(original, split, method, seed=seed, recipe=recipe, progress=progress, store=state).model
    return Reference("retrained", module, "not kept", files.weights_hash(module.state_dict()), about_weights(method, source, split, seed) | {"recipe": asdict(recipe)})


def _named(progress: Progress, name: str) -> Progress:
    def told(phase: str, step: int, steps: int) -> None:
        progress(f"{name}: {phase}", step, steps)

    return told
