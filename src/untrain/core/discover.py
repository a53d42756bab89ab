"""Methods and audits are found by looking: a file in the package, or an entry point of an installed one.

Names come from file names, so that listing them imports nothing; loading one imports its module.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from untrain.core.errors import BadArgument


@dataclass(frozen=True)
class Found:
    """A method or an audit that was found, not yet imported.

    Args:
        name: Its name: that of its file or entry point.
        module: The module it lives in.
        kind: `methods` or `audits`.
    """

    name: str
    module: str
    kind: str

    @property
    def summary(self) -> str:
        """First line of its module's docstring, read without importing it."""
        return (ast.get_docstring(ast.parse(self._source())) or "").partition("\n")[0]

    @property
    def prepares(self) -> bool:
        """Whether its file defines a `prepare`, read without importing it: then it has to be there when the original is trained."""
        return "\n    def prepare(" in self._source()

    def _source(self) -> str:
        spec = importlib.util.find_spec(self.module)
        return "" if spec is None or spec.origin is None else Path(spec.origin).read_text(encoding="utf-8")

    def load(self) -> type[Any]:
        """The class: the one method or audit that its module defines."""
        module = importlib.import_module(self.module)
        found = [
            v for v in vars(module).values() if isinstance(v, type) and getattr(v, "found_in", None) == self.kind and v.__module__ == self.module and not v.__name__.startswith("_")
        ]
        if len(found) != 1:
            raise BadArgument(f"{self.module} defines {len(found)} {self.kind}; a file holds one")
        return found[0]


@cache
def found(kind: str) -> dict[str, Found]:
    """All `methods` or all `audits`, by name."""
    package = importlib.import_module(f"untrain.{kind}")
    ours = {m.name: Found(m.name, f"untrain.{kind}.{m.name}", kind) for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
    theirs = {e.name: Found(e.name, e.module, kind) for e in entry_points(group=f"untrain.{kind}")}
    clash = sorted(ours.keys() & theirs.keys())
    if clash:
        raise BadArgument(f"an installed package adds the {kind} {clash}, which untrain has itself")
    return dict(sorted((ours | theirs).items()))


def lookup(kind: str, name: str) -> type[Any]:
    """The method or audit of this name.

    Raises:
        BadArgument: there is none.
    """
    known = found(kind)
    if name not in known:
        raise BadArgument(f"no {kind[:-1]} {name!r}; there are {', '.join(known)}")
    return known[name].load()


def usual(also: Sequence[str] = (), without: Sequence[str] = ()) -> list[str]:
    """Names of the audits that are asked where none is named, in order, those of `also` among them.

    Raises:
        BadArgument: there is no such audit.
    """
    for name in (*also, *without):
        lookup("audits", name)
    return [name for name, entry in found("audits").items() if name not in without and (name in also or not entry.load().by_name)]


def settings(name: str, preset: str | None = None) -> Any:
    """A method by name, in its default or a preset's settings.

    Raises:
        BadArgument: there is no such method or preset.
    """
    cls = lookup("methods", name)
    if preset in (None, "default"):
        return cls()
    if preset not in cls.presets:
        raise BadArgument(f"{name} has no preset {preset!r}; it has {', '.join(['default', *cls.presets])}")
    return cls.presets[preset]


def every_setting() -> dict[str, Any]:
    """Each method in its default and in each preset: `unsir`, `unsir:paper`, ..."""
    out: dict[str, Any] = {}
    for name, entry in found("methods").items():
        cls = entry.load()
        out[name] = cls()
        out |= {f"{name}:{preset}": method for preset, method in cls.presets.items()}
    return out


def name_of(thing: Any) -> str:
    """The name that a method or audit goes by: that of its file."""
    return type(thing).__module__.rpartition(".")[2]
