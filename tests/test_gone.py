"""A class whose training images were deleted before anybody asked the model to forget it, which is the usual order of an erasure request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from test_first_minute import NETS
from untrain import SCRUB, UNSIR, audit, load, load_model, unlearn
from untrain.audits.accuracy import Accuracy
from untrain.audits.membership import Membership
from untrain.checkup.doubts import unseen
from untrain.cli import main
from untrain.core.data import Split
from untrain.core.errors import BadArgument

QUICK = ("--floor", "0", "--noise-steps", "4")


@pytest.fixture(scope="module")
def digits():
    return load("digits"), load_model("digits")


@pytest.fixture(scope="module")
def gone(digits):
    data, _ = digits
    return Split.by_class(data.train[data.train.y != 3], data.test, forget=[3])


def test_a_class_whose_images_are_gone_is_forgotten_as_one_whose_images_are_there(digits, gone):
    """F45: what sees none of the forget set ends in the same bits whether there is one or not."""
    data, model = digits
    there = Split.by_class(data.train, data.test, forget=[3])
    assert len(gone.forget) == 0 < len(there.forget)
    method = replace(UNSIR(), floor=0, noise_steps=4)
    with_them, without = (unlearn(model, split, method, seed=0).model.state_dict() for split in (there, gone))
    assert all(torch.equal(with_them[name], without[name]) for name in without)


def test_the_audits_that_need_no_forget_set_are_asked_and_the_others_say_what_they_lack(digits, gone):
    """F45: accuracy is counted on what there is, and what cannot be asked is named before and after."""
    _, model = digits
    found = {entry["name"]: entry for entry in audit(model, gone, original=model)}
    rows = {row["name"]: row["values"]["unlearned"][0] for row in found["accuracy"]["rows"]}
    assert rows["forgotten, test"]["value"] > 0.9
    assert "forgotten, training" not in rows
    assert rows["retained, training"]["value"] > 0.9
    (said,) = unseen(gone)
    lacking = {name for name, entry in found.items() if "needs forget" in (entry["skipped"] or "")}
    assert "relearn" in lacking
    assert said.startswith("no training image is of 3")
    assert lacking <= set(said.rpartition(": ")[2].split(", "))


def test_a_hold_out_is_no_hindrance_where_nothing_of_the_class_is_left(digits, gone):
    """With one the audit ended in "a batch of no samples"."""
    data, model = digits
    half = len(data.test) // 2
    found = audit(model, gone.replaced(test=data.test[:half], holdout=data.test[half:]), [Accuracy(), Membership()])
    assert [entry["skipped"] for entry in found] == [None, "needs forget, which is not at hand"]


def test_a_method_that_needs_the_forget_set_is_refused(digits, gone):
    """F45: before any time is spent."""
    with pytest.raises(BadArgument, match=r"SCRUB needs \['forget'\], which this split leaves empty"):
        unlearn(digits[1], gone, SCRUB())


def test_a_class_that_nothing_tells_of_is_refused_as_before(digits):
    data, _ = digits
    kept = data.train[data.train.y != 3]
    with pytest.raises(BadArgument, match="no class 11"):
        Split.by_class(kept, data.test, forget=[11])
    with pytest.raises(BadArgument, match="all 9 classes"):
        Split.by_class(kept, data.test, forget=list(range(10)))


def test_a_folder_that_is_empty_is_a_class_that_can_be_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """F45: from the command line, and no verdict of no residue from what could not be asked."""
    image = pytest.importorskip("PIL.Image")
    for part in ("train", "test"):
        for k, label in enumerate("abcd"):
            (tmp_path / "d" / part / label).mkdir(parents=True)
            for i in range(4 if (part, label) != ("train", "c") else 0):
                image.new("RGB", (16, 16), (60 * k + 5 * i, 40, 9 * i)).save(tmp_path / "d" / part / label / f"{i}.png")
    (tmp_path / "n.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))
    named = ("--model", "n.py:small", "--norm", "half", "--data", "d", "--forget", "class:c")
    assert main(["unlearn", "unsir", *named, "--out", "run", *QUICK]) == 0
    assert "no training image is of c" in capsys.readouterr().err
    assert main(["audit", "run", "--model", "n.py:small"]) != 0
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["verdict"]["code"] != "NO_RESIDUE"
