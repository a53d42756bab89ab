"""`untrain ledger`: a sub-command for each thing that happens to a request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from untrain.cli import show
from untrain.cli.ending import guarded
from untrain.cli.flags import Json
from untrain.core.disk import at_home

Numbers = Annotated[tuple[int, ...], Parameter(help="Numbers of the requests.", negative=())]
Place = Annotated[str | None, Parameter(name="--ledger", help="A file for SQLite, or a URL such as postgresql+psycopg://host/name; UNTRAIN_LEDGER, else untrain-ledger.sqlite.")]
By = Annotated[str, Parameter(help="Who says so.")]
Why = Annotated[str, Parameter(help="Why.")]

FILE = "untrain-ledger.sqlite"
"""The register where none is named."""


def ledger() -> App:
    """The sub-commands."""
    made = App(name="ledger", help="A register of requests: intake, deadline, decision, run, audit, sign-off, release, retirement.", help_format="plaintext")
    for action in (requests, show_one, intake, decide, extend, batch, run, sign, release, retire, rollback):
        made.command(guarded(action), name={"requests": "list", "show_one": "show"}.get(action.__name__, action.__name__))
    return made


def requests(*, ledger: Place = None, json: Json = False) -> int:
    """List the requests, those that are due first."""
    from untrain.verbs.ledgering import listed

    return _told(listed(_place(ledger)), json, always=True)


def show_one(number: int, /, *, ledger: Place = None, json: Json = False) -> int:
    """Show all that happened to a request."""
    from untrain.core.errors import BadArgument
    from untrain.verbs.ledgering import listed

    found = next((r for r in listed(_place(ledger)) if r["number"] == number), None)
    if found is None:
        raise BadArgument(f"no request {number} in the ledger; `untrain ledger list` shows those that there are")
    if json:
        show.as_json(found)
        return 0
    for event in found["events"]:
        facts = "; ".join(f"{name} {value}" for name, value in event["facts"].items() if value not in ("", None))
        show.say(f"{event['at']}  {event['what']}: {facts}")
    return 0


def intake(
    *,
    forget: Annotated[str, Parameter(help="What is to be forgotten, as for `untrain unlearn`.")],
    subject: Annotated[str, Parameter(help="Who asked: a pseudonym, or where the letter is filed.")] = "",
    basis: Annotated[str, Parameter(help="Why it is to be forgotten.")] = "",
    received: Annotated[str | None, Parameter(help="The day it came, as 2026-11-24; today where none is named.")] = None,
    due: Annotated[str | None, Parameter(help="The day by which it is to be done; 30 days after it came where none is named.")] = None,
    ledger: Place = None,
    json: Json = False,
) -> int:
    """Write down a request."""
    from untrain.verbs.ledgering import intake

    return _told([intake(_place(ledger), forget, subject=subject, basis=basis, received=received, due=due)], json)


def decide(
    *numbers: Annotated[int, Parameter(help="Numbers of the requests.")],
    accept: Annotated[bool, Parameter(name="--accept", negative="--refuse", help="Carry them out, or not.")],
    by: By,
    why: Why = "",
    ledger: Place = None,
    json: Json = False,
) -> int:
    """Say whether requests will be carried out."""
    from untrain.verbs.ledgering import decide

    return _told(decide(_place(ledger), numbers, accept=accept, by=by, why=why), json)


def extend(
    *numbers: Annotated[int, Parameter(help="Numbers of the requests.")],
    due: Annotated[str, Parameter(help="The new day.")],
    by: By,
    why: Why,
    ledger: Place = None,
    json: Json = False,
) -> int:
    """Move a deadline, with the reason."""
    from untrain.verbs.ledgering import extend

    return _told(extend(_place(ledger), numbers, due=due, by=by, why=why), json)


def batch(
    *numbers: Annotated[int, Parameter(help="Numbers of the requests; all that are accepted where none are named.")],
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="File to write the joined list to.")] = None,
    ledger: Place = None,
    json: Json = False,
) -> int:
    """Make one request for `untrain unlearn` of several."""
    from untrain.verbs.ledgering import batch

    made = batch(_place(ledger), numbers, out)
    if json:
        show.as_json(made)
    else:
        show.say(f"requests {', '.join(map(str, made['requests']))}:")
        show.say(f"--forget {made['forget']}")
    return 0


def run(folder: Annotated[Path, Parameter(help="Folder that `untrain unlearn` wrote.")], *numbers: int, ledger: Place = None, json: Json = False) -> int:
    """Say which run carried requests out, and what its audit found; call it again once it was audited."""
    from untrain.verbs.ledgering import attach

    return _told(attach(_place(ledger), numbers, folder), json)


def sign(
    *numbers: Annotated[int, Parameter(help="Numbers of the requests.")],
    by: By,
    role: Annotated[str, Parameter(help="In what role.")] = "",
    accept: Annotated[bool, Parameter(name="--accept", negative="--back", help="Sign it off, or send it back to be carried out anew.")] = True,
    why: Why = "",
    ledger: Place = None,
    json: Json = False,
) -> int:
    """Sign off what the audit found, or send it back."""
    from untrain.verbs.ledgering import sign

    return _told(sign(_place(ledger), numbers, by=by, role=role, yes=accept, why=why), json)


def release(
    *numbers: Annotated[int, Parameter(help="Numbers of the requests.")],
    version: Annotated[str, Parameter(help="Name of the version; none is used for two models.")],
    by: By,
    ledger: Place = None,
    json: Json = False,
) -> int:
    """Say that the model of their run is in use."""
    from untrain.verbs.ledgering import release

    return _told(release(_place(ledger), numbers, version=version, by=by), json)


def retire(*numbers: Annotated[int, Parameter(help="Numbers of the requests.")], by: By, why: Why = "", ledger: Place = None, json: Json = False) -> int:
    """Say that the model that still knew it is in use nowhere and was destroyed."""
    from untrain.verbs.ledgering import retire

    return _told(retire(_place(ledger), numbers, by=by, why=why), json)


def rollback(
    version: Annotated[str, Parameter(help="The version that is in use again.")],
    /,
    *,
    until: Annotated[str, Parameter(help="The day by which that ends.")],
    by: By,
    why: Why,
    ledger: Place = None,
    json: Json = False,
) -> int:
    """Say that an earlier version is in use again: what was forgotten since then is UN-FORGOTTEN, until a day."""
    from untrain.verbs.ledgering import rollback

    found = rollback(_place(ledger), version, until=until, by=by, why=why)
    if not json:
        show.note(f"{version} knows again what {len(found)} request{'s' if len(found) > 1 else ''} asked to forget, until {until}")
    return _told(found, json)


def _place(named: str | None) -> str:
    return named or at_home(os.environ.get("UNTRAIN_LEDGER") or FILE)


def _told(found: list[dict[str, Any]], json: bool, always: bool = False) -> int:
    if json:
        show.as_json(found)
        return 0
    rows = [(str(r["number"]), r["forget"], r["received"], f"{r['due']}{_late(r)}", r["state"].upper() if r["state"] == "un-forgotten" else r["state"]) for r in found]
    if rows:
        show.draw(show.table(("request", "to forget", "received", "due", "state"), rows))
    elif always:
        show.say("no requests")
    return 0


def _late(told: dict[str, Any]) -> str:
    from untrain.evidence.register import SETTLED

    days = told["late"]
    return "" if told["state"] in SETTLED else " (TODAY)" if days == 0 else f" ({days} days LATE)" if days > 0 else f" (in {-days} days)"
