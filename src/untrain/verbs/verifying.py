"""`untrain verify`: whether a run's folder is what its run and its audits left, every hash and the verdict made again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from untrain.core import disk
from untrain.core.errors import BadArgument, BadData, MissingExtra, wall
from untrain.core.wording import called
from untrain.evidence import seal
from untrain.report.page import render
from untrain.sources.card import CARD, card
from untrain.verbs.chaining import beside
from untrain.verbs.folder import folder_of, noted_inputs, read_record
from untrain.verbs.inputs import Inputs, Say, unsaid
from untrain.verbs.private import kept
from untrain.verbs.run_files import PAGE, RECORD, WEIGHTS, hashes, weights_in
from untrain.verbs.signing import SIGNATURE, public, signed

DRAWN = {PAGE: "report", CARD: "audit"}
"""What is drawn from a record, and by which verb."""

PLACE = {"data": "data", "original": "weights"}
"""By which flag it is said where a thing lies."""

Replay = Callable[[Sequence[str]], int]
"""Runs a command of untrain's and gives its exit code."""


@dataclass(frozen=True)
class Look:
    """One thing that was looked at.

    Args:
        what: The thing.
        found: `same`, `differs`, or `not looked at`.
        said: What was compared, or why not.
    """

    what: str
    found: Literal["same", "differs", "not looked at"]
    said: str


def verify(
    run: Path,
    *,
    retrained: Sequence[Path] = (),
    key: Path | None = None,
    elsewhere: Mapping[str, Any] | None = None,
    replay: Replay | None = None,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Make every hash and the verdict of a run again, and compare.

    Args:
        run: The folder of a run.
        retrained: Weights that its audit looked at, which lie elsewhere.
        key: The public key of who is to have signed the record; its signature then has to be there.
        elsewhere: Fields of `Inputs` that are other than the record says, see `untrain.verbs.auditing.audit`.
        replay: Runs the record's command again, where that is wanted; what it writes is to be the same to the byte.
        say: Told what the user should know.

    Returns:
        `edited`, whether something differs, and `looks`: what was looked at, each with `what`, `found` and `said`.
    """
    run = folder_of(run)
    record = read_record(run)
    others = {name: value for name, value in (elsewhere or {}).items() if value is not None}
    looks = [_record(run, record), *_signature(run, key)]
    if not any(look.found == "differs" for look in looks):
        looks += [*_written(run, record), *_drawn(run, record), *_chain(run, record), *_references(record, retrained)]
    inputs = None if any(look.found == "differs" for look in looks) else _inputs(run, record, others, looks)
    if inputs is not None:
        looks += _originals(record, inputs, others, say)
    if replay is not None and record["command"][:1] == ["audit"]:
        looks.append(Look("replay", "not looked at", "no run of untrain's made the model"))
    elif replay is not None and record["command"][:1] == ["debias"] and not str(record["request"].get("bias")).startswith("flip:"):
        looks.append(Look("replay", "not looked at", "where its pairs come from is not noted; call untrain debias again yourself, and compare"))
    elif replay is not None:
        looks.append(Look("replay", "not looked at", "what does not stand is not run again") if inputs is None else _replayed(record, inputs, replay))
    return {"run": run.resolve().name, "edited": any(look.found == "differs" for look in looks), "looks": [asdict(look) for look in looks]}


def _record(run: Path, record: dict[str, Any]) -> Look:
    data = disk.read(run / RECORD if run.is_dir() else run)
    facts = seal.edited(record, data)
    if "seal" in record:
        return Look(RECORD, "differs" if facts else "same", "; ".join(facts) or "canonical bytes, its seal, and its verdict by its rows")
    return Look(RECORD, "differs" if facts else "not looked at", "; ".join(facts) or "it has no seal, as records of earlier versions; its verdict is that of its rows")


def _signature(run: Path, key: Path | None) -> Iterator[Look]:
    if key is None:
        if (run / SIGNATURE).is_file():
            yield Look(SIGNATURE, "not looked at", "name the public key of who is to have signed it by --key")
        return
    named = public(key)
    try:
        yield Look(SIGNATURE, "same", f"signed by {named.name}: {signed(run, key)}")
    except BadData as error:
        yield Look(SIGNATURE, "differs", str(error))


def _written(run: Path, record: Mapping[str, Any]) -> Iterator[Look]:
    """The weights, and what their library reads beside them."""
    for name, sha256 in hashes(record).items():
        if not (run / name).is_file() or (name == WEIGHTS and record["output"]["file"] != WEIGHTS):
            yield Look(name, "differs", "not there")
            continue
        same = disk.sha256(run / name) == sha256
        yield Look(name, "same" if same else "differs", "sha256" if same else "sha256 is not that of the record")


def _drawn(run: Path, record: dict[str, Any]) -> Iterator[Look]:
    """What was drawn from the record, where it lies beside it."""
    drawers: dict[str, Callable[[dict[str, Any]], str]] = {PAGE: render, CARD: card}
    for name, draw in drawers.items():
        path = run / name
        if not path.is_file() or (name == CARD and ":" not in record["model"]["name"]):
            continue
        if record["environment"].get("untrain") != version("untrain"):
            yield Look(name, "not looked at", "another version of untrain drew it")
            continue
        drawn = disk.read(path)
        same = drawn == draw(record).encode(errors="backslashreplace")
        before = any(entry["record"].encode() in drawn for entry in seal.chained(record)["audits"])
        if not same and before and seal.digest(record).encode() not in drawn:
            yield Look(name, "not looked at", f"drawn before the last audit; untrain {DRAWN[name]} draws it anew")
            continue
        yield Look(
            name,
            "same" if same else "differs",
            "drawn again from the record" if same else f"it is not drawn from this record; untrain {'report' if name == PAGE else 'audit'} draws it",
        )


def _chain(run: Path, record: Mapping[str, Any]) -> Iterator[Look]:
    """Records before this one, as far as they lie beside it."""
    chain = seal.chained(record)
    at_hand = {found["output"]["sha256"]: (folder.name, found) for folder, found in beside(run)}
    states = {state for _, found in at_hand.values() for state in (seal.digest(found), *(entry["record"] for entry in seal.chained(found)["audits"]))}
    for kind, name in (("attempts", "earlier attempt"), ("requests", "earlier request")):
        for number, entry in enumerate(chain[kind], 1):
            other = at_hand.get(entry.get("output", ""))
            if entry["record"] in states:
                yield Look(f"{name} {number}", "same", f"its record lies beside this one, sha256 {entry['record'][:12]}")
            elif other is not None:
                yield Look(f"{name} {number}", "differs", f"the record in {other[0]} is not the one, and none that it was before, that this one follows")
            else:
                yield Look(f"{name} {number}", "not looked at", f"no record of sha256 {entry['record'][:12]} lies beside this one")


def _references(record: Mapping[str, Any], retrained: Sequence[Path]) -> Iterator[Look]:
    at_hand = {disk.sha256(path): path.name for path in weights_in(retrained)}
    for number, other in enumerate((r for r in record["references"] if r["column"] == "retrained"), 1):
        if other["sha256"] in at_hand:
            yield Look(f"retrained model {number}", "same", f"sha256 of {at_hand[other['sha256']]}")
        elif other["file"] in at_hand.values():
            yield Look(f"retrained model {number}", "differs", f"{other['file']} is not the file that was audited")
        elif other["file"] != "not kept":
            yield Look(f"retrained model {number}", "not looked at", "name its file by --retrained")


def _inputs(run: Path, record: Mapping[str, Any], others: Mapping[str, Any], looks: list[Look]) -> Inputs | None:
    """What the run was made of; None where it is not at hand, or would run code that was not named here."""
    from untrain.verbs.auditing import recorded
    from untrain.verbs.given import code_of

    with wall(f"the record of {called(run)}", "make the run anew"):
        inputs = recorded(record, noted_inputs(run), kept(run, record["request"]["forget"]))
    names = {name: getattr(inputs, name) for name in ("model", "data", "test", "holdout", "unseen") if name not in others}
    names |= {"recipe": _said(record, "recipe")} if "recipe" not in others else {}
    code = [f"--{flag} {what.shown}" for flag, what in code_of(names).items()]
    if code:
        looks.append(Look("original and data", "not looked at", f"the record names code that would run: {', '.join(code)}; name it yourself, and it is"))
        return None
    return replace(inputs, **others)


def _said(record: Mapping[str, Any], name: str) -> str | None:
    """A flag's value in the record's command."""
    command = record["command"]
    return command[command.index(f"--{name}") + 1] if f"--{name}" in command[:-1] else None


def _originals(record: Mapping[str, Any], inputs: Inputs, others: Mapping[str, Any], say: Say) -> Iterator[Look]:
    from untrain.verbs.auditing import refuse_other_classes

    opened = inputs.open(say, code=record.get("code", {}))
    asked: dict[str, tuple[Callable[[], str], Mapping[str, Any]]] = {
        "data": (lambda: opened.data.sha256, record["data"]),
        "original": (lambda: opened.model.sha256, record["model"]),
    }
    for what, (found, said) in asked.items():
        try:
            same = found() == said["sha256"]
        except (BadArgument, BadData, MissingExtra) as error:
            yield Look(what, "not looked at", f"not at hand: {' '.join(str(error).split())[:160]}")
            continue
        if what == "data" and same and "forget" in others and record["request"]["classes"]:
            refuse_other_classes(record, opened)
        yield Look(
            what, "same" if same else "differs", "sha256" if same else f"sha256 is not that of the record; name where they lie by --{'data' if what == 'data' else 'weights'}"
        )


def _replayed(record: Mapping[str, Any], inputs: Inputs, replay: Replay) -> Look:
    """Run the command again, in a folder that is thrown away, with as many threads."""
    import torch

    from untrain.verbs.about import machine

    opened, before = inputs.open(), torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        try:
            torch.set_num_threads(int(record["environment"]["threads"]))
            here = machine(opened.engine)
            code = replay(again(record["command"], inputs, Path(folder) / "run"))
        finally:
            torch.set_num_threads(before)
        other = {name: (record["environment"].get(name), here[name]) for name in ("torch", "device", "threads", "ranks") if record["environment"].get(name) != here[name]}
        where = "; ".join(f"{name} was {then} and is {now}" for name, (then, now) in other.items())
        if code != 0:
            return Look("replay", "not looked at", f"the command ended with {code}")
        path = Path(folder) / "run" / WEIGHTS
        same = path.is_file() and disk.sha256(path) == record["output"]["sha256"]
        if same:
            return Look("replay", "same", f"the recorded command gave the same bytes again{f', although {where}' if where else ''}")
        if where:
            return Look("replay", "not looked at", f"other bytes, on another machine: {where}")
        return Look("replay", "differs", "the recorded command gives other bytes")


ASKED = ("model", "data", "test", "holdout", "unseen", "canaries", "forget", "weights", "recipe")
"""Flags whose value in a command is a name without the way to it."""


def again(command: Sequence[str], inputs: Inputs, out: Path) -> list[str]:
    """A record's command with the places where things lie.

    Args:
        command: Arguments after `untrain`.
        inputs: What it was made of, with the ways to it.
        out: The folder to write.

    Raises:
        BadData: it is no command that makes a run.
    """
    if command[0] not in ("unlearn", "debias", "demo") or any(token.startswith("-o") or (token.startswith("--") and "=" in token) for token in command):
        raise BadData(f"the record's command, {command[0]!r} and so on, is none that makes a run; make the run anew")
    told = list(command)
    for name in ASKED:
        value = getattr(inputs, name)
        if f"--{name}" in told and value is not None:
            told[told.index(f"--{name}") + 1] = str(value)
    while "--out" in told:
        place = told.index("--out")
        del told[place : place + 2]
    root = [] if inputs.data_root is None else ["--data-root", str(inputs.data_root)]
    return [*told, "--out", str(out), *root]
