"""Flags: from the fields of `Inputs`, from those of a method, and a few of single verbs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import Group, Parameter

from untrain.core.errors import BadArgument
from untrain.verbs.catalogue import field_help
from untrain.verbs.inputs import Inputs

Json = Annotated[bool, Parameter(negative=(), help="Answer in JSON on stdout, and with nothing else.")]
Out = Annotated[Path, Parameter(name=["--out", "-o"], help="Folder to write; refused where it exists, unless it holds a killed run of the same arguments.")]
Retrained = Annotated[
    tuple[Path, ...],
    Parameter(
        name="--retrained",
        consume_multiple=True,
        negative=(),
        help="Weights (.safetensors) of models that never saw the forgotten data, or a folder of them (`untrain reference`).",
    ),
]
Skip = Annotated[str | None, Parameter(help="Audits to leave out, with commas between; relearn takes longest by far. The record says so.")]
Also = Annotated[str | None, Parameter(help="Audits to ask besides, with commas between: those that take long or decide nothing (`untrain audits` marks them).")]
Shadows = Annotated[Path | None, Parameter(help="Folder of models that saw half of what was forgotten (`untrain reference --shadows`): who is exposed is asked then.")]
TriggerName = Annotated[
    str | None,
    Parameter(
        help="A trigger whose attack is counted on test images: a patch image, which goes into the lower right corner (its transparent pixels leave the image as it is), "
        "or path/file.py:function, which runs your code."
    ),
]
TriggerClass = Annotated[str | None, Parameter(help="Class that the trigger is to bring about; that of the samples to forget, where they are of one.")]
Images = Annotated[bool, Parameter(negative=(), help="Put sample images into the record and the page. They show forgotten data.")]


def flags_of(without: Collection[str] = (), only: Collection[str] = (), heading: str = "", **defaults: Any) -> list[inspect.Parameter]:
    """The flags that stand for fields of `Inputs`.

    Args:
        without: Fields that the verb does not take.
        only: The fields that it takes, where these are few.
        heading: Over the flags of a verb that takes from elsewhere what is not given, so that none is needed.
        defaults: Other defaults than the fields' own.
    """
    hints, said = get_type_hints(Inputs), {field["name"]: field["help"] for field in field_help(Inputs)}
    made = []
    for field in fields(Inputs):
        if field.name in without or (only and field.name not in only):
            continue
        # What a verb that forgets is to forget has no default.
        own = inspect.Parameter.empty if field.default is MISSING or field.name == "forget" else field.default
        default = None if heading else defaults.get(field.name, own)
        hint: Any = hints[field.name] | None if heading else hints[field.name]
        about: dict[str, Any] = {"group": Group(heading, sort_key=1)} if heading else {}
        if hints[field.name] is bool:
            about["negative"] = ()
        annotation = Annotated[hint, Parameter(help=said[field.name], **about)]
        made.append(inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    return made


def takes(flags: Sequence[inspect.Parameter], make: Callable[..., Any] = Inputs) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a verb these flags in the place of its parameter `inputs`, which is what `make` makes of them."""

    def decorated(verb: Callable[..., int]) -> Callable[..., int]:
        def called(*arguments: Any, **given: Any) -> int:
            asked = {flag.name: given.pop(flag.name, flag.default) for flag in flags}
            named = {name: value for name, value in asked.items() if value is not inspect.Parameter.empty}
            return verb(*arguments, inputs=make(**named), **given)

        own = [p for p in inspect.signature(verb, eval_str=True).parameters.values() if p.name != "inputs"]
        first = [p for p in own if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        rest = [p for p in own if p.kind is inspect.Parameter.KEYWORD_ONLY]
        # What has no default stands first in the help.
        together = sorted([*flags, *rest], key=lambda p: p.default is not inspect.Parameter.empty)
        signed(called, [*first, *together], verb.__name__, verb.__doc__)
        return called

    return decorated


def refuse_of_a_run(**given: Any) -> None:
    """Refuse flags that say of a run what its record says.

    Raises:
        BadArgument: one is given.
    """
    named = next((name for name, value in given.items() if value is not None), None)
    if named is not None:
        raise BadArgument(f"--{named.replace('_', '-')} goes with a file of weights; of a run its record says it: leave the flag out")


def inputs_of(given: dict[str, Any]) -> Inputs:
    """The inputs that flags name whose absence means nothing.

    Raises:
        BadArgument: model, data or what was to be forgotten is not named.
    """
    named = {name: value for name, value in given.items() if value is not None}
    lacks = [f"--{name}" for name in ("model", "data", "forget") if name not in named]
    if lacks:
        raise BadArgument(f"a file of weights is audited beside its original and data: name {', '.join(lacks)}, by --weights the original, and --out the folder to write")
    return Inputs(**named)


def named_out(out: Path | None, file: Path) -> Path:
    """The folder to write what is found of a file.

    Raises:
        BadArgument: none is named.
    """
    if out is None:
        raise BadArgument(f"where to write what is found of {file.name} is not said; name a folder by --out")
    return out


def signed(function: Any, parameters: Sequence[inspect.Parameter], name: str, doc: str | None) -> None:
    """Give a function another signature, name and docstring."""
    function.__signature__ = inspect.Signature(parameters, return_annotation=int)
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    function.__name__, function.__doc__ = name, doc


def method_verb(name: str, run: Callable[..., int], without: Collection[str] = (), prepares: bool = False) -> Any:
    """The sub-command of a method: the flags of `Inputs`, `--preset` or `--settings`, and a flag for each of its fields.

    Args:
        name: The method's name.
        run: Called with the method as it is set, the inputs, and the flags of its own.
        without: Fields of `Inputs` that the verb does not take.
        prepares: Whether the verb prepares an original for the method.
    """
    from untrain.core.discover import lookup
    from untrain.verbs.prepared import brings_its_network, settings_in

    cls = lookup("methods", name)
    hints, helped = get_type_hints(cls), field_help(cls)
    group = Group(f"Settings of {cls.__name__}", sort_key=1)
    asks = (cls.prepares or ()) if prepares else cls.needs
    # A model that the method makes by itself goes by the method's name.
    own = {"model": name} if brings_its_network(name) else {}
    shared = flags_of(without=(*without, *(() if "recipe" in asks else ("epochs", "recipe"))), **own)
    others = [p for p in inspect.signature(run, eval_str=True).parameters.values() if p.name not in ("method", "inputs")]
    clash = sorted({"preset", "settings", *(p.name for p in (*shared, *others))} & {f["name"] for f in helped})
    if clash:
        raise BadArgument(f"{cls.__name__} has fields {clash}, which are flags of every method; give them other names")
    presets = f"Named settings: {', '.join(['default', *cls.presets])}. Flags that are given go before them."
    file = "File of settings (TOML), in the place of a preset: `untrain methods NAME --toml` writes one. Flags that are given go before it."
    settable = [
        inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, Parameter(help=presets, group=group)]),
        inspect.Parameter("settings", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, Parameter(help=file, group=group)]),
        *(
            inspect.Parameter(
                f["name"],
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[hints[f["name"]] | None, Parameter(help=f["help"], group=group, show_default=_constant(f["default"]))],
            )
            for f in helped
        ),
    ]

    def verb(inputs: Inputs, preset: str | None = None, settings: Path | None = None, **given: Any) -> int:
        chosen = {f["name"]: given.pop(f["name"]) for f in helped if f["name"] in given}
        # What a model was prepared for, its file says.
        told = settings_in(inputs.weights, name) if cls.prepares is not None and preset is None and settings is None else None
        return run(replace(told or _start(name, preset, settings), **chosen), inputs=inputs, **given)

    signed(verb, [*others, *settable], name, None)
    return takes(shared)(verb)


def _start(name: str, preset: str | None, file: Path | None) -> Any:
    """The method as a preset or a file of settings has it, before flags."""
    from untrain.core.discover import name_of, settings
    from untrain.core.settings import read_settings

    if file is None:
        return settings(name, preset)
    if preset is not None:
        raise BadArgument(f"--settings {file.name} and --preset {preset} are both given; a file says its own preset: leave one out")
    method = read_settings(file)
    if name_of(method) != name:
        raise BadArgument(f"--settings {file.name} is of {name_of(method)}, and {name} is to run; name that method, or another file")
    return method


def _constant(value: Any) -> Any:
    return lambda _: str(value)
