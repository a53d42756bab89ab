"""Conversion without torch: the bytes that torch would give, from plain containers alone, and nothing that only looks like them."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from untrain.core import files
from untrain.core.errors import BadData
from untrain.sources import sandbox
from untrain.sources.convert import convert
from untrain.sources.weights import fill

KINDS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def states():
    g = torch.Generator().manual_seed(0)
    whole = torch.rand(4, 3, 5, 5, generator=g)
    shared = torch.rand(6, generator=g)
    return {
        "kinds": {f"{i}.{str(kind)[6:]}": (torch.rand(3, 2, generator=g) * 9).to(kind) for i, kind in enumerate(KINDS)},
        "views": {"last": whole.to(memory_format=torch.channels_last), "turned": whole.transpose(0, 2), "part": whole[1:3, :, ::2], "wide": torch.rand(1, 3).expand(4, 3)},
        "shared": {"a": shared, "b": shared[2:4], "c": shared.view(2, 3)},
        "odd": {"none": torch.empty(0, 3), "one": torch.tensor(2.5), 'Ünï\x1f"cödé': torch.ones(2), "weight": nn.Parameter(torch.ones(2))},
        "module": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)).state_dict(),
    }


@pytest.mark.parametrize("name", states())
def test_a_state_dict_becomes_the_bytes_that_torch_gives(name, tmp_path):
    """Fault 53: a file of 3 MB took 14 s of CPU, nearly all of it two imports of torch."""
    state = states()[name]
    torch.save(state, tmp_path / "x.pt")
    into = io.BytesIO()
    assert sandbox.plainly(tmp_path / "x.pt", into, None, ()) == []
    plain = {k: v.detach().contiguous().clone() for k, v in state.items()}
    files.save_weights(tmp_path / "theirs.safetensors", plain, {"verb": "convert", "source": files.sha256(tmp_path / "x.pt")})
    made = convert(tmp_path / "x.pt", tmp_path / "ours.safetensors")
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    assert (made.tensors, made.sha256) == (len(state), files.sha256(tmp_path / "theirs.safetensors"))


def test_torch_is_not_imported_for_a_plain_state_dict(tmp_path):
    """Fault 53: what takes the time is what is imported, and a form that only torch knows is read by torch as before."""
    torch.save({"state_dict": states()["module"], "pytorch-lightning_version": "2.6", "epoch": 3}, tmp_path / "x.ckpt")
    torch.save(states()["module"], tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    script, read = Path(sandbox.__file__), {"x.ckpt": "notes", "old.pt": "unknown"}
    for name, answer in read.items():
        done = subprocess.run([sys.executable, "-I", "-X", "importtime", str(script), "plain", name, "y", ""], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert answer in json.loads(done.stdout), done.stderr[-500:]
        assert not [line for line in done.stderr.splitlines() if line.endswith((" torch", " untrain"))]
    assert convert(tmp_path / "old.pt", tmp_path / "z.safetensors").tensors == len(states()["module"])


class Canary:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


class Built:
    """Calls what is known with what it does not expect."""

    def __init__(self, function, *args):
        self.made = (function, args)

    def __reduce__(self):
        return self.made


def archived(path, loaded):
    """An archive as torch.save writes it, of any pickle."""
    inside = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value if isinstance(value, tuple) and value[:1] == ("storage",) else None

    Pickler(inside, 2).dump(loaded)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", inside.getvalue())
        file.writestr("x/data/0", bytes(16))


STORED = ("storage", torch.FloatStorage, "0", "cpu", 4)


@pytest.mark.parametrize(
    "loaded",
    [
        {"w": Canary()},
        {"w": Built(torch._utils._rebuild_tensor_v2, STORED, 2, (4,), (1,), False, OrderedDict())},
        {"w": Built(torch._utils._rebuild_tensor_v2, STORED, 0, (4, 4), (1, 1), False, OrderedDict())},
        {"w": Built(torch._utils._rebuild_tensor_v2, STORED, -1, (2,), (1,), False, OrderedDict())},
        {"w": Built(torch._utils._rebuild_tensor_v2, "x", 0, (2,), (1,), False, OrderedDict())},
        {"w": Built(torch._utils._rebuild_tensor_v2, ("storage", torch.FloatStorage, "../data.pkl", "cpu", 4), 0, (2,), (1,), False, OrderedDict())},
        {"w": Built(torch._utils._rebuild_tensor_v2, ("storage", torch.FloatStorage, "0", "cpu", 10**9), 0, (10**9,), (1,), False, OrderedDict())},
        {"w": Built(eval, "1")},
        {"w": torch.zeros(2, dtype=torch.complex64)},
    ],
    ids=["canary", "beyond", "beyond by steps", "before", "no storage", "elsewhere", "longer than its file", "eval", "another kind"],
)
def test_what_is_not_plain_is_left_to_torch(loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archived("x.pt", loaded)
    with pytest.raises((sandbox.plainfile.Unknown, sandbox.Refused)):
        sandbox.plainly(Path("x.pt"), io.BytesIO(), None, ())
    assert not Path("ran").exists()


def test_a_tensor_far_larger_than_its_file_is_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "x.pt")
    with pytest.raises(BadData, match="far more memory than its size warrants"):
        convert(tmp_path / "x.pt", tmp_path / "y.safetensors")


def test_a_loss_with_weights_is_left_out_of_a_lightning_checkpoint(tmp_path):
    """Fault 47: the class weights of a loss made a checkpoint that nothing could take."""
    net = nn.ModuleDict({"backbone": nn.Linear(3, 4), "classifier": nn.Linear(4, 2)})
    state = net.state_dict() | {"criterion.weight": torch.ones(2), "probe.0.weight": torch.ones(1)}
    torch.save({"pytorch-lightning_version": "2.6", "state_dict": state}, tmp_path / "x.ckpt")
    made = convert(tmp_path / "x.ckpt", tmp_path / "y.safetensors")
    assert any("left out, since a loss is no layer: criterion.weight" in note for note in made.notes)
    with pytest.raises(BadData, match=r"under probe; leave that out by `untrain convert y\.safetensors -o FILE\.safetensors --drop probe`"):
        fill(net, files.load_weights(tmp_path / "y.safetensors"), "y.safetensors")
    for source, drop, out in (("y.safetensors", ("probe",), "z"), ("x.ckpt", ("probe.0", "criterion.weight"), "v")):
        made = convert(tmp_path / source, tmp_path / f"{out}.safetensors", drop=drop)
        assert any("left out, as asked: probe.0.weight" in note for note in made.notes)
        fill(net, files.load_weights(tmp_path / f"{out}.safetensors"), out)
    with pytest.raises(BadData, match="begins with 'nosuch', which --drop names"):
        convert(tmp_path / "x.ckpt", tmp_path / "w.safetensors", drop=("nosuch",))
