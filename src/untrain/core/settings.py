"""Files of settings: a method, a preset of it and values of its fields, as TOML. Imports no torch by itself.

method = "unsir"
preset = "paper"        # may be left out, for the default

[values]                # what differs from it
impair_lr = 0.01
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from untrain.core import disk
from untrain.core.discover import name_of, settings
from untrain.core.errors import BadArgument, wall

if TYPE_CHECKING:
    from untrain.core.method import Method

KEYS = ("method", "preset", "values")
"""What a file may say."""


def read_settings(path: Path | str) -> Method:
    """A method as a file of settings has it.

    Args:
        path: The file, TOML: `method`, a `preset` where it does not start from the default, and a table `values` of the fields that differ.

    Raises:
        BadData: it cannot be read, or is not TOML.
        BadArgument: it says what no such method has: a key, a method, a preset, a field, or a value that is not of the field's kind.
    """
    path = Path(path)
    with wall(f"the file of settings {path.name}", "`untrain methods NAME --toml` writes one"):
        said = tomllib.loads(disk.text(path))
        odd = [key for key in said if key not in KEYS]
        if odd:
            raise BadArgument(f"{path.name} says {odd[0]!r}; a file of settings says {', '.join(KEYS)}, and fields of the method go under [values]")
        name, preset, values = said.get("method"), said.get("preset"), said.get("values", {})
        if not isinstance(name, str) or not isinstance(preset, str | None) or not isinstance(values, dict):
            raise BadArgument(f'{path.name} is to say method = "NAME", and may say preset = "NAME" and a table [values]')
        return with_values(settings(name, preset), values, path.name)


def with_values(start: Method, values: Mapping[str, Any], where: str) -> Method:
    """A method with values that a file says of its fields.

    Raises:
        BadArgument: a field that it has not, or a value that is not of the field's kind.
    """
    hints, known = get_type_hints(type(start)), [f.name for f in fields(start)]
    odd = [key for key in values if key not in known]
    if odd:
        raise BadArgument(f"{where}: {name_of(start)} has no field {odd[0]!r}; it has {', '.join(known) or 'none'}")
    return replace(start, **{key: _of_kind(value, hints[key], f"{where}: {key}") for key, value in values.items()})


def written(method: Method) -> str:
    """A method's settings as such a file: every value, and so the same whatever defaults become; what is not set (None) is left out, as TOML has no word for it."""
    values = [f"{f.name} = {json.dumps(value)}" for f in fields(method) if (value := getattr(method, f.name)) is not None]
    return "\n".join([f'method = "{name_of(method)}"', *(["", "[values]"] if values else []), *values, ""])


def _of_kind(value: Any, kind: Any, where: str) -> Any:
    """A value as the field holds it: a whole number may stand for a float, and nothing else for anything."""
    if kind is float and type(value) is int:
        return float(value)
    if NoneType in get_args(kind):
        return _of_kind(value, next(k for k in get_args(kind) if k is not NoneType), where)
    choices = get_args(kind)
    if value in choices if choices else type(value) is kind:
        return value
    due = f"one of {', '.join(map(str, choices))}" if choices else {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
    raise BadArgument(f"{where} = {value!r}; give {due}")
