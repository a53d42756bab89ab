"""Originals that are prepared for exact or certified forgetting by command: written, read again, forgotten in, and refused."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path

import jsonschema
import pytest
import torch
from safetensors.torch import load_file

from untrain import SISA, CertifiedRemoval, Split, load, prepare, recipe_for, unlearn
from untrain.cli import main
from untrain.core import files
from untrain.evidence import record as records
from untrain.verbs.given import given_model
from untrain.verbs.inputs import Inputs
from untrain.verbs.training import prepare as prepare_to
from untrain.verbs.unlearning import unlearn as unlearn_to

SETTINGS = SISA(shards=2, slices=2)
BY = ("--shards", "2", "--epochs", "1")
DIGITS = ("--model", "digits", "--data", "digits")


def ran(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def weights(run: Path) -> Path:
    return run / "model.safetensors"


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SISA original of digits, and what it left when the last of its last slices' samples went; code that gives the data without it, and a table."""
    root = tmp_path_factory.mktemp("prepared")
    assert ran("prepare", "sisa", *DIGITS, *BY, "--out", root / "sisa") == 0
    part = SETTINGS.places(load("digits").train)[1]
    gone = int((part == 1).nonzero().flatten()[0])
    (root / "gone.txt").write_text(f"{gone}\n")
    (root / "data.py").write_text(
        f"import torch, untrain\n\ndef less():\n    data = untrain.load('digits')\n    return data.train[torch.arange(len(data.train)) != {gone}], data.test\n"
    )
    assert ran("unlearn", "sisa", *DIGITS, "--weights", weights(root / "sisa"), "--forget", f"index:{root / 'gone.txt'}", "--out", root / "first") == 0
    g = torch.Generator().manual_seed(0)
    for name, n in (("rows", 120), ("others", 60)):
        y = torch.randint(3, (n,), generator=g)
        x = torch.randn(n, 2, generator=g) * torch.tensor([1.0, 30.0]) + y[:, None] * torch.tensor([2.0, -40.0])
        lines = [
            f"{a:.4f},{b:.4f},{'abc'[c]},{'Ann' if i % 40 == 0 else 'Ben' if i % 40 == 1 else 'Cem'}" for i, ((a, b), c) in enumerate(zip(x.tolist(), y.tolist(), strict=True))
        ]
        (root / f"{name}.csv").write_text("\n".join(["age,height,label,person", *lines]))
    head, *lines = (root / "rows.csv").read_text().splitlines()
    (root / "less.csv").write_text("\n".join([head, *(line for line in lines if not line.endswith("Ann"))]))
    assert ran("prepare", "certifiedremoval", *table(root), "--out", root / "certified") == 0
    state, about = load_file(weights(root / "sisa")), files.about(weights(root / "sisa"))
    files.save_weights(root / "plain.safetensors", {"linear.weight": torch.zeros(3, 2)}, {})
    (root / "torn.safetensors").write_bytes(weights(root / "sisa").read_bytes()[:-1000])
    for name, settings in (("lies", {"shards": 10**9, "slices": 2}), ("odd", {"shards": "many"})):
        files.save_weights(root / f"{name}.safetensors", state, about | {"prepared": about["prepared"] | {"settings": settings}})
    return root


def table(root: Path, rows: str = "rows") -> tuple[object, ...]:
    return ("--data", root / f"{rows}.csv", "--test", root / "others.csv", "--columns", "age,height")


def test_help_lists_what_prepares_and_takes_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("prepare", "--help") == 0
    listed = capsys.readouterr().out
    assert "sisa" in listed
    assert "certifiedremoval" in listed
    assert "scrub" not in listed
    for name, cls in (("sisa", SISA), ("certifiedremoval", CertifiedRemoval)):
        assert ran("prepare", name, "--help") == 0
        shown = capsys.readouterr().out
        assert all(f"--{field} " in shown for field in asdict(cls()))
        assert ("--epochs" in shown) == ("--recipe" in shown) == (name == "sisa")


def test_it_is_to_the_bit_what_python_prepares_and_forgets(world: Path) -> None:
    """What was written, read and forgotten in by command is what comes of the model that never left memory."""
    data, recipe = load("digits"), recipe_for("digits", 10, 1)
    model = prepare(SETTINGS, data.train, recipe=recipe, norm=recipe.build().norm).model
    assert same(load_file(weights(world / "sisa")), model.state_dict())
    here = torch.arange(len(data.train)) == int((world / "gone.txt").read_text())
    left = unlearn(model, Split(data.train[here], data.train[~here], data.test, ()), SETTINGS, recipe=recipe).model
    assert same(load_file(weights(world / "first")), left.state_dict())


def test_what_no_forgotten_sample_was_in_is_in_the_file_to_the_bit(world: Path) -> None:
    before, after = (load_file(weights(world / name)) for name in ("sisa", "first"))
    gone = load("digits").train[torch.tensor([int((world / "gone.txt").read_text())])]
    shard, part, _ = (int(found[0]) for found in SETTINGS.places(gone))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith(f"members.{shard}.") for name in moved)
    assert all(name == "sums" or name.startswith((f"members.{shard}.", f"kept.{shard}:{part}:")) for name in moved)


def test_a_result_takes_the_next_request_and_not_the_same_again(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more.txt").write_text("3\n")
    asked = ("unlearn", "sisa", "--model", "digits", "--weights", weights(world / "first"))
    assert ran(*asked, "--data", "digits", "--forget", f"index:{world / 'gone.txt'}", "--out", tmp_path / "again") == 5
    assert "less what is forgotten already" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
    assert ran(*asked, "--data", f"{world / 'data.py'}:less", "--forget", f"index:{tmp_path / 'more.txt'}", "--out", world / "second") == 0
    record = records.read(world / "second")
    assert [entry["record"] for entry in record["chain"]["requests"]] == [files.sha256(world / "first" / "record.json")]
    assert (load_file(weights(world / "second"))["sums"] != load_file(weights(world / "first"))["sums"]).sum() == 1
    capsys.readouterr()
    assert ran("verify", world / "second", "--data", f"{world / 'data.py'}:less", "--replay") == 0
    said = capsys.readouterr().out
    assert "same: earlier request 1" in said
    assert "same: replay" in said


def test_a_certificate_stands_in_the_record_and_on_the_page_as_it_was_computed(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spent = [0.0]
    for out, original, rows, who in (("one", "certified", "rows", "Ann"), ("two", "one", "less", "Ben")):
        asked = ("unlearn", "certifiedremoval", "--weights", weights(world / original), *table(world, rows))
        assert ran(*asked, "--forget", f"where:person={who}", "--out", world / out) == 0
        record = records.read(world / out)
        jsonschema.validate(record, records.schema())
        model = given_model("certifiedremoval", 3, weights=weights(world / out)).module
        found = record["run"]["certificate"]
        assert found == records.finite(asdict(CertifiedRemoval().certificate(model)))
        assert f"certified: (1, 0.0001), with {found['spent']:.3g} spent of {found['budget']:.3g}" in capsys.readouterr().out
        spent.append(found["spent"])
    assert spent == sorted(set(spent))
    assert (
        ran(
            "reference",
            "--model",
            "certifiedremoval",
            "--weights",
            weights(world / "one"),
            *table(world, "less"),
            "--forget",
            "where:person=Ben",
            "--models",
            2,
            "--out",
            world / "refs",
        )
        == 0
    )
    assert ran("audit", world / "two", "--retrained", world / "refs") == 4
    assert ran("report", world / "two") == 0
    page = (world / "two" / "report.html").read_text()
    assert f"<dd>{spent[-1]:.3g}: a bound" in page
    assert "no more" in page
    assert ran("verify", world / "two", "--retrained", world / "refs", "--replay") == 0
    assert "same: earlier request 1" in capsys.readouterr().out
    record = records.read(world / "two")
    record["run"]["certificate"]["epsilon"] = 0.5
    (world / "two" / "record.json").write_bytes(records.dumps(record))
    assert ran("report", world / "two") == 5
    assert "a bound" not in (world / "two" / "report.html").read_text()


def test_reference_models_are_prepared_without_the_forgotten(world: Path) -> None:
    """By the same settings, from a seed of their own, on what is retained."""
    asked = ("--model", "digits", "--weights", weights(world / "sisa"), "--data", "digits", "--forget", f"index:{world / 'gone.txt'}")
    assert ran("reference", *asked, "--models", 1, "--out", world / "others") == 0
    data, recipe = load("digits"), recipe_for("digits", 10, 1)
    kept = data.train[torch.arange(len(data.train)) != int((world / "gone.txt").read_text())]
    found = load_file(world / "others" / "seed-1.safetensors")
    assert torch.equal(found["sums"], SETTINGS.summed(kept))
    assert not torch.equal(found["members.0.conv1.weight"], load_file(weights(world / "sisa"))["members.0.conv1.weight"])
    assert files.about(world / "others" / "seed-1.safetensors")["prepared"]["changed"] is None
    assert prepare(SETTINGS, kept, recipe=recipe, seed=1).model.state_dict().keys() == found.keys()


def test_rows_are_read_alike_whichever_others_there_are(world: Path) -> None:
    """A mean over the training part moves with each row that goes; a model that was prepared is given none."""
    for prepared in (True, False):
        given = {"model": "certifiedremoval" if prepared else "digits", "weights": weights(world / "certified") if prepared else None, "columns": "age,height"}
        rows, less = (Inputs(**given, data=str(world / f"{name}.csv"), test=str(world / "others.csv")).open().data.train for name in ("rows", "less"))
        kept = torch.tensor([who != "Ann" for who in rows.columns["person"]])
        assert torch.equal(rows[kept].batch(torch.arange(len(less)))[0], less.batch(torch.arange(len(less)))[0]) == prepared


NETS = """
import torch, untrain

def net():
    return torch.nn.Linear(2, 3)

class By:
    def __init__(self, lr):
        self.lr = lr
    def build(self):
        return net()
    def train(self, model, samples):
        return untrain.fit(model, samples, phase="train", lr=self.lr, epochs=2, batch=16)

def recipe():
    return By(0.1)

def other():
    return By(0.2)
"""


def test_networks_and_recipes_of_ones_own(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code is run where the command names it, and is the code that it was prepared by."""
    (world / "nets.py").write_text(NETS)
    asked = ("--model", f"{world / 'nets.py'}:net", *table(world))
    assert ran("prepare", "sisa", *asked, "--shards", 2, "--recipe", f"{world / 'nets.py'}:recipe", "--out", world / "own") == 0
    forget = ("unlearn", "sisa", *asked, "--weights", weights(world / "own"), "--forget", "where:person=Ann", "--out", world / "own-1")
    for recipe, code, said in (
        ((), 2, "add --recipe|name a function"),
        (("--recipe", f"{world / 'nets.py'}:other"), 2, "prepared by another recipe"),
        (("--epochs", 3), 2, "--recipe"),
    ):
        assert ran(*forget, *recipe) == code
        err = capsys.readouterr().err.splitlines()[-1]
        assert any(word in err for word in said.split("|")), err
        assert not (world / "own-1").exists()
    assert ran(*forget, "--recipe", f"{world / 'nets.py'}:recipe") == 0
    assert load_file(weights(world / "own"))["members.0.weight"].shape == (3, 2)
    assert ran("audit", world / "own-1", "--model", f"{world / 'nets.py'}:net") == 4


def test_a_normalisation_is_the_files(world: Path, tmp_path: Path) -> None:
    """The linear model has none of its own: with another the forgotten and the retained would not be what it was trained on."""
    assert ran("prepare", "certifiedremoval", "--data", "digits", "--norm", "grey", "--out", tmp_path / "grey") == 0
    asked = ("unlearn", "certifiedremoval", "--weights", weights(tmp_path / "grey"), "--data", "digits", "--forget", f"index:{world / 'gone.txt'}")
    assert ran(*asked, "--out", tmp_path / "run") == 0
    assert records.read(tmp_path / "run")["model"]["norm"] == records.finite(asdict(recipe_for("digits", 10, 1).build().norm))
    assert ran("audit", tmp_path / "run", "--skip", "iam") == 4


def test_what_another_method_changed_is_no_longer_what_was_prepared(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = (*DIGITS, "--forget", f"index:{world / 'gone.txt'}")
    assert ran("unlearn", "neggrad", *asked, "--weights", weights(world / "sisa"), "--out", tmp_path / "other") == 0
    assert ran("unlearn", "sisa", *asked, "--weights", weights(tmp_path / "other"), "--out", tmp_path / "no") == 2
    assert "changed by neggrad" in capsys.readouterr().err
    assert ran("unlearn", "retrain", *asked, "--weights", weights(world / "sisa"), "--out", tmp_path / "anew") == 0
    (tmp_path / "more.txt").write_text("3\n")
    more = ("--model", "digits", "--data", f"{world / 'data.py'}:less", "--forget", f"index:{tmp_path / 'more.txt'}")
    assert ran("unlearn", "sisa", *more, "--weights", weights(tmp_path / "anew"), "--out", tmp_path / "yes") == 0


def test_what_is_advised_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a run that forgot nothing `unlearn sisa` advised other --shards, which `unlearn sisa` refuses: what was prepared in two is not forgotten in by three."""

    def forgot(number: int, *settings: object) -> list[str]:
        made = tmp_path / f"made {number}"
        assert ran("prepare", "sisa", *DIGITS, "--epochs", 0, *settings, "--out", made) == 0
        (told,) = [line for line in capsys.readouterr().out.splitlines() if "untrain unlearn" in line]
        command = shlex.split(told[told.index("untrain unlearn") :])[1:]
        # An untrained network calls nearly everything by one class.
        module = given_model("digits", 10, weights=weights(made)).module
        usual = int(module(load("digits").train.prepared(module.norm).batch(torch.arange(900))[0]).argmax(1).mode().values)
        meant = {"WHAT": f"class:{usual}", "FOLDER": str(tmp_path / f"run {number}")}
        assert ran(*(meant.get(word, word) for word in command), *DIGITS) == 0
        return capsys.readouterr().out.splitlines()

    (said,) = [line for line in forgot(1, "--shards", 2) if "before running it again" in line]
    assert said.endswith("raise --shards (it was 2) where the original is prepared, by `untrain prepare sisa`")
    assert said.startswith("what was to be forgotten is named as before")
    forgot(2, "--shards", 3)


FORGET = ("--forget", "index:gone.txt", "--out", "no")
ROWS = ("--forget", "where:person=Ann", "--out", "no")
REFUSED = {
    "a method that needs nothing": (("prepare", "scrub", *DIGITS, "--out", "no"), 2, "there is nothing to prepare"),
    "no method": (("prepare", "nosuch", *DIGITS, "--out", "no"), 2, "there are certifiedremoval, sisa"),
    "no test part": (("prepare", "certifiedremoval", "--data", "rows.csv", "--out", "no"), 5, "name one by --test"),
    "a deep network for the linear method": (("prepare", "certifiedremoval", *DIGITS, "--out", "no"), 2, "leave out --model"),
    "pixels without a normalisation": (("prepare", "certifiedremoval", "--data", "digits", "--out", "no"), 2, "--norm"),
    "no shards": (("prepare", "sisa", *DIGITS, "--shards", "0", "--out", "no"), 2, "at least one of each"),
    "a network that was trained whole": (("unlearn", "sisa", *DIGITS, *FORGET), 2, "untrain prepare sisa"),
    "a deep network to remove from": (("unlearn", "certifiedremoval", *DIGITS, *FORGET), 2, "untrain prepare certifiedremoval"),
    "no weights of a method's own network": (("unlearn", "certifiedremoval", *table(Path()), *ROWS), 5, "none is named"),
    "weights that were not prepared": (("unlearn", "certifiedremoval", *table(Path()), "--weights", "plain.safetensors", *ROWS), 5, "is none"),
    "what was prepared for another": (("unlearn", "sisa", *DIGITS, "--weights", "certified/model.safetensors", *FORGET), 5, "holds what certifiedremoval makes"),
    "the other way about": (("unlearn", "certifiedremoval", *DIGITS, "--weights", "sisa/model.safetensors", *FORGET), 2, "was prepared for sisa"),
    "another network": (("unlearn", "sisa", "--model", "allcnn", "--data", "digits", "--weights", "sisa/model.safetensors", *FORGET), 5, "does not fit the network"),
    "other settings": (("unlearn", "sisa", *DIGITS, "--shards", "3", "--weights", "sisa/model.safetensors", *FORGET), 2, "the settings that it was prepared by"),
    "another recipe": (("unlearn", "sisa", *DIGITS, "--epochs", "7", "--weights", "sisa/model.safetensors", *FORGET), 2, "epochs was 1 and is 7"),
    "another normalisation": (("unlearn", "sisa", *DIGITS, "--norm", "unit", "--weights", "sisa/model.safetensors", *FORGET), 2, "another normalisation"),
    "another penalty": (("unlearn", "certifiedremoval", *table(Path()), "--lam", "1", "--weights", "certified/model.safetensors", *ROWS), 2, "lam=0.1"),
    "other rows": (("unlearn", "certifiedremoval", *table(Path(), "others"), "--weights", "certified/model.safetensors", *ROWS), 5, "leave a gradient"),
    "a torn file": (("unlearn", "sisa", *DIGITS, "--weights", "torn.safetensors", *FORGET), 5, "not a whole safetensors file"),
    "a file that lies of its shards": (("unlearn", "sisa", *DIGITS, "--weights", "lies.safetensors", *FORGET), 5, "sums of 1000000000 shards"),
    "a file that says nonsense": (("unlearn", "sisa", *DIGITS, "--weights", "odd.safetensors", *FORGET), 5, "not as untrain writes it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_a_line(case: str, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(world)
    arguments, code, word = REFUSED[case]
    assert ran(*arguments) == code
    assert word in capsys.readouterr().err.splitlines()[-1]
    assert not Path("no").exists()


@pytest.mark.parametrize("verb", ["prepare", "unlearn"])
def test_what_was_stopped_goes_on_to_the_same_bits(verb: str, world: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    def stop(phase: str, step: int, steps: int) -> None:
        seen.append(phase)
        if len(seen) == stop_at and stops:
            raise KeyboardInterrupt

    inputs = Inputs(model="digits", data="digits", epochs=1)
    if verb == "unlearn":
        (tmp_path / "two.txt").write_text("0\n1\n2\n5\n")
        inputs = Inputs(model="digits", data="digits", weights=weights(world / "sisa"), forget=f"index:{tmp_path / 'two.txt'}")
    does = prepare_to if verb == "prepare" else unlearn_to
    stops, stop_at = False, 0
    does(SETTINGS, inputs, tmp_path / "whole", progress=stop)
    long = len(seen)
    stops, stop_at = True, long * 3 // 4
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        does(SETTINGS, inputs, tmp_path / "stopped", progress=stop)
    assert not weights(tmp_path / "stopped").exists()
    stops = False
    seen.clear()
    does(SETTINGS, inputs, tmp_path / "stopped", progress=stop)
    assert 0 < len(seen) < long
    assert files.sha256(weights(tmp_path / "stopped")) == files.sha256(weights(tmp_path / "whole"))


def test_what_train_json_says(world: Path) -> None:
    for name, method in (("sisa", SETTINGS), ("certified", CertifiedRemoval())):
        told = json.loads((world / name / "train.json").read_text())
        assert told["prepared"]["settings"] == asdict(method)
        assert told["output"]["sha256"] == files.sha256(weights(world / name))
        assert told["command"][0] == "prepare"
        assert str(world) not in json.dumps(told)
