"""A folder that a stranger made, by each of the tricks that are known: no file outside of it is touched, and no code in it runs.

Some tricks run always; all of them are `make chaos`.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from counted import trying
from untrain.cli import main
from untrain.evidence.seal import sealed
from untrain.zoo import sets

DIGITS = ("--model", "digits", "--data", "digits", "--forget", "class:3")
VERBS = {
    "report": ("report", "run"),
    "verify": ("verify", "run", "--replay"),
    "audit": ("audit", "run", "--skip", "relearn,prototype,predictions,weights,dormant,nearby"),
    "unlearn": ("unlearn", "headonly", *DIGITS, "--out", "run"),
}
KNOWN = (0, 2, 3, 4, 5, 7, 8)
"""The exit codes that say what happened; 1 and 9 are none."""

CODE = "from pathlib import Path\n\nPath({canary!r}).write_text('ran')\n\n\ndef make(*_, **__):\n    raise SystemExit(0)\n\n\nsystem = make\n"

Trick = Callable[[Path], None]


class Runs:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("canary"),))


def instead(name: str, way: str, run: Path) -> None:
    """Something else in a file's place."""
    path, precious = run / name, run.parent / "precious"
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if way == "hard link":
        path.hardlink_to(precious)
    elif way == "pipe":
        os.mkfifo(path)
    elif way == "folder":
        path.mkdir()
        (path / "mine").write_text("mine")
    else:
        path.symlink_to({"link": precious, "link to a folder": run.parent / "theirs", "dangling link": run.parent / "nothing", "device": "/dev/zero"}[way])


def edit(change: Callable[[dict[str, Any]], Any], run: Path) -> None:
    """A record that says something else, and is sealed again."""
    record = json.loads((run / "record.json").read_text())
    change(record)
    (run / "record.json").write_text(json.dumps(sealed(record)))


def model(name: str, run: Path) -> None:
    edit(lambda record: record["model"].update(name=name), run)


def command(flag: str, name: str, run: Path) -> None:
    edit(lambda record: record.update(command=[*record["command"], f"--{flag}", name]), run)


def another(words: list[str], run: Path) -> None:
    edit(lambda record: record.update(command=words), run)


def note(said: dict[str, str], run: Path) -> None:
    (run / ".inputs.json").write_text(json.dumps(said))


def output(name: str, run: Path) -> None:
    edit(lambda record: record["output"].update(file=name), run)


def pickled(name: str, run: Path) -> None:
    (run / name).write_bytes(pickle.dumps(Runs()))
    output(name, run)


def library(name: str, run: Path) -> None:
    for place in (run, run.parent):
        (place / f"{name}.py").write_text((run / "nets.py").read_text())


def elsewhere(run: Path) -> None:
    """The folder itself is a link, to one that a killed run might have left."""
    shutil.move(run, run.parent / "theirs" / "run")
    run.symlink_to(run.parent / "theirs" / "run")


def unfinished(run: Path) -> None:
    """A killed run whose state is a link."""
    (run / "record.json").unlink()
    instead(".state", "link to a folder", run)


def half_removed(run: Path) -> None:
    (run / ".state.99.tmp").symlink_to(run.parent / "theirs")


def shouting(run: Path) -> None:
    edit(lambda record: record["request"].update(names=["\x1b]0;owned\x07\x1b[2J<script>"]), run)


FILES = ("record.json", "model.safetensors", "report.html", ".inputs.json", ".request.json", ".lock")
TRICKS: dict[str, Trick] = {f"{name}: {way}": partial(instead, name, way) for way in ("link", "hard link", "pipe", "folder") for name in FILES}
TRICKS |= {f"{name}: device": partial(instead, name, "device") for name in ("record.json", "model.safetensors", ".inputs.json", ".request.json")}
TRICKS |= {f"{name}: dangling link": partial(instead, name, "dangling link") for name in ("report.html", ".lock")}
TRICKS |= {
    f"{name}: link": partial(instead, name, "link") for name in (".report.html.abcdefgh.tmp", ".record.json.abcdefgh.tmp", ".state/arguments.json", ".state/call-0001.safetensors")
}
TRICKS |= {"the folder is a link": elsewhere, "the state is a link": unfinished, "a state that was being removed is a link": half_removed}
TRICKS |= {f"the model is {name}": partial(model, name) for name in ("nets.py:make", "nets:make", "run/nets.py:make", "os:system")}
TRICKS |= {f"--{flag} in the command": partial(command, flag, "nets.py:make") for flag in ("data", "test", "holdout", "unseen", "recipe")}
TRICKS |= {f"{field} in the note": partial(note, {field: "nets.py"}) for field in ("model", "data", "recipe")}
TRICKS |= {f"the command is {words[0]}": partial(another, words) for words in (["convert", "x.pt", "--out", "y.safetensors"], ["ledger", "open"], ["cache", "--clear"])}
TRICKS |= {f"the output is {name}": partial(output, name) for name in ("../precious", "/etc/passwd", "..")}
TRICKS |= {f"{name} is a pickle": partial(pickled, name) for name in ("model.safetensors", "model.pt")}
TRICKS |= {f"{name}.py beside it": partial(library, name) for name in ("torch", "untrain", "sitecustomize")}
TRICKS |= {"a name that is an escape sequence": shouting}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that is whole; the digits are read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "digits", cache(sets.digits))
        out = tmp_path_factory.mktemp("whole") / "run"
        assert main(["unlearn", "headonly", *DIGITS, "--out", str(out)]) == 0
        yield out


def outside(run: Path) -> dict[Path, Any]:
    """All that lies beside the folder, as it stands."""
    found = {}
    for path in sorted(run.parent.rglob("*")):
        if run not in path.parents and path != run and run.resolve() not in path.parents and path != run.resolve():
            kind = path.lstat().st_mode
            found[path] = path.readlink() if stat.S_ISLNK(kind) else path.read_bytes() if stat.S_ISREG(kind) else kind
    return found


def hang(*_: object) -> None:
    raise TimeoutError("it does not end")


def tried(trick: str, whole: Path, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each verb on a folder with this trick in it."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("UNTRAIN_CACHE", str(place / "cache"))
    run = Path(shutil.copytree(whole, place / "run"))
    (place / "precious").write_text("process of mine\n")
    (place / "theirs").mkdir()
    (place / "theirs" / "arguments.json").write_text("{}")
    (place / "theirs" / ".mine.abcdefgh.tmp").write_text("mine")
    for nets in (run / "nets.py", place / "nets.py"):
        nets.write_text(CODE.format(canary=str(place / "canary")))
    TRICKS[trick](run)
    before, modules = outside(run), set(sys.modules)
    signal.signal(signal.SIGALRM, hang)
    for verb, words in VERBS.items():
        capsys.readouterr()
        signal.alarm(60)
        code = main(words)
        signal.alarm(0)
        said = capsys.readouterr()
        assert code in KNOWN, (verb, code, said.err)
        assert "Traceback" not in said.err, (verb, said.err)
        assert "\x1b" not in said.out + said.err, verb
        assert outside(run) == before, verb
        assert not {"nets", "os.system"} & (set(sys.modules) - modules)
    assert not (place / "canary").exists()


@pytest.mark.parametrize("trick", list(TRICKS)[::9])
def test_a_strangers_folder_touches_nothing_and_runs_nothing(trick, whole, tmp_path, capsys, monkeypatch):
    """Faults 55 to 58 and 64, F07, F50."""
    tried(trick, whole, tmp_path, capsys, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("trick", TRICKS)
def test_none_of_a_strangers_tricks_touches_or_runs_anything(trick, whole, tmp_path, capsys, monkeypatch):
    """Faults 55 to 58 and 64, F07, F50: the long form."""
    with trying("a stranger's folder"):
        tried(trick, whole, tmp_path, capsys, monkeypatch)


def test_the_tricks_are_as_many_as_were_tried_before() -> None:
    assert len(TRICKS) >= 61
