"""Files of settings: what is written is read back, what is not said is the preset's, and what no method has is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import untrain
from untrain.cli.app import main
from untrain.core.discover import every_setting, settings
from untrain.core.errors import UntrainError
from untrain.core.settings import written
from untrain.evidence import record as records
from untrain.methods.influence import Influence

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


def test_what_influence_says_of_the_digits_is_what_was_recorded() -> None:
    lines = json.loads((Path(__file__).parents[1] / "benchmarks" / "records" / "tuning-digits.json").read_text())

    def of(setting: str) -> tuple[list[float], list[float]]:
        found = sorted((line["class"], line["forgotten, held out"]["unlearned"], line["retained, held out"]) for line in lines if line["setting"] == setting)
        return [100 * left for _, left, _ in found], [100 * (kept["original"] - kept["unlearned"]) for *_, kept in found]

    said = " ".join(Influence.__doc__.split())
    (cg, lost), (ek, most), (five, less), (twice, cost) = map(
        of, ("influence alpha=1.0 solve_steps=10", 'influence solver="ekfac"', 'influence solver="ekfac" damping=0.05', 'influence solver="lissa" solve_steps=1500 alpha=2.0')
    )
    assert ek == five == [0, 0]
    assert (cg[1], twice[1]) == (0, 0)
    (few, _), (ten, _) = map(of, ('influence solver="lissa" solve_steps=150', 'influence solver="lissa" solve_steps=1500'))
    for sentence in (
        f"`cg` at its default leaves {cg[0]:.0f} % and none named, and costs the rest {lost[0]:.0f} and {lost[1]:.1f} points",
        f"at the same damping it leaves none and costs {most[0]:.1f} and {most[1]:.1f} points, at five times that (the preset) none and {less[0]:.1f} and {less[1]:.1f}",
        f"at as many passes it leaves {few[0]:.0f} % and {few[1]:.0f} %, at ten times as many {ten[0]:.0f} % and {ten[1]:.0f} %",
        f"with twice the step (the preset) {twice[0]:.0f} % and none, for {cost[0]:.1f} and {cost[1]:.1f} points",
    ):
        assert sentence in said
    assert Influence.presets == {"ekfac": Influence(solver="ekfac", damping=0.05), "lissa": Influence(solver="lissa", solve_steps=1500, alpha=2.0)}
    assert Influence() == Influence(alpha=1.0, solve_steps=10)
