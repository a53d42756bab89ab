"""Files of settings: what is written is read back, what is not said is the preset's, and what no method has is refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import untrain
from untrain.cli.app import main
from untrain.core.discover import every_setting, settings
from untrain.core.errors import UntrainError
from untrain.core.settings import written
from untrain.evidence import record as records

ASKED = ("--model", "digits", "--data", "digits", "--forget", "class:3")


@pytest.mark.parametrize("name", every_setting())
def test_what_is_printed_is_read_back(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", name, "--toml"]) == 0
    (tmp_path / "it.toml").write_text(capsys.readouterr().out)
    assert untrain.read_settings(tmp_path / "it.toml") == every_setting()[name]


def test_what_is_not_said_is_the_presets_and_flags_go_before_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('method = "neggrad"\n[values]\nlr = 1\nepochs = 2\n')
    assert untrain.read_settings(file) == replace(settings("neggrad"), lr=1.0, epochs=2)
    assert main(["unlearn", "neggrad", "--settings", str(file), "--lr", "1e-4", *ASKED, "--out", str(tmp_path / "run")]) == 0
    record = records.read(tmp_path / "run")
    assert record["method"]["settings"] == vars(replace(settings("neggrad"), lr=1e-4, epochs=2))
    # The record needs no file to be run again.
    assert "--settings" not in record["command"]
    assert record["command"][-2:] == ["--epochs", "2"]
    file.write_text('method = "unsir"\npreset = "paper"\nvalues = {noise_steps = 3}\n')
    assert untrain.read_settings(file) == replace(settings("unsir", "paper"), noise_steps=3)


def test_a_field_that_may_be_unset_takes_its_kind_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('method = "unsir"\nvalues = {site = "embed"}\n')
    assert untrain.read_settings(file) == replace(settings("unsir"), site="embed")
    file.write_text('method = "unsir"\nvalues = {site = 3}\n')
    with pytest.raises(UntrainError, match="site = 3; give text"):
        untrain.read_settings(file)


REFUSED: list[tuple[str, list[str]]] = [
    ('method = "unsir"\nlr = 1\n', ["'lr'", "[values]"]),
    ('method = "unsir"\n[values]\nnosuch = 1\n', ["'nosuch'", "impair_lr"]),
    ('method = "nosuch"\n', ["'nosuch'", "unsir"]),
    ('method = "unsir"\npreset = "nosuch"\n', ["'nosuch'", "paper"]),
    ("[values]\n", ['method = "NAME"']),
    ('method = "unsir"\nvalues = 3\n', ["[values]"]),
    ('method = "unsir"\npreset = 3\n', ["preset"]),
    ('method = "unsir"\n[values]\naugment = 1\n', ["augment", "true or false"]),
    ('method = "unsir"\n[values]\nbatch = 64.0\n', ["batch", "a whole number"]),
    ('method = "unsir"\n[values]\nbatch = true\n', ["batch", "a whole number"]),
    ('method = "unsir"\n[values]\nimpair_lr = "1"\n', ["impair_lr", "a number"]),
    ('method = "unsir"\n[values]\nimpair_lr = true\n', ["impair_lr", "a number"]),
    ('method = "unsir"\n[values]\nimpair_lr = nan\n', ["impair_lr", "not finite"]),
    (f'method = "unsir"\n[values]\nbatch = {"9" * 400}\n', ["mine.toml"]),
    ('method = "unsir"\n[values]\nrepair = "magic"\n', ["magic", "distill", "labels"]),
    ('method = "unsir"\n[values\n', ["mine.toml", "line 2"]),
]


@pytest.mark.parametrize(("text", "says"), REFUSED, ids=[text.replace("\n", " ")[:60] for text, _ in REFUSED])
def test_what_no_method_has_is_refused_in_one_line(text: str, says: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UntrainError):
        untrain.read_settings(file)
    code = main(["unlearn", "unsir", *ASKED, "--settings", str(file), "--out", str(tmp_path / "o")])
    told = capsys.readouterr().err
    assert code in (2, 5)
    assert told.count("\n") == 1
    assert all(word in told for word in says), told
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--settings", "mine.toml", "--preset", "paper"), ["--preset paper", "mine.toml"]),
        (("--settings", "other.toml"), ["neggrad", "unsir"]),
        (("--settings", "nowhere.toml"), ["nowhere.toml"]),
    ],
)
def test_a_file_that_does_not_fit_the_command_is_refused(
    flags: tuple[str, ...], says: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(written(settings("unsir")))
    Path("other.toml").write_text(written(settings("neggrad")))
    assert main(["unlearn", "unsir", *ASKED, *flags, "--out", "o"]) in (2, 5)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert all(word in told for word in says), told
    assert main(["methods", "--toml"]) == 2
    assert main(["methods", "nosuch", "--toml"]) == 2
