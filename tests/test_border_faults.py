"""What others' files, folders and code could do: each fault by its number, as it was seen before it was mended."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from test_sources import Image, folder_of, pa, pq
from untrain.cli import main
from untrain.core import disk, files
from untrain.core.errors import BadData, Locked
from untrain.evidence import record as records
from untrain.evidence.seal import sealed
from untrain.sources.libraries.functions import file_of
from untrain.sources.names import asked as named
from untrain.verbs.folder import locked

DIGITS = ("--model", "digits", "--data", "digits", "--forget", "class:3")
QUICK = ("--skip", "relearn,prototype,predictions,weights")


def ran(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def told(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run it, see that it ends so, in one line and without a traceback, and give the line."""
    capsys.readouterr()
    assert ran(*arguments) == code
    aside = ("your code: the function", "guessing would name")
    lines = [line for line in capsys.readouterr().err.splitlines() if line != "hello" and not any(words in line for words in aside)]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is whole."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert ran("unlearn", "headonly", *DIGITS, "--out", out) == 0
    return out


@pytest.fixture
def run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(whole, tmp_path / "run"))


def edited(run: Path, change) -> None:
    record = json.loads((run / "record.json").read_text())
    change(record)
    (run / "record.json").write_text(json.dumps(sealed(record)))


# 55: links.


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "another's file", "pipe", "folder"])
def test_fault_55_a_lock_of_anothers_making_is_not_written(kind, run, tmp_path, capsys):
    precious = tmp_path / "precious"
    precious.write_text("mine\n")
    lock = run / ".lock"
    if kind == "link":
        lock.symlink_to(precious)
    elif kind == "dangling":
        lock.symlink_to(tmp_path / "nothing")
    elif kind == "hard link":
        lock.hardlink_to(precious)
    elif kind == "another's file":
        lock.write_text("mine\n")
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    before = (run / "record.json").read_bytes()
    assert ".lock in run" in told(capsys, 5, "audit", run, *QUICK)
    assert precious.read_text() == "mine\n"
    assert not (tmp_path / "nothing").exists()
    assert kind != "another's file" or lock.read_text() == "mine\n"
    assert (run / "record.json").read_bytes() == before


def test_fault_55_a_link_for_the_state_is_not_followed(run, tmp_path, capsys):
    """Half-written files were swept, and states written, in whatever folder it led to."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "arguments.json").write_text("{}")
    (theirs / ".mine.tmp").write_text("mine")
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / ".state").symlink_to(theirs)
    assert "is a link" in told(capsys, 5, "unlearn", "headonly", *DIGITS, "--out", killed)
    assert sorted(p.name for p in theirs.iterdir()) == [".mine.tmp", "arguments.json"]


def test_fault_55_the_demo_follows_no_link_either(tmp_path, monkeypatch, capsys):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / ".untrain-demo").write_text("")
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "demo" / ".lock").symlink_to(tmp_path / "precious")
    assert ".lock in demo" in told(capsys, 5, "demo", "--out", tmp_path / "demo")
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_lock_is_held_and_goes(tmp_path):
    """F05: the second process is told who writes; a lock that was left by a killed one holds nobody up."""
    (tmp_path / ".lock").write_text("process 1 on elsewhere\n")
    with locked(tmp_path), pytest.raises(Locked, match=f"process {os.getpid()}"), locked(tmp_path):
        pass
    assert not (tmp_path / ".lock").exists()


# 56 and 24: code.

NETS = """
from pathlib import Path

from torch import nn

Path({canary!r}).write_text("ran")

def make(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def test_fault_56_a_folder_names_no_code_that_runs(run, tmp_path, canary, capsys, monkeypatch):
    """Faults 24 and 56: by the note beside the record, beside the working folder, as an importable module, and as data."""
    code = NETS.format(canary=str(canary))
    (run / "nets.py").write_text(code)
    (tmp_path / "nets.py").write_text(code)
    (tmp_path / "strangersnets.py").write_text(code)
    (run / ".inputs.json").write_text(json.dumps({"model": "nets.py"}))
    for name in ("nets.py:make", "strangersnets:make"):
        edited(run, lambda record, name=name: record["model"].update(name=name))
        assert "code is run only where this command names it: add --model" in told(capsys, 2, "audit", run, *QUICK)
    edited(run, lambda record: record["model"].update(name="digits"))
    (run / ".inputs.json").write_text(json.dumps({"data": "nets.py"}))
    for flag in ("data", "test", "holdout"):
        edited(run, lambda record, flag=flag: record.update(command=["unlearn", "headonly", f"--{flag}", "nets.py:make"]))
        assert f"add --{flag}" in told(capsys, 2, "audit", run, *QUICK)
    assert not canary.exists()


def test_fault_56_code_of_another_hash_is_not_run(tmp_path, canary, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS.format(canary=str(canary)))
    asked = ("unlearn", "headonly", "--model", "nets.py:make", "--data", "digits", "--norm", "grey", "--forget", "class:3", "--out", "run")
    assert ran(*asked) == 0
    record = records.read(tmp_path / "run")
    assert record["code"] == {"model": files.sha256(tmp_path / "nets.py")}
    assert ran("audit", "run", "--model", "nets.py:make", *QUICK) == 4
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "nets.py").write_text(NETS.format(canary=str(canary)) + "\n# not what it was\n")
    canary.unlink()
    assert "is not that of the run (sha256 differs), and is not run" in told(capsys, 5, "audit", "run", "--model", "other/nets.py:make", *QUICK)
    assert not canary.exists()


def test_fault_56_a_file_is_found_without_running_the_packages_around_it(tmp_path, canary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    for package in ("outer", "outer/inner"):
        (tmp_path / package / "__init__.py").write_text(NETS.format(canary=str(canary)))
    (tmp_path / "outer" / "inner" / "nets.py").write_text("")
    assert file_of(named("outer.inner.nets:make")).samefile(tmp_path / "outer" / "inner" / "nets.py")
    assert file_of(named("outer:make")).name == "__init__.py"
    assert not canary.exists()
    assert "outer" not in sys.modules


def test_fault_62_a_killed_run_does_not_go_on_under_other_code(tmp_path, canary, capsys, monkeypatch):
    """F06: neither the file of the model nor untrain's version was among what is compared."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS.format(canary=str(canary)))
    asked = ("unlearn", "headonly", "--model", "nets.py:make", "--data", "digits", "--norm", "grey", "--forget", "class:3", "--out", "run")

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("untrain.core.files.save_weights", kill)
        assert ran(*asked) == 130
    before = json.loads(Path("run/.state/arguments.json").read_text())
    Path("nets.py").write_text(NETS.format(canary=str(canary)) + "\n# not what it was\n")
    assert "killed run of other arguments: code was" in told(capsys, 2, *asked)
    Path("nets.py").write_text(NETS.format(canary=str(canary)))
    Path("run/.state/arguments.json").write_text(json.dumps(before | {"untrain": "0.0.9"}))
    assert 'untrain was "0.0.9" and is' in told(capsys, 2, *asked)
    Path("run/.state/arguments.json").write_text(json.dumps(before))
    assert ran(*asked) == 0


# 63: what the user's code does but return.

THEIRS = """
import os, sys
from torch import nn
import torch
import untrain

class Odd(Exception):
    def __str__(self):
        raise ValueError("no text")

class End(BaseException):
    pass

def exits(classes): sys.exit(0)
def leaves(classes): os._exit(0)
def odd(classes): raise Odd()
def end(classes): raise End("the end")
def hollow(classes): return nn.Linear(64, classes, device="meta")

class Net(nn.Module):
    def __init__(self, way, at=3):
        super().__init__()
        self.linear, self.way, self.at, self.calls = nn.Linear(64, 10), way, at, 0

    def forward(self, x):
        print("hello")
        self.calls += 1
        if self.calls > self.at and self.way:
            self.way()
        return self.linear(x.flatten(1))

    def __deepcopy__(self, memo):
        if self.way == "uncopied":
            raise RuntimeError("not to be copied")
        made = Net(self.way, self.at)
        made.load_state_dict(self.state_dict())
        return made

def fails(): raise KeyError("k")
def speaks(): return Net(None)
def forward_exits(): return Net(lambda: sys.exit(0))
def forward_leaves(): return Net(lambda: os._exit(0))
def forward_fails(): return Net(fails)
def pipe(): raise BrokenPipeError()
def forward_pipes(): return Net(pipe)
def uncopied(): return Net("uncopied", 99)

class Recipe:
    def build(self): return Net(None)
    def train(self, model, samples): raise RuntimeError("no luck")

class Leaving(Recipe):
    def train(self, model, samples): sys.exit(0)

def recipe(): return Recipe()
def leaving(): return Leaving()
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text(THEIRS)
    return tmp_path


WAYS = {
    "exits": "theirs.py:exits ended in SystemExit: 0",
    "leaves": "os._exit(0)",
    "odd": "theirs.py:odd ended in Odd;",
    "end": "End: the end",
    "hollow": "weight has no values",
    "forward_exits": "theirs.py, line",
    "forward_leaves": "os._exit(0)",
    "forward_fails": "KeyError: 'k'",
    "forward_pipes": "BrokenPipeError",
    "uncopied": "cannot be copied",
}


@pytest.mark.parametrize("way", WAYS)
def test_fault_63_whatever_a_users_function_does_ends_in_one_line_and_5(way, theirs, capsys):
    asked = ("unlearn", "finetune", "--model", f"theirs.py:{way}", "--data", "digits", "--norm", "grey", "--forget", "class:3", "--out", "run")
    capsys.readouterr()
    assert ran(*asked) == 5
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("untrain: ")
    assert WAYS[way] in last
    assert not Path("run").exists()


@pytest.mark.parametrize(("recipe", "said"), [("recipe", "RuntimeError: no luck"), ("leaving", "SystemExit: 0")])
def test_fault_63_nor_does_a_recipe_end_the_program(recipe, said, theirs, capsys):
    asked = ("--data", "digits", "--norm", "grey", "--recipe", f"theirs.py:{recipe}", "--out", "run")
    assert said in told(capsys, 5, "train", "--model", "theirs.py:speaks", *asked)
    assert not Path("run").exists()


def test_fault_63_a_function_that_prints_leaves_json_whole(theirs, capsys):
    asked = ("unlearn", "headonly", "--model", "theirs.py:speaks", "--data", "digits", "--norm", "grey", "--forget", "class:3", "--out", "run")
    capsys.readouterr()
    assert ran(*asked, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["request"]["classes"] == [3]
    assert "hello" in said.err


def test_fault_63_an_exit_in_an_audit_is_not_nothing_found(theirs, capsys):
    """Exit 0 of `audit` says that no trace was found."""
    asked = ("unlearn", "headonly", "--model", "theirs.py:speaks", "--data", "digits", "--norm", "grey", "--forget", "class:3", "--out", "run")
    assert ran(*asked) == 0
    text = THEIRS.replace("return Net(None)", "return Net(lambda: sys.exit(0), 0)", 1)
    (theirs / "later").mkdir()
    (theirs / "later" / "theirs.py").write_text(text)
    edited(theirs / "run", lambda record: record.pop("code"))
    capsys.readouterr()
    assert ran("audit", "run", "--model", "later/theirs.py:speaks") == 5


# 64: files of a stranger.


def spoilt(record):
    """Ways to spoil a record, by name: each gives its bytes."""
    record.pop("seal", None)
    text = json.dumps(record)
    yield "bare", b'{"schema": "untrain.record/1"}'
    yield "deep", ("[" * 5000 + "]" * 5000).encode()
    yield "deeper field", json.dumps(record | {"environment": json.loads("[" * 90 + "]" * 90)}).encode()
    yield "cut", text[: len(text) // 2].encode()
    yield "not a number", text.replace('"seed": 0', '"seed": NaN').encode()
    yield "too large", text.replace('"seed": 0', '"seed": 1' + "0" * 400).encode()
    yield "too long", text.replace('"seed": 0', '"seed": 1' + "0" * 5000).encode()
    yield "no text", b"\xff\xfe" + text.encode()
    for field in record:
        if field != "schema":
            # What records of before lacked may be left out.
            if field in records.schema()["required"]:
                yield f"without {field}", json.dumps({k: v for k, v in record.items() if k != field}).encode()
            yield f"other {field}", json.dumps(record | {field: "no"}).encode()


def test_fault_64_a_record_that_is_none_is_refused_in_one_line(run, capsys):
    record = json.loads((run / "record.json").read_text())
    for name, data in spoilt(record):
        (run / "record.json").write_bytes(data)
        for verb in (("report", run), ("audit", run, *QUICK)):
            line = told(capsys, 5, *verb)
            assert "record" in line, (name, line)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/passwd", "..", "a\\b"])
def test_fault_64_a_record_names_a_file_beside_it(file, run, capsys):
    """Of `../x` the bytes were read, and the name stayed in the record."""
    edited(run, lambda record: record["output"].update(file=file))
    assert "output.file" in told(capsys, 5, "audit", run, *QUICK)


@pytest.mark.parametrize("note", ["", "[]", '{"data": 3}', '{"weights": "a\\u0000b"}', "[" * 3000, '{"data": ""}'])
def test_fault_64_a_note_of_where_inputs_lie_is_an_object_of_paths(note, run, capsys):
    (run / ".inputs.json").write_text(note)
    assert "inputs.json" in told(capsys, 5, "audit", run, *QUICK)


@pytest.mark.parametrize("about", ["no json", "[]", '{"classes": null}', '{"classes": "abc"}', '{"classes": [[3]]}', "[" * 3000, '{"method": []}'])
def test_fault_64_what_a_retrained_file_says_of_itself_is_checked(about, run, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    state = load_file(run / "model.safetensors")
    save_file(
        {name: value + 1 for name, value in state.items() if value.is_floating_point()} | {n: v for n, v in state.items() if not v.is_floating_point()},
        tmp_path / "r.safetensors",
        metadata={"untrain": about},
    )
    assert "r.safetensors" in told(capsys, 5, "audit", run, "--retrained", tmp_path / "r.safetensors", *QUICK)


@pytest.mark.parametrize("text", [b"path,label\na\0b.png,x\n", b"path,label\n" + b'"' + b"a" * 200_000 + b'",x\n', b"path,label\n" + b"a" * 5000 + b".png,x\n"])
def test_fault_64_a_table_of_odd_names_is_refused(text, tmp_path, capsys):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "labels.csv").write_bytes(text)
    assert told(capsys, 5, "unlearn", "headonly", "--model", "resnet20", "--data", tmp_path / "d", "--forget", "class:x", "--out", tmp_path / "o")


def test_fault_64_a_place_of_5000_digits_is_refused(tmp_path, capsys):
    (tmp_path / "list.txt").write_text("9" * 5000)
    assert "is no place" in told(capsys, 2, "unlearn", "finetune", "--model", "digits", "--data", "digits", "--forget", f"index:{tmp_path}/list.txt", "--out", tmp_path / "o")


@pytest.mark.parametrize("metadata", [b"no json", b"[]", b'{"info": []}', b'{"info": {"features": {"label": {"names": 3}}}}', b"[" * 3000])
def test_fault_64_names_in_a_parquet_file_are_checked(metadata, tmp_path, capsys):
    table = pa.table({"image": [b"x"], "label": [0]}).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "x.parquet")
    assert "x.parquet" in told(capsys, 5, "unlearn", "headonly", "--model", "resnet20", "--data", tmp_path / "x.parquet", "--forget", "class:0", "--out", tmp_path / "o")


@pytest.mark.parametrize(
    "about",
    [
        {"size": {"shortest_edge": "x"}},
        {"size": {"height": None}},
        {"image_mean": "abc"},
        {"image_std": [0, 0, 0]},
        {"rescale_factor": []},
        {"crop_size": [[], []], "do_center_crop": 1},
        {"resample": []},
    ],
)
def test_fault_64_a_configuration_of_odd_types_is_refused(about, tmp_path, capsys):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps({"id2label": {str(i): f"LABEL_{i}" for i in range(10)}}))
    (tmp_path / "m" / "preprocessor_config.json").write_text(json.dumps(about))
    told(capsys, 5, "unlearn", "headonly", "--model", f"hf:{tmp_path}/m", "--data", "digits", "--forget", "class:3", "--out", tmp_path / "o")


def test_fault_64_what_nobody_foresaw_is_one_line_and_a_code_of_its_own(capsys, monkeypatch):
    def fault(*_: object) -> None:
        raise ZeroDivisionError("what")

    monkeypatch.setattr("untrain.verbs.catalogue.methods", fault)
    line = told(capsys, 9, "methods")
    assert "ZeroDivisionError: what (test_border_faults.py, line" in line
    capsys.readouterr()
    assert ran("methods", "--debug") == 9
    assert "Traceback" in capsys.readouterr().err


# 57, 58, 27: where data lie.


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", classes=("a", "b"), n=4)


def test_fault_57_an_output_within_the_data_is_refused(photos, tmp_path, capsys, monkeypatch):
    """The next reading found the run's weights among the images."""
    (tmp_path / "alias").symlink_to(photos)
    monkeypatch.chdir(photos)
    asked = ("unlearn", "headonly", "--model", "resnet20", "--forget", "class:a", "--size", "8")
    for data, out in ((photos, photos / "run"), (photos, photos / "a" / "deep" / "run"), (photos, tmp_path / "alias" / "run"), (tmp_path / "alias", "run"), (".", "run")):
        assert "which --data reads" in told(capsys, 2, *asked, "--data", data, "--out", out)
    assert "which --data reads" in told(capsys, 2, "reference", *asked[2:], "--data", photos, "--out", photos / "refs")
    assert "which --data reads" in told(capsys, 2, "check", "--model", "resnet20", "--data", photos, "--forget", "class:a", "--pages", photos / "p.html")
    assert sorted(p.name for p in photos.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("kind", ["pipe", "device", "listed"])
def test_fault_58_only_files_are_read(kind, photos, capsys, tmp_path):
    """A pipe was waited for, and /dev/zero read, without end."""
    if kind == "pipe":
        os.mkfifo(photos / "a" / "x.png")
    elif kind == "device":
        (photos / "a" / "x.png").symlink_to("/dev/zero")
    else:
        (photos / "labels.csv").write_text("path,label\na/0.png,a\n/dev/zero,b\n")
    line = told(capsys, 5, "check", "--model", "resnet20", "--data", photos, "--forget", "class:a", "--outside")
    assert "not a regular file" in line


def test_fault_58_nor_are_others_hashed_or_written_over(tmp_path):
    os.mkfifo(tmp_path / "p")
    for read in (disk.sha256, disk.read):
        with pytest.raises(OSError, match="not a regular file"):
            read(tmp_path / "p")
    with pytest.raises(BadData, match="cannot be read"):
        disk.text(tmp_path / "p")


def test_fault_27_files_lie_in_their_folder_unless_asked(photos, tmp_path, capsys):
    """Of a stranger's table they were read, and with --show-images published."""
    Image.new("RGB", (6, 6)).save(tmp_path / "private.png")
    asked = ("check", "--model", "resnet20", "--data", photos, "--forget", "class:a", "--size", "8")
    for path in ("../private.png", str(tmp_path / "private.png"), "a/../../private.png"):
        (photos / "labels.csv").write_text(f"path,label\na/0.png,a\nb/0.png,b\n{path},b\n")
        assert "outside of its folder" in told(capsys, 5, *asked)
    (photos / "labels.csv").unlink()
    (photos / "b" / "linked.png").symlink_to(tmp_path / "private.png")
    assert "1 files of photos lie outside of its folder, such as b/linked.png" in told(capsys, 5, *asked)
    from untrain.verbs.given import given_data

    assert len(given_data(str(photos), size=6, outside=True).whole) == 9
