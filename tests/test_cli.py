"""The command line: help without torch, each verb's contract, and what is written."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

import untrain
from sometimes import one_in
from untrain.cli import main
from untrain.core import files
from untrain.core.discover import every_setting, found, usual
from untrain.evidence import record as records
from untrain.verbs.about import setting_flags
from untrain.verbs.pictures import png

VERBS = ("demo", "methods", "audits", "train", "prepare", "check", "unlearn", "suppress", "audit", "report", "verify", "key", "sign", "cache", "ledger", "convert")
ASKED = ("--model", "digits", "--data", "digits", "--forget", "class:3")


def ran(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "unsir"
    assert ran("unlearn", "unsir", *ASKED, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("retrained")
    for seed in (1, 2):
        assert ran("unlearn", "retrain", *ASKED, "--epochs", 4, "--seed", seed, "--out", folder / str(seed)) == 0
    return [folder / str(seed) / "model.safetensors" for seed in (1, 2)]


def test_importing_and_help_import_no_torch() -> None:
    asked = [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)]
    code = f"""
import sys, untrain, untrain.evidence.record, untrain.evidence.verdict
from untrain.cli import main
assert all(main(tokens) == 0 for tokens in {asked!r})
assert not {{"torch", "numpy", "scipy", "sklearn"}} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(f" {verb} " in done.stdout for verb in VERBS)
    assert all(name in done.stdout and entry.summary[:20] in done.stdout for name, entry in found("methods").items())


@pytest.mark.parametrize("name", one_in(3, found("methods")))
def test_a_methods_help_has_a_flag_for_each_field(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("unlearn", name, "--help") == 0
    shown = capsys.readouterr().out
    cls = found("methods")[name].load()
    names = [f.name for f in fields(cls)]
    for field in names:
        assert f"--{field.replace('_', '-')} " in shown
    assert all(preset in shown for preset in cls.presets)
    assert ("--epochs" in shown) == ("recipe" in cls.needs or "epochs" in names)


def test_methods_and_audits_list_what_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("methods", "--json") == 0
    methods = {m["name"]: m for m in json.loads(capsys.readouterr().out)}
    assert set(methods) == set(found("methods"))
    assert methods["unsir"]["needs"] == ["retain", "classes"]
    assert "paper" in methods["unsir"]["presets"]
    assert methods["unsir"]["paper"]
    assert all(field["help"] for m in methods.values() for field in m["fields"])
    assert ran("audits", "--json") == 0
    assert {a["name"] for a in json.loads(capsys.readouterr().out)} == set(found("audits"))
    assert ran("methods") == ran("audits") == 0


def test_the_public_names_are_there() -> None:
    assert all(getattr(untrain, name) is not None for name in [*untrain.__all__, "UNSIR", "Retrain", "HeadOnly", "Accuracy", "Relearn"])
    with pytest.raises(AttributeError):
        untrain.NoSuchMethod  # noqa: B018 - the lookup is the test


def test_a_run_is_its_weights_and_a_valid_record(run: Path) -> None:
    assert sorted(p.name for p in run.iterdir()) == ["model.safetensors", "record.json"]
    record = records.read(run)
    jsonschema.validate(record, records.schema())
    assert record["output"]["sha256"] == sha256(run / "model.safetensors")
    assert record["model"]["origin"] == "bundled"
    assert record["request"] == {"forget": "class:3", "classes": [3], "names": ["3"]}
    assert str(run.parent) not in (run / "record.json").read_text()


def test_the_records_command_gives_the_same_bits(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(records.read(run)["command"]) == 0
    assert sha256(Path(run.name) / "model.safetensors") == sha256(run / "model.safetensors")


@pytest.mark.parametrize("method", every_setting().values(), ids=every_setting())
def test_flags_say_a_setting_shortly(method: Any) -> None:
    flags = setting_flags(method)
    preset = next((name for name, other in type(method).presets.items() if other == method), None)
    assert flags == (["--preset", preset] if preset else [])


def test_flags_go_before_the_preset(tmp_path: Path) -> None:
    flags = ("--preset", "paper", "--impair-lr", "0.01", "--augment", "--noise-steps", 0, "--seed", 4)
    assert ran("unlearn", "unsir", *ASKED, *flags, "--out", tmp_path / "run") == 0
    record = records.read(tmp_path / "run")
    settings = record["method"]["settings"]
    assert (settings["impair_lr"], settings["augment"], settings["noise_steps"], settings["repair"], settings["new_row"]) == (0.01, True, 0, "labels", False)
    assert record["method"]["preset"] is None
    assert record["seed"] == 4
    assert record["command"][-7:] == ["--preset", "paper", "--noise-steps", "0", "--impair-lr", "0.01", "--augment"]


def test_weights_are_written_as_they_were_given(tmp_path: Path) -> None:
    given = {k: v.half() for k, v in untrain.load_model("digits").state_dict().items() if not k.endswith("num_batches_tracked")}
    files.save_weights(tmp_path / "half.safetensors", given, {})
    assert ran("unlearn", "headonly", *ASKED, "--weights", tmp_path / "half.safetensors", "--out", tmp_path / "run") == 0
    written = files.load_weights(tmp_path / "run" / "model.safetensors")
    assert {k: v.dtype for k, v in written.items()} == {k: v.dtype for k, v in given.items()}
    changed = {k for k, v in written.items() if not torch.equal(v, given[k])}
    assert changed == {"linear.weight", "linear.bias"}
    record = records.read(tmp_path / "run")
    assert record["model"]["origin"] == "half.safetensors"
    assert str(tmp_path) not in json.dumps(record)
    # The audit finds the original where it was, though the record does not say where.
    assert ran("audit", tmp_path / "run") == 3
    assert records.read(tmp_path / "run")["verdict"]["code"] == "SUPPRESSED"


def test_an_audit_fills_the_record_and_renews_it(run: Path, retrained: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert ran("audit", run, "--json") == 4
    first = json.loads(capsys.readouterr().out)
    assert first["verdict"]["code"] == "INCONCLUSIVE"
    assert first["references"] == []
    assert ran("audit", run, "--retrained", *retrained, "--show-images", "--json") in (3, 4)
    second = json.loads(capsys.readouterr().out)
    assert second == json.loads((run / "record.json").read_text())
    jsonschema.validate(second, records.schema())
    assert [r["about"]["seed"] for r in second["references"]] == [1, 2]
    assert {entry["name"] for entry in second["audits"]} == set(usual())
    assert 8 <= len(second["pictures"]) <= 16
    assert set(second["pictures"][0]["said"]) == {"original", "unlearned", "retrained"}
    assert ran("audit", run, "--retrained", *retrained) in (3, 4)
    told = capsys.readouterr().out
    assert "not at hand" not in told
    assert "what it was to keep is" in " ".join(told.split())
    assert records.read(run)["pictures"] is None
    assert records.read(run)["audits"] == second["audits"]


def test_a_page_is_drawn_and_renewed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    capsys.readouterr()
    for _ in range(2):
        assert ran("report", run, "-o", page, "--json") == 0
        assert json.loads(capsys.readouterr().out) == {"page": str(page)}
    assert page.read_text().startswith("<!doctype html>")


def test_training_says_how_good_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("train", "--model", "digits", "--data", "digits", "--epochs", 3, "--holdout-every", 5, "--out", tmp_path / "t", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "t" / "train.json").read_text())
    assert told["output"]["sha256"] == sha256(tmp_path / "t" / "model.safetensors")
    assert told["accuracy"]["held out"]["n"] == told["data"]["counts"]["held out"] == 269
    assert told["accuracy"]["test"]["value"] > 0.5
    assert sorted(p.name for p in (tmp_path / "t").iterdir()) == ["model.safetensors", "train.json"]


def test_the_bundled_digits_know_their_digits() -> None:
    data, model = untrain.load("digits"), untrain.load_model("digits")
    with torch.no_grad():
        right = model(model.norm(data.test.sources[0].x)).argmax(1) == data.test.sources[0].y
    assert right.double().mean() > 0.98


def test_an_image_is_a_png_that_others_read(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for shape in ((1, 8, 6), (3, 5, 7)):
        pixels = torch.arange(shape[0] * shape[1] * shape[2], dtype=torch.uint8).reshape(shape)
        (tmp_path / "a.png").write_bytes(png(pixels))
        with image.open(tmp_path / "a.png") as read:
            assert list(read.tobytes()) == pixels.permute(1, 2, 0).flatten().tolist()


@pytest.mark.slow
def test_two_ranks_write_and_speak_once(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone", "-m", "untrain"]
    done = subprocess.run([*launch, "unlearn", "headonly", *ASKED, "--out", str(tmp_path / "run"), "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["environment"]["ranks"] == 2
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["model.safetensors", "record.json"]


@pytest.mark.slow
def test_the_demo_tells_a_finding_and_ends_with_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, threads = tmp_path / "demo", torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert ran("demo", "--out", out) == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.splitlines()[-1] == str(out / "report.html")
    assert "head mask is a fake" in told.out
    record = records.read(out)
    jsonschema.validate(record, records.schema())
    # On a busy machine two threads took ten times as long, and on a quiet one no less.
    assert record["environment"]["threads"] == 1
    assert record["verdict"]["sentence"] in told.out
    assert [r["column"] for r in record["references"]] == ["retrained"] * 8 + ["head mask"]
    assert record["output"]["sha256"] == sha256(out / "model.safetensors")
    assert record["pictures"]
    (out / "notes.txt").write_text("mine")
    assert ran("demo", "--out", out, "--forget", "class:7", "--retrained", _retrained_on_seven(tmp_path), "--json") == 0
    assert records.read(out)["request"]["classes"] == [7]
    assert (out / "notes.txt").read_text() == "mine"


def _retrained_on_seven(folder: Path) -> Path:
    assert ran("unlearn", "retrain", "--model", "digits", "--data", "digits", "--forget", "class:7", "--epochs", 3, "--out", folder / "seven") == 0
    return folder / "seven" / "model.safetensors"


@pytest.mark.data
@pytest.mark.slow
def test_the_published_network_keeps_its_keys(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNTRAIN_DATA", str(data_root))
    assert ran("unlearn", "headonly", "--model", "resnet20", "--data", "cifar10", "--forget", "class:cat,dog", "--out", tmp_path / "run") == 0
    given = files.load_weights(data_root / "checkpoints" / "cifar10_resnet20.safetensors")
    written = files.load_weights(tmp_path / "run" / "model.safetensors")
    assert {k: v.dtype for k, v in written.items()} == {k: v.dtype for k, v in given.items()}
    record = records.read(tmp_path / "run")
    assert record["model"]["origin"] == "published checkpoint"
    assert record["request"] == {"forget": "class:cat,dog", "classes": [3, 5], "names": ["cat", "dog"]}
    assert str(data_root) not in json.dumps(record)
