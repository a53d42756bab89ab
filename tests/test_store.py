"""Files are whole or not there; weights are read from safetensors alone, and fit or are refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import stat
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from untrain.core import files
from untrain.core.data import Samples, Split
from untrain.core.errors import BadData, Resources
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def failing(name, error):
    """Patch one step of the writing to fail, only for files and not for the folder's own fsync."""

    def patch(monkeypatch):
        if name == "write":
            real = os.fdopen

            def fdopen(*args, **kwargs):
                file = real(*args, **kwargs)

                class Half:
                    def __enter__(self):
                        return self

                    def __exit__(self, *ended):
                        file.close()

                    def write(self, data):
                        file.write(data[: len(data) // 2])
                        raise error

                return Half()

            monkeypatch.setattr(os, "fdopen", fdopen)
        else:

            def fail(*args, **kwargs):
                raise error

            monkeypatch.setattr(os, name, fail)

    return patch


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("step", ["write", "fsync", "chmod", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()], ids=lambda e: type(e).__name__ + str(e.args[:1])
)
def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path, monkeypatch, step, error, there):
    path = tmp_path / "f.bin"
    if there:
        path.write_bytes(b"old")
    with monkeypatch.context() as patched:
        failing(step, error)(patched)
        if isinstance(error, OSError):
            with pytest.raises(Resources, match=error.strerror) as caught:
                files.write(path, b"new and longer")
            assert caught.value.exit_code == 7
        else:
            with pytest.raises(KeyboardInterrupt):
                files.write(path, b"new and longer")
    assert [p.name for p in tmp_path.iterdir()] == (["f.bin"] if there else [])
    assert not there or path.read_bytes() == b"old"
    files.write(path, b"new")
    assert path.read_bytes() == b"new"


def test_the_order_is_write_then_flush_to_disk_then_rename_then_the_folder(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def spied(*args, real=real, name=name):
            done.append((name, stat.S_ISDIR(os.fstat(args[0]).st_mode)) if name == "fsync" else (name, args[1] == path))
            if name == "replace":
                assert Path(args[0]).read_bytes() == b"data"
            return real(*args)

        monkeypatch.setattr(os, name, spied)
    path = tmp_path / "deep" / "er" / "f.bin"
    files.write(path, b"data")
    assert done == [("fsync", False), ("replace", True), ("fsync", True)]


def test_a_file_has_the_rights_that_any_new_file_has(tmp_path):
    files.write(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Resources, match="could not be written"):
        files.write(tmp_path / "file" / "below", b"")


def test_a_hash_is_that_of_the_bytes(tmp_path):
    data = os.urandom(3 << 20)
    (tmp_path / "f").write_bytes(data)
    assert files.sha256(tmp_path / "f") == hashlib.sha256(data).hexdigest()


# Weights


def test_saved_weights_have_the_same_bytes_each_time_and_come_back(tmp_path):
    state = net().state_dict()
    about = {"b": 1, "a": [1, 2], "name": "ü"}
    paths = [tmp_path / f"{i}.safetensors" for i in range(5)]
    for path in paths:
        files.save_weights(path, state, about)
    assert len({path.read_bytes() for path in paths}) == 1
    files.save_weights(paths[0], dict(reversed(state.items())), dict(reversed(about.items())))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    for found in (files.load_weights(paths[0]), load_file(paths[0])):
        assert found.keys() == state.keys()
        assert all(torch.equal(found[k], state[k]) and found[k].dtype == state[k].dtype for k in state)


def test_weights_in_any_layout_or_shared_are_saved_by_value(tmp_path):
    image = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    state = {"a": image, "b": image, "c": image[:, 1:2], "d": torch.tensor(3)}
    files.save_weights(tmp_path / "f.safetensors", state, {})
    found = files.load_weights(tmp_path / "f.safetensors")
    assert all(torch.equal(found[k], state[k]) for k in state)
    assert files.weights_hash(found) == files.weights_hash(state)


def whole(tmp_path):
    path = tmp_path / "w.safetensors"
    files.save_weights(path, net().state_dict(), {})
    return path


@settings(deadline=None, max_examples=40)
@given(cut=st.integers(0, 10**6), more=st.binary(min_size=1, max_size=9))
def test_a_truncated_or_lengthened_file_is_refused(cut, more, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("w")
    path = whole(tmp_path)
    data = path.read_bytes()
    for broken in (data[: cut % len(data)], data + more):
        path.write_bytes(broken)
        with pytest.raises(BadData, match="is not a whole safetensors file") as caught:
            files.load_weights(path)
        assert caught.value.exit_code == 5


class Trap:
    """Would leave a mark if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.ckpt", "m.bin", "m.pkl", "m.pickle", "m.safetensors", "m"])
@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_is_refused_unread_whatever_its_name(tmp_path, name, kind):
    path, mark = tmp_path / name, tmp_path / "ran"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Trap(str(mark))))
    else:
        torch.save(Trap(str(mark)), path)
    with pytest.raises(BadData, match="is a pickle by its name" if "." in name and "safe" not in name else "is not a whole"):
        files.load_weights(path)
    assert not mark.exists()


@pytest.mark.parametrize("data", [b"", b"\0", b"{}", json.dumps({"a": 1}).encode(), struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 2) + b"[]", b"PK\x03\x04" + b"\0" * 40])
def test_a_foreign_file_is_refused(tmp_path, data):
    path = tmp_path / "f.safetensors"
    path.write_bytes(data)
    with pytest.raises(BadData, match="is not a whole safetensors file"):
        files.load_weights(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(BadData, match="no file"):
            files.load_weights(path)


def test_bit_rot_in_a_weight_loads_in_silence_and_is_seen_by_either_hash(tmp_path):
    path = whole(tmp_path)
    data = bytearray(path.read_bytes())
    file_hash, hash_ = files.sha256(path), files.weights_hash(files.load_weights(path))
    (length,) = struct.unpack("<Q", data[:8])
    for place in range(8 + length, len(data), 7):
        rotten = bytearray(data)
        rotten[place] ^= 1
        path.write_bytes(rotten)
        assert files.weights_hash(files.load_weights(path)) != hash_
        assert files.sha256(path) != file_hash


def test_the_hash_of_weights_is_of_names_types_shapes_and_values_and_of_nothing_else():
    state = {"a": torch.arange(6.0), "b": torch.tensor(1)}
    first = files.weights_hash(state)
    assert first == files.weights_hash(dict(reversed(state.items())))
    for other in (
        {"a": state["a"].view(2, 3), "b": state["b"]},
        {"a": state["a"].double(), "b": state["b"]},
        {"c": state["a"], "b": state["b"]},
        {"a": state["a"]},
        {"a": state["a"] + torch.tensor([0, 0, 0, 0, 0, 1e-6]), "b": state["b"]},
    ):
        assert files.weights_hash(other) != first


def test_weights_that_fit_are_put_in():
    module = net(0)
    files.load_into(module, net(1).state_dict(), "w")
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), net(1).state_dict().values(), strict=True))
    files.load_into(module, {k: v.half() if v.is_floating_point() else v for k, v in net(2).state_dict().items()}, "w")
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, net(2)[0].weight.half().float())


def test_a_checkpoint_from_before_batches_were_counted_fits():
    module, state = net(0), net(1).state_dict()
    del state["1.num_batches_tracked"]
    files.load_into(module, state, "w")
    assert torch.equal(module[0].weight, net(1)[0].weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("0.weight"), r"does not fit the network: it lacks 1 .*'0\.weight'"),
        (lambda s: s.update({"x.weight": s.pop("0.weight")}), r"lacks 1 .*'0\.weight'.* has 1 .*'x\.weight'"),
        (lambda s: s.update({"0.weight": torch.zeros(3, 5)}), r"0.weight is \[3, 5\] in the file and \[3, 4\] in the network"),
        (lambda s: s["0.weight"].__setitem__((0, 0), float("nan")), r"NaN or infinity in \['0.weight'\]"),
        (lambda s: s["1.running_var"].__setitem__(0, float("inf")), r"NaN or infinity in \['1.running_var'\]"),
        (lambda s: s.clear(), "lacks 8 "),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_put_in(change, said):
    module = net(0)
    state = {k: v.clone() for k, v in net(1).state_dict().items()}
    change(state)
    with pytest.raises(BadData, match=said):
        files.load_into(module, state, "w.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), net(0).state_dict().values(), strict=True))


# What a run keeps


def run_in(folder):
    samples = Samples(torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2)
    return unlearn(net(0), Split.by_class(samples, samples, forget=[1]), FineTune(batch=8, epochs=3), store=folder)


def test_what_a_run_keeps_is_safetensors_and_nothing_else(tmp_path):
    run_in(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["call-0001.safetensors"]
    assert {"parameter.0", "rank.0.network.0.buffer.0", "rank.0.random", "losses.0"} <= load_file(tmp_path / "call-0001.safetensors").keys()


def test_what_a_run_kept_is_read_back(tmp_path):
    first = run_in(tmp_path)
    kept = (tmp_path / "call-0001.safetensors").read_bytes()
    again = run_in(tmp_path)
    assert again.trace["finetune"].losses == first.trace["finetune"].losses
    assert (tmp_path / "call-0001.safetensors").read_bytes() == kept


@pytest.mark.parametrize("rot", ["truncated", "empty", "a bit", "a word about it", "foreign tensors", "another shape", "no metadata"])
def test_fault_60_a_broken_file_of_a_run_costs_its_work_and_not_the_run(tmp_path, rot, caplog):
    """F14: it ended the run, the whole state was gone by then, and the advice to delete the file could not be followed."""
    first = run_in(tmp_path)
    path = tmp_path / "call-0001.safetensors"
    data, tensors = path.read_bytes(), load_file(path)
    if rot == "truncated":
        path.write_bytes(data[:-5])
    elif rot == "empty":
        path.write_bytes(b"")
    elif rot == "a bit":
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    elif rot == "a word about it":
        path.write_bytes(data.replace(b'\\"ended\\": true', b'\\"ended\\":false'))
        assert path.read_bytes() != data
    elif rot == "no metadata":
        save_file(tensors, path)
    else:
        other = {"a": torch.zeros(1)} if rot == "foreign tensors" else tensors | {"parameter.0": torch.zeros(2, 2)}
        files.save_weights(path, other, {"phase": {"name": "p"}, "sha256": files.weights_hash(other)})
    again = run_in(tmp_path)
    assert "call-0001.safetensors does not hold what this run had saved there; that work is done again" in caplog.text
    assert torch.equal(again.model[0].weight, first.model[0].weight)
