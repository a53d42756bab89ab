"""Runs the cells of a scenario; each writes one record, and a record that is there is not made again.

`--shard i/n` spreads a grid over processes or machines that share a folder; no scheduler of our own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from untrain.bench.scenario import Cell, Scenario, by_class, tagged
from untrain.core import discover, files
from untrain.core.audit import Subject, audit
from untrain.core.data import Data, Split
from untrain.core.errors import BadArgument, Diverged
from untrain.core.unlearn import Result, describe, unlearn
from untrain.evidence import record
from untrain.evidence.listed import judged
from untrain.sources.request import refuse_unknown
from untrain.sources.request import split as requested
from untrain.verbs.about import about_data, about_model, request
from untrain.verbs.auditing import filled
from untrain.verbs.inputs import Inputs, Opened
from untrain.zoo.recipes import Recipe, recipe_for


def reference(scenario: Scenario, forget: str, seed: int) -> Path:
    """Retrain without what a request names by the original's recipe (the zoo's, where it tells none), and keep the weights in half precision with what is known of them.

    Returns:
        The file of weights; one that is there is not made again.

    Raises:
        BadArgument: it names nothing.
    """
    refuse_unknown(forget)
    first = scenario.cells[0]
    path = scenario.folder / "references" / scenario.beside / f"retrain_{tagged(forget)}_s{seed}.safetensors"
    if path.is_file():
        return path
    inputs = scenario.inputs(first)
    opened = replace(inputs, norm=None).open()
    data, model = opened.data, opened.model.module
    split = requested(data, forget)
    recipe = _recipe(inputs, data)
    # Beside the weights: models of other scenarios are retrained without classes of the same numbers.
    state = path.with_name(f".{path.stem}")
    how: dict[str, Any] = {"precision": inputs.precision, "head": inputs.head, "device": opened.device}
    result = unlearn(model, split, discover.settings("retrain"), seed=seed, recipe=recipe, store=state, **how)
    keep_reference(path, result.model, {"recipe": asdict(recipe), "seed": seed, "precision": inputs.precision, "passes": result.passes, "seconds": result.seconds})
    shutil.rmtree(state, ignore_errors=True)
    return path


def keep_reference(path: Path, module: nn.Module, about: dict[str, Any]) -> None:
    """Write a reference's weights, halved, and beside them what is known of it."""
    halved = {k: v.half() if v.is_floating_point() else v for k, v in module.state_dict().items()}
    files.save_weights(path, halved, {})
    files.write(path.with_suffix(".json"), (json.dumps(record.finite(about), indent=1, sort_keys=True) + "\n").encode())


def run(scenario: Scenario, *, shard: tuple[int, int] = (0, 1), say: Callable[[str], None] = print) -> int:
    """Run the cells of this shard that have no record yet; how many that were.

    Args:
        scenario: The grid.
        shard: (i, n): every n-th cell from the i-th.
        say: Told of each cell.

    Raises:
        BadArgument: a shard that is none of n.
    """
    if not 0 <= shard[0] < shard[1]:
        raise BadArgument(f"shard {shard[0]}/{shard[1]} is none: write i/n, with i from 0 to n - 1")
    mine = set(scenario.cells[shard[0] :: shard[1]])
    subjects: dict[int, Subject] = {}
    held: dict[Any, Any] = {}
    count = 0
    for cell in [c for c in scenario.missing() if c in mine]:
        try:
            found = run_cell(cell, scenario, subjects, held)
        except Diverged as error:
            # It writes nothing, as the command line would; the cell stays open, and the table says so.
            say(f"{cell.name}: {error}")
            continue
        files.write(scenario.records / cell.name, record.dumps(found))
        say(f"{cell.name}: {found['verdict']['code']}")
        count += 1
    return count


def run_cell(cell: Cell, scenario: Scenario, subjects: dict[int, Subject], held: dict[Any, Any]) -> dict[str, Any]:
    """Run and audit one cell; what is loaded or measured once is held for the next."""
    inputs = scenario.inputs(cell)
    # What is read does not depend on the seed, nor on what is forgotten.
    opened: Opened = _once(held, replace(inputs, seed=0, forget=None), lambda: replace(inputs, seed=0, forget=None).open())
    data, given = opened.data, opened.model
    model, norm = given.module, given.norm
    split: Split = _once(held, (cell.inputs.data, cell.asked), lambda: requested(data, cell.asked))
    paths = scenario.references(cell.asked)
    retrained = [_once(held, path, partial(filled, inputs.model, data.classes, path)) for path in paths]
    recipe = _recipe(inputs, data) if "recipe" in cell.method.needs else None
    result = _forgotten(cell, opened, recipe, held)
    found = record.compose(
        describe(result),
        command=cell.command,
        request=request(cell.forget, split) | ({"after": list(cell.after)} if cell.after else {}),
        model=about_model(given) | {"sha256": files.weights_hash(model.state_dict())},
        data=about_data(data, split),
        output={"file": "model.safetensors", "sha256": files.weights_hash(result.model.state_dict())},
    )
    found["references"] = [{"column": "retrained", "file": p.name, "sha256": files.sha256(p), "about": _about(p)} for p in paths]
    audits = [discover.lookup("audits", name)() for name in cell.audits or discover.usual()]
    said = audit(result.model, split, audits, original=model, retrained=retrained, norm=norm, head=inputs.head, device=opened.device, subjects=subjects)
    subjects.pop(id(result.model))
    found["audits"] = record.finite(said)
    found["verdict"] = record.finite(judged(found))
    return found


def _forgotten(cell: Cell, opened: Opened, recipe: Recipe | None, held: dict[Any, Any]) -> Result:
    """What the cell's run leaves: in a chain, from what the runs before it left."""
    model, asked = opened.model.module, cell.inputs
    how: dict[str, Any] = {"precision": asked.precision, "norm": opened.model.norm, "head": asked.head, "device": opened.device}

    def run(module: nn.Module, forget: str) -> Result:
        return unlearn(module, requested(opened.data, forget), cell.method, seed=asked.seed, recipe=recipe, **how)

    for i in range(1, len(cell.after) + 1):
        key = (cell.setting, cell.changes, cell.inputs, cell.after[:i])
        if key not in held:
            held[key] = run(model, by_class(cell.after[:i])).model
        model = held[key]
    return run(model, cell.asked)


def _recipe(inputs: Inputs, data: Data) -> Recipe:
    """How the original came about: as is told beside its weights, or by the zoo's recipe."""
    told = _about(inputs.weights).get("recipe") if inputs.weights is not None else None
    return Recipe(**told) if told else recipe_for(inputs.model, data.classes)


def _once(held: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    if key not in held:
        held[key] = make()
    return held[key]


def _about(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    found: dict[str, Any] = json.loads(beside.read_text()) if beside.is_file() else {}
    return found
