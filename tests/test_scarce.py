"""What there may be little of, memory, processors, network and data: the work goes on in smaller pieces, by fewer threads or without, and says so."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from urllib.error import ContentTooShortError, URLError

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import nn

from test_train import blobs, mlp, small_split
from untrain.cli import main
from untrain.core import processors, resume
from untrain.core.data import Samples
from untrain.core.engine import Engine, seeded
from untrain.core.network import Network
from untrain.core.relearning import relearned
from untrain.core.train import minimize, predict
from untrain.core.unlearn import describe, unlearn
from untrain.evidence import record as records
from untrain.methods.finetune import FineTune
from untrain.zoo import sets


class Small(nn.Module):
    """A network for which there is memory up to so many samples at once, for gradients or for anything."""

    def __init__(self, most: int, body: nn.Module, *, anyhow: bool = False) -> None:
        super().__init__()
        self.most, self.body, self.anyhow = most, body, anyhow

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most and (self.anyhow or torch.is_grad_enabled()):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.body(x)


def plain(seed: int = 1) -> nn.Module:
    """Without BatchNorm, the gradient of a batch is the sum of its pieces'."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def unbounded(most: int) -> Small:
    return Small(most, plain())


@pytest.mark.parametrize(("most", "pieces"), [(60, 1), (12, 2), (6, 4), (3, 8)])
def test_a_step_without_memory_is_taken_in_pieces_and_is_the_same_step(most, pieces, caplog):
    """F33: batches of 21, and a last one of 18."""
    whole, cut = (unlearn(unbounded(n), small_split(), FineTune(epochs=3, batch=21, lr=0.05)) for n in (99, most))
    for one, other in zip(whole.model.parameters(), cut.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.tensor(whole.trace["finetune"].losses), torch.tensor(cut.trace["finetune"].losses), rtol=1e-4, atol=1e-6)
    assert describe(cut)["environment"].get("pieces", 1) == pieces
    assert "pieces" not in describe(whole)["environment"]
    assert caplog.text.count("memory ran out") == pieces.bit_length() - 1


def test_relearning_in_pieces_looks_at_the_same_steps():
    """It counted its steps by how often the loss was asked, which in pieces is several times a step, and ended in a StopIteration."""
    curves, samples = [], blobs(60)
    for most in (60, 20):
        with seeded(0) as run:
            curves.append(relearned(Network(unbounded(most)), samples, torch.arange(60).repeat(6, 1), samples, (1,), rows="mean", every=2, lr=0.1, optimizer="sgd"))
        assert run.pieces == (1 if most == 60 else 4)
    assert [step for step, _ in curves[1]] == [0, 2, 4, 6]
    torch.testing.assert_close(*(torch.tensor([share for _, share in curve]) for curve in curves), atol=0.05, rtol=0)


def test_pieces_have_two_samples_or_it_ends():
    """F33: of one, BatchNorm has no variance."""
    with pytest.raises(torch.OutOfMemoryError):
        unlearn(Small(1, mlp()), small_split(), FineTune(epochs=1, batch=21))


def test_a_loss_that_keeps_something_from_step_to_step_is_not_cut():
    """F33: it would keep it once a piece."""
    count = torch.zeros(1)

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        count.add_(1)
        return F.cross_entropy(network(x), y)

    with seeded(0) as run:
        network = Network(unbounded(12))
        with pytest.raises(torch.OutOfMemoryError):
            minimize(loss, network.parameters(), blobs().batches(21), phase="p", lr=0.1, carry={"count": count})
    assert run.pieces == 1


def test_ranks_that_meet_within_a_forward_are_not_left_waiting(monkeypatch):
    """F33: synchronised BatchNorm of a second forward would meet the others' next one."""
    monkeypatch.setattr(Engine, "world", 2)
    monkeypatch.setattr(Engine, "sum", lambda *_: None)
    for meets in (True, False):
        body = plain()
        body.add_module("meets", nn.SyncBatchNorm(3).eval() if meets else nn.Identity())
        with seeded(0, network=(network := Network(Small(6, body)))) as run, pytest.raises(torch.OutOfMemoryError) if meets else nullcontext():
            minimize(lambda x, y: F.cross_entropy(network(x), y), network.parameters(), blobs().batches(21), phase="p", lr=0.1)
        assert run.pieces == (1 if meets else 2)


def test_streams_beside_each_other_are_cut_alike():
    """F33: each loss keeps the share that its own stream gives it."""
    ends = []
    for most in (99, 8):
        with seeded(0):
            network = Network(unbounded(most))
            plan = blobs().batches(21).beside(blobs(30, seed=3).batches(10))
            minimize(lambda x, y: tuple(F.cross_entropy(network(a), b) for a, b in zip(x, y, strict=True)), network.parameters(), plan, phase="p", lr=0.1)  # noqa: B023
            ends.append([p.detach().clone() for p in network.parameters()])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class Killed(BaseException):
    """As sudden as a signal."""


def test_a_run_in_pieces_that_is_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    """F33 and F01: it goes on in the pieces that it was in, BatchNorm and dropout included."""
    monkeypatch.setattr(resume, "WORTH", 0.0)
    method = FineTune(epochs=30, batch=21, lr=0.05)

    def kill(phase: str, step: int, steps: int) -> None:
        if step == 70:
            raise Killed

    whole = unlearn(Small(12, mlp(0.5)), small_split(), method)
    with pytest.raises(Killed):
        unlearn(Small(12, mlp(0.5)), small_split(), method, store=tmp_path, progress=kill)
    again = unlearn(Small(12, mlp(0.5)), small_split(), method, store=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.state_dict().values(), again.model.state_dict().values(), strict=True))
    assert again.engine["pieces"] == 2


def test_predictions_take_smaller_batches():
    """F33: in evaluation mode samples do not see each other."""
    samples: Samples = blobs()
    whole, cut = (predict(Network(Small(n, plain(), anyhow=True)), samples, batch=64)[0] for n in (99, 3))
    torch.testing.assert_close(whole, cut, rtol=1e-5, atol=1e-6)
    with pytest.raises(torch.OutOfMemoryError):
        predict(Network(Small(0, plain(), anyhow=True)), samples)


@pytest.mark.parametrize(
    ("files", "bound", "due"),
    [
        ({}, 8, 8),
        ({"cpu.max": "max 100000"}, 8, 8),
        ({"cpu.max": "200000 100000"}, 8, 2),
        ({"cpu.max": "50000 100000"}, 8, 1),
        ({"cpu.max": "800000 100000"}, 3, 3),
        ({"cpu.max": "max 100000", "pod/cpu.max": "150000 100000", "pod/own/cpu.max": "400000 100000"}, 8, 2),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 8, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8, 8),
        ({"cpu.max": "no limit at all"}, 8, 8),
    ],
)
def test_a_container_has_the_processors_of_its_share(files, bound, due, tmp_path, monkeypatch):
    """F35: a library starts a thread for each processor of the machine, which in a container are not its own."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(processors, "GROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    real = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **how: "0::/pod/own\n" if str(path) == "/proc/self/cgroup" else real(path, **how))
    assert processors.processors() == due


@pytest.mark.parametrize(("said", "due"), [(None, "2"), ("6", "6")])
def test_threads_are_as_many_as_processors_unless_it_is_said(said, due, monkeypatch):
    """F35."""
    monkeypatch.setattr(processors, "processors", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", said or "")
    if said is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    processors.cap()
    assert os.environ["OMP_NUM_THREADS"] == due
    assert processors.crowded(2) is None
    assert "6 threads on 2 processors" in str(processors.crowded(6))


SHARE = """
import json, os, sys
from untrain.cli import main
from untrain.core import processors

processors.processors, os.cpu_count = lambda: 1, lambda: 64
code = main(sys.argv[1:])
print(code, json.load(open("run/record.json"))["environment"]["threads"])
"""


def test_a_verb_runs_on_the_share_of_processors_whatever_imports_torch_first(tmp_path):
    """F35: a method is imported, and torch with it, before its verb is called; torch counts once."""
    asked = ("unlearn", "headonly", "--model", "digits", "--data", "digits", "--forget", "class:3", "--out", "run")
    free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", SHARE, *asked], cwd=tmp_path, env=free, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.splitlines()[-1:] == ["0 1"], done.stderr


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """No connection is made while a test runs; those that were tried."""
    tried: list[object] = []

    def refused(_: object, address: object) -> None:
        tried.append(address)
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refused)
    return tried


def test_what_the_package_brings_needs_no_network(offline, tmp_path, monkeypatch):
    """F47: nor does it ask for one."""
    monkeypatch.delenv("UNTRAIN_DATA", raising=False)
    asked = ("unlearn", "headonly", "--model", "digits", "--data", "digits", "--forget", "class:3", "--out", str(tmp_path / "run"))
    assert main(asked) == 0
    assert main(["report", str(tmp_path / "run")]) == 0
    assert offline == []


@pytest.mark.parametrize(
    "error", [URLError("broken off"), RuntimeError("File not found or corrupted."), EOFError("Compressed file ended"), ContentTooShortError("got 3 of 9", None)]
)
def test_a_download_that_breaks_off_is_one_line_and_nothing_is_taken_for_whole(error, tmp_path, monkeypatch, capsys):
    """F47: the library that downloads compares hashes at each call, so a part that was left is fetched anew (tests/vision/test_data.py)."""

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.delenv("UNTRAIN_DATA", raising=False)
    monkeypatch.setattr(sets, "import_torchvision", lambda: SimpleNamespace(datasets=SimpleNamespace(CIFAR10=broken, CIFAR100=broken)))
    asked = ("train", "--model", "resnet20", "--data", "cifar10", "--out", str(tmp_path / "run"))
    assert main(asked) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "cifar10 could not be had whole" in line
    assert not (tmp_path / "run").exists()


PART = """
import torch
from untrain.core.data import Samples
from untrain.zoo.sets import digits

def part(every):
    found = digits()
    return found.train[torch.arange(len(found.train)) % every == 0], found.test[torch.arange(len(found.test)) % every == 0]

def whole(): return part(1)
def third(): return part(3)
"""


def test_of_a_part_of_the_data_the_counts_are_recorded_and_the_intervals_are_its_own(tmp_path, monkeypatch):
    """F48: what the original was trained on is known to its owner; what was at hand here stands in the record, and every share has its own n."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.py").write_text(PART)
    told = {}
    for name in ("whole", "third"):
        asked = ("--model", "digits", "--data", f"d.py:{name}", "--norm", "grey", "--forget", "class:3")
        assert main(["unlearn", "headonly", *asked, "--out", name]) == 0
        assert main(["audit", name, "--data", f"d.py:{name}", "--skip", "relearn,prototype,predictions,weights,dormant,nearby"]) in (3, 4)
        told[name] = records.read(tmp_path / name)
    rows = {name: next(row for audit in record["audits"] for row in audit["rows"] if row["name"] == "retained, training")["values"]["unlearned"] for name, record in told.items()}
    shares = {name: value[0] if isinstance(value, list) else value for name, value in rows.items()}
    for name, record in told.items():
        value, n = shares[name]["value"], shares[name]["n"]
        assert n == record["data"]["counts"]["retain"]
        exact = binomtest(round(value * n), n).proportion_ci(0.95, "exact")
        assert (shares[name]["low"], shares[name]["high"]) == pytest.approx((exact.low, exact.high), abs=1e-6)
    assert shares["third"]["n"] < 0.4 * shares["whole"]["n"]
    assert shares["third"]["high"] - shares["third"]["low"] > shares["whole"]["high"] - shares["whole"]["low"]
