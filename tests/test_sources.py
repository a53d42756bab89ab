"""Data of one's own: every form leads to the same samples, what is wrong is one line before any work, and lists name what they name."""

from __future__ import annotations

import datetime
import errno
import io
import json
import os
import re
import struct
import sys
import textwrap
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import untrain
from untrain.cli import main
from untrain.core.data import Samples, places_of_files
from untrain.core.errors import BadArgument, BadData, MissingExtra, Resources
from untrain.core.model import Expects
from untrain.sources import blobs, images, reading
from untrain.verbs.given import given_data, split_of

Image = pytest.importorskip("PIL.Image")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))


H, W = 6, 10
GREY = np.add.outer(np.arange(H) * 20, np.arange(W) * 12).astype(np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, GREY[::-1]], axis=-1)


def encoded(pixels, kind="PNG", mode=None, **more):
    image = pixels if hasattr(pixels, "save") else Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **more)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, lines):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def deep():
    """16 bits in each of three colours, which Pillow cannot write."""
    wide = COLOUR.astype(">u2") * 257
    return png(W, H, 16, 2, b"".join(b"\0" + row.tobytes() for row in wide))


def rotated(kind, **more):
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(COLOUR, kind, exif=exif, **more)


def with_alpha():
    return np.dstack([COLOUR, np.where(GREY > 90, 255, 0).astype(np.uint8)])


def palette(**more):
    index = (GREY // 16).astype(np.uint8)
    image = Image.fromarray(index).convert("P")
    image.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
    return encoded(image, **more), np.stack([index, 255 - index, np.full_like(index, 7)], axis=-1)


def three(grey):
    return np.repeat(grey[:, :, None], 3, axis=2)


SOUND = {
    "colour.png": (encoded(COLOUR), COLOUR, 0),
    "grey.png": (encoded(GREY), three(GREY), 0),
    "bit.png": (encoded(Image.fromarray(GREY > 90)), three((GREY > 90).astype(np.uint8) * 255), 0),
    "deep-grey.png": (encoded(GREY.astype(np.uint16) * 257), three(GREY), 0),
    "deep-colour.png": (deep(), COLOUR, 0),
    "deep-grey.tif": (encoded(GREY.astype(np.uint16) * 257, "TIFF"), three(GREY), 0),
    "alpha.png": (encoded(with_alpha()), COLOUR, 0),
    "grey-alpha.png": (encoded(Image.fromarray(np.dstack([GREY, 255 - GREY]))), three(GREY), 0),
    "palette.png": (*palette(), 0),
    "palette-transparent.png": (*palette(transparency=bytes(range(256))), 0),
    "smooth.jpg": (encoded(COLOUR, "JPEG", quality=95, subsampling=0), COLOUR, 12),
    "progressive.jpg": (encoded(COLOUR, "JPEG", quality=95, subsampling=0, progressive=True), COLOUR, 12),
    "grey.jpg": (encoded(GREY, "JPEG", quality=95), three(GREY), 12),
    "cmyk.jpg": (encoded(COLOUR, "JPEG", "CMYK", quality=95, subsampling=0), COLOUR, 12),
    "cmyk.tif": (encoded(COLOUR, "TIFF", "CMYK"), COLOUR, 1),
    "turned.jpg": (rotated("JPEG", quality=95, subsampling=0), np.rot90(COLOUR, -1), 12),
    "turned.png": (rotated("PNG"), np.rot90(COLOUR, -1), 0),
    "moving.gif": (encoded(three(GREY // 100 * 100), "GIF", save_all=True, append_images=[Image.new("RGB", (W, H))]), three(GREY // 100 * 100), 1),
    "lossless.webp": (encoded(COLOUR, "WEBP", lossless=True), COLOUR, 0),
    "plain.bmp": (encoded(COLOUR, "BMP"), COLOUR, 0),
    "plain.ppm": (encoded(COLOUR, "PPM"), COLOUR, 0),
    "plain.tiff": (encoded(COLOUR, "TIFF"), COLOUR, 0),
    "really-a-png.jpg": (encoded(COLOUR), COLOUR, 0),
    "no-suffix": (encoded(COLOUR), COLOUR, 0),
    "more-behind.png": (encoded(COLOUR) + b"and more", COLOUR, 0),
    "Ünï cödé – 猫.png": (encoded(COLOUR), COLOUR, 0),
    "one.png": (encoded(COLOUR[:1, :1]), COLOUR[:1, :1], 0),
    "wide.png": (encoded(np.tile(COLOUR[:1], (1, 300, 1))), np.tile(COLOUR[:1], (1, 300, 1)), 0),
}

BROKEN = {
    "truncated.png": encoded(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))[:2000],
    "truncated.jpg": encoded(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8), "JPEG")[:900],
    "header-only.png": encoded(COLOUR)[:33],
    "header-only.gif": b"GIF89a\x0a\x00\x06\x00",
    "empty.png": b"",
    "text.png": b"this is not an image",
    "page.jpg": b"<!DOCTYPE html><html>404</html>",
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "notes.txt": b"remember the milk",
    "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
    "bomb.png": png(20000, 20000, 8, 2, b""),
    "big-bomb.png": png(2**31 - 1, 2**31 - 1, 8, 0, b""),
    "floats.tif": encoded(Image.fromarray(GREY.astype(np.float32) * 1e5), "TIFF"),
    "wide-numbers.tif": encoded(Image.fromarray(GREY.astype(np.int32) * 10**6), "TIFF"),
    "bad-sum.png": encoded(COLOUR)[:20] + b"\xff" + encoded(COLOUR)[21:],
    "no-pixels.png": png(W, H, 8, 2, b""),
    "not-zlib.png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"junk") + chunk(b"IEND", b""),
    "zeros.jpg": bytes(500),
}


def put(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def plain(seed, side=8):
    return encoded(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8))


def pictures(samples):
    return samples.batch(torch.arange(len(samples)))[0]


def folder_of(root, classes=("cat", "dog"), n=5, parts=("",), side=8):
    for p, part in enumerate(parts):
        put(root, {f"{part}{'/' if part else ''}{name}/{i}.png": plain(100 * p + 10 * c + i, side) for c, name in enumerate(classes) for i in range(n)})
    return root


@pytest.mark.parametrize("name", SOUND)
def test_an_image_is_read_as_it_is_shown(name, tmp_path):
    data, expected, tolerance = SOUND[name]
    height, width = expected.shape[:2]
    # All of one size, so that nothing is resized.
    same = encoded(np.zeros((height, width, 3), dtype=np.uint8))
    put(tmp_path / "d", {f"cat/{name}": data, "cat/other.png": same, "dog/a.png": same, "dog/b.png": same})
    found = given_data(str(tmp_path / "d"), test=str(tmp_path / "d"))
    row = found.train.columns["path"].index(f"cat/{name}")
    shown = pictures(found.train)[row].permute(1, 2, 0).numpy()
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected.astype(int)).max() <= tolerance


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_image_is_named_in_one_line_before_any_work(name, tmp_path, capsys):
    put(folder_of(tmp_path / "d"), {f"cat/{name}": BROKEN[name]})
    assert main(["unlearn", "neggrad", "--model", "resnet20", "--data", str(tmp_path / "d"), "--size", "8", "--forget", "class:dog", "--out", str(tmp_path / "out")]) == 5
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert f"cat/{name}" in said
    assert "1 of 11 images" in said
    assert not (tmp_path / "out").exists()


def test_several_broken_files_are_counted_and_the_first_are_named(tmp_path):
    put(folder_of(tmp_path / "d"), {f"cat/x{i}.png": b"" for i in range(5)})
    with pytest.raises(BadData, match=r"5 of 15 images cannot be read: cat/x0.png \(the file is empty\); cat/x1.png .*; cat/x2.png .*; \.\.\.;"):
        given_data(str(tmp_path / "d"))


def test_a_set_read_by_the_batch_is_looked_at_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "FITS", 0)
    put(folder_of(tmp_path / "d"), {"cat/bad.png": BROKEN["not-zlib.png"]})
    with pytest.raises(BadData, match=r"cat/bad\.png"):
        given_data(str(tmp_path / "d"))


def test_a_file_that_breaks_after_it_was_looked_at_is_named_too(tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "FITS", 0)
    found = given_data(str(folder_of(tmp_path / "d")))
    name = found.train.columns["path"][3]
    (tmp_path / "d" / name).write_bytes(b"")
    with pytest.raises(BadData, match=name):
        list(found.train.batches(4).run(0))


def test_links_lead_to_files_and_dead_ones_and_links_to_folders_are_named(tmp_path):
    root = folder_of(tmp_path / "d")
    put(tmp_path, {"elsewhere/far.png": plain(77)})
    (root / "cat" / "far.png").symlink_to(tmp_path / "elsewhere" / "far.png")
    found = given_data(str(root), test=str(root), outside=True)
    assert "cat/far.png" in found.train.columns["path"]
    (root / "cat" / "dead.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(BadData, match=r"cat/dead\.png \(No such file"):
        given_data(str(root), outside=True)
    (root / "cat" / "dead.png").unlink()
    (root / "cat" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadData, match="cat/sub is a link to a folder"):
        given_data(str(root), outside=True)


def test_one_folder_is_no_two_classes_and_no_two_parts(tmp_path):
    root = folder_of(tmp_path / "d", parts=("train",))
    (root / "train" / "puma").symlink_to("cat")
    with pytest.raises(BadData, match="d/train holds one folder twice, as cat and as puma, by a link"):
        given_data(str(root))
    (root / "train" / "puma").unlink()
    (root / "val").symlink_to("train")
    with pytest.raises(BadData, match="d holds one folder twice, as train and as val, by a link"):
        given_data(str(root))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_rights_is_named(tmp_path):
    root = folder_of(tmp_path / "d")
    (root / "cat" / "0.png").chmod(0)
    with pytest.raises(BadData, match=r"cat/0\.png \(Permission denied"):
        given_data(str(root))


def test_what_systems_leave_behind_is_left_out_and_folders_in_classes_are_read(tmp_path):
    root = folder_of(tmp_path / "d")
    put(root, {"cat/.DS_Store": b"x", "cat/._0.png": b"x", "cat/Thumbs.db": b"x", "dog/desktop.ini": b"x", "__MACOSX/cat/0.png": b"x", ".git/head": b"x", "README.md": b"x"})
    put(root, {"cat/deep/er/9.png": plain(9)})
    found = given_data(str(root), test=str(root))
    assert found.train.names == ("cat", "dog")
    assert sorted(found.train.columns["path"]) == sorted([f"{c}/{i}.png" for c in ("cat", "dog") for i in range(5)] + ["cat/deep/er/9.png"])


def test_a_decoder_runs_no_program(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: pytest.fail("a program was started"))
    put(folder_of(tmp_path / "d"), {"cat/x.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"})
    with pytest.raises(BadData, match=r"x\.eps"):
        given_data(str(tmp_path / "d"))


# Sizes.


def test_images_of_several_sizes_need_one_to_be_named_and_those_of_one_stay_as_they_are(tmp_path):
    root = put(folder_of(tmp_path / "d"), {"cat/large.png": plain(5, 20)})
    with pytest.raises(BadData, match=r"2 sizes, 8 x 8 to 20 x 20.*--size"):
        given_data(str(root))
    for found in (given_data(str(root), size=12), given_data(str(root), expects=Expects(size=(12, 12)))):
        assert found.train.shape == (3, 12, 12)
        assert any("12 x 12" in note for note in found.notes)
    even = folder_of(tmp_path / "e")
    assert given_data(str(even), expects=Expects(size=(12, 12))).train.shape == (3, 8, 8)
    assert given_data(str(even), expects=Expects(size=(12, 12), fixed=True)).train.shape == (3, 12, 12)
    assert given_data(str(even), size=5).train.shape == (3, 5, 5)
    with pytest.raises(BadArgument, match="--size 0"):
        given_data(str(even), size=0)


@pytest.mark.parametrize(("height", "width", "crop"), [(40, 40, 1.0), (40, 64, 1.0), (64, 40, 0.8), (30, 200, 0.5)])
def test_resizing_is_that_of_the_shorter_side_and_a_centre_crop(height, width, crop, tmp_path):
    # A smooth image, where cutting before or after the resizing differs least.
    x = np.add.outer(np.linspace(0, 100, height), np.linspace(0, 150, width))
    image = Image.fromarray(np.stack([x, 255 - x, x / 2], axis=-1).astype(np.uint8))
    side, middle = 20, round(20 / crop)
    scale = middle / min(height, width)
    whole = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BILINEAR)
    left, top = (whole.width - side) / 2, (whole.height - side) / 2
    expected = np.asarray(whole.crop((int(left), int(top), int(left) + side, int(top) + side)))
    put(tmp_path / "d", {"a/x.png": encoded(image), "b/x.png": encoded(image), "b/y.png": plain(0, 25)})
    found = given_data(str(tmp_path / "d"), test=str(tmp_path / "d"), expects=Expects(size=(side, side), crop=crop))
    shown = pictures(found.train)[0].permute(1, 2, 0).numpy()
    assert np.abs(shown.astype(int) - expected.astype(int)).max() <= 6


# Forms.


def as_csv(root, name="labels.csv", label=lambda c: c):
    lines = ["path,label,split,who"]
    lines += [f"{p.relative_to(root)},{label(p.parent.name)},{p.relative_to(root).parts[0]},{p.stem}" for p in sorted(root.rglob("*.png"))]
    (root / name).write_text("\n".join(lines) + "\n")
    return root / name


def as_parquet(root, out, names=True):
    info = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}} if names else {}
    out.mkdir()
    for part in ("train", "test"):
        files = sorted((root / part).rglob("*.png"))
        rows = {
            "image": [{"bytes": p.read_bytes(), "path": p.name} for p in files],
            "label": [("cat", "dog").index(p.parent.name) for p in files] if names else [p.parent.name for p in files],
            "who": [p.stem for p in files],
        }
        schema = pa.schema(
            [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64() if names else pa.string()), ("who", pa.string())],
            {"huggingface": json.dumps(info)},
        )
        pq.write_table(pa.table(rows, schema=schema), out / f"{part}-00000-of-00001.parquet")
    return out


def as_function(root, file):
    file.write_text(
        textwrap.dedent(f"""
        import numpy as np
        from pathlib import Path
        from PIL import Image
        import torch
        from torch.utils.data import Dataset

        class Pictures(Dataset):
            classes = ["cat", "dog"]
            def __init__(self, part):
                self.files = sorted((Path({str(root)!r}) / part).rglob("*.png"))
            def __len__(self):
                return len(self.files)
            def __getitem__(self, i):
                return Image.open(self.files[i]).convert("RGB"), self.classes.index(self.files[i].parent.name)

        class Tensors(Pictures):
            def __getitem__(self, i):
                image, label = super().__getitem__(i)
                return torch.from_numpy(np.array(image).transpose(2, 0, 1)), label

        def pair():
            return Pictures("train"), Pictures("test")

        def tensors():
            return Tensors("train"), Tensors("test")
        """)
    )
    return file


FORMS = ["folder", "csv", "labels.csv", "parquet", "parquet of names", "function", "function of tensors", "function of a module"]


@pytest.fixture
def forms(tmp_path, monkeypatch):
    root = folder_of(tmp_path / "d", parts=("train", "test"))
    monkeypatch.syspath_prepend(str(tmp_path))
    function = as_function(root, tmp_path / "our_data.py")
    (tmp_path / "l").symlink_to(root)
    made = {
        "folder": str(root),
        "parquet": str(as_parquet(root, tmp_path / "p")),
        "parquet of names": str(as_parquet(root, tmp_path / "n", names=False)),
        "function": f"{function}:pair",
        "function of tensors": f"{function}:tensors",
        "function of a module": "our_data:pair",
    }
    copy = folder_of(tmp_path / "c", parts=("train", "test"))
    made["csv"] = str(as_csv(copy, "all.csv"))
    other = folder_of(tmp_path / "o", parts=("train", "test"))
    as_csv(other)
    made["labels.csv"] = str(other)
    return made


@pytest.mark.parametrize("form", FORMS)
def test_every_form_leads_to_the_same_samples(form, forms):
    root = Path(forms["folder"])
    found = given_data(forms[form])
    for part, samples in (("train", found.train), ("test", found.test)):
        files = sorted((root / part).rglob("*.png"))
        expected = torch.stack([torch.from_numpy(np.asarray(Image.open(p)).transpose(2, 0, 1).copy()) for p in files])
        assert torch.equal(pictures(samples), expected)
        assert [samples.names[c] for c in samples.y] == [p.parent.name for p in files]
    assert found.notes == ()
    assert found.sha256 == given_data(forms[form]).sha256


def test_the_hash_follows_bytes_names_and_labels_and_not_the_place(tmp_path):
    first, second = folder_of(tmp_path / "a" / "d"), folder_of(tmp_path / "b" / "d")
    digest = given_data(str(first)).sha256
    assert digest == given_data(str(second)).sha256
    (second / "cat" / "0.png").rename(second / "cat" / "00.png")
    renamed = given_data(str(second)).sha256
    (second / "cat" / "00.png").rename(second / "dog" / "0x.png")
    moved = given_data(str(second)).sha256
    put(first, {"cat/0.png": plain(999)})
    assert len({digest, renamed, moved, given_data(str(first)).sha256}) == 4


def test_one_parquet_file_is_enough_and_its_columns_are_kept(forms, tmp_path):
    found = given_data(f"{forms['parquet']}/train-00000-of-00001.parquet")
    assert len(found.train) + len(found.test) == 10
    assert any("set aside" in note for note in found.notes)
    assert set(found.train.columns) == {"path", "who"}


def test_a_test_part_and_a_hold_out_come_from_elsewhere(tmp_path):
    root, other = folder_of(tmp_path / "d"), folder_of(tmp_path / "t", n=3)
    found = given_data(str(root), test=str(other), holdout=str(as_csv(folder_of(tmp_path / "h", parts=("x",), n=2))))
    assert (len(found.train), len(found.test), len(found.holdout)) == (10, 6, 4)
    split = split_of(found, "class:cat")
    assert {name: len(part) for name, part in split.parts.items()} == {"forget": 5, "retain": 5, "test": 6, "holdout": 4}
    three = folder_of(tmp_path / "v", parts=("train", "val", "extra"))
    again = given_data(str(three))
    assert len(again.test) == 10
    assert any("left out: extra" in note for note in again.notes)
    csv = as_csv(folder_of(tmp_path / "s", parts=("train", "test", "spare")), "all.csv")
    assert len(given_data(str(csv), holdout="split:spare").holdout) == 10
    with pytest.raises(BadArgument, match=r"split:nowhere.*test, train"):
        given_data(str(csv), holdout="split:nowhere")


@pytest.mark.parametrize(("train", "test"), [("Train", "Test"), ("training", "testing"), ("TRAIN", "val"), ("train", "Testing")])
@pytest.mark.parametrize("form", ["folder", "column of a table", "column of a parquet file", "parquet files"])
def test_no_test_image_is_trained_on_however_its_part_is_called(form, train, test, tmp_path):
    root = folder_of(tmp_path / "d", parts=(train, test), n=3)
    rows = [(p.read_bytes(), p.parent.name, p.parts[-3]) for p in sorted(root.rglob("*.png"))]
    if form == "column of a table":
        found = given_data(str(as_csv(root)))
    elif form == "folder":
        found = given_data(str(root))
    else:
        (tmp_path / "p").mkdir()
        for part in (train, test) if form == "parquet files" else (None,):
            image, label, split = zip(*(row for row in rows if part in (None, row[2])), strict=True)
            more = {"split": split} if part is None else {}
            pq.write_table(pa.table({"image": image, "label": label, **more}), tmp_path / "p" / f"{part or 'all'}_0.parquet")
        found = given_data(str(tmp_path / "p"))
    assert found.train.names == ("cat", "dog")
    for part, samples in ((train, found.train), (test, found.test)):
        own = {row[0] for row in rows if row[2] == part}
        shown = {encoded(x.permute(1, 2, 0).numpy()) for x in pictures(samples)}
        assert shown == {encoded(np.array(Image.open(io.BytesIO(data)))) for data in own}
    assert found.notes == ()


@pytest.mark.parametrize("form", ["table", "parquet", "rows"])
def test_parts_that_nobody_asked_for_are_told(form, tmp_path):
    said = ["train"] * 4 + ["test"] * 4 + ["dev"] * 2 + [""]
    if form == "parquet":
        pq.write_table(pa.table({"image": [plain(i) for i in range(11)], "label": [i % 2 for i in range(11)], "split": [s or None for s in said]}), tmp_path / "d.parquet")
    elif form == "table":
        put(tmp_path, {f"{i}.png": plain(i) for i in range(11)})
    name = "d.parquet" if form == "parquet" else "d.csv"
    head = "path" if form == "table" else "size"
    (tmp_path / "d.csv").write_text("\n".join([f"{head},label,split", *(f"{i}{'.png' * (form == 'table')},{i % 2},{part}" for i, part in enumerate(said))]))
    found = given_data(str(tmp_path / name))
    assert (len(found.train), len(found.test)) == (4, 4)
    assert f"samples of {name} that are left out, by part: dev 2, no part 1" in found.notes
    assert len(given_data(str(tmp_path / name), holdout="split:dev").holdout) == 2


def test_a_folder_of_two_training_parts_is_refused(tmp_path):
    with pytest.raises(BadData, match="Train and training, and each would be its part train"):
        given_data(str(folder_of(tmp_path / "d", parts=("Train", "training"))))
    both = {name: [(torch.full((1,), float(n)), i) for i in range(2)] for n, name in enumerate(("train", "val", "validation"))}
    assert float(untrain.load({name: Listed(items) for name, items in both.items()}).test.batch(torch.tensor([0]))[0]) == 1


class Listed(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_without_a_test_part_a_fifth_of_each_class_is_set_aside(tmp_path):
    root = folder_of(tmp_path / "d", classes=("cat", "dog", "eel"), n=10)
    put(root, {"fly/0.png": plain(1)})
    found = given_data(str(root))
    assert torch.bincount(found.test.y, minlength=4).tolist() == [2, 2, 2, 0]
    assert set(found.train.columns["path"]).isdisjoint(found.test.columns["path"])
    assert len(found.train) + len(found.test) == 31
    assert "6 of 31 samples" in found.notes[0]
    assert found.test.columns["path"] == given_data(str(root)).test.columns["path"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda d: d.mkdir(), "neither class folders"),
        (lambda d: put(d, {"0.png": plain(0), "1.png": plain(1)}), "neither class folders"),
        (lambda d: put(folder_of(d), {"loose.png": plain(0)}), "loose.png"),
        (lambda d: put(folder_of(d, parts=("train", "test")), {"train/loose.png": plain(0)}), "loose.png"),
        (lambda d: put(folder_of(d, parts=("train", "test")), {"test/emu/0.png": plain(0)}), "lacks, such as 'emu'"),
        (lambda d: put(folder_of(d), {"classes.txt": b"cat\ncow\n"}), "does not list 'dog'"),
        (lambda d: put(folder_of(d), {"classes.txt": b"cat\ndog\ncat\n"}), "'cat' twice"),
        (lambda d: (d / "cat").mkdir(parents=True), "no image"),
        (lambda d: put(d, {"labels.csv": b""}), "begins with nothing"),
        (lambda d: put(d, {"labels.csv": b"a.png,cat\n"}), "columns path and label"),
        (lambda d: put(d, {"labels.csv": b"path,label\n"}), "lists no image"),
        (lambda d: put(d, {"labels.csv": b"path,label\nx.png,cat\n"}), r"1 of 1 images cannot be read: x.png \(No such file"),
        (lambda d: put(d, {"labels.csv": b"path,label\nx.png,\n"}), "line 2 names no label"),
        (lambda d: put(d, {"labels.csv": b"path,label\nx.png,cat,4\n"}), "line 2 has 3 cells"),
        (lambda d: put(d, {"x.png": plain(0), "labels.csv": b"path,label\nx.png,cat\nx.png,dog\n"}), "1 files twice"),
        (lambda d: put(d, {"x.png": plain(0), "labels.csv": b"path,label\nx.png,-1\nx.png,dog\n"}), "1 files twice"),
        (lambda d: put(d, {"a/x.png": plain(0), "labels.csv": b"path,label\na/x.png,cat\n./a//x.png,cat\n"}), "1 files twice or more, such as a/x.png"),
        (lambda d: put(d, {"labels.csv": "path,label\nä.png,cat\n".encode("latin-1")}), "not text in UTF-8"),
        (lambda d: put(d, {"train.parquet": b"PAR1"}), "not a parquet file"),
    ],
)
def test_data_that_are_not_as_they_should_be_are_refused(make, said, tmp_path):
    make(tmp_path / "d")
    with pytest.raises(BadData, match=said):
        given_data(str(tmp_path / "d"))


@pytest.mark.parametrize("name", ["nowhere", "no/where.csv", "nowhere.py:function", "no_such_module:function", "torchvision_:x", "a:b:c"])
def test_a_name_that_leads_nowhere_is_refused(name):
    with pytest.raises(BadArgument):
        given_data(name)


@pytest.mark.parametrize("name", ["hf:some/name", "torchvision:CIFAR10"])
def test_a_library_that_is_not_installed_is_named(name, monkeypatch):
    for module in ("datasets", "torchvision"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match="pip install"):
        given_data(name)


# Classes.


def labelled(root, labels):
    put(root, {f"{i}.png": plain(i) for i in range(len(labels))})
    (root / "labels.csv").write_text("path,label\n" + "".join(f"{i}.png,{label}\n" for i, label in enumerate(labels)))
    return str(root)


def test_labels_are_names_or_numbers_as_they_stand(tmp_path):
    names = given_data(labelled(tmp_path / "a", ["dog", "cat", "dog", "cat"]), test=labelled(tmp_path / "t", ["cat", "dog"]))
    assert names.train.names == ("cat", "dog")
    assert names.train.y.tolist() == [1, 0, 1, 0]
    numbers = given_data(labelled(tmp_path / "b", [0, 7, 3, 7]), test=labelled(tmp_path / "u", [7, 0]))
    assert numbers.train.names == ()
    assert numbers.train.y.tolist() == [0, 7, 3, 7]
    assert numbers.classes == 8
    assert split_of(numbers, "class:7").classes == (7,)
    spelled = given_data(labelled(tmp_path / "c", ["007", "7", "007"]), test=labelled(tmp_path / "v", ["7"]))
    assert spelled.train.names == ("007", "7")
    with pytest.raises(BadData, match="-1"):
        given_data(labelled(tmp_path / "n", ["-1", "0"]), expects=Expects(names=("a", "b")), test=labelled(tmp_path / "w", ["3"]))


def test_folders_named_by_numbers_are_names_in_their_order(tmp_path):
    found = given_data(str(folder_of(tmp_path / "d", classes=("0", "1", "10", "2"))))
    assert found.train.names == ("0", "1", "10", "2")
    split = split_of(found, "class:10")
    assert split.classes == (2,)
    assert {path.partition("/")[0] for path in split.forget.columns["path"]} == {"10"}


def test_numbers_are_the_same_classes_in_a_folder_s_names_and_in_a_table(tmp_path):
    classes = [str(i) for i in range(1, 12)]
    folders = str(folder_of(tmp_path / "folders", classes=classes, n=2))
    table = labelled(tmp_path / "table", classes)
    by_name = given_data(folders, test=table)
    assert [by_name.test.names[y] for y in by_name.test.y.tolist()] == classes
    by_number = given_data(table, test=folders)
    assert by_number.train.y.tolist() == list(range(1, 12))
    assert by_number.test.y.tolist() == [int(path.partition("/")[0]) for path in by_number.test.columns["path"]]
    with pytest.raises(BadData, match="such as '0'"):
        given_data(folders, test=labelled(tmp_path / "zero", ["0"]))
    with pytest.raises(BadData, match="such as 'cat'"):
        given_data(table, test=str(folder_of(tmp_path / "cats", classes=("cat",))))
    with pytest.raises(BadData, match=r"3 in the test part is the number of the class '2' and the name of another"):
        reading.read(folders, test=Samples(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), [3]))


def test_where_names_all_rows_that_read_so_of_every_kind_of_column(tmp_path):
    day = [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)] * 5
    columns = {"who": pa.array(["ann", "bob"] * 5).dictionary_encode(), "age": pa.array([float("nan"), 1.5] * 5, from_pandas=False), "day": day, "seen": [None, True] * 5}
    pq.write_table(pa.table({"image": [plain(i) for i in range(10)], "label": [0, 1, 1, 0, 1] * 2, **columns}), tmp_path / "d.parquet")
    found = given_data(str(tmp_path / "d.parquet"))
    for asked in ("who=ann", "age=nan", "day=2020-01-01", "seen=None", "who=bob", "age=1.5", "day=2020-01-02", "seen=True"):
        split = split_of(found, f"where:{asked}")
        column, _, value = asked.partition("=")
        assert len(split.forget) == 5
        assert {str(held) for held in split.forget.columns[column]} == {value}


@pytest.mark.parametrize("key", ["order", "column"])
def test_kept_images_are_those_of_this_order_and_this_column(key, tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "KEEP", 1)
    raw = [plain(i) for i in range(12)]
    ways = []
    if key == "order":
        put(tmp_path / "d", {f"{i}.png": data for i, data in enumerate(raw)})
        for order in (range(12), range(11, -1, -1)):
            lines = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in order)
            ways.append((lines, {}, [raw[i] for i in order]))
    else:
        monkeypatch.setattr(blobs, "FITS", 2000)
        pq.write_table(pa.table({"left": raw[:6], "right": raw[6:], "label": [0, 1] * 3}), tmp_path / "d.parquet")
        ways = [(None, {"image_column": "left"}, raw[:6]), (None, {"image_column": "right"}, raw[6:])]
    for lines, more, wanted in ways:
        if lines is not None:
            (tmp_path / "d" / "labels.csv").write_text("path,label\n" + lines)
        found = given_data(str(tmp_path / ("d" if lines else "d.parquet")), **more)
        assert found.whole is not None
        assert torch.equal(pictures(found.whole), torch.stack([torch.from_numpy(np.array(Image.open(io.BytesIO(data)))).permute(2, 0, 1) for data in wanted]))


def test_kept_images_are_those_of_this_crop(tmp_path, monkeypatch):
    """Two crops that read alike to three digits were one in the cache."""
    monkeypatch.setattr(blobs, "KEEP", 1)
    held = blobs.Rows(3, [plain(i, 400) for i in range(3)].__getitem__, str, together=True)
    wide, narrow = (images.read(held, "key", (40, 40), images.Fit((40, 40), crop), 3, tmp_path) for crop in (0.8754, 0.8746))
    assert torch.equal(narrow, images.read(held, "other", (40, 40), images.Fit((40, 40), 0.8746), 3, tmp_path))
    assert not torch.equal(wide, narrow)


def test_a_test_part_that_is_the_training_part_is_told(tmp_path):
    root, other = folder_of(tmp_path / "d"), folder_of(tmp_path / "t", n=3)
    said = "the test part holds the very samples of the training part"
    assert any(said in note for note in given_data(str(root), test=str(root)).notes)
    assert not any(said in note for note in given_data(str(root), test=str(other)).notes)


def test_a_class_that_the_model_has_and_the_folder_lacks_keeps_its_number(tmp_path):
    root = folder_of(tmp_path / "d", classes=("cat", "eel"))
    known = given_data(str(root), expects=Expects(names=("eel", "dog", "cat")))
    assert known.train.names == ("eel", "dog", "cat")
    assert known.train.classes == (0, 2)
    assert any("1 of 3 classes have no training sample: 1 dog" in note for note in known.notes)
    (root / "dog").mkdir()
    assert given_data(str(root)).train.classes == (0, 2)
    put(root, {"classes.txt": b"eel\nfox\ndog\ncat\n"})
    assert given_data(str(root)).train.names == ("eel", "fox", "dog", "cat")


@pytest.mark.parametrize(
    ("forget", "said"),
    [
        ("class:Cat", "did you mean 'cat'"),
        ("class:emu", "there are 0 cat, 1 dog"),
        ("class:cat,dog", "all 2 classes"),
        ("class:", "names no class"),
        ("cat", "class:3,5 or class:cat,dog, index:FILE"),
        ("where:who", "where:COLUMN=VALUE"),
        ("where:who=0", "no column 'who'"),
    ],
)
def test_what_cannot_be_forgotten_is_refused(forget, said, tmp_path):
    root = folder_of(tmp_path / "d")
    with pytest.raises(BadArgument, match=said):
        split_of(given_data(str(root)), forget)


# Lists.


@pytest.fixture
def listed(tmp_path):
    root = folder_of(tmp_path / "d", parts=("train", "test"))
    as_csv(root)
    return given_data(str(root))


@pytest.mark.parametrize(
    "text",
    [
        "train/cat/1.png\ntrain/dog/2.png\n",
        "cat/1.png\r\ndog/2.png\r\n",
        '\ufefffile,why\ntrain/cat/1.png,mine\ntrain/dog/2.png,"mine, too"\n',
        "why,path\nmine,./train/cat/1.png\nhers,train\\dog\\2.png\n",
        '"train/cat/1.png"\n\n  train/dog/2.png  \n',
        "/home/me/pictures/train/cat/1.png\n/home/me/pictures/train/dog/2.png\n",
    ],
)
def test_a_list_of_files_names_its_samples(text, listed, tmp_path):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    split = split_of(listed, f"files:{tmp_path / 'list.csv'}")
    assert split.forget.columns["path"] == ["train/cat/1.png", "train/dog/2.png"]
    assert split.classes == ()
    assert len(split.retain) == 8
    twin = untrain.Split.by_files(listed.train, listed.test, forget=["train/cat/1.png", "train/dog/2.png"])
    assert torch.equal(twin.forget.index, split.forget.index)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat/1.png\ncat/one.png\ncat/9.png\n", r"2 of 3 names fit no training sample: 'cat/one\.png', 'cat/9\.png'"),
        ("1.png\n", r"1 of 1 names fit several"),
        ("cat/1.png\ntrain/cat/1.png\ndog/1.png\n", r"1 of 3 names are given twice: 'train/cat/1\.png'"),
        ("test/cat/1.png\n", "1 of them are test samples"),
        ("", "names no file"),
        ("path\n", "names no file"),
        ("\n".join(f"train/{c}/{i}.png" for c in ("cat", "dog") for i in range(5)), "all 10 samples"),
    ],
)
def test_lists_that_do_not_fit_are_refused_with_counts_and_names(text, said, listed, tmp_path):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(BadArgument, match=said):
        split_of(listed, f"files:{tmp_path / 'list.csv'}")


@pytest.mark.parametrize("way", ["/home/me/pictures/", "../pictures/", "/"])
def test_a_whole_path_names_no_file_of_that_name_in_another_folder(way):
    data = untrain.Samples(torch.zeros(3, 1), [0, 1, 1], columns={"path": ["cat/1.png", "dog/7.png", "8.png"]})
    # All of what the data call a file is the end of a whole path to it, or the path is another file's.
    assert places_of_files(data, [f"{way}dog/7.png", f"{way}8.png"]) == [1, 2]
    with pytest.raises(BadArgument, match=r"1 of 1 names fit no training sample: .*cat/7\.png"):
        places_of_files(data, [f"{way}cat/7.png"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3\n99\n", r"1 of 2 places in list lie outside .*0 to 9"),
        ("3\n3\n4\n4\n", "2 places are named twice"),
        ("3\nx\n", "line 2: 'x'"),
        ("-1\n", "line 1: '-1'"),
        ("# none\n\n", "names no sample"),
        ("\n".join(map(str, range(10))), "all 10"),
    ],
)
def test_lists_of_places_that_do_not_fit_are_refused(text, said, listed, tmp_path):
    (tmp_path / "list").write_text(text)
    with pytest.raises(BadArgument, match=said):
        split_of(listed, f"index:{tmp_path / 'list'}")


def test_places_and_columns_name_samples(listed, tmp_path):
    (tmp_path / "list").write_text("# of the training part\n0\n7\n")
    assert split_of(listed, f"index:{tmp_path / 'list'}").forget.index.tolist() == [0, 7]
    split = split_of(listed, "where:who=3")
    assert split.forget.columns["path"] == ["train/cat/3.png", "train/dog/3.png"]
    with pytest.raises(BadArgument, match="column 'who' of the training samples holds no '8'; it holds 5 values, such as 0, 1, 2, 3, 4"):
        split_of(listed, "where:who=8")
    with pytest.raises(BadData, match="no file"):
        split_of(listed, f"files:{tmp_path / 'nothing'}")


def test_a_listed_file_is_forgotten_also_where_it_was_set_aside(tmp_path):
    data = given_data(str(folder_of(tmp_path / "d")))
    path = data.test.columns["path"][0]
    (tmp_path / "list").write_text(path)
    split = split_of(data, f"files:{tmp_path / 'list'}")
    assert split.forget.columns["path"] == [path]
    assert path not in split.test.columns["path"] + split.retain.columns["path"]
    assert len(split.forget) + len(split.retain) + len(split.test) == 10


# Runs.


NETS = """
    from torch import nn
    from untrain import Norm

    class Net(nn.Sequential):
        norm = Norm((0.5,) * 3, (0.5,) * 3)

    def net(classes):
        return Net(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
"""


@pytest.fixture
def ready(tmp_path):
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    folder_of(tmp_path / "d", classes=("cat", "dog", "eel"), n=6)
    (tmp_path / "secret-list.csv").write_text("path\ncat/1.png\ndog/2.png\n")

    def run(*more, method="neggrad", out="run"):
        return main(["unlearn", method, "--model", f"{tmp_path / 'nets.py'}:net", "--data", str(tmp_path / "d"), *more, "--out", str(tmp_path / out)])

    return run


def test_a_list_goes_the_whole_way(ready, tmp_path, capsys):
    assert ready("--forget", f"files:{tmp_path / 'secret-list.csv'}") == 0
    assert "2 samples (files:keyed-" in capsys.readouterr().out
    text = (tmp_path / "run" / "record.json").read_text()
    record = json.loads(text)
    assert record["request"]["count"] == 2
    assert re.fullmatch(r"files:keyed-[0-9a-f]{16}", record["request"]["forget"])
    assert record["request"]["classes"] == record["request"]["names"] == []
    assert record["data"]["counts"]["forget"] == 2
    assert any("set aside" in note for note in record["data"]["notes"])
    assert not any(told in text for told in ("cat/1.png", "dog/2.png", "secret", str(tmp_path)))
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(untrain.__file__).parent / "evidence" / "record.schema.json").read_text())
    jsonschema.validate(record, schema)
    assert main(["audit", str(tmp_path / "run"), "--model", f"{tmp_path / 'nets.py'}:net"]) in (3, 4)
    audited = json.loads((tmp_path / "run" / "record.json").read_text())
    rows = {row["name"] for entry in audited["audits"] for row in entry["rows"]}
    assert "forgotten, training" in rows
    assert "forgotten, test" not in rows
    jsonschema.validate(audited, schema)
    assert main(["report", str(tmp_path / "run")]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "2 samples" in page
    assert "cat/1.png" not in page


def test_an_audit_reads_the_same_data_and_the_same_list_or_refuses(ready, tmp_path, capsys):
    assert ready("--forget", f"files:{tmp_path / 'secret-list.csv'}") == 0
    (tmp_path / "secret-list.csv").write_text("cat/1.png\ndog/3.png\n")
    assert main(["audit", str(tmp_path / "run"), "--model", f"{tmp_path / 'nets.py'}:net"]) == 5
    assert "does not name the 2 samples of the run" in capsys.readouterr().err
    (tmp_path / "elsewhere.txt").write_text("dog/2.png\ncat/1.png\n")
    assert main(["audit", str(tmp_path / "run"), "--model", f"{tmp_path / 'nets.py'}:net", "--forget", f"files:{tmp_path / 'elsewhere.txt'}"]) in (3, 4)
    capsys.readouterr()
    put(tmp_path / "d", {"eel/0.png": plain(1234)})
    assert main(["audit", str(tmp_path / "run"), "--model", f"{tmp_path / 'nets.py'}:net", "--forget", f"files:{tmp_path / 'elsewhere.txt'}"]) == 5
    assert "not that of the run" in capsys.readouterr().err


def test_test_hold_out_and_size_are_read_again_by_the_audit(ready, tmp_path):
    folder_of(tmp_path / "t", classes=("cat", "dog", "eel"), n=2, side=10)
    folder_of(tmp_path / "h", classes=("cat", "eel"), n=2, side=11)
    assert ready("--forget", "class:eel", "--test", str(tmp_path / "t"), "--holdout", str(tmp_path / "h"), "--size", "9") == 0
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["data"]["counts"] == {"forget": 6, "retain": 12, "test": 6, "holdout": 4}
    assert record["command"][record["command"].index("--holdout") + 1] == "h"
    assert any("9 x 9" in note for note in record["data"]["notes"])
    assert main(["audit", str(tmp_path / "run"), "--model", f"{tmp_path / 'nets.py'}:net"]) in (3, 4)


def test_a_method_that_forgets_classes_refuses_a_list_and_says_which_do_not(ready, tmp_path, capsys):
    assert ready("--forget", f"files:{tmp_path / 'secret-list.csv'}", method="unsir") == 2
    said = capsys.readouterr().err
    assert "neggrad" in said.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_retrained_model_of_another_list_is_refused(ready, tmp_path, capsys, monkeypatch):
    (tmp_path / "recipes.py").write_text(
        textwrap.dedent("""
        from untrain import fit
        import nets

        class Recipe:
            def build(self):
                return nets.net(3)

            def train(self, model, samples):
                return fit(model, samples, phase="train", lr=0.01, epochs=1, batch=8)

        def recipe():
            return Recipe()
        """)
    )
    (tmp_path / "other.csv").write_text("path\ncat/2.png\n")
    recipe = ("--recipe", f"{tmp_path / 'recipes.py'}:recipe")
    for name in ("secret-list", "other"):
        assert ready("--forget", f"files:{tmp_path / name}.csv", *recipe, method="retrain", out=f"retrained-{name}") == 0
    assert ready("--forget", f"files:{tmp_path / 'secret-list.csv'}") == 0
    capsys.readouterr()
    assert main(["audit", str(tmp_path / "run"), "--model", f"{tmp_path / 'nets.py'}:net", "--retrained", str(tmp_path / "retrained-other" / "model.safetensors")]) == 5
    assert "without the 2 samples" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "run"), "--model", f"{tmp_path / 'nets.py'}:net", "--retrained", str(tmp_path / "retrained-secret-list" / "model.safetensors")]) in (3, 4)


def test_data_out_of_a_function_is_said_to_run_code(ready, tmp_path, capsys):
    root = folder_of(tmp_path / "e", parts=("train", "test"))
    file = as_function(root, tmp_path / "ours.py")
    assert main(["unlearn", "neggrad", "--model", f"{tmp_path / 'nets.py'}:net", "--data", f"{file}:pair", "--forget", "class:dog", "--out", str(tmp_path / "run")]) == 0
    captured = capsys.readouterr()
    assert "ours.py:pair" in captured.out + captured.err
    assert str(tmp_path) not in (tmp_path / "run" / "record.json").read_text()
    assert main(["audit", str(tmp_path / "run"), "--model", f"{tmp_path / 'nets.py'}:net", "--data", f"{file}:pair"]) in (3, 4)


# Reading by the batch.


def test_a_set_read_by_the_batch_gives_the_bits_of_one_in_memory(tmp_path, monkeypatch):
    root = str(folder_of(tmp_path / "d", n=20))
    here = given_data(root)
    monkeypatch.setattr(blobs, "FITS", 0)
    there = given_data(root)
    assert "lazy" in repr(there.train)
    assert here.sha256 == there.sha256
    for (a, s, n), (b, t, m) in zip(here.train.batches(7, epochs=2, augment=True).run(3, start=2), there.train.batches(7, epochs=2, augment=True).run(3, start=2), strict=True):
        assert n == m
        assert torch.equal(a, b)
        assert torch.equal(s, t)


def test_a_large_parquet_file_is_read_by_the_batch_too(forms, monkeypatch):
    here = given_data(forms["parquet"])
    monkeypatch.setattr(blobs, "FITS", 0)
    for _ in range(2):
        there = given_data(forms["parquet"])
        assert "lazy" in repr(there.train)
        assert torch.equal(pictures(here.train), pictures(there.train))
        assert here.sha256 == there.sha256


def test_a_large_parquet_file_is_read_where_there_is_no_cache(forms, tmp_path, monkeypatch):
    """Where nothing can be kept it ended in an OSError."""
    here = given_data(forms["parquet"])
    monkeypatch.setattr(blobs, "FITS", 0)
    (tmp_path / "no").write_text("a file")
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "no" / "folder"))
    there = given_data(forms["parquet"])
    assert "lazy" in repr(there.train)
    assert torch.equal(pictures(here.train), pictures(there.train))
    assert here.sha256 == there.sha256


class Full(io.BytesIO):
    def flush(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("kind", ["full", "interrupted", "broken"])
def test_of_a_parquet_file_that_is_not_read_to_its_end_no_image_stays_behind(kind, forms, tmp_path, monkeypatch):
    """A full disk was told as a broken file, and the images written so far stayed in the cache."""
    from untrain.sources.forms import parquets

    monkeypatch.setattr(blobs, "FITS", 0)
    room, kept = parquets._Held._room, parquets._is_scalar
    if kind == "full":
        monkeypatch.setattr(parquets._Held, "_room", lambda self, path: (room(self, path).close(), Full())[1])
        error, said = Resources, "No space left on device"
    else:
        error, said = (KeyboardInterrupt, None) if kind == "interrupted" else (BadData, "is not a parquet file")
        seen = []

        def scalar(column):
            # Of the second file, once the first was written.
            seen.append(column)
            if len(seen) > 1:
                raise KeyboardInterrupt if kind == "interrupted" else ValueError("no")
            return kept(column)

        monkeypatch.setattr(parquets, "_is_scalar", scalar)
        whole = Path(forms["parquet"]) / "train-00000-of-00001.parquet"
        (whole.parent / "train-00001-of-00001.parquet").write_bytes(whole.read_bytes())
    with pytest.raises(error, match=said):
        given_data(forms["parquet"])
    assert not list((tmp_path / "cache").rglob("*.tmp"))


class Slow(Dataset):
    """Items that say which thread read them, and wait for a second reader."""

    def __init__(self, workers):
        self.workers, self.threads, self.asked = workers, set(), []
        self.both = threading.Barrier(2, timeout=20)

    def __len__(self):
        return 64

    def empty(self, n):
        return torch.empty(n, 1)

    def __getitem__(self, i):
        self.threads.add(threading.current_thread().name)
        self.asked.append(i)
        if self.workers and i % 8 == 0 and i < 16:
            self.both.wait()
        return torch.tensor([float(i)])


def test_workers_read_at_once_and_ahead_and_others_data_is_read_in_order():
    slow = Slow(2)
    samples = Samples(slow, [i % 2 for i in range(64)])
    stream = samples.batches(16, shuffle=False).run(0)
    first, _, _ = next(stream)
    # Two threads met at the barrier, and the second batch was asked for before the first was used.
    assert first.flatten().tolist() == list(range(16))
    assert len(slow.threads) == 2
    rest = [x.flatten().tolist() for x, _, _ in stream]
    assert rest == [list(range(i, i + 16)) for i in (16, 32, 48)]
    plain_one = Slow(0)
    list(Samples(plain_one, [i % 2 for i in range(64)]).batches(16, shuffle=False).run(0))
    assert plain_one.asked == list(range(64))
    assert plain_one.threads == {threading.current_thread().name}


def test_datasets_with_dict_items_are_samples():
    class Dicts(Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            return {"pixel_values": torch.full((3, 2, 2), float(i)), "labels": i % 2}

    samples = Samples(Dicts())
    assert samples.y.tolist() == [0, 1] * 3
    assert samples.shape == (3, 2, 2)

    class Masked(Dicts):
        def __getitem__(self, i):
            return {**super().__getitem__(i), "mask": torch.ones(2)}

    x, _ = Samples(Masked()).batch(torch.arange(2))
    assert set(x) == {"pixel_values", "mask"}


def test_python_gives_samples_datasets_and_pairs(tmp_path):
    x, y = torch.rand(20, 1, 4, 4), [i % 2 for i in range(20)]
    found = given_data(Samples(x, y, names=["a", "b"]))
    assert (len(found.train), len(found.test)) == (16, 4)
    pair = given_data((Samples(x, y), Samples(x[:4], y[:4])))
    assert (len(pair.train), len(pair.test)) == (20, 4)
    with pytest.raises(BadArgument, match="float"):
        given_data(3.5)
