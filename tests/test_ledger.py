"""`untrain ledger`: from intake to retirement and back, each step only after the one before it, and nothing changed unseen."""

from __future__ import annotations

import json
import os
import shutil
import stat
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrain.cli import main
from untrain.core.errors import BadArgument, BadData, Locked, MissingExtra, Resources, UntrainError
from untrain.evidence import record as records
from untrain.evidence import seal
from untrain.evidence.register import BECOMES, MAY, Event, Register, Request
from untrain.sources.request import entries
from untrain.verbs import ledgering

pytest.importorskip("sqlalchemy")

ASKED = ("--model", "digits", "--data", "digits")


def ran(*arguments: object) -> int:
    return main([str(a) for a in arguments])


@pytest.fixture(params=["sqlite", "postgresql"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A register: a file, and where UNTRAIN_POSTGRES names an empty data base, that too."""
    if request.param == "sqlite":
        return str(tmp_path / "book.sqlite")
    url = os.environ.get("UNTRAIN_POSTGRES")
    if not url:
        pytest.skip("UNTRAIN_POSTGRES names no data base")
    made = Register(url)
    made.table.metadata.drop_all(made.engine)
    made.close()
    return url


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run for classes 3 and 5, audited by what is quick."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert ran("unlearn", "headonly", *ASKED, "--forget", "class:3,5", "--out", out) == 0
    assert ran("audit", out, "--skip", "relearn,prototype") == 3
    return out


def released(book: str, run: Path, version: str = "v2") -> None:
    """Two requests, carried out by one run and released."""
    for k in (3, 5):
        ledgering.intake(book, f"class:{k}")
    ledgering.decide(book, (1, 2), accept=True, by="Lee")
    ledgering.attach(book, (1, 2), run)
    ledgering.sign(book, (1, 2), by="Kim")
    ledgering.release(book, (1, 2), version=version, by="Ops")


def test_requests_go_from_intake_to_retirement_in_one_batch(book: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = ("--ledger", book)
    assert ran("ledger", "intake", "--forget", "class:3", "--subject", "letter 12", "--received", "2026-11-01", *to) == 0
    assert ran("ledger", "intake", "--forget", "class:5", "--due", "2099-01-01", *to) == 0
    assert ran("ledger", "decide", 1, 2, "--accept", "--by", "Lee", *to) == 0
    capsys.readouterr()
    assert ran("ledger", "batch", "--json", *to) == 0
    assert json.loads(capsys.readouterr().out) == {"requests": [1, 2], "forget": "class:3,5"}
    assert ran("ledger", "run", run, 1, 2, *to) == 0
    assert ran("ledger", "sign", 1, 2, "--by", "Kim", "--role", "DPO", *to) == 0
    assert ran("ledger", "release", 1, 2, "--version", "v2", "--by", "Ops", *to) == 0
    assert ran("ledger", "retire", 1, "--by", "Ops", *to) == 0
    capsys.readouterr()
    assert ran("ledger", "list", "--json", *to) == 0
    found = {r["number"]: r for r in json.loads(capsys.readouterr().out)}
    assert [found[n]["state"] for n in (1, 2)] == ["retired", "released"]
    assert [found[1]["received"], found[1]["due"], found[1]["late"]] == ["2026-11-01", "2026-12-01", 0]
    assert [e["what"] for e in found[1]["events"]] == ["intake", "accept", "run", "audit", "sign", "release", "retire"]
    told = {e["what"]: e["facts"] for e in found[1]["events"]}
    record = records.read(run)
    assert told["run"] | {"batch": None} == {
        "record": seal.digest(record), "output": record["output"]["sha256"], "original": record["model"]["sha256"], "method": "headonly", "batch": None
    }  # fmt: skip
    assert told["run"]["batch"] == [1, 2]
    assert told["audit"]["verdict"] == "SUPPRESSED"
    assert told["retire"]["original"] == record["model"]["sha256"]
    assert ran("ledger", "show", 1, *to) == 0
    assert "sign: by Kim; role DPO" in capsys.readouterr().out


def test_a_rollback_is_an_un_forgetting_with_a_date(book: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    released(book, run)
    until = str(date.today() + timedelta(days=9))
    assert ran("ledger", "rollback", "v1", "--until", until, "--by", "Ops", "--why", "v2 is slow", "--ledger", book) == 0
    said = capsys.readouterr()
    assert f"v1 knows again what 2 requests asked to forget, until {until}" in said.err
    assert "UN-FORGOTTEN" in said.out
    assert [(r["due"], r["late"]) for r in ledgering.listed(book)] == [(until, -9)] * 2
    with pytest.raises(BadArgument, match="is un-forgotten, and 'retire' comes after released"):
        ledgering.retire(book, (1,), by="Ops")
    ledgering.release(book, (1, 2), version="v2", by="Ops")
    assert {r["state"] for r in ledgering.listed(book)} == {"released"}
    # The version that they were released with knows nothing of theirs.
    with pytest.raises(BadArgument, match="nothing is un-forgotten by it"):
        ledgering.rollback(book, "v2", until=until, by="Ops", why="")


def test_an_earlier_version_knows_what_later_ones_forgot_however_often_it_was_in_use(book: str) -> None:
    """Back to v1, on to v3 and back to v2: v2 never saw request 3 carried out, and the day on which it came back is not the day of its making."""
    with ledgering.register(book) as made:
        made.add(*((None, "intake", {"forget": f"class:{k}", "received": "2026-01-01", "due": "2026-02-01"}) for k in (3, 5, 7)))
        for n in (1, 2, 3):
            facts = {"output": f"weights {n}", "original": "o", "version": f"v{n}"}
            made.add(*((n, what, facts) for what in ("accept", "run", "audit", "sign", "release")))
    later = {"until": "2099-01-01", "by": "Ops", "why": ""}
    assert [r["number"] for r in ledgering.rollback(book, "v1", **later)] == [2, 3]
    for n in (2, 3):
        ledgering.release(book, (n,), version=f"v{n}", by="Ops")
    assert [r["number"] for r in ledgering.rollback(book, "v2", **later)] == [3]
    # What else its weights had forgotten, and was asked for later, it does not know.
    with ledgering.register(book) as made:
        made.add((None, "intake", {"forget": "class:8", "received": "2026-01-01", "due": "2026-02-01"}))
        facts = {"output": "weights 1", "original": "o", "version": "v1"}
        made.add(*((4, what, facts) for what in ("accept", "run", "audit", "sign", "release")))
    assert [r["number"] for r in ledgering.rollback(book, "v1", **later)] == [2]


def test_a_run_for_another_list_is_not_taken_and_one_for_a_joined_list_is(book: str, tmp_path: Path) -> None:
    """Any run for any list was taken as the answer to a request for a list."""
    lists = {"a.txt": "# Ann\n3\n5\n", "b.txt": "5\n9\n"}
    for name, lines in lists.items():
        (tmp_path / name).write_text(lines)
        ledgering.intake(book, f"index:{tmp_path / name}")
    ledgering.decide(book, (1, 2), accept=True, by="Lee")
    both = ledgering.batch(book, (1, 2), tmp_path / "both.txt")["forget"]
    for name, forget in (("b", f"index:{tmp_path / 'b.txt'}"), ("both", both)):
        assert ran("unlearn", "nothing", *ASKED, "--forget", forget, "--out", tmp_path / name) == 0
    assert not {"3", "5", "9"} & set(json.loads((tmp_path / "both" / ".request.json").read_text())["list"])
    for numbers in ((1,), (1, 2)):
        with pytest.raises(BadArgument, match="does not hold all that request 1 asks for"):
            ledgering.attach(book, numbers, tmp_path / "b")
    (tmp_path / "b" / ".request.json").unlink()
    with pytest.raises(BadArgument, match="does not hold all that request 2 asks for, or is kept no more"):
        ledgering.attach(book, (2,), tmp_path / "b")
    assert {r["state"] for r in ledgering.attach(book, (1, 2), tmp_path / "both")} == {"run"}


def test_a_list_that_is_another_than_it_was_when_the_request_came_is_not_gone_by(book: str, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("path\nx.png\ny.png\n")
        ledgering.intake(book, f"files:{tmp_path / name}")
    ledgering.decide(book, (1, 2), accept=True, by="Lee")
    (tmp_path / "a.csv").write_text("y.png\nx.png\n")
    assert ledgering.batch(book, (1,))["forget"] == f"files:{tmp_path / 'a.csv'}"
    (tmp_path / "a.csv").write_text("path\nx.png\n")
    for numbers in ((1,), (1, 2)):
        with pytest.raises(BadData, match=r"a\.csv is another list than it was when request 1 came"):
            ledgering.batch(book, numbers, tmp_path / "both.csv")
    assert not (tmp_path / "both.csv").exists()
    with pytest.raises(BadData, match=r"no file .*none\.csv"):
        ledgering.intake(book, f"files:{tmp_path / 'none.csv'}")


def test_what_can_be_nothing_but_a_number_is_no_name(book: str, tmp_path: Path) -> None:
    """Of classes that are called by numbers, `#1` is not the one that is called 1."""
    asked = {"forget": "class:7", "classes": [7], "names": ["1"]}
    for forget, taken in (("class:#1", False), ("class:#7", True), ("class:1", True), ("class:7", True), ("class:1,#7", True), ("class:1,2", False)):
        request = Request(1, (Event(1, 1, "", "intake", {"forget": forget}, "", ""),))
        if taken:
            ledgering._refuse_other(request, {"request": asked}, tmp_path)
        else:
            with pytest.raises(BadArgument, match="not what request 1 asks"):
                ledgering._refuse_other(request, {"request": asked}, tmp_path)


def test_a_run_that_was_not_made_for_a_request_is_not_taken(book: str, run: Path, tmp_path: Path) -> None:
    for forget in ("class:7", "where:who=Ann", "class:3"):
        ledgering.intake(book, forget)
    ledgering.decide(book, (1, 2, 3), accept=True, by="Lee")
    for number in (1, 2):
        with pytest.raises(BadArgument, match=rf"made to forget class:3,5, and not what request {number} asks"):
            ledgering.attach(book, (number,), run)
    made = records.read(run)
    made["verdict"]["code"] = "NO_RESIDUE"
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "record.json").write_bytes(records.dumps(seal.sealed(made)))
    with pytest.raises(BadData, match="EDITED"):
        ledgering.attach(book, (3,), tmp_path / "edited")


def test_a_version_is_one_model(book: str, run: Path, tmp_path: Path) -> None:
    released(book, run)
    assert ran("unlearn", "nothing", *ASKED, "--forget", "class:4", "--out", tmp_path / "other") == 0
    assert ran("audit", tmp_path / "other", "--skip", "relearn,prototype") == 3
    ledgering.intake(book, "class:4")
    ledgering.decide(book, (3,), accept=True, by="Lee")
    ledgering.attach(book, (3,), tmp_path / "other")
    ledgering.sign(book, (3,), by="Kim")
    with pytest.raises(BadArgument, match="its name is not used twice"):
        ledgering.release(book, (3,), version="v2", by="Ops")


def test_another_run_for_a_request_that_was_audited_is_a_run_of_its_own(book: str, run: Path, tmp_path: Path) -> None:
    """Its release would else have been of the weights of the run before."""
    other = tmp_path / "other"
    assert ran("unlearn", "nothing", *ASKED, "--forget", "class:3,5", "--out", other) == 0
    ledgering.intake(book, "class:3")
    ledgering.decide(book, (1,), accept=True, by="Lee")
    for place in (run, run, other):
        (told,) = ledgering.attach(book, (1,), place)
    runs = [event["facts"]["output"] for event in told["events"] if event["what"] == "run"]
    assert runs == [records.read(place)["output"]["sha256"] for place in (run, other)]
    assert told["state"] == "run"


def test_lists_are_joined_and_kinds_are_not_mixed(book: str, tmp_path: Path) -> None:
    for name, lines in {"a.csv": "path,who\nx.png,Ann\ny.png,Ann\n", "b.csv": 'who,file\nBob,y.png\nBob,"z,1.png"\n'}.items():
        (tmp_path / name).write_text(lines)
        ledgering.intake(book, f"files:{tmp_path / name}")
    ledgering.intake(book, "where:who=Ann")
    ledgering.decide(book, (1, 2, 3), accept=True, by="Lee")
    assert ledgering.batch(book, (1, 2), tmp_path / "both.csv")["forget"] == f"files:{tmp_path / 'both.csv'}"
    assert entries(f"files:{tmp_path / 'both.csv'}") == ["x.png", "y.png", "z,1.png"]
    with pytest.raises(BadArgument, match="files, where are not one list"):
        ledgering.batch(book)


def test_a_deadline_runs_until_a_request_is_settled(book: str) -> None:
    ledgering.intake(book, "class:3", received="2026-01-01")
    ledgering.intake(book, "class:4", received="2026-01-01")
    with ledgering.register(book) as made:
        assert made.requests()[1].late(date(2026, 2, 3)) == 3
    ledgering.extend(book, (1,), due="2026-03-01", by="Lee", why="three at once")
    ledgering.decide(book, (2,), accept=False, by="Lee", why="not ours")
    with ledgering.register(book) as made:
        assert [made.requests()[n].late(date(2026, 2, 3)) for n in (1, 2)] == [-26, 0]


def test_a_step_comes_after_those_that_the_page_on_the_ledger_names(book: str) -> None:
    """By hand, from the table there: a deadline can be moved until release, and who released does not decide or sign again."""
    path = ("intake", "accept", "run", "audit", "sign", "release", "retire")
    may = {
        "intake": {"accept", "refuse", "extend"},
        "accept": {"refuse", "extend", "run"},
        "run": {"extend", "run", "audit"},
        "audit": {"extend", "run", "audit", "sign", "send back"},
        "sign": {"extend", "send back", "release"},
        "release": {"retire", "un-forget"},
        "retire": {"un-forget"},
    }
    facts = {"forget": "class:3", "received": "2026-01-01", "due": "2026-02-01", "until": "2026-03-01"}
    with ledgering.register(book) as made:
        for n, last in enumerate(path, 1):
            made.add((None, "intake", facts), *((n, what, facts) for what in path[1 : path.index(last) + 1]))
            request = made.requests()[n]
            assert {what for what in MAY if request.state in MAY[what]} == may[last], last
            # No deadline runs once it is in use.
            assert request.late(date(2026, 2, 3)) == (0 if last in ("release", "retire") else 2)


def test_a_day_before_the_request_came_is_no_deadline(book: str) -> None:
    with pytest.raises(BadArgument, match="is before the request came"):
        ledgering.intake(book, "class:3", received="2026-02-01", due="2026-01-31")
    assert ledgering.intake(book, "class:3", received="2026-02-01", due="2026-02-01")["due"] == "2026-02-01"


def test_what_was_not_accepted_is_in_no_batch(book: str) -> None:
    for k in (3, 4):
        ledgering.intake(book, f"class:{k}")
    ledgering.decide(book, (1,), accept=True, by="Lee")
    with pytest.raises(BadArgument, match="request 2 is open and not accepted"):
        ledgering.batch(book, (1, 2))
    assert ledgering.batch(book)["requests"] == [1]


def test_a_run_for_another_value_of_a_column_is_not_taken(tmp_path: Path) -> None:
    for forget, taken in (("where:who=Ann", True), ("where:who=Bob", False), ("where:by=Ann", False), ("random:10%", False)):
        request = Request(1, (Event(1, 1, "", "intake", {"forget": forget}, "", ""),))
        asked = {"request": {"forget": "where:who=Ann", "classes": [], "names": []}}
        if taken:
            ledgering._refuse_other(request, asked, tmp_path)
        else:
            with pytest.raises(BadArgument, match="not what request 1 asks"):
                ledgering._refuse_other(request, asked, tmp_path)


def test_weights_that_are_not_those_of_the_record_are_not_taken(book: str, run: Path, tmp_path: Path) -> None:
    ledgering.intake(book, "class:3")
    ledgering.decide(book, (1,), accept=True, by="Lee")
    other = Path(shutil.copytree(run, tmp_path / "run"))
    data = (other / "model.safetensors").read_bytes()
    (other / "model.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BadData, match="weights in run are not those of its record"):
        ledgering.attach(book, (1,), other)
    assert [event["what"] for event in ledgering.listed(book)[0]["events"]] == ["intake", "accept"]


def test_what_is_due_today_stands_before_what_is_settled_and_before_what_has_time(book: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It stood last, among the settled, with no word of its day."""
    today = ledgering._today()
    for day in (today + timedelta(days=9), today, today - timedelta(days=2), today):
        ledgering.intake(book, "class:3", received="2026-01-01", due=str(day))
    ledgering.decide(book, (4,), accept=False, by="Lee")
    assert [told["number"] for told in ledgering.listed(book)] == [3, 2, 1, 4]
    capsys.readouterr()
    assert ran("ledger", "list", "--ledger", book) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "class:3" in line]
    assert [next((word for word in ("2 days LATE", "TODAY", "in 9 days") if word in line), None) for line in lines] == ["2 days LATE", "TODAY", "in 9 days", None]


def test_no_list_is_written_over_and_none_that_is_no_text_is_read(book: str, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_bytes(b"x.png\n")
        ledgering.intake(book, f"files:{tmp_path / name}")
    (tmp_path / "b.csv").write_bytes("c\u00e4t.png\n".encode("latin-1"))
    ledgering.decide(book, (1, 2, 3), accept=True, by="Lee")
    with pytest.raises(BadArgument, match=r"a\.csv exists"):
        ledgering.batch(book, (1, 3), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b"x.png\n"
    with pytest.raises(BadData, match=r"b\.csv is not text in UTF-8"):
        ledgering.batch(book, (1, 2), tmp_path / "both.csv")


def test_a_run_is_not_attached_to_nothing_in_silence(book: str, run: Path) -> None:
    with pytest.raises(BadArgument, match="no request is named"):
        ledgering.attach(book, (), run)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("intake", "--forget", "the cat"), 2, "is not of the form"),
        (("intake", "--forget", "class:,"), 2, "names no class"),
        (("intake", "--forget", "random:200%"), 2, "names no share"),
        (("intake", "--forget", "class:3", "--received", "yesterday"), 2, "is no day"),
        (("decide", "9", "--accept", "--by", "Lee"), 2, "no request 9"),
        (("sign", "1", "--by", "Lee"), 2, "request 1 is open, and 'sign' comes after audited"),
        (("decide", "1", "--accept", "--by", " "), 2, "--by is empty"),
        (("rollback", "v1", "--until", "2020-01-01", "--by", "x", "--why", "y"), 2, "is over"),
        (("batch",), 2, "no request is accepted"),
    ],
)
def test_what_does_not_go_is_refused_in_one_line_and_nothing_is_written(arguments: Any, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = str(tmp_path / "book.sqlite")
    ledgering.intake(book, "class:3")
    assert ran("ledger", *arguments, "--ledger", book) == code
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    with ledgering.register(book) as made:
        assert [event.what for event in made.events()] == ["intake"]


def test_places_that_are_no_register_are_refused_without_their_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "junk").write_text("no data base at all, and long enough to be looked at as one" * 20)
    cases: dict[str, type[UntrainError]] = {
        str(tmp_path / "junk"): Resources,
        str(tmp_path / "no" / "folder"): Resources,
        "nosuch://me:secret@host/x": BadArgument,
        "mysql://me:secret@localhost:1/x": MissingExtra,
    }
    for place, kind in cases.items():
        with pytest.raises(kind) as caught:
            Register(place)
        assert "secret" not in str(caught.value)
    ledgering.intake(str(tmp_path / "book"), "where:who=Ann")
    assert stat.S_IMODE((tmp_path / "book").stat().st_mode) == 0o600


def test_what_was_changed_or_taken_out_is_found(book: str) -> None:
    """Every field of every event, in turn; and an event taken out of the middle, and off the front."""
    for k in (3, 4, 5):
        ledgering.intake(book, f"class:{k}", subject=f"letter {k}")
    made = Register(book)
    assert len(made.events()) == 3
    columns = [c for c in made.table.columns if c.name != "number"]
    for number in (1, 2, 3):
        for column in columns:
            with made.engine.begin() as connection:
                old = connection.execute(made.sql.select(column).where(made.table.c.number == number)).scalar_one()
                new = old + 1 if isinstance(old, int) else old[:-1] + chr(ord(old[-1]) ^ 1)
                connection.execute(made.table.update().where(made.table.c.number == number).values({column.name: new}))
            with pytest.raises(BadData, match=r"was changed: event"):
                made.events()
            with made.engine.begin() as connection:
                connection.execute(made.table.update().where(made.table.c.number == number).values({column.name: old}))
    assert len(made.events()) == 3
    for gone in (2, 1):
        with made.engine.begin() as connection:
            connection.execute(made.table.delete().where(made.table.c.number == gone))
        with pytest.raises(BadData):
            made.events()
    made.close()


def test_two_who_write_at_once_do_not_follow_the_same_event(book: str) -> None:
    ledgering.intake(book, "class:3")
    one, two = Register(book), Register(book)
    seen = two.events()
    one.add((1, "accept", {"by": "a"}))
    two.events = lambda: list(seen)  # type: ignore[method-assign]
    with pytest.raises(Locked, match="try again"):
        two.add((1, "refuse", {"by": "b"}))
    assert [event.what for event in one.events()] == ["intake", "accept"]
    one.close(), two.close()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(MAY)), st.integers(1, 3)), max_size=12))
def test_a_request_is_only_ever_in_a_state_that_its_events_allow(steps: list[tuple[str, int]]) -> None:
    """Any order of steps: those that are let through are such as the table of states allows, and the others leave no trace."""
    book = Register("sqlite://")
    facts = {"forget": "class:3", "received": "2026-01-01", "due": "2026-02-01"}
    book.add(*[(None, "intake", facts)] * 3)
    states = dict.fromkeys((1, 2, 3), "open")
    for what, number in steps:
        allowed = states[number] in MAY[what]
        try:
            book.add((number, what, {"due": "2026-03-01", "until": "2026-03-01"}))
        except BadArgument:
            assert not allowed
        else:
            assert allowed
            states[number] = BECOMES.get(what, states[number])
        assert {n: r.state for n, r in book.requests().items()} == states
    book.close()
