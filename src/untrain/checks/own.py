"""A method's own laws and the exceptions that it is granted: those of `of/NAME.py`, NAME the name of the method's file."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from untrain.checks.running import Law, shrunk
from untrain.core.method import Method


@cache
def rooms() -> dict[str, ModuleType]:
    """The files of methods' own laws, by the name of the method."""
    package = importlib.import_module("untrain.checks.of")
    return {found.name: importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)}


def laws_in(room: ModuleType) -> tuple[Law, ...]:
    """The laws that a file defines, in its order."""
    return tuple(value for name, value in vars(room).items() if name.startswith("check_") and value.__module__ == room.__name__)


def own_laws(method: Method) -> tuple[Law, ...]:
    """The laws of this method alone: of its class's file, and of those of the classes that it is made from."""
    return tuple(law for room in _rooms_of(method) for law in laws_in(room))


def exceptions(method: Method) -> dict[Law, str]:
    """The laws that these very settings of a method may break, each with the reason.

    They stand in the method's file of laws, by the name of the preset (`default` for none, `*` for all):
    `EXCEPTIONS = {"notebook": {check_...: "why"}}`.
    """
    named = {"default": type(method)(), **method.presets}
    out: dict[Law, str] = {}
    for room in _rooms_of(method):
        for preset, excused in getattr(room, "EXCEPTIONS", {}).items():
            if preset == "*":
                out |= excused
                continue
            if preset not in named:
                raise KeyError(f"{room.__name__} excuses the preset {preset!r}, which {type(method).__name__} does not have")
            if type(named[preset]) is type(method) and method in (named[preset], shrunk(named[preset])):
                out |= excused
    return out


def _rooms_of(method: Method) -> list[ModuleType]:
    names = [cls.__module__.rpartition(".")[2] for cls in type(method).__mro__ if cls.__module__.startswith("untrain.methods.")]
    return [rooms()[name] for name in dict.fromkeys(names) if name in rooms()]
