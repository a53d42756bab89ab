"""The verbs of what comes before: canaries for a training that is still to come, the training, and checkpoints turned into safetensors. Importing it imports no torch."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

from cyclopts import Parameter

from untrain.cli import show
from untrain.cli.flags import Json, Out, flags_of, takes
from untrain.verbs.inputs import Inputs
from untrain.verbs.run_files import TRAINING

OF_DATA = ("data", "test", "size", "rate", "length", "image_column", "label_column", "columns", "text_column", "outside", "data_root")
"""Flags that say which data are meant."""


@takes(flags_of(only=OF_DATA), make=dict)
def canaries(
    *,
    inputs: dict[str, Any],
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="File to write: which samples were drawn, and how their coins fell. Keep it from whoever is to be audited.")],
    count: Annotated[int, Parameter(name=["--count", "-m"], help="How many to draw. By 200 a share of .60 is found in 8 of 10 cases.")] = 200,
    seed: Annotated[int | None, Parameter(help="To draw the same again. Whoever knows it knows the coins; the system's own chance where none is given.")] = None,
    model: Annotated[str | None, Parameter(help="The model that is to be trained, where the data are texts: its tokenizer reads them (hf:FOLDER).")] = None,
    json: Json = False,
) -> int:
    """Draw training samples, give each a wrong label and throw a coin for it: for who still trains, so that every later audit has an exact null."""
    from untrain.verbs.drawing import canaries

    told = canaries(out, m=count, seed=seed, model=model, say=show.note, **inputs)
    if json:
        show.as_json(told)
    else:
        show.say(f"{told['canaries']} canaries of {told['data']}; later {0.5 + told['least']:.0%} of their coins guessed would be found in 8 of 10 cases")
        show.say(f"train by --canaries {told['file']}; forget those inside by the same and --forget canaries")
    return 0


def convert(
    file: Annotated[Path, Parameter(help="A checkpoint: .pt, .pth, .bin, Lightning's .ckpt, or .safetensors of which a part is wanted.")],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="The .safetensors file to write; refused where it exists.")],
    network: Annotated[str | None, Parameter(help="Which of several networks in it: what the names of its entries begin with, or . for all.")] = None,
    drop: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=(), help="Entries to leave out: their names, or what these begin with, such as criterion.")] = (),
    json: Json = False,
) -> int:
    """Turn a pickled checkpoint into safetensors. It is read in a sandbox, and nothing in it is run."""
    from untrain.verbs.converting import convert

    made = convert(file, out, network=network, drop=drop)
    if json:
        show.as_json(made)
    else:
        for note in made["notes"]:
            show.note(note)
        show.note(f"it was read behind {made['wall']}")
        show.say(f"{made['tensors']} tensors, sha256 {made['sha256']}")
        show.say(str(out))
    return 0


@takes(flags_of(without=("forget", "weights", "redact")))
def train(
    *,
    inputs: Inputs,
    out: Out,
    holdout_every: Annotated[int | None, Parameter(help="Leave every n-th training sample out, and measure on them too.")] = None,
    json: Json = False,
) -> int:
    """Train a network by its recipe. A killed training goes on when it is called again."""
    from untrain.verbs.training import train

    with show.bars() as progress:
        told = train(inputs, out, holdout_every=holdout_every, progress=progress, say=show.note)
    if json:
        show.as_json(told)
    else:
        show.say(f"{inputs.model} trained on {told['data']['name']} in {told['run']['seconds']:.0f} s on {show.where(told)}; accuracy on {_shares(told)}")
        show.say(str(out / TRAINING))
    return 0


def prepare(method: Any, *, inputs: Inputs, out: Out, json: Json = False) -> int:
    """Train an original for a method as it is set."""
    from untrain.verbs.training import prepare

    with show.bars() as progress:
        told = prepare(method, inputs, out, progress=progress, say=show.note)
    if json:
        show.as_json(told)
    else:
        name = told["prepared"]["method"]
        show.say(f"prepared for {name} on {told['data']['name']} in {told['run']['seconds']:.0f} s on {show.where(told)}; accuracy on {_shares(told)}")
        show.say(
            f"its file holds what {name} has to remember, and is as secret as the data; to forget, beside the same flags of model and data: "
            f"untrain unlearn {name} --weights {quote(str(out / told['output']['file']))} --forget WHAT --out FOLDER"
        )
        show.say(str(out / TRAINING))
    return 0


def _shares(told: dict[str, Any]) -> str:
    return ", ".join(f"{part} {show.shown(value, 'share')}" for part, value in told["accuracy"].items())
