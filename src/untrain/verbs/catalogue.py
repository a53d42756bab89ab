"""What there is: methods and audits, with their fields and what is said of them."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, asdict, fields
from typing import Any

from untrain.core.discover import Found, found, lookup, settings
from untrain.core.errors import BadArgument
from untrain.core.settings import written


def methods() -> list[dict[str, Any]]:
    """Every method found: its summary, paper, the data it needs, its fields, and its presets."""
    return [_method(name, entry) for name, entry in found("methods").items()]


def one(name: str) -> dict[str, Any]:
    """A method as `methods` lists it, and what its docstring says.

    Raises:
        BadArgument: there is no such method.
    """
    cls = lookup("methods", name)
    told, _, _ = inspect.cleandoc(cls.__doc__ or "").partition("Args:\n")
    return _method(name, found("methods")[name]) | {"about": told.strip()}


def settings_file(name: str | None) -> str:
    """The settings of a method, or of a preset of it (`unsir:paper`), as a file that `untrain unlearn` reads.

    Raises:
        BadArgument: none is named, or there is no such method or preset.
    """
    if name is None:
        raise BadArgument("settings of which method is not said; name one: `untrain methods NAME --toml`")
    method, _, preset = name.partition(":")
    return written(settings(method, preset or None)).rstrip()


def _method(name: str, entry: Found) -> dict[str, Any]:
    cls = entry.load()
    return {
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
            "by_name": cls.by_name,
            "rows": {row: asdict(about) for row, about in cls.rows.items()},
            "settings": asdict(cls()),
            "fields": field_help(cls),
        }
        for name, entry in found("audits").items()
        for cls in [entry.load()]
    ]


def field_help(cls: type[Any]) -> list[dict[str, Any]]:
    """Fields of a method, an audit or another dataclass: name, type, default, and what the docstring's Args say of them."""
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
