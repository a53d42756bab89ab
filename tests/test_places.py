"""Places on the command line: `~` is the home wherever it stands, an empty one is refused, a record stands for its folder."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from untrain.cli import main
from untrain.cli.app import app
from untrain.cli.places import PLACES, meant
from untrain.core.disk import cache_root
from untrain.zoo.sets import data_root

ASKED = ("--model", "digits", "--data", "digits", "--forget", "class:3")


def ran(*arguments: object) -> int:
    return main([str(a) for a in arguments])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and a working directory that is none."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "my run"
    assert ran("unlearn", "headonly", *ASKED, "--out", out) == 0
    return out


@pytest.mark.parametrize("out", ["--out=~/run", "-o=~/run"])
def test_a_home_is_meant_where_no_shell_has_said_so(out: str, home: Path) -> None:
    (home / "list.txt").write_text("3\n5\n")
    assert ran("unlearn", "headonly", *ASKED, out) == 0
    assert (home / "run" / "record.json").is_file()
    assert ran("unlearn", "neggrad", *ASKED[:4], "--forget", "index:~/list.txt", "--weights", "~/run/model.safetensors", "--out", "~/other") == 0
    assert (home / "other" / "record.json").is_file()
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("token", "as_meant"),
    [
        ("~", "{}"),
        ("~/x", "{}/x"),
        ("--data=~/nets.py:f", "--data={}/nets.py:f"),
        ("--forget=files:~/x.csv", "--forget=files:{}/x.csv"),
        ("hf:~/net", "hf:{}/net"),
        ("where:path=~/x", "where:path=~/x"),
        ("class:~", "class:~"),
        ("a~/x", "a~/x"),
        ("~nobody-of-this-name/x", "~nobody-of-this-name/x"),
        ("~ 3 days", "~ 3 days"),
    ],
)
def test_what_begins_at_a_home_is_known_from_what_only_looks_so(token: str, as_meant: str, home: Path) -> None:
    assert meant(["report", token]) == ["report", as_meant.format(home)]


def test_variables_of_the_environment_may_begin_at_a_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UNTRAIN_DATA", "UNTRAIN_CACHE", "UNTRAIN_LEDGER"):
        monkeypatch.setenv(name, f"~/{name}")
    assert (data_root(), cache_root()) == (home / "UNTRAIN_DATA", home / "UNTRAIN_CACHE")
    pytest.importorskip("sqlalchemy")
    assert ran("ledger", "intake", "--forget", "class:3") == 0
    assert [path.name for path in home.iterdir()] == ["UNTRAIN_LEDGER"]


def verbs(of: App) -> Iterator[App]:
    for name in of:
        if not name.startswith("-"):
            yield of[name]
            yield from verbs(of[name])


def test_every_flag_that_names_a_place_is_known_as_one() -> None:
    arguments = [a for verb in verbs(app(["unlearn", "unsir"])) if verb.default_command is not None for a in verb.assemble_argument_collection() if "Path" in str(a.hint)]
    unknown = {name for argument in arguments for name in argument.names if name.startswith("-")} - set(PLACES)
    assert len(arguments) > 30
    assert unknown == set()


@pytest.mark.parametrize("flag", ["--weights", "--data-root", "--out", "-o"])
@pytest.mark.parametrize("joined", [False, True])
def test_a_place_that_is_empty_is_refused_and_not_taken_for_where_one_is(flag: str, joined: bool, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--out "$OUT"` without the variable was the working directory, which the refusal said to remove."""
    named = (f"{flag}=",) if joined else (flag, "")
    assert ran("unlearn", "headonly", *ASKED, *(("--out", home / "run") if "o" not in flag[:3] else ()), *named) == 2
    assert capsys.readouterr().err == f"untrain: {flag} is empty, as a variable of the shell is that is not set; say what is meant, or leave the flag out\n"
    assert list(home.iterdir()) == []


def test_a_record_stands_for_the_folder_that_it_lies_in(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`untrain verify run/record.json` said that the weights are not there, and EDITED."""
    place = shutil.copytree(run, tmp_path / "run")
    record = place / "record.json"
    assert ran("key", tmp_path / "key") == 0
    assert ran("audit", record, "--skip", "relearn,prototype,weights") == 4
    assert ran("report", record) == 0
    assert (place / "report.html").is_file()
    assert ran("sign", record, "--key", tmp_path / "key") == 0
    capsys.readouterr()
    assert ran("verify", record, "--key", tmp_path / "key.pub") == 0
    assert "same: model.safetensors: sha256" in capsys.readouterr().out
    pytest.importorskip("sqlalchemy")
    book = tmp_path / "book.sqlite"
    for said in (("intake", "--forget", "class:3"), ("decide", 1, "--accept", "--by", "Lee"), ("run", record, 1)):
        assert ran("ledger", *said, "--ledger", book) == 0


def test_a_command_that_is_to_be_copied_holds_for_a_shell(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a run"
    assert ran("suppress", *ASKED, "--out", out) == 0
    said = next(line for line in capsys.readouterr().out.splitlines() if "untrain audit" in line)
    assert shlex.split(said.split("`")[1]) == ["untrain", "audit", str(out)]
    assert ran("reference", *ASKED, "--models", 1, "--epochs", 1, "--out", tmp_path / "some models") == 0
    assert shlex.split(capsys.readouterr().out.splitlines()[-1]) == ["untrain", "audit", "RUN", "--retrained", str(tmp_path / "some models")]


def test_a_run_is_audited_for_what_it_was_to_forget(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another class named beside a run was left unread, and the verdict was on the run's own."""
    before = (run / "record.json").read_bytes()
    for verb in (("audit", run, "--skip", "relearn,prototype,weights"), ("verify", run)):
        capsys.readouterr()
        assert ran(*verb, "--forget", "class:5") == 2
        assert "the run was made to forget class 3" in capsys.readouterr().err
    assert (run / "record.json").read_bytes() == before
    assert ran("verify", run, "--forget", "class:3") == 0


PHOTOS = ("--model", "digits", "--data", "photos", "--norm", "grey")


@pytest.mark.parametrize(
    "asked",
    [
        ("canaries", "--data", "photos", "-m", 10, "--out"),
        ("train", *PHOTOS, "--out"),
        ("prepare", "sisa", *PHOTOS, "--out"),
        ("unlearn", "headonly", *PHOTOS, "--forget", "class:1", "--out"),
        ("suppress", *PHOTOS, "--forget", "class:1", "--out"),
        ("reference", *PHOTOS, "--forget", "class:1", "--models", 1, "--out"),
        ("audit", "some.safetensors", *PHOTOS, "--forget", "class:1", "--out"),
        ("check", *PHOTOS, "--forget", "class:1", "--pages"),
        ("debias", "--model", "digits", "--data", "digits", "--pairs", "photos", "--twins", "more", "--out"),
        ("debias", "--model", "digits", "--data", "digits", "--pairs", "more", "--twins", "photos", "--out"),
        ("demo", "--retrained", "photos", "--out"),
        ("report", "run", "-o"),
    ],
    ids=lambda asked: " ".join(map(str, asked[:1] + asked[-3:])),
)
def test_nothing_is_written_among_what_is_read(asked: tuple[object, ...], run: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Canaries were: who reads that folder again finds an odd file in it, and which samples were drawn."""
    for folder in ("photos/0", "photos/1", "more"):
        Path(folder).mkdir(parents=True)
    Path("some.safetensors").write_bytes(b"")
    shutil.copytree(run, "run")
    (Path("run") / ".inputs.json").write_text('{"data": "../photos"}')
    before = sorted(Path().rglob("*"))
    for place in ("photos/new", "photos/0/new"):
        assert ran(*asked, place) == 2
        assert " new lies in photos, which --" in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before
