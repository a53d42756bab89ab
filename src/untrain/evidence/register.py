"""A register of requests: what was asked, by when it is due, and what became of it. Imports no torch, and SQLAlchemy only where one is opened.

It is a list of events that is only ever added to; what state a request is in follows from its events and is written nowhere.
Each event holds the hash of the one before it, so that one that was changed, or taken out of the middle, is found; events cut off at the end are not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from untrain.core.errors import BadArgument, BadData, Locked, MissingExtra, Resources

MAY = {
    "accept": ("open",),
    "refuse": ("open", "accepted"),
    "extend": ("open", "accepted", "run", "audited", "signed"),
    "run": ("accepted", "run", "audited"),
    "audit": ("run", "audited"),
    "sign": ("audited",),
    "send back": ("audited", "signed"),
    "release": ("signed", "un-forgotten"),
    "retire": ("released",),
    "un-forget": ("released", "retired"),
}
"""In which states of a request what may happen to it."""

BECOMES = {
    "intake": "open",
    "accept": "accepted",
    "refuse": "refused",
    "run": "run",
    "audit": "audited",
    "sign": "signed",
    "send back": "accepted",
    "release": "released",
    "retire": "retired",
    "un-forget": "un-forgotten",
}
"""The state that comes of what happened; what is not here leaves it as it was."""

SETTLED = ("refused", "released", "retired")
"""States in which no deadline runs."""

FIRST = "0" * 64
"""What stands before the first event."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a request.

    Args:
        number: Its place in the register, from 1.
        request: Number of the request.
        at: When it was written down, UTC, ISO 8601.
        what: What happened, see `MAY`.
        facts: What goes with it.
        before: Hash of the event before it.
        hash: Its own.
    """

    number: int
    request: int
    at: str
    what: str
    facts: Mapping[str, Any]
    before: str
    hash: str


@dataclass(frozen=True)
class Request:
    """A request, as its events make it.

    Args:
        number: Its number.
        events: What happened to it, in order.
    """

    number: int
    events: tuple[Event, ...] = field(default=())

    @property
    def forget(self) -> str:
        """What is to be forgotten."""
        return str(self.events[0].facts["forget"])

    @property
    def received(self) -> str:
        """The day it came."""
        return str(self.events[0].facts["received"])

    @property
    def due(self) -> str:
        """The day by which it is to be done; of one that was un-forgotten, by which that ends."""
        told = [event.facts["due"] for event in self.events if event.what in ("intake", "extend")]
        return str(self.events[-1].facts["until"] if self.state == "un-forgotten" else told[-1])

    @property
    def state(self) -> str:
        """The state it is in."""
        return next(BECOMES[event.what] for event in reversed(self.events) if event.what in BECOMES)

    def late(self, today: date) -> int:
        """Days since its deadline; negative while there are days left, and 0 where none runs."""
        return 0 if self.state in SETTLED else (today - date.fromisoformat(self.due)).days

    def last(self, what: str) -> Event | None:
        """The last event of a kind."""
        return next((event for event in reversed(self.events) if event.what == what), None)


class Register:
    """A register in a data base.

    Args:
        place: A file for SQLite, which is made where it is not there, or a URL of SQLAlchemy's such as `postgresql+psycopg://...`.

    Raises:
        MissingExtra: SQLAlchemy, or the driver that the URL names, is not installed.
        BadArgument: no such URL.
        Resources: the data base cannot be reached, or is none.
    """

    def __init__(self, place: str) -> None:
        try:
            import sqlalchemy as sql
        except ImportError as error:
            raise MissingExtra("the ledger needs SQLAlchemy: pip install 'untrain[ledger]'") from error
        self.sql, self.url = sql, place if "://" in place else f"sqlite:///{place}"
        file = None if "://" in place else Path(place)
        if file is not None and not file.exists():
            _made(file)
        self.table = sql.Table(
            "events",
            sql.MetaData(),
            sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
            sql.Column("request", sql.Integer, nullable=False),
            sql.Column("at", sql.String(32), nullable=False),
            sql.Column("what", sql.String(16), nullable=False),
            sql.Column("facts", sql.Text, nullable=False),
            # Two who add at once cannot both follow the same event.
            sql.Column("before", sql.String(64), nullable=False, unique=True),
            sql.Column("hash", sql.String(64), nullable=False),
        )
        try:
            self.engine = sql.create_engine(self.url)
            with self._reached():
                self.table.metadata.create_all(self.engine)
        except (sql.exc.ArgumentError, sql.exc.NoSuchModuleError) as error:
            raise BadArgument(f"{self.shown} names no data base; give a file, or a URL such as postgresql+psycopg://user@host/name") from error
        except ImportError as error:
            raise MissingExtra(f"{error.name} is not installed, which {self.shown.partition(':')[0]} needs: pip install 'untrain[postgres]'") from error

    @property
    def shown(self) -> str:
        """Where it is, without a password."""
        try:
            return str(self.sql.make_url(self.url).render_as_string(hide_password=True)).removeprefix("sqlite:///")
        except self.sql.exc.ArgumentError:
            return "the ledger"

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except self.sql.exc.IntegrityError as error:
            raise Locked(f"{self.shown} was written by another at the same moment; try again") from error
        except self.sql.exc.DBAPIError as error:
            said = " ".join(str(error.orig).split())[:160]
            raise Resources(f"the ledger {self.shown} cannot be used: {said}; see to its place, rights and server") from error

    def events(self) -> list[Event]:
        """All that happened, in order.

        Raises:
            BadData: an event was changed or taken out.
        """
        with self._reached(), self.engine.connect() as connection:
            rows = connection.execute(self.sql.select(self.table).order_by(self.table.c.number)).all()
        return _checked(rows, self.shown)

    def add(self, *told: tuple[int | None, str, Mapping[str, Any]]) -> list[Event]:
        """Write down what happened, all of it or none.

        Args:
            *told: Number of the request, None for a new one; what happened; and what goes with it.

        Raises:
            BadArgument: there is no such request, or in its state this does not happen.
            Locked: another wrote at the same moment.
        """
        made = self.events()
        first = len(made)
        for number, what, facts in told:
            requests = _requests(made)
            if number is None:
                number = max(requests, default=0) + 1
            else:
                _refuse(requests.get(number), number, what)
            before = made[-1].hash if made else FIRST
            at = datetime.now(UTC).isoformat(timespec="seconds")
            made.append(Event(len(made) + 1, number, at, what, dict(facts), before, _hash(len(made) + 1, number, at, what, _text(facts), before)))
        new = [vars(event) | {"facts": _text(event.facts)} for event in made[first:]]
        with self._reached(), self.engine.begin() as connection:
            connection.execute(self.table.insert(), new)
        return made[first:]

    def requests(self) -> dict[int, Request]:
        """The requests by number."""
        return _requests(self.events())

    def close(self) -> None:
        """Let go of the data base."""
        self.engine.dispose()


def _made(file: Path) -> None:
    """An empty file that its owner alone can read: a register names people."""
    try:
        file.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise Resources(f"the ledger {file.name} cannot be made: {error.strerror or error}; give another place") from error


def _requests(events: Sequence[Event]) -> dict[int, Request]:
    by_number: dict[int, list[Event]] = {}
    for event in events:
        by_number.setdefault(event.request, []).append(event)
    return {number: Request(number, tuple(mine)) for number, mine in by_number.items()}


def _refuse(request: Request | None, number: int, what: str) -> None:
    if request is None:
        raise BadArgument(f"no request {number} in the ledger; `untrain ledger list` shows those that there are")
    if request.state not in MAY[what]:
        raise BadArgument(f"request {number} is {request.state}, and {what!r} comes after {' or '.join(MAY[what])}")


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _checked(rows: Sequence[Any], shown: str) -> list[Event]:
    made, before = [], FIRST
    for place, row in enumerate(rows, 1):
        told = (row.number, row.request, row.at, row.what, row.facts, row.before)
        try:
            facts = json.loads(row.facts)
        except ValueError:
            facts = None
        if row.number != place or row.before != before or row.hash != _hash(*told) or not isinstance(facts, dict):
            raise BadData(f"the ledger {shown} was changed: event {row.number} is not what was written, or does not follow the one before; take it from a backup")
        made.append(Event(row.number, row.request, row.at, row.what, facts, row.before, row.hash))
        before = row.hash
    return made
