"""One request, one value: what is named, what flags say of it, what records say of it, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import untrain
from untrain.cli import main
from untrain.core.errors import BadArgument
from untrain.evidence import record as records
from untrain.verbs.auditing import recorded
from untrain.verbs.catalogue import field_help
from untrain.verbs.folder import noted_inputs
from untrain.verbs.inputs import Inputs

GOLDEN = json.loads((Path(__file__).parent / "golden" / "inputs.json").read_text(encoding="utf-8"))
"""What the command line answered to these commands, one after the other, before there was an `Inputs`. The words of what is refused and of
records are an interface: where one is changed on purpose, its line here is changed with it."""

NETS = """
from torch import nn

import untrain


def small(classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))


class Ours:
    def build(self):
        return small(4)

    def train(self, model, samples):
        return untrain.fit(model, samples, phase="train", lr=0.05, epochs=2, batch=8)


def ours():
    return Ours()
"""


def colours(folder: Path) -> None:
    """Small images of four classes that differ in colour, in class folders."""
    image = pytest.importorskip("PIL.Image")
    for part, n in (("train", 6), ("test", 3), ("hold", 3)):
        for k, label in enumerate("abcd"):
            (folder / part / label).mkdir(parents=True)
            for i in range(n):
                image.new("RGB", (16, 16), (60 * k + 5 * i, 40, 9 * i)).save(folder / part / label / f"{i}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    colours(folder / "d")
    (folder / "n.py").write_text(NETS)
    (folder / "list.txt").write_text("1\n5\n7\n")
    (folder / "files.csv").write_text("path\na/1.png\nb/2.png\n")
    return folder


def test_what_is_said_is_what_was_said_before(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They stand on each other: what one trains, the next one unlearns."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("UNTRAIN_CACHE", str(place / "cache"))
    monkeypatch.setattr("untrain.verbs.inputs.has_bf16", lambda: True)
    for entry in GOLDEN:
        capsys.readouterr()
        code = main(entry["asked"])
        told = capsys.readouterr()
        assert (entry["asked"], code, told.err.splitlines()) == (entry["asked"], entry["exit"], entry["err"])
        if "said" in entry:
            # A list's name goes into the record by a key that is drawn anew for each run.
            found = json.loads(re.sub("keyed-[0-9a-f]{16}", "KEYED", told.out))
            for part in ("data", "model"):
                found[part].pop("sha256", None)
            assert {part: found[part] for part in entry["said"] if part in found} == entry["said"]


VERBS = {
    "train": ("forget", "weights", "redact"),
    "check": ("seed", "epochs", "precision", "redact"),
    "suppress": ("epochs", "recipe"),
    "unlearn unsir": ("epochs", "recipe"),
    "unlearn retrain": (),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_flags_are_the_fields_and_their_help_the_fields_docs(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb.split(), "--help"]) == 0
    told = capsys.readouterr().out.replace("│", " ")
    shown, together = " ".join(told.split()), "".join(told.split())
    for field in field_help(Inputs):
        assert field["help"]
        assert (f"--{field['name'].replace('_', '-')} " in shown) == (field["name"] not in VERBS[verb])
        assert field["name"] in VERBS[verb] or "".join(field["help"].split()) in together


def test_what_is_named_is_known_without_torch() -> None:
    code = "import sys; from untrain.verbs.inputs import Inputs; Inputs(model='digits', data='digits'); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_record_says_again_what_was_named(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All that decides the answers comes back out of the folder, also from another place."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("UNTRAIN_CACHE", str(place / "cache"))
    named = ("--model", "n.py:small", "--data", "d/train", "--test", "d/test", "--holdout", "d/hold", "--size", "8", "--norm", ".5,.4,.3/.2,.25,.3", "--head", "5")
    assert main(["unlearn", "finetune", *named, "--forget", "index:list.txt", "--out", "again"]) == 0
    monkeypatch.chdir(tmp_path)
    inputs = recorded(records.read(place / "again"), noted_inputs(place / "again"))
    assert inputs == Inputs(
        model=f"{place}/n.py:small",
        data=str(place / "d" / "train"),
        test=str(place / "d" / "test"),
        holdout=str(place / "d" / "hold"),
        size=8,
        forget=f"index:{place}/list.txt",
        norm="0.5,0.4,0.3/0.2,0.25,0.3",
        head="5",
    )


def test_each_thing_is_read_once_and_only_when_it_is_asked_for() -> None:
    opened = Inputs(model="digits", data="digits", forget="class:3", weights=Path("nowhere.safetensors")).open()
    assert opened.split.classes == (3,)
    assert opened.data is opened.data
    with pytest.raises(untrain.UntrainError, match=r"nowhere\.safetensors"):
        _ = opened.model


def test_nothing_to_forget_is_refused_where_something_is_to_be_forgotten() -> None:
    with pytest.raises(BadArgument, match="--forget"):
        _ = Inputs(model="digits", data="digits").open().split


def test_every_field_is_said_or_known_not_to_be() -> None:
    """A field that is added is in the record's command by itself, and where it names a file, in what is noted."""
    assert set(Inputs(model="digits", data="digits").words()) == {field.name for field in fields(Inputs)}
