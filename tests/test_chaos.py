"""Every file call of a run fails once, and the process is killed at any of them: what is there afterwards is whole, or goes on to the same bits.

A short form runs always; the long form, every call, is `make chaos`.
"""

from __future__ import annotations

import errno
import functools
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from counted import trying
from untrain.cli import main
from untrain.core import files
from untrain.zoo import trained

WEIGHTS = Path(trained.__file__).parent / "weights" / "digits.safetensors"
GIVEN = files.sha256(WEIGHTS)

RUN = ("unlearn", "finetune", "--model", "digits", "--data", "digits", "--forget", "class:3", "--samples", "64", "--epochs", "1")
CALLS = ("open", "replace", "rename", "fsync", "mkdir", "unlink", "rmdir", "chmod", "link", "symlink")
"""Calls of the system that write, or open what is written or read."""


@contextmanager
def fail_at(number: int, place: Path, kind: int | None) -> Iterator[list[str]]:
    """Let a call on what lies below a place fail, or end the process.

    Args:
        number: Which call, counted from 0; none where it is negative.
        place: Where calls are counted.
        kind: The error's number; None kills the process as a power cut would.

    Yields:
        The calls so far, by name.
    """
    made: list[str] = []
    real = {name: getattr(os, name) for name in CALLS}

    def below(first: Any) -> bool:
        path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else first
        return str(path).startswith(str(place))

    def watched(name: str) -> Callable[..., Any]:
        @functools.wraps(real[name])
        def call(first: Any, *more: Any, **named: Any) -> Any:
            if "dir_fd" not in named and below(first):
                made.append(name)
                if len(made) == number + 1:
                    if kind is None:
                        os.kill(os.getpid(), signal.SIGKILL)
                    raise OSError(kind, os.strerror(kind), str(first))
            return real[name](first, *more, **named)

        return call

    for name in CALLS:
        setattr(os, name, watched(name))
    try:
        yield made
    finally:
        for name in CALLS:
            setattr(os, name, real[name])


@pytest.fixture(scope="module", autouse=True)
def _data_once() -> Iterator[None]:
    """The digits are read once, so that a run takes a moment."""
    from untrain.zoo import sets

    patch = pytest.MonkeyPatch()
    patch.setattr(sets, "digits", functools.cache(sets.digits))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """The hash of what a run writes that nothing happens to, and how many file calls it makes."""
    place = tmp_path_factory.mktemp("whole")
    with fail_at(-1, place, None) as made:
        assert main([*RUN, "--out", str(place / "run")]) == 0
    return files.sha256(place / "run" / "model.safetensors"), len(made)


def see_to_it(place: Path, sha256: str) -> None:
    """The same command gives the same bytes, and leaves nothing of what was there."""
    run = place / "run"
    # Where the record is written the run is whole, and its name is taken.
    done = (run / "record.json").is_file() and not (run / ".state").is_dir()
    assert main([*RUN, "--out", str(run)]) == (2 if done else 0)
    assert files.sha256(run / "model.safetensors") == sha256
    assert sorted(p.name for p in run.iterdir()) == ["model.safetensors", "record.json"]
    assert [p.name for p in place.iterdir()] == ["run"]
    assert files.sha256(WEIGHTS) == GIVEN


def failing(number: int, kind: int, place: Path, sha256: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    with fail_at(number, place, kind):
        code = main([*RUN, "--out", str(place / "run")])
    told = capsys.readouterr().err
    assert code in (0, 2, 5, 7), (number, told)
    assert "Traceback" not in told
    assert code == 0 or (place / "run" / ".state").is_dir() or not (place / "run").exists() or (place / "run" / "record.json").is_file(), (number, told)
    see_to_it(place, sha256)


def killed(number: int, place: Path, sha256: str) -> None:
    child = os.fork()
    if child == 0:
        with fail_at(number, place, None):
            main([*RUN, "--out", str(place / "run")])
        os._exit(99)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), number
    see_to_it(place, sha256)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.45, 0.7, 0.9, 0.99])
def test_a_file_call_that_fails_costs_nothing_but_the_call(share, whole, tmp_path, capsys):
    """F03: a full disk at any call: one line, a known exit code, and the same bytes by the next call."""
    failing(int(share * whole[1]), errno.ENOSPC, tmp_path, whole[0], capsys)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.75, 0.95])
def test_a_kill_at_a_file_call_costs_nothing_but_time(share, whole, tmp_path):
    """F01 and F02: a power cut at any call: the same bytes by the next call, and nothing left."""
    killed(int(share * whole[1]), tmp_path, whole[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_every_file_call_fails_once(kind, whole, tmp_path, capsys):
    """F03, the long form."""
    for number in range(whole[1]):
        place = tmp_path / str(number)
        place.mkdir()
        with trying(f"a file call that fails: {errno.errorcode[kind]}"):
            failing(number, kind, place, whole[0], capsys)


@pytest.mark.slow
def test_a_kill_at_every_file_call(whole, tmp_path):
    """F01 and F02, the long form."""
    for number in range(whole[1]):
        place = tmp_path / str(number)
        place.mkdir()
        with trying("a kill at a file call"):
            killed(number, place, whole[0])


@pytest.mark.slow
def test_fifty_kills_at_any_moment(whole, tmp_path):
    """F01 and F02: wherever the process is at the time, two thirds of them within the run."""
    chance, began = random.Random(0), time.monotonic()
    assert main([*RUN, "--out", str(tmp_path / "timed")]) == 0
    took = time.monotonic() - began
    shutil.rmtree(tmp_path / "timed")
    for number in range(50):
        place = tmp_path / str(number)
        place.mkdir()
        with trying("a kill at any moment"):
            child = os.fork()
            if child == 0:
                main([*RUN, "--out", str(place / "run")])
                os._exit(0)
            time.sleep(chance.uniform(0, 1.5 * took))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            see_to_it(place, whole[0])
