"""Every reader of others' files, given damaged ones: an answer, or a refusal in one line. F13, F49, F50.

A few examples of each run always; `make chaos` tries many.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from counted import trying
from test_fitting import GOLDEN, ODD, PLACES
from test_sources import folder_of, pa, pq
from untrain.core import files
from untrain.core.data import Split
from untrain.core.errors import BadData, UntrainError
from untrain.core.settings import read_settings, written
from untrain.evidence import record as records
from untrain.methods.unsir import UNSIR
from untrain.sources import request, sandbox
from untrain.sources.libraries import transformers_nets
from untrain.sources.reading import read
from untrain.verbs import private
from untrain.verbs.auditing import reference
from untrain.verbs.folder import _refuse_other_arguments, noted_inputs
from untrain.verbs.reporting import report
from untrain.zoo import trained
from untrain.zoo.sets import digits

DIGITS = files.load_weights(Path(trained.__file__).parent / "weights" / "digits.safetensors")

MANY = int(os.environ.get("UNTRAIN_FUZZ", "0"))
"""Examples of each reader; few where none are asked for."""

few = settings(max_examples=MANY or 12, deadline=timedelta(seconds=60), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
"""What takes a minute hangs."""


def refused_or_read(what: str, place: Path, *works: Callable[[], Any]) -> None:
    """Nothing but an answer or a refusal of untrain's own, which is one line, and nothing is written where it lies."""
    with trying(f"damaged: {what}"):
        before = stood(place)
        for work in works:
            told = "read"
            try:
                work()
            except UntrainError as error:
                told = str(error)
            assert told.strip()
        assert stood(place) == before


def stood(place: Path) -> dict[Path, tuple[int, int]]:
    """What lies below a folder: sizes and times."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in place.rglob("*") if path.is_file()}


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
    page = tmp_path.with_name(f"{tmp_path.name}.html")
    refused_or_read("edited records, drawn", tmp_path, lambda: report(tmp_path, page))


@few
@given(data=st.data())
def test_a_damaged_record_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(data.draw(damaged(records.dumps(GOLDEN))))
    refused_or_read("records", tmp_path, lambda: records.read(tmp_path))


@few
@given(data=st.data())
def test_damaged_weights_are_refused(data: st.DataObject, tmp_path: Path) -> None:
    files.save_weights(tmp_path / "whole.safetensors", {"a": torch.zeros(2, 3), "b": torch.zeros(1)}, {"classes": [3]})
    path = tmp_path / "w.safetensors"
    path.write_bytes(data.draw(damaged((tmp_path / "whole.safetensors").read_bytes())))
    refused_or_read("weights", tmp_path, lambda: files.load_weights(path), lambda: files.about(path))


@few
@given(data=st.data())
def test_a_damaged_table_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d", classes=("a", "b"), n=2) if not (tmp_path / "d").is_dir() else tmp_path / "d"
    (folder / "labels.csv").write_bytes(data.draw(damaged(b"path,label,split\na/0.png,a,train\nb/0.png,b,train\na/1.png,a,test\nb/1.png,b,test\n")))
    refused_or_read("tables of images", tmp_path, lambda: read(str(folder)))


@few
@given(data=st.data())
def test_a_damaged_image_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d", classes=("a", "b"), n=2) if not (tmp_path / "d").is_dir() else tmp_path / "d"
    (folder / "a" / "0.png").write_bytes(data.draw(damaged((folder / "a" / "1.png").read_bytes())))
    refused_or_read("images", tmp_path, lambda: read(str(folder), size=8))


@few
@given(data=st.data())
def test_a_damaged_parquet_file_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    if not whole.is_file():
        names = json.dumps({"info": {"features": {"label": {"names": ["a", "b"]}}}}).encode()
        pq.write_table(pa.table({"image": [b"x", b"y"], "label": [0, 1]}).replace_schema_metadata({b"huggingface": names}), whole)
    (tmp_path / "x.parquet").write_bytes(data.draw(damaged(whole.read_bytes())))
    refused_or_read("parquet", tmp_path, lambda: read(str(tmp_path / "x.parquet")))


@few
@given(data=st.data(), kind=st.sampled_from(["index", "files"]))
def test_a_damaged_list_is_refused(data: st.DataObject, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(data.draw(damaged(b"0\n3\n17\n" if kind == "index" else b'path,why\na/0.png,"x"\nb/1.png,y\n')))
    asked = lambda: request._places(path, 20) if kind == "index" else request._files(path)  # noqa: E731
    refused_or_read("lists of what to forget", tmp_path, lambda: request.refuse_unknown(f"{kind}:{path}"), asked)


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
    refused_or_read("configurations of transformers", tmp_path, lambda: transformers_nets.expects(tmp_path), lambda: transformers_nets._width(tmp_path))


@few
@given(data=st.data())
def test_a_damaged_note_of_inputs_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / ".inputs.json").write_bytes(data.draw(damaged(b'{\n  "data": "../d",\n  "weights": "../w.safetensors"\n}\n')))
    refused_or_read("notes of where inputs lie", tmp_path, lambda: noted_inputs(tmp_path))


@few
@given(data=st.data())
def test_a_damaged_note_of_a_request_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / ".request.json").write_bytes(data.draw(damaged(b'{\n  "forget": "where:who=Ann",\n  "key": "' + b"0f" * 32 + b'"\n}\n')))
    refused_or_read("notes of a request", tmp_path, lambda: private.kept(tmp_path, "where:who=keyed-3f2a"))


@few
@given(
    about=st.one_of(st.dictionaries(st.sampled_from(["classes", "method", "recipe", "of", "shadows", "settings", "samples", "seed"]), ODD), ODD, st.text(max_size=9)),
    raw=st.booleans(),
)
def test_what_a_retrained_file_says_of_itself_is_checked(about: Any, raw: bool, tmp_path: Path, split: Split) -> None:
    """Fault 64: 120 of 300 ended in tracebacks."""
    path = tmp_path / "seed-0.safetensors"
    path.write_bytes(save(DIGITS, metadata={"untrain": about if raw and isinstance(about, str) else json.dumps(about)}))
    refused_or_read("what retrained files say of themselves", tmp_path, lambda: reference(path, "digits", 10, split))


@few
@given(data=st.data())
def test_damaged_arguments_of_a_killed_run_are_refused(data: st.DataObject, tmp_path: Path) -> None:
    arguments = {"verb": "unlearn", "method": "headonly", "settings": {}, "seed": 0}
    (tmp_path / "run" / ".state").mkdir(parents=True, exist_ok=True)
    (tmp_path / "run" / ".state" / "arguments.json").write_bytes(data.draw(damaged(records.dumps(arguments))))
    refused_or_read("arguments of a killed run", tmp_path, lambda: _refuse_other_arguments(tmp_path / "run", arguments))


@few
@given(data=st.data())
def test_damaged_settings_are_refused(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(data.draw(damaged(written(UNSIR()).encode())))
    refused_or_read("files of settings", tmp_path, lambda: read_settings(path))


@few
@given(data=st.data())
def test_a_damaged_table_of_rows_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(data.draw(damaged(b"age,work,label\n30,a,0\n41,b,1\n52,a,0\n33,c,1\n24,b,0\n")))
    refused_or_read("tables of rows", tmp_path, lambda: read(str(path)))


@few
@given(data=st.data())
def test_a_damaged_checkpoint_is_converted_or_left_to_torch(data: st.DataObject, tmp_path: Path) -> None:
    """In this process, since the reader without torch runs nothing that it reads (tests/test_convert.py)."""
    whole = io.BytesIO()
    torch.save({"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}, whole)
    path = tmp_path / "x.pt"
    path.write_bytes(data.draw(damaged(whole.getvalue())))

    def converted() -> None:
        try:
            with path.open("rb") as source:
                sandbox.plainly(source, io.BytesIO(), None, ())
        except (sandbox.Refused, sandbox.plainfile.Unknown) as error:
            raise BadData(str(error)) from error
        except Exception as error:  # as the process that does it tells it
            raise BadData(sandbox._why(error)) from error

    refused_or_read("pickled checkpoints", tmp_path, converted)


@pytest.fixture(scope="module")
def split() -> Split:
    found = digits()
    return Split.by_class(found.train, found.test, forget=[3])


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", ".", "a/b", "a\\b", ""])
def test_no_name_of_a_record_leads_out_of_its_folder(name: str) -> None:
    """F50."""
    record = json.loads(json.dumps(GOLDEN)) | {"output": {"file": name, "sha256": "0" * 64}}
    with pytest.raises(UntrainError, match=r"output\.file"):
        records.loads(json.dumps(record).encode())
