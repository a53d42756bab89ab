"""The guides: their Python runs, their commands are commands, and cards appear for what is found."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

import untrain
from copies import ROOT, folder
from untrain import methods
from untrain.cli.app import app
from untrain.core.discover import every_setting, found
from untrain.evidence import record as records

PAGES = sorted(folder("docs").glob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
FENCE = re.compile(r"^(?P<skip><!-- not run: .+ -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *kinds: str) -> list[str]:
    """A page's blocks of these kinds, without those that a comment before them takes out."""
    return [m["code"] for m in FENCE.finditer(page.read_text(encoding="utf-8")) if m["kind"] in kinds and not m["skip"]]


def file_of(code: str) -> str | None:
    """The file that a block is, by its first line."""
    named = re.match(r"# (\w+\.py)\n", code)
    return named[1] if named else None


def commands() -> list[Any]:
    """Each `untrain ...` line of every page."""
    out = []
    for page in TEXTS:
        for code in blocks(page, ""):
            lines = [re.sub(r"\s#\s.*", "", line) for line in code.replace("\\\n", " ").splitlines()]
            out += [pytest.param(line.split("untrain ", 1)[1], id=f"{page.stem}: {line[:70]}") for line in lines if re.match(r"(torchrun .* -m )?untrain ", line)]
    return out


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_docs_is_a_command(line: str) -> None:
    tokens = line.split()
    if tokens[:1] == ["unlearn"]:
        assert tokens[1] in found("methods")
    bound = app(tokens).parse_args(tokens, exit_on_error=False, print_error=False)
    assert callable(bound[0])
    if "--preset" in tokens:
        assert f"{tokens[1]}:{tokens[tokens.index('--preset') + 1]}" in every_setting()


# Python.


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guides speak of: photos, a table of people, and weights of the network that one of them shows."""
    root = tmp_path_factory.mktemp("world")
    colours = {"bird": (40, 60, 200), "cat": (200, 60, 40), "dog": (60, 180, 60)}
    for part, n in (("train", 12), ("test", 5)):
        for name, colour in colours.items():
            (root / "photos" / part / name).mkdir(parents=True)
            for i in range(n):
                noise = torch.randint(0, 50, (16, 16, 3), generator=torch.Generator().manual_seed(i + 100 * n))
                Image.fromarray((noise + torch.tensor(colour)).to(torch.uint8).numpy()).save(root / "photos" / part / name / f"{i:03}.png")
    shutil.copytree(root / "photos" / "train" / "cat", root / "people" / "images")
    rows = [f"images/{i:03}.png,{'smile' if i % 2 else 'no smile'},{'Ann' if i < 4 else 'Ben'}" for i in range(12)]
    (root / "people" / "labels.csv").write_text("\n".join(["path,label,person", *rows]))
    for code in blocks(ROOT / "docs" / "class.md", "python"):
        if (name := file_of(code)) is not None:
            (root / name).write_text(code)
    nets = types.ModuleType("nets")
    exec((root / "nets.py").read_text(), nets.__dict__)
    torch.manual_seed(0)
    model = nets.small(3).train()
    train = untrain.load(str(root / "photos")).train.prepared(untrain.Norm((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    x, y = train.batch(torch.arange(len(train)))
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(30):
        adam.zero_grad()
        F.cross_entropy(model(x), y).backward()
        adam.step()
    save_file(model.state_dict(), root / "mine.safetensors")
    return root


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES if blocks(p, "python")])
def test_the_python_of_a_guide_runs(page: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    shutil.copytree(world, here)
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    scope: dict[str, Any] = {"__name__": "guide"}
    for code in blocks(page, "python"):
        if (name := file_of(code)) is not None:
            (here / name).write_text(code)
        else:
            # The code of this repository's own pages, as a reader would run it.
            exec(compile(code, page.name, "exec"), scope)


# The site.


@pytest.fixture(scope="module")
def build() -> Any:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_method_preset_and_audit_has_a_card(build: Any) -> None:
    there = build.methods_page() + build.audits_page()
    for name in every_setting():
        method, _, preset = name.partition(":")
        assert f"{{#{method}}}" in there
        assert not preset or f"`{preset}`" in there
    assert all(f"{{#{name}}}" in there for name in found("audits"))


def test_a_method_that_is_one_new_file_has_a_card_and_a_row(build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(code for code in blocks(ROOT / "docs" / "extend.md", "python") if file_of(code) == "halve.py")
    (tmp_path / "halve.py").write_text(code.partition("\n")[2])
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    found.cache_clear()
    try:
        page = build.methods_page()
    finally:
        found.cache_clear()
    assert "## Halve {#halve}" in page
    assert "| `--lr` | `0.001` | Learning rate. |" in page
    assert "| [`halve`](methods.md#halve) | `retain`, `classes` | classes | no | no |" in page


def test_the_sentences_of_the_verdict_stand_on_their_page_as_they_are(build: Any) -> None:
    from untrain.evidence.verdict import SENTENCES

    page = build.filled((ROOT / "docs" / "record.md").read_text(encoding="utf-8"))
    assert all(sentence in page for sentence in SENTENCES.values())


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ('<a href="b.html#there">', None),
        ('<a href="https://example.org/elsewhere">', None),
        ('<a href="c.html">', "links to c.html, which is not there"),
        ('<a href="b.html#gone">', "no such place"),
        ('<img src="gone.png">', "links to gone.png"),
        ('<link rel="stylesheet" href="https://fonts.example.org/a.css">', "which it does not bring"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(build: Any, tmp_path: Path, link: str, wrong: str | None) -> None:
    (tmp_path / "a.html").write_text(link)
    (tmp_path / "b.html").write_text('<h2 id="there">')
    said = build.broken(tmp_path)
    assert (wrong is None and not said) or (len(said) == 1 and str(wrong) in said[0])


def test_a_page_in_no_nav_and_an_entry_without_a_page_are_said(build: Any) -> None:
    config = {"project": {"nav": [{"A": "a.md"}, {"Others": [{"B": "b.md"}]}]}}
    assert build.unlisted(config, {"a.md", "b.md"}) == []
    assert build.unlisted(config, {"a.md", "c.md"}) == ["c.md is in no nav; add it to zensical.toml", "zensical.toml names b.md, which is not there"]


def test_whether_a_trigger_s_aim_was_met_is_counted_from_its_record(build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(was: float, now: float, knew: float, knows: float) -> dict[str, Any]:
        shares = {"attack success": (was, now), "clean accuracy": (knew, knows), "forgotten, training": (1.0, 0.0), "membership": (0.9, 0.1)}
        told = {row: {"original": {"value": a}, "unlearned": {"value": b}, "retrained": {"value": b}} for row, (a, b) in shares.items()}
        return {"kind": "all known", "setting": "match:trigger", "seed": 0, "counts": {"forget": 5}, "steps": 1, "seconds": 1.0} | told

    met, missed = line(0.91, 0.05, 0.9, 0.89), [line(0.9, 0.05, 0.9, 0.9), line(0.99, 0.051, 0.9, 0.9), line(0.99, 0.0, 0.9, 0.889)]
    (tmp_path / "benchmarks" / "records" / "trigger").mkdir(parents=True)
    (tmp_path / "benchmarks" / "records" / "trigger" / "some.json").write_text(json.dumps([met, *missed]))
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert build.triggers_table("some").endswith("met it: `match:trigger`, all known, 1 of 4.")
    # Where no trigger was planted there is no such aim.
    (tmp_path / "benchmarks" / "records" / "trigger" / "some.json").write_text(json.dumps([met | {"kind": "drawn at random", "setting": "match"}]))
    assert "aim" not in build.triggers_table("some")


@pytest.mark.parametrize(("still", "rest", "said"), [(0.12, 0.885, "met."), (0.13, 0.9, "missed at `early`."), (0.0, 0.88, "missed at `early`.")])
def test_at_which_exits_speech_missed_its_aim_is_told_from_its_record(build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, still: float, rest: float, said: str) -> None:
    """Beside retrained models that name 10 % of the forgotten and 90 % of the rest, of three classes of which the second is forgotten."""

    def heard(gone: float, kept: float) -> dict[str, list[float]]:
        return {"early": [kept, gone, kept], "deep": [0.9, 0.1, 0.9]}

    columns = ("original", "unlearned", "retrained")
    audits = [{"rows": [{"name": row, "values": {c: [{"value": 0.5}] for c in columns}} for row in build.RECOVERED]}]
    exits = [{"name": "early", "audits": audits, "verdict": {"code": "RESIDUE"}}]
    record = {"request": {"forget": "class:1", "classes": [1], "names": ["b"]}, "seed": 0, "audits": audits, "exits": exits, "verdict": {"code": "RESIDUE", "sentence": "So."}}
    recall = {"original": [heard(1, 1)], "unlearned": [heard(still, rest)], "the last exit alone": [heard(1, 1)], "retrained": [heard(0.05, 0.89), heard(0.15, 0.91)]}
    folder = tmp_path / "benchmarks" / "records" / "speech"
    folder.mkdir(parents=True)
    (folder / "some.json").write_text(json.dumps(record))
    (folder / "some-recall.json").write_text(json.dumps({"classes": [1], "recall": recall}))
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert f"at most 1.5 below: {said}\n" in build.speech_table("some")


def test_the_page_of_real_models_is_what_the_records_give_and_its_originals_are_good() -> None:
    spec = importlib.util.spec_from_file_location("real", ROOT / "benchmarks" / "real.py")
    assert spec is not None
    assert spec.loader is not None
    real = importlib.util.module_from_spec(spec)
    sys.modules["real"] = real
    try:
        spec.loader.exec_module(real)
        assert (ROOT / "docs" / "real.md").read_text(encoding="utf-8") == real.page()
        for name in real.CASES:
            case = json.loads((real.RECORDS / f"{name}.json").read_text())
            told = case["loaded_back"]
            assert told["original"]["balanced"] > real.FLOOR
            refused = next(s for s in case["steps"] if s["exit"] == 2)
            assert "unlearn unsir" in refused["command"]
            assert "neggrad" in refused["said"][-1]
            for kind in ("class", "files"):
                record = records.loads((real.RECORDS / f"{name}-{kind}.json").read_bytes())
                assert told[kind]["same_answers"] == sum(told[kind]["of"].values())
                assert real.agrees(told[kind], record)
    finally:
        del sys.modules["real"]


def test_what_is_called_fast_enough_also_forgot_and_kept(build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    into = tmp_path / "benchmarks" / "records" / "methods"
    into.mkdir(parents=True)

    def write(name: str, left: float, kept: float, passes: int) -> None:
        measured = {"forgotten, test": (left, 0.8), "retained, test": (kept, 0.9)}
        rows = [{"name": row, "values": {"unlearned": [{"value": now}], "original": [{"value": was}]}} for row, (now, was) in measured.items()]
        told = {"audits": [{"rows": rows}], "run": {"passes": passes}, "references": [{"about": {"passes": 1000}}, {"about": {"passes": 3000}}]}
        (into / f"{name}_3_s0_0123.json").write_text(json.dumps(told))

    for name, left, kept, passes in (("slow", 0.01, 0.89, 500), ("leaves-half", 0.011, 0.9, 100), ("ruins_lr=1", 0.0, 0.889, 50), ("headonly", 0.0, 0.9, 0)):
        write(name, left, kept, passes)
    monkeypatch.setattr(build, "ROOT", tmp_path)
    told = [[cell.strip() for cell in line.split("|")[1:-1]] for line in build.quality_table("").splitlines()[2:] if line]
    assert [(row[0], row[3], row[5]) for row in told] == [("`ruins lr=1`", "no", "40.0"), ("`leaves:half`", "no", "20.0"), ("`slow`", "yes", "4.0")]


def test_the_page_on_relearning_is_what_its_record_gives_and_the_preset_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for name in ("asked", "deep_tried", "deep", "deep_page"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    deep, page = importlib.import_module("deep"), importlib.import_module("deep_page")
    assert (ROOT / "docs" / "deep.md").read_text(encoding="utf-8") == page.page()
    assert deep.setting(deep.DEEP) == every_setting()["unsir:deep"]
    lines = [line for line in json.loads(deep.RECORD.read_text())["lines"] if (line["case"], line["setting"]) == ("cifar10-test", deep.DEEP)]
    assert {(line["class"], line["seed"]) for line in lines} == {(label, seed) for label in (3, 5) for seed in (0, 1, 2)}
    for line in lines:
        for row in ("one-shot prototype", "head-reset relearning", "relearning recall", "relearning recall, row reset"):
            low, high = page.band(line["rows"][row]["retrained"])
            assert all(low <= v <= high for v in line["rows"][row]["unlearned"]), (line["class"], line["seed"], row)
    for name in ("asked", "deep_tried", "deep", "deep_page"):
        sys.modules.pop(name, None)
