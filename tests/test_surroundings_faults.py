"""Where a run takes place: disks, streams, ranks, signals, and what an earlier run left. Each fault by its number."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import untrain
from test_sources import folder_of
from untrain.cli import main, show
from untrain.core import disk, files
from untrain.core.data import Samples, Split
from untrain.core.engine import join_ranks
from untrain.core.errors import BadArgument, BadData, Resources
from untrain.core.unlearn import unlearn
from untrain.evidence import record as records
from untrain.evidence.seal import sealed
from untrain.methods.finetune import FineTune
from untrain.sources import blobs
from untrain.verbs.folder import locked
from untrain.zoo import trained

DIGITS_FILE = Path(trained.__file__).parent / "weights" / "digits.safetensors"
DIGITS = ("--model", "digits", "--data", "digits", "--forget", "class:3")


def ran(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def killed(monkeypatch: pytest.MonkeyPatch, *arguments: object, at: str = "untrain.core.files.save_weights") -> None:
    """End a run as a kill would, where it would write its weights."""

    def kill(path: Path, *_: object, **__: object) -> None:
        if path.name == "model.safetensors":
            raise KeyboardInterrupt
        real(path, *_, **__)

    real = files.save_weights
    with monkeypatch.context() as patch:
        patch.setattr(at, kill)
        assert ran(*arguments) == 130


# 60: what is left.


def test_fault_60_a_broken_state_costs_a_step_and_the_run_is_the_same(tmp_path, monkeypatch, capfd):
    """F02 and F14: a flipped byte ended the run, and the next call ended with "exists"."""
    asked = ("unlearn", "finetune", *DIGITS, "--samples", 64, "--epochs", 1)
    assert ran(*asked, "--out", tmp_path / "whole") == 0
    killed(monkeypatch, *asked, "--out", tmp_path / "run")
    path = tmp_path / "run" / ".state" / "call-0001.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert ran(*asked, "--out", tmp_path / "run") == 0
    assert files.sha256(tmp_path / "run" / "model.safetensors") == files.sha256(tmp_path / "whole" / "model.safetensors")


@pytest.mark.parametrize("data", [b"", b'{"seed"', b"[]", b"[" * 3000, b"\xff"])
def test_fault_60_arguments_that_cannot_be_read_are_said(data, tmp_path, monkeypatch, capsys):
    killed(monkeypatch, "unlearn", "headonly", *DIGITS, "--out", tmp_path / "run")
    path = tmp_path / "run" / ".state" / "arguments.json"
    path.write_bytes(data)
    capsys.readouterr()
    assert ran("unlearn", "headonly", *DIGITS, "--out", tmp_path / "run") == 5
    assert "arguments.json); give another folder, or remove it" in capsys.readouterr().err
    assert path.read_bytes() == data


def test_fault_60_a_refusal_of_a_run_that_goes_on_leaves_nothing(tmp_path, monkeypatch, capsys):
    """The state was gone, an empty folder stayed, and the next call said that it exists."""
    asked = ("unlearn", "headonly", *DIGITS, "--out", tmp_path / "run")
    killed(monkeypatch, *asked)

    def refuse(*_: object, **__: object) -> None:
        raise BadData("no")

    with monkeypatch.context() as patch:
        patch.setattr("untrain.core.unlearn.unlearn", refuse)
        assert ran(*asked) == 5
    assert not (tmp_path / "run").exists()
    assert ran(*asked) == 0


def test_fault_60_what_kills_leave_is_swept_by_the_next_call(tmp_path, monkeypatch, capsys):
    """F02: half-made folders, half-written pages and records, and a state of a run that is whole."""
    left = tmp_path / ".run.abcd1234.tmp"
    (left / ".state").mkdir(parents=True)
    (left / ".state" / "arguments.json").write_text("{}")
    theirs = tmp_path / ".run.abcd5678.tmp"
    theirs.mkdir()
    (theirs / "mine").write_text("mine")
    out = tmp_path / "run"
    assert ran("unlearn", "headonly", *DIGITS, "--out", out) == 0
    assert not left.exists()
    assert (theirs / "mine").read_text() == "mine"
    for name in (".report.html.abcd1234.tmp", ".record.json.abcd1234.tmp"):
        (out / name).write_text("half")
    (out / ".state.123.tmp").mkdir()
    (out / ".state.123.tmp" / "call-0001.safetensors").write_text("half")
    (out / ".mine.tmp").write_text("mine")
    assert ran("report", out) == 0
    assert sorted(p.name for p in out.iterdir()) == [".mine.tmp", "model.safetensors", "record.json", "report.html"]
    (out / ".state.123.tmp").mkdir()
    assert ran("unlearn", "headonly", *DIGITS, "--out", out) == 2
    assert not (out / ".state.123.tmp").exists()


def test_a_lock_whose_owner_was_killed_before_it_had_said_who_it_was_is_swept(tmp_path, monkeypatch):
    """F02: an empty `.lock` stayed in a run that was whole, whatever was called afterwards."""
    out = tmp_path / "run"
    assert ran("unlearn", "headonly", *DIGITS, "--out", out) == 0
    child = os.fork()
    if child == 0:
        monkeypatch.setattr("untrain.verbs.folder.fcntl.flock", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with locked(out):
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert (out / ".lock").read_bytes() == b""
    assert ran("report", out) == 0
    assert not (out / ".lock").exists()


def test_an_empty_lock_of_anothers_folder_stays(tmp_path):
    """F08: it is refused as an output, and is left as it was."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / ".lock").touch()
    assert ran("unlearn", "headonly", *DIGITS, "--out", tmp_path / "theirs") == 2
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == [".lock"]


def test_fault_60_what_is_being_written_is_not_swept(tmp_path, monkeypatch):
    real = os.replace

    def replaced(before: str, after: Path) -> None:
        disk.sweep(tmp_path)
        disk.sweep(tmp_path, "f")
        real(before, after)

    monkeypatch.setattr(os, "replace", replaced)
    files.write(tmp_path / "f", b"data")
    assert (tmp_path / "f").read_bytes() == b"data"


def test_fault_60_the_state_goes_at_one_stroke(tmp_path, monkeypatch):
    """Its list of arguments went first: after a kill in between, nothing removed the saved weights."""
    monkeypatch.setattr("untrain.verbs.folder.shutil.rmtree", lambda *_, **__: None)
    assert ran("unlearn", "headonly", *DIGITS, "--out", tmp_path / "run") == 0
    assert not (tmp_path / "run" / ".state").exists()
    monkeypatch.undo()
    assert ran("report", tmp_path / "run") == 0
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["model.safetensors", "record.json", "report.html"]


# 61: surroundings.


def test_fault_61_closed_streams_change_no_exit_code(capsys):
    """F11, in real processes: stdout closed, stderr closed, and either on a full disk."""
    tell = [sys.executable, "-m", "untrain"]
    ways = [("--version >&-", 0), ("unlearn nosuch 2>&-", 2), ("unlearn nosuch 2>/dev/full", 2), ("--version >/dev/full", 7)]
    script = "\n".join(f"{' '.join(tell)} {way}; echo $?" for way, _ in ways)
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=200, env=env)
    assert [int(line) for line in done.stdout.split()] == [code for _, code in ways]
    assert "Traceback" not in done.stderr


def test_a_verdict_is_told_by_the_exit_code_though_nobody_reads_it(tmp_path, monkeypatch):
    """F11: `untrain audit RUN | head -1` ended in 0 where Python's streams hold nothing back, and 0 says that no trace was found."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            # As the system has it: of nothing, nothing is written.
            if text:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
            return 0

    out = tmp_path / "run"
    assert ran("unlearn", "headonly", *DIGITS, "--out", out) == 0
    for json_too in ((), ("--json",)):
        monkeypatch.setattr(sys, "stdout", Gone())
        assert ran("audit", out, "--skip", "relearn,prototype,predictions,weights", *json_too) in (3, 4)


ALONE = """
import os, subprocess, sys
from untrain.cli import show
with show.alone():
    os.write(1, b"past Python\\n")
    subprocess.run(["echo", "of a program"])
    print("printed")
    show.say("the answer \u00e4")
show.say("more")
sys.exit(show.terminal(sys.stdout))
"""


@pytest.mark.parametrize(("way", "code", "out"), [("", 0, "the answer ä\nmore\n"), ("2>&-", 0, "the answer ä\nmore\n"), (">/dev/full", 1, "")])
def test_what_is_written_past_python_is_no_part_of_the_answer(way, code, out):
    """Fault 63: what a library of C's or a program wrote stood before the `{` of --json."""
    command = f"'{sys.executable}' -c \"$CODE\" {way}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, env=os.environ | {"CODE": ALONE, "PYTHONIOENCODING": "utf-8"})
    assert (done.returncode, done.stdout) == (code, out), done.stderr
    if not way:
        assert sorted(done.stderr.splitlines()) == ["of a program", "past Python", "printed"]


class Narrow:
    """A stream that takes ASCII alone."""

    encoding = "ascii"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text.encode("ascii").decode("ascii")
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("name", ["naïve", "x\udcff"])
def test_fault_61_a_name_that_an_encoding_lacks_is_written_out(name, tmp_path, monkeypatch):
    """Work was done, and ended in UnicodeEncodeError."""
    monkeypatch.chdir(tmp_path)
    out, err = Narrow(), Narrow()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert ran("unlearn", "headonly", *DIGITS, "--out", name) == 0
    assert "record.json" in out.text
    assert records.read(tmp_path / name)["command"][-1] == name or name in records.read(tmp_path / name)["command"]
    assert ran("audit", name, "--skip", "relearn,prototype,predictions,weights") == 4


def test_fault_61_a_zero_byte_is_refused(capsys):
    assert ran("report", "a\0b") == 2
    assert "zero byte" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("left", "code"),
    [
        ({"WORLD_SIZE": "1"}, 0),
        ({"RANK": "1"}, 0),
        ({"WORLD_SIZE": ""}, 0),
        ({"WORLD_SIZE": "abc"}, 2),
        ({"WORLD_SIZE": "2"}, 2),
        ({"WORLD_SIZE": "2", "RANK": "x", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}, 2),
    ],
)
def test_fault_61_leftovers_of_a_launcher(left, code, monkeypatch):
    """ValueError where they did not fit together."""
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    if code:
        with pytest.raises(BadArgument, match="launch by torchrun, or unset"):
            join_ranks()
    else:
        assert join_ranks() is False
        assert show.first()


def test_fault_61_ranks_that_do_not_meet_end(monkeypatch):
    """They waited for more than 40 s."""
    from datetime import timedelta

    monkeypatch.setattr("untrain.core.engine.MEETING", timedelta(seconds=1))
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Resources, match=r"did not meet at 127.0.0.1 port 9"):
        join_ranks()


def test_fault_61_a_refusal_under_a_rank_that_was_left_over_is_said(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert ran("report", "nosuch") == 5
    assert "nosuch" in capsys.readouterr().err


def test_fault_61_without_further_threads_images_are_read_all_the_same(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "photos", classes=("a", "b"), n=4)
    whole = untrain.load(str(folder)).sha256

    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    assert untrain.load(str(folder)).sha256 == whole
    monkeypatch.setattr(blobs, "FITS", 0)
    lazy = untrain.load(str(folder))
    assert lazy.train.batch(torch.arange(2))[0].shape[0] == 2


@pytest.mark.parametrize("words", ["can't start new thread", "could not create a primitive", "[enforce fail] DefaultCPUAllocator: can't allocate memory"])
def test_fault_61_no_memory_and_no_threads_are_7(words, monkeypatch, capsys):
    def out(*_: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr("untrain.verbs.catalogue.methods", out)
    assert ran("methods") == 7


# F09: signals.


@pytest.fixture
def unheeded() -> Iterator[None]:
    """Signals as a shell leaves them in front, also where the tests themselves run behind or under nohup, which ignore some."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("unheeded")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_saves_the_step_and_the_run_goes_on_to_the_same_bits(number, code, tmp_path, monkeypatch, capsys):
    """F09: SIGTERM killed the process where it was, with what had been saved until then."""
    asked = ("unlearn", "finetune", *DIGITS, "--samples", 640, "--epochs", 1)
    assert ran(*asked, "--out", tmp_path / "whole") == 0

    @contextlib.contextmanager
    def struck() -> Iterator[Any]:
        def strike(phase: str, step: int, steps: int) -> None:
            if step == 3:
                os.kill(os.getpid(), number)

        yield strike

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr("untrain.cli.show.bars", struck)
        capsys.readouterr()
        assert ran(*asked, "--out", tmp_path / "run") == code
    assert "go on when they are called again" in capsys.readouterr().err
    assert signal.getsignal(number) == before
    (phase,) = files.about(tmp_path / "run" / ".state" / "call-0001.safetensors")["phases"]
    assert phase["steps"] == 3
    assert ran(*asked, "--out", tmp_path / "run") == 0
    assert files.sha256(tmp_path / "run" / "model.safetensors") == files.sha256(tmp_path / "whole" / "model.safetensors")


@pytest.mark.usefixtures("unheeded")
def test_a_signal_outside_of_a_step_ends_at_once(monkeypatch, capsys):
    """F09."""
    monkeypatch.setattr("untrain.verbs.catalogue.methods", lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert ran("methods") == 143


# 66 and F04: disks.


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_fault_66_a_file_system_that_cannot_flush_folders_works(number, tmp_path, monkeypatch, caplog):
    """F12: it could not be used, and the message was false."""
    real = os.fsync

    def fsync(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(number, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(disk, "_unflushed", [])
    files.write(tmp_path / "a", b"1")
    files.write(tmp_path / "b", b"2")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert caplog.text.count("cannot flush folders") == 1


def test_fault_66_a_disk_that_fails_then_does_not_claim_that_nothing_is_there(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(errno.EIO, "Input/output error")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Resources, match="is there, and a power cut could take it"):
        files.write(tmp_path / "a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"


ROOMY = [("unlearn", "headonly", *DIGITS), ("train", *DIGITS[:4]), ("reference", *DIGITS, "--models", "1"), ("convert", DIGITS_FILE), ("audit", DIGITS_FILE, *DIGITS)]


@pytest.mark.parametrize("verb", ROOMY, ids=lambda verb: verb[0])
def test_a_disk_without_room_is_refused_before_the_work(verb, tmp_path, monkeypatch, capsys):
    """F04."""
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("untrain.verbs.folder.shutil.disk_usage", lambda _: usage(10**9, 10**9, 1000))
    assert ran(*verb, "--out", tmp_path / ("run.safetensors" if verb[0] == "convert" else "run")) == 7
    assert "1,000 free" in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# 68: what changes while it is worked with.


@pytest.mark.parametrize("what", ["an image", "the weights", "its time alone", "the code"])
def test_fault_68_what_changes_during_a_run_is_noticed(what, tmp_path, monkeypatch, capsys):
    """F43: an image and the weights were overwritten, exit 0, nothing said."""
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path / "photos", classes=("a", "b"), n=4)
    Path("n.py").write_text("from torch import nn\n\ndef net(classes):\n    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, classes))\n")
    module = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    files.save_weights(tmp_path / "w.safetensors", module.state_dict(), {})
    real = unlearn

    def changing(*given: Any, **named: Any) -> Any:
        result = real(*given, **named)
        image = folder / "a" / "1.png"
        if what == "an image":
            image.write_bytes((folder / "b" / "1.png").read_bytes())
        elif what == "the weights":
            files.save_weights(tmp_path / "w.safetensors", {k: v + 1 for k, v in module.state_dict().items()}, {})
        elif what == "the code":
            Path("n.py").write_text("# other\n")
        else:
            os.utime(image, (1, 1))
        return result

    monkeypatch.setattr("untrain.core.unlearn.unlearn", changing)
    code = ran("unlearn", "headonly", "--model", "n.py:net", "--weights", "w.safetensors", "--norm", "half", "--data", "photos", "--forget", "class:a", "--out", "run")
    assert code == (0 if what == "its time alone" else 5)
    assert Path("run").exists() == (code == 0)
    assert code == 0 or "changed while they were worked with" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["audit", "copy", "reference"])
def test_what_changes_while_it_is_audited_or_trained_beside_is_noticed(verb, tmp_path, monkeypatch, capsys):
    """F43: of a model from elsewhere the file was copied after the audit, and its hash taken before."""
    state = files.load_weights(DIGITS_FILE)
    for name in ("w", "theirs"):
        files.save_weights(tmp_path / f"{name}.safetensors", {k: v + 0.001 * (name == "theirs") for k, v in state.items()}, {})
    changes, real, read = {"reference": "w"}.get(verb, "theirs"), unlearn, disk.read

    def changing(*given: Any, **named: Any) -> Any:
        files.save_weights(tmp_path / f"{changes}.safetensors", {k: v + 1 for k, v in state.items()}, {})
        return real(*given, **named) if verb == "reference" else None

    def copying(path: Path, *most: int) -> bytes:
        if path.name == "theirs.safetensors":
            changing()
        return read(path, *most)

    if verb == "copy":
        monkeypatch.setattr("untrain.verbs.elsewhere.examine", lambda *_, **__: None)
        monkeypatch.setattr("untrain.verbs.elsewhere.disk.read", copying)
    else:
        monkeypatch.setattr({"audit": "untrain.verbs.elsewhere.examine", "reference": "untrain.core.unlearn.unlearn"}[verb], changing)
    more = ("--models", 1, "--epochs", 1) if verb == "reference" else (tmp_path / "theirs.safetensors",)
    assert ran("reference" if verb == "reference" else "audit", *more, *DIGITS, "--weights", tmp_path / "w.safetensors", "--out", tmp_path / "out") == 5
    assert f"1 files changed while they were worked with: {changes}.safetensors" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


# 70 and 71: models that are not as they should be.


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid(), nn.LogSoftmax(1), nn.Identity()], ids=lambda m: type(m).__name__)
def test_fault_70_models_that_answer_with_probabilities_are_refused(last):
    """F20. Logarithms of probabilities are logits: their softmax is the same, and so is the loss."""
    torch.manual_seed(0)
    samples = Samples(torch.randn(40, 4), torch.arange(40) % 3)
    split = Split.by_class(samples, samples, forget=[1])
    model = nn.Sequential(nn.Linear(4, 3), last)
    if isinstance(last, nn.Softmax | nn.Sigmoid):
        with pytest.raises(BadData, match=r"answers with probabilities, as after a (softmax|sigmoid)"):
            unlearn(model, split, FineTune(epochs=1))
        return
    plain = nn.Sequential(model[0], nn.Identity())
    after = [unlearn(m, split, FineTune(epochs=1, batch=8)).model[0].weight for m in (model, plain)]
    torch.testing.assert_close(after[0], after[1], atol=1e-5, rtol=1e-4)


def test_fault_71_a_ruined_model_is_marked_wherever_it_is_told_and_never_cleared(tmp_path, capsys, monkeypatch):
    """F30. It is written, since controls and the paper's own rates must run; so the mark is said, with the way out, and no audit of it ends in 0."""
    out = tmp_path / "run"
    shares = iter((0.99, 0.2) * 9)
    for place in ("marks", "unlearn"):
        monkeypatch.setattr(f"untrain.core.{place}.correct", lambda *_: next(shares))
    assert ran("unlearn", "finetune", *DIGITS, "--samples", 64, "--epochs", 1, "--out", out) == 0
    told = capsys.readouterr().out
    assert records.read(out)["run"]["marks"] == ["collapsed"]
    assert "collapsed" in told
    assert "before running it again" in told
    assert ran("audit", out, "--skip", "relearn,prototype,predictions,weights") == 4
    assert "The model was ruined" in capsys.readouterr().out


# 59: escape sequences.


def test_fault_59_escape_sequences_of_names_reach_no_terminal(tmp_path, capsys):
    out = tmp_path / "run"
    assert ran("unlearn", "headonly", *DIGITS, "--out", out) == 0
    record = json.loads((out / "record.json").read_text())
    record["request"]["names"] = ["\x1b]0;owned\x07\x1b[2J\u202e"]
    (out / "record.json").write_text(json.dumps(sealed(record)))
    capsys.readouterr()
    assert ran("audit", out, "--skip", "relearn,prototype,predictions,weights") in (3, 4)
    assert ran("unlearn", "\x1b[2Jnosuch") == 2
    said = capsys.readouterr()
    assert "owned" in said.out
    assert not {"\x1b", "\x07", "\u202e"} & set(said.out + said.err)
    show.draw(show.table(("\x1b[2J[red]",), [("\x1b[31m",)]))
    assert "\x1b" not in capsys.readouterr().out
