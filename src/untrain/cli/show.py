"""What the command line shows: progress, tables, values in words, and a demo's story."""

from __future__ import annotations

import fcntl
import io
import json as jsonlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

from untrain.core.errors import Resources
from untrain.core.wording import plain

if TYPE_CHECKING:
    from rich.table import Table

    from untrain.core.engine import Progress


_answers: ContextVar[tuple[TextIO | None] | None] = ContextVar("untrain_answers", default=None)
"""Where a verb's own answers go, while stdout is turned aside."""


@contextmanager
def alone() -> Iterator[None]:
    """What others print while the block runs goes to stderr: stdout is for what the verb says."""
    with _apart() as out:
        token = _answers.set((out,))
        try:
            with redirect_stdout(sys.stderr if sys.stderr is not None else io.StringIO()):
                yield
        finally:
            _answers.reset(token)


@contextmanager
def _apart() -> Iterator[TextIO | None]:
    """Stdout by a number of its own, while the number that all write to who do not ask Python, C libraries and programs that are started, leads to stderr."""
    out = sys.__stdout__
    if out is None or sys.stdout is not out or out.closed or out.fileno() != 1:
        yield sys.stdout
        return
    out.flush()
    # Not a number that a closed stream has left free.
    kept = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        os.dup2(2, 1)
    except OSError:
        silence(out)
    apart = os.fdopen(kept, "w", encoding=out.encoding, errors=out.errors, newline="", buffering=1 if out.line_buffering else -1)
    try:
        yield apart
    except BaseException:
        with suppress(OSError):
            apart.flush()
        raise
    else:
        try:
            apart.flush()
        except BrokenPipeError:
            # What a verb found is told by its exit code, though nobody reads it.
            pass
        except OSError as error:
            raise _unsaid(error) from error
    finally:
        os.dup2(kept, 1)
        silence(apart)
        apart.close()


def _unsaid(error: OSError) -> Resources:
    return Resources(f"what was to be said on stdout could not be written: {error.strerror or error}; see to its place")


def _tell(text: str) -> None:
    try:
        put(text, _out())
    except OSError as error:
        raise _unsaid(error) from error


def put(text: str, stream: TextIO | None) -> None:
    """Write text as the stream can take it: what its encoding lacks is written out, and nothing where it is closed, or where its reader has gone."""
    if stream is not None:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except BrokenPipeError:
            # What a verb found is told by its exit code all the same.
            silence(stream)


def silence(stream: TextIO | None) -> None:
    """Turn a stream that takes no more to where all is taken, or the interpreter's last flush would change the exit code."""
    with suppress(OSError, ValueError):
        if stream is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def first() -> bool:
    """Whether this process speaks: the only one, or the first of several ranks. RANK alone, left over from another run, says nothing."""
    return os.environ.get("WORLD_SIZE", "1") in ("", "1") or os.environ.get("RANK", "0") == "0"


def terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal."""
    return stream is not None and stream.isatty()


def _out() -> TextIO | None:
    held = _answers.get()
    return sys.stdout if held is None else held[0]


@contextmanager
def bars() -> Iterator[Progress]:
    """A progress bar on stderr; nothing where that is no terminal."""
    from untrain.core.engine import silent

    if not terminal(sys.stderr) or not first():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True) as lines:
        task = lines.add_task("", total=None)

        def show(phase: str, step: int, steps: int) -> None:
            lines.update(task, description=phase, completed=step, total=steps)

        yield show


@contextmanager
def steps() -> Iterator[Progress]:
    """What is being done, on stderr: a bar, or where that is no terminal a line for each thing."""
    if terminal(sys.stderr):
        with bars() as progress:
            yield progress
        return
    told: list[str] = []

    def show(phase: str, step: int, steps: int) -> None:
        if step < steps and phase not in told:
            told.append(phase)
            note(f"{step + 1} of {steps}: {phase}")

    yield show


def say(line: str) -> None:
    """A line on stdout; under several ranks the first one says it."""
    if first():
        _tell(plain(line, keep="\n") + "\n")


def where(record: Mapping[str, Any]) -> str:
    """Where a run was computed."""
    device = record["environment"]["device"]
    return "the CPU" if device == "cpu" else str(device)


def note(line: str) -> None:
    """What a user should know, on stderr; under several ranks the first one says it."""
    if first():
        with suppress(OSError, ValueError):
            put(f"untrain: {plain(line)}\n", sys.stderr)


def as_json(value: Any) -> None:
    """A value on stdout, as JSON."""
    say(jsonlib.dumps(value, sort_keys=True, indent=2, allow_nan=False))


def draw(drawn: Table) -> None:
    """A table on stdout, as wide as the terminal."""
    from rich.console import Console

    out = _out()
    if out is not None:
        console = Console(file=out, width=None if terminal(out) else 140)
        with console.capture() as drawing:
            console.print(drawn)
        _tell(drawing.get())


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: bool = True) -> Table:
    """A table; the cells of all columns but the first stand right, or rows have lines between them."""
    from rich.table import Table
    from rich.text import Text

    made = Table(show_lines=not right, header_style="bold")
    for number, head in enumerate(heads):
        made.add_column(Text(plain(head)), justify="right" if right and number else "left")
    for row in rows:
        made.add_row(*(Text(plain(cell, keep="\n")) for cell in row))
    return made


def shown(value: Mapping[str, Any], unit: str) -> str:
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
    return shown(mean, row["unit"])


def side_by_side(record: Mapping[str, Any], only: Sequence[str] = ()) -> Table:
    """The rows of a record's audits by column; several retrained models are shown by their mean."""
    rows = [row for entry in record["audits"] for row in entry["rows"] if not only or row["name"] in only]
    columns = list(dict.fromkeys(["original", "unlearned", "retrained", *(c for row in rows for c in row["values"])]))
    count = record["verdict"]["retrained"]
    heads = ["", *(f"retrained (mean of {count})" if c == "retrained" and count > 1 else c for c in columns)]
    return table(heads, [(row["name"], *(_cell(row, c) for c in columns)) for row in rows])


def method(told: Mapping[str, Any]) -> None:
    """A method's card: what it does, what it is given, its settings, and its presets by what they change."""
    say(f"{told['name']}: {told['summary']}")
    say(f"\n{told['about']}\n")
    say(f"paper: {told['paper'] or 'none'}")
    say(f"is given: {', '.join(told['needs']) or 'nothing'}")
    if told["fields"]:
        draw(table(("setting", "default", "what it is"), [(f"--{f['name'].replace('_', '-')}", str(f["default"]), f["help"]) for f in told["fields"]], right=False))
    for preset, settings in told["presets"].items():
        changed = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items() if value != told["settings"][name])
        say(f"--preset {preset}: {changed or 'the default'}")


def answers(found: Mapping[str, Any]) -> None:
    """What `check` found, question by question."""
    from untrain.evidence.verdict import what

    head, gone, copies, held = found["head"], found["forget"], found["copies"], found["holdout"]
    layer = f"the head {head['layer']!r} answers with {head['width']} classes, the data has {head['classes']}"
    say(f"head: {head['problem'] or layer}{'; ' + head['names'] if head['names'] else ''}")
    say(f"accuracy: {found['accuracy']['sentence']}")
    if found["size"] and found["size"]["sentence"]:
        say(f"size: {found['size']['sentence']}")
    whole = "" if gone["as"] == "classes" else f", of {len(gone['by_class'])} classes"
    say(f"forget: {what(found['request'])}: {gone['count']:,} of {gone['of']:,} samples ({gone['share']:.1%}){whole}")
    if gone["as"] != "classes":
        draw(table(("class", "to forget", "of", "share"), [(r["name"], f"{r['forget']:,}", f"{r['of']:,}", f"{r['share']:.1%}") for r in gone["by_class"][:20]]))
    if copies["skipped"]:
        say(f"copies: not looked for: {copies['skipped']}")
    else:
        seen = ", ".join(f"{part} {n['looked']:,} of {n['of']:,}" for part, n in copies["looked"].items())
        told = f"{copies['exact']} exact and {copies['near']} near (correlation {copies['threshold']} or more over flips and small shifts)"
        many = f", pairs with {copies['images']:,} image{'s' if copies['images'] != 1 else ''}" if copies["images"] else ""
        say(f"copies: {told} stay behind{many}; looked at {seen}")
        say("        crops, turned images and other photographs of the same thing are not found")
        pairs = [(p["kind"], f"{p['correlation']:.3f}", _place(p["forget"]), _place(p["other"])) for p in copies["pairs"][:20]]
        if pairs:
            draw(table(("copy", "correlation", "is to be forgotten", "stays behind"), pairs, right=False))
        if len(copies["pairs"]) > len(pairs):
            listed = "them" if len(copies["pairs"]) == copies["exact"] + copies["near"] else f"{len(copies['pairs']):,} in all"
            say(f"        {copies['exact'] + copies['near'] - len(pairs):,} further pairs: --json lists {listed}, --pages FILE shows pictures")
    say(f"hold-out: {held['count']:,} samples" if held["count"] else "hold-out: none; name one by --holdout")
    for impossible, fact in ((True, "impossible"), (False, "says less")):
        without: dict[str, list[str]] = {}
        for row in held["lacking"]:
            if row["impossible"] == impossible:
                without.setdefault(" and ".join(row["lacks"]), []).append(row["audit"])
        for lacks, audits in without.items():
            say(f"        {fact} without {lacks}: {', '.join(audits)}")
    _fitting(found["methods"])


def _fitting(rows: Sequence[Mapping[str, Any]]) -> None:
    """What the methods that were asked for take, which others fit, which do not, by their reason, and what those that fit doubt."""
    from untrain.checkup.estimate import UNASKED

    timed = [(m["method"], *_cost(m), m["untimed"] or "") for m in rows if m["fits"] and m["untimed"] != UNASKED]
    if timed:
        draw(table(("method", "takes about", "memory", "why not"), timed, right=False))
    others = [m["method"] for m in rows if m["untimed"] == UNASKED]
    if others:
        say(f"{len(others)} other methods take this request too: {', '.join(others)}; --time all times them, --time NAME one")
    reasons: dict[str, list[str]] = {}
    for m in rows:
        if not m["fits"]:
            reasons.setdefault(m["why_not"], []).append(m["method"])
    for why, names in reasons.items():
        say(f"not {', '.join(names)}: {why}")
    for m in rows:
        for doubt in m["doubts"]:
            say(f"{m['method']}: {doubt}")


def _place(called: Mapping[str, Any]) -> str:
    return f"{called['part']}: {called['file'] or called['index']}"


def _cost(row: Mapping[str, Any]) -> tuple[str, str]:
    from untrain.report.markup import seconds, size

    return ("-", "-") if row["seconds"] is None else (seconds(row["seconds"]), size(row["peak_memory_bytes"]))


def story(record: Mapping[str, Any]) -> None:
    """The demo's story in a few lines: a table, what the fake shows, and the verdict."""
    from untrain.evidence.verdict import what
    from untrain.verbs.demo import MASK

    rows = {row["name"]: row for entry in record["audits"] for row in entry["rows"]}
    name = what(record["request"])
    say(f"A classifier of {record['data']['name']} was to forget {name}. UNSIR took {record['run']['seconds']:.1f} s and saw no image of it.")
    draw(side_by_side(record, ("forgotten, test", "retained, test", "one-shot prototype", "head-reset relearning", "relearn time", "relearn time, row reset")))
    accuracy = [f"{_cell(rows[row], column)}" for column in (MASK, "unlearned") for row in ("forgotten, test", "retained, test")]
    say(
        f"The head mask is a fake that only silences {name} in the last layer. Its accuracy is {accuracy[0]} forgotten and {accuracy[1]} retained, the unlearned model's "
        f"{accuracy[2]} and {accuracy[3]}: accuracy cannot tell them apart. Only recovery tells: one image brings back {_cell(rows['one-shot prototype'], MASK)} of {name}."
    )
    say(record["verdict"]["sentence"])
