"""A killed run goes on to the same bits, one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from untrain.cli import main

VERBS = {
    "train": ("train", "--model", "digits", "--data", "digits", "--epochs", "6"),
    "retrain": ("unlearn", "retrain", "--model", "digits", "--data", "digits", "--forget", "class:3", "--epochs", "6"),
}


def digest(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def killed(arguments: tuple[str, ...], out: Path) -> None:
    """Run it until the first state is saved, then kill it as a power cut would."""
    threads = str(torch.get_num_threads())
    process = subprocess.Popen([sys.executable, "-m", "untrain", *arguments, "--out", str(out)], env=os.environ | {"OMP_NUM_THREADS": threads}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / ".state" / "call-0001.safetensors").is_file():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("verb", VERBS)
def test_a_killed_run_goes_on_to_the_same_bits(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, out, whole = VERBS[verb], tmp_path / "killed", tmp_path / "whole"
    assert main([*arguments, "--out", str(whole)]) == 0
    killed(arguments, out)
    assert not (out / "model.safetensors").exists()
    assert main(["audit", str(out)]) == 5
    assert "has not ended" in capsys.readouterr().err

    assert main([*arguments, "--out", str(out), "--seed", "5"]) == 2
    assert "seed was 0 and is 5" in capsys.readouterr().err
    assert main([*arguments, "--out", str(out), "--mirror"]) == 2
    assert "mirror was null and is true" in capsys.readouterr().err
    with (out / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main([*arguments, "--out", str(out)]) == 8
    assert len(capsys.readouterr().err.splitlines()) == 1

    orphan = out / ".model.safetensors.x.tmp"
    orphan.write_bytes(b"half a file")
    capsys.readouterr()
    assert main([*arguments, "--out", str(out), "--json"]) == 0
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in whole.iterdir())
    assert digest(out) == digest(whole)
    told = [json.loads(text) for text in (capsys.readouterr().out, (whole / ("train.json" if verb == "train" else "record.json")).read_text())]
    assert told[0]["run"]["phases"][0]["losses"] == told[1]["run"]["phases"][0]["losses"]


def test_an_interrupted_run_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"

    @contextlib.contextmanager
    def ended_by_hand() -> Iterator[Callable[[str, int, int], None]]:
        def press(phase: str, step: int, steps: int) -> None:
            if step == 80:
                raise KeyboardInterrupt

        yield press

    with monkeypatch.context() as patch:
        patch.setattr("untrain.cli.show.bars", ended_by_hand)
        assert main([*VERBS["train"], "--out", str(out)]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert sorted(p.name for p in out.iterdir()) == [".state"]
    assert main([*VERBS["train"], "--out", str(out)]) == main([*VERBS["train"], "--out", str(whole)]) == 0
    assert digest(out) == digest(whole)
