"""What every run that makes a model ends with: its weights and what belongs beside them, and the record, sealed and chained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from untrain.core import files
from untrain.evidence import record as records
from untrain.evidence import seal
from untrain.sources.card import CARD, card
from untrain.verbs.about import is_foreign
from untrain.verbs.chaining import chain
from untrain.verbs.folder import note_inputs
from untrain.verbs.given import path_of_name
from untrain.verbs.inputs import Inputs, Opened
from untrain.verbs.private import keep
from untrain.verbs.run_files import RECORD, WEIGHTS


def room_of(module: nn.Module) -> int:
    """Bytes of its weights and what a run keeps of them: a copy, two moments, each of them twice while it is written."""
    return 6 * sum(value.numel() * value.element_size() for value in (*module.parameters(), *module.buffers()))


def weighed(out: Path, record: dict[str, Any], opened: Opened, made: nn.Module, about: dict[str, Any]) -> None:
    """Write the model in the form that the given one came in, and the hashes of its files into the record.

    Args:
        out: The run's folder.
        record: Its record.
        opened: What the run was made of.
        made: The model.
        about: What the weights' file says of itself.
    """
    given = opened.model
    # transformers 4 reads no file that does not say that it is PyTorch's.
    files.save_weights(out / WEIGHTS, given.state(made), about, {"format": "pt"} if given.beside else {})
    record["output"]["sha256"] = files.sha256(out / WEIGHTS)
    for name, path in given.beside.items():
        files.write(out / name, path.read_bytes())
    if given.beside:
        record["output"]["beside"] = {name: files.sha256(out / name) for name in given.beside}
    if is_foreign(record):
        files.write(out / CARD, card(record).encode())


def closed(out: Path, record: dict[str, Any], inputs: Inputs, hidden: dict[str, Any] | None = None) -> dict[str, Any]:
    """The record as it is written: sealed, behind those that came before it.

    Args:
        out: The run's folder.
        record: The record.
        inputs: What the run was asked by; where its files lie is noted beside the record.
        hidden: The request in full, where the record holds its hash alone.
    """
    note_inputs(out, inputs.paths())
    keep(out, hidden)
    record = seal.sealed(record | {"chain": chain(record, out, inputs.weights, path_of_name(inputs.model))})
    files.write(out / RECORD, records.dumps(record))
    return record
