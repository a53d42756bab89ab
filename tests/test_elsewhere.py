"""Two checkpoints from anywhere: one command from them to the page, and the same in a few lines of Python."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest
import torch
from safetensors.torch import save_file

import untrain
from untrain.cli import main
from untrain.core.files import sha256
from untrain.evidence import record as records
from untrain.zoo.sets import digits

QUICK = ("--skip", "relearn,prototype", "--device", "cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The digits' network, one that was made to forget outside (a mask), and one that is a copy."""
    root = tmp_path_factory.mktemp("files")
    before = untrain.load_model("digits")
    mask = copy.deepcopy(before)
    with torch.no_grad():
        mask.linear.bias[3] = -1e4
    save_file(before.state_dict(), root / "before.safetensors")
    save_file(mask.state_dict(), root / "after.safetensors")
    return root


def ran(*arguments):
    return main(["audit", *map(str, arguments)])


def flags(files, out, **more):
    named = {"model": "digits", "weights": files / "before.safetensors", "data": "digits", "forget": "class:3", "out": out} | more
    return [word for name, value in named.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def audited(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "audited"
    assert ran(files / "after.safetensors", *flags(files, out), *QUICK) == 3
    return out


def test_two_checkpoints_are_audited_in_one_command(files, audited, capsys):
    record = records.read(audited)
    jsonschema.validate(record, records.schema())
    assert record["verdict"]["code"] == "SUPPRESSED"
    assert record["method"]["name"] == "made elsewhere"
    assert record["model"]["origin"] == "before.safetensors"
    assert record["output"]["sha256"] == sha256(files / "after.safetensors")
    assert (audited / "model.safetensors").read_bytes() == (files / "after.safetensors").read_bytes()
    assert str(files) not in json.dumps(record)
    page = (audited / "report.html").read_text()
    assert "This model was handed in to be audited" in page
    assert "What it cost" not in page


def test_what_it_leaves_is_a_run_that_can_be_audited_and_reported_again(audited, capsys):
    before = records.read(audited)["audits"]
    assert ran(audited, *QUICK) == 3
    assert records.read(audited)["audits"] == before
    assert main(["report", str(audited)]) == 0
    capsys.readouterr()


def test_an_unchanged_copy_is_told_as_one(files, tmp_path):
    twin = tmp_path / "twin.safetensors"
    save_file({**untrain.load_model("digits").state_dict()}, twin, {"format": "pt"})
    assert ran(twin, *flags(files, tmp_path / "out"), *QUICK) == 3
    record = records.read(tmp_path / "out")
    assert record["run"]["marks"] == ["unchanged"]
    assert record["verdict"]["code"] == "UNCHANGED"


def test_a_list_beside_a_hold_out_is_judged_by_membership(files, tmp_path):
    """Of digits, which are not learned by heart, nothing is found; the verdict says what it would have seen."""
    data = digits()
    places = tmp_path / "list.txt"
    places.write_text("\n".join(map(str, range(0, 80))))
    held = tmp_path / "held.py"
    held.write_text("import untrain\nfrom untrain.zoo.sets import digits\n\n\ndef held():\n    test = digits().test\n    return test[:300]\n")
    code = ran(files / "after.safetensors", *flags(files, tmp_path / "out", forget=f"index:{places}", holdout=f"{held}:held"), *QUICK)
    record = records.read(tmp_path / "out")
    assert "membership" in {row["name"] for entry in record["audits"] for row in entry["rows"]}
    assert record["verdict"]["tests"]["membership"]["mean"] == 0.5
    assert code == {"INCONCLUSIVE": 4, "RESIDUE": 3, "UNLIKE": 3, "SUPPRESSED": 3}[record["verdict"]["code"]]
    assert len(data.train) > 80


@pytest.mark.parametrize(
    ("leave", "said"),
    [("model", "--model"), ("data", "--data"), ("forget", "--forget"), ("out", "--out")],
)
def test_what_is_not_named_is_asked_for(files, tmp_path, capsys, leave, said):
    words = flags(files, tmp_path / "out")
    at = words.index(f"--{leave}")
    assert ran(files / "after.safetensors", *words[:at], *words[at + 2 :]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_original_as_candidate_and_flags_of_a_run_are_refused(files, audited, tmp_path, capsys):
    assert ran(files / "before.safetensors", *flags(files, tmp_path / "out")) == 2
    assert "named as the original" in capsys.readouterr().err
    assert ran(audited, "--norm", "half") == 2
    assert "--norm goes with a file of weights" in capsys.readouterr().err
    assert ran(audited, "--out", tmp_path / "other") == 2
    assert "--out goes with a file of weights" in capsys.readouterr().err
    assert ran(tmp_path / "none.safetensors", *flags(files, tmp_path / "out")) == 5
    assert "no file" in capsys.readouterr().err


def test_five_lines_of_python_do_the_same(files):
    data = untrain.load("digits")
    before, after = (untrain.given_model("digits", data.classes, weights=files / f"{name}.safetensors").module for name in ("before", "after"))
    split = untrain.Split.by_class(data.train, data.test, forget=[3])
    found = untrain.audit(after, split, original=before)
    assert untrain.judge(found, [], "digit 3")["code"] == "SUPPRESSED"
