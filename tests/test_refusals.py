"""Bad input: one line with culprit, fact and way out, its exit code, no traceback, and nothing written."""

from __future__ import annotations

import fcntl
import io
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

import untrain
from untrain.cli import main
from untrain.core import files
from untrain.core.discover import found
from untrain.core.errors import BadArgument, BadData

DEBIAS = ("debias", "--model", "digits", "--data", "digits", "--out", "{}/o")
UNSIR = ("unlearn", "unsir", "--model", "digits", "--data", "digits", "--forget", "class:3")


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in it and files that are wrong in many ways."""
    folder = tmp_path_factory.mktemp("bench")
    assert main(["unlearn", "headonly", *UNSIR[2:], "--out", str(folder / "run")]) == 0
    sound = untrain.load_model("digits").state_dict()
    files.save_weights(folder / "sound.safetensors", sound, {})
    files.save_weights(folder / "nan.safetensors", sound | {"hidden.bias": sound["hidden.bias"] * torch.nan}, {})
    files.save_weights(folder / "nokey.safetensors", {k: v for k, v in sound.items() if k != "conv1.weight"}, {})
    files.save_weights(folder / "narrow.safetensors", sound | {"linear.weight": sound["linear.weight"][:9]}, {})
    whole = (folder / "sound.safetensors").read_bytes()
    (folder / "truncated.safetensors").write_bytes(whole[:-100])
    (folder / "long.safetensors").write_bytes(whole + b"x")
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "text.safetensors").write_text("not weights")
    evil = pickle.dumps(Canary(folder / "ran"))
    for name in ("model.pt", "model.pth", "model.bin", "pickled.safetensors"):
        (folder / name).write_bytes(evil)
    (folder / "link").symlink_to(folder / "run")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "file").write_text("mine")
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "record.json").write_text("{")
    (folder / "foreign").mkdir()
    (folder / "foreign" / "record.json").write_text('{"schema": "another"}')
    return folder


@pytest.fixture(autouse=True)
def _unchanged(bench: Path) -> Iterator[None]:
    def state() -> dict[str, bytes | None]:
        return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(bench.rglob("*"))}

    before = state()
    yield
    assert state() == before


CASES: list[tuple[int, Sequence[str], Sequence[str]]] = [
    # What is asked for.
    (2, ["nosuchverb"], ["nosuchverb"]),
    (2, ["unlearn"], ["no method is named", *found("methods")]),
    (2, ["unlearn", "nosuch", *UNSIR[2:], "--out", "{}/o"], ["'nosuch'", *found("methods")]),
    (2, [*UNSIR], ["--out"]),
    (2, [*UNSIR, "--out", "{}/o", "--lr", "1"], ["--lr"]),
    (2, [*UNSIR, "--out", "{}/o", "--seed", "x"], ["--seed", "x"]),
    (2, [*UNSIR, "--out", "{}/o", "--repair", "magic"], ["magic", "distill"]),
    (2, [*UNSIR, "--out", "{}/o", "--batch", "0"], ["batch"]),
    (2, [*UNSIR, "--out", "{}/o", "--impair-lr", "nan"], ["impair_lr"]),
    (2, [*UNSIR, "--out", "{}/o", "--preset", "nosuch"], ["nosuch", "paper"]),
    (2, [*UNSIR, "--out", "{}/o", "--norm", "nosuch"], ["nosuch", "imagenet"]),
    (2, [*UNSIR, "--out", "{}/o", "--head", "nosuch"], ["nosuch", "linear"]),
    (2, [*UNSIR, "--out", "{}/o", "--device", "nosuch"], ["nosuch", "cpu"]),
    (2, [*UNSIR, "--out", "{}/o", "--precision", "fp8"], ["fp8", "bf16"]),
    (2, [*UNSIR[:-1], "class:12", "--out", "{}/o"], ["'12'", "0", "9"]),
    (2, [*UNSIR[:-1], "class:cat", "--out", "{}/o"], ["'cat'", "0", "9"]),
    (2, [*UNSIR[:-1], "class:-1", "--out", "{}/o"], ["'-1'"]),
    (2, [*UNSIR[:-1], "class:", "--out", "{}/o"], ["class:3,5"]),
    (2, [*UNSIR[:-1], "3", "--out", "{}/o"], ["class:3,5"]),
    (2, [*UNSIR[:-1], "class:0,1,2,3,4,5,6,7,8,9", "--out", "{}/o"], ["all 10 classes"]),
    (2, ["unlearn", "unsir", "--model", "nosuch", *UNSIR[4:], "--out", "{}/o"], ["nosuch", "resnet20"]),
    (2, [*UNSIR[:4], "--data", "{}/nowhere", "--forget", "class:3", "--out", "{}/o"], ["nowhere", "digits"]),
    (2, ["unlearn", "retrain", *UNSIR[2:], "--epochs", "-1", "--out", "{}/o"], ["--epochs"]),
    (2, ["train", "--model", "digits", "--data", "digits", "--holdout-every", "1", "--out", "{}/o"], ["--holdout-every"]),
    (2, ["train", "--model", "digits", "--data", "digits", "--holdout-every", "1349", "--out", "{}/o"], ["leaves none of 1348 training samples out"]),
    (2, ["train", "--model", "digits", "--data", "digits", "--head", "nosuch", "--out", "{}/o"], ["no linear layer or convolution 'nosuch'"]),
    # Models.
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/nowhere.safetensors"], ["nowhere.safetensors"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/truncated.safetensors"], ["truncated.safetensors", "get it anew"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/long.safetensors"], ["long.safetensors"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/empty.safetensors"], ["empty.safetensors"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/text.safetensors"], ["text.safetensors"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/model.pt"], ["pickle", ".safetensors"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/model.pth"], ["pickle"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/model.bin"], ["pickle"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/pickled.safetensors"], ["pickled.safetensors"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/nan.safetensors"], ["NaN", "hidden.bias"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/nokey.safetensors"], ["conv1.weight"]),
    (5, [*UNSIR, "--out", "{}/o", "--weights", "{}/narrow.safetensors"], ["linear.weight", "[9, 24]", "[10, 24]"]),
    (5, ["unlearn", "unsir", "--model", "resnet20", *UNSIR[4:], "--out", "{}/o", "--weights", "{}/sound.safetensors"], ["sound.safetensors"]),
    (5, ["unlearn", "unsir", "--model", "allcnn", *UNSIR[4:], "--out", "{}/o"], ["allcnn", "--weights", "untrain train"]),
    (5, [*UNSIR, "--out", "{}/o", "--norm", "imagenet"], ["3 channels"]),
    (5, ["train", "--model", "resnet20", "--data", "digits", "--out", "{}/o"], ["channels"]),
    # Data.
    (5, [*UNSIR[:4], "--data", "{}/empty", "--forget", "class:3", "--out", "{}/o"], ["train-*.parquet"]),
    (5, [*UNSIR, "--out", "{}/o", "--data-root", "{}/nowhere"], ["nowhere"]),
    # Outputs.
    (2, [*UNSIR, "--out", "{}/run"], ["exists"]),
    (2, [*UNSIR, "--out", "{}/empty"], ["exists"]),
    (2, [*UNSIR, "--out", "{}/file"], ["exists"]),
    (2, [*UNSIR, "--out", "{}/link"], ["exists"]),
    (2, [*UNSIR, "--out", "{}/dangling"], ["exists"]),
    (2, [*UNSIR, "--out", "{}/sound.safetensors", "--weights", "{}/sound.safetensors"], ["input"]),
    (2, [*UNSIR[:4], "--data", "{}/run", "--forget", "class:3", "--out", "{}/link"], ["input"]),
    (7, [*UNSIR, "--out", "{}/file/o"], ["file"]),
    (6, [*UNSIR, "--impair-lr", "1e30", "--out", "{}/deep/er/o"], ["impair", "--impair-lr"]),
    (2, ["train", "--model", "digits", "--data", "digits", "--out", "{}/run"], ["exists"]),
    (2, ["demo", "--out", "{}/run"], ["exists"]),
    (2, ["demo", "--out", "{}/o", "--forget", "class:x"], ["'x'"]),
    (2, ["report", "{}/run", "-o", "{}/run/record.json"], ["record.json"]),
    (2, ["report", "{}/run", "-o", "{}/file"], ["file"]),
    *[(2, [*UNSIR, "--out", out], [f"--out {out} exists and holds other things, such as "]) for out in ("..", "/")],
    (2, [*UNSIR, "--out", "{}/file"], ["file exists and is no folder"]),
    (2, [*UNSIR, "--out", "{}/dangling"], ["dangling exists and is no folder"]),
    (2, [*UNSIR, "--out", "{}/empty"], ["empty exists and is empty"]),
    (2, [*UNSIR, "--out", "{}/run"], ["run exists and holds a run that has ended"]),
    (2, [*UNSIR, "--out", "{}", "--weights", "{}/sound.safetensors"], ["holds sound.safetensors, which --weights reads; give a folder that is not there yet"]),
    (2, ["demo", "--out", ".."], ["--out .. exists"]),
    (2, ["key", "."], [". exists"]),
    (2, ["convert", "{}/model.pt", "-o", "."], [". does not end in .safetensors"]),
    (2, ["report", "{}/run", "-o", "."], [". exists"]),
    (2, ["check", *UNSIR[2:], "--pages", "."], [". exists"]),
    # Flags of which one would undo the other.
    (2, ["methods", "--toml"], ["name one"]),
    (2, ["audit", "{}/run", "--skip", "relearn,iam", "--also", "iam"], ["--skip iam and --also iam do not go together"]),
    (2, ["audit", "{}/run", "--skip", "exposure", "--shadows", "{}/empty"], ["--skip exposure and --shadows do not go together"]),
    (2, ["audit", "{}/run", "--skip", "trigger", "--trigger", "{}/patch.png"], ["--skip trigger and --trigger do not go together"]),
    (2, [*DEBIAS, "--pairs", "{}/x.py:f", "--way", "paper", "--steps", "3"], ["--way paper and --steps do not go together", "one step"]),
    (2, [*DEBIAS, "--pairs", "{}/x.py:f", "--way", "paper", "--pull", "1"], ["--way paper and --pull do not go together"]),
    (2, [*DEBIAS, "--pairs", "flip:sex", "--twins", "digits"], ["--pairs flip:sex and --twins do not go together"]),
    (2, ["reference", *UNSIR[2:], "--shadows", "--like", "{}/run", "--cost"], ["--like and --cost do not go together"]),
    *[
        (2, [*UNSIR[:4], "--data", "{}/file", "--forget", "class:3", "--out", "{}/o", one, "a", other, "b"], [f"{one} and {other} do not go together"])
        for one, other in combinations(("--image-column", "--text-column", "--columns"), 2)
    ],
    # Conversions.
    (5, ["convert", "{}/nowhere.pt", "-o", "{}/o.safetensors"], ["nowhere.pt"]),
    (2, ["convert", "{}/model.pt", "-o", "{}/o.pt"], ["o.pt", ".safetensors"]),
    (2, ["convert", "{}/model.pt", "-o", "{}/sound.safetensors"], ["exists"]),
    (7, ["convert", "{}/model.pt", "-o", "{}/file/o.safetensors"], ["file"]),
    (5, ["convert", "{}/model.pt", "-o", "{}/o.safetensors"], ["model.pt was not converted"]),
    # Runs.
    (5, ["audit", "{}/nowhere"], ["nowhere"]),
    (5, ["audit", "{}/empty"], ["record.json"]),
    (5, ["audit", "{}/broken"], ["JSON"]),
    (5, ["audit", "{}/foreign"], ["format"]),
    (5, ["report", "{}/nowhere"], ["nowhere"]),
    (2, ["audit", "{}/run", "--device", "nosuch"], ["nosuch"]),
    (5, ["audit", "{}/run", "--retrained", "{}/truncated.safetensors"], ["truncated"]),
    (5, ["audit", "{}/run", "--retrained", "{}/nowhere.safetensors"], ["nowhere"]),
    (5, ["audit", "{}/run", "--retrained", "{}/run/model.safetensors"], ["headonly"]),
    (5, ["audit", "{}/run", "--weights", "{}/sound.safetensors"], ["original"]),
]


@pytest.mark.parametrize(("code", "arguments", "words"), CASES, ids=[" ".join(c[1]).replace("{}/", "")[-60:] for c in CASES])
def test_bad_input_is_refused_in_one_line(code: int, arguments: Sequence[str], words: Sequence[str], bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([a.replace("{}", str(bench)) for a in arguments]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("untrain: ")
    assert all(word in said.err for word in words), said.err
    assert not (bench / "ran").exists()


def test_under_json_the_refusal_is_json_on_stderr(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*UNSIR, "--out", str(bench / "run"), "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert json.loads(said.err)["exit"] == 2
    for named in ([], ["unsir"]):
        assert main(["methods", *named, "--toml", "--json"]) == 2
        said = capsys.readouterr()
        assert (said.out, json.loads(said.err)["error"]) == ("", "--toml and --json do not go together: each is a form of its own; leave one of them out")


def test_a_changed_file_is_not_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unlearn", "headonly", *UNSIR[2:], "--out", str(tmp_path / "run")]) == 0
    path = tmp_path / "run" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    capsys.readouterr()
    assert main(["audit", str(tmp_path / "run")]) == 5
    assert "sha256" in capsys.readouterr().err


def test_a_folder_that_another_writes_is_locked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unlearn", "headonly", *UNSIR[2:], "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["audit", str(tmp_path / "run")]) == 8
    assert len(capsys.readouterr().err.splitlines()) == 1


Folder = Callable[..., Path]


@pytest.fixture
def parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder of images of 3 classes in parquet files."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))

    def make(*, sizes: Sequence[int] = (32,), rows: int = 6, broken: bool = False) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir()
        info = {"info": {"features": {"label": {"names": ["cat", "dog", "eel"]}}}}
        for part in ("train", "test"):
            pictures, labels = [], [i % 3 for i in range(rows)]
            for i in range(rows):
                file = io.BytesIO()
                image.new("RGB", (sizes[i % len(sizes)],) * 2, (40 * i, 0, 0)).save(file, "PNG")
                pictures.append({"bytes": file.getvalue()[: 40 if broken else None], "path": None})
            schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())], {"huggingface": json.dumps(info)})
            pq.write_table(pa.table({"image": pictures, "label": labels}, schema=schema), folder / f"{part}-00000-of-00001.parquet")
        return folder

    return make


def asked(folder: Path, *more: str) -> list[str]:
    return ["unlearn", "headonly", "--model", "resnet20", "--data", str(folder), "--weights", str(folder.parent / "three.safetensors"), *more, "--out", str(folder.parent / "run")]


def three(folder: Path) -> None:
    from untrain.zoo.networks import NETWORKS

    files.save_weights(folder.parent / "three.safetensors", NETWORKS["resnet20"](3).state_dict(), {})


def test_a_folder_of_pictures_works_by_name(parquet: Folder) -> None:
    folder = parquet()
    three(folder)
    assert main(asked(folder, "--forget", "class:dog")) == 0
    run = folder.parent / "run"
    record = json.loads((run / "record.json").read_text())
    assert record["request"] == {"forget": "class:dog", "classes": [1], "names": ["dog"]}
    assert record["data"]["name"] == "pictures"
    assert str(folder.parent) not in (run / "record.json").read_text()


@pytest.mark.parametrize(
    ("made", "more", "code", "word"),
    [
        ({}, ["--forget", "class:cow"], 2, "0 cat, 1 dog, 2 eel"),
        ({"sizes": (32, 16)}, ["--forget", "class:dog"], 5, "sizes"),
        ({"rows": 0}, ["--forget", "class:dog"], 5, ""),
        ({"broken": True}, ["--forget", "class:dog"], 5, "row 0"),
    ],
    ids=["class", "sizes", "empty", "broken"],
)
def test_bad_pictures_are_refused(made: dict[str, Any], more: list[str], code: int, word: str, parquet: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder = parquet(**made)
    three(folder)
    assert main(asked(folder, *more)) == code
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert word in said
    assert not (folder.parent / "run").exists()


def test_a_truncated_parquet_file_is_refused(parquet: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder = parquet()
    three(folder)
    file = folder / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-50])
    assert main(asked(folder, "--forget", "class:dog")) == 5
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_head_of_another_width_is_refused(parquet: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    from untrain.zoo.networks import NETWORKS

    folder = parquet()
    files.save_weights(folder.parent / "three.safetensors", NETWORKS["resnet20"](10).state_dict(), {})
    assert main(asked(folder, "--forget", "class:dog")) == 5
    assert "[10, 64]" in capsys.readouterr().err


def split(x: torch.Tensor, y: torch.Tensor) -> untrain.Split:
    samples = untrain.Samples(x, y)
    return untrain.Split.by_class(samples, samples, forget=[1])


def test_the_library_refuses_what_the_command_line_cannot_be_given() -> None:
    model, y = untrain.load_model("digits"), torch.arange(40) % 4
    before = files.weights_hash(model.state_dict())
    good = torch.rand(40, 1, 8, 8)
    bad = good.clone()
    bad[2, 0, 3, 3] = torch.nan
    norm = untrain.Norm((0.5,), (0.5,))
    unsir = untrain.UNSIR()
    with pytest.raises(BadData, match="NaN"):
        untrain.unlearn(model, split(bad, y), unsir, norm=norm)
    with pytest.raises(BadData, match="channels"):
        untrain.unlearn(model, split(torch.rand(40, 3, 8, 8), y), unsir)
    with pytest.raises(BadData, match="shape"):
        untrain.unlearn(model, split(torch.rand(40, 1, 9, 9), y), unsir)
    with pytest.raises(BadData, match="head"):
        untrain.unlearn(model, split(good, y * 5 % 14), unsir)
    with pytest.raises(BadData, match=r"torch\.nn\.Module"):
        untrain.unlearn({"weight": good}, split(good, y), unsir)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="empty"):
        untrain.unlearn(model, untrain.Split(split(good, y).forget, split(good, y).retain[:0], split(good, y).test, (1,)), unsir)
    assert files.weights_hash(model.state_dict()) == before
    # What a method does not name is not looked at.
    assert untrain.unlearn(model, split(bad, torch.where(torch.arange(40) == 2, 1, y)), unsir).model is not model
