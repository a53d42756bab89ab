"""The page of the paper's questions: what it says comes from records, what has none is a blank, and it stands alone."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import random
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote

import pytest
import torch

from test_report import HOSTILE, Dom, browser, golden, png, screen, spoiled  # noqa: F401 the fixtures are used by name
from untrain.bench import grid
from untrain.bench import questions_page as questions
from untrain.bench.__main__ import app
from untrain.bench.scenario import Cell, Scenario
from untrain.core.errors import BadData
from untrain.evidence import record as records
from untrain.report import page as pages
from untrain.report import questions as report
from untrain.report.questions import QUESTIONS, Asked, Evidence
from untrain.zoo.trained import load as load_network

ROOT = Path(__file__).parent.parent
SCENARIO = ROOT / "benchmarks" / "questions.toml"
ALL = """
model = "resnet20"
data = "cifar10"
precision = "bf16"

[[cells]]
settings = ["unsir", "unsir:paper", "unsir:no-noise", "unsir:plain-noise", "finetune", "neggrad", "headonly", "nothing"]
classes = [[3]]
seeds = [0]

[[cells]]
settings = ["unsir"]
classes = [[3]]
seeds = [0]
audits = ["accuracy", "prototype"]
sweep = { impair_lr = [0.001, 0.01, 0.1, 1.0], repair_epochs = [0, 1, 2], samples = [450, 2250, 27000], penalty = [0.0, 1.0, 10.0] }

[[chains]]
setting = "unsir"
classes = [3, 5, 0, 7]
seed = 0
"""
"""A scenario that asks for all that the page can show."""
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def made(cell: Cell) -> dict[str, Any]:
    """A record of a cell with numbers that no other has: the golden one, every measured number drawn anew."""
    rng = random.Random(cell.name)
    found = golden()
    gone = sorted({*cell.after, *cell.classes})
    found["request"] = {"forget": "class:x", "classes": gone, "names": [NAMES[c] for c in gone]} | ({"after": list(cell.after)} if cell.after else {})
    found["method"]["settings"] |= dict(cell.changes)
    found["references"] = [
        {"column": "retrained", "file": f"{s}", "sha256": "0" * 64, "about": {"seed": s, "passes": rng.randint(10**6, 10**7), "seconds": rng.uniform(500, 900)}} for s in range(5)
    ]
    for audit in found["audits"]:
        for row in audit["rows"]:
            for value in (v for values in row["values"].values() for v in values):
                value["value"] = rng.random() if row["unit"] != "steps" else rng.randint(1, 59)
        if audit["name"] == "accuracy":
            by_class = {c: [{n: rng.random() for n in NAMES} for _ in range(5 if c == "retrained" else 1)] for c in ("original", "unlearned", "retrained")}
            audit["figures"] = [{"name": "accuracy by class", "kind": "bars", "x": "class", "y": "test accuracy", "series": by_class}]
    if not cell.setting.startswith("unsir"):
        found["run"]["phases"] = [p | {"name": "ascend"} for p in found["run"]["phases"][1:2]]
    for phase in found["run"]["phases"]:
        phase |= {"losses": [rng.random() for _ in phase["losses"]], "seconds": rng.random(), "passes": rng.randint(1, 10**5)}
    found["run"] |= {"seconds": rng.uniform(1, 9), "passes": rng.randint(1, 10**5)}
    return records.finite(found)


def maps() -> dict[str, Any]:
    columns = ("original", "unlearned", "retrained")

    def seen(column: str, label: int) -> dict[str, Any]:
        return {"map": [[0.0, 1.0], [0.5, 0.25]], "peak": 0.375, "said": {"name": NAMES[label], "probability": 0.625}, "alike": None if column == "retrained" else 0.875}

    return {
        "schema": "untrain.saliency/1",
        "classes": [3],
        "seed": 0,
        "settings": {},
        "layer": "layer3",
        "tool": "captum",
        "models": [{"column": c, "file": c, "sha256": "1" * 64} for c in columns],
        "images": [{"index": i, "label": c, "truth": NAMES[c], "png": png(), "maps": {k: seen(k, c) for k in columns}} for i, c in ((0, 3), (8, 5))],
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A record of every run."""
    path = tmp_path_factory.mktemp("scenario") / "all.toml"
    path.write_text(ALL)
    runs = tuple(Asked(c.setting, c.name, made(c), c.changes, c.after, c.audits, c.classes) for c in Scenario.read(path).cells)
    return Evidence(runs, "../records", (("model", "resnet20"),), maps(), "../records/saliency.json")


def render(evidence: Evidence) -> str:
    """The page without the megabytes of plotly, for what does not need them."""
    with mock.patch.object(pages, "charts", return_value="0"):
        return report.render(evidence)


def section(html: str, anchor: str) -> str:
    (found,) = re.findall(rf'<section class="question" aria-labelledby="{anchor}">.*?</section>', html, re.S)
    return found


def without(evidence: Evidence, *lost: Asked) -> Evidence:
    return replace(evidence, asked=tuple(replace(a, record=None) if a in lost else a for a in evidence.asked))


def test_every_question_has_a_section_with_a_picture_a_table_and_its_records(whole: Evidence) -> None:
    html = render(whole)
    for question in QUESTIONS:
        part = section(html, question.id)
        assert f'href="#{question.id}"' in html
        assert "Not run" not in part
        assert '<ul class="said">' in part
        assert ('class="chart"' in part) == (question.id != "saliency")
        assert part.count("<figure>") == part.count('class="sources"><p') + part.count('<div class="sources">')
        assert part.count('class="numbers"') == max(1, part.count("<figure>"))
    assert {a.file for a in whole.asked} <= set(re.findall(r"<bdi>(.*?)</bdi></a>", html))
    assert len(set(re.findall(r'href="\.\./records/(.*?)"', html))) == len(whole.asked) + 1


def test_what_has_no_record_is_a_blank_that_names_it(whole: Evidence) -> None:
    html = render(replace(without(whole, *whole.asked), saliency=None))
    assert html.count("<strong>Not run.</strong>") == len(QUESTIONS)
    assert 'class="chart"' not in html
    assert {a.file for a in whole.asked} <= set(re.findall(r"<li><bdi>(.*?)</bdi></li>", html))
    assert "<data" not in html


@pytest.mark.parametrize("field", ["impair_lr", "penalty", "samples", "repair_epochs"])
def test_a_curve_with_a_missing_point_is_drawn_and_says_which(whole: Evidence, field: str) -> None:
    lost = whole.sweep(field)[1]
    parts = {q.id: section(render(without(whole, lost)), q.id) for q in QUESTIONS}
    (hit,) = [name for name, part in parts.items() if "Not all of it is run" in part]
    assert f"<li><bdi>{lost.file}</bdi></li>" in parts[hit]
    assert 'class="chart"' in parts[hit]


def test_the_scenario_asks_for_nothing_that_the_page_leaves_out() -> None:
    evidence = questions.evidence(Scenario.read(SCENARIO), ROOT / "docs" / "questions.html")
    answers = {q.id: q.answer(evidence) for q in QUESTIONS}
    used = {a.file for answer in answers.values() for a in answer.needed}
    assert used == {a.file for a in evidence.asked}
    assert all(answer.needed or name == "saliency" for name, answer in answers.items())
    assert all(len(q.answer.points(evidence)) <= 8 for q in QUESTIONS if isinstance(q.answer, report.Sweep))


def test_the_chain_begins_with_the_run_that_was_audited_as_its_later_ones(whole: Evidence) -> None:
    short = tuple(replace(a, audits=("accuracy",), file=f"chain-{a.file}") for a in whole.chain())
    evidence = replace(whole, asked=(*(a for a in whole.asked if not a.after), *short))
    assert evidence.chain() == list(short)
    assert evidence.of("unsir") == whole.of("unsir")


def test_runs_of_another_chain_and_of_other_classes_are_no_part_of_a_chain(whole: Evidence) -> None:
    """Of two chains the runs were drawn as one, and the first run was any of the setting's."""
    chain = whole.chain()
    assert [(a.after, a.classes) for a in chain] == [((), (3,)), ((3,), (5,)), ((3, 5), (0,)), ((3, 5, 0), (7,))]
    others = (replace(chain[0], classes=(7,)), *(replace(chain[n], after=after) for n, after in ((1, (7,)), (2, (7, 5)))))
    assert replace(whole, asked=(*others, *whole.asked)).chain() == chain


def test_a_default_is_a_point_of_every_curve_once(whole: Evidence) -> None:
    default = golden()["method"]["settings"]
    for anchor, field in (("learning-rate", "impair_lr"), ("penalty", "penalty"), ("share", "samples"), ("healing", "repair_epochs")):
        specs = [json.loads(s) for s in re.findall(r'<script type="application/json">(.*?)</script>', section(render(whole), anchor))]
        for spec in specs:
            mine = next(t for t in spec["data"] if t["name"] == "unlearned")
            places = [float(str(x).split("<")[0].replace(",", "")) for x in mine["x"]]
            assert places == sorted({default[field], *(dict(a.changes)[field] for a in whole.sweep(field))})
            assert len(places) <= 8


def numbers(value: Any) -> set[float]:
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(numbers, value)) if value else set()
    return {float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def test_every_number_in_a_sentence_is_one_of_the_records(whole: Evidence) -> None:
    html = render(whole)
    there = numbers([a.record for a in whole.asked]) | numbers(whole.saliency)
    seen = re.findall(r'<data value="(.*?)"(?: data-how="(.*?)")?>', html)
    assert len(seen) > 100
    base = whole.of("unsir")[0].record
    assert base
    for text, how in seen:
        if how.startswith("ratio of "):
            key = how.removeprefix("ratio of ")
            mean = sum(r["about"][key] for r in base["references"]) / len(base["references"])
            assert float(text) == pytest.approx(mean / base["run"][key])
        elif how:
            assert how == "count"
            assert int(text) in (len(base["references"]), len(whole.chain()), 1)
        else:
            assert float(text) in there


def test_no_number_is_typed_into_a_sentence(whole: Evidence) -> None:
    for block in re.findall(r'<ul class="said">.*?</ul>', render(whole), re.S):
        words = unescape(re.sub(r"<(data|code|bdi).*?</\1>", "", block, flags=re.S))
        assert not re.search(r"\d", words)


def test_a_sentence_says_where_a_measure_is_lowest_and_highest(whole: Evidence) -> None:
    runs = {dict(a.changes)["penalty"]: a.record for a in whole.sweep("penalty")} | {0.1: whole.of("unsir")[0].record}
    shots = {x: next(r for au in rec["audits"] for r in au["rows"] if r["name"] == "one-shot prototype")["values"]["unlearned"][0]["value"] for x, rec in runs.items() if rec}
    low, high = min(shots, key=lambda x: shots[x]), max(shots, key=lambda x: shots[x])
    said = " ".join(Dom(section(render(whole), "penalty")).text.split())
    assert f"One-shot prototype recall is lowest at {low:g} ({shots[low]:.1%}) and highest at {high:g} ({shots[high]:.1%})" in said


def test_the_chain_shows_every_class_forgotten_so_far(whole: Evidence) -> None:
    (spec, *_) = [json.loads(s) for s in re.findall(r'<script type="application/json">(.*?)</script>', section(render(whole), "sequential"))]
    assert {t["name"]: len(t["y"]) for t in spec["data"]} == {"cat": 4, "dog": 3, "airplane": 2, "horse": 1}
    by_class = [next(f for a in r.record["audits"] for f in a["figures"] if f["name"] == "accuracy by class")["series"]["unlearned"][0] for r in whole.chain() if r.record]
    assert next(t for t in spec["data"] if t["name"] == "cat")["y"] == [shares["cat"] for shares in by_class]


def test_a_search_that_ended_without_success_is_said_to_be_more(whole: Evidence) -> None:
    asked = copy.deepcopy(whole.asked)
    for row in (r for a in asked[0].record["audits"] for r in a["rows"] if r["name"] == "relearn time"):
        row["values"]["unlearned"][0] |= {"value": 60, "beyond": True}
    assert "unlearned more than 60," in Dom(section(render(replace(whole, asked=asked)), "relearning")).text


def test_the_page_stands_alone_and_is_a_pure_function(whole: Evidence) -> None:
    before = copy.deepcopy(whole)
    html = report.render(whole)
    assert html == report.render(before)
    assert whole == before
    dom = Dom(html)
    policy = next(a["content"] or "" for t, a in dom.elements if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    runs = [text for attrs, text in dom.scripts if attrs.get("type") != "application/json"]
    assert len(runs) == 2
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert all(base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy for text in runs)
    assert "http" not in policy
    loads = [a.get("src") or a.get("href") for t, a in dom.elements if t != "a" and (a.get("src") or a.get("href"))]
    assert all(str(where).startswith("data:") for where in loads)
    links = [str(a["href"]) for t, a in dom.elements if t == "a"]
    assert all(where.startswith(("#", "../records/")) for where in links)


@pytest.mark.parametrize("text", HOSTILE[:7], ids=range(7))
def test_no_string_of_a_record_becomes_markup(whole: Evidence, text: str) -> None:
    def with_names(marker: str) -> str:
        asked = []
        for a in whole.asked:
            record = copy.deepcopy(a.record) or {}
            record["request"]["names"] = [f"{marker}{n}" for n in record["request"]["names"]]
            for found in (f for au in record["audits"] for f in au["figures"] if f["kind"] == "bars"):
                found["series"] = {c: [{f"{marker}{k}": v for k, v in b.items()} for b in bars] for c, bars in found["series"].items()}
            asked.append(replace(a, record=record | {"environment": spoiled(record["environment"], marker)}))
        seen = copy.deepcopy(whole.saliency) or {}
        for image in seen["images"]:
            image["truth"] = marker
        return render(replace(whole, asked=tuple(asked), saliency=seen | {"layer": marker, "tool": marker}))

    assert Dom(with_names(text)).skeleton == Dom(with_names("tame")).skeleton


@pytest.mark.slow
def test_it_is_drawn_from_a_scenario_whose_runs_were_run(tmp_path: Path) -> None:
    path, page = tmp_path / "small.toml", tmp_path / "site" / "page.html"
    page.parent.mkdir()
    path.write_text(
        'model = "digits"\ndata = "digits"\nprecision = "fp32"\n'
        '[[cells]]\nsettings = ["unsir", "nothing"]\nclasses = [[3]]\nseeds = [0]\naudits = ["accuracy", "prototype", "predictions"]\n'
        '[[cells]]\nsettings = ["unsir"]\nclasses = [[3]]\nseeds = [0]\naudits = ["accuracy"]\nsweep = { samples = [90, 900], repair_epochs = [0] }\n'
    )
    scenario = Scenario.read(path)
    for seed in range(2):
        module = load_network("digits", 10).module
        with torch.no_grad():
            next(module.parameters()).mul_(1 + 0.1 * (seed + 1))
        grid.keep_reference(tmp_path / "references" / "small" / f"retrain_3_s{seed}.safetensors", module, {"seed": seed, "passes": 10**6, "seconds": 60.0})
    grid.run(scenario, say=lambda _: None)
    questions.draw(scenario, page)
    html = page.read_text()
    drawn = {q.id for q in QUESTIONS if 'class="chart"' in section(html, q.id)}
    assert drawn == {"noise", "impair-repair", "healing", "share", "predictions", "time", "standard"}
    for link in set(re.findall(r'href="(\.\..*?)"', html)):
        assert (page.parent / unquote(link)).resolve().is_file()
    base = records.read(scenario.records / scenario.cells[0].name)
    assert f'<data value="{base["run"]["passes"]}">' in section(html, "time")


def test_a_record_of_maps_that_is_none_is_refused(tmp_path: Path) -> None:
    shutil.copy(SCENARIO, tmp_path)
    maps_at = tmp_path / "records" / "saliency.json"
    maps_at.parent.mkdir()
    for text in ("{", '{"schema": "other"}'):
        maps_at.write_text(text)
        with pytest.raises(BadData, match=r"saliency\.json"):
            questions.evidence(Scenario.read(tmp_path / SCENARIO.name), tmp_path / "page.html")


def test_the_page_in_the_docs_is_what_its_records_give(tmp_path: Path) -> None:
    page = ROOT / "docs" / "questions.html"
    if not page.is_file():
        pytest.skip("docs/questions.html is not drawn yet")
    scenario = Scenario.read(SCENARIO)
    again = render(questions.evidence(scenario, page))

    def own(html: str) -> str:
        """Without the script of plotly, which is of the version that is installed, and the hashes of scripts."""
        return re.sub(r"<script>.*?</script>|sha256-[A-Za-z0-9+/=]+", "", html, flags=re.S)

    assert own(again) == own(page.read_text())


def test_the_verb_writes_it(tmp_path: Path) -> None:
    shutil.copy(SCENARIO, tmp_path)
    page = tmp_path / "page.html"
    with mock.patch.object(pages, "charts", return_value="0"), pytest.raises(SystemExit, match="0"):
        app(["questions", str(tmp_path / SCENARIO.name), "--into", str(page)])
    assert page.read_text().count("<strong>Not run.</strong>") == len(QUESTIONS)


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_draws_it_in_silence_and_within_the_screen(screen: Any, whole: Evidence) -> None:  # noqa: F811 a fixture
    screen.path.write_text(report.render(whole), encoding="utf-8")
    screen.width(1280)
    screen.light(True)
    screen.browser.get(screen.path.as_uri())
    assert screen.ask("[...document.querySelectorAll('.chart')].filter((c) => !c.querySelector('.main-svg .point, .main-svg .points, .main-svg .lines')).length") == 0
    assert screen.ask("document.querySelectorAll('.chart').length") >= 20
    for width in (1280, 390, 320):
        screen.width(width)
        assert screen.ask("Math.max(innerWidth, document.documentElement.scrollWidth)") == width
        assert screen.ask("[...document.querySelectorAll('.main-svg')].filter((s) => s.getBoundingClientRect().right > innerWidth).length") == 0
    assert screen.console() == []
    assert [url for url in screen.requests() if not url.startswith("data:")] == [screen.path.as_uri()]
