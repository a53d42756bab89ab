"""Every reader of others' files, given damaged ones: an answer, or a refusal in one line. F13, F49, F50.

A few examples of each run always; `make chaos` tries many.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from test_fitting import GOLDEN, ODD, PLACES
from test_sources import folder_of, pa, pq
from untrain.core import files
from untrain.core.errors import UntrainError
from untrain.evidence import record as records
from untrain.sources import request
from untrain.sources.libraries import transformers_nets
from untrain.sources.reading import read
from untrain.verbs.folder import noted_inputs
from untrain.verbs.reporting import report

MANY = int(os.environ.get("UNTRAIN_FUZZ", "0"))
"""Examples of each reader; few where none are asked for."""

few = settings(max_examples=MANY or 12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def refused_or_read(work: Callable[[], Any]) -> None:
    """Nothing but an answer or a refusal of untrain's own, which is one line."""
    told = "read"
    try:
        work()
    except UntrainError as error:
        told = str(error)
    assert told.strip()


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """The same bytes cut, with some of them others, or with others put in."""
    place = st.integers(0, max(0, len(data) - 1))
    other = st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from([b"\0", b'"', b"[[[[", b"\xff", b"9" * 40, b"null", b"../", b"\n", b","]))
    cut = place.map(lambda n: data[:n])
    changed = st.tuples(place, other).map(lambda t: data[: t[0]] + t[1] + data[t[0] + len(t[1]) :])
    more = st.tuples(place, other).map(lambda t: data[: t[0]] + t[1] + data[t[0] :])
    return st.one_of(cut, changed, more)


@few
@given(place=st.sampled_from(PLACES), value=ODD)
def test_an_edited_record_is_drawn_or_refused(place: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    """Fault 64: 203 of 300 ended in tracebacks."""
    record = json.loads(json.dumps(GOLDEN))
    inner = record
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    (tmp_path / "record.json").write_text(json.dumps(record))
    refused_or_read(lambda: report(tmp_path))


@few
@given(data=st.data())
def test_a_damaged_record_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(data.draw(damaged(records.dumps(GOLDEN))))
    refused_or_read(lambda: records.read(tmp_path))


@few
@given(data=st.data())
def test_damaged_weights_are_refused(data: st.DataObject, tmp_path: Path) -> None:
    files.save_weights(tmp_path / "whole.safetensors", {"a": torch.zeros(2, 3), "b": torch.zeros(1)}, {"classes": [3]})
    path = tmp_path / "w.safetensors"
    path.write_bytes(data.draw(damaged((tmp_path / "whole.safetensors").read_bytes())))
    refused_or_read(lambda: files.load_weights(path))
    refused_or_read(lambda: files.about(path))


@few
@given(data=st.data())
def test_a_damaged_table_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d", classes=("a", "b"), n=2) if not (tmp_path / "d").is_dir() else tmp_path / "d"
    (folder / "labels.csv").write_bytes(data.draw(damaged(b"path,label,split\na/0.png,a,train\nb/0.png,b,train\na/1.png,a,test\nb/1.png,b,test\n")))
    refused_or_read(lambda: read(str(folder)))


@few
@given(data=st.data())
def test_a_damaged_image_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d", classes=("a", "b"), n=2) if not (tmp_path / "d").is_dir() else tmp_path / "d"
    (folder / "a" / "0.png").write_bytes(data.draw(damaged((folder / "a" / "1.png").read_bytes())))
    refused_or_read(lambda: read(str(folder), size=8))


@few
@given(data=st.data())
def test_a_damaged_parquet_file_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    if not whole.is_file():
        names = json.dumps({"info": {"features": {"label": {"names": ["a", "b"]}}}}).encode()
        pq.write_table(pa.table({"image": [b"x", b"y"], "label": [0, 1]}).replace_schema_metadata({b"huggingface": names}), whole)
    (tmp_path / "x.parquet").write_bytes(data.draw(damaged(whole.read_bytes())))
    refused_or_read(lambda: read(str(tmp_path / "x.parquet")))


@few
@given(data=st.data(), kind=st.sampled_from(["index", "files"]))
def test_a_damaged_list_is_refused(data: st.DataObject, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(data.draw(damaged(b"0\n3\n17\n" if kind == "index" else b'path,why\na/0.png,"x"\nb/1.png,y\n')))
    refused_or_read(lambda: request.refuse_unknown(f"{kind}:{path}"))
    refused_or_read(lambda: request._places(path, 20) if kind == "index" else request._files(path))


@few
@given(data=st.data(), file=st.sampled_from(["config.json", "preprocessor_config.json"]))
def test_a_damaged_configuration_is_refused(data: st.DataObject, file: str, tmp_path: Path) -> None:
    whole = {
        "config.json": {"id2label": {"0": "a", "1": "b"}, "image_size": 8},
        "preprocessor_config.json": {
            "size": {"shortest_edge": 9},
            "crop_size": {"height": 8, "width": 8},
            "do_center_crop": True,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
            "resample": 3,
        },
    }
    for name, about in whole.items():
        (tmp_path / name).write_text(json.dumps(about))
    (tmp_path / file).write_bytes(data.draw(damaged(json.dumps(whole[file]).encode())))
    refused_or_read(lambda: transformers_nets.expects(tmp_path))
    refused_or_read(lambda: transformers_nets._width(tmp_path))


@few
@given(data=st.data())
def test_a_damaged_note_of_inputs_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / ".inputs.json").write_bytes(data.draw(damaged(b'{\n  "data": "../d",\n  "weights": "../w.safetensors"\n}\n')))
    refused_or_read(lambda: noted_inputs(tmp_path))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", ".", "a/b", "a\\b", ""])
def test_no_name_of_a_record_leads_out_of_its_folder(name: str) -> None:
    """F50."""
    record = json.loads(json.dumps(GOLDEN)) | {"output": {"file": name, "sha256": "0" * 64}}
    with pytest.raises(UntrainError, match=r"output\.file"):
        records.loads(json.dumps(record).encode())
