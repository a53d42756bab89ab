"""Laws of what a method says of itself: its fields, knobs and repr."""

from __future__ import annotations

import ast
import itertools
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Literal

from untrain.checks.case import Case
from untrain.checks.running import Law, LawBroken, bits_of, shrunk
from untrain.core.errors import BadArgument, Diverged
from untrain.core.files import weights_hash
from untrain.core.method import FAILURES, Method
from untrain.core.unlearn import unlearn
from untrain.verbs.inputs import Inputs


def check_every_field_is_documented(method: Method, case: Case | None = None) -> None:
    """Every field has an entry under `Args:` in its class's docstring, and every entry there is a field."""
    names, told = [f.name for f in fields(method)], documented(type(method))
    missing = [n for n in names if not told.get(n)]
    if missing:
        raise LawBroken(check_every_field_is_documented, method, f"does not say what {', '.join(missing)} is, under Args: in its docstring")
    beyond = [n for n in told if n not in names]
    if beyond:
        raise LawBroken(check_every_field_is_documented, method, f"documents {', '.join(beyond)}, which is no field of it")


def check_the_knobs_that_it_names_are_its_own(method: Method, case: Case | None = None) -> None:
    """Each knob is a number among its fields that goes up or down, for a failure that there is; where it has a rate, each failure has advice."""
    law, failures = check_the_knobs_that_it_names_are_its_own, FAILURES
    for failure, moves in method.knobs.items():
        if failure not in failures:
            raise LawBroken(law, method, f"states knobs for {failure!r}; there are {', '.join(failures)}")
        for name, way in moves.items():
            value = getattr(method, name, None) if name in [f.name for f in fields(method)] else None
            if not isinstance(value, int | float) or isinstance(value, bool) or way not in (-1, 1):
                raise LawBroken(law, method, f"states the knob {name}={way} for {failure}, which is no number of its fields to be raised or lowered")
    for failure in failures:
        own = [f"--{f.name.replace('_', '-')} " for f in fields(method)]
        if any(f.name == "lr" or f.name.endswith("_lr") for f in fields(method)) and not any(flag in method.advice(failure) for flag in own):
            raise LawBroken(law, method, f"advises {method.advice(failure)!r} where it is {failure}, though it has a rate")


def check_a_share_is_at_most_the_whole(method: Method, case: Case | None = None) -> None:
    """A field whose entry says that it is a share of something is refused above 1."""
    for name in [name for name, entry in documented(type(method)).items() if entry.startswith("Share of")]:
        try:
            replace(method, **{name: 1.01})
        except BadArgument:
            continue
        raise LawBroken(check_a_share_is_at_most_the_whole, method, f"takes {name}=1.01, a share of more than the whole; name it in `shares`, or so that it ends in share")


def hold_knobs(law: Law, method: Any, case: Case) -> None:
    """Hold a method to knobs that matter in its own settings: each of them, turned by half as it says, changes the bits.

    Raises:
        LawBroken: one changes nothing.
    """
    before = bits_of(law, method, case)
    for failure, moves in method.knobs.items():
        for name, way in moves.items():
            value = getattr(method, name)
            turned = type(value)(value * (1.5 if way > 0 else 0.5))
            if bits_of(law, replace(method, **{name: turned}), case) == before:
                raise LawBroken(law, method, f"advises to {'raise' if way > 0 else 'lower'} {name} where it is {failure}, and {turned} for {value} changes nothing")


def documented(cls: type[Any]) -> dict[str, str]:
    """What stands under `Args:` in the docstrings of a class and those that it is made from, by field: the first line of each entry."""
    out: dict[str, str] = {}
    for base in cls.__mro__:
        _, _, args = (base.__dict__.get("__doc__") or "").partition("Args:\n")
        for line in args.splitlines():
            entry = re.match(r"\s{8}(\w+): (.*\S)", line)
            if entry:
                out.setdefault(entry[1], entry[2])
            elif line.strip() and not line.startswith(" " * 8):
                break
    return out


OF_A_COMMAND = ("preset", "settings", "out", "json")
"""Flags of every method's command beside the fields of `Inputs`."""


def check_no_field_is_named_as_a_flag_that_all_methods_have(method: Method, case: Case | None = None) -> None:
    """No field is called as a field of `Inputs` is, or as another flag of every method's command; `epochs` is one where it names the recipe."""
    law, of_recipes = check_no_field_is_named_as_a_flag_that_all_methods_have, ("epochs", "recipe")
    taken = {*OF_A_COMMAND, *(f.name for f in fields(Inputs) if "recipe" in method.needs or f.name not in of_recipes)}
    clash = [f.name for f in fields(method) if f.name in taken]
    if clash:
        raise LawBroken(law, method, f"has a field {clash[0]}, which is a flag of every method's command; give it another name")


def check_the_repr_is_python(method: Method, case: Case | None = None) -> None:
    """The repr is a call of the class with literals, and gives an equal method."""
    law, cls = check_the_repr_is_python, type(method)
    try:
        call = ast.parse(repr(method), mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        assert call.func.id == cls.__name__
        again = cls(*map(ast.literal_eval, call.args), **{k.arg or "": ast.literal_eval(k.value) for k in call.keywords})
    except (SyntaxError, ValueError, TypeError, AssertionError) as error:
        raise LawBroken(law, method, f"has a repr that is no call of {cls.__name__} with literals ({error})") from error
    if again != method or type(again) is not cls:
        raise LawBroken(law, method, f"has a repr that makes {again!r}")


def check_every_field_is_used(method: Method, case: Case | None = None) -> None:
    """Every field, changed alone, changes the bits of the method, of its default settings, or of at least one preset."""
    law, bits = check_every_field_is_used, {} if case else _BITS
    cls, case = type(method), case or Case.fresh()
    hints, kinds = typing.get_type_hints(cls), {f.name: f.metadata.get("names") for f in fields(method)}
    settings = [s for s in dict.fromkeys(map(shrunk, [cls(), method, *cls.presets.values()])) if type(s) is cls]
    for name in [f.name for f in fields(method) if f.init]:
        # One other value in each of the settings before a second: a field that matters at all mostly matters in some setting, whatever its value.
        words = _METHODS if kinds[name] == "methods" else [layer for layer, _ in case.model.named_modules() if layer]
        tried = [
            (s, value) for turn in itertools.zip_longest(*([(s, v) for v in _others(hints[name], getattr(s, name), words)] for s in settings)) for s, value in filter(None, turn)
        ]
        if not tried:
            raise LawBroken(
                law,
                method,
                f"has a field {name} of type {hints[name]}, of which no other value is known; number, bool, Literal, the name of a layer or method, or a tuple of them",
            )
        if not any(_matters(law, s, {name: value}, case, bits) for s, value in tried):
            raise LawBroken(law, method, f"never uses {name}: changed alone, it changes no bit of {len(settings)} setting(s)")


_BITS: dict[Method, str] = {}
"""What was found on fresh cases, since a method's presets are each asked for all of them. Nothing is told of a run that ended in an error."""


def _matters(law: Law, method: Method, change: dict[str, Any], case: Case, bits: dict[Method, str]) -> bool:
    try:
        changed = replace(method, **change)
    except BadArgument:
        return False
    if method not in bits:
        bits[method] = bits_of(law, method, case)
    try:
        if changed not in bits:
            model = case.model if changed.prepares is None else replace(case).begun(changed).model
            bits[changed] = weights_hash(unlearn(model, case.split, changed, recipe=case.recipe).model.state_dict())
        return bits[changed] != bits[method]
    except Diverged:
        return False


_METHODS = ("neggrad", "finetune", "nothing")
"""What a field of text that says `metadata={"names": "methods"}` may name; that of others is a layer."""


def _others(hint: Any, value: Any, words: Sequence[str] = ()) -> list[Any]:
    """Other values of a field; text is one of these words."""
    if hint is str:
        return [word for word in words if word != value]
    options = list(typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return [v for v in options if v != value]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return [v for option in options for v in ([None] if option is type(None) else _others(option, 1 if value is None else value, words)) if v != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [v for v in dict.fromkeys([8, 2, 25, value + 1, value // 2, 0]) if v != value]
    if isinstance(value, float):
        return [v for v in dict.fromkeys([value / 2, value * 1.5, 0.1, 0.0]) if v != value]
    if isinstance(value, tuple) and value:
        return [value[:-1], *((v, *value[1:]) for v in _others(type(value[0]), value[0], words))]
    return []
