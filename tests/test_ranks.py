"""Several ranks do what one process does: same global batch, same weights, whatever the method."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import ranks_main
from untrain.cli import main
from untrain.core import steps
from untrain.core.data import Samples
from untrain.core.engine import Engine, join_ranks, seeded
from untrain.core.errors import BadData, Resources
from untrain.core.train import minimize
from untrain.verbs.ranks import joined


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two ranks wrote what they ended with."""
    folder = tmp_path_factory.mktemp("ranks")
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    done = subprocess.run(
        [sys.executable, *launch, str(Path(ranks_main.__file__)), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def ranks(folder):
    """What two ranks end with, each."""
    return [load_file(folder / f"rank-{rank}.safetensors") for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone():
    return ranks_main.results()


def of(found, name):
    return {k.partition("/")[2]: v for k, v in found.items() if k.startswith(f"{name}/")}


def test_without_a_launcher_there_is_one_rank(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not join_ranks()
    assert (Engine().rank, Engine().world) == (0, 1)


def test_both_ranks_joined_and_passes_are_those_of_both(ranks, alone):
    """Fault 23: the record held the first rank's share."""
    for name in ("fp32", "fp64", "batchnorm"):
        assert [int(found[f"ranks-{name}"]) for found in (*ranks, alone)] == [2, 2, 1]
        assert [int(found[f"passes-{name}"]) for found in ranks] == [int(alone[f"passes-{name}"])] * 2
        assert [int(found[f"phases-{name}"]) for found in ranks] == [int(alone[f"passes-{name}"])] * 2


def test_a_run_killed_under_ranks_goes_on_to_the_same_bits(ranks):
    """Fault 11: running statistics and random state are each rank's own; all read the first one's."""
    for found in ranks:
        whole, again = of(found, "whole"), of(found, "again")
        assert whole.keys() == again.keys()
        assert all(torch.equal(whole[k], again[k]) for k in whole)
    assert [int(found["resumed-at"]) for found in ranks] == [51, 51]


def test_memory_that_runs_out_on_one_rank_alone_changes_no_step(ranks, alone):
    """F33: that rank's slice is taken in pieces, and the others wait for it."""
    for found in ranks:
        for key, value in of(alone, "uneven").items():
            torch.testing.assert_close(of(found, "uneven")[key], value, rtol=1e-9, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(*(of(found, "uneven").values() for found in ranks), strict=True))


def test_a_killed_run_goes_on_in_each_ranks_own_pieces_and_the_record_tells_the_most(ranks):
    """F33 and F01: all ranks took up the first one's pieces, and the record told those."""
    for found in ranks:
        assert [int(found[f"pieces-{name}"]) for name in ("short", "again", "whole")] == [2, 2, 1]
        whole, again = of(found, "short-whole"), of(found, "short-again")
        assert whole.keys() == again.keys()
        assert all(torch.equal(whole[key], again[key]) for key in whole)


def test_a_tail_of_three_is_not_cut_into_one_and_two(ranks):
    """Fault 30: BatchNorm1d has no variance of one."""
    first, second = (of(found, "tail") for found in ranks)
    assert first
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_gradients_and_streams_are_those_of_one_process(ranks, alone):
    """Each loss's gradient is of the whole batch before they are combined; a power is taken of the whole batch's."""
    for found in ranks:
        for name, value in alone.items():
            if name.startswith("seams/"):
                torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_in_single_precision_each_tensor_is_within_a_ten_thousandth_of_its_norm(ranks, alone):
    one = of(alone, "fp32")
    start = ranks_main.network(False, torch.float32).state_dict()
    assert len(one) == 6
    for found in ranks:
        for key, value in of(found, "fp32").items():
            assert (value - one[key]).norm() <= 1e-4 * one[key].norm(), key
            # The run moved it by far more than that.
            assert (value - start[key]).norm() > 1e-2 * one[key].norm(), key


def test_in_double_precision_every_weight_is_within_a_millionth_of_itself(ranks, alone):
    one = of(alone, "fp64")
    for found in ranks:
        for key, value in of(found, "fp64").items():
            assert value.dtype == torch.float64
            assert ((value - one[key]).abs() <= 1e-6 * one[key].abs()).all(), key


def test_noise_at_a_layer_is_learned_and_met_by_two_ranks_as_by_one(ranks, alone):
    """The site is found by each rank, the noise is learned at it over both, and the batch in which it stands is cut as any other."""
    one, start = of(alone, "site"), ranks_main.Words().double().state_dict()
    first, second = (of(found, "site") for found in ranks)
    assert all(torch.equal(first[k], second[k]) for k in one)
    for key, value in one.items():
        assert ((first[key] - value).abs() <= 1e-6 * value.abs()).all(), key
        assert (value - start[key]).norm() > 1e-2 * value.norm(), key


def test_the_losses_are_those_of_the_whole_batch(ranks, alone):
    for found in ranks:
        for phase, losses in of(alone, "losses-fp64").items():
            torch.testing.assert_close(of(found, "losses-fp64")[phase], losses, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["fp32", "fp64", "batchnorm"])
def test_the_ranks_agree_bit_for_bit_running_statistics_included(ranks, name):
    first, second = (of(found, name) for found in ranks)
    assert first.keys() == second.keys()
    assert ("1.running_var" in first) == (name == "batchnorm")
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_a_sharded_module_is_refused_by_name_on_every_rank(folder):
    for rank in (0, 1):
        said = json.loads((folder / f"sharded-{rank}.json").read_text(encoding="utf-8"))
        assert len(said) == 6
        assert all("is sharded over ranks (FSDPModule)" in line for line in said[:4])
        assert all(line.startswith("3.weight is sharded over ranks (a DTensor)") for line in said[4:])
        assert not any("\n" in line for line in said)


ENDS = """
import contextlib, os, signal, sys
from untrain.cli import main, show
from untrain.core import resume

@contextlib.contextmanager
def struck():
    def strike(phase, step, steps):
        if step == 70:
            os.kill(os.getpid(), signal.SIGKILL)
    yield strike

resume.WORTH = 0.0
if os.environ["RANK"] == "1":
    show.bars = struck
sys.exit(main(sys.argv[1:]))
"""


def test_where_a_rank_fails_the_others_end_and_the_run_can_go_on(tmp_path, capsys):
    """F36: nothing passes for a result; what was saved is for as many ranks as there were."""
    asked = ["unlearn", "finetune", "--model", "digits", "--data", "digits", "--forget", "class:3", "--samples", "640", "--epochs", "5", "--batch", "32", "--out"]
    common = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", ENDS, *asked, "run"]
    ranks = [subprocess.Popen(command, cwd=tmp_path, env=common | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True) for rank in (0, 1)]
    said = [rank.communicate(timeout=200)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [7, -signal.SIGKILL], said
    assert [line for line in said[0].splitlines() if line.startswith("untrain: ")][-1].startswith("untrain: another of the 2 ranks has ended")
    assert "Traceback" not in said[0]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [".state"]
    assert sorted(p.name for p in (tmp_path / "run" / ".state").iterdir()) == ["arguments.json", "call-0001.safetensors"]
    assert main([*asked, str(tmp_path / "run")]) == 2
    assert "ranks was 2 and is 1" in capsys.readouterr().err


def test_statistics_that_stand_alike_on_three_ranks_stay_to_the_bit():
    """Three times a number, in its own precision, and a third of that is not always the number."""
    module = nn.BatchNorm1d(4000)
    module.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    before = module.running_mean.clone()

    def summed(tensors: list[torch.Tensor]) -> None:
        for value in tensors:
            value.copy_(value + value + value)

    steps._agree(SimpleNamespace(engine=SimpleNamespace(world=3, rank=0, sum=summed), saved=lambda: [module]))
    assert torch.equal(module.running_mean, before)


@pytest.fixture
def as_two_ranks(monkeypatch):
    """Runs work as two ranks would, each in a thread of its own; what each ends with."""

    def run(work):
        own, meet, sent, ended = threading.local(), threading.Barrier(2, timeout=20), [[], []], [None, None]

        def added(_, values):
            sent[own.rank] = [v.clone() for v in values]
            meet.wait()
            both = [a + b for a, b in zip(*sent, strict=True)]
            meet.wait()
            for value, total in zip(values, both, strict=True):
                value.copy_(total)

        monkeypatch.setattr(Engine, "world", 2)
        monkeypatch.setattr(Engine, "rank", property(lambda _: own.rank))
        monkeypatch.setattr(Engine, "sum", added)

        def begin(rank):
            own.rank = rank
            try:
                ended[rank] = work()
            except Exception as error:
                ended[rank] = error

        threads = [threading.Thread(target=begin, args=(rank,)) for rank in (0, 1)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return ended

    return run


def test_a_rank_without_a_row_adds_nothing_to_each_of_several_losses(as_two_ranks):
    """At the first step it sent one where the other sent two, and both waited for each other or failed."""

    def taken():
        weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
        batches = Samples(torch.tensor([[1.0, 2.0], [3.0, 5.0], [4.0, 0.0]], dtype=torch.float64), [0, 1, 0]).batches(3, epochs=2)
        with seeded(0):
            done = minimize(lambda x, y: ((x @ weight).square().mean(), weight.sum()), [weight], batches, phase="p", lr=0.01, optimizer="sgd")
        return weight.detach(), done.losses, done.curves

    alone, ranks = taken(), as_two_ranks(taken)
    for weight, losses, curves in ranks:
        torch.testing.assert_close(weight, alone[0])
        assert losses == pytest.approx(alone[1])
        assert curves == [pytest.approx(curve) for curve in alone[2]]


def test_a_stream_too_short_for_the_ranks_is_refused_by_all_of_them(as_two_ranks):
    """The one that had rows waited for the other, which had ended."""

    def taken():
        weight = torch.ones(2, requires_grad=True)
        some = Samples(torch.ones(6, 2), [0, 1] * 3)
        with seeded(0):
            minimize(lambda x, y: (x[0] @ weight).mean() + (x[1] @ weight).mean(), [weight], some.batches(6).beside(some[:3].batches(3)), phase="p", lr=0.01)

    errors = as_two_ranks(taken)
    assert [type(error) for error in errors] == [BadData, BadData]
    assert str(errors[0]) == str(errors[1]) == "p: a batch of 3 samples gives none to one of 2 ranks; take larger batches"


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        ("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:3", True),
        ("NCCL error in: ProcessGroupNCCL.cpp:9, remote process exited or there was a network error, NCCL version 2.21.5", True),
        ("NCCL error in: ProcessGroupNCCL.cpp:9, invalid usage (run with NCCL_DEBUG=WARN for details), NCCL version 2.21.5", False),
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", False),
    ],
)
def test_another_rank_is_said_to_have_ended_only_where_it_has(error, lost, monkeypatch):
    """F36: a wrong use of nccl is nobody's end."""
    monkeypatch.setattr("untrain.verbs.ranks.join_ranks", lambda: False)
    monkeypatch.setattr("untrain.verbs.ranks.dist.is_initialized", lambda: True)
    monkeypatch.setattr("untrain.verbs.ranks.dist.get_world_size", lambda: 2)
    with pytest.raises(Resources if lost else RuntimeError, match="another of the 2 ranks has ended" if lost else "NCCL|memory"), joined():
        raise RuntimeError(error)
