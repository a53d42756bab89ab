"""The page of a record: what it says, what it never says, and how it behaves in a real browser."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrain.evidence import record as records
from untrain.evidence.listed import judged
from untrain.evidence.verdict import SENTENCES
from untrain.report import page
from untrain.report import sections as sections_module
from untrain.report.figures import slots
from untrain.report.markup import amount, embedded
from untrain.report.sections import CONTROLS, SECTIONS, what

GOLDEN = Path(__file__).parent / "golden" / "record.json"
BANNED = ("certified", "guaranteed", "deleted from the model", "gdpr-compliant", "100 % forgotten", "100% forgotten")
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "--><svg onload=alert(1)>",
    '" onmouseover="alert(1)" x=\'',
    "<a href='https://example.org'>link</a><br>",
    "{{ 7 * 7 }} {% raw %} %{y} $x^2$",
    "\u202eesrever\u200b\u2028\x00\u05d0\u05d1",
    "&lt;b&gt; &amp; &#60;",
    "y" * 10_000,
)

Record = dict[str, Any]


def golden() -> Record:
    return json.loads(GOLDEN.read_bytes())


def bare() -> Record:
    return golden() | {"audits": [], "verdict": None}


def alone() -> Record:
    """Without a retrained model, without one of the audits, and a run that has other controls too."""
    made = golden()
    for audit in made["audits"]:
        for row in audit["rows"]:
            row["values"] |= {"retrained": [], "a control with quite a long name": row["values"]["head mask"]}
        for figure in audit["figures"]:
            figure["series"]["retrained"] = []
        if audit["name"] == "weights":
            audit |= {"rows": [], "figures": [], "skipped": "needs original, which is not at hand"}
    return made | {
        "verdict": {"code": "INCONCLUSIVE", "sentence": "", "reasons": ["no retrained model is at hand"], "flagged": [], "retrained": 0, "tests": {}, "without_power": []}
    }


def wide() -> Record:
    """A hundred classes, two of them forgotten, and pictures."""
    made = golden()
    made["request"] = {"forget": "class:3,5", "classes": [3, 5], "names": ["cat", "dog"]}
    for audit in made["audits"]:
        for figure in audit["figures"]:
            if audit["name"] == "predictions":
                figure["series"] = {c: [{f"a class called {i}": (i % 7) / 300 for i in range(100)} for _ in v] for c, v in figure["series"].items()}
    said = {c: {"name": "cat", "probability": 0.5} for c in ("original", "unlearned", "retrained", "head mask")}
    made["pictures"] = [{"png": png(), "truth": "cat", "said": said} for _ in range(6)]
    return made


def png() -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    pixels = zlib.compress(b"".join(b"\0" + bytes(range(0, 256, 32)) for _ in range(8)))
    header = (8).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")).decode()


ENUMS = {"schema", "kind", "ideal", "unit", "code", "png", "marks"}
FREE = {"settings", "environment", "counts", "about", "norm", "tests"}
"""Objects whose keys are anybody's."""


def spoiled(value: Any, text: str, key: str = "") -> Any:
    """The same record with this text in every string that is not one of a fixed few, and in every free key."""
    if key in ENUMS:
        return value
    if isinstance(value, str):
        return f"{text} {key}"
    if isinstance(value, list):
        return [spoiled(v, text, key) for v in value]
    if isinstance(value, dict):
        free = key in FREE or (value and all(re.fullmatch(r"\d+|.*\.weight", k) for k in value))
        return {(f"{text} {k}" if free or k == "head mask" else k): spoiled(v, text, k) for k, v in value.items()}
    return value


class Dom(HTMLParser):
    """Elements with their attributes, the text outside scripts and styles, the cells of the table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text, self.open = "", ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif not self.open:
            self.text += data

    @property
    def skeleton(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(attrs)) for tag, attrs in self.elements]


def sections(record: Record) -> str:
    return "\n".join(section(record) for section in SECTIONS)


def flat(html: str) -> str:
    return " ".join(Dom(html).text.split())


VARIANTS: dict[str, Callable[[], Record]] = {"golden": golden, "bare": bare, "alone": alone, "wide": wide}


@pytest.mark.parametrize("made", VARIANTS.values(), ids=VARIANTS)
def test_a_record_that_is_shown_is_one(made: Callable[[], Record]) -> None:
    jsonschema.validate(made(), records.schema())


@pytest.mark.parametrize("made", VARIANTS.values(), ids=VARIANTS)
def test_the_page_is_a_pure_function_of_the_record(made: Callable[[], Record]) -> None:
    record = made()
    assert page.render(record) == page.render(copy.deepcopy(record))
    assert record == made()


def test_it_does_without_torch() -> None:
    code = "import json, sys; from untrain.report.page import render; render(json.load(open(sys.argv[1]))); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(GOLDEN)], check=True, timeout=60)


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_comes_from_its_code_alone(code: str) -> None:
    record = golden()
    record["verdict"] |= {"code": code, "sentence": "This model is certified.", "reasons": ["a reason"]}
    seeing = len(record["verdict"]["tests"]) - len(record["verdict"]["without_power"])
    said = flat(sections(record))
    assert SENTENCES[code].format(what="class 3", reasons="a reason", m=5, tests=seeing) in said
    assert "certified" not in said
    assert not any(text.partition("{")[0] in said for other, text in SENTENCES.items() if other != code)


def test_what_a_verdict_rests_on_is_said_whole() -> None:
    """The page of the demo broke off within a word."""
    record = golden()
    reason = "halfway through, the model is still the original:" + " what was learned may lie below the last layer" * 5
    record["verdict"] |= {"code": "INCONCLUSIVE", "reasons": [reason]}
    record["exits"] = [{"name": "exit", "layer": "exit", "verdict": record["verdict"]}]
    assert flat(sections(record)).count(reason) == 2


@pytest.mark.parametrize("mark", ["unchanged", "collapsed"])
@pytest.mark.parametrize("made", [golden, bare])
def test_a_mark_stands_in_the_verdicts_place(mark: str, made: Callable[[], Record]) -> None:
    record = made()
    record["run"]["marks"] = [mark]
    if record["audits"] and mark == "unchanged":
        for row in (r for a in record["audits"] if a["name"] == "accuracy" for r in a["rows"]):
            row["values"]["unlearned"] = [dict(value) for value in row["values"]["original"]]
    record["verdict"] = records.finite(judged(record)) if record["audits"] else None
    said = flat(sections(record))
    assert SENTENCES[mark.upper()] in said
    assert "Traces of" not in said
    assert "Not audited yet" not in said


def test_what_was_not_audited_says_so() -> None:
    said = flat(sections(bare()))
    assert "Not audited yet" in said
    assert "No audit has measured this model yet" in said


def test_what_is_not_at_hand_is_said_to_be() -> None:
    said = flat(sections(alone()))
    assert "not at hand" in said
    assert "Not asked:" in said
    assert "needs original, which is not at hand" in said
    assert "Without power:" in flat(sections(golden()))


@pytest.mark.parametrize("made", VARIANTS.values(), ids=VARIANTS)
def test_nothing_is_claimed_that_no_test_can_show(made: Callable[[], Record]) -> None:
    said = flat(sections(made())).lower()
    assert not [word for word in BANNED if word in said]
    assert all(line.lower() in said for line in records.NOT_CLAIMED)


def test_what_was_found_and_what_is_not_claimed_come_first_and_alike() -> None:
    html = sections(golden())
    found, not_claimed, side = (html.index(f'id="{i}"') for i in ("verdict", "not-claimed", "side-by-side"))
    assert found < not_claimed < side
    assert ".claim p, .claim li { font-size: 1.22rem" in page.asset("style.css")


def test_every_number_of_the_table_is_in_the_record() -> None:
    record = golden()
    row = re.compile(r'<span class="measure"><bdi>(.*?)</bdi>.*?</tr>', re.S)
    seen = 0
    rows = {r["name"]: r for a in record["audits"] for r in a["rows"]}
    for found in row.finditer(sections(record)):
        columns = rows.pop(found[1])
        for column, exact, text in re.findall(r'data-label="(.*?)".*?<data value="(.*?)">(.*?)</data>', found[0]):
            values = [v["value"] for v in columns["values"][column]]
            assert float(exact) == sum(values) / len(values)
            assert text.removeprefix("&gt; ").removeprefix("~ ") == amount(float(exact), columns["unit"])
            assert text.startswith("&gt; ") == (columns["unit"] == "steps" and any(v["beyond"] for v in columns["values"][column]))
            seen += 1
    assert not rows
    assert seen == sum(bool(v) for a in record["audits"] for r in a["rows"] for v in r["values"].values())


def cell(record: Record, row: str, column: str) -> str:
    """What stands in a place of the table."""
    (line,) = re.findall(rf'<span class="measure"><bdi>{re.escape(row)}</bdi>.*?</tr>', sections(record), re.S)
    (found,) = re.findall(rf'data-label="{column}".*?</td>', line, re.S)
    return unescape(" ".join(re.sub("<.*?>", " ", found.partition(">")[2]).split()))


def test_a_model_without_a_number_is_none_of_those_alike() -> None:
    """Of two retrained models, one without a number, the page said that all are alike."""
    record = golden()
    value = {"value": 0.25, "low": None, "high": None, "n": 50, "beyond": False}
    row = record["audits"][0]["rows"][0]
    for numbers, said in (((0.25, None), "25.0% 1 of 2 not finite"), ((0.25, 0.5, None, None), "37.5% 25.0 to 50.0%, 2 of 4 not finite"), ((0.25, 0.25), "25.0% all alike")):
        row["values"]["retrained"] = [value | {"value": v} for v in numbers]
        assert cell(record, row["name"], "retrained") == said
    row["values"]["retrained"] = [value | {"value": None}]
    assert cell(record, row["name"], "retrained") == "not finite"


def marks(record: Record, row: str) -> list[tuple[str, str]]:
    """The marks on a row's scale: their slots, and where they lie."""
    (line,) = re.findall(rf'<span class="measure"><bdi>{re.escape(row)}</bdi>.*?</tr>', sections(record), re.S)
    return re.findall(r'<svg class="slot-(.*?)" x="(.*?)"', line)


def test_what_lies_beyond_either_end_of_a_scale_has_an_arrow_there() -> None:
    """A share below 0, as a difference may be, stood at 0."""
    record = golden()
    row = next(r for a in record["audits"] for r in a["rows"] if r["unit"] == "share")
    value = row["values"]["unlearned"][0]
    row["values"] = {c: [value | {"value": v}] for c, v in (("original", 0.0), ("unlearned", -0.5), ("head mask", 1.5))} | {"retrained": [value]}
    assert dict(marks(record, row["name"])) == {"original": "4.0%", "unlearned": "2%", "control-0": "98%"}


def line(record: Record, row: str) -> str:
    """What the table says of a row, up to its first number."""
    (found,) = re.findall(rf'<tr role="row"[^>]*>\s*<th [^>]*>\s*<span class="measure"><bdi>{re.escape(row)}</bdi>.*?</th>', sections(record), re.S)
    return " ".join(re.sub("<.*?>", " ", found).split())


@pytest.mark.parametrize("made", [golden, alone], ids=["golden", "alone"])
def test_marks_lie_where_their_values_do_and_the_band_spans_the_retrained(made: Callable[[], Record]) -> None:
    """From 4 to 96 per cent of the width: shares from 0 to 1, all else from 0 to the largest but of controls."""
    record = made()
    for row in (r for a in record["audits"] for r in a["rows"]):
        numbers = {c: [v["value"] for v in values] for c, values in row["values"].items() if values}
        end = 1.0 if row["unit"] == "share" else max(v for c in ("original", "unlearned", "retrained") for v in numbers.get(c, []))
        place = {c: 4 + 92 * found[0] / end if end else None for c, found in numbers.items()}
        due = [98.0 if place[c] > 96 else place[c] for c in numbers if c != "retrained" and end]
        assert sorted(float(x.rstrip("%")) for _, x in marks(record, row["name"])) == pytest.approx(sorted(due), abs=0.02), row["name"]
        band = re.findall(r'<rect class="band" x="(.*?)%" width="(.*?)%"', re.findall(rf"<bdi>{re.escape(row['name'])}</bdi>.*?</tr>", sections(record), re.S)[0])
        spread = [4 + 92 * v / end for v in numbers.get("retrained", []) if end]
        assert [tuple(map(float, found)) for found in band] == ([pytest.approx((min(spread), max(spread) - min(spread)), abs=0.02)] if spread else [])


def test_a_row_says_what_the_verdict_says_of_it() -> None:
    record = golden()
    tests, flagged = record["verdict"]["tests"], record["verdict"]["flagged"]
    for row in (r for a in record["audits"] for r in a["rows"]):
        said, test = line(record, row["name"]), tests.get(row["name"])
        assert (" trace " in said, " unlike " in said) == (row["name"] in flagged, False)
        assert (" no power " in said) == (row["name"] in record["verdict"]["without_power"])
        assert (" p " in said) == (test is not None)
        # No share is above 1, so from there on nothing would have been found.
        limit = None if test is None or (row["unit"] == "share" and test["limit"] > 1) else test["limit"]
        assert ("found from" in said) == (limit is not None)
        assert limit is None or f"found from {amount(limit, row['unit'])} on" in said
    assert any(test["limit"] > 1 for test in tests.values())
    record["verdict"]["code"] = "UNLIKE"
    assert " unlike " in line(record, flagged[0])
    assert " trace " not in line(record, flagged[0])


def test_samples_behind_a_row_are_told_from_the_fewest_to_the_most() -> None:
    record = golden()
    row = record["audits"][0]["rows"][0]
    assert f" n {row['values']['unlearned'][0]['n']}" in line(record, row["name"])
    row["values"]["retrained"][2]["n"], row["values"]["original"][0]["n"] = 7, 2048
    assert " n 7 to 2,048" in line(record, row["name"])


def test_a_search_behind_a_number_that_is_no_search_is_said_to_be_open() -> None:
    record = golden()
    rows = {r["name"]: r for a in record["audits"] for r in a["rows"]}
    for name, told in (("anamnesis index", True), ("relearn time", False)):
        for values in rows[name]["values"].values():
            for value in values:
                value["beyond"] = False
        assert "ended without success" not in line(record, name)
        rows[name]["values"]["retrained"][0]["beyond"] = True
        assert ("~ a search behind it ended without success" in line(record, name)) == told
    # Of several searches the longest that did not end says that the range is open.
    times = rows["relearn time"]["values"]["retrained"]
    for value, number in zip(times, (10.0, 60.0, 60.0, 20.0, 30.0), strict=True):
        value |= {"value": number, "beyond": False}
    assert cell(record, "relearn time", "retrained") == "36 10 to 60"
    times[1]["beyond"] = True
    assert cell(record, "relearn time", "retrained") == "> 36 10 to > 60"


def test_a_number_that_a_model_lacks_is_none_and_a_model_that_lacks_is_not_at_hand() -> None:
    record = golden()
    row = record["audits"][0]["rows"][0]
    row["values"]["retrained"] = []
    assert cell(record, row["name"], "retrained") == "none"
    assert cell(alone(), row["name"], "retrained") == "not at hand"


@pytest.mark.parametrize(("m", "words"), [(0, "Retrained models are not at hand"), (1, "Retrained: one model that never saw"), (4, "of 4 models that never saw")])
def test_as_many_retrained_models_are_told_as_any_row_has(m: int, words: str) -> None:
    record = golden()
    for row in (r for a in record["audits"] for r in a["rows"]):
        row["values"]["retrained"] = row["values"]["retrained"][:m]
    record["audits"][-1]["rows"][0]["values"]["retrained"] = []
    assert words in flat(sections(record))


def test_every_control_is_named_and_what_is_not_known_is_called_one() -> None:
    said = flat(sections(alone())).partition("Side by side")[2].partition("Measure")[0]
    assert re.search(r"a control with quite a long name ?A control: another model put beside for comparison\.", said)


def test_of_a_list_the_tests_of_lists_are_explained_and_of_classes_not() -> None:
    record = golden()
    assert "rank test or of coins so far from one half" not in flat(str(sections_module.table(record)))
    record["request"] |= {"classes": [], "names": [], "count": 3}
    said = flat(str(sections_module.table(record)))
    assert "rank test or of coins so far from one half" in said
    assert "5 % for recovery and for rank tests and coins" in said


def test_a_certificate_is_told_where_the_noise_hides_what_is_spent_and_not_on_an_edited_record() -> None:
    record = golden()
    record["run"]["certificate"] = {"epsilon": 1.0, "delta": 1e-4, "spent": 0.5, "budget": 0.5}
    assert "(epsilon 1, delta 0.0001)" in flat(sections(record))
    record["run"]["certificate"]["spent"] = 0.51
    said = flat(sections(record))
    assert "None: more is spent than the noise hides." in said
    assert "epsilon" not in said
    assert "Certificate" in flat(page.render(record))
    assert "Certificate" not in flat(page.render(record, ["its seal is not that of what it holds"]))


def drawn(html: str) -> list[tuple[Any, list[list[str]]]]:
    """Each chart's data, and the table under it."""
    specs = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', html, re.S)]
    tables = [re.findall(r"<tr>(.*?)</tr>", part, re.S) for part in re.findall(r'<div class="scroll" tabindex="0" role="region" aria-label="Numbers of.*?</table>', html, re.S)]
    return [(spec, [[re.sub("<.*?>", "", c) for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in rows]) for spec, rows in zip(specs, tables, strict=True)]


def test_charts_and_the_tables_under_them_hold_the_numbers_of_the_record() -> None:
    """Means over models in the table and the bars, whiskers from the smallest to the largest, a line for each model in curves, each in its column's own pattern."""
    record = golden()
    raws = [f for a in record["audits"] for f in a["figures"]]
    for raw, (spec, (head, *rows)) in zip(raws, drawn(str(sections_module.findings(record))), strict=True):
        unit = "share" if "accuracy" in raw["y"] or "share" in raw["y"] else "distance"
        columns = head[1:]
        assert columns == ["original", "unlearned", "retrained", "head mask"]
        for place, (first, *cells) in enumerate(rows):
            for column, text in zip(columns, cells, strict=True):
                series = raw["series"][column]
                found = [s["y"][s["x"].index(float(first))] for s in series] if raw["kind"] == "curves" else [s[first] for s in series]
                mean = sum(found) / len(found)
                assert text == amount(mean, unit)
                traces = [t for t in spec["data"] if t["name"] == column]
                if raw["kind"] == "curves":
                    assert [t["y"][place] for t in traces] == found
                    continue
                (trace,) = traces
                assert trace["y"][place] == pytest.approx(mean)
                if len(found) > 1:
                    bars = trace["error_y"]
                    assert (mean + bars["array"][place], mean - bars["arrayminus"][place]) == pytest.approx((max(found), min(found)))
        shown = {t["name"]: (t["meta"]["slot"], t.get("line", {}).get("dash") or t["marker"]["pattern"]["shape"]) for t in spec["data"]}
        assert len(set(shown.values())) == len(columns)


def test_losses_stand_at_the_steps_that_they_are_means_up_to() -> None:
    record = golden()
    record["run"]["phases"] = [{"name": "impair", "steps": 8, "passes": 1, "seconds": 1.0, "losses": [4.0, 3.0, None], "every": 3}]
    ((spec, (_, *rows)),) = drawn(str(sections_module.cost(record)))
    assert spec["data"][0]["x"] == [3, 6, 8]
    assert rows == [["3", "4.000"], ["6", "3.000"], ["8", "none"]]


def test_controls_look_otherwise_than_each_other() -> None:
    record = golden()
    for row in (r for a in record["audits"] for r in a["rows"]):
        row["values"] |= {"second": row["values"]["head mask"], "third": row["values"]["head mask"]}
    assert len(set(slots(record).values())) == 6


def test_of_many_labels_each_column_has_a_panel_and_all_have_one_scale() -> None:
    record = wide()
    for figure in (f for a in record["audits"] if a["name"] == "predictions" for f in a["figures"]):
        figure["series"]["unlearned"] = [{name: 2 * value for name, value in bars.items()} for bars in figure["series"]["unlearned"]]
    spec = next(spec for spec, _ in drawn(str(sections_module.findings(record))) if len(spec["data"][0]["x"]) == 100)
    axes = [spec["layout"][name] for name in spec["layout"] if name.startswith("yaxis")]
    assert len(axes) == 4
    assert all(axis["range"] == pytest.approx([0, 12 / 300 * 1.08]) for axis in axes)
    spans = sorted(tuple(axis["domain"]) for axis in axes)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_a_verdict_that_heeds_a_mark_and_finds_otherwise_is_the_one_that_is_said() -> None:
    """Of weights that are the original's and answers that are not, the page said that both are."""
    record = golden()
    record["run"]["marks"] = ["unchanged"]
    record["verdict"] = records.finite(judged(record))
    assert record["verdict"]["code"] == "RESIDUE"
    said = flat(sections(record))
    assert SENTENCES["UNCHANGED"] not in said
    assert "its weights are those of the original" in said


def test_a_method_that_is_given_nothing_is_said_to_be() -> None:
    record = golden()
    record["method"]["needs"] = []
    assert "Was given: nothing but the model." in flat(sections(record))


def test_a_long_command_is_whole() -> None:
    record = golden() | {"command": ["unlearn", "unsir", "--forget", f"class:{','.join(f'species {i}' for i in range(500))}"]}
    assert "species 499" in flat(sections(record)).partition("Get it again")[2]


def test_a_search_without_success_lies_beyond() -> None:
    record = golden()
    for row in (r for a in record["audits"] for r in a["rows"] if r["unit"] == "steps"):
        row["values"]["unlearned"][0] |= {"value": 60.0, "beyond": True}
    assert sections(record).count('<data value="60.0">&gt; 60</data>') == 2


def test_a_control_is_said_to_be_one() -> None:
    assert " ".join(CONTROLS["head mask"].split()) in flat(sections(golden()))


def test_a_new_audits_figure_appears_by_itself() -> None:
    record = golden()
    figure = {"name": "something new", "kind": "curves", "x": "a", "y": "b", "series": {"unlearned": [{"x": [0, 1], "y": [1, 2]}]}}
    record["audits"].append({"name": "later", "question": "Is there more?", "settings": {}, "rows": [], "figures": [figure], "skipped": None})
    html = sections(record)
    assert "something new" in html
    assert html.count('class="chart"') == sections(golden()).count('class="chart"') + 1


def test_the_command_and_the_hash_are_on_it() -> None:
    record = golden() | {"command": ["unlearn", "unsir", "--forget", "class:3", "--data", "two words"]}
    said = flat(sections(record))
    assert "untrain unlearn unsir --forget class:3 --data 'two words'" in said
    assert hashlib.sha256(records.dumps(record)).hexdigest() in said


def test_pictures_are_shown_where_asked_for_and_the_page_says_so() -> None:
    assert "<img" not in sections(golden())
    html = sections(wide())
    assert html.count("<img ") == 6
    assert "contains images" in html


def test_its_policy_names_every_script_and_no_place_to_load_from() -> None:
    dom = Dom(page.render(golden()))
    policy = next(a["content"] or "" for t, a in dom.elements if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    runs = [text for attrs, text in dom.scripts if attrs.get("type") != "application/json"]
    assert len(runs) == 2
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert all(base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy for text in runs)
    assert "http" not in policy
    assert not [a for _, attrs in dom.elements for k, a in attrs.items() if k in ("src", "href") and not (a or "").startswith("data:")]


TAME = Dom(sections(spoiled(wide(), "tame"))).skeleton


@settings(max_examples=20, deadline=None)
@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60)))
def test_no_string_of_a_record_becomes_markup(text: str) -> None:
    dom = Dom(sections(spoiled(wide(), text)))
    assert dom.skeleton == TAME
    for attrs, script in dom.scripts:
        if attrs.get("type") == "application/json":
            assert not set("<>&\u2028\u2029") & set(script)
            assert "<" not in json.dumps(json.loads(script))
    assert not set(dom.text) & set("\u202e\u202d\u2066\u200b\x00")


@pytest.mark.parametrize("text", HOSTILE[:5], ids=range(5))
def test_nor_does_its_title(text: str) -> None:
    with mock.patch.object(page, "charts", return_value="0"):
        spoiled_page, tame_page = (Dom(page.render(spoiled(bare(), t))) for t in (text, "tame"))
    assert spoiled_page.skeleton == tame_page.skeleton


def test_json_in_a_script_cannot_end_it() -> None:
    text = "".join(HOSTILE)
    assert not set("<>&\u2028\u2029") & set(embedded(text))
    assert json.loads(embedded(text)) == text


def test_a_long_list_of_classes_is_cut() -> None:
    request = {"forget": "class:all", "classes": list(range(500)), "names": [f"name {i}" for i in range(500)]}
    assert what(request).endswith("11 (name 11), ...")


FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no chromium with its chromedriver on this machine (Debian: chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driven = webdriver.Chrome(options=options, service=Service(driver))
    yield driven
    driven.quit()


class Screen:
    """A page open in the browser."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.browser, self.path = browser, path

    def show(self, record: Record, width: int = 1280, dark: bool = False) -> None:
        self.path.write_text(page.render(record), encoding="utf-8")
        self.width(width)
        self.light(not dark)
        self.browser.get(self.path.as_uri())

    def width(self, width: int) -> None:
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600})

    def light(self, light: bool) -> None:
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light" if light else "dark"}]})

    def ask(self, script: str) -> Any:
        """The answer two frames later, when what was set off has been drawn."""
        wait = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done((() => { return %s; })()), 50)));"
        return self.browser.execute_async_script(wait % script)

    def console(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self) -> list[str]:
        sent = (json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance"))
        asked = [m["params"] for m in sent if m["method"] == "Network.requestWillBeSent"]
        return [p["request"]["url"] for p in asked if p["documentURL"] == self.path.as_uri()]


@pytest.fixture
def screen(browser: Any, tmp_path: Path) -> Screen:
    made = Screen(browser, tmp_path / "report.html")
    made.console(), made.requests()
    return made


BODIES = VARIANTS | {"hostile": lambda: spoiled(wide(), HOSTILE[4] + "".join(HOSTILE))}


@pytest.mark.browser
@pytest.mark.parametrize("made", [pytest.param(made, id=name, marks=[pytest.mark.slow] * (name not in ("alone", "hostile"))) for name, made in BODIES.items()])
def test_a_browser_draws_every_chart_in_silence_and_within_the_screen(screen: Screen, made: Callable[[], Record]) -> None:
    screen.show(made())
    assert screen.ask("[...document.querySelectorAll('.chart')].filter((c) => !c.querySelector('.main-svg .point, .main-svg .points, .main-svg .lines')).length") == 0
    assert screen.ask("document.querySelectorAll('.chart').length") >= 3
    for width in (1280, 390, 320):
        screen.width(width)
        assert screen.ask("Math.max(innerWidth, document.documentElement.scrollWidth)") == width
        assert screen.ask("[...document.querySelectorAll('.main-svg')].filter((s) => s.getBoundingClientRect().right > innerWidth).length") == 0
    assert screen.ask("document.querySelectorAll('svg a, .chart img, [onerror], [onload]').length") == 0
    assert screen.console() == []
    assert [url for url in screen.requests() if not url.startswith("data:")] == [screen.path.as_uri()]


INK = "[getComputedStyle(document.body).backgroundColor, document.querySelector('.xtick text').style.fill, document.querySelector('.bars .point path').style.fill]"


@pytest.mark.browser
def test_dark_mode_reaches_page_and_charts_even_while_it_is_open(screen: Screen) -> None:
    screen.show(alone(), dark=True)
    dark = screen.ask(INK)
    screen.light(True)
    light = screen.ask(INK)
    screen.show(alone())
    assert screen.ask(INK) == light
    assert _brightness(dark[0]) < 60 < 200 < _brightness(light[0])
    assert _brightness(light[1]) < 128 < _brightness(dark[1])


@pytest.mark.browser
def test_what_is_found_and_what_is_not_claimed_fit_the_first_screen_of_a_phone(screen: Screen) -> None:
    screen.show(golden(), 390)
    assert screen.ask("document.querySelector('.claims').getBoundingClientRect().bottom") <= 844
    sizes = screen.ask("[...document.querySelectorAll('.claim > p, .claim li')].map((e) => getComputedStyle(e).fontSize)")
    assert len(set(sizes)) == 1


@pytest.mark.slow
@pytest.mark.browser
def test_it_prints_light_on_a4_with_its_charts(screen: Screen) -> None:
    screen.show(golden(), dark=True)
    before = screen.ask("[...document.querySelectorAll('.main-svg')].map((s) => s.getAttribute('width'))")
    screen.browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert screen.ask("Math.max(...[...document.querySelectorAll('.main-svg')].map((s) => s.getBoundingClientRect().right))") <= 690
    assert _brightness(screen.ask(INK)[1]) < 128
    screen.browser.execute_script("dispatchEvent(new Event('afterprint'))")
    printed = base64.b64decode(screen.browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})["data"])
    assert b"/MediaBox [0 0 59" in printed
    assert screen.ask("[...document.querySelectorAll('.main-svg')].map((s) => s.getAttribute('width'))") == before
    assert screen.console() == []


@pytest.mark.browser
def test_a_key_hides_and_shows_its_column(screen: Screen) -> None:
    screen.show(golden())
    bars = "document.querySelectorAll('.chart')[0].querySelectorAll('.trace.bars').length"
    press = "document.querySelector('.key').click()"
    shown = screen.ask(bars)
    screen.browser.execute_script(press)
    assert screen.ask(bars) == shown - 1
    assert screen.ask("document.querySelector('.key').getAttribute('aria-pressed')") == "false"
    screen.browser.execute_script(press)
    assert screen.ask(bars) == shown


@pytest.mark.slow
@pytest.mark.browser
def test_text_stands_out_from_what_is_behind_it(screen: Screen) -> None:
    for dark in (False, True):
        screen.show(golden(), dark=dark)
        names = ["ink", "quiet", "warn", "good", "accent", "paper", "card", "warn-paper", "good-paper"]
        colours = screen.ask(f"{json.dumps(names)}.map((n) => getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim())")
        ink, quiet, warn, good, accent, paper, card, warm, cool = map(_luminance, colours)
        pairs = [(t, p) for t in (ink, quiet, accent) for p in (paper, card)] + [(warn, warm), (warn, paper), (quiet, warm), (good, cool), (quiet, cool)]
        assert min((max(a, b) + 0.05) / (min(a, b) + 0.05) for a, b in pairs) >= 4.5


def _brightness(colour: str) -> float:
    return sum(int(n) for n in re.findall(r"\d+", colour)[:3]) / 3


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_page_with_charts_is_small() -> None:
    """Fault 53: it held the whole of plotly and weighed 4.9 MB."""
    html = page.render(golden())
    assert 'class="chart"' in html
    assert len(html.encode()) < 1_500_000
