"""What the docs say of the tests is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import counted
from held import FAILURES, NAMED, held, there


def test_every_test_that_is_named_is_there() -> None:
    known = there()
    assert [name for names in NAMED.values() for name in names if name not in known] == []


def test_every_way_to_fail_has_a_number_and_a_test() -> None:
    assert list(FAILURES) == [f"F{n:02}" for n in range(1, 60)]
    assert NAMED.keys() <= FAILURES.keys()
    assert [number for number, found in held().items() if not found] == []


def test_every_fault_of_the_border_has_a_test_of_its_number() -> None:
    said = " ".join(f"{name} {doc}" for name, (_, doc) in there().items())
    mended = {int(n) for pair in re.findall(r"[Ff]aults?[_ ](\d+)(?: and (\d+))?", said) for n in pair if n}
    assert mended >= {24, 27, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 70, 71}


def test_the_long_trials_were_as_many_as_are_due_and_all_held() -> None:
    """What `make chaos` left in the record that the docs are drawn from."""
    rows = json.loads((Path(__file__).parent.parent / "benchmarks" / "records" / "chaos.json").read_text(encoding="utf-8"))["rows"]
    tried = {row["what"]: row["tried"] for row in rows}
    assert [row["what"] for row in rows if row["failed"]] == []
    assert sum(what.startswith("damaged: ") and often >= 300 for what, often in tried.items()) >= 11
    assert min(tried[f"a file call that fails: {kind}"] for kind in ("EIO", "ENOSPC", "EROFS")) == tried["a kill at a file call"]
    due = {"a kill at any moment": 50, "a stranger's folder": 61, "odd surroundings": 149, "a changed byte that verify finds": 1000}
    assert {what: tried[what] >= often for what, often in due.items()} == dict.fromkeys(due, True)


def test_counts_of_several_processes_are_put_together_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(counted.PLACE, str(tmp_path / "counts"))
    monkeypatch.setattr(counted, "_counts", {})
    with counted.trying("a"):
        pass
    with pytest.raises(OSError, match="no"), counted.trying("a"):
        raise OSError("no")
    counted.written()
    counted.written()
    (tmp_path / "record.json").write_text(json.dumps({"rows": [{"what": "a", "tried": 9, "failed": 0}, {"what": "b", "tried": 3, "failed": 0}]}))
    counted.main(str(tmp_path / "counts"), str(tmp_path / "record.json"))
    rows = json.loads((tmp_path / "record.json").read_text())["rows"]
    assert [(row["what"], row["tried"], row["failed"]) for row in rows] == [("a", 4, 2), ("b", 3, 0)]
