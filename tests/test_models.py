"""A user's own model: by a function, with weights of many forms, refused or given back in the form it came."""

from __future__ import annotations

import argparse
import json
import pickle
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import untrain
from untrain.cli import main
from untrain.core import files
from untrain.core.errors import BadArgument, BadData
from untrain.evidence import record as records
from untrain.evidence.verdict import SENTENCES
from untrain.sources import sandbox
from untrain.sources.card import card
from untrain.sources.libraries import functions
from untrain.sources.normalisation import norm_of
from untrain.verbs.given import given_model

NETS = """
from torch import nn
import untrain
from helper import WIDTH

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.norm = untrain.Norm((0.5,), (0.5,))
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x):
        return {"logits": self.head(self.body(x))}

class Recipe:
    def __init__(self, classes, width=None):
        self.classes, self.width = classes, width

    def build(self):
        net = Net(self.classes)
        if self.width:
            net.body[1] = nn.Linear(64, self.width)
        return net

    def train(self, model, samples):
        return untrain.fit(model, samples, phase="train", epochs=1, lr=0.1, batch=128)

def make(classes):
    return Net(classes)

def trained():
    return Net(10)

def recipe(classes):
    return Recipe(classes)

def wider(classes):
    return Recipe(classes, 9)

def broken(classes):
    raise ValueError("no such\\nthing")

def number():
    return 3
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nets.py, what it imports, and weights for it; the working folder."""
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "helper.py").write_text("WIDTH = 8\n")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    files.save_weights(tmp_path / "own.safetensors", functions.call("nets.py:make", 10).state_dict(), {})
    return tmp_path


def ran(*arguments: Any) -> int:
    return main([str(a) for a in arguments])


def asked(*more: Any, method: str = "headonly", model: str = "nets.py:make") -> int:
    return ran("unlearn", method, "--model", model, "--data", "digits", "--forget", "class:3", *more)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr that is no announcement: whose code is run, and how little a model that nobody trained knows."""
    announced = ("run your code", "runs your code", "and guessing would name")
    lines = [line for line in capsys.readouterr().err.splitlines() if not any(words in line for words in announced)]
    assert len(lines) == 1, lines
    return lines[0]


# Functions.


def test_a_function_with_weights_goes_the_whole_way(nets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked("--weights", nets / "own.safetensors", "--out", "run", model=f"{nets}/nets.py:make") == 0
    said = capsys.readouterr()
    assert said.err.count("nets.py:make runs your code") == 1
    # What is advised names the code, without which the audit is refused, as is seen below.
    assert shlex.split(said.out.split("`")[1]) == ["untrain", "audit", "run", "--model", f"{nets}/nets.py:make"]
    record = records.read(nets / "run")
    jsonschema.validate(record, records.schema())
    assert (record["model"]["name"], record["model"]["origin"]) == ("nets.py:make", "own.safetensors")
    assert record["model"]["norm"] == {"mean": [0.5], "std": [0.5]}
    given, written = files.load_weights(nets / "own.safetensors"), files.load_weights(nets / "run" / "model.safetensors")
    assert list(written) == list(given)
    assert {k for k in given if not torch.equal(given[k], written[k])} == {"head.weight", "head.bias"}
    assert not any(str(nets) in (nets / "run" / name).read_text() for name in ("record.json", "README.md"))
    # The record's command, run where the files lie, gives the same bits.
    (nets / "run").rename(nets / "first")
    assert main(record["command"]) == 0
    assert files.sha256(nets / "run" / "model.safetensors") == record["output"]["sha256"]
    # The audit finds the weights from another working folder, the code is named anew, and the card then says what it found.
    (nets / "elsewhere").mkdir()
    monkeypatch.chdir(nets / "elsewhere")
    assert "No audit has looked" in (nets / "run" / "README.md").read_text()
    assert ran("audit", nets / "run") == 2
    assert ran("audit", nets / "run", "--model", nets / "nets.py:make") == 3
    assert SENTENCES["SUPPRESSED"].format(what="class 3") in (nets / "run" / "README.md").read_text()


def test_a_function_may_give_a_trained_model(nets: Path) -> None:
    assert asked("--out", "run", model="nets:trained") == 0
    record = records.read(nets / "run")
    assert record["model"]["origin"] == "made by nets:trained"
    # It draws its weights, and draws the same ones when it is called again.
    given = given_model("nets:trained", 10)
    assert given.sha256 == record["model"]["sha256"] == files.weights_hash(given.module.state_dict())


def test_a_norm_on_the_command_line_goes_before_the_models_own(nets: Path) -> None:
    assert asked("--weights", "own.safetensors", "--norm", ".25/.125", "--out", "run") == 0
    assert records.read(nets / "run")["model"]["norm"] == {"mean": [0.25], "std": [0.125]}


def test_norms_are_read_by_name_and_by_numbers() -> None:
    assert norm_of(".485,.456,.406/.229,.224,.225") == norm_of("imagenet")
    assert norm_of(None) is None
    for wrong in ("imagnet", ".5", ".5/0", ".5,.5/.5", "nan/.5", "/"):
        with pytest.raises(BadArgument, match="norm"):
            norm_of(wrong)


# Weights.


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.module."])
def test_a_prefix_is_taken_off_and_said_and_is_there_again(prefix: str, nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {prefix + k: v.half() for k, v in files.load_weights(nets / "own.safetensors").items()}
    files.save_weights(nets / "wrapped.safetensors", given, {})
    assert asked("--weights", "wrapped.safetensors", "--out", "run") == 0
    assert f"begin with {prefix!r}" in capsys.readouterr().err
    written = files.load_weights(nets / "run" / "model.safetensors")
    assert {k: v.dtype for k, v in written.items()} == {k: v.dtype for k, v in given.items()}
    assert ran("audit", "run", "--model", "nets.py:make") == 3


def _without(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k != "body.1.bias"}


def _other(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"encoder.{i}": v for i, v in enumerate(state.values())}


def _wide(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"head.weight": torch.zeros(1000, 8), "head.bias": torch.zeros(1000)}


def _reshaped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"body.1.weight": torch.zeros(8, 63)}


def _two(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{k}": v for name in ("student", "teacher") for k, v in state.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without, ["lacks 1", "body.1.bias"]),
        (_other, ["lacks 4", "body.1.weight", "has 4", "encoder.0"]),
        (_wide, ["answers with 1000 classes", "the data has 10"]),
        (_reshaped, ["body.1.weight", "[8, 63]", "[8, 64]"]),
        (_two, ["student, teacher", "untrain convert", "--network student"]),
    ],
)
def test_weights_of_another_network_are_refused_by_their_first_differences(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], words: Sequence[str], nets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.save_weights(nets / "other.safetensors", change(files.load_weights(nets / "own.safetensors")), {})
    assert asked("--weights", "other.safetensors", "--out", "run") == 5
    said = refusal(capsys)
    assert all(word in said for word in words), said
    assert not (nets / "run").exists()


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("nosuch", 2, ["'nosuch'", "resnet20", "timm:NAME"]),
        ("nowhere.py:make", 2, ["nowhere.py"]),
        ("nets.py:nosuch", 2, ["'nosuch'"]),
        ("nosuchpackage.nets:make", 2, ["nosuchpackage"]),
        ("nets.py:broken", 5, ["ValueError", "no such"]),
        ("nets.py:number", 2, ["int", "torch.nn.Module"]),
        ("torchvision:resnet18", 2, ["torchvision", "untrain[vision]"]),
        ("timm:resnet18", 2, ["untrain[vision]"]),
        ("hf:./nowhere", 5, ["./nowhere", "save_pretrained"]),
        ("hf:three", 5, ["3 classes", "has 10"]),
        ("hf:ten", 5, ["pytorch_model.bin", "untrain convert"]),
        ("./full", 2, ["transformers", "untrain[hf]"]),
    ],
)
def test_models_that_cannot_be_had_are_refused_in_one_line(
    model: str, code: int, words: Sequence[str], nets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("torchvision", "timm", "transformers"):
        monkeypatch.setitem(sys.modules, package, None)
    for name, width in (("three", 3), ("ten", 10), ("full", 10)):
        (nets / name).mkdir()
        (nets / name / "config.json").write_text(json.dumps({"id2label": {str(i): f"LABEL_{i}" for i in range(width)}}))
    (nets / "ten" / "pytorch_model.bin").write_bytes(b"x")
    files.save_weights(nets / "full" / "model.safetensors", {"a": torch.zeros(1)}, {})
    assert asked("--out", "run", model=model) == code
    said = refusal(capsys)
    assert all(word in said for word in words), said
    assert not (nets / "run").exists()


# Recipes.


def test_retraining_a_users_model_takes_the_users_recipe(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked("--weights", "own.safetensors", "--out", "run") == 0
    capsys.readouterr()
    own = ("--weights", "own.safetensors", "--out", "again")
    assert asked(*own, method="retrain") == 2
    assert "--recipe" in refusal(capsys)
    assert asked(*own, "--recipe", "nets.py:wider", method="retrain") == 2
    assert "body.1.weight is [8, 64] in the model and [9, 64]" in refusal(capsys)
    assert asked(*own, "--recipe", "nets.py:make", method="retrain") == 2
    assert "without build;" in refusal(capsys)
    assert asked(*own, "--recipe", "nets.py:recipe", "--epochs", 3, method="retrain") == 2
    assert "--epochs" in refusal(capsys)
    assert not (nets / "again").exists()
    assert asked(*own, "--recipe", f"{nets}/nets.py:recipe", method="retrain") == 0
    record = records.read(nets / "again")
    assert "nets.py:recipe" in record["command"]
    (nets / "again").rename(nets / "first")
    assert main(record["command"]) == 0
    assert files.sha256(nets / "again" / "model.safetensors") == record["output"]["sha256"]
    assert ran("audit", "run", "--model", "nets.py:make", "--retrained", "again/model.safetensors") in (3, 4)
    assert records.read(nets / "run")["references"][0]["about"]["recipe"] == {"function": "nets.py:recipe", "sha256": files.sha256(nets / "nets.py")}


def test_training_by_a_users_recipe(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("train", "--model", "nets.py:make", "--data", "digits", "--out", "trained")
    assert ran(*asked) == 2
    assert "--recipe" in refusal(capsys)
    assert ran(*asked, "--recipe", "nets.py:recipe") == 0
    assert given_model("nets.py:make", 10, weights=nets / "trained" / "model.safetensors").origin == "model.safetensors"


# Conversion.


class Canary:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_a_checkpoint_becomes_safetensors_that_load(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = files.load_weights(nets / "own.safetensors")
    module = functions.call("nets.py:make", 10)
    kept = {
        "state_dict": {f"module.{k}": v for k, v in own.items()},
        "optimizer": torch.optim.Adam(module.parameters()).state_dict(),
        "args": argparse.Namespace(lr=0.1),
        "best": np.float64(0.5),
    }
    torch.save(kept, nets / "kept.pth")
    assert asked("--weights", "kept.pth", "--out", "run") == 5
    assert "untrain convert kept.pth -o kept.safetensors" in refusal(capsys)
    assert ran("convert", "kept.pth", "-o", "kept.safetensors") == 0
    said = capsys.readouterr()
    assert files.sha256(nets / "kept.safetensors") in said.out
    assert "'module.', which was taken off" in said.err
    written = files.load_weights(nets / "kept.safetensors")
    assert written.keys() == own.keys()
    assert all(torch.equal(written[k], own[k]) for k in own)
    assert asked("--weights", "kept.safetensors", "--out", "run") == 0
    assert ran("convert", "kept.pth", "-o", "kept.safetensors") == 2
    assert "exists" in refusal(capsys)


def test_what_could_run_code_is_not_converted_and_does_not_run(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"w": torch.zeros(1)}, "more": Canary()}, nets / "bad.pt")
    assert ran("convert", "bad.pt", "-o", "good.safetensors") == 5
    assert "bad.pt was not converted" in refusal(capsys)
    torch.save(nn.Linear(2, 2), nets / "module.pt")
    (nets / "pickle.pt").write_bytes(pickle.dumps(Canary()))
    (nets / "junk.pt").write_bytes(b"not a checkpoint")
    for name, words in {"module": "torch.nn.modules.linear.Linear.*state_dict", "pickle": "get it anew|pickled object", "junk": "get it anew"}.items():
        with pytest.raises(sandbox.Refused, match=words), (nets / f"{name}.pt").open("rb") as file:
            sandbox.read(file, ".pt")
    assert not (nets / "ran").exists()
    assert not (nets / "good.safetensors").exists()


def _net(width: int = 2) -> dict[str, Tensor]:
    return {f"{layer}.{part}": torch.zeros(width) for layer in ("a", "b", "c") for part in ("weight", "bias")}


def _under(**parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{k}": v for name, part in parts.items() for k, v in part.items()}


LIGHTNING = {"pytorch-lightning_version": "2.6", "callbacks": {"best": {"score": torch.tensor(1.0)}}, "hyper_parameters": {"lr": 0.1}}


@pytest.mark.parametrize(
    ("loaded", "network", "told"),
    [
        (_net(), None, ""),
        ({"model": _net(), "optimizer": {"state": {0: {"m": torch.zeros(1)}}}}, None, "'model'"),
        (LIGHTNING | {"state_dict": _under(model=_net())}, None, "'model.'"),
        (LIGHTNING | {"state_dict": _under(net=_net(), criterion={"weight": torch.zeros(3)})}, None, "criterion"),
        (LIGHTNING | {"state_dict": _under(student=_net(), teacher=_net(3))}, "student", "'student.'"),
        ({"model": _net(), "model_ema": _net(3)}, "model", ""),
        (_net() | {"a.count": 3}, None, "a.count"),  # type: ignore[operator]
    ],
)
def test_the_network_is_found_in_a_checkpoint(loaded: Any, network: str | None, told: str) -> None:
    state, notes = sandbox.one(loaded, network)
    assert state.keys() == _net().keys()
    assert all(len(v) == 2 for v in state.values())
    assert told in " ".join(notes)


@pytest.mark.parametrize(
    ("loaded", "names"),
    [
        (LIGHTNING | {"state_dict": _under(student=_net(), teacher=_net(3))}, ["student", "teacher"]),
        (LIGHTNING | {"state_dict": _under(generator=_net(), critic=_net(3))}, ["generator", "critic"]),
        ({"model": _net(), "model_ema": _net(3)}, ["model", "model_ema"]),
    ],
)
def test_of_two_networks_it_is_asked_which(loaded: Any, names: Sequence[str]) -> None:
    with pytest.raises(sandbox.Refused, match="--network") as caught:
        sandbox.one(loaded, None)
    assert all(name in str(caught.value) for name in names)
    with pytest.raises(sandbox.Refused):
        sandbox.one(loaded, "nosuch")


def test_layers_of_one_network_are_not_taken_for_networks() -> None:
    inline = _under(layer1=_net(), layer2=_net(3), fc={"weight": torch.zeros(2), "bias": torch.zeros(2)})
    assert sandbox.one(LIGHTNING | {"state_dict": inline}, None)[0].keys() == inline.keys()
    twins = _under(student=_net(), teacher=_net())
    assert sandbox.one(LIGHTNING | {"state_dict": twins}, ".")[0].keys() == twins.keys()


def test_the_sandbox_reaches_nothing(tmp_path: Path) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(sandbox.__file__).parent)!r})
        import os, shutil, socket, subprocess
        import sandbox
        (lambda p: p.write_text("mine"))(__import__("pathlib").Path("kept"))
        sandbox.deny()
        tries = [lambda: socket.create_connection(("127.0.0.1", 9)), lambda: socket.socket(), lambda: subprocess.run(["true"]), lambda: os.system("true"),
                 lambda: open("new", "w"), lambda: os.open("new", os.O_CREAT | os.O_WRONLY), lambda: os.remove("kept"), lambda: os.rename("kept", "new"),
                 lambda: shutil.rmtree("."), lambda: os.fork(), lambda: os.mkdir("new"), lambda: os.execv("/bin/true", ["true"])]
        for number, attempt in enumerate(tries):
            try:
                attempt()
            except PermissionError as error:
                assert "it tried" in str(error), error
            else:
                raise SystemExit(f"attempt {{number}} went through")
        open("kept").read()
    """
    done = subprocess.run([sys.executable, "-I", "-B", "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


# Cards.


def test_a_card_says_no_more_than_the_record() -> None:
    record = json.loads((Path(__file__).parent / "golden" / "record.json").read_text())
    text = card(record)
    assert text.startswith("---\nlibrary_name: ")
    assert all(sentence in text for sentence in record["not_claimed"])
    assert (record["verdict"]["sentence"] if record["verdict"] else "not known") in text
    assert all(f"`{name}`: {value}" in text for name, value in record["method"]["settings"].items())
    assert record["output"]["sha256"] in text
    # Of a list of files it says how many, and not which.
    record["request"] |= {"forget": "files:people/jane.csv", "classes": [], "names": []}
    record["data"]["counts"]["forget"] = 1234
    record["verdict"] = {"code": "RESIDUE", "sentence": "of files:people/jane.csv", "reasons": ["too much"], "retrained": 2, "tests": {"a": {}}, "without_power": []}
    text = card(record)
    assert "jane" not in text
    assert "Traces of 1,234 training samples remain: too much." in text
    record["model"]["name"] = "hf:owner/net"
    assert "\nbase_model: owner/net\n" in card(record)
    record["model"]["name"] = "hf:folder"
    assert "base_model" not in card(record)


# From Python.


class Dicts(nn.Module):
    """Wants a batch's entries by name, and answers with an object that holds logits."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, pixel_values: Tensor, scale: Tensor | None = None) -> Any:
        return argparse.Namespace(logits=self.fc(pixel_values), hidden=None)


class Batch(nn.Module):
    """Wants the whole batch, and answers with a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, batch: dict[str, Tensor]) -> Any:
        return self.fc(batch["pixel_values"]), None


@pytest.mark.parametrize("model", [Dicts(), Batch()], ids=["by name", "whole"])
def test_dict_batches_and_wrapped_modules(model: nn.Module) -> None:
    x, y = {"pixel_values": torch.randn(30, 4, generator=torch.Generator().manual_seed(0))}, torch.arange(30) % 3
    samples = untrain.Samples(x, y)
    split = untrain.Split.by_class(samples, samples, forget=[1])
    method = untrain.FineTune(epochs=1)  # type: ignore[attr-defined]
    plain = untrain.unlearn(model, split, method).model
    assert type(plain) is type(model)
    wrapped = untrain.unlearn(nn.DataParallel(model), split, method).model
    assert type(wrapped) is nn.DataParallel
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), wrapped.state_dict().values(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(plain.state_dict().values(), model.state_dict().values(), strict=True))
    rows = [row for entry in untrain.audit(wrapped, split, [untrain.Accuracy()], original=model) for row in entry["rows"]]  # type: ignore[attr-defined]
    assert rows[0]["values"]["unlearned"]


def test_a_head_with_spare_rows_is_told_apart_from_other_data() -> None:
    x, y = torch.randn(30, 4), torch.arange(30) % 3
    nothing = untrain.Nothing()  # type: ignore[attr-defined]

    def split(names: Sequence[str]) -> untrain.Split:
        samples = untrain.Samples(x, y, names=names)
        return untrain.Split.by_class(samples, samples, forget=[1])

    # Spare rows are a user's own affair where nothing says how many classes there are; where names do, they are a misfit.
    assert untrain.unlearn(nn.Linear(4, 5), split([]), nothing).model.out_features == 5
    with pytest.raises(BadData, match="5 classes, the data has 3"):
        untrain.unlearn(nn.Linear(4, 5), split(["a", "b", "c"]), nothing)


def test_python_gives_the_bits_that_the_command_line_gives(tmp_path: Path) -> None:
    ran = ["unlearn", "neggrad", "--model", "digits", "--data", "digits", "--forget", "class:3", "--seed", "4", "--out", str(tmp_path / "run")]
    assert main(ran) == 0
    data = untrain.given_data("digits")
    given = untrain.given_model("digits", data.classes)
    result = untrain.unlearn(given.module, untrain.split_of(data, "class:3"), untrain.NegGrad(), seed=4, norm=given.norm)
    written = files.load_weights(tmp_path / "run" / "model.safetensors")
    state = given.state(result.model)
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], value) for name, value in state.items())
    assert any(not torch.equal(value, given.module.state_dict()[name]) for name, value in state.items())


def test_an_audit_that_is_left_out_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["unlearn", "nothing", "--model", "digits", "--data", "digits", "--forget", "class:3", "--out", str(run)]) == 0
    before = (run / "record.json").read_bytes()
    assert main(["audit", str(run), "--skip", "accuracy,relern"]) == 2
    assert "no audit 'relern'; there are accuracy," in capsys.readouterr().err
    assert (run / "record.json").read_bytes() == before
    assert main(["audit", str(run), "--skip", "relearn, prototype"]) == 3
    record = records.read(run)
    assert {a["name"] for a in record["audits"] if a["skipped"] == "left out by --skip"} == {"relearn", "prototype"}
    assert all(a["rows"] or a["figures"] for a in record["audits"] if not a["skipped"])
    assert main(["report", str(run)]) == 0
    assert "left out by --skip" in (run / "report.html").read_text()


def test_a_look_reads_images_as_the_run_will(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the size that is asked for, and grey where the normalisation is."""
    for name in ("ant", "bee"):
        (nets / "pictures" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((12, 12 + i, 3), 40 * i, np.uint8)).save(nets / "pictures" / name / f"{i}.png")
    named = ("--model", "nets.py:make", "--data", "pictures", "--norm", ".5/.5", "--forget", "class:ant")
    assert ran("check", *named, "--size", 8, "--seconds", 1, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["head"]["problem"], found["head"]["width"]) == (None, 2)
    assert found["accuracy"]["best"] is not None
    assert ran("unlearn", "headonly", *named, "--size", 8, "--out", "run") == 0
