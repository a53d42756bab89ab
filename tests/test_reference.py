"""Retrained models, trained once and kept: by recipe and retained data, resumed after a kill, shared by processes, and told of before."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from scipy import stats

from untrain.cli import main
from untrain.core.errors import BadArgument, BadData
from untrain.core.files import sha256
from untrain.evidence import record as records
from untrain.verbs.folder import locked
from untrain.verbs.inputs import Inputs
from untrain.verbs.reference import allows, reference
from untrain.verbs.run_files import weights_in

ASKED = Inputs(model="digits", data="digits", forget="class:3", epochs=2, device="cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refs") / "two"
    said = []
    return reference(ASKED, folder, models=2, say=said.append), folder, said


def test_so_many_models_are_trained_and_told_of_beforehand(two):
    told, folder, said = two
    assert [m["file"] for m in told["models"]] == ["seed-1.safetensors", "seed-2.safetensors"]
    assert all(m["trained"] for m in told["models"])
    assert len({m["sha256"] for m in told["models"]}) == 2
    assert sorted(p.name for p in folder.iterdir()) == ["seed-1.safetensors", "seed-2.safetensors"]
    first, second, third = (next(line for line in said if word in line) for word in ("0 of 2 models without class 3", "2 models: a trace is found", "10% of the recipe's epochs"))
    assert said.index(first) < said.index(second) < said.index(third)
    assert "the other 2 take about" in first
    assert "give more" in third
    assert told["seconds_each"] > 0


def test_what_is_there_is_taken_and_more_are_added(two):
    told, folder, _ = two
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    again = reference(ASKED, folder, models=2)
    assert [(m["trained"], m["sha256"]) for m in again["models"]] == [(False, m["sha256"]) for m in told["models"]]
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_a_folder_of_another_recipe_or_other_data_is_refused(two):
    _, folder, _ = two
    for other in (Inputs(model="digits", data="digits", forget="class:4", epochs=2, device="cpu"), Inputs(model="digits", data="digits", forget="class:3", epochs=1, device="cpu")):
        with pytest.raises(BadArgument, match="models of another recipe, or trained on other data"):
            reference(other, folder, models=2)


def test_a_folder_that_is_read_or_holds_other_things_is_refused(tmp_path):
    """Models were written among the images, or into a run's folder."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").write_bytes(b"")
    root, weights = tmp_path / "root", tmp_path / "weights.safetensors"
    root.mkdir()
    with pytest.raises(BadArgument, match=r"run holds other things, such as model\.safetensors"):
        reference(ASKED, tmp_path / "run", models=1)
    with pytest.raises(BadArgument, match="root is an input of this run"):
        reference(replace(ASKED, data_root=root, weights=weights), root, models=1)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model.safetensors"]
    assert list(root.iterdir()) == []


def test_models_that_saw_mirrored_images_are_others(two):
    _, folder, _ = two
    with pytest.raises(BadArgument, match="models of another recipe, or trained on other data"):
        reference(replace(ASKED, mirror=True), folder, models=2)


def test_the_cache_is_named_by_recipe_and_retained_data_and_not_by_their_number(cache):
    first = reference(ASKED, models=1, cost=True)
    assert first["models"] == []
    assert not cache.exists()
    assert reference(ASKED, models=3, cost=True)["folder"] == first["folder"]
    others = [Inputs(model="digits", data="digits", forget="class:3", epochs=1, device="cpu"), Inputs(model="digits", data="digits", forget="class:4", epochs=2, device="cpu")]
    assert len({first["folder"], *(reference(o, models=1, cost=True)["folder"] for o in others)}) == 3


class Killed(KeyboardInterrupt):
    """Stands for a kill, and is no error that user code could be blamed for."""


def test_a_killed_call_goes_on_to_the_same_bits(two, tmp_path):
    told, _, _ = two

    def kill(phase, step, steps):
        if phase == "model 1 of 1: train" and step >= steps // 2:
            raise Killed

    folder = tmp_path / "refs"
    with pytest.raises(Killed):
        reference(ASKED, folder, models=1, progress=kill)
    assert (folder / "seed-1" / ".state").is_dir()
    made = reference(ASKED, folder, models=1)["models"]
    assert [m["sha256"] for m in made] == [told["models"][0]["sha256"]]
    assert [p.name for p in folder.iterdir()] == ["seed-1.safetensors"]


def test_a_model_that_another_process_is_at_is_left_to_it(tmp_path):
    folder = tmp_path / "refs"

    def kill(phase, step, steps):
        raise Killed

    with pytest.raises(Killed):
        reference(ASKED, folder, models=1, progress=kill)
    said = []
    with locked(folder / "seed-1"):
        told = reference(ASKED, folder, models=2, say=said.append)
    assert told["busy"] == 1
    assert [m["seed"] for m in told["models"]] == [2]
    assert "1 of them are being trained by other processes; call it again when they are done" in said


@pytest.mark.parametrize("m", [2, 3, 5, 10])
def test_what_a_number_of_models_allows_is_students_prediction(m):
    far = stats.t.ppf(0.95, m - 1) * (1 + 1 / m) ** 0.5
    assert f"from {far:.1f} of their deviations" in allows(m)
    assert ("that none was found can be said" in allows(m)) == (m >= 5)


def test_one_model_gives_no_p_value():
    assert "no p-value" in allows(1)


def test_a_folder_stands_for_the_weights_in_it(tmp_path):
    for seed in (1, 2, 10):
        (tmp_path / f"seed-{seed}.safetensors").write_bytes(b"")
    (tmp_path / "seed-3").mkdir()
    assert [p.name for p in weights_in([tmp_path])] == ["seed-1.safetensors", "seed-2.safetensors", "seed-10.safetensors"]
    with pytest.raises(BadData, match="holds no weights"):
        weights_in([tmp_path / "seed-3"])


def test_the_audit_takes_the_folder(two, tmp_path, capsys):
    told, folder, _ = two
    common = ("--model", "digits", "--data", "digits", "--forget", "class:3", "--device", "cpu")
    assert main(["unlearn", "headonly", *common, "--out", str(tmp_path / "run")]) == 0
    assert main(["audit", str(tmp_path / "run"), "--retrained", str(folder), "--skip", "relearn", "--device", "cpu"]) in (3, 4)
    record = records.read(tmp_path / "run")
    assert [(r["file"], r["sha256"]) for r in record["references"]] == [(m["file"], m["sha256"]) for m in told["models"]]
    assert record["references"][0]["sha256"] == sha256(folder / "seed-1.safetensors")
    capsys.readouterr()
    assert main(["reference", *common, "--epochs", "2", "--models", "2", "--out", str(folder), "--json"]) == 0
    assert [m["trained"] for m in json.loads(capsys.readouterr().out)["models"]] == [False, False]
