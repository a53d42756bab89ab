"""The verbs of the command line. Importing it imports no torch; what a verb does stands in `untrain.verbs`."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from untrain.cli import show
from untrain.cli.before import canaries, convert, prepare, train
from untrain.cli.debias import debias
from untrain.cli.ending import failed, flushed, guarded
from untrain.cli.flags import Also, Images, Json, Out, Retrained, Shadows, Skip, TriggerClass, TriggerName, flags_of, inputs_of, method_verb, named_out, refuse_of_a_run, takes
from untrain.cli.keeping import cache, key, sign
from untrain.cli.ledger import ledger
from untrain.cli.places import meant
from untrain.core.discover import Found, found
from untrain.core.errors import BadArgument, refuse_both
from untrain.core.processors import cap
from untrain.verbs.inputs import Inputs
from untrain.verbs.run_files import PAGE, RECORD


@takes(flags_of(only=("forget", "seed", "data_root"), forget="class:3"), make=dict)
def demo(
    *,
    data: Annotated[Literal["digits", "cifar10"], Parameter(help="digits, or cifar10 for the published ResNet-20.")] = "digits",
    inputs: dict[str, Any],
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Folder to write; one of an earlier demo is replaced.")] = Path("untrain-demo"),
    retrained: Retrained = (),
    retrain: Annotated[bool, Parameter(negative=(), help="Train a model without the class, where none is at hand. Digits trains eight anyhow.")] = False,
    json: Json = False,
) -> int:
    """Forget a class of a trained classifier, and show how far that is true."""
    from untrain.verbs.demo import asked, demo

    with show.bars() as progress:
        record = demo(asked(data, **inputs), out=out, retrained=retrained, retrain=retrain, progress=progress)
    if json:
        show.as_json({"page": str(out / PAGE), "record": record})
    else:
        show.story(record)
        show.say(str(out / PAGE))
    return 0


def methods(
    name: Annotated[str | None, Parameter(help="A method, to see its card: what it does, what it is given, its settings and presets.")] = None,
    /,
    *,
    toml: Annotated[bool, Parameter(negative=(), help="Print its settings as a file for `untrain unlearn NAME --settings FILE`; NAME:PRESET for those of a preset.")] = False,
    json: Json = False,
) -> int:
    """List the methods, with their presets, papers and the data they need; or show one whole."""
    from untrain.verbs.catalogue import methods, one, settings_file

    refuse_both(("--toml", toml, "--json", json, "each is a form of its own"))
    if toml:
        show.say(settings_file(name))
        return 0
    if name is not None:
        told = one(name)
        if json:
            show.as_json(told)
        else:
            show.method(told)
        return 0
    listed = methods()
    if json:
        show.as_json(listed)
        return 0
    rows = [(m["name"], ", ".join(["default", *m["presets"]]), ", ".join(m["needs"]) or "nothing", f"{m['summary']}\n{m['paper']}") for m in listed]
    show.draw(show.table(("method", "presets", "is given", "what it does, and where it comes from"), rows, right=False))
    return 0


def audits(*, json: Json = False) -> int:
    """List the audits, with their questions and the evidence they need."""
    from untrain.verbs.catalogue import audits

    listed = audits()
    if json:
        show.as_json(listed)
        return 0
    rows = [(a["name"] + ("\n(by name)" if a["by_name"] else ""), a["question"], ", ".join([*a["needs"], *(f"({w})" for w in a["wants"])]), "\n".join(a["rows"])) for a in listed]
    show.draw(show.table(("audit", "question", "evidence", "what it measures"), rows, right=False))
    return 0


def unlearn(method: Any, *, inputs: Inputs, out: Out, json: Json = False) -> int:
    """Run a method as it is set."""
    from untrain.evidence.verdict import what
    from untrain.verbs.given import code_of
    from untrain.verbs.unlearning import unlearn

    with show.bars() as progress:
        record = unlearn(method, inputs, out, progress=progress, say=show.note)
    if json:
        show.as_json(record)
    else:
        marks = "".join(f", {mark}" for mark in record["run"]["marks"])
        show.say(f"{record['method']['name']} was to forget {what(record['request'])}: {record['run']['seconds']:.1f} s on {show.where(record)}{marks}")
        if record["run"]["advice"]:
            mark = record["run"]["marks"][0]
            fact = "what was to be forgotten is named as before" if mark == "remembers" else f"it is {mark}"
            show.say(f"{fact}; before running it again: {record['run']['advice']}")
        if (certificate := record["run"].get("certificate")) is not None:
            show.say(f"certified: ({certificate['epsilon']:g}, {certificate['delta']:g}), with {certificate['spent']:.3g} spent of {certificate['budget']:.3g}")
        # Code is run only where the command names it.
        code = [f"--{flag} {quote(getattr(inputs, flag))}" for flag in code_of(vars(inputs)) if flag != "recipe"]
        show.say(f"how far it did is not known before `{' '.join(['untrain audit', quote(str(out)), *code])}`")
        show.say(str(out / RECORD))
    return 0


@takes(flags_of(without=("seed", "epochs", "precision", "redact")))
def check(
    *,
    inputs: Inputs,
    seconds: Annotated[float, Parameter(help="About how long it may take; what there was no time for is said.")] = 60.0,
    time: Annotated[str | None, Parameter(help="Methods to time by a rehearsal, names with commas or all; unsir, scrub, ssd, finetune and retrain where none are named.")] = None,
    near: Annotated[float | None, Parameter(help="Correlation, up to 1, from which on two images are near-copies; .97 where none is given, .99 below 16 pixels a side.")] = None,
    pages: Annotated[Path | None, Parameter(help="File to write pairs of copies to as pictures; nothing is written without it. It shows forgotten data.")] = None,
    json: Json = False,
) -> int:
    """Look at a model, its data and a request, and change nothing: does it fit, what stays behind, what can be done, and how long it takes."""
    from untrain.checkup.estimate import USUAL, named
    from untrain.verbs.checking import check

    timed = USUAL if time is None else named(time)
    with show.steps() as progress:
        found = check(inputs, seconds=seconds, timed=timed, near=near, pages=pages, progress=progress, say=show.note)
    if json:
        show.as_json(found)
    else:
        show.answers(found)
        if pages is not None:
            show.say(str(pages))
    return 0


@takes(flags_of(without=("epochs", "recipe")))
def suppress(*, inputs: Inputs, out: Out, json: Json = False) -> int:
    """Mask classes in the head, so that the model no longer answers with them. It hides, it does not forget."""
    from untrain.core.discover import settings

    done = unlearn(settings("headonly"), inputs=inputs, out=out, json=json)
    if not json:
        show.say("this is a mask on the answer: the model no longer names what was suppressed, and its features still know it")
    return done


@takes(flags_of(without=("redact",)))
def reference(
    *,
    inputs: Inputs,
    models: Annotated[int | None, Parameter(help="How many; 5 where it is not said, which are needed to say that no trace was found; 16 shadows.")] = None,
    shadows: Annotated[
        bool, Parameter(negative=(), help="Train models that saw a random half of what is to be forgotten, and of the hold-out, for attacks that know what each sample changes.")
    ] = False,
    like: Annotated[Path | None, Parameter(help="With --shadows: folder of a run whose method then makes each forget its half (U-LiRA).")] = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder of the models; one in the cache, named by recipe and retained data, where none is named.")] = None,
    cost: Annotated[bool, Parameter(negative=(), help="Say what it takes and what it allows to be claimed, and train nothing.")] = False,
    json: Json = False,
) -> int:
    """Train models that never saw what is to be forgotten, by the recipe of the original. They are kept; a killed call goes on when it is called again."""
    from untrain.verbs.reference import reference

    with show.bars() as progress:
        told = reference(inputs, out, models=models, shadows=shadows, like=like, cost=cost, progress=progress, say=show.note)
    if json:
        show.as_json(told)
    else:
        rows = [(m["file"], "now" if m["trained"] else "before", f"{m['retained']:.1%}") for m in told["models"]]
        if rows:
            show.draw(show.table(("model", "trained", "accuracy on what is retained"), rows))
            show.say(f"untrain audit RUN --{'shadows' if shadows else 'retrained'} {quote(told['folder'])}")
    return 0


@takes(
    flags_of(
        without=("mirror", "seed", "epochs", "recipe", "precision"),
        heading="Of a run: what lies elsewhere now. Of a file: as for unlearn",
    ),
    make=dict,
)
def audit(
    run: Annotated[Path, Parameter(help="Folder that `untrain unlearn` wrote, or a file of weights (.safetensors) that any tool made.")],
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder to write, where a file of weights is audited; its page is drawn there too.")] = None,
    retrained: Retrained = (),
    inputs: dict[str, Any],
    skip: Skip = None,
    also: Also = None,
    shadows: Shadows = None,
    trigger: TriggerName = None,
    trigger_class: TriggerClass = None,
    show_images: Images = False,
    json: Json = False,
) -> int:
    """Ask the audits of a run's model, or of any two checkpoints, and judge. Exits 0 where no trace is found, 3 where one is, 4 where nothing can be said."""
    from untrain.evidence.equivalence import in_words
    from untrain.evidence.kept import kept
    from untrain.evidence.verdict import EXIT
    from untrain.verbs.auditing import audit
    from untrain.verbs.elsewhere import audit_file
    from untrain.verbs.triggering import Planted

    left, more = (tuple(name.strip() for name in (names or "").split(",") if name.strip()) for names in (skip, also))
    refuse_both(
        *((f"--skip {name}", True, f"--also {name}", name in more, "the one leaves out what the other asks") for name in left),
        ("--skip exposure", "exposure" in left, "--shadows", shadows is not None, "shadows are for exposure"),
        ("--skip trigger", "trigger" in left, "--trigger", trigger is not None, "a trigger is for the audit of that name"),
    )
    if trigger is None and trigger_class is not None:
        raise BadArgument("--trigger-class says which class a trigger is to bring about; name the trigger by --trigger")
    planted = None if trigger is None else Planted(trigger, trigger_class)
    with show.bars() as progress:
        how: dict[str, Any] = {
            "retrained": retrained,
            "skip": left,
            "also": more,
            "shadows": shadows,
            "trigger": planted,
            "show_images": show_images,
            "progress": progress,
            "say": show.note,
        }
        if run.suffix != ".safetensors" and (not run.is_file() or run.suffix == ".json"):
            refuse_of_a_run(out=out, **{name: inputs.pop(name) for name in ("size", "rate", "length", "norm", "image_column", "label_column", "columns", "text_column", "redact")})
            record = audit(run, elsewhere=inputs, **how)
        else:
            record = audit_file(run, inputs_of(inputs), named_out(out, run), **how)
    if json:
        show.as_json(record)
    else:
        show.draw(show.side_by_side(record))
        for exit in record.get("exits", ()):
            show.say(f"{exit['name']}: {exit['verdict']['sentence']}")
        for line in filter(None, (record["verdict"]["sentence"], in_words(record), kept(record), "" if out is None else str(out / PAGE))):
            show.say(line)
    return EXIT[record["verdict"]["code"]]


def report(
    run: Annotated[Path, Parameter(help="Folder of a run.")],
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="The page to write; report.html in the folder where none is named.")] = None,
    json: Json = False,
) -> int:
    """Draw the page of a run's record. Exits 5 where the record was edited, and the page says so."""
    from untrain.verbs.reporting import report

    page, edited = report(run, out)
    if json:
        show.as_json({"page": str(page)} | ({"edited": edited} if edited else {}))
    else:
        for fact in edited:
            show.note(f"EDITED: {fact}")
        show.say(str(page))
    return 5 if edited else 0


@takes(
    flags_of(
        without=("size", "rate", "length", "image_column", "label_column", "columns", "text_column", "mirror", "seed", "norm", "epochs", "precision", "redact", "head"),
        heading="Of the run, where it lies elsewhere now, or runs code",
    ),
    make=dict,
)
def verify(
    run: Annotated[Path, Parameter(help="Folder of a run.")],
    *,
    retrained: Retrained = (),
    inputs: dict[str, Any],
    key: Annotated[Path | None, Parameter(help="Public key (.pub) of who is to have signed the record.")] = None,
    replay: Annotated[bool, Parameter(negative=(), help="Run the recorded command again, and compare what it writes byte by byte.")] = False,
    json: Json = False,
) -> int:
    """Make every hash and the verdict of a run again, and compare. Exits 5 where something is not as the run left it."""
    from untrain.verbs.verifying import verify

    def again(command: Sequence[str]) -> int:
        with contextlib.redirect_stdout(io.StringIO()):
            return main(command)

    told = verify(run, retrained=retrained, key=key, elsewhere=inputs, replay=again if replay else None, say=show.note)
    if json:
        show.as_json(told)
    else:
        for look in told["looks"]:
            show.say(f"{look['found']}: {look['what']}: {look['said']}")
        show.say("EDITED: something is not as the run left it" if told["edited"] else "nothing differs in what was looked at")
    return 5 if told["edited"] else 0


def app(tokens: Sequence[str] = ()) -> App:
    """The command line. Of the methods only those that the tokens name are imported; the others are listed."""

    def version() -> str:
        from importlib.metadata import version

        return version("untrain")

    root = App(
        name="untrain",
        help="Make a trained model forget, and show how far that is true. After an error, --debug shows where it came up.",
        help_format="plaintext",
        version=version,
        version_flags=["--version"],
        suppress_keyboard_interrupt=False,
    )
    forget = App(name="unlearn", help="Run a method: one sub-command for each.", help_format="plaintext")
    for name, entry in found("methods").items() if "unlearn" in tokens else ():
        forget.command(guarded(method_verb(name, unlearn)) if name in tokens else _listed, name=name, help=entry.summary)
    ready = App(name="prepare", help="Train the original for a method that has to be there then: one sub-command for each.", help_format="plaintext")
    for name, entry in _preparing().items() if "prepare" in tokens else ():
        verb = guarded(method_verb(name, prepare, without=("forget", "weights", "redact"), prepares=True)) if name in tokens else _listed
        ready.command(verb, name=name, help=entry.summary)
    root.command(guarded(demo))
    root.command(guarded(methods))
    root.command(guarded(audits))
    root.command(guarded(canaries))
    root.command(guarded(train))
    root.command(ready)
    root.command(guarded(check))
    root.command(forget)
    root.command(guarded(suppress))
    root.command(guarded(debias))
    root.command(guarded(reference))
    root.command(guarded(audit))
    root.command(guarded(report))
    root.command(guarded(verify))
    root.command(guarded(key))
    root.command(guarded(sign))
    root.command(guarded(cache))
    root.command(ledger())
    root.command(guarded(convert))
    return root


def _preparing() -> dict[str, Found]:
    """The methods that have to be there when the original is trained."""
    return {name: entry for name, entry in found("methods").items() if entry.prepares}


def _listed() -> int:
    raise AssertionError("a method that is named is loaded")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: what goes wrong is one line on stderr, and a traceback under --debug alone."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    try:
        # Before a method is imported, and torch with it, which counts processors once.
        cap()
        if any("\0" in token for token in tokens):
            raise BadArgument("an argument holds a zero byte, which no name can; leave it out")
        tokens = meant(tokens)
        _refuse_unknown_method(tokens)
        done = app(tokens)(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        code = done if isinstance(done, int) else 0
    except BaseException as error:  # the last wall: nothing that a stranger's file or code can do ends in a traceback, or in 0
        code = failed(error, "--json" in tokens, debug)
    return flushed(code)


def _refuse_unknown_method(tokens: Sequence[str]) -> None:
    if tokens[:1] not in (["unlearn"], ["prepare"]) or (len(tokens) > 1 and tokens[1] in ("--help", "-h")):
        return
    every = found("methods")
    known = every if tokens[0] == "unlearn" else _preparing()
    if len(tokens) == 1 or tokens[1] not in known:
        named = "no method is named" if len(tokens) == 1 else f"no method {tokens[1]!r}"
        if len(tokens) > 1 and tokens[1] in every:
            raise BadArgument(f"{tokens[1]} takes a model however it was trained, so that there is nothing to prepare; those that have to be there then are {', '.join(known)}")
        raise BadArgument(f"{named}; there are {', '.join(known)}")
