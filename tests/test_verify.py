"""`untrain verify`: what is not as a run left it is found, byte by byte, and what another run made is told by its hash."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from counted import trying
from untrain.cli import main
from untrain.core import files
from untrain.core.errors import BadData
from untrain.evidence import record as records
from untrain.evidence import seal
from untrain.evidence.listed import judged, judged_exit
from untrain.verbs import verifying

ASKED = ("--model", "digits", "--data", "digits", "--forget")


def ran(*arguments: object) -> int:
    return main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, audited by what is quick, with its page."""
    place = tmp_path_factory.mktemp("runs")
    assert ran("unlearn", "headonly", *ASKED, "class:3", "--out", place / "run") == 0
    assert ran("audit", place / "run", "--skip", "relearn,prototype") == 3
    assert ran("report", place / "run") == 0
    return place


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(place / "run", tmp_path / "run"))


def edit(run: Path, change: Any, sealed: bool = True) -> dict[str, Any]:
    """An edited record, canonical again, and sealed again where its editor knows how."""
    made = records.read(run)
    change(made)
    made = seal.sealed(made) if sealed else made
    (run / "record.json").write_bytes(records.dumps(made))
    return made


def test_a_run_that_nobody_touched_stands(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert ran("verify", run, "--replay", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {look["what"]: look["found"] for look in told["looks"]} == dict.fromkeys(("record.json", "model.safetensors", "report.html", "data", "original", "replay"), "same")
    jsonschema.validate(records.read(run), records.schema())


def test_fault_65_an_edited_verdict_is_drawn_as_edited_though_its_seal_fits(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(run, lambda r: r["verdict"].update(code="NO_RESIDUE"))
    capsys.readouterr()
    assert ran("report", run) == 5
    assert "its verdict says NO_RESIDUE, and its rows give SUPPRESSED" in capsys.readouterr().err
    page = (run / "report.html").read_text()
    assert ">EDITED</span>" in page
    assert "No trace of" not in page
    assert ran("verify", run) == 5
    assert ran("audit", run) == 5
    assert "EDITED" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["verdict"].update(retrained=5),
        lambda r: r["verdict"].update(reasons=["all is well"]),
        lambda r: r["run"].update(marks=["collapsed"]),
        lambda r: r["audits"].clear(),
        lambda r: r.update(verdict=None),
        lambda r: [row["values"].update(unlearned=[{"value": 0.5, "low": 0.4, "high": 0.6, "n": 50, "beyond": False}]) for a in r["audits"] for row in a["rows"]],
        lambda r: r["audits"][0].update(rows=[{"name": 3}]),
    ],
)
def test_what_the_verdict_does_not_follow_from_is_found_though_sealed(change: Any, place: Path) -> None:
    made = records.read(place / "run")
    assert seal.edited(made) == []
    change(made)
    assert seal.edited(seal.sealed(made))


def test_numbers_are_alike_to_the_digits_that_a_library_may_change_and_no_further() -> None:
    assert seal.alike({"p": [0.1234567]}, {"p": [0.1234569]})
    assert not seal.alike({"p": [0.1234567]}, {"p": [0.12349]})


def test_nothing_is_alike_that_has_more_or_less_in_it() -> None:
    for less, more in (([], [1]), ([1], [1, 2]), ({}, {"a": None}), ({"a": 1}, {"a": 1, "b": 2}), ({"a": [1]}, {"a": [1, 2]})):
        assert seal.alike(less, less)
        assert not seal.alike(less, more)
        assert not seal.alike(more, less)


def made_for(**request: Any) -> dict[str, Any]:
    """A golden record of another request, model or data."""
    golden = records.read(Path(__file__).parent / "golden" / "record.json")
    return golden | {"request": golden["request"] | request}


def test_attempts_are_other_runs_for_the_same_request_on_the_same_model_and_data() -> None:
    one = made_for()
    others = [
        made_for(classes=[4], names=["4"]),
        made_for(sha256="1" * 64, classes=[], names=[]),
        made_for(bias="flip:sex", classes=[], names=[]),
        one | {"model": one["model"] | {"sha256": "2" * 64}},
        one | {"data": one["data"] | {"sha256": "2" * 64}},
    ]
    for own in (one, *others):
        assert [bool(seal.attempts(own, [other])) for other in (one, *others)] == [other is own for other in (one, *others)]
    # Which pairs were drawn for it makes no other bias of it, and which samples are listed makes another list.
    assert seal.attempts(made_for(bias="flip:sex", sha256="3" * 64, classes=[], names=[]), [others[2]])
    assert not seal.attempts(made_for(sha256="3" * 64, classes=[], names=[]), [others[1]])


def test_of_an_attempt_that_lies_there_itself_the_newest_is_told_in_whatever_order() -> None:
    gone, old = (made_for() | {"output": {"file": "model.safetensors", "sha256": digit * 64}} for digit in "12")
    new = old | {"seed": 7}
    between = made_for() | {"chain": {"attempts": [seal.link(gone), seal.link(old)], "requests": [], "audits": []}, "output": {"file": "model.safetensors", "sha256": "3" * 64}}
    for others in ([new, between], [between, new]):
        assert seal.attempts(made_for(), others) == sorted((seal.link(gone), seal.link(new), seal.link(between)), key=lambda entry: entry["output"])


def test_requests_before_are_those_of_the_run_before_and_its_own_in_order() -> None:
    parent = made_for()
    for classes in ([3], [4], [5]):
        child = made_for(classes=classes) | {"chain": {"attempts": [], "requests": seal.requests(parent), "audits": []}}
        assert child["chain"]["requests"][-1]["record"] == seal.digest(parent)
        parent = child
    assert [entry["classes"] for entry in seal.requests(parent)] == [made_for()["request"]["classes"], [3], [4], [5]]


def test_a_record_that_is_edited_is_told_as_such_in_those_after_it() -> None:
    record = seal.sealed(made_for())
    record["verdict"] = records.finite(judged(record))
    record = seal.sealed(record)
    spoiled = record | {"seed": 9}
    code = record["verdict"]["code"]
    assert [seal.link(r)["verdict"] for r in (record, spoiled)] == [code, "EDITED"]
    assert [seal.requests(r)[-1]["verdict"] for r in (record, spoiled)] == [code, "EDITED"]
    assert [seal.before_audit(r)["audits"][-1]["verdict"] for r in (record, spoiled)] == [code, "EDITED"]


def test_the_verdict_on_an_exit_is_judged_by_its_rows_too() -> None:
    record = made_for() | {"exits": [{"name": "exit1", "audits": made_for()["audits"], "verdict": None}]}
    record["exits"][0]["verdict"] = records.finite(judged_exit(record["audits"], record))
    record["verdict"] = records.finite(judged(record))
    assert seal.edited(seal.sealed(record)) == []
    record["exits"][0]["verdict"] = record["exits"][0]["verdict"] | {"code": "NO_RESIDUE"}
    assert seal.edited(seal.sealed(record)) == ["its verdict on exit1 is not the one that the rows there give"]


def test_fault_65_each_of_a_thousand_changes_of_one_byte_is_found(run: Path) -> None:
    """Half of them in the record, half in the weights; every place of both is as likely as another."""
    chance = random.Random(0)
    record = records.read(run)
    for name in ("record.json", "model.safetensors"):
        data = (run / name).read_bytes()
        for _ in range(500):
            place, other = chance.randrange(len(data)), chance.randrange(1, 256)
            changed = bytearray(data)
            changed[place] ^= other
            (run / name).write_bytes(changed)
            with trying("a changed byte that verify finds"):
                try:
                    found = seal.edited(records.read(run), (run / name).read_bytes()) if name == "record.json" else next(verifying._written(run, record)).found == "differs"
                except BadData:
                    found = ["no record"]
                assert found, (name, place, other)
        (run / name).write_bytes(data)


def test_what_a_library_reads_beside_the_weights_is_looked_at(run: Path, tmp_path: Path) -> None:
    """A folder of transformers' whose names of classes were edited stood, and its record was signed."""
    pytest.importorskip("cryptography")
    made = tmp_path / "mine"
    assert ran("key", made) == 0
    (run / "config.json").write_text('{"id2label": {"0": "cat"}}')
    edit(run, lambda r: r["output"].update(beside={"config.json": files.sha256(run / "config.json")}))
    assert ran("sign", run, "--key", made) == 0
    found = {look["what"]: look["found"] for look in verifying.verify(run)["looks"]}
    assert found["config.json"] == "same"
    for edited in ('{"id2label": {"0": "dog"}}', None):
        (run / "config.json").unlink() if edited is None else (run / "config.json").write_text(edited)
        assert {look["what"] for look in verifying.verify(run)["looks"] if look["found"] == "differs"} - {"report.html"} == {"config.json"}
        assert ran("sign", run, "--key", made) == 5


def test_the_page_beside_a_record_is_the_one_drawn_from_it(run: Path) -> None:
    (run / "report.html").write_text((run / "report.html").read_text().replace("SUPPRESSED", "NO RESIDUE"))
    told = verifying.verify(run)
    assert [look["what"] for look in told["looks"] if look["found"] == "differs"] == ["report.html"]
    # One that was drawn before a further audit is old, and not edited.
    assert ran("report", run) == 0
    assert ran("audit", run, "--skip", "relearn,prototype") == 3
    told = verifying.verify(run)
    assert {look["what"]: look["found"] for look in told["looks"]}["report.html"] == "not looked at"
    assert not told["edited"]
    # One of a record that was audited twice names what it was before, and is not old by that.
    assert ran("report", run) == 0
    (run / "report.html").write_text((run / "report.html").read_text().replace("SUPPRESSED", "NO RESIDUE"))
    told = verifying.verify(run)
    assert [look["what"] for look in told["looks"] if look["found"] == "differs"] == ["report.html"]


def test_other_bytes_of_a_replay_are_found(run: Path) -> None:
    def other_seed(command: Any) -> int:
        return ran(*command[:1], "finetune", *command[2:])

    told = verifying.verify(run, replay=other_seed)
    assert [look["what"] for look in told["looks"] if look["found"] == "differs"] == ["replay"]


def test_a_record_names_no_code_that_runs_and_no_other_verb(run: Path, tmp_path: Path) -> None:
    (run / "report.html").unlink()
    (tmp_path / "nets.py").write_text("raise SystemExit('ran')")
    edit(run, lambda r: r["model"].update(name=f"{tmp_path}/nets.py:net"))
    told = verifying.verify(run, replay=lambda command: pytest.fail("it ran"))
    assert told["looks"][-1]["found"] == "not looked at"
    edit(run, lambda r: (r["model"].update(name="digits"), r.update(command=["convert", "x.pt", "--out", "y"])))
    with pytest.raises(BadData, match="is none that makes a run"):
        verifying.verify(run, replay=lambda command: pytest.fail("it ran"))


def test_a_record_of_before_there_were_seals_is_judged_by_its_rows(run: Path) -> None:
    made = records.read(run)
    old = {name: value for name, value in made.items() if name not in ("seal", "chain")}
    (run / "record.json").write_bytes(records.dumps(old))
    (run / "report.html").unlink()
    told = verifying.verify(run)
    assert (told["edited"], told["looks"][0]["found"]) == (False, "not looked at")
    # Its verdict may be that of an earlier version; an audit makes it anew, and seals it.
    old["verdict"]["code"] = "NO_RESIDUE"
    (run / "record.json").write_bytes(records.dumps(old))
    assert ran("report", run) == 5
    assert "may have been judged by an earlier version" in (run / "report.html").read_text()
    assert ran("audit", run, "--skip", "relearn,prototype") == 3
    made = records.read(run)
    assert made["chain"]["audits"] == [{"record": seal.digest(old), "verdict": "EDITED"}]
    assert seal.edited(made) == []


def test_attempts_and_audits_before_are_chained_by_the_hash_of_their_records(tmp_path: Path) -> None:
    """F57: a run that was made again until it pleased says how often."""
    for seed in (0, 1, 2):
        assert ran("unlearn", "headonly", *ASKED, "class:3", "--seed", seed, "--out", tmp_path / str(seed)) == 0
        if seed == 0:
            first = records.read(tmp_path / "0")
            assert ran("audit", tmp_path / "0", "--skip", "relearn,prototype") == 3
    chains = [records.read(tmp_path / str(seed))["chain"] for seed in (0, 1, 2)]
    assert [len(chain["attempts"]) for chain in chains] == [0, 1, 2]
    assert chains[0]["audits"] == [{"record": seal.digest(first), "verdict": None}]
    assert {(entry["seed"], entry["verdict"]) for entry in chains[2]["attempts"]} == {(0, "SUPPRESSED"), (1, None)}
    assert not verifying.verify(tmp_path / "2")["edited"]
    edit(tmp_path / "0", lambda r: r.update(seed=9))
    assert verifying.verify(tmp_path / "2")["edited"]
    # One that was taken away is still told of.
    shutil.rmtree(tmp_path / "0")
    assert [look["found"] for look in verifying.verify(tmp_path / "2")["looks"] if look["what"].startswith("earlier")].count("not looked at") == 1
    assert ran("unlearn", "headonly", *ASKED, "class:4", "--out", tmp_path / "other") == 0
    assert records.read(tmp_path / "other")["chain"]["attempts"] == []


def test_a_later_request_follows_the_record_of_the_one_before_and_looks_at_it_again(tmp_path: Path) -> None:
    """F59: three requests in a row; the third model is asked after the first two."""
    weights: list[object] = []
    for k in (3, 4, 5):
        assert ran("unlearn", "headonly", *ASKED, f"class:{k}", *weights, "--out", tmp_path / str(k)) == 0
        weights = ["--weights", tmp_path / str(k) / "model.safetensors"]
    assert ran("audit", tmp_path / "5", "--skip", "relearn,prototype,weights") in (3, 4)
    made = records.read(tmp_path / "5")
    assert [entry["classes"] for entry in made["chain"]["requests"]] == [[3], [4]]
    assert made["chain"]["requests"][1]["record"] == seal.digest(records.read(tmp_path / "4"))
    assert [(look["classes"], look["named"]["value"]) for look in made["earlier"]] == [([3], 0.0), ([4], 0.0)]
    jsonschema.validate(made, records.schema())
    assert ran("report", tmp_path / "5") == 0
    assert "in this model 0.0% of" in (tmp_path / "5" / "report.html").read_text()
    assert not verifying.verify(tmp_path / "5")["edited"]
