"""Data of the libraries: Hugging Face `datasets` and torchvision's data sets, without a network."""

from __future__ import annotations

import hashlib
import http.server
import io
import pickle
import tarfile
import threading
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from untrain.cli import main
from untrain.core.data import Samples
from untrain.core.errors import BadArgument, BadData
from untrain.core.model import Expects
from untrain.sources import blobs
from untrain.verbs.given import given_data, split_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))


def pixels(seed, n=10, side=8):
    return np.random.default_rng(seed).integers(0, 255, (n, side, side, 3), dtype=np.uint8)


def rows(seed, n=10):
    made = []
    for x in pixels(seed, n):
        file = io.BytesIO()
        Image.fromarray(x).save(file, "PNG")
        made.append({"bytes": file.getvalue(), "path": None})
    return {"image": made, "label": [i % 2 for i in range(n)], "who": [f"p{i % 5}" for i in range(n)]}


FEATURES = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]), "who": datasets.Value("string")})


@pytest.fixture
def saved(tmp_path):
    both = datasets.DatasetDict({part: datasets.Dataset.from_dict(rows(seed), features=FEATURES) for seed, part in enumerate(("train", "test"))})
    both.save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def pictures(samples):
    return samples.batch(torch.arange(len(samples)))[0]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("form", ["{}", "hf:{}"])
def test_a_saved_data_set_is_read_with_its_names_and_columns(form, lazy, saved, monkeypatch):
    if lazy:
        monkeypatch.setattr(blobs, "FITS", 0)
    found = given_data(form.format(saved))
    for seed, part in enumerate((found.train, found.test)):
        assert torch.equal(pictures(part), torch.from_numpy(pixels(seed).transpose(0, 3, 1, 2)))
        assert part.names == ("cat", "dog")
        assert part.y.tolist() == [0, 1] * 5
    assert ("lazy" in repr(found.train)) is lazy
    assert split_of(found, "where:who=p3").forget.index.tolist() == [3, 8]
    assert found.sha256 == given_data(str(saved)).sha256


def test_objects_of_datasets_are_taken_from_python(saved):
    both = datasets.load_from_disk(str(saved))
    assert len(given_data(both).test) == 10
    alone = given_data(both["train"])
    assert len(alone.train) + len(alone.test) == 10
    turned = given_data(both, expects=Expects(names=("dog", "cat")))
    assert turned.train.names == ("dog", "cat")
    assert turned.train.y.tolist() == [1, 0] * 5
    with_tensors = both["train"].with_format("torch").with_transform(lambda batch: {"pixel_values": [torch.zeros(3, 4, 4) for _ in batch["label"]], "labels": batch["label"]})
    samples = Samples(with_tensors)
    assert samples.shape == (3, 4, 4)
    assert samples.y.tolist() == [0, 1] * 5


@pytest.mark.parametrize("asked", ["pair", "dict"])
def test_a_stream_of_datasets_is_refused_as_one(asked, saved):
    """A data set that streams has features too, and was asked for its first row by place."""
    both = datasets.load_from_disk(str(saved))
    streams = {part: both[part].to_iterable_dataset() for part in ("train", "test")}
    with pytest.raises(BadArgument, match="data train is a IterableDataset; give a map-style Dataset"):
        given_data(datasets.IterableDatasetDict(streams) if asked == "dict" else (streams["train"], streams["test"]))


def test_a_name_of_the_hub_without_a_network_is_one_line(tmp_path, capsys):
    assert main(["unlearn", "neggrad", "--model", "resnet20", "--data", "hf:some/set", "--forget", "class:0", "--out", str(tmp_path / "run")]) == 5
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "hf:some/set" in said
    assert "network" in said
    assert not (tmp_path / "run").exists()


def test_a_broken_folder_and_a_set_without_labels_are_refused(saved, tmp_path):
    bare = datasets.Dataset.from_dict({"text": ["a", "b"]})
    bare.save_to_disk(str(tmp_path / "bare"))
    with pytest.raises(BadData, match="columns text"):
        given_data(str(tmp_path / "bare"))
    for file in (saved / "train").glob("*.arrow"):
        file.write_bytes(b"junk")
    with pytest.raises(BadData, match="save_to_disk"):
        given_data(str(saved))


def test_a_torchvision_data_set_is_read_by_its_name(tmp_path):
    root = tmp_path / "cache" / "torchvision" / "cifar-10-batches-py"
    root.mkdir(parents=True)
    made = {}
    for seed, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        made[name] = pixels(seed, n=4, side=32)
        data = {"data": made[name].transpose(0, 3, 1, 2).reshape(4, -1), "labels": [0, 1, 2, 3]}
        (root / name).write_bytes(pickle.dumps(data))
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"c{i}" for i in range(10)]}))
    from torchvision.datasets import CIFAR10

    class Small(CIFAR10):
        """Its files are not the published ones."""

        def _check_integrity(self):
            return True

        def _load_meta(self):
            self.classes = [f"c{i}" for i in range(10)]

    import torchvision.datasets as sets

    kept = sets.CIFAR10
    sets.CIFAR10 = Small
    try:
        found = given_data("torchvision:CIFAR10")
    finally:
        sets.CIFAR10 = kept
    assert torch.equal(pictures(found.test), torch.from_numpy(made["test_batch"].transpose(0, 3, 1, 2)))
    assert (len(found.train), len(found.test)) == (20, 4)
    assert found.train.names == tuple(f"c{i}" for i in range(10))


class Flaky(http.server.BaseHTTPRequestHandler):
    """Gives an archive by half, and whole when it is asked again; each time it is first looked for, and then had."""

    archive, asked = b"", 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.archive)))
        self.end_headers()
        self.wfile.write(self.archive if self.asked > 2 else self.archive[: len(self.archive) // 2])

    def log_message(self, *_):
        pass


def test_a_download_that_broke_off_is_refused_and_begun_anew_by_the_next_call(tmp_path, monkeypatch):
    """F47: the half that lies there then is taken for nothing, by its hash."""
    from torchvision.datasets import CIFAR10

    made, packed, sums = {}, io.BytesIO(), {}
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for seed, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]):
            made[name] = pixels(seed, n=4, side=32)
            held = {"data": made[name].transpose(0, 3, 1, 2).reshape(4, -1), "labels": [0, 1, 2, 3]} if name != "batches.meta" else {"label_names": [f"c{i}" for i in range(10)]}
            data = pickle.dumps(held)
            about = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            about.size, sums[name] = len(data), hashlib.md5(data).hexdigest()
            tar.addfile(about, io.BytesIO(data))
    Flaky.archive = packed.getvalue()
    server = http.server.HTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("UNTRAIN_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/cifar.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(Flaky.archive).hexdigest())
    monkeypatch.setattr(CIFAR10, "train_list", [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]})
    try:
        with pytest.raises(BadData, match="cifar10 could not be had whole"):
            given_data("cifar10")
        found = given_data("cifar10")
    finally:
        server.shutdown()
        server.server_close()
    assert torch.equal(pictures(found.test), torch.from_numpy(made["test_batch"].transpose(0, 3, 1, 2)))
    assert (len(found.train), Flaky.asked) == (20, 4)


@pytest.mark.parametrize(("name", "said"), [("cifar10", "did you mean 'CIFAR10'"), ("NoSuch", "no data set 'NoSuch'")])
def test_a_torchvision_name_that_is_not_there_is_refused(name, said):
    with pytest.raises(BadArgument, match=said):
        given_data(f"torchvision:{name}")


def test_a_torchvision_data_set_as_an_object_is_taken_from_python(tmp_path):
    from torchvision.datasets import FakeData, ImageFolder

    for c, name in enumerate(("cat", "dog")):
        for i, x in enumerate(pixels(c, n=5)):
            path = tmp_path / "d" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x).save(path)
    theirs, ours = given_data(ImageFolder(tmp_path / "d")), given_data(str(tmp_path / "d"))
    assert torch.equal(pictures(theirs.whole), pictures(ours.whole))
    assert theirs.train.names == ours.train.names
    fake = given_data((FakeData(12, (3, 16, 16), 3), FakeData(6, (3, 16, 16), 3)))
    assert fake.train.shape == (3, 16, 16)


def test_the_zoo_reads_pictures_as_torchvisions_folder_does(tmp_path):
    """An oracle for resizing and cropping: torchvision's own transforms."""
    from torchvision.transforms.v2 import CenterCrop, Compose, Resize

    gradient = np.add.outer(np.linspace(0, 120, 50), np.linspace(0, 130, 70))
    image = Image.fromarray(np.stack([gradient, 255 - gradient, gradient / 2], axis=-1).astype(np.uint8))
    for name in ("a", "b"):
        (tmp_path / "d" / name).mkdir(parents=True)
        image.save(tmp_path / "d" / name / "x.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "d" / "b" / "y.png")
    found = given_data(str(tmp_path / "d"), test=str(Path(tmp_path / "d")), expects=Expects(size=(28, 28), crop=28 / 32))
    expected = np.asarray(Compose([Resize(32), CenterCrop(28)])(image)).transpose(2, 0, 1)
    assert np.abs(pictures(found.train)[0].numpy().astype(int) - expected).max() <= 4
