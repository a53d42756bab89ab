"""Spoken digits: a digit and a speaker forgotten by UNSIR in networks with three exits, judged at every exit beside retrained models.

    python benchmarks/speech.py WORK            # trains, forgets and audits: about half an hour of one core
    python benchmarks/speech.py WORK --only digit
    python benchmarks/speech.py WORK --only wave    # the encoder of raw waves; the hf extra
    python benchmarks/speech.py --tune          # what was tried for the training of that encoder
    python benchmarks/speech.py --picture       # draws docs/speech.png, two recordings as the network's front shows them

Needs the folder UNTRAIN_DATA with fsdd. WORK keeps what was trained, and a later call goes on there; records go to benchmarks/records/speech/.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.network import Network, exits_of
from untrain.core.train import predict
from untrain.evidence import record as records
from untrain.methods.unsir import UNSIR
from untrain.sources import request as forgetting
from untrain.verbs.auditing import audit, filled
from untrain.verbs.given import given_data
from untrain.verbs.inputs import Inputs
from untrain.verbs.pictures import png
from untrain.verbs.reference import reference
from untrain.verbs.training import train
from untrain.verbs.unlearning import unlearn
from untrain.zoo.speech import EXITS, LogMel, SelfDistilled

RECORDS = Path(__file__).resolve().parent / "records" / "speech"
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "speech.png"


@dataclass(frozen=True)
class Task:
    """What a network is trained to tell, and what it is to forget.

    Args:
        label: The column of its classes.
        forget: The class.
        network: The function that builds it.
        recipe: The one that says how it is trained.
        length: Seconds that recordings are cut or padded to.
        models: Retrained models beside it.
    """

    label: str
    forget: str
    network: str = "untrain.zoo.speech:net"
    recipe: str = "untrain.zoo.speech:recipe"
    length: float = 1.0
    models: int = 5


TASKS = {
    "digit": Task("label", "class:3"),
    "speaker": Task("speaker", "class:theo"),
    "wave": Task("label", "class:3", "untrain.zoo.speech:waveform", "speech:shorter", length=0.6, models=2),
}
"""By the name of their records."""


def shorter(classes: int) -> SelfDistilled:
    """How the encoder of raw waves is trained here: a third of the passes of `waveform_recipe`, in the better of the batches that `tune` tries."""
    return SelfDistilled("waveform", classes, epochs=10, lr=0.002, batch=32)


TRIED = tuple(replace(shorter(10), batch=batch) for batch in (64, 32))
"""Recipes of the encoder of raw waves that were tried."""


def tune() -> None:
    """Train each of `TRIED` on the takes from 10 on, at seed 10, and say what of the takes 5 to 9 it names at each exit; no test recording is heard."""
    train, lines = named(TASKS["wave"]).open().data.train, []
    late = torch.tensor([int(take) >= 10 for take in train.columns["take"]])
    fit, scored = train[late], train[~late]
    for recipe in TRIED:
        began = time.process_time()
        with seeded(10) as run:
            network = Network(recipe.build(), head=",".join(EXITS))
            run.network = network
            network.locate(fit.batch(torch.arange(2))[0])
            phase = recipe.train(network, fit)
        line = {"recipe": repr(recipe), "core seconds": round(time.process_time() - began), "last loss": round(phase.losses[-1], 3)}
        lines.append(line | {"recall": {exit: [round(share, 3) for share in _recall(network.module, exit, scored)] for exit in EXITS}})
    (RECORDS / "tuning-wave.json").write_bytes(records.dumps({"trained on": len(fit), "scored on": len(scored), "lines": lines}))


def named(task: Task, **more: Any) -> Inputs:
    """What every command of a task names."""
    return Inputs(
        model=task.network,
        recipe=task.recipe,
        head=",".join(EXITS),
        data=str(Path(os.environ["UNTRAIN_DATA"]) / "fsdd"),
        rate=8000,
        length=task.length,
        label_column=task.label,
        **more,
    )


def forgotten(name: str, work: Path) -> None:
    """Train, retrain, forget and audit; writes the record and what each model answers at each exit."""
    task, here = TASKS[name], work / name
    here.mkdir(parents=True, exist_ok=True)
    original = here / "original" / "model.safetensors"
    if not original.is_file():
        train(named(task), original.parent, say=print)
    asked = named(task, weights=original, forget=task.forget)
    reference(asked, here / "references", models=task.models, say=print)
    run = here / "unsir"
    for out, head in ((run, asked.head), (here / "alone", EXITS[-1])):
        if not (out / "record.json").is_file():
            unlearn(UNSIR(), replace(asked, recipe=None, head=head), out, say=print)
    audit(run, elsewhere={"model": asked.model}, retrained=[here / "references"], say=print)
    record = records.read(run)
    RECORDS.mkdir(parents=True, exist_ok=True)
    (RECORDS / f"{name}.json").write_bytes(records.dumps(record))
    (RECORDS / f"{name}-recall.json").write_bytes(records.dumps(recalls(asked, here, record)))


def recalls(asked: Inputs, here: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Recall of each class at each exit, of each model and of one that forgot at the last exit alone; its mean over retained classes is the unweighted average recall."""
    opened = asked.open()
    data, split = opened.data, forgetting.split(opened.data, asked.asked)
    models = {
        "original": [here / "original"],
        "unlearned": [here / "unsir"],
        "the last exit alone": [here / "alone"],
        "retrained": sorted((here / "references").glob("*.safetensors")),
    }
    found: dict[str, Any] = {}
    for column, paths in models.items():
        found[column] = []
        for path in paths:
            module = filled(asked.model, data.classes, path if path.is_file() else path / "model.safetensors")
            found[column].append({exit: _recall(module, exit, split.test) for exit in exits_of(asked.head)})
    return {"schema": "untrain.speech/1", "record": record["seal"], "classes": list(split.classes), "names": list(data.train.names), "recall": records.finite(found)}


def _recall(module: torch.nn.Module, exit: str, heard: Samples) -> list[float]:
    view = Network(module, head=exit)
    view.locate(heard.batch(torch.arange(2))[0])
    logits, y, _ = predict(view, heard)
    right = logits.argmax(1) == y
    return [float(right[y == c].double().mean()) for c in range(logits.shape[1])]


def picture() -> None:
    """Two recordings of the forgotten digit by two speakers, low bands below, each on its own scale."""
    test = given_data(str(Path(os.environ["UNTRAIN_DATA"]) / "fsdd"), rate=8000, length=0.6).test
    panels = []
    for speaker in ("jackson", "theo"):
        place = next(i for i in range(len(test)) if int(test.y[i]) == 3 and test.columns["speaker"][i] == speaker)
        seen = LogMel()(test.batch(torch.tensor([place]))[0])[0].flip(0)
        panels.append((seen - seen.min()) / (seen.max() - seen.min()))
    # From dark blue over teal to yellow, as bright as the band is strong.
    shades = torch.tensor([[0.27, 0.0, 0.33], [0.13, 0.57, 0.55], [0.99, 0.91, 0.14]])
    painted = [torch.ones(len(panels[0]), 2, 3)]
    for panel in panels:
        t = 2 * panel.clamp(0, 1)
        low = t.floor().clamp(max=1).long()
        painted.append(shades[low] + (t - low)[..., None] * (shades[low + 1] - shades[low]))
    colours = torch.cat([painted[1], painted[0], painted[2]], 1).repeat_interleave(6, 0).repeat_interleave(9, 1)
    PICTURE.write_bytes(png(colours.permute(2, 0, 1)))


def main(arguments: list[str]) -> int:
    """Run what is asked for."""
    if arguments in (["--picture"], ["--tune"]):
        picture() if arguments == ["--picture"] else tune()
        return 0
    if not arguments or arguments[0].startswith("-"):
        print(__doc__)
        return 2
    only = arguments[arguments.index("--only") + 1 :] if "--only" in arguments else list(TASKS)
    for name in only:
        forgotten(name, Path(arguments[0]))
        print(json.dumps(json.loads((RECORDS / f"{name}.json").read_text())["verdict"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
