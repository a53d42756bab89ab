"""The benchmark: cells, shards, records that are not made twice, and a README that is drawn from records."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from scipy import stats

from untrain.bench import __main__ as bench
from untrain.bench import grid, judging, picture, table
from untrain.bench.scenario import Cell, Scenario
from untrain.cli import main
from untrain.core import discover, files
from untrain.core.errors import BadArgument, BadData, Diverged
from untrain.evidence import record, seal
from untrain.verbs.inputs import Inputs
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import digits
from untrain.zoo.trained import load_model

ROOT = Path(__file__).parent.parent
SCENARIO = ROOT / "benchmarks" / "cifar10.toml"
DIGITS = """
model = "digits"
data = "digits"
precision = "fp32"

[[cells]]
settings = ["headonly", "nothing"]
classes = [[3]]
seeds = [0]
"""


PAGES = ("README.md", "benchmarks/README.md", "docs/noise.md", "docs/results.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_a_page_are_those_that_the_records_give(page, tmp_path):
    drawn = tmp_path / "page.md"
    shutil.copy(ROOT / page, drawn)
    subprocess.run([sys.executable, "-m", "untrain.bench", "table", str(drawn), "--records", str(ROOT / "benchmarks" / "records")], check=True)
    assert drawn.read_text() == (ROOT / page).read_text()
    assert "<!-- table " in drawn.read_text()


@pytest.mark.parametrize(("scenario", "page"), [("methods", "field-cifar10"), ("methods-digits", "field-digits")])
def test_a_picture_is_what_the_records_give_and_shows_every_row_of_its_table_in_each_panel(scenario, page, tmp_path):
    picture.draw(ROOT / "benchmarks" / "records", scenario, [3], tmp_path / "it.svg")
    text = (ROOT / "docs" / f"{page}.svg").read_text()
    assert (tmp_path / "it.svg").read_text() == text
    shown = [t.text.partition(": retained")[0] for t in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}title") if "passes" in t.text]
    assert sorted(shown) == sorted(3 * [name for name, _ in table.fielded(table.read(ROOT / "benchmarks" / "records" / scenario), [3])])


def test_the_front_is_what_nothing_beats():
    rng = random.Random(0)
    points = [picture.Point(i, "x", rng.randrange(5) / 4, rng.randrange(5) / 4, None, rng.randrange(5), control=i % 7 == 0) for i in range(60)]
    best = {p.number for p in picture.front(points)}
    own = [p for p in points if not p.control]
    for p in own:
        others = [q for q in own if q.kept >= p.kept and q.gone <= p.gone and q.cost <= p.cost]
        equal = all((q.kept, q.gone, q.cost) == (p.kept, p.gone, p.cost) for q in others)
        assert equal == (p.number in best)
    assert not any(p.control and p.number in best for p in points)


@pytest.mark.parametrize(("passes", "kept"), [(1000, 0.9), (0, 0.9), (12_345, 0.9), (1000, 0.3)])
def test_a_picture_of_one_method_is_drawn_whatever_it_costs_and_however_far_it_lies_below_the_retrained(passes, kept):
    found = next(r for r in table.read(ROOT / "benchmarks" / "records" / "methods-digits") if table.setting(r) == "ssd")
    found["run"]["passes"] = passes
    for entry in found["audits"]:
        for row in entry["rows"]:
            if row["name"] == "retained, test":
                row["values"]["unlearned"][0]["value"] = kept
    drawn = ElementTree.fromstring(picture.drawn([found], [3]))
    assert len([t for t in drawn.iter("{http://www.w3.org/2000/svg}title") if f"retained {kept:.2%}" in t.text and f"{passes:,} passes" in t.text]) == 3
    with pytest.raises(BadData, match="no record forgets the classes 4, 5 at seed 0"):
        picture.drawn([found], [4, 5])


def test_a_method_that_leaves_the_class_or_collapses_says_so_in_its_row():
    rows = [line.split(" | ") for line in table.field(table.read(ROOT / "benchmarks" / "records" / "methods-digits"), [3]).splitlines() if "`" in line]
    assert all((float(cells[2].partition("%")[0]) > 1) == ("still named" in cells[-1]) for cells in rows if "COLLAPSED" not in cells[-1])
    assert any("still named" in cells[-1] for cells in rows)


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.toml")), ids=lambda p: p.stem)
def test_every_record_is_valid_and_of_a_cell_that_is_asked_for(path):
    scenario = Scenario.read(path)
    names = {cell.name for cell in scenario.cells}
    assert scenario.cells
    schema = record.schema()
    validator = jsonschema.validators.validator_for(schema)(schema)
    for path in sorted(scenario.records.glob("*.json")):
        validator.validate(record.loads(path.read_bytes()))
        assert path.name in names


def test_the_command_of_a_record_is_one_that_untrain_takes(tmp_path, monkeypatch):
    scenario = Scenario.read(SCENARIO)
    for cell in scenario.cells:
        path = scenario.records / cell.name
        assert not path.is_file() or record.loads(path.read_bytes())["command"] == cell.command
    monkeypatch.chdir(tmp_path)
    assert main(Cell(Inputs(model="digits", data="digits", seed=1, precision="bf16"), "unsir:paper", (3, 5)).command) == 0
    made = record.read(tmp_path / "run")
    assert (made["method"]["preset"], made["request"]["classes"], made["seed"], made["environment"]["precision"]) == ("paper", [3, 5], 1, "bf16")


@pytest.mark.parametrize(
    ("setting", "changes", "label"),
    [
        ("unsir", (), "unsir"),
        ("unsir:paper", (), "unsir:paper"),
        ("unsir:notebook", (("repair_epochs", 0),), "unsir:notebook repair_epochs=0"),
        ("unsir", (("repair", "labels"),), "unsir repair=labels"),
        ("unsir", (("augment", False),), "unsir augment=False"),
        ("unsir:paper", (("augment", True), ("impair_lr", 0.001)), "unsir:paper impair_lr=0.001 augment=True"),
        ("headonly", (), "headonly"),
    ],
)
def test_a_table_names_a_setting_by_its_preset_and_what_differs_from_it(setting, changes, label):
    cell = Cell(Inputs(model="digits", data="digits"), setting, (3,), changes=changes)
    made = {"method": {"name": setting.split(":")[0], "preset": None, "settings": dataclasses.asdict(cell.method)}, "command": cell.command}
    assert table.setting(made) == label


def test_a_table_of_settings_leaves_out_what_changes_a_field_and_one_of_changes_has_only_that():
    def made(setting: str, *changes: tuple[str, object]) -> dict:
        cell = Cell(Inputs(model="digits", data="digits"), setting, (3,), changes=changes)
        about = {"name": "unsir", "preset": None, "settings": dataclasses.asdict(cell.method)}
        return {"method": about, "command": cell.command, "request": {"classes": [3]}, "audits": [], "references": [], "run": {"passes": 1}}

    found = [made("unsir"), made("unsir:paper"), made("unsir", ("repair", "labels"))]
    rows = {base: [line.split("`")[1] for line in table.by_method(found, [3], base).splitlines() if "`" in line] for base in (None, "unsir", "unsir:paper")}
    assert rows == {None: ["unsir", "unsir:paper"], "unsir": ["unsir", "unsir repair=labels"], "unsir:paper": ["unsir:paper"]}


def test_a_cell_runs_under_the_normalisation_that_its_scenario_names(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text('norm = "0.5/0.25"\n' + DIGITS.replace('["headonly", "nothing"]', '["nothing"]'))
    scenario = Scenario.read(path)
    grid.run(scenario, say=lambda _: None)
    (made,) = table.read(scenario.records)
    assert made["model"]["norm"] == {"mean": [0.5], "std": [0.25]}
    assert made["command"][made["command"].index("--norm") + 1] == "0.5/0.25"


def test_shards_share_out_the_cells():
    cells = Scenario.read(SCENARIO).cells
    assert sorted((c for i in range(3) for c in cells[i::3]), key=repr) == sorted(cells, key=repr)
    assert len({c.name for c in cells}) == len(cells)


def test_a_cell_is_named_by_all_that_is_run():
    cell = Scenario.read(SCENARIO).cells[0]
    for change in ({"classes": (1,)}, {"setting": "nothing"}):
        assert dataclasses.replace(cell, **change).name != cell.name
    for change in ({"seed": 7}, {"precision": "fp32"}, {"data": "cifar100"}, {"norm": "imagenet"}, {"head": "linear"}):
        assert dataclasses.replace(cell, inputs=dataclasses.replace(cell.inputs, **change)).name != cell.name


def test_a_cell_with_a_record_is_not_run_again(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(DIGITS)
    scenario = Scenario.read(path)
    assert grid.run(scenario, say=lambda _: None) == 2
    before = {p.name: p.read_bytes() for p in scenario.records.iterdir()}
    assert grid.run(scenario, say=lambda _: None) == 0
    assert {p.name: p.read_bytes() for p in scenario.records.iterdir()} == before
    codes = {json.loads(b)["method"]["name"]: json.loads(b)["verdict"]["code"] for b in before.values()}
    assert codes == {"headonly": "SUPPRESSED", "nothing": "UNCHANGED"}


def test_a_cell_is_run_and_audited_with_the_head_and_on_the_device_that_its_scenario_names(tmp_path, monkeypatch):
    """Whatever runs is told the same as the command of its record says."""
    told = []

    def unlearn(module, split, method, **how):
        told.append(how)
        return run(module, split, method, **how)

    def audit(model, split, audits, **how):
        told.append(how)
        return ask(model, split, audits, **how)

    run, ask = grid.unlearn, grid.audit
    monkeypatch.setattr(grid, "unlearn", unlearn)
    monkeypatch.setattr(grid, "audit", audit)
    path = tmp_path / "headed.toml"
    path.write_text('head = "linear"\ndevice = "cpu"\n' + DIGITS.replace('"headonly", "nothing"', '"nothing"') + 'audits = ["accuracy"]\n')
    scenario = Scenario.read(path)
    assert grid.run(scenario, say=lambda _: None) == 1
    (made,) = table.read(scenario.records)
    assert made["command"][made["command"].index("--head") + 1] == "linear"
    assert made["model"]["origin"] == "bundled"
    monkeypatch.setattr(grid, "keep_reference", lambda path, module, about: path.parent.mkdir(parents=True, exist_ok=True))
    nothing = discover.settings("nothing")
    monkeypatch.setattr(discover, "settings", lambda *_: nothing)
    grid.reference(scenario, "class:3", 0)
    assert [(how["head"], how["device"]) for how in told] == [("linear", "cpu")] * 3


def test_two_scenarios_that_lie_in_one_folder_keep_what_is_half_done_apart(tmp_path, monkeypatch):
    """Retrained without a class of the same number, one may be killed before the other begins."""
    stores = []

    def unlearn(*_, store, **how):
        stores.append(store)
        raise Diverged("enough is known")

    monkeypatch.setattr(grid, "unlearn", unlearn)
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(DIGITS)
        with pytest.raises(Diverged):
            grid.reference(Scenario.read(tmp_path / f"{name}.toml"), "class:3", 0)
    assert len(set(stores)) == 2


@pytest.mark.parametrize("shard", ["2/2", "0/0", "1", "a/2", "-1/2", "0/2/4"])
def test_a_shard_that_is_none_is_refused_and_leaves_no_cell_out(shard, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(DIGITS)
    with pytest.raises(BadArgument, match="shard"):
        bench.run(path, shard=shard)
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('nrom = "cifar10"\n' + DIGITS, "says nrom, which nothing reads"),
        ("seed = 3\n" + DIGITS, "says seed, which nothing reads"),
        (DIGITS + 'adits = ["accuracy"]\n', "says adits in a block of cells, which nothing reads"),
        (DIGITS + '[[chains]]\nsetting = "nothing"\nclasses = [1]\nseeds = [0]\n', "says seeds in a block of chains, which nothing reads"),
        ('head = "exit1,deep"\n' + DIGITS, "names the exits exit1,deep, and a cell looks at one answer"),
    ],
)
def test_a_word_that_nothing_reads_is_refused(text, said, tmp_path):
    path = tmp_path / "typo.toml"
    path.write_text(text)
    with pytest.raises(BadArgument, match=said):
        Scenario.read(path)


@pytest.fixture(scope="module")
def exits(tmp_path_factory):
    """A sealed record of a network with exits, whose verdicts are of before."""
    found = record.loads(next(iter(sorted((ROOT / "benchmarks" / "records" / "methods-digits").glob("headonly*.json")))).read_bytes())
    stale = found["verdict"] | {"code": "NO_RESIDUE", "sentence": "as it was"}
    found |= {"verdict": stale, "exits": [{"name": "early", "audits": found["audits"], "verdict": stale}]}
    return seal.sealed(found)


def test_a_record_that_is_judged_again_holds_together_as_one_that_was_just_made(exits, tmp_path):
    path = tmp_path / "deep" / "record.json"
    path.parent.mkdir()
    path.write_bytes(record.dumps(exits))
    (tmp_path / "speeds.json").write_text("{}")
    assert seal.edited(exits)
    assert judging.rejudge(tmp_path) == {("NO_RESIDUE", "SUPPRESSED"): 1}
    found = record.read(path)
    assert seal.edited(found, path.read_bytes()) == []
    assert found["exits"][0]["verdict"]["code"] == "SUPPRESSED"
    assert judging.again(found) == found


def test_a_verdict_whose_p_was_moved_by_a_thousandth_is_not_the_one_that_the_rows_give():
    """Another version of a library of statistics may differ in the last of seven digits, and no more."""
    for near, same in ((1e-3, False), (1e-4, False), (1e-6, True)):
        assert seal.alike({"p": 0.0123}, {"p": 0.0123 * (1 + near)}) is same


def test_a_record_that_was_edited_gets_no_seal_by_being_judged_again(exits, tmp_path):
    path = tmp_path / "record.json"
    data = record.dumps(exits | {"seed": 99})
    path.write_bytes(data)
    with pytest.raises(BadData, match=r"record\.json in .* was edited"):
        judging.rejudge(path)
    assert path.read_bytes() == data


def test_a_method_that_asks_how_the_original_came_about_is_told_and_no_other(tmp_path, monkeypatch):
    told = {}

    def unlearn(module, split, method, *, recipe, **how):
        told[discover.name_of(method)] = recipe
        raise Diverged("enough is known")

    monkeypatch.setattr(grid, "unlearn", unlearn)
    path = tmp_path / "asks.toml"
    path.write_text(DIGITS.replace('"headonly", "nothing"', '"gkt", "nothing"'))
    assert grid.run(Scenario.read(path), say=lambda _: None) == 0
    assert told == {"gkt": recipe_for("digits", 10), "nothing": None}


def test_a_scenario_that_is_none_is_refused(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("model = 'digits'")
    with pytest.raises(BadArgument, match=r"bad\.toml is not a scenario"):
        Scenario.read(path)


def cells(*numbers: float, beyond: bool = False) -> list[dict]:
    return [{"value": n, "low": None, "high": None, "n": None, "beyond": beyond} for n in numbers]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], ""),
        (cells(0.4, beyond=True) + cells(0.6), "≥ 50.0% (40.0% to 60.0%)"),
        (cells(0.5), "50.0%"),
        (cells(0.4, 0.6), "50.0% (40.0% to 60.0%)"),
        (cells(0.5, 0.5), "50.0%"),
        (cells(0.6, beyond=True), "> 60.0%"),
    ],
)
def test_a_table_cell_says_mean_and_range(given, text):
    assert table.shown(given, "{:.1%}") == text


@pytest.mark.parametrize("path", sorted(SCENARIO.parent.glob("*.toml")), ids=lambda path: path.stem)
def test_what_came_later_leaves_the_names_of_records_as_they_were(path):
    """A field that is added to `Inputs`, or to a method, would make every cell new."""
    scenario = Scenario.read(path)
    named = {cell.name for cell in scenario.cells}
    there = {file.name for file in scenario.records.glob("*.json")}
    assert not there or named & there


def test_a_list_of_samples_is_a_cell_beside_the_models_retrained_without_it(tmp_path):
    path = tmp_path / "lists.toml"
    path.write_text(DIGITS.replace('"headonly", "nothing"', '"nothing"').replace("classes = [[3]]", 'lists = ["random:10%"]\naudits = ["accuracy"]'))
    kept = ROOT / "benchmarks" / "references" / "lists-digits" / "retrain_random-10_s0.safetensors"
    for file in (kept, kept.with_suffix(".json")):
        (tmp_path / "references" / "lists").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "references" / "lists")
    scenario = Scenario.read(path)
    (cell,) = scenario.cells
    assert cell.name.startswith("nothing_random-10_s0_")
    assert cell.command[cell.command.index("--forget") + 1] == "random:10%"
    grid.run(scenario, say=lambda _: None)
    (made,) = table.read(scenario.records)
    assert made["request"]["count"] == round(0.1 * len(digits().train))
    assert [r["file"] for r in made["references"]] == [kept.name]
    # That the model was trained without just these samples shows in them and in no others.
    rows = {row["name"]: row["values"] for row in made["audits"][0]["rows"]}
    gone, others = (rows[f"{part}, training"]["retrained"][0] for part in ("forgotten", "retained"))
    assert gone["value"] < others["value"]


def test_files_of_settings_are_cells_as_they_say(tmp_path):
    (tmp_path / "mine").mkdir()
    for name, text in {"a": 'method = "scrub"\nvalues = {lr = 0.002}\n', "b": 'method = "salun"\npreset = "published"\n'}.items():
        (tmp_path / "mine" / f"{name}.toml").write_text(text)
    path = tmp_path / "files.toml"
    path.write_text(DIGITS.replace('settings = ["headonly", "nothing"]', 'files = "mine/*.toml"'))
    cells = Scenario.read(path).cells
    assert [cell.method for cell in cells] == [dataclasses.replace(discover.settings("scrub"), lr=0.002), discover.settings("salun", "published")]
    assert cells[0].name.startswith("scrub_lr=0.002_3_s0_")
    path.write_text(DIGITS.replace('settings = ["headonly", "nothing"]\n', ""))
    with pytest.raises(BadArgument, match="settings"):
        Scenario.read(path)
    path.write_text(DIGITS.replace('settings = ["headonly", "nothing"]', 'files = "other/*.toml"'))
    with pytest.raises(BadArgument, match=r"files = 'other/\*.toml' names none"):
        Scenario.read(path)


def test_what_a_chain_has_forgotten_is_named_as_the_models_retrained_without_it_are(tmp_path):
    """In the order of the classes, whatever the order in which they went."""
    path = tmp_path / "chain.toml"
    path.write_text(DIGITS.partition("[[cells]]")[0] + '[[chains]]\nsetting = "nothing"\nclasses = [5, 3, 4]\nseed = 0\n')
    assert [cell.asked for cell in Scenario.read(path).cells] == ["class:5", "class:3,5", "class:3,4,5"]
    assert [cell.forget for cell in Scenario.read(path).cells] == ["class:5", "class:3", "class:4"]


def test_chains_that_end_alike_are_told_apart(tmp_path):
    """The name of a record says the chain's last class, and by its hash those before it."""
    path = tmp_path / "chain.toml"
    ways = ([5, 3], [4, 3], [5, 4, 3], [4, 5, 3], [3])
    path.write_text(DIGITS.partition("[[cells]]")[0] + "".join(f'[[chains]]\nsetting = "nothing"\nclasses = {way}\nseed = 0\n' for way in ways))
    cells = Scenario.read(path).cells
    last = [cell for cell in cells if cell.classes == (3,)]
    assert [[*cell.after, 3] for cell in last] == list(ways)
    assert all(cell.name.startswith("nothing_3_s0_") for cell in last)
    assert len({cell.name for cell in cells}) == len(cells)
    assert [cell.asked for cell in last] == ["class:3,5", "class:3,4", "class:3,4,5", "class:3,4,5", "class:3"]


def test_a_chain_goes_on_from_what_its_runs_before_left_whoever_ran_them(tmp_path, monkeypatch):
    """One shard has the last cell alone, and makes the runs before it itself; another setting's are not taken for them."""
    told, run = [], grid.unlearn

    def unlearn(module, split, method, **how):
        result = run(module, split, method, **how)
        told.append((files.weights_hash(module.state_dict()), tuple(split.classes), files.weights_hash(result.model.state_dict())))
        return result

    monkeypatch.setattr(grid, "unlearn", unlearn)
    path = tmp_path / "chain.toml"
    chain = '[[chains]]\nsetting = "{}"\nclasses = [5, 3]\nseed = 0\naudits = ["accuracy"]\n'
    path.write_text(DIGITS.partition("[[cells]]")[0] + chain.format("nothing") + chain.format("headonly"))
    scenario, subjects, held = Scenario.read(path), {}, {}
    last = [grid.run_cell(cell, scenario, subjects, held) for cell in scenario.cells if cell.after]
    (first, _, unchanged), (_, _, same), (again, one, after), (begun, both, end) = told
    assert first == unchanged == same == again
    assert (one, both) == ((5,), (3, 5))
    assert begun == after != first
    assert [found["output"]["sha256"] for found in last] == [same, end]
    assert [found["request"]["after"] for found in last] == [[5], [5]]
    assert [found["model"]["origin"] for found in last] == ["bundled", "bundled"]


def test_a_record_says_where_the_weights_came_from():
    """Those of digits, which the package brings, were called a published checkpoint."""
    bundled = files.weights_hash(load_model("digits").state_dict())
    found = [json.loads(path.read_bytes()) for path in (ROOT / "benchmarks" / "records").rglob("*.json")]
    said = {(r["model"]["sha256"], r["model"]["origin"]) for r in found if isinstance(r, dict) and r.get("schema") == record.SCHEMA}
    assert [origin for sha256, origin in said if sha256 == bundled] == ["bundled"]
    assert [sha256 for sha256, origin in said if origin == "bundled"] == [bundled]


def limited(unit: str, knows: int, retrained: list[float], mine: float, after: list[int] | None = None) -> dict:
    values = {"unlearned": cells(mine), "retrained": cells(*retrained)}
    row = {"name": "one-shot prototype", "unit": unit, "knows": knows, "values": values}
    request = {"classes": [3]} | ({"after": after} if after else {})
    return {"method": {"name": "unsir", "preset": None, "settings": {}}, "command": [], "seed": 0, "request": request, "audits": [{"rows": [row]}]}


@pytest.mark.parametrize("knows", [1, -1])
@pytest.mark.parametrize(("unit", "floor"), [("share", 0.01), ("steps", 2.5)])
def test_a_limit_is_that_of_the_verdict_and_what_is_beyond_it_on_the_side_of_knowing_more_is_marked(unit, floor, knows):
    """By scipy: retrained models that agree differ by the unit's floor at least."""
    retrained, m = [0.5] * 5, 5
    far = float(stats.t.isf(0.05, m - 1)) * floor * (1 + 1 / m) ** 0.5
    for side in (1, -1):
        (line,) = table.limits([limited(unit, knows, retrained, 0.5 + 2 * side * far)], "unsir", [3]).splitlines()[2:]
        _, _, edge, seed = (cell.strip() for cell in line.strip("|").split("|"))
        assert float(edge) == pytest.approx(0.5 + knows * far, abs=6e-4)
        assert ("beyond by" in seed) == (side == knows)
        assert side != knows or float(seed.rpartition(" ")[2].strip(")")) == pytest.approx(far, abs=6e-4)


def test_a_reference_without_nothing_is_refused_before_data_are_read(tmp_path, monkeypatch):
    path = tmp_path / "digits.toml"
    path.write_text(DIGITS)
    monkeypatch.setattr(Inputs, "open", None)
    with pytest.raises(BadArgument, match="names no class; write class:3,5"):
        grid.reference(Scenario.read(path), "class:", 0)
