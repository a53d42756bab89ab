"""`untrain ledger`: a register of requests, from the day one comes to the day its model is in use, and after."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from untrain.core import disk
from untrain.core.errors import BadArgument, BadData
from untrain.core.wording import called
from untrain.evidence import seal
from untrain.evidence.register import SETTLED, Register, Request
from untrain.sources.keyed import numbered
from untrain.sources.request import classes_in, entries, path_of, refuse_unknown
from untrain.verbs.folder import folder_of, read_record
from untrain.verbs.private import holds, kept

DAYS = 30
"""Days to a deadline where none is named: a month from receipt, as Article 12(3) of the GDPR has it."""

SINGLE = ("files", "index")
"""Kinds of request that name samples in a file, one a line, so that several make one list."""


UNNAMED = "no request is named; give their numbers"


@contextmanager
def register(place: str) -> Iterator[Register]:
    """A register that is open."""
    made = Register(place)
    try:
        yield made
    finally:
        made.close()


def told(request: Request, today: date | None = None) -> dict[str, Any]:
    """A request in plain data."""
    late = request.late(today or _today())
    about = {"number": request.number, "forget": request.forget, "received": request.received, "due": request.due, "state": request.state, "late": late}
    return about | {"events": [{"at": e.at, "what": e.what, "facts": dict(e.facts), "hash": e.hash} for e in request.events]}


def listed(place: str) -> list[dict[str, Any]]:
    """All requests, those whose deadline is nearest first, and settled ones last."""
    with register(place) as book:
        return sorted((told(r) for r in book.requests().values()), key=lambda r: (r["state"] in SETTLED, -r["late"], r["number"]))


def intake(place: str, forget: str, *, subject: str = "", basis: str = "", received: str | None = None, due: str | None = None) -> dict[str, Any]:
    """Write down a request.

    Args:
        place: The register.
        forget: What is to be forgotten, as `--forget` of `untrain unlearn`.
        subject: Who asked: a pseudonym, or where the letter is filed.
        basis: Why it is to be forgotten.
        received: The day it came, ISO 8601; today where none is named.
        due: The day by which it is to be done; a month after it came where none is named.

    Raises:
        BadArgument: a request or a day that is none.
        BadData: a list that is not there.
    """
    refuse_unknown(forget)
    came = _day(received) if received else _today()
    by = _day(due) if due else came + timedelta(days=DAYS)
    if by < came:
        raise BadArgument(f"--due {by} is before the request came, on {came}; give a later day")
    facts = {"forget": forget, "subject": subject, "basis": basis, "received": str(came), "due": str(by)}
    return _after(place, (None, "intake", facts | ({"list": _digest(entries(forget))} if path_of(forget) else {})))[0]


def decide(place: str, numbers: Sequence[int], *, accept: bool, by: str, why: str = "") -> list[dict[str, Any]]:
    """Say whether requests will be carried out, and who said so."""
    return _after(place, *((n, "accept" if accept else "refuse", {"by": _name(by), "why": why}) for n in numbers))


def extend(place: str, numbers: Sequence[int], *, due: str, by: str, why: str) -> list[dict[str, Any]]:
    """Move a deadline, with the reason."""
    return _after(place, *((n, "extend", {"due": str(_day(due)), "by": _name(by), "why": why}) for n in numbers))


def batch(place: str, numbers: Sequence[int] = (), out: Path | None = None) -> dict[str, Any]:
    """Several accepted requests as one.

    Args:
        place: The register.
        numbers: Which; all that are accepted where none are named.
        out: A file to write the joined list to, where requests name lists.

    Returns:
        `requests`, and `forget`, to be given to `untrain unlearn`.

    Raises:
        BadArgument: they are of several kinds, or of one that cannot be joined; or the file is there.
        BadData: a list that is not there, is no text, or is another than it was when its request came.
    """
    with register(place) as book:
        known = book.requests()
    chosen = [_known(known, n) for n in numbers] or [r for r in known.values() if r.state == "accepted"]
    if not chosen:
        raise BadArgument("no request is accepted and waits to be carried out; `untrain ledger list` shows those that there are")
    wrong = next((r for r in chosen if r.state != "accepted"), None)
    if wrong is not None:
        raise BadArgument(f"request {wrong.number} is {wrong.state} and not accepted; leave it out, or decide it")
    lists = [_list(r) for r in chosen]
    kinds = {r.forget.partition(":")[0] for r in chosen}
    if len(chosen) == 1:
        forget = chosen[0].forget
    elif kinds == {"class"}:
        forget = f"class:{','.join(dict.fromkeys(name for r in chosen for name in classes_in(r.forget)))}"
    elif len(kinds) == 1 and kinds <= set(SINGLE):
        if out is None:
            raise BadArgument(f"requests {', '.join(str(r.number) for r in chosen)} name lists; say by -o where the joined list is to be written")
        if os.path.lexists(out):
            raise BadArgument(f"-o {called(out)} exists, and lists are not written over; give another name")
        (kind,) = kinds
        disk.write(out, _joined(lists, "path" if kind == "files" else None).encode(errors="surrogateescape"))
        forget = f"{kind}:{out}"
    else:
        raise BadArgument(f"requests of the kinds {', '.join(sorted(kinds))} are not one list; name those of one kind, and write where:... as a list of files")
    return {"requests": [r.number for r in chosen], "forget": forget}


def attach(place: str, numbers: Sequence[int], run: Path) -> list[dict[str, Any]]:
    """Say which run carried requests out, and what its audit found, once there is one.

    Raises:
        BadArgument: no request is named, or the run was not made for one of them.
        BadData: its record is EDITED, or its weights are not those of the record; or a list is another than it was when its request came.
    """
    if not numbers:
        raise BadArgument(UNNAMED)
    run = folder_of(run)
    record = read_record(run)
    facts = seal.edited(record)
    if facts:
        raise BadData(f"the record in {called(run)} is EDITED: {'; '.join(facts)}; make the run anew")
    if disk.sha256(run / record["output"]["file"]) != record["output"]["sha256"]:
        raise BadData(f"the weights in {called(run)} are not those of its record (sha256 differs); make the run anew")
    about = {"record": seal.digest(record), "output": record["output"]["sha256"], "original": record["model"]["sha256"], "method": record["method"]["name"]}
    with register(place) as book:
        known = book.requests()
        for request in (_known(known, n) for n in numbers):
            _refuse_other(request, record, run)
        events: list[tuple[int | None, str, Mapping[str, Any]]] = []
        for n in numbers:
            before = known[n].last("run")
            if known[n].state not in ("run", "audited") or before is None or before.facts["output"] != about["output"]:
                events.append((n, "run", about | {"batch": list(numbers)}))
            if record["verdict"] is not None:
                events.append((n, "audit", {"record": about["record"], "verdict": record["verdict"]["code"], "sentence": record["verdict"]["sentence"]}))
        if events:
            book.add(*events)
        return [told(r) for n, r in book.requests().items() if n in numbers]


def sign(place: str, numbers: Sequence[int], *, by: str, role: str = "", yes: bool = True, why: str = "") -> list[dict[str, Any]]:
    """Sign off what the audit found, or send it back to be carried out anew."""
    return _after(place, *((n, "sign" if yes else "send back", {"by": _name(by), "role": role, "why": why}) for n in numbers))


def release(place: str, numbers: Sequence[int], *, version: str, by: str) -> list[dict[str, Any]]:
    """Say that the model of their run is in use, under the name of a version."""
    with register(place) as book:
        known = {n: _known(book.requests(), n) for n in numbers}
        outputs = {n: run.facts["output"] if (run := r.last("run")) else None for n, r in known.items()}
        before = {e.facts["output"] for r in book.requests().values() for e in r.events if e.what == "release" and e.facts["version"] == version}
    models = before | {output for output in outputs.values() if output is not None}
    if len(models) > 1:
        raise BadArgument(f"version {version!r} would be {len(models)} models; a version is one, and its name is not used twice: give another")
    return _after(place, *((n, "release", {"version": version, "output": outputs[n], "by": _name(by)}) for n in numbers))


def retire(place: str, numbers: Sequence[int], *, by: str, why: str = "") -> list[dict[str, Any]]:
    """Say that the model that still knew it is in use nowhere and was destroyed."""
    with register(place) as book:
        known = {n: _known(book.requests(), n) for n in numbers}
    originals = {n: run.facts["original"] if (run := r.last("run")) else None for n, r in known.items()}
    return _after(place, *((n, "retire", {"original": originals[n], "by": _name(by), "why": why}) for n in numbers))


def rollback(place: str, version: str, *, until: str, by: str, why: str) -> list[dict[str, Any]]:
    """Say that an earlier version is in use again: what was forgotten since then is un-forgotten, until a day.

    Args:
        place: The register.
        version: The version that is in use again; one that was never released knows what every request asked to forget.
        until: The day by which it ends.
        by: Who says so.
        why: Why.

    Returns:
        The requests that are un-forgotten.
    """
    day = _day(until)
    if day < _today():
        raise BadArgument(f"--until {day} is over; say by when the version is out of use again")
    with register(place) as book:
        known = book.requests()
    first = {n: next(e.number for e in r.events if e.what == "release") for n, r in known.items() if r.state in ("released", "retired")}
    knew_not = {n: e.number for n, r in known.items() for e in reversed(r.events) if e.what == "release" and e.facts["version"] == version}
    since = min(knew_not.values(), default=0)
    undone = [n for n, number in first.items() if n not in knew_not and number > since]
    if not undone:
        raise BadArgument(f"no request was released after version {version!r}, so nothing is un-forgotten by it")
    return _after(place, *((n, "un-forget", {"version": version, "until": str(day), "by": _name(by), "why": why}) for n in undone))


def _after(place: str, *events: tuple[int | None, str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write down events; the requests that they are of."""
    if not events:
        raise BadArgument(UNNAMED)
    with register(place) as book:
        numbers = {event.request for event in book.add(*events)}
        return [told(r) for n, r in book.requests().items() if n in numbers]


def _known(known: Mapping[int, Request], number: int) -> Request:
    if number not in known:
        raise BadArgument(f"no request {number} in the ledger; `untrain ledger list` shows those that there are")
    return known[number]


def _refuse_other(request: Request, record: Mapping[str, Any], run: Path) -> None:
    """Refuse a run that was not made for a request: by its classes, by what its list holds, or by what was asked."""
    kind, _, what = request.forget.partition(":")
    asked = record["request"]
    if kind == "class":
        numbers, names = set(map(str, asked["classes"])), set(asked["names"])
        if all(name in names or name.removeprefix("#") in numbers for name in classes_in(request.forget)):
            return
    elif not asked["classes"]:
        own, _, said = (kept(run, asked["forget"]) or asked["forget"]).partition(":")
        if own == kind and kind in SINGLE:
            if holds(run, asked["forget"], _list(request)):
                return
            raise BadArgument(f"the list of that run does not hold all that request {request.number} asks for, or is kept no more beside it; name the run that was made for it")
        if own == kind and said == what:
            return
    shown = numbered(asked["classes"]) if asked["classes"] else asked["forget"]
    raise BadArgument(f"that run was made to forget {shown}, and not what request {request.number} asks; name the run that was made for it")


def _list(request: Request) -> list[str]:
    """What stands on the list that a request names.

    Raises:
        BadData: it is not there, or another than it was when the request came.
    """
    names = entries(request.forget)
    path = path_of(request.forget)
    if path is not None and _digest(names) != request.events[0].facts.get("list", _digest(names)):
        raise BadData(f"{path.name} is another list than it was when request {request.number} came; bring that one back, or write down a request for this one")
    return names


def _digest(names: Sequence[str]) -> str:
    """Hash of what stands on a list, in whatever order."""
    return hashlib.sha256("\n".join(sorted(set(names))).encode(errors="surrogateescape")).hexdigest()


def _joined(lists: Sequence[Sequence[str]], heading: str | None) -> str:
    """What stands on several lists, each once, as one list."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([[heading]] * (heading is not None) + [[name] for name in dict.fromkeys(name for one in lists for name in one)])
    return out.getvalue()


def _name(by: str) -> str:
    if not by.strip():
        raise BadArgument("--by is empty; say who decides")
    return by.strip()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadArgument(f"{text!r} is no day; write it as 2026-12-24") from error


def _today() -> date:
    return datetime.now(UTC).date()
