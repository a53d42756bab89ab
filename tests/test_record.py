"""The record: canonical bytes, the published schema, numbers that JSON has a word for, and no torch."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from untrain.core.audit import audit
from untrain.core.data import Samples, Split
from untrain.core.discover import lookup, usual
from untrain.core.errors import BadData
from untrain.core.unlearn import describe, unlearn
from untrain.evidence import record
from untrain.evidence.verdict import judge
from untrain.methods.finetune import FineTune

law = settings(deadline=None, max_examples=60)
NUMBERS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
DATA = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=20)


@pytest.fixture(scope="module")
def made():
    """A record of a real run with every audit, on a small network."""
    torch.manual_seed(0)
    y = torch.arange(120) % 3
    samples = Samples(torch.randn(120, 6) + 2 * torch.randn(3, 6)[y], y, names=["å", "b", "c"])
    split = Split.by_class(samples, samples, forget=["b"])
    nets = [nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)) for _ in range(4)]
    result = unlearn(nets[0], split, FineTune(batch=16, epochs=2))
    out = record.compose(
        describe(result),
        command=["unlearn", "finetune"],
        request={"forget": "class:b", "classes": [1], "names": ["b"]},
        model={"name": "small", "origin": "given", "sha256": "0" * 64, "parameters": 83, "norm": None},
        data={"name": "blobs", "sha256": "1" * 64, "counts": {k: len(v) for k, v in split.parts.items()}},
        output={"file": "model.safetensors", "sha256": "2" * 64},
    )
    audits = audit(result.model, split, [lookup("audits", name)() for name in usual()], original=nets[0], retrained=nets[1:], controls={"control": nets[1]})
    judged = record.finite({**out, "audits": audits, "verdict": judge(audits, list(result.marks), "b")})
    return out, judged


def check(candidate):
    jsonschema.validate(candidate, record.schema(), jsonschema.Draft202012Validator)


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(record.schema())


def test_a_record_fits_the_published_schema_before_and_after_its_audits(made):
    for candidate in made:
        check(candidate)
        check(json.loads(record.dumps(candidate)))
    assert {entry["name"] for entry in made[1]["audits"]} == set(usual())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.pop("seed"),
        lambda r: r.update(note="more"),
        lambda r: r.update(schema="untrain.record/0"),
        lambda r: r.update(seed="0"),
        lambda r: r["output"].update(sha256="xyz"),
        lambda r: r["run"].update(marks=["fine"]),
        lambda r: r["verdict"].update(code="PASSED"),
        lambda r: r["audits"][0].pop("question"),
        lambda r: r["audits"][0]["rows"][0].update(ideal="good"),
        lambda r: r["audits"][0]["rows"][0]["values"]["unlearned"][0].update(value="0.5"),
        lambda r: r["model"].update(path="/home"),
        lambda r: r["run"]["phases"][0].pop("every"),
    ],
)
def test_the_schema_refuses_what_is_not_a_record(made, spoil):
    candidate = copy.deepcopy(made[1])
    check(candidate)
    spoil(candidate)
    with pytest.raises(jsonschema.ValidationError):
        check(candidate)


@law
@given(DATA)
def test_bytes_are_canonical_and_come_back(data):
    written = record.dumps({"data": data})
    assert json.loads(written) == {"data": data}
    assert written.endswith(b"}\n")
    assert record.dumps(json.loads(written)) == written


@law
@given(st.dictionaries(st.text(max_size=5), NUMBERS, min_size=2, max_size=6))
def test_the_order_of_entries_does_not_matter(data):
    assert record.dumps(data) == record.dumps(dict(reversed(data.items())))


def test_bytes_are_utf_8_and_not_escaped():
    assert "ü" in record.dumps({"name": "ü"}).decode()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    for place in ({"x": bad}, {"x": [{"y": bad}]}):
        with pytest.raises(ValueError, match="not JSON compliant"):
            record.dumps(place)
        record.dumps(record.finite(place))


@law
@given(st.floats(allow_nan=True, allow_infinity=True))
def test_finite_rounds_to_seven_digits_and_has_none_for_what_is_not_finite(value):
    (kept,) = record.finite([value])
    if math.isfinite(value):
        assert float(f"{kept:.6e}") == kept
        assert abs(kept - value) <= 5.1e-7 * abs(value) + 1e-300
    else:
        assert kept is None


@law
@given(DATA)
def test_finite_keeps_the_form_and_all_but_long_fractions(data):
    kept = record.finite(data)
    assert record.finite(kept) == kept

    def agree(a, b):
        if isinstance(a, dict):
            return isinstance(b, dict) and list(a) == list(b) and all(agree(a[k], b[k]) for k in a)
        if isinstance(a, list):
            return isinstance(b, list) and len(a) == len(b) and all(map(agree, a, b))
        return math.isclose(a, b, rel_tol=1e-6) if isinstance(a, float) else a == b and type(a) is type(b)

    assert agree(data, kept)


def test_finite_makes_lists_of_tuples_and_words_of_keys():
    assert record.finite({1: (1, 2.0), "a": (True, None)}) == {"1": [1, 2.0], "a": [True, None]}


def test_loss_curves_are_thinned_to_means_and_the_record_says_of_how_many():
    y = torch.arange(450) % 3
    samples = Samples(torch.randn(450, 4), y)
    result = unlearn(nn.Linear(4, 3), Split.by_class(samples, samples, forget=[0]), FineTune(batch=2, epochs=3))
    (phase,) = describe(result)["run"]["phases"]
    losses = result.trace["finetune"].losses
    assert (len(losses), phase["every"], phase["steps"]) == (450, 3, 450)
    assert phase["losses"] == [pytest.approx(sum(losses[i : i + 3]) / 3) for i in range(0, 450, 3)]


def test_a_record_is_read_back(tmp_path, made):
    (tmp_path / "record.json").write_bytes(record.dumps(made[1]))
    assert record.read(tmp_path) == record.read(tmp_path / "record.json") == made[1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "is not a record"),
        (b"{}", "is not a record"),
        (b'{"schema": "untrain.record/2"}', "is not a record"),
        (b"\xff\xfe", "is not JSON"),
    ],
)
def test_what_is_not_a_record_is_refused(tmp_path, data, said):
    (tmp_path / "record.json").write_bytes(data)
    with pytest.raises(BadData, match=rf"record\.json {said}"):
        record.read(tmp_path)


def test_a_folder_without_a_record_is_refused_without_the_machines_path(tmp_path):
    with pytest.raises(BadData, match=r"no record\.json in") as caught:
        record.read(tmp_path)
    assert str(tmp_path.parent) not in str(caught.value)


def test_a_record_holds_no_path_of_this_machine(made):
    written = record.dumps(made[1]).decode()
    assert str(Path.cwd()) not in written
    assert str(Path.home()) not in written
    assert sys.prefix not in written


@pytest.mark.parametrize("module", ["untrain", "untrain.evidence.record", "untrain.evidence.verdict", "untrain.evidence.statistics", "untrain.core.errors"])
def test_records_do_without_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
