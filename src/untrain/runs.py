"""What the verbs of the command line do: folders in, folders out. Each is a function here.

A folder is written by one process at a time. While work goes on its state lies in `.state`, so that a
killed run, called again with the same arguments, goes on to the same bits. The weights are written first
and the record last; `.state` goes when both are there.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import math
import os
import shutil
import socket
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from torch import Tensor, nn

from untrain.core import audit as auditing
from untrain.core import files
from untrain.core import unlearn as running
from untrain.core.data import Data, Norm, Samples, Split
from untrain.core.discover import found, lookup, name_of
from untrain.core.engine import Engine, Precision, Progress, join_ranks, peak_memory, seeded, silent
from untrain.core.errors import BadArgument, BadData, Diverged, Locked, Resources
from untrain.core.method import Method
from untrain.core.model import Expects, Model
from untrain.core.network import Network
from untrain.core.train import Trace, predict
from untrain.evidence import record as records
from untrain.evidence.verdict import judge, what
from untrain.sources import convert as converting
from untrain.sources import loading, reading
from untrain.sources import names as naming
from untrain.sources import recipe as foreign_recipe
from untrain.sources import request as forgetting
from untrain.sources.card import CARD, card
from untrain.sources.forms import finding
from untrain.sources.libraries.transformers_nets import disk_names
from untrain.zoo import sets as zoo_data
from untrain.zoo import trained as models
from untrain.zoo.networks import NETWORKS, NORMS, parameters
from untrain.zoo.recipes import Recipe, recipe_for

WEIGHTS, RECORD, TRAINING, PAGE, STATE, INPUTS = "model.safetensors", "record.json", "train.json", "report.html", ".state", ".inputs.json"
"""Files of a run's folder. `.inputs.json` is there only where inputs were named by path: it says where, seen from the folder, and stays on the machine."""

Say = Callable[[str], None]
"""Told in a sentence what a user should know: that code of theirs is run, or what was taken off the names in a file."""


def unsaid(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Another model that the audits look at.

    Args:
        column: `retrained`, or the name of a control.
        module: The model.
        file: The name of its file, or how it came about.
        sha256: Hash of its file, or of its weights.
        about: What its file says of itself.
    """

    column: str
    module: nn.Module
    file: str
    sha256: str
    about: dict[str, Any]


# The verbs.


def train(
    model: str,
    data: str,
    out: Path,
    *,
    test: str | None = None,
    holdout: str | None = None,
    size: int | None = None,
    epochs: int | None = None,
    holdout_every: int | None = None,
    seed: int = 0,
    norm: str | None = None,
    recipe: str | None = None,
    precision: Precision = "fp32",
    device: str | None = None,
    data_root: Path | None = None,
    progress: Progress = silent,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Train a network by its recipe; writes `model.safetensors` and `train.json`.

    Args:
        model: Name of the network: of the zoo, or of another source together with a recipe.
        data: What to read, see `given_data`.
        test: Other data for testing, or `split:NAME`; a fifth is set aside where there are none.
        holdout: Data that no model was trained on.
        size: Height and width that images are brought to.
        out: The folder to write.
        epochs: Passes over the training samples; the recipe's own number where none is given.
        holdout_every: Leave every n-th training sample out and measure on them too.
        seed: Same seed, same bits.
        norm: A normalisation by name or numbers, where it is not to be the network's own.
        recipe: `path.py:function` of the user's, which gives an object with `build()` and `train(model, samples)`; the zoo's where none is named.
        precision: `fp32`, or `bf16` autocast.
        device: Where to compute.
        data_root: Where the known data lie, if not in UNTRAIN_DATA.
        progress: Told of each step.
        say: Told what the user should know.

    Returns:
        What stands in `train.json`.
    """
    ours = join_ranks()
    try:
        _refuse_output(out, (data_root, *map(finding.path_of, (data, test, holdout))))
        _refuse_below(epochs=(epochs, 0), holdout_every=(holdout_every, 2))
        engine, normed = Engine.of(device, precision), norm_of(norm)
        refuse_unknown(model)
        _say_code(say, model, recipe, data, test, holdout)
        _refuse_no_recipe(model, recipe, epochs, "train")
        look = expects(model)
        source = given_data(data, test=test, holdout=holdout, size=size, data_root=data_root, expects=replace(look, norm=normed or look.norm))
        for note in source.notes:
            say(note)
        taught = _recipe(model, recipe, source.classes, epochs)
        held = torch.arange(len(source.train)) % holdout_every == holdout_every - 1 if holdout_every else torch.zeros(len(source.train), dtype=torch.bool)
        arguments = {"verb": "train", "recipe": _about_recipe(taught), "data": source.sha256, "size": size, "holdout_every": holdout_every, "seed": seed, "norm": norm} | _machine(
            engine
        )
        command = [
            "train",
            *flags(model=_name(model), **_shown(data, test, holdout), size=size, out=out.name, epochs=epochs, holdout_every=holdout_every, seed=seed or None, norm=norm),
            *flags(recipe=_name(recipe)),
            *_how(precision, device),
        ]
        with _writing(out, arguments) as state:
            began = time.perf_counter()
            with seeded(seed, engine=engine, progress=progress, store=state) as run:
                network = Network(engine.place(taught.build()))
                run.network = network
                own = normed or look.norm or getattr(network.module, "norm", None)
                if not isinstance(own, Norm):
                    raise BadArgument(f"no normalisation of {_name(model)} is known; give --norm imagenet, or --norm mean/std")
                _refuse_misfit(network, source.train.prepared(own))
                phase = taught.train(network, source.train[~held].prepared(own))
            network.eval()
            parts = {"test": source.test} | ({"held out": source.train[held]} if holdout_every else {}) | ({"hold-out": source.holdout} if source.holdout is not None else {})
            accuracy = {name: asdict(_accuracy(network, part.prepared(own))) for name, part in parts.items()}
            weights = disk_names(network.module)
            about = {"verb": "train", "recipe": _about_recipe(taught), "data": source.name, "seed": seed, "classes": [], "holdout_every": holdout_every}
            written: dict[str, Any] = records.finite(
                {
                    "schema": "untrain.training/1",
                    "command": command,
                    "recipe": _about_recipe(taught),
                    "seed": seed,
                    "data": {"name": source.name, "sha256": source.sha256, "counts": {"train": int((~held).sum()), "held out": int(held.sum()), "test": len(source.test)}},
                    "model": {"name": _name(model), "parameters": parameters(network.module), "norm": asdict(own)},
                    "run": {
                        "phases": running.phases(Trace.of(phase)),
                        "seconds": time.perf_counter() - began,
                        "passes": run.passes,
                        "peak_memory_bytes": peak_memory(engine),
                    },
                    "environment": running.environment(engine.report()),
                    "accuracy": accuracy,
                }
            )
            if engine.rank == 0:
                files.save_weights(out / WEIGHTS, weights, about)
                written["output"] = {"file": WEIGHTS, "sha256": files.sha256(out / WEIGHTS)}
                files.write(out / TRAINING, records.dumps(written))
        return written
    finally:
        _part(ours)


def unlearn(
    method: Method,
    *,
    model: str,
    data: str,
    forget: str,
    out: Path,
    test: str | None = None,
    holdout: str | None = None,
    size: int | None = None,
    weights: Path | None = None,
    seed: int = 0,
    norm: str | None = None,
    head: str | None = None,
    epochs: int | None = None,
    recipe: str | None = None,
    precision: Precision = "fp32",
    device: str | None = None,
    data_root: Path | None = None,
    progress: Progress = silent,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Make a model forget; writes `model.safetensors` and `record.json`.

    A model that is not of the zoo goes back in the form it came: a transformers folder with its configuration, each
    state dict under its own names; a model card is written beside it.

    Args:
        method: A method with its settings.
        model: Name of a network of the zoo, or `torchvision:NAME`, `timm:NAME`, `hf:FOLDER`, `package.module:function`, `path/nets.py:function`.
        data: What to read, see `given_data`.
        forget: `class:3,5` or `class:cat,dog`; single samples by `index:FILE`, `files:LIST.csv` or `where:COLUMN=VALUE`.
        out: The folder to write.
        test: Other data for testing, or `split:NAME`; a fifth is set aside where there are none.
        holdout: Data that no model was trained on.
        size: Height and width that images are brought to.
        weights: The model's weights, safetensors; the published or bundled ones where none is given.
        seed: Same seed, same bits.
        norm: A normalisation by name or numbers, where it is not to be the network's own.
        head: Name of the head's layer, where it is not the last.
        epochs: Passes of the zoo's recipe, for methods that train anew.
        recipe: `path.py:function` of the user's recipe, for methods that train a model anew that is not of the zoo.
        precision: `fp32`, or `bf16` autocast.
        device: Where to compute.
        data_root: Where the known data and the published checkpoints lie, if not in UNTRAIN_DATA.
        progress: Told of each step.
        say: Told what the user should know.

    Returns:
        The record.
    """
    ours = join_ranks()
    try:
        _refuse_output(out, (weights, data_root, *map(finding.path_of, (data, test, holdout))))
        _refuse_below(epochs=(epochs, 0))
        engine, normed = Engine.of(device, precision), norm_of(norm)
        forgetting.refuse_unknown(forget)
        refuse_unknown(model)
        _say_code(say, model, recipe, data, test, holdout)
        if "recipe" in method.needs:
            _refuse_no_recipe(model, recipe, epochs, name_of(method))
        look = expects(model)
        source = given_data(data, test=test, holdout=holdout, size=size, data_root=data_root, expects=replace(look, norm=normed or look.norm))
        split = split_of(source, forget)
        given = given_model(model, source.classes, weights=weights, norm=norm, data_root=data_root)
        for note in (*source.notes, *given.notes):
            say(note)
        taught = _recipe(model, recipe, source.classes, epochs) if "recipe" in method.needs else None
        if isinstance(taught, foreign_recipe.Recipe):
            foreign_recipe.refuse_other(taught, given.module, given.name)
        running.given_to(method, split, taught)
        arguments = {
            "verb": "unlearn",
            "method": name_of(method),
            "settings": asdict(method),
            "model": given.name,
            "weights": given.sha256,
            "data": source.sha256,
            "forget": list(split.classes) or forgetting.digest(split),
            "size": size,
            "seed": seed,
            "norm": norm,
            "head": head,
            "recipe": _about_recipe(taught) if taught else None,
        } | _machine(engine)
        named_by = flags(model=given.name, **_shown(data, test, holdout), size=size, forget=forgetting.shown(forget), out=out.name, weights=weights.name if weights else None)
        command = ["unlearn", name_of(method), *named_by, *flags(seed=seed or None, norm=norm, head=head)]
        command += flags(epochs=epochs, recipe=_name(recipe)) if taught else []
        command += [*_how(precision, device), *setting_flags(method)]
        with _writing(out, arguments) as state:
            result = running.unlearn(
                given.module, split, method, seed=seed, recipe=taught, norm=given.norm, head=head, device=device, precision=precision, progress=progress, store=state
            )
            about = about_weights(method, source, split, seed) | ({"recipe": _about_recipe(taught)} if taught else {})
            record = records.compose(
                running.describe(result),
                command=command,
                request=request(forget, split),
                model=about_model(given),
                data=about_data(source, split),
                output={"file": WEIGHTS, "sha256": ""},
            )
            if engine.rank == 0:
                # transformers 4 reads no file that does not say that it is PyTorch's.
                files.save_weights(out / WEIGHTS, given.state(result.model), about, {"format": "pt"} if given.beside else {})
                record["output"]["sha256"] = files.sha256(out / WEIGHTS)
                paths = {name: finding.path_of(spec) for name, spec in (("data", data), ("test", test), ("holdout", holdout)) if spec not in zoo_data.KNOWN}
                _note_inputs(out, weights=weights, data_root=data_root, model=_path(model), forget=forgetting.path_of(forget), **paths)
                for name, path in given.beside.items():
                    files.write(out / name, path.read_bytes())
                if _foreign(record):
                    files.write(out / CARD, card(record).encode())
                files.write(out / RECORD, records.dumps(record))
        return record
    finally:
        _part(ours)


def audit(
    run: Path,
    *,
    retrained: Sequence[Path] = (),
    model: str | None = None,
    weights: Path | None = None,
    data: str | None = None,
    test: str | None = None,
    holdout: str | None = None,
    forget: str | None = None,
    data_root: Path | None = None,
    head: str | None = None,
    skip: Sequence[str] = (),
    device: str | None = None,
    show_images: bool = False,
    progress: Progress = silent,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Ask every audit of a run's model, and judge; renews `audits`, `references` and `verdict` of its record.

    Args:
        run: The folder that `unlearn` wrote.
        retrained: Weights of models that never saw the forgotten data.
        model: The original's name with its folder or file, where these no longer lie where they did.
        weights: The original's weights, where they no longer lie where they did.
        data: The data, where they no longer lie where they did.
        test: The test data, likewise.
        holdout: The hold-out data, likewise.
        forget: The list of what was to be forgotten, likewise.
        data_root: Where the known data and the published checkpoints lie, if not in UNTRAIN_DATA.
        head: Name of the head's layer; the one that `unlearn` was given where none is named.
        skip: Audits that are not asked; the record says so.
        device: Where to compute.
        show_images: Whether to put sample images into the record.
        progress: Told of each audit.
        say: Told what the user should know.

    Returns:
        The record.
    """
    engine = Engine.of(device)
    _refuse_audits(skip)
    record = _record(run)
    path = run / record["output"]["file"]
    if not path.is_file() or files.sha256(path) != record["output"]["sha256"]:
        raise BadData(f"{path.name} in {run.name} is not the file that the record was made of (sha256 differs); make the run anew")
    noted = _inputs(run)
    asked = model or _full_name(record["model"]["name"], noted.get("model"))
    specs = {"data": data, "test": test, "holdout": holdout}
    specs = {flag: given or _spec(record, flag, noted.get(flag)) for flag, given in specs.items()}
    _say_code(say, asked, *specs.values())
    data_root = data_root or noted.get("data_root")
    norm = Norm(tuple(record["model"]["norm"]["mean"]), tuple(record["model"]["norm"]["std"])) if record["model"]["norm"] else None
    look, size = expects(asked), _said(record["command"], "--size")
    source = given_data(
        specs["data"], test=specs["test"], holdout=specs["holdout"], size=int(size) if size else None, data_root=data_root, expects=replace(look, norm=norm or look.norm)
    )
    if source.sha256 != record["data"]["sha256"]:
        raise BadData(f"the data {source.name} is not that of the run (sha256 differs); name the data it was made with by --data or --data-root")
    given = given_model(asked, source.classes, weights=weights or noted.get("weights"), data_root=data_root)
    if given.sha256 != record["model"]["sha256"]:
        raise BadData(f"{given.origin} is not the original of the run, {record['model']['origin']} (sha256 differs); name it by --weights")
    split = _split_again(record, source, forget, noted.get("forget"))
    unlearned = _filled(asked, source.classes, path)
    references = [reference(p, asked, source.classes, split) for p in retrained]
    if any(r.sha256 == record["output"]["sha256"] for r in references):
        raise BadArgument("a model named by --retrained is the audited model itself; name models that were trained without the forgotten data")
    with locked(run):
        head = head or _said(record["command"], "--head")
        examine(
            record,
            split,
            unlearned,
            original=given.module,
            references=references,
            norm=norm,
            head=head,
            skip=skip,
            device=str(engine.device),
            show_images=show_images,
            progress=progress,
        )
        if _foreign(record):
            files.write(run / CARD, card(record).encode())
        files.write(run / RECORD, records.dumps(record))
    return record


def convert(source: Path, out: Path, *, network: str | None = None) -> dict[str, Any]:
    """Write a `.pt`, `.pth` or Lightning `.ckpt` as safetensors, read in a process that can do nothing else.

    Args:
        source: The checkpoint.
        out: The file to write, `.safetensors`.
        network: Which part of it, where there are several.

    Returns:
        `file`, `sha256`, `source_sha256`, `tensors`, and `notes` on what was taken and left out.
    """
    _refuse_unwritable(out)
    return asdict(converting.convert(source, out, network=network))


def report(run: Path, out: Path | None = None) -> Path:
    """Draw a record's page; renews a page that was drawn before.

    Args:
        run: The folder of a run.
        out: The file to write; `report.html` in the folder where none is given.

    Returns:
        The page's path.
    """
    from untrain.report.page import render

    record = _record(run)
    page = out or run / PAGE
    if os.path.lexists(page) and not _is_page(page):
        raise BadArgument(f"{page.name} exists and is not a page of untrain's; give another name by -o")
    _refuse_unwritable(page)
    files.write(page, render(record).encode())
    return page


def methods() -> list[dict[str, Any]]:
    """Every method found: its summary, paper, the data it needs, its fields, and its presets."""
    return [
        {
            "name": name,
            "class": cls.__name__,
            "summary": entry.summary,
            "paper": cls.paper,
            "needs": list(cls.needs),
            "draws": cls.draws,
            "settings": asdict(cls()),
            "fields": field_help(cls),
            "presets": {preset: asdict(method) for preset, method in cls.presets.items()},
        }
        for name, entry in found("methods").items()
        for cls in [entry.load()]
    ]


def audits() -> list[dict[str, Any]]:
    """Every audit found: its question, the evidence it needs and what it can use besides, its rows, and its settings."""
    return [
        {
            "name": name,
            "class": cls.__name__,
            "summary": entry.summary,
            "question": cls.question,
            "needs": list(cls.needs),
            "wants": list(cls.wants),
            "rows": {row: asdict(about) for row, about in cls.rows.items()},
            "settings": asdict(cls()),
            "fields": field_help(cls),
        }
        for name, entry in found("audits").items()
        for cls in [entry.load()]
    ]


# What they are made of.


def examine(
    record: dict[str, Any],
    split: Split,
    unlearned: nn.Module,
    *,
    original: nn.Module,
    references: Sequence[Reference] = (),
    norm: Norm | None = None,
    head: str | None = None,
    skip: Sequence[str] = (),
    device: str | None = None,
    show_images: bool = False,
    progress: Progress = silent,
) -> None:
    """Fill a record's `audits`, `references`, `verdict` and `pictures`; the audits to `skip` are listed as left out."""
    subjects: dict[int, auditing.Subject] = {}
    retrained = [r.module for r in references if r.column == "retrained"]
    controls = {r.column: r.module for r in references if r.column != "retrained"}
    asked = [lookup("audits", name)() for name in found("audits") if name not in skip]
    answers = auditing.audit(
        unlearned, split, asked, original=original, retrained=retrained, controls=controls, norm=norm, head=head, device=device, progress=progress, subjects=subjects
    )
    answers += [auditing.unasked(lookup("audits", name)(), "left out by --skip") for name in found("audits") if name in skip]
    record["audits"] = records.finite(answers)
    record["references"] = [{"column": r.column, "file": r.file, "sha256": r.sha256, "about": records.finite(r.about)} for r in references]
    record["verdict"] = records.finite(judge(record["audits"], record["run"]["marks"], what(record["request"])))
    shown = {"original": original, "unlearned": unlearned} | ({"retrained": retrained[0]} if retrained else {}) | controls
    test = running.prepared(unlearned, split, norm).test
    record["pictures"] = records.finite(_pictures(test, split.classes, {column: subjects[id(m)] for column, m in shown.items()})) if show_images else None


def reference(path: Path, model: str, classes: int, split: Split) -> Reference:
    """A retrained model out of a file.

    Raises:
        BadData: it does not fit, or says of itself that it was trained on other data than these without the forgotten.
    """
    module = _filled(model, classes, path)
    with safe_open(path, framework="pt") as file:
        said = (file.metadata() or {}).get("untrain", "{}")
    about: dict[str, Any] = json.loads(said)
    if about.get("method", "retrain") != "retrain":
        raise BadData(f"{path.name} says that it was made by {about['method']}, which does not train anew; name models that never saw the forgotten data")
    if about and not split.classes and about.get("samples") != forgetting.digest(split):
        raise BadData(f"{path.name} does not say that it was trained without the {len(split.forget)} samples that are to be forgotten; name models that never saw these")
    gone = split.classes
    if not set(gone) <= set(about.get("classes", gone)):
        without = f"without the classes {about['classes']}" if about["classes"] else "on all classes"
        raise BadData(f"{path.name} says that it was trained {without}, not without {list(gone)}; name models that never saw these")
    return Reference("retrained", module, path.name, files.sha256(path), about)


def setting_flags(method: Method) -> list[str]:
    """The shortest flags that give these settings: a preset, and the fields that differ from it."""
    cls = type(method)
    mine = asdict(method)

    def differing(base: Method) -> dict[str, Any]:
        return {k: v for k, v in mine.items() if v != getattr(base, k)}

    bases: dict[str | None, Method] = {None: cls()} | dict(cls.presets)
    preset = min(bases, key=lambda p: len(differing(bases[p])))
    return flags(preset=preset, **differing(bases[preset]))


def field_help(cls: type[Any]) -> list[dict[str, Any]]:
    """Fields of a method or an audit: name, type, default, and what the docstring's Args say of them."""
    said: dict[str, str] = {}
    last = None
    _, _, args = (cls.__doc__ or "").partition("Args:\n")
    for line in args.splitlines():
        head, colon, text = line.strip().partition(": ")
        if colon and any(head == f.name for f in fields(cls)):
            said[head], last = text.strip(), head
        elif line.strip() and last:
            said[last] += " " + line.strip()
    return [{"name": f.name, "type": str(f.type), "default": None if f.default is MISSING else f.default, "help": said.get(f.name, "")} for f in fields(cls)]


def about_weights(method: Method, source: Data, split: Split, seed: int) -> dict[str, Any]:
    """What a file of weights says of itself."""
    about = {"method": name_of(method), "settings": asdict(method), "data": source.name, "seed": seed, "classes": list(split.classes)}
    return about if split.classes else about | {"samples": forgetting.digest(split)}


def norm_of(text: str | None) -> Norm | None:
    """A normalisation by name, or by numbers: means, a slash, standard deviations, as in `.485,.456,.406/.229,.224,.225`.

    Raises:
        BadArgument: neither a known name nor such numbers.
    """
    if text is None or text in NORMS:
        return NORMS[text] if text else None
    means, _, stds = text.partition("/")
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in (means, stds))
    except ValueError as error:
        raise BadArgument(f"no normalisation {text!r}; there are {', '.join(NORMS)}, or write mean/std as in .485,.456,.406/.229,.224,.225") from error
    if len(mean) != len(std) or min(std) <= 0 or not all(math.isfinite(v) for v in (*mean, *std)):
        raise BadArgument(f"--norm {text}: as many means as standard deviations, all of them finite and the latter above 0")
    return Norm(mean, std)


def expects(model: str) -> Expects:
    """What a model says of its images (norm, size, crop, class names), before it is built and before data are read.

    Raises:
        BadArgument: no such model in the zoo, and no such name of another source.
        MissingExtra: its library is not installed.
    """
    return Expects() if model in NETWORKS else loading.expects(model)


def given_model(model: str, classes: int, *, weights: Path | None = None, norm: str | Norm | None = None, data_root: Path | None = None) -> Model:
    """A trained model by its name on the command line, of the zoo or of another source, in evaluation mode.

    Args:
        model: A network of the zoo, or `torchvision:NAME`, `timm:NAME`, `hf:FOLDER`, `package.module:function`, `path/nets.py:function`.
        classes: Number of classes of the data.
        weights: A safetensors file.
        norm: A normalisation that goes before the model's own, by name or numbers.
        data_root: Folder of the published checkpoints; UNTRAIN_DATA where none is given.

    Raises:
        BadArgument: no such model or normalisation.
        BadData: no weights at hand, or weights that do not fit.
        MissingExtra: its library is not installed.
    """
    own = norm_of(norm) if isinstance(norm, str) else norm
    refuse_unknown(model)
    given = models.load(model, classes, weights=weights, root=data_root) if model in NETWORKS else loading.load(model, classes, weights=weights)
    return given if own is None else replace(given, expects=replace(given.expects, norm=own))


def refuse_unknown(model: str) -> None:
    """Refuse a name that is neither of the zoo nor of another source.

    Raises:
        BadArgument: it is neither.
    """
    if model not in NETWORKS and naming.named(model) is None:
        raise BadArgument(f"no model {model!r}; there are {', '.join(NETWORKS)}, and {naming.GRAMMAR}")


def given_data(
    data: Any,
    *,
    test: Any = None,
    holdout: Any = None,
    size: int | None = None,
    data_root: Path | None = None,
    expects: Expects | None = None,
) -> Data:
    """Data by name, from files of several kinds, or out of Python; refused where a part is empty.

    Args:
        data: `digits`, `cifar10`, `cifar100`; a folder of class folders, a CSV of paths and labels, parquet, `hf:...`, `torchvision:...`, `package.module:function`,
            `path/data.py:function`; or a Dataset, Samples, or a pair (train, test) of either.
        test: Another of these for testing, or `split:NAME` for a part of the data. Where there is none, a fifth of each class is set aside.
        holdout: The same for samples that no model was trained on; they become the part `holdout` of a split.
        size: Height and width that images are brought to; where none is given, images of one size stay as they are and others take the model's.
        data_root: Where the known data lie, if not in UNTRAIN_DATA.
        expects: What the model says of its images, see `expects`.

    Raises:
        BadArgument: a name that leads nowhere.
        BadData: files that are broken or missing, labels that do not fit, an empty part.
        MissingExtra: a library that is not installed.
    """
    if data_root is not None and not data_root.is_dir():
        raise BadData(f"no folder {data_root} that --data-root could name")
    if isinstance(data, str) and data in zoo_data.KNOWN and size is None:
        found = zoo_data.load(data, data_root)
        if test is not None or holdout is not None:
            more = reading.read((found.train, found.test), test=test, holdout=holdout, expects=expects)
            found = replace(more, name=found.name)
    else:
        found = reading.read(zoo_data.folder_of(data, data_root) or data, test=test, holdout=holdout, size=size, expects=expects)
    if len(found.test) == 0 or len(found.train) == 0:
        raise BadData(f"the data {found.name} has an empty part: {len(found.train)} training and {len(found.test)} test samples; give samples of both")
    return found


def load(data: Any, root: Path | None = None, *, test: Any = None, holdout: Any = None, size: int | None = None, expects: Expects | None = None) -> Data:
    """Data as `given_data` finds them, under its name in Python: `load("photos", test="others", size=224)`.

    Args:
        data: A name, a Dataset, Samples, or a pair (train, test).
        root: Where the known data lie, if not in UNTRAIN_DATA.
        test: Data for testing.
        holdout: Data that no model was trained on.
        size: Height and width that images are brought to.
        expects: What the model says of its images.
    """
    return given_data(data, test=test, holdout=holdout, size=size, data_root=root, expects=expects)


def split_of(data: Data, forget: str) -> Split:
    """The split of data that `class:NAME,NAME`, `index:FILE`, `files:LIST.csv` or `where:COLUMN=VALUE` makes.

    Raises:
        BadArgument: not of this form, or names that fit nothing, several, or everything: how many, and the first.
        BadData: a list that cannot be read.
    """
    return forgetting.split(data, forget)


def source_of(name: str, root: Path | None = None) -> Data:
    """Data by name or folder, see `given_data`."""
    return given_data(name, data_root=root)


def _filled(model: str, classes: int, path: Path) -> nn.Module:
    return given_model(model, classes, weights=path).module


def _foreign(record: dict[str, Any]) -> bool:
    """Whether a record is of a model that is not the zoo's."""
    return ":" in record["model"]["name"]


def _name(model: str | None) -> str | None:
    """A model's or a recipe's name as commands and records say it: without the way to a folder or file."""
    what = naming.named(model) if model is not None and model not in NETWORKS else None
    return what.shown if what else model


def _path(model: str) -> Path | None:
    """The folder or file that a model's name holds."""
    what = naming.named(model) if model not in NETWORKS else None
    return what.path if what else None


def _full_name(shown: str, path: Path | None) -> str:
    """A model's name out of a record, with the folder or file that was noted."""
    what = naming.named(shown) if shown not in NETWORKS else None
    return what.at(path) if what and path is not None else shown


def _say_code(say: Say, *names: str | None) -> None:
    """Say once, before it is done, whose code is run."""
    found = [naming.named(name) for name in names if name is not None and name not in NETWORKS]
    run = dict.fromkeys(what.shown for what in found if what is not None and what.runs_code)
    if run:
        say(naming.RUNS_CODE.format(" and ".join(run)))


AnyRecipe = Recipe | foreign_recipe.Recipe


def _recipe(model: str, name: str | None, classes: int, epochs: int | None) -> AnyRecipe:
    """The user's recipe where one is named, else the zoo's."""
    return recipe_for(model, classes, epochs) if name is None else foreign_recipe.recipe(name, classes)


def _refuse_no_recipe(model: str, name: str | None, epochs: int | None, what: str) -> None:
    if name is None and model not in NETWORKS:
        way = "name a function that gives build() and train(): --recipe path.py:function"
        raise BadArgument(f"{what} trains a network anew, and how {_name(model)} was trained is not known here; {way}")
    if name is not None and epochs is not None:
        raise BadArgument("--epochs is for the zoo's recipes; the one named by --recipe has its own")


def _about_recipe(found: AnyRecipe) -> dict[str, Any]:
    return asdict(found) if isinstance(found, Recipe) else found.about


def request(forget: str, split: Split) -> dict[str, Any]:
    """The `request` of a record; of a list of samples it says how many they are, and a hash of which."""
    names = split.test.names
    made = {"forget": forgetting.shown(forget), "classes": list(split.classes), "names": [names[c] if c < len(names) else str(c) for c in split.classes]}
    return made if split.classes else made | {"count": len(split.forget), "sha256": forgetting.digest(split)}


def about_model(given: Model) -> dict[str, Any]:
    """The `model` of a record."""
    return {
        "name": given.name,
        "origin": given.origin,
        "sha256": given.sha256,
        "parameters": parameters(given.module),
        "norm": asdict(given.norm) if given.norm else None,
    }


def about_data(source: Data, split: Split) -> dict[str, Any]:
    """The `data` of a record."""
    about = {"name": source.name, "sha256": source.sha256, "counts": {name: len(part) for name, part in split.parts.items()}}
    return about | ({"notes": list(source.notes)} if source.notes else {})


def _accuracy(network: Network, samples: Samples) -> auditing.Value:
    logits, labels, _ = predict(network, samples)
    return auditing.counted(logits.argmax(1) == labels)


def _refuse_misfit(network: Network, samples: Samples) -> None:
    x, _ = samples.batch(torch.tensor([0]), device=network.device)
    try:
        with network.frozen(), torch.no_grad():
            network.module(x)
    except (RuntimeError, TypeError, ValueError) as error:
        shape = tuple(x.shape[1:]) if isinstance(x, Tensor) else sorted(x)
        raise BadData(f"the network does not take inputs of shape {shape}: {str(error).splitlines()[0]}; name another model or other data") from error


def _record(run: Path) -> dict[str, Any]:
    if not run.exists():
        raise BadData(f"no folder {run}; give the folder that a run was written to")
    if (run / STATE).is_dir() and not (run / RECORD).is_file():
        raise BadData(f"{run.name} holds a run that has not ended; call it again with the same arguments, and it goes on")
    return records.read(run)


def _said(command: Sequence[str], flag: str) -> str | None:
    return next((b for a, b in pairwise(command) if a == flag), None)


def flags(**values: Any) -> list[str]:
    """Flags of a command line; None is left out, and a truth is `--flag` or `--no-flag`."""
    out: list[str] = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            out.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            out += [f"--{flag}", str(value)]
    return out


def _how(precision: Precision, device: str | None) -> list[str]:
    return flags(precision=None if precision == "fp32" else precision, device=device)


def _shown(data: str, test: str | None, holdout: str | None) -> dict[str, str]:
    """Flags that name data, without the way to a folder or file."""
    given = {"data": data, "test": test, "holdout": holdout}
    return {flag: spec if spec in zoo_data.KNOWN else finding.shown(spec) for flag, spec in given.items() if spec is not None}


def _spec(record: dict[str, Any], flag: str, path: Path | None) -> str | None:
    """A name of data out of a record's command, with the folder or file that was noted."""
    said = _said(record["command"], f"--{flag}") or (record["data"]["name"] if flag == "data" else None)
    return finding.at(said, path) if said is not None and path is not None else said


def _split_again(record: dict[str, Any], source: Data, forget: str | None, noted: Path | None) -> Split:
    """The split that a record was made with.

    Raises:
        BadData: the list of samples is not that of the run, or not there.
    """
    asked = record["request"]
    if asked["classes"]:
        return Split.by_class(source.train, source.test, forget=asked["classes"], **({} if source.holdout is None else {"holdout": source.holdout}))
    kind = asked["forget"].partition(":")[0]
    split = split_of(source, forget or (f"{kind}:{noted}" if noted is not None else asked["forget"]))
    if forgetting.digest(split) != asked["sha256"]:
        raise BadData(
            f"{forgetting.shown(forget or asked['forget'])} does not name the {asked['count']} samples of the run (sha256 differs); name the list by --forget {kind}:FILE"
        )
    return split


def _machine(engine: Engine) -> dict[str, Any]:
    """What else decides the bits, so that a run does not go on under other conditions."""
    return {"device": str(engine.device), "precision": engine.precision, "threads": torch.get_num_threads(), "ranks": engine.world, "torch": torch.__version__}


def _note_inputs(out: Path, **paths: Path | None) -> None:
    noted = {name: os.path.relpath(path.resolve(), out.resolve()) for name, path in paths.items() if path is not None}
    if noted:
        files.write(out / INPUTS, records.dumps(noted))


def _inputs(run: Path) -> dict[str, Any]:
    path = run / INPUTS
    return {name: Path(os.path.normpath(run.resolve() / value)) for name, value in json.loads(path.read_text(encoding="utf-8")).items()} if path.is_file() else {}


def _part(joined: bool) -> None:
    if joined:
        dist.destroy_process_group()


# Pictures.


def _pictures(test: Samples, classes: Sequence[int], shown: dict[str, auditing.Subject], forgotten: int = 12, retained: int = 4) -> list[dict[str, Any]]:
    """A few test images, forgotten ones first, and what each model calls them."""
    gone = torch.isin(test.y, torch.tensor(list(classes)))
    places = torch.arange(len(test))
    rows = [*_first(test, places[gone], forgotten), *_first(test, places[~gone], retained)]
    said = {column: subject.on(test)[0].softmax(1) for column, subject in shown.items()}
    names = test.names or [str(i) for i in range(next(iter(said.values())).shape[1])]
    out = []
    for row in rows:
        source = test.sources[int(test.which[row])]
        pixels = source.raw(test.index[row : row + 1])
        if not isinstance(pixels, Tensor) or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
            return []
        best = {column: int(shares[row].argmax()) for column, shares in said.items()}
        out.append(
            {
                "png": base64.b64encode(png(pixels[0])).decode(),
                "truth": names[int(test.y[row])],
                "said": {column: {"name": names[label], "probability": float(said[column][row, label])} for column, label in best.items()},
            }
        )
    return out


def _first(test: Samples, places: Tensor, n: int) -> list[int]:
    """At most n of these places, evenly from their classes."""
    y = test.y[places]
    labels = torch.unique(y)[:n]
    each = max(1, n // max(1, len(labels)))
    return [p for label in labels for p in places[y == label][:each].tolist()]


def png(pixels: Tensor) -> bytes:
    """An image [1 or 3, h, w] of bytes, or of floats in 0..1, as PNG."""
    grey = pixels.shape[0] == 1
    values = pixels if pixels.dtype == torch.uint8 else (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    _, h, w = values.shape
    lines = b"".join(b"\0" + line.numpy().tobytes() for line in values.permute(1, 2, 0).contiguous().reshape(h, -1))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", w, h, 8, 0 if grey else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


# Folders.


def _refuse_audits(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in found("audits")]
    if unknown:
        raise BadArgument(f"no audit {unknown[0]!r}; there are {', '.join(found('audits'))}")


def _refuse_below(**given: tuple[int | None, int]) -> None:
    for name, (value, least) in given.items():
        if value is not None and value < least:
            raise BadArgument(f"--{name.replace('_', '-')} {value} is too small; give a number from {least} up")


def _refuse_output(out: Path, inputs: Sequence[Path | None]) -> None:
    """Refuse an output that is an input, or that exists and is not a killed run."""
    if not os.path.lexists(out):
        _refuse_unwritable(out)
        return
    if any(p is not None and p.exists() and out.exists() and p.samefile(out) for p in inputs):
        raise BadArgument(f"--out {out.name} is an input of this run; give another folder")
    if not (out / STATE / "arguments.json").is_file():
        raise BadArgument(f"--out {out.name} exists; give another folder, or remove it")


def _refuse_unwritable(path: Path) -> None:
    there = next(p for p in path.absolute().parents if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise Resources(f"{path.name} cannot be written: {there} is {'not writable' if there.is_dir() else 'not a folder'}; give another place")


def _refuse_other_arguments(out: Path, arguments: dict[str, Any]) -> None:
    path = out / STATE / "arguments.json"
    if not path.is_file():
        raise BadArgument(f"--out {out.name} exists; give another folder, or remove it")
    before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(records.dumps(arguments))
    differ = [f"{name} was {json.dumps(before.get(name))} and is {json.dumps(now.get(name))}" for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if differ:
        raise BadArgument(f"--out {out.name} holds a killed run of other arguments: {'; '.join(differ)}; give those, another folder, or remove it")


@contextlib.contextmanager
def _writing(out: Path, arguments: dict[str, Any]) -> Iterator[Path]:
    """The folder of a run that is going on: yields where its state is kept, and clears that when all is done.

    What ends in a refusal leaves nothing behind; what is killed leaves its state. The first rank makes, locks and clears the folder.
    """
    state = out / STATE
    if dist.is_available() and dist.is_initialized():
        first = dist.get_rank() == 0
        if not first:
            dist.barrier()
            yield state
            return
    made = [p for p in (out, *out.absolute().parents) if not p.exists()]
    if not os.path.lexists(out):
        _make(out, arguments)
    try:
        with locked(out):
            _refuse_other_arguments(out, arguments)
            for orphan in [*out.glob(".*.tmp"), *state.glob(".*.tmp")]:
                orphan.unlink()
            if dist.is_available() and dist.is_initialized():
                dist.barrier()
            try:
                yield state
            except (BadArgument, BadData, Diverged):
                shutil.rmtree(state)
                raise
            (state / "arguments.json").unlink()
            shutil.rmtree(state)
    except (BadArgument, BadData, Diverged):
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def _make(out: Path, arguments: dict[str, Any]) -> None:
    """Make the folder with its arguments in it at one stroke, so that a kill leaves either nothing or a run that goes on."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
        try:
            umask = os.umask(0)
            os.umask(umask)
            fresh.chmod(0o777 & ~umask)
            files.write(fresh / STATE / "arguments.json", records.dumps(arguments))
            fresh.rename(out)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        # Where another process made it in the meantime, the lock decides.
        if not out.is_dir():
            raise Resources(f"{out.name} could not be made: {error.strerror or error}; give another place") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; it goes with the process, however that ends.

    Raises:
        Locked: another process holds it.
    """
    path = folder / ".lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise Locked(f"{folder.name} is being written by another process ({file.read().strip() or 'unknown'}); wait for it, or give another folder") from error
        # Between opening and locking its owner may have ended and removed the file.
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise Locked(f"{folder.name} was being written by another process until now; try again")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_page(path: Path) -> bool:
    """Whether a file is a page that `report` drew."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    return b"<title>Unlearning record: " in start
