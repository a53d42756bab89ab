"""What a record says of a model, of data, of a request and of the machine."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from untrain.core.data import Data, Split
from untrain.core.discover import name_of
from untrain.core.engine import Engine
from untrain.core.method import Method
from untrain.core.model import Model
from untrain.sources import request as forgetting
from untrain.verbs.given import AnyRecipe
from untrain.verbs.prepared import KEY
from untrain.zoo.networks import parameters
from untrain.zoo.recipes import Recipe


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


def about_weights(method: Method, source: Data, split: Split, seed: int, given: Model | None = None) -> dict[str, Any]:
    """What a file of weights says of itself; where the model that was given had been prepared, how."""
    about: dict[str, Any] = {"method": name_of(method), "settings": asdict(method), "data": source.name, "seed": seed, "classes": list(split.classes)}
    if given is not None and given.prepared is not None:
        about |= {KEY: given.prepared.after(method).said}
    return about if split.classes else about | {"samples": forgetting.digest(split)}


def about_recipe(found: AnyRecipe) -> dict[str, Any]:
    """What records say of a recipe."""
    return asdict(found) if isinstance(found, Recipe) else dict(found.about)


def machine(engine: Engine) -> dict[str, Any]:
    """What else decides the bits, so that a run does not go on under other conditions."""
    return {
        "device": str(engine.device),
        "precision": engine.precision,
        "threads": torch.get_num_threads(),
        "ranks": engine.world,
        "torch": torch.__version__,
        "untrain": version("untrain"),
    }


def is_foreign(record: dict[str, Any]) -> bool:
    """Whether a record is of a model that is not the zoo's."""
    return ":" in record["model"]["name"]


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


def setting_flags(method: Method) -> list[str]:
    """The shortest flags that give these settings: a preset, and the fields that differ from it."""
    cls = type(method)
    mine = asdict(method)

    def differing(base: Method) -> dict[str, Any]:
        return {k: v for k, v in mine.items() if v != getattr(base, k)}

    bases: dict[str | None, Method] = {None: cls()} | dict(cls.presets)
    preset = min(bases, key=lambda p: len(differing(bases[p])))
    return flags(preset=preset, **differing(bases[preset]))
