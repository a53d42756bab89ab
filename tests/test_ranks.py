"""Several ranks do what one process does: same global batch, same weights, whatever the method."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ranks_main
from untrain.core.engine import Engine, join_ranks


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


def test_both_ranks_joined_and_each_did_its_share(ranks, alone):
    for name in ("fp32", "fp64", "batchnorm"):
        assert [int(found[f"ranks-{name}"]) for found in (*ranks, alone)] == [2, 2, 1]
        shares = [int(found[f"passes-{name}"]) for found in ranks]
        assert sum(shares) == int(alone[f"passes-{name}"])
        assert max(shares) < 0.6 * sum(shares)


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
