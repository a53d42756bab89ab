"""unlearn inside a user's Fabric or Accelerator does what it does without; what comes back has the form that was given."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trainers_main
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from lightning.fabric import Fabric
from lightning.fabric.strategies import ModelParallelStrategy
from safetensors.torch import load_file
from torch import nn

import ranks_main
from untrain import Norm, UntrainError, audit, unlearn
from untrain.audits.accuracy import Accuracy
from untrain.core.data import CropFlip, Samples, Split


@pytest.fixture(autouse=True)
def no_trainer_left():
    """Accelerate keeps its settings for the whole process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def fabric(precision="32-true", **options):
    return Fabric(accelerator="cpu", devices=1, precision=precision, **options)


def accelerator(precision="no"):
    return Accelerator(cpu=True, mixed_precision=precision)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def go(model, **how):
    return unlearn(model, ranks_main.split(), ranks_main.METHOD, **how)


HOSTS = {
    "fabric": (fabric, lambda host, model: host.setup_module(model)),
    "accelerator": (accelerator, lambda host, model: host.prepare_model(model)),
}
BF16 = {"fabric": "bf16-mixed", "accelerator": "bf16"}


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trainer_changes_no_bit_of_what_comes_out(name, wrapped, precision):
    make, wrap = HOSTS[name]
    alone = go(trainers_main.fresh(), precision=precision).model.state_dict()
    host = make() if precision == "fp32" else make(BF16[name])
    given = wrap(host, trainers_main.fresh()) if wrapped else trainers_main.fresh()
    before = {k: v.clone() for k, v in given.state_dict().items()}
    result = go(given, **{name: host})
    assert same(result.model.state_dict(), alone)
    assert result.engine["precision"] == precision
    # The given one is left alone, and what comes back is of its kind and answers.
    assert same(given.state_dict(), before)
    assert type(result.model) is type(given)
    assert result.model is not given
    assert not result.marks
    x = torch.zeros(2, 1, 4, 4)
    assert result.model(x).shape == (2, 3)
    if wrapped and precision == "bf16":
        # The trainer's precision is around it again, and around the one that was given still.
        for model in (result.model, given):
            plain = nn.Sequential(*(model.module if name == "fabric" else model).children())
            assert not torch.equal(model(x), plain(x))


@pytest.mark.parametrize("name", HOSTS)
def test_an_audit_looks_through_the_wrapper_and_scores_in_single_precision(name):
    make, wrap = HOSTS[name]
    split, bare = ranks_main.split(), trainers_main.fresh()
    plain = audit(bare, split, [Accuracy()])
    assert audit(wrap(make(BF16[name]), bare), split, [Accuracy()]) == plain


def test_a_norm_that_the_module_carries_is_seen_inside_the_wrapper():
    def net():
        model = trainers_main.fresh()
        model.norm = Norm((0.5,), (0.25,))
        return model

    split = ranks_main.split()
    samples = split.retain + split.forget
    x, y = samples.batch(torch.arange(len(samples)), device=torch.device("cpu"))
    # A normalisation takes pixels, from 0 to 1.
    pixels = Samples(x.sigmoid(), y, augment=CropFlip(1))
    small, host = Split.by_class(pixels, pixels, forget=[1]), fabric()

    def left(model, **how):
        return unlearn(model, small, ranks_main.METHOD, **how).model.state_dict()

    assert same(left(host.setup_module(net()), fabric=host), left(net()))
    assert not same(left(net()), left(trainers_main.fresh()))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda: {"fabric": fabric(), "accelerator": accelerator()}, "both given"),
        (lambda: {"fabric": fabric(), "device": "cpu"}, "leave device= and precision= out"),
        (lambda: {"accelerator": accelerator(), "precision": "bf16"}, "leave device= and precision= out"),
        (lambda: {"fabric": fabric("bf16-true")}, "computes in bf16-true, and untrain in 32-true or bf16-mixed"),
        (lambda: {"fabric": Fabric(accelerator="cpu", devices=2, strategy="ddp")}, "counts 2 processes, and torch.distributed 1; launch it first"),
        (lambda: {"fabric": Fabric(accelerator="cpu", devices=2, strategy=ModelParallelStrategy(lambda model, mesh: model))}, "runs ModelParallelStrategy"),
        (lambda: {"fabric": accelerator()}, "takes a lightning.fabric.Fabric, not a Accelerator"),
        (lambda: {"accelerator": "cpu"}, "takes a accelerate.Accelerator, not a str"),
    ],
)
def test_a_trainer_that_does_not_fit_is_refused_in_one_line(how, said):
    with pytest.raises(UntrainError) as refused:
        go(trainers_main.fresh(), **how())
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_wrapped_module_without_its_trainer_is_refused():
    with pytest.raises(UntrainError, match="wrapped in _FabricModule; give the module inside, or the trainer"):
        go(fabric().setup_module(trainers_main.fresh()))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two ranks end with, each."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    here = Path(trainers_main.__file__)
    done = subprocess.run(
        [sys.executable, *launch, str(here), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(here.parent.parent)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [load_file(folder / f"rank-{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize("name", HOSTS)
def test_two_ranks_inside_a_trainer_end_where_two_ranks_without_one_do(ranks, name):
    def of(found, which):
        return {k.partition("/")[2]: v for k, v in found.items() if k.startswith(f"{which}/")}

    start = trainers_main.fresh().state_dict()
    for found in ranks:
        assert (int(found[f"ranks-{name}"]), int(found["ranks-plain"])) == (2, 2)
        assert of(found, name).keys() == start.keys()
        assert same(of(found, name), of(found, "plain"))
        assert same(of(found, name), of(ranks[0], name))
        assert not torch.equal(of(found, name)["0.weight"], start["0.weight"])
