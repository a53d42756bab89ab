"""What people's data leave behind: names in no record and on no page, and nothing of theirs in the cache."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from untrain.cli import main
from untrain.core import files
from untrain.evidence import record as records
from untrain.sources import blobs, cache
from untrain.sources.keyed import keyed
from untrain.verbs import private, verifying
from untrain.verbs.given import given_model

NETS = """
from torch import nn

class Net(nn.Sequential):
    pass

def net(classes):
    return Net(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
"""

RECIPE = """
from untrain.core.train import fit

from nets import net

class Ours:
    def build(self): return net(3)
    def train(self, model, samples): return fit(model, samples, phase="train", lr=0.1, epochs=1, batch=8)

def ours(): return Ours()
"""

PEOPLE = ("Ann Secret", "Bob Quiet", "Cy Hidden")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of pictures of three people, each a class; who is who stands in a column too."""
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "photos").mkdir()
    chance, lines = np.random.default_rng(0), ["path,label,who"]
    for person in PEOPLE:
        for i in range(8):
            name = f"{person.split()[0].lower()}{i}.png"
            Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "photos" / name)
            lines.append(f"{name},{person},{person}")
    (tmp_path / "photos" / "labels.csv").write_text("\n".join(lines))
    (tmp_path / "ann-secret.csv").write_text("path\nann1.png\nann2.png\n")
    return tmp_path


def ran(*arguments: object) -> int:
    return main([str(a) for a in arguments])


ASKED = ("--model", "nets.py:net", "--data", "photos", "--norm", "half")


@pytest.mark.parametrize("forget", ["where:who=Ann Secret", "files:ann-secret.csv", "index:ann-secret.txt"])
def test_fault_69_a_persons_name_stands_in_no_record_and_on_no_page(forget: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """F55: neither the value nor the list's name; what is kept beside the record is for its owner alone."""
    (place / "ann-secret.txt").write_text("0\n1\n")
    assert ran("unlearn", "neggrad", *ASKED, "--forget", forget, "--out", "run") == 0
    assert ran("report", "run") == 0
    shown = [p for p in (place / "run").iterdir() if p.suffix in (".json", ".html", ".md", ".safetensors") and not p.name.startswith(".")]
    assert len(shown) == 4
    assert not any(word in p.read_bytes().lower() for p in shown for word in (b"ann secret", b"ann-secret"))
    assert "secret" not in capsys.readouterr().out.lower()
    record = records.read(place / "run")
    asked = json.loads((place / "run" / private.ASKED).read_text())
    assert record["request"]["forget"] == keyed(forget, bytes.fromhex(asked["key"]))
    assert record["request"]["forget"] in record["command"]
    for name in (private.ASKED, ".inputs.json"):
        assert stat.S_IMODE((place / "run" / name).stat().st_mode) & 0o077 == 0
    # What stays on the machine is enough to audit, and to run it again to the same bytes.
    assert ran("audit", "run", "--model", "nets.py:net", "--skip", "relearn,prototype") in (3, 4)
    told = verifying.verify(place / "run", elsewhere={"model": "nets.py:net"}, replay=lambda command: ran(*command))
    assert {look["what"]: look["found"] for look in told["looks"]}["replay"] == "same", told


def test_fault_69_two_runs_tell_a_person_by_two_hashes_and_a_lost_key_is_asked_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for out in ("one", "two"):
        assert ran("unlearn", "neggrad", *ASKED, "--forget", "where:who=Ann Secret", "--out", out) == 0
    one, two = (records.read(place / out)["request"] for out in ("one", "two"))
    assert one["forget"] != two["forget"]
    assert (one["count"], one["sha256"]) == (two["count"], two["sha256"])
    (place / "one" / private.ASKED).unlink()
    assert ran("audit", "one", "--model", "nets.py:net") == 2
    assert "keyed hash" in capsys.readouterr().err
    assert ran("audit", "one", "--model", "nets.py:net", "--forget", "where:who=Ann Secret", "--skip", "relearn,prototype") in (3, 4)
    (place / "two" / private.ASKED).write_bytes(records.dumps({"forget": "where:who=Bob Quiet", "key": "00"}))
    assert ran("audit", "two", "--model", "nets.py:net") == 5
    assert "tells of another request" in capsys.readouterr().err


def test_fault_69_classes_that_are_persons_are_told_by_number(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("unlearn", "neggrad", *ASKED, "--forget", "class:Ann Secret", "--redact", "--out", "run") == 0
    assert ran("audit", "run", "--model", "nets.py:net", "--skip", "relearn,prototype", "--show-images") in (3, 4)
    assert ran("report", "run") == 0
    assert not any(name.encode() in p.read_bytes() for p in (place / "run").iterdir() for name in PEOPLE if p.name[0] != ".")
    assert not any(name in capsys.readouterr().out for name in PEOPLE)
    record = records.read(place / "run")
    assert record["request"] == {"forget": "class:0", "classes": [0], "names": ["0"]}
    bars = next(f for a in record["audits"] for f in a["figures"] if f["name"] == "accuracy by class")
    assert set(bars["series"]["unlearned"][0]) == {"0", "1", "2"}
    told = verifying.verify(place / "run", elsewhere={"model": "nets.py:net"}, replay=lambda command: ran(*command))
    assert {look["what"]: look["found"] for look in told["looks"]}["replay"] == "same", told


@pytest.mark.parametrize(("forget", "more"), [("where:who=Ann Secret", ()), ("class:Ann Secret", ("--redact",))])
def test_fault_69_an_audit_of_a_model_made_elsewhere_names_nobody_either(forget: str, more: tuple[str, ...], place: Path) -> None:
    assert ran("unlearn", "neggrad", *ASKED, "--forget", forget, "--out", "made") == 0
    files = ("made/model.safetensors", *ASKED, "--forget", forget, *more, "--skip", "relearn,prototype", "--out", "found")
    assert ran("audit", *files) in (3, 4)
    assert not any(b"Ann Secret" in p.read_bytes() for p in (place / "found").iterdir() if not p.name.startswith("."))
    assert not verifying.verify(place / "found", elsewhere={"model": "nets.py:net"}, replay=lambda command: 0)["edited"]


def kept(place: Path) -> list[str]:
    folder = place / "cache" / "data"
    return sorted(p.name.partition(".")[2] for p in folder.iterdir()) if folder.is_dir() else []


def test_pictures_of_a_runs_data_are_gone_from_the_cache_when_it_ends(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "KEEP", 1)
    asked = (*ASKED, "--forget", "where:who=Ann Secret")
    assert ran("check", *asked, "--seconds", 1) == 0
    assert "npy" in kept(place)
    # What trains models beside it reads them too.
    (place / "recipes.py").write_text(RECIPE)
    assert ran("reference", *asked, "--recipe", "recipes.py:ours", "--models", 1, "--cost", "--out", "refs") == 0
    assert "npy" not in kept(place)
    assert ran("check", *asked, "--seconds", 1) == 0
    assert "npy" in kept(place)
    assert stat.S_IMODE((place / "cache" / "data").stat().st_mode) == 0o700
    assert ran("unlearn", "neggrad", *asked, "--out", "run") == 0
    assert "npy" not in kept(place)
    assert ran("check", *asked, "--seconds", 1) == 0
    assert ran("audit", "run", "--model", "nets.py:net", "--skip", "relearn,prototype") in (3, 4)
    assert "npy" not in kept(place)
    # One that fails leaves no more behind.
    assert ran("check", *asked, "--seconds", 1) == 0
    assert ran("unlearn", "neggrad", *ASKED, "--forget", "where:who=Nobody", "--out", "other") == 2
    assert "npy" not in kept(place)


def test_the_cache_is_listed_and_cleared_and_what_is_not_of_it_stays(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(blobs, "KEEP", 1)
    assert ran("check", *ASKED, "--forget", "class:Ann Secret", "--seconds", 1) == 0
    others = [place / "cache" / "mine.txt", place / "cache" / "data" / "mine.npy", place / "cache" / "retrained-digits-0.safetensors"]
    for path in others:
        path.write_text("mine")
    (place / "cache" / f"{'0' * 64}.npy").write_text("of an earlier version")
    capsys.readouterr()
    assert ran("cache", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {entry["kind"] for entry in told["files"]} >= {"decoded images", "sizes of images"}
    assert not any(word in json.dumps(told) for word in ("Ann", "photos", str(place)))
    assert ran("cache", "--clear") == 0
    assert f"{len(told['files'])} files" in capsys.readouterr().out
    assert cache.listed() == []
    assert all(path.read_text() == "mine" for path in others)


def test_a_folder_of_another_is_no_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "elsewhere").mkdir()
    (place / "cache").mkdir()
    (place / "cache" / "data").symlink_to(place / "elsewhere")
    assert ran("check", *ASKED, "--forget", "class:Ann Secret", "--seconds", 1) == 0
    assert list((place / "elsewhere").iterdir()) == []


_written: set[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _written is not None and event in ("open", "os.rename", "os.link", "os.symlink"):
        path, mode, flags = arguments[0], arguments[1], arguments[2]
        if event == "open" and isinstance(path, (str, bytes, os.PathLike)) and (set(str(mode or "")) & set("wax+") or int(flags) & (os.O_WRONLY | os.O_RDWR)):  # type: ignore[call-overload]
            _written.add(os.fsdecode(path))
        elif event != "open":
            _written.add(os.fsdecode(mode))  # type: ignore[arg-type]


def test_of_all_that_is_written_nothing_that_stays_knows_what_was_forgotten(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F56: models that an audit relearned, decoded images, states; of every file that was opened to be written, those that stay are the run's own."""
    global _written
    files.save_weights(place / "w.safetensors", given_model("nets.py:net", 3).module.state_dict(), {})
    before = set(place.rglob("*"))
    sys.addaudithook(_watch)
    _written = set()
    try:
        assert ran("unlearn", "finetune", *ASKED, "--weights", "w.safetensors", "--forget", "class:Ann Secret", "--epochs", 2, "--out", "run") == 0
        assert ran("audit", "run", "--model", "nets.py:net", "--also", "descent") in (3, 4)
        assert ran("report", "run") == 0
    finally:
        written, _written = _written, None
    stays = {path.resolve() for name in written if (path := Path(name)).is_file() and not name.startswith(("/dev/", "/proc/"))}
    whole = {place / "run" / name for name in ("model.safetensors", "record.json", "report.html", "README.md", ".inputs.json")}
    cached = {path for path in stays if (place / "cache") in path.parents}
    assert len(written) > 10
    assert {path.name for path in stays - cached} == {path.name for path in whole}
    assert stays - cached <= whole
    # Of the cache sizes and hashes stay, and no pixel.
    assert not [kept for kept in cache.listed() if kept.kind in ("decoded images", "encoded images", "half written")]
    assert {path for path in place.rglob("*") if path.is_file()} - before - cached <= whole
