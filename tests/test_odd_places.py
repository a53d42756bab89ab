"""Odd surroundings, each in a process of its own: closed and full streams, encodings, leftovers of launchers, no home, limits of the system.

Each is tried with five verbs. A process is forked off one that has imported what they need, and set up as Python would set itself up there. Some
run always; all of them are `make chaos`.
"""

from __future__ import annotations

import io
import os
import pwd
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from counted import trying
from untrain.cli import main
from untrain.zoo import sets

DIGITS = ("--model", "digits", "--data", "digits", "--forget", "class:3")
VERBS = {
    "version": ["--version"],
    "methods": ["methods"],
    "a refusal": ["report", "nosuch"],
    "report": ["report", "run"],
    "unlearn": ["unlearn", "headonly", *DIGITS, "--out", "new"],
}
USUAL = {"version": 0, "methods": 0, "a refusal": 5, "report": 0, "unlearn": 0}
SAYS = dict.fromkeys(("version", "methods", "report", "unlearn"), 7)
"""Where what is to be said on stdout cannot be."""

Place = Callable[[Path], None]


def closed(*numbers: int) -> Place:
    """Streams that were closed: Python has none then."""

    def place(_: Path) -> None:
        for number in numbers:
            os.close(number)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)

    return place


def onto(number: int, name: str, encoding: str = "utf-8") -> Place:
    """A stream that leads to a file, in an encoding."""

    def place(_: Path) -> None:
        handle = os.open(name, os.O_RDWR)
        os.dup2(handle, number)
        stream(number, encoding)

    return place


def stream(number: int, encoding: str) -> None:
    file = io.TextIOWrapper(os.fdopen(number, "wb", closefd=False), encoding=encoding, errors="strict" if number == 1 else "backslashreplace", line_buffering=number == 2)
    setattr(sys, ("stdin", "stdout", "stderr")[number], file)


def encoded(encoding: str) -> Place:
    return lambda _: (stream(1, encoding), stream(2, encoding))[0]


def unread(number: int) -> Place:
    """A pipe that nobody reads any more."""

    def place(_: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, number)
        stream(number, "utf-8")

    return place


def environment(**said: str | None) -> Place:
    def place(_: Path) -> None:
        for name, value in said.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    return place


def homeless(_: Path) -> None:
    """No home, and no such user, as in a container run under a number."""
    os.environ.pop("HOME", None)
    os.environ.pop("UNTRAIN_CACHE", None)

    def nobody(_: object) -> None:
        raise KeyError("no such user")

    pwd.getpwuid = nobody  # type: ignore[assignment]


def limited(kind: str, most: int) -> Place:
    return lambda _: resource.setrlimit(getattr(resource, kind), (most, resource.getrlimit(getattr(resource, kind))[1]))


def heeding(number: int, how: signal.Handlers) -> Place:
    return lambda _: signal.signal(number, how) and None


def put_back(place: Path) -> None:
    """The clock is set back by a day after every look."""
    real, jumps = time.time, iter(range(10**6))
    time.time = lambda: real() - 86400 * next(jumps)


def masked(_: Path) -> None:
    os.umask(0o077)


def narrow(_: Path) -> None:
    sys.setrecursionlimit(450)


def blocked(_: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def odd_folder(place: Path) -> None:
    """A working folder whose name is in no encoding."""
    folder = place / os.fsdecode(b"\xff\xfe \n na\xefve")
    folder.mkdir()
    shutil.move(place / "run", folder / "run")
    os.chdir(folder)


PLACES: dict[str, tuple[Place, Mapping[str, int]]] = {
    "stdin closed": (closed(0), {}),
    "stdout closed": (closed(1), {}),
    "stderr closed": (closed(2), {}),
    "all closed": (closed(0, 1, 2), {}),
    "stdout on a full disk": (onto(1, "/dev/full"), SAYS),
    "stderr on a full disk": (onto(2, "/dev/full"), {}),
    "both on a full disk": (lambda place: (onto(1, "/dev/full")(place), onto(2, "/dev/full")(place))[0], SAYS),
    "stdout that nobody reads": (unread(1), {}),
    "stderr that nobody reads": (unread(2), {}),
    "ascii": (encoded("ascii"), {}),
    "latin-1": (encoded("latin-1"), {}),
    "cp1252": (encoded("cp1252"), {}),
    "no home": (homeless, {}),
    "a home that is not there": (environment(HOME="/nonexistent", UNTRAIN_CACHE=None), {}),
    "a cache that cannot be": (environment(UNTRAIN_CACHE="/proc/none"), {}),
    "empty variables": (environment(UNTRAIN_CACHE="", UNTRAIN_DATA="", TERM="", COLUMNS="", WORLD_SIZE="", RANK=""), {}),
    "odd variables": (environment(UNTRAIN_DATA="/nonexistent", TERM="no such", COLUMNS="wide", LINES="-1", LANG="xx_YY", TZ="Nowhere/Else"), {}),
    "a variable in no encoding": (environment(UNTRAIN_DATA=os.fsdecode(b"\xff\xfe")), {}),
    "one column": (environment(COLUMNS="1"), {}),
    "a rank that was left": (environment(RANK="1", LOCAL_RANK="7"), {}),
    "a world of one that was left": (environment(WORLD_SIZE="1"), {}),
    "a world that is no number": (environment(WORLD_SIZE="abc"), {"unlearn": 2}),
    "a world without a master": (environment(WORLD_SIZE="2", RANK="0"), {"unlearn": 2}),
    "no room in any file": (limited("RLIMIT_FSIZE", 0), SAYS),
    "few open files": (limited("RLIMIT_NOFILE", 40), {}),
    "SIGPIPE as shells have it": (heeding(signal.SIGPIPE, signal.SIG_DFL), {}),
    "children that nobody waits for": (heeding(signal.SIGCHLD, signal.SIG_IGN), {}),
    "a clock that goes back": (put_back, {}),
    "files for their owner alone": (masked, {}),
    "a folder whose name is in no encoding": (odd_folder, {}),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that is whole, and all imported that the verbs need; the digits are read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "digits", cache(sets.digits))
        out = tmp_path_factory.mktemp("whole") / "run"
        assert main(["unlearn", "headonly", *DIGITS, "--out", str(out)]) == 0
        assert main(["report", str(out), "--out", str(out.parent / "r.html")]) == 0
        yield out


def tried(where: str, verb: str, whole: Path, place: Path) -> None:
    """A verb there, in a process of its own: the exit code that says what happened, and no traceback."""
    set_up, other = PLACES[where]
    shutil.copytree(whole, place / "run")
    streams = [os.open(place / name, os.O_RDWR | os.O_CREAT) for name in ("in", "out", "err")]
    child = os.fork()
    if child == 0:
        try:
            os.chdir(place)
            for number, handle in enumerate(streams):
                os.dup2(handle, number)
            stream(1, "utf-8")
            stream(2, "utf-8")
            sys.stdin = io.TextIOWrapper(os.fdopen(0, "rb", closefd=False))
            set_up(place)
            code = main(VERBS[verb])
        except BaseException:
            code = 99
        os._exit(code)
    for handle in streams:
        os.close(handle)
    ends = time.monotonic() + 100
    while (told := os.waitpid(child, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < ends or os.kill(child, signal.SIGKILL), "it does not end"
        time.sleep(0.01)
    said = (place / "err").read_bytes()
    assert os.waitstatus_to_exitcode(told[1]) == other.get(verb, USUAL[verb]), said
    assert b"Traceback" not in said
    assert b"Traceback" not in (place / "out").read_bytes()


EACH = [(where, verb) for where in PLACES for verb in VERBS]


@pytest.mark.parametrize(("where", "verb"), EACH[::13], ids=lambda name: name)
def test_an_odd_place_changes_no_exit_code(where, verb, whole, tmp_path):
    """Fault 61 and F11."""
    tried(where, verb, whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("where", "verb"), EACH, ids=lambda name: name)
def test_none_of_many_odd_places_changes_an_exit_code(where, verb, whole, tmp_path):
    """Fault 61 and F11: the long form."""
    with trying("odd surroundings"):
        tried(where, verb, whole, tmp_path)


def test_there_are_as_many_as_were_tried_before() -> None:
    assert len(EACH) >= 149
