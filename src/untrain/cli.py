"""The command line: a verb for each public function, a flag for each field. Importing it imports no torch."""

from __future__ import annotations

import inspect
import json as jsonlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from cyclopts import App, CycloptsError, Group, Parameter

from untrain.core.discover import found
from untrain.core.errors import BadArgument, UntrainError

if TYPE_CHECKING:
    from rich.table import Table

    from untrain.core.engine import Progress

Precision = Literal["fp32", "bf16"]

Json = Annotated[bool, Parameter(negative=(), help="Answer in JSON on stdout, and with nothing else.")]
MODELS = (
    "digits, resnet20, resnet32, resnet18, allcnn; torchvision:NAME or timm:NAME with --weights; hf:FOLDER or hf:owner/name of transformers; "
    "package.module:function or path/nets.py:function, which runs your code."
)
Model = Annotated[str, Parameter(help=MODELS)]
Data = Annotated[
    str,
    Parameter(
        help="digits, cifar10, cifar100; a folder of class folders (or train/ and test/ of them); labels.csv with path,label; a parquet file or folder; "
        "hf:NAME_OR_FOLDER[:config]; torchvision:NAME; package.module:function or path/data.py:function, which runs your code."
    ),
]
Forget = Annotated[
    str,
    Parameter(
        help="What to forget. Classes by number or name: class:3,5 or class:cat,dog. Single samples: index:FILE (a number a line), files:LIST.csv (file names), where:COLUMN=VALUE."
    ),
]
TestData = Annotated[str | None, Parameter(name="--test", help="Data to test on, where the data has no such part; a fifth is set aside where none is named.")]
HoldoutData = Annotated[str | None, Parameter(name="--holdout", help="Data of the same kind that the model was never trained on.")]
Size = Annotated[int | None, Parameter(help="Height and width that images are brought to; the model's own where they have several sizes.")]
Out = Annotated[Path, Parameter(name=["--out", "-o"], help="Folder to write; refused where it exists, unless it holds a killed run of the same arguments.")]
Weights = Annotated[Path | None, Parameter(help="Weights of the model as .safetensors (`untrain convert` makes them); the zoo's published or bundled ones where none are named.")]
Seed = Annotated[int, Parameter(help="Same seed, same bits.")]
Epochs = Annotated[int | None, Parameter(help="Passes of the zoo's training recipe; its own number where none is given.")]
NormName = Annotated[
    str | None,
    Parameter(name="--norm", help="imagenet, cifar10, cifar100, half, unit, grey, or mean/std as in .485,.456,.406/.229,.224,.225; the model's own where none is named."),
]
RecipeName = Annotated[
    str | None,
    Parameter(name="--recipe", help="How the model was trained, where it is not of the zoo: path.py:function, which gives an object with build() and train(). Runs your code."),
]
HeadName = Annotated[str | None, Parameter(name="--head", help="Name of the head's layer, where it is not the last linear layer or convolution.")]
DataRoot = Annotated[Path | None, Parameter(help="Folder of the known data and published checkpoints; UNTRAIN_DATA where none is named.")]
Device = Annotated[str | None, Parameter(help="cpu, cuda, cuda:1, ...; the CPU where none is named.")]
How = Annotated[Precision, Parameter(help="fp32, or bf16 autocast in training.")]
Retrained = Annotated[
    tuple[Path, ...], Parameter(name="--retrained", consume_multiple=True, negative=(), help="Weights (.safetensors) of models that never saw the forgotten data.")
]
Skip = Annotated[str | None, Parameter(help="Audits to leave out, with commas between; relearn takes longest by far. The record says so.")]
Images = Annotated[bool, Parameter(negative=(), help="Put sample images into the record and the page. They show forgotten data.")]


def demo(
    *,
    data: Annotated[Literal["digits", "cifar10"], Parameter(help="digits, or cifar10 for the published ResNet-20.")] = "digits",
    forget: Forget = "class:3",
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Folder to write; one of an earlier demo is replaced.")] = Path("untrain-demo"),
    retrained: Retrained = (),
    retrain: Annotated[bool, Parameter(negative=(), help="Train a model without the class, where none is at hand. Digits trains five anyhow.")] = False,
    seed: Seed = 0,
    data_root: DataRoot = None,
    json: Json = False,
) -> int:
    """Forget a class of a trained classifier, and show how far that is true."""
    from untrain.demo import demo
    from untrain.runs import PAGE

    with _bars() as progress:
        record = demo(data, forget=forget, out=out, retrained=retrained, retrain=retrain, seed=seed, data_root=data_root, progress=progress)
    if json:
        _json({"page": str(out / PAGE), "record": record})
    else:
        _tell(record)
        print(out / PAGE)
    return 0


def methods(*, json: Json = False) -> int:
    """List the methods, with their presets, papers and the data they need."""
    from untrain.runs import methods

    listed = methods()
    if json:
        _json(listed)
        return 0
    rows = [(m["name"], ", ".join(["default", *m["presets"]]), ", ".join(m["needs"]) or "nothing", f"{m['summary']}\n{m['paper']}") for m in listed]
    _print(_table(("method", "presets", "is given", "what it does, and where it comes from"), rows, right=False))
    return 0


def audits(*, json: Json = False) -> int:
    """List the audits, with their questions and the evidence they need."""
    from untrain.runs import audits

    listed = audits()
    if json:
        _json(listed)
        return 0
    rows = [(a["name"], a["question"], ", ".join([*a["needs"], *(f"({w})" for w in a["wants"])]), "\n".join(a["rows"])) for a in listed]
    _print(_table(("audit", "question", "evidence", "what it measures"), rows, right=False))
    return 0


def train(
    *,
    model: Model,
    data: Data,
    out: Out,
    test: TestData = None,
    holdout: HoldoutData = None,
    size: Size = None,
    epochs: Epochs = None,
    holdout_every: Annotated[int | None, Parameter(help="Leave every n-th training sample out, and measure on them too.")] = None,
    seed: Seed = 0,
    norm: NormName = None,
    recipe: RecipeName = None,
    precision: How = "fp32",
    device: Device = None,
    data_root: DataRoot = None,
    json: Json = False,
) -> int:
    """Train a network by its recipe. A killed training goes on when it is called again."""
    from untrain.runs import TRAINING, train

    with _bars() as progress:
        told = train(
            model,
            data,
            out,
            test=test,
            holdout=holdout,
            size=size,
            epochs=epochs,
            holdout_every=holdout_every,
            seed=seed,
            norm=norm,
            recipe=recipe,
            precision=precision,
            device=device,
            data_root=data_root,
            progress=progress,
            say=_note,
        )
    if json:
        _json(told)
    else:
        shares = ", ".join(f"{part} {_shown(value, 'share')}" for part, value in told["accuracy"].items())
        _say(f"{model} trained on {told['data']['name']} in {told['run']['seconds']:.0f} s; accuracy on {shares}")
        _say(str(out / TRAINING))
    return 0


def _unlearn(
    method: Any,
    *,
    model: Model,
    data: Data,
    forget: Forget,
    out: Out,
    test: TestData = None,
    holdout: HoldoutData = None,
    size: Size = None,
    weights: Weights = None,
    seed: Seed = 0,
    norm: NormName = None,
    head: HeadName = None,
    epochs: Epochs = None,
    recipe: RecipeName = None,
    precision: How = "fp32",
    device: Device = None,
    data_root: DataRoot = None,
    json: Json = False,
) -> int:
    from untrain.evidence.verdict import what
    from untrain.runs import RECORD, unlearn

    with _bars() as progress:
        record = unlearn(
            method,
            model=model,
            data=data,
            forget=forget,
            out=out,
            test=test,
            holdout=holdout,
            size=size,
            weights=weights,
            seed=seed,
            norm=norm,
            head=head,
            epochs=epochs,
            recipe=recipe,
            precision=precision,
            device=device,
            data_root=data_root,
            progress=progress,
            say=_note,
        )
    if json:
        _json(record)
    else:
        marks = "".join(f", {mark}" for mark in record["run"]["marks"])
        _say(f"{record['method']['name']} was to forget {what(record['request'])}: {record['run']['seconds']:.1f} s{marks}")
        if record["run"]["advice"]:
            _say(f"it is {record['run']['marks'][0]}; before running it again: {record['run']['advice']}")
        _say(f"how far it did is not known before `untrain audit {out}`")
        _say(str(out / RECORD))
    return 0


def check(
    *,
    model: Model,
    data: Data,
    forget: Forget,
    weights: Weights = None,
    test: TestData = None,
    holdout: HoldoutData = None,
    size: Size = None,
    norm: NormName = None,
    head: HeadName = None,
    recipe: RecipeName = None,
    device: Device = None,
    data_root: DataRoot = None,
    seconds: Annotated[float, Parameter(help="About how long it may take; what there was no time for is said.")] = 60.0,
    near: Annotated[float | None, Parameter(help="Correlation, up to 1, from which on two images are near-copies; .97 where none is given, .99 below 16 pixels a side.")] = None,
    pages: Annotated[Path | None, Parameter(help="File to write pairs of copies to as pictures; nothing is written without it. It shows forgotten data.")] = None,
    json: Json = False,
) -> int:
    """Look at a model, its data and a request, and change nothing: does it fit, what stays behind, what can be done, and how long it takes."""
    from untrain.checkup import check

    with _bars() as progress:
        found = check(
            model,
            data,
            forget,
            weights=weights,
            test=test,
            holdout=holdout,
            size=size,
            norm=norm,
            head=head,
            recipe=recipe,
            device=device,
            data_root=data_root,
            seconds=seconds,
            near=near,
            pages=pages,
            progress=progress,
            say=_note,
        )
    if json:
        _json(found)
    else:
        _show(found)
        if pages is not None:
            _say(str(pages))
    return 0


def suppress(**given: Any) -> int:
    """Mask classes in the head, so that the model no longer answers with them. It hides, it does not forget."""
    from untrain.core.discover import settings

    done = _unlearn(settings("headonly"), **given)
    if not given.get("json"):
        _say("this is a mask on the answer: the model no longer names what was suppressed, and its features still know it")
    return done


def _as_unlearn(verb: Any, *without: str) -> None:
    """Give a verb the flags of `unlearn`, but for these."""
    shared = [p for p in list(inspect.signature(_unlearn, eval_str=True).parameters.values())[1:] if p.name not in without]
    verb.__signature__ = inspect.Signature(shared, return_annotation=int)
    verb.__annotations__ = {p.name: p.annotation for p in shared}


_as_unlearn(suppress, "epochs", "recipe")


def audit(
    run: Annotated[Path, Parameter(help="Folder that `untrain unlearn` wrote.")],
    *,
    retrained: Retrained = (),
    model: Annotated[str | None, Parameter(help="The original's name with its folder or file, where these no longer lie where they did.")] = None,
    weights: Annotated[Path | None, Parameter(help="The original's weights, where they no longer lie where they did.")] = None,
    data: Annotated[str | None, Parameter(help="The data, where they no longer lie where they did.")] = None,
    test: Annotated[str | None, Parameter(help="The test data, where they no longer lie where they did.")] = None,
    holdout: Annotated[str | None, Parameter(help="The hold-out data, where they no longer lie where they did.")] = None,
    forget: Annotated[str | None, Parameter(help="The list of samples to forget, as index:FILE or files:LIST.csv, where it no longer lies where it did.")] = None,
    data_root: DataRoot = None,
    head: HeadName = None,
    skip: Skip = None,
    device: Device = None,
    show_images: Images = False,
    json: Json = False,
) -> int:
    """Ask every audit of a run's model, and judge. Exits 0 where no trace is found, 3 where one is, 4 where nothing can be said."""
    from untrain.evidence.verdict import EXIT
    from untrain.runs import audit

    with _bars() as progress:
        record = audit(
            run,
            retrained=retrained,
            model=model,
            weights=weights,
            data=data,
            test=test,
            holdout=holdout,
            forget=forget,
            data_root=data_root,
            head=head,
            skip=tuple(name.strip() for name in (skip or "").split(",") if name.strip()),
            device=device,
            show_images=show_images,
            progress=progress,
            say=_note,
        )
    if json:
        _json(record)
    else:
        _print(_side_by_side(record))
        _say(record["verdict"]["sentence"])
    return EXIT[record["verdict"]["code"]]


def report(
    run: Annotated[Path, Parameter(help="Folder of a run.")],
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="The page to write; report.html in the folder where none is named.")] = None,
    json: Json = False,
) -> int:
    """Draw the page of a run's record."""
    from untrain.runs import report

    page = report(run, out)
    if json:
        _json({"page": str(page)})
    else:
        _say(str(page))
    return 0


def convert(
    file: Annotated[Path, Parameter(help="A checkpoint: .pt, .pth, .bin, Lightning's .ckpt, or .safetensors of which a part is wanted.")],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="The .safetensors file to write; refused where it exists.")],
    network: Annotated[str | None, Parameter(help="Which of several networks in it: what the names of its entries begin with, or . for all.")] = None,
    json: Json = False,
) -> int:
    """Turn a pickled checkpoint into safetensors. It is read in a sandbox, and nothing in it is run."""
    from untrain.runs import convert

    made = convert(file, out, network=network)
    if json:
        _json(made)
    else:
        for note in made["notes"]:
            _note(note)
        _say(f"{made['tensors']} tensors, sha256 {made['sha256']}")
        _say(str(out))
    return 0


def app(tokens: Sequence[str] = ()) -> App:
    """The command line. Of the methods only those that the tokens name are imported; the others are listed."""

    def version() -> str:
        from importlib.metadata import version

        return version("untrain")

    root = App(
        name="untrain",
        help="Make a trained model forget, and show how far that is true.",
        help_format="plaintext",
        version=version,
        version_flags=["--version"],
        suppress_keyboard_interrupt=False,
    )
    forget = App(name="unlearn", help="Run a method: one sub-command for each.", help_format="plaintext")
    for name, entry in found("methods").items() if "unlearn" in tokens else ():
        forget.command(_verb(name) if name in tokens else _listed, name=name, help=entry.summary)
    root.command(demo)
    root.command(methods)
    root.command(audits)
    root.command(train)
    root.command(check)
    root.command(forget)
    root.command(suppress)
    root.command(audit)
    root.command(report)
    root.command(convert)
    return root


def _listed() -> int:
    raise AssertionError("a method that is named is loaded")


def _verb(name: str) -> Any:
    """The sub-command of a method: the flags of `unlearn`, `--preset`, and a flag for each of its fields."""
    from untrain.core.discover import lookup, settings
    from untrain.runs import field_help

    cls = lookup("methods", name)
    hints, helped = get_type_hints(cls), field_help(cls)
    group = Group(f"Settings of {cls.__name__}", sort_key=1)
    shared = list(inspect.signature(_unlearn, eval_str=True).parameters.values())[1:]
    if "recipe" not in cls.needs:
        shared = [p for p in shared if p.name not in ("epochs", "recipe")]
    clash = sorted({p.name for p in shared} & {f["name"] for f in helped})
    if clash:
        raise BadArgument(f"{cls.__name__} has fields {clash}, which are flags of every method; give them other names")
    presets = f"Named settings: {', '.join(['default', *cls.presets])}. Flags that are given go before them."
    own = [
        inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, Parameter(help=presets, group=group)]),
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

    def verb(preset: str | None = None, **given: Any) -> int:
        from dataclasses import replace

        chosen = {f["name"]: given.pop(f["name"]) for f in helped if f["name"] in given}
        return _unlearn(replace(settings(name, preset), **chosen), **given)

    loose: Any = verb
    loose.__signature__ = inspect.Signature([*shared, *own], return_annotation=int)
    loose.__annotations__ = {p.name: p.annotation for p in (*shared, *own)}
    return loose


def _constant(value: Any) -> Any:
    return lambda _: str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: what goes wrong is one line on stderr, never a traceback."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _refuse_unknown_method(tokens)
        done = app(tokens)(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return done if isinstance(done, int) else 0
    except CycloptsError as error:
        return _fail(str(error), 2, tokens)
    except UntrainError as error:
        return _fail(str(error), error.exit_code, tokens)
    except KeyboardInterrupt:
        return _fail("interrupted; train and unlearn go on when they are called again with the same arguments", 130, tokens)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}; see to its place, rights and space", 7, tokens)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        return _fail("memory ran out; use smaller batches or a machine with more", 7, tokens)


def _refuse_unknown_method(tokens: Sequence[str]) -> None:
    if tokens[:1] != ["unlearn"] or (len(tokens) > 1 and tokens[1] in ("--help", "-h")):
        return
    known = found("methods")
    if len(tokens) == 1 or tokens[1] not in known:
        named = f"no method {tokens[1]!r}" if len(tokens) > 1 else "no method is named"
        raise BadArgument(f"{named}; there are {', '.join(known)}")


def _fail(message: str, code: int, tokens: Sequence[str]) -> int:
    """One line on stderr; under several ranks the first one says it."""
    line = " ".join(message.split())
    if os.environ.get("RANK", "0") == "0":
        print(jsonlib.dumps({"error": line, "exit": code}) if "--json" in tokens else f"untrain: {line}", file=sys.stderr)
    return code


# Showing.


@contextmanager
def _bars() -> Iterator[Progress]:
    """A progress bar on stderr; nothing where that is no terminal."""
    from untrain.core.engine import silent

    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def show(phase: str, step: int, steps: int) -> None:
            bars.update(task, description=phase, completed=step, total=steps)

        yield show


def _say(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(line)


def _note(line: str) -> None:
    """What a user should know, on stderr; under several ranks the first one says it."""
    if os.environ.get("RANK", "0") == "0":
        print(f"untrain: {line}", file=sys.stderr)


def _json(value: Any) -> None:
    _say(jsonlib.dumps(value, sort_keys=True, indent=2, allow_nan=False))


def _print(table: Table) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: bool = True) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=not right, header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if right and number else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _shown(value: Mapping[str, Any], unit: str) -> str:
    """A value in words: a share in percent, steps as they are, `> 60` where a search ended."""
    number = value["value"]
    if number is None:
        return "-"
    text = f"{number:.1%}" if unit == "share" else f"{number:.0f}" if unit in ("steps", "count") else f"{number:.3f}"
    return f"> {text}" if value["beyond"] else text


def _cell(row: Mapping[str, Any], column: str) -> str:
    values = [v for v in row["values"].get(column, []) if v["value"] is not None]
    if not values:
        return "not at hand" if column == "retrained" else "-"
    mean = {"value": sum(v["value"] for v in values) / len(values), "beyond": any(v["beyond"] for v in values)}
    return _shown(mean, row["unit"])


def _side_by_side(record: Mapping[str, Any], only: Sequence[str] = ()) -> Table:
    """The rows of a record's audits by column; several retrained models are shown by their mean."""
    rows = [row for entry in record["audits"] for row in entry["rows"] if not only or row["name"] in only]
    columns = list(dict.fromkeys(["original", "unlearned", "retrained", *(c for row in rows for c in row["values"])]))
    count = record["verdict"]["retrained"]
    heads = ["", *(f"retrained (mean of {count})" if c == "retrained" and count > 1 else c for c in columns)]
    return _table(heads, [(row["name"], *(_cell(row, c) for c in columns)) for row in rows])


def _show(found: Mapping[str, Any]) -> None:
    """What `check` found, question by question."""
    from untrain.evidence.verdict import what

    head, gone, copies, held = found["head"], found["forget"], found["copies"], found["holdout"]
    layer = f"the head {head['layer']!r} answers with {head['width']} classes, the data has {head['classes']}"
    _say(f"head: {head['problem'] or layer}{'; ' + head['names'] if head['names'] else ''}")
    _say(f"accuracy: {found['accuracy']['sentence']}")
    whole = "" if gone["as"] == "classes" else f", of {len(gone['by_class'])} classes"
    _say(f"forget: {what(found['request'])}: {gone['count']:,} of {gone['of']:,} samples ({gone['share']:.1%}){whole}")
    if gone["as"] != "classes":
        _print(_table(("class", "to forget", "of", "share"), [(r["name"], f"{r['forget']:,}", f"{r['of']:,}", f"{r['share']:.1%}") for r in gone["by_class"][:20]]))
    if copies["skipped"]:
        _say(f"copies: not looked for: {copies['skipped']}")
    else:
        seen = ", ".join(f"{part} {n['looked']:,} of {n['of']:,}" for part, n in copies["looked"].items())
        _say(f"copies: {copies['exact']} exact and {copies['near']} near (correlation {copies['threshold']} or more over flips and small shifts) stay behind; looked at {seen}")
        _say("        crops, turned images and other photographs of the same thing are not found")
        pairs = [(p["kind"], f"{p['correlation']:.3f}", _place(p["forget"]), _place(p["other"])) for p in copies["pairs"][:20]]
        if pairs:
            _print(_table(("copy", "correlation", "is to be forgotten", "stays behind"), pairs, right=False))
        if len(copies["pairs"]) > len(pairs):
            _say(f"        {copies['exact'] + copies['near'] - len(pairs)} further pairs: --json lists them, --pages FILE shows them")
    _say(f"hold-out: {held['count']:,} samples" if held["count"] else "hold-out: none; name one by --holdout")
    for row in held["lacking"]:
        _say(f"        {row['audit']} {'is impossible' if row['impossible'] else 'says less'} without {', '.join(row['lacks'])}")
    rows = [(m["method"], *_cost(m), m["why_not"] or m["untimed"] or "") for m in found["methods"]]
    _print(_table(("method", "takes about", "memory", "why not"), rows, right=False))


def _place(called: Mapping[str, Any]) -> str:
    return f"{called['part']}: {called['file'] or called['index']}"


def _cost(row: Mapping[str, Any]) -> tuple[str, str]:
    from untrain.report.markup import seconds, size

    return ("-", "-") if row["seconds"] is None else (seconds(row["seconds"]), size(row["peak_memory_bytes"]))


def _tell(record: Mapping[str, Any]) -> None:
    """The demo's story in a few lines: a table, what the fake shows, and the verdict."""
    from untrain.demo import MASK
    from untrain.evidence.verdict import what

    rows = {row["name"]: row for entry in record["audits"] for row in entry["rows"]}
    name = what(record["request"])
    _say(f"A classifier of {record['data']['name']} was to forget {name}. UNSIR took {record['run']['seconds']:.1f} s and saw no image of it.")
    _print(_side_by_side(record, ("forgotten, test", "retained, test", "one-shot prototype", "head-reset relearning", "relearn time", "relearn time, row reset")))
    accuracy = [f"{_cell(rows[row], column)}" for column in (MASK, "unlearned") for row in ("forgotten, test", "retained, test")]
    _say(
        f"The head mask is a fake that only silences {name} in the last layer. Its accuracy is {accuracy[0]} forgotten and {accuracy[1]} retained, the unlearned model's "
        f"{accuracy[2]} and {accuracy[3]}: accuracy cannot tell them apart. Only recovery tells: one image brings back {_cell(rows['one-shot prototype'], MASK)} of {name}."
    )
    _say(record["verdict"]["sentence"])
