"""`untrain train` and `untrain prepare`: a network by its recipe, or an original for a method that has to be there when it is trained."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrain.core import files, preparing
from untrain.core import unlearn as running
from untrain.core.audit import Value, counted
from untrain.core.data import Norm, Samples
from untrain.core.discover import name_of
from untrain.core.engine import Engine, Progress, peak_memory, seeded, silent
from untrain.core.errors import BadArgument, BadData
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.preparing import Preparation
from untrain.core.trace import phases
from untrain.core.train import Trace, predict
from untrain.core.wording import called
from untrain.evidence import record as records
from untrain.sources.libraries.transformers_nets import disk_names
from untrain.verbs.about import about_recipe, flags, machine, setting_flags
from untrain.verbs.finishing import room_of
from untrain.verbs.folder import refuse_output, writing
from untrain.verbs.inputs import Inputs, Opened, Say, refuse_below, unsaid
from untrain.verbs.prepared import KEY
from untrain.verbs.ranks import joined
from untrain.verbs.run_files import TRAINING, WEIGHTS, refuse_full
from untrain.zoo.networks import parameters


def train(inputs: Inputs, out: Path, *, holdout_every: int | None = None, progress: Progress = silent, say: Say = unsaid) -> dict[str, Any]:
    """Train a network by its recipe; writes `model.safetensors` and `train.json`.

    Args:
        inputs: What is named: model, data, recipe, seed, and so on.
        out: The folder to write.
        holdout_every: Leave every n-th training sample out and measure on them too.
        progress: Told of each step.
        say: Told what the user should know.

    Returns:
        What stands in `train.json`.
    """
    with joined(), files.watching():
        refuse_output(out, inputs.paths())
        refuse_below(holdout_every=(holdout_every, 2))
        opened = inputs.open(say, trains="train")
        source, engine = opened.data, opened.engine
        opened.tell(say)
        taught, seed = opened.recipe, inputs.seed
        if holdout_every is not None and holdout_every > len(source.train):
            raise BadArgument(f"--holdout-every {holdout_every} leaves none of {len(source.train)} training samples out; give a smaller number")
        held = torch.arange(len(source.train)) % holdout_every == holdout_every - 1 if holdout_every else torch.zeros(len(source.train), dtype=torch.bool)
        arguments = {"verb": "train", "recipe": about_recipe(taught), "data": source.sha256, **inputs.brought, "holdout_every": holdout_every, "seed": seed, "norm": inputs.norm}
        arguments |= {"code": dict(opened.code)} | machine(engine)
        words = inputs.words(after={"forget": {"out": called(out), "epochs": inputs.epochs, "holdout_every": holdout_every}})
        with writing(out, arguments) as state:
            began = time.perf_counter()
            with seeded(seed, engine=engine, progress=progress, store=state) as run:
                network = Network(engine.place(taught.build()), head=inputs.head)
                refuse_full(out, room_of(network.module))
                run.network = network
                own = _norm_of(opened, network)
                # To look is no training.
                run.passes = 0
                phase = taught.train(network, source.train[~held].prepared(own))
            files.refuse_changed()
            spent = {"seconds": time.perf_counter() - began, "passes": run.passes, "peak_memory_bytes": peak_memory(engine)}
            parts = {"held out": source.train[held]} if holdout_every else {}
            written = _described(opened, ["train", *flags(**words)], network, own, parts, {"phases": phases(Trace.of(phase)), **spent}, run.report())
            written["recipe"] = about_recipe(taught)
            about = {"verb": "train", "recipe": about_recipe(taught), "data": source.name, "seed": seed, "classes": [], "holdout_every": holdout_every}
            _write(out, engine, network, about, written)
        return written


def prepare(method: Method, inputs: Inputs, out: Path, *, progress: Progress = silent, say: Say = unsaid) -> dict[str, Any]:
    """Train an original as a method needs it that must be there from the start; writes `model.safetensors`, which says how it was prepared, and `train.json`.

    Args:
        method: The method, with the settings that it is to forget by.
        inputs: What is named: model, data, recipe, seed, and so on.
        out: The folder to write.
        progress: Told of each step.
        say: Told what the user should know.

    Returns:
        What stands in `train.json`.

    Raises:
        BadArgument: a method that takes any trained model, or a network that is named for one that brings its own.
        BadData: data without a test part of its own, whose training samples would be others once one of them is deleted.
    """
    with joined(), files.watching():
        name, asks = name_of(method), "recipe" in (method.prepares or ())
        refuse_output(out, inputs.paths())
        if not asks and method.prepares is not None and inputs.model != name:
            raise BadArgument(
                f"{name} prepares a model of its own, and what it promises is not promised of {inputs.words()['model']}; leave out --model: "
                "where features of a network are wanted, take them from one that never saw the data, and give them as the data"
            )
        opened = replace(inputs.open(say, trains=f"prepare {name}" if asks else None), lasting=True)
        source, engine, seed = opened.data, opened.engine, inputs.seed
        if source.whole is not None:
            raise BadData(
                f"{source.name} has no test part, and a fifth set aside would be another once samples are deleted, so that no second request would fit; name one by --test"
            )
        opened.tell(say)
        taught = opened.recipe if asks else None
        arguments = {"verb": "prepare", "method": name, "settings": asdict(method), "recipe": about_recipe(taught) if taught else None, "data": source.sha256, **inputs.brought}
        arguments |= {"seed": seed, "norm": inputs.norm, "code": dict(opened.code)} | machine(engine)
        words = inputs.words(after={"forget": {"out": called(out), "epochs": inputs.epochs}})
        with writing(out, arguments) as state:
            with torch.random.fork_rng(devices=[]):
                first = Network(engine.place(taught.build() if taught else nn.Identity()), head=inputs.head)
            own = _norm_of(opened, first, fits=taught is not None)
            refuse_full(out, room_of(first.module))
            made = preparing.prepare(
                method,
                source.train,
                recipe=taught,
                seed=seed,
                norm=own if isinstance(own, Norm) else None,
                device=opened.device,
                precision=inputs.precision,
                progress=progress,
                store=state,
            )
            files.refuse_changed()
            network = Network(made.model, head=inputs.head)
            said = Preparation(method, about_recipe(taught) if taught else None, own if isinstance(own, Norm) else None).said
            spent = {"phases": phases(made.trace), "seconds": made.seconds, "passes": made.passes, "peak_memory_bytes": peak_memory(engine)}
            written = _described(opened, ["prepare", name, *flags(**words), *setting_flags(method)], network, own, {}, spent, made.engine)
            written[KEY] = records.finite(said)
            _write(out, engine, network, {"verb": "prepare", "data": source.name, "seed": seed, "classes": [], KEY: said}, written)
        return written


def _norm_of(opened: Opened, network: Network, fits: bool = True) -> Any:
    """The normalisation to train with, once it is seen that the network takes what it gives.

    Raises:
        BadArgument: pixels, and none is known.
        BadData: the network does not take them.
    """
    source = opened.data
    own = opened.norm or opened.expects.norm or getattr(network.module, "norm", None)
    if not isinstance(own, Norm) and getattr(source.train.batch(torch.tensor([0]))[0], "dtype", None) == torch.uint8:
        raise BadArgument(f"no normalisation of {opened.inputs.words()['model']} is known; give --norm imagenet, or --norm mean/std")
    if fits:
        running.width_on(network, source.train.prepared(own))
        if opened.inputs.head is not None:
            # That there is one of this name, before any work is done.
            tuple(network.heads)
    return own


def _described(opened: Opened, command: list[str], network: Network, norm: Any, held: dict[str, Samples], run: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """What stands in `train.json`, but for how it was trained and for the file's hash."""
    source = opened.data
    network.eval()
    parts = {"test": source.test} | held | ({"hold-out": source.holdout} if source.holdout is not None else {})
    away = sum(map(len, held.values()))
    described: dict[str, Any] = records.finite(
        {
            "schema": "untrain.training/1",
            "command": command,
            "seed": opened.inputs.seed,
            "data": {"name": source.name, "sha256": source.sha256, "counts": {"train": len(source.train) - away, "held out": away, "test": len(source.test)}},
            "model": {"name": opened.inputs.words()["model"], "parameters": parameters(network.module), "norm": asdict(norm) if isinstance(norm, Norm) else None},
            "run": run,
            "environment": running.environment(report),
            "accuracy": {name: asdict(_accuracy(network, part.prepared(norm))) for name, part in parts.items()},
            **({"code": dict(opened.code)} if opened.code else {}),
        }
    )
    return described


def _write(out: Path, engine: Engine, network: Network, about: dict[str, Any], written: dict[str, Any]) -> None:
    """Write the weights, and then what was done."""
    if engine.rank == 0:
        files.save_weights(out / WEIGHTS, disk_names(network.module), about)
        written["output"] = {"file": WEIGHTS, "sha256": files.sha256(out / WEIGHTS)}
        files.write(out / TRAINING, records.dumps(written))


def _accuracy(network: Network, samples: Samples) -> Value:
    logits, labels, _ = predict(network, samples)
    return counted(logits.argmax(1) == labels)
