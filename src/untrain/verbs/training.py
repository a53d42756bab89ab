"""`untrain train`: a network by its recipe."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from untrain.core import files
from untrain.core import unlearn as running
from untrain.core.audit import Value, counted
from untrain.core.data import Norm, Samples
from untrain.core.engine import Progress, peak_memory, seeded, silent
from untrain.core.errors import BadArgument
from untrain.core.network import Network
from untrain.core.trace import phases
from untrain.core.train import Trace, predict
from untrain.evidence import record as records
from untrain.sources.libraries.transformers_nets import disk_names
from untrain.verbs.about import about_recipe, flags, machine
from untrain.verbs.finishing import room_of
from untrain.verbs.folder import refuse_output, writing
from untrain.verbs.inputs import Inputs, Say, refuse_below, unsaid
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
        source, engine, name = opened.data, opened.engine, inputs.words()["model"]
        opened.tell(say)
        taught, seed = opened.recipe, inputs.seed
        if holdout_every is not None and holdout_every > len(source.train):
            raise BadArgument(f"--holdout-every {holdout_every} leaves none of {len(source.train)} training samples out; give a smaller number")
        held = torch.arange(len(source.train)) % holdout_every == holdout_every - 1 if holdout_every else torch.zeros(len(source.train), dtype=torch.bool)
        arguments = {"verb": "train", "recipe": about_recipe(taught), "data": source.sha256, **inputs.brought, "holdout_every": holdout_every, "seed": seed, "norm": inputs.norm}
        arguments |= {"code": dict(opened.code)} | machine(engine)
        words = inputs.words(after={"forget": {"out": out.name, "epochs": inputs.epochs, "holdout_every": holdout_every}})
        with writing(out, arguments) as state:
            began = time.perf_counter()
            with seeded(seed, engine=engine, progress=progress, store=state) as run:
                network = Network(engine.place(taught.build()), head=inputs.head)
                refuse_full(out, room_of(network.module))
                run.network = network
                own = opened.norm or opened.expects.norm or getattr(network.module, "norm", None)
                if not isinstance(own, Norm) and getattr(source.train.batch(torch.tensor([0]))[0], "dtype", None) == torch.uint8:
                    raise BadArgument(f"no normalisation of {name} is known; give --norm imagenet, or --norm mean/std")
                running.width_on(network, source.train.prepared(own))
                if inputs.head is not None:
                    # That there is one of this name, before any work is done.
                    tuple(network.heads)
                # To look is no training.
                run.passes = 0
                phase = taught.train(network, source.train[~held].prepared(own))
            files.refuse_changed()
            network.eval()
            parts = {"test": source.test} | ({"held out": source.train[held]} if holdout_every else {}) | ({"hold-out": source.holdout} if source.holdout is not None else {})
            accuracy = {name: asdict(_accuracy(network, part.prepared(own))) for name, part in parts.items()}
            weights = disk_names(network.module)
            about = {"verb": "train", "recipe": about_recipe(taught), "data": source.name, "seed": seed, "classes": [], "holdout_every": holdout_every}
            written: dict[str, Any] = records.finite(
                {
                    "schema": "untrain.training/1",
                    "command": ["train", *flags(**words)],
                    "recipe": about_recipe(taught),
                    "seed": seed,
                    "data": {"name": source.name, "sha256": source.sha256, "counts": {"train": int((~held).sum()), "held out": int(held.sum()), "test": len(source.test)}},
                    "model": {"name": name, "parameters": parameters(network.module), "norm": asdict(own) if isinstance(own, Norm) else None},
                    "run": {
                        "phases": phases(Trace.of(phase)),
                        "seconds": time.perf_counter() - began,
                        "passes": run.passes,
                        "peak_memory_bytes": peak_memory(engine),
                    },
                    "environment": running.environment(run.report()),
                    "accuracy": accuracy,
                    **({"code": dict(opened.code)} if opened.code else {}),
                }
            )
            if engine.rank == 0:
                files.save_weights(out / WEIGHTS, weights, about)
                written["output"] = {"file": WEIGHTS, "sha256": files.sha256(out / WEIGHTS)}
                files.write(out / TRAINING, records.dumps(written))
        return written


def _accuracy(network: Network, samples: Samples) -> Value:
    logits, labels, _ = predict(network, samples)
    return counted(logits.argmax(1) == labels)
