"""The first minute: what is said before work begins, what is refused for every verb alike, and what it costs to look."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

import untrain
from untrain.checkup.doubts import doubts, unseen
from untrain.checkup.norms import accuracies, clearly
from untrain.checkup.sizes import own_size
from untrain.cli import main
from untrain.core import files, processors
from untrain.core.data import Samples, Split
from untrain.core.discover import found
from untrain.core.engine import Engine
from untrain.evidence import record as records
from untrain.report.page import render
from untrain.verbs.inputs import Inputs
from untrain.zoo import sets

ASKED = ("--model", "digits", "--data", "digits", "--forget", "class:3")

NETS = """
import torch
from torch import nn


def small(classes):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.who, self.age = nn.Linear(8, 4), nn.Linear(8, 9)

    def forward(self, x):
        return self.who(self.body(x))


def two():
    torch.manual_seed(0)
    return Two()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    image = pytest.importorskip("PIL.Image")
    for part, n in (("train", 6), ("test", 3)):
        for k, label in enumerate("abcd"):
            (tmp_path / "d" / part / label).mkdir(parents=True)
            for i in range(n):
                image.new("RGB", (16, 16), (60 * k + 5 * i, 40, 9 * i)).save(tmp_path / "d" / part / label / f"{i}.png")
    (tmp_path / "n.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path


NAMED = ("--model", "n.py:small", "--data", "d", "--forget", "class:b")


@pytest.mark.parametrize("verb", [("suppress",), ("unlearn", "unsir"), ("unlearn", "headonly"), ("unlearn", "nothing")], ids=" ".join)
def test_fault_41_no_normalisation_is_refused_whatever_is_asked_for(verb: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, *NAMED, "--out", "o"]) == 5
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "runs your code" in said[0]
    assert "--norm" in said[1]
    assert not (place / "o").exists()


def test_fault_42_a_head_that_is_not_the_last_layer_is_named_and_used(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ("suppress", "--model", "n.py:two", "--data", "d", "--norm", "half", "--forget", "class:b", "--out", "o")
    if main(list(named)) != 0:
        assert "--head who" in capsys.readouterr().err
        assert main([*named, "--head", "who"]) == 0
    written = files.load_weights(place / "o" / "model.safetensors")
    assert written["who.bias"].argmin() == 1
    assert written["who.bias"][1] < -1000 < written["age.bias"].min()


@pytest.mark.parametrize("flag", ["--test", "--holdout", "--norm", "--recipe", "--head", "--device"])
def test_fault_54_an_empty_flag_is_refused(flag: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--test ""` of a shell variable that is not set read the working folder as data."""
    verbs = ("check",) if flag == "--recipe" else ("check", "suppress")
    for verb in verbs:
        assert main([verb, *NAMED, flag, "", *(("--out", "o") if verb == "suppress" else ())]) == 2
        assert capsys.readouterr().err == f"untrain: {flag} is empty, as a variable of the shell is that is not set; say what is meant, or leave the flag out\n"


def test_fault_54_whose_code_is_run_is_said_in_the_plural(place: Path) -> None:
    said: list[str] = []
    Inputs(model="n.py:small", data="d", recipe="n.py:small").open(said.append)
    Inputs(model="n.py:small", data="d", recipe="n.py:other").open(said.append)
    assert said == [f"n.py:small{rest} your code: the function is called as it stands" for rest in (" runs", " and n.py:other run")]


def test_fault_54_a_method_shows_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    for name in found("methods"):
        assert main(["methods", name]) == 0
        shown = capsys.readouterr().out
        cls = found("methods")[name].load()
        assert all(f"--{field.replace('_', '-')}" in shown for field in (f.name for f in fields(cls)))
        assert all(f"--preset {preset}:" in shown for preset in cls.presets)
    assert main(["methods", "unsir", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["about"]
    assert main(["methods", "nosuch"]) == 2
    assert "unsir" in capsys.readouterr().err


def test_fault_43_a_model_that_hardly_knows_its_data_is_told_before_it_is_unlearned(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suppress", *NAMED, "--norm", "half", "--out", "o"]) == 0
    assert "guessing would name 25.0%" in capsys.readouterr().err
    assert main(["suppress", *ASKED, "--out", "p"]) == 0
    assert capsys.readouterr().err == ""


def test_fault_45_a_class_without_a_test_image_is_told() -> None:
    data = untrain.load("digits")
    split = Split.by_class(data.train, data.test[data.test.y != 3], forget=[3])
    assert "no test image is of 3" in unseen(split)[0]
    assert unseen(Split.by_class(data.train, data.test, forget=[3])) == []


class Turned(nn.Module):
    """The digits' network, as it would be had its labels stood in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = untrain.load_model("digits")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).roll(1, dims=1)


def test_fault_43_an_order_of_labels_is_judged_under_every_normalisation() -> None:
    data = untrain.load("digits")
    split = Split.by_class(data.train, data.test, forget=[3])
    norm = untrain.load_model("digits").norm
    answer = accuracies(Turned(), split, norm, Engine(), until=float("inf"))
    assert {int(pair["data"]): int(pair["model"]) for pair in answer["order"]} == {c: (c + 1) % 10 for c in range(10)}
    assert answer["best"] == "own"
    assert "another order" in answer["sentence"]
    assert "give --norm" not in answer["sentence"]
    assert doubts(Turned(), split.prepared(norm))
    assert accuracies(untrain.load_model("digits"), split, norm, Engine(), until=float("inf"))["order"] is None


class Wide(nn.Module):
    """Sees anything only in images of 32 pixels: what it looks at stands in the last column."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(2))
            self.head.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x[:, 0, 0, 31] if x.shape[-1] == 32 else torch.zeros(len(x))
        return self.head(torch.stack([1 - last, last], 1))


def test_fault_44_the_models_own_size_is_tried() -> None:
    y = torch.arange(60) % 2
    there = Samples(y[:, None, None, None].float().expand(60, 1, 32, 32).contiguous(), y)
    here = Samples(there.sources[0].x[..., ::2, ::2].contiguous(), y)
    found = own_size(Wide(), here, there, 32, 10.0)
    assert found is not None
    assert found["clear"]
    assert "--size 32" in found["sentence"]
    same = own_size(Wide(), there, there, 32, 10.0)
    assert same is not None
    assert same["sentence"] is None


@pytest.mark.parametrize(("more", "less", "clear"), [(6, 1, False), (10, 1, True), (1, 10, False), (5, 0, False), (6, 0, True), (0, 0, False)])
def test_one_way_is_clearly_better_by_what_a_sign_test_says_of_where_they_differ(more: int, less: int, clear: bool) -> None:
    one = torch.tensor([True] * more + [False] * less + [True] * 50 + [False] * 50)
    other = torch.tensor([False] * more + [True] * less + [True] * 50 + [False] * 50)
    assert clearly(one, other) is clear
    assert clear is (more > less and bool(binomtest(more, more + less, 0.5).pvalue <= 0.05))


class Two(nn.Module):
    """Answers twice with two logits each: `blind` always names class 0, `seeing` reads it off the last column of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.seeing, self.blind = nn.Linear(2, 2), nn.Linear(2, 2)
        with torch.no_grad():
            self.seeing.weight.copy_(torch.eye(2))
            self.seeing.bias.zero_()
            self.blind.weight.zero_()
            self.blind.bias.copy_(torch.tensor([2.0, 0.0]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        last = x[:, 0, 0, -1] if x.shape[-1] == 32 else torch.zeros(len(x))
        seen = torch.stack([1 - last, last], 1)
        return self.blind(seen), self.seeing(seen)


@pytest.mark.parametrize("head", ["seeing", "blind,seeing"])
def test_what_is_measured_beforehand_is_the_answer_of_the_head_that_is_named(head: str) -> None:
    y = torch.arange(60) % 2
    there = Samples(y[:, None, None, None].float().expand(60, 1, 32, 32).contiguous(), y)
    here = Samples(there.sources[0].x[..., ::2, ::2].contiguous(), y)
    split = Split.by_class(there, there, forget=[1])
    answers = {name: accuracies(Two(), split, None, Engine(), float("inf"), name)["own"] for name in (head, "blind")}
    assert [answers[head][part]["value"] for part in ("test", "train")] == [1.0, 1.0]
    assert [answers["blind"][part]["value"] for part in ("test", "train")] == [0.5, 0.5]
    assert doubts(Two(), split, head) == []
    assert len(doubts(Two(), split, "blind")) == 1
    assert [own_size(Two(), here, there, 32, 10.0, name)["clear"] for name in (head, "blind")] == [True, False]
    assert accuracies(Two(), split, None, Engine(), float("inf"), "nosuch")["own"] == {}


def test_fault_51_a_run_that_remembers_is_marked_with_the_knob_to_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unlearn", "neggrad", *ASKED, "--out", str(tmp_path / "o")]) == 0
    assert "what was to be forgotten is named as before; before running it again: raise --lr" in capsys.readouterr().out
    record = records.read(tmp_path / "o")
    assert record["run"]["marks"] == ["remembers"]
    page = render(record)
    assert "is still named as before" in page
    assert "raise --lr" in page
    for method in ("nothing", "finetune", "unsir"):
        assert main(["unlearn", method, *ASKED, "--out", str(tmp_path / method)]) == 0
        assert "remembers" not in records.read(tmp_path / method)["run"]["marks"]


def test_a_device_chooses_itself_and_a_slow_precision_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 53: bf16 on a CPU without the instructions made each step nine times slower, and nothing said so."""
    said: list[str] = []
    asked = Inputs(model="digits", data="digits", precision="bf16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for capability, words in (("AVX2", 1), ("AVX512", 0)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        monkeypatch.setattr(processors.platform, "machine", lambda: "x86_64")
        said.clear()
        assert asked.open(said.append).device == "cpu"
        assert len([line for line in said if "bf16" in line]) == words
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert asked.open().device == "cuda"
    assert replace(asked, device="cpu").open().device == "cpu"
    assert "device" not in {word for word, value in asked.words().items() if value is not None}


def test_check_says_what_it_does_also_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *ASKED, "--seconds", "2", "--json"]) == 0
    told = capsys.readouterr()
    assert [line.partition(":")[2] for line in told.err.splitlines()] == [
        " 1 of 3: accuracy under each normalisation",
        " 2 of 3: methods, each by a rehearsal",
        " 3 of 3: copies that stay behind",
    ]
    assert json.loads(told.out)["schema"] == "untrain.check/1"


def test_converting_and_reporting_import_no_torch() -> None:
    code = "import sys, untrain.verbs.converting; assert not {'torch', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_look_needs_neither_the_compiler_nor_scipys_statistics() -> None:
    """Fault 53: what they take to import was most of the time of a look at small data."""
    code = """
import sys
from untrain.cli import main
import untrain.verbs.checking
assert not {"scipy.stats", "scipy.optimize"} & set(sys.modules)
assert main(["check", "--model", "digits", "--data", "digits", "--forget", "class:3", "--seconds", "30"]) == 0
assert not {"torch._dynamo", "sympy", "sklearn", "scipy.stats"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("there", [True, False])
def test_the_digits_are_those_of_scikit_learn(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read out of its file, and by its own function where that lies elsewhere."""
    from sklearn.datasets import load_digits

    if not there:
        monkeypatch.setattr(sets.importlib.util, "find_spec", lambda name: None)
    images, labels = sets._brought()
    theirs = load_digits()
    assert (images == theirs.images).all()
    assert (labels == theirs.target).all()
