"""What a record's numbers say of its own tests: power and what is left open, beside scipy and by draws; and honest models put in the model's place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from untrain.evidence.control import in_turn, reaches
from untrain.evidence.statistics import at_most, beyond, seen_from
from untrain.report.sections import reach

SHAPES = {"prototype": ["one-shot prototype", "head-reset relearning"], "strangeness": ["strangeness"]}


def audits(rng, m, *, known=0, spread=0.05, unlearned=0.4):
    """Audits of rows at .4 in retrained models and .9 in the original; so many of the retrained know it."""
    made = []
    for audit, names in SHAPES.items():
        rows = []
        for name in names:
            honest = [float(v) for v in 0.4 + spread * rng.normal(size=m - known)] + [0.9] * known
            values = {"original": [0.9], "unlearned": [unlearned], "retrained": honest}
            told = {column: [{"value": v, "low": None, "high": None, "n": 100, "beyond": False} for v in found] for column, found in values.items()}
            rows.append({"name": name, "ideal": "as retrained", "unit": "share", "knows": 1, "what": "", "looks": "features", "judged": True, "values": told})
        made.append({"name": audit, "question": "", "settings": {}, "rows": rows, "figures": [], "skipped": None})
    return made


@pytest.mark.parametrize("m", [2, 5, 8])
@pytest.mark.parametrize("level", [0.05, 0.0125])
def test_a_model_so_far_away_is_found_in_eight_of_ten_draws(m, level):
    rng, draws = np.random.default_rng(m), 4000
    one = rng.normal(size=m)
    spread = np.std(one, ddof=1) * (1 + 1 / m) ** 0.5
    far = (seen_from(list(one), +1, level) - one.mean()) / spread
    assert stats.nct.sf(stats.t.ppf(1 - level, m - 1), m - 1, far) == pytest.approx(0.8, abs=1e-4)
    assert seen_from(list(-one), -1, level) == pytest.approx(-seen_from(list(one), +1, level))
    models, x = rng.normal(size=(draws, m)), far * (1 + 1 / m) ** 0.5 + rng.normal(size=draws)
    found = sum(beyond(float(v), list(r), +1, floor=0.0) <= level for v, r in zip(x[:800], models[:800], strict=True))
    assert stats.binom.ppf(0.0005, 800, 0.8) <= found <= stats.binom.ppf(0.9995, 800, 0.8)


def test_what_is_left_is_at_most_that_in_nineteen_of_twenty_draws():
    rng, m, draws, truth = np.random.default_rng(0), 5, 2000, 1.3
    x, models = truth + rng.normal(size=draws), rng.normal(size=(draws, m))
    held = sum(at_most(float(v), list(r), +1, floor=0.0) >= truth for v, r in zip(x, models, strict=True))
    assert stats.binom.ppf(0.0005, draws, 0.95) <= held <= stats.binom.ppf(0.9995, draws, 0.95)
    # One of two one-sided tests puts it within the margin at exactly that level.
    margin = at_most(0.42, [0.4, 0.5, 0.45], +1)
    assert beyond(0.42 - margin, [0.4, 0.5, 0.45], -1) == pytest.approx(0.05)


def test_rows_say_what_they_see_and_what_they_leave_open():
    found = reaches(audits(np.random.default_rng(0), 8))
    assert [r.name for r in found] == ["one-shot prototype", "head-reset relearning", "strangeness"]
    for r in found:
        assert r.mean < r.seen < r.original == 0.9
        assert 0 < r.left < 0.5
        assert not r.never
    wide = reaches(audits(np.random.default_rng(0), 2, spread=0.2))
    assert any(r.never for r in wide)
    assert reaches(audits(np.random.default_rng(0), 1)) == []
    # Three exits share the level, on the page as in the verdict; what is left hangs on none.
    three = reaches(audits(np.random.default_rng(0), 8), 3)
    assert [r.left for r in three] == [r.left for r in found]
    assert all(a.seen < b.seen for a, b in zip(found, three, strict=True))
    record = json.loads((Path(__file__).parent / "golden" / "record.json").read_text()) | {"audits": audits(np.random.default_rng(0), 8)}
    assert str(reach(record)) != str(reach(record | {"exits": [{"name": "exit1", "audits": [], "verdict": None}] * 2}))
    # Who knows as much as the original may have all of it left.
    assert min(r.left for r in reaches(audits(np.random.default_rng(0), 8, unlearned=0.9))) > 1


def test_beside_an_original_without_a_number_nothing_is_said_of_what_is_left():
    """An infinite way would leave none of it."""
    for worst in (None, float("inf"), float("nan")):
        made = audits(np.random.default_rng(0), 5, unlearned=0.9)
        for entry in made:
            for row in entry["rows"]:
                row["values"]["original"][0]["value"] = worst
        assert [(r.original, r.left) for r in reaches(made)] == [(None, None)] * 3


@pytest.mark.parametrize("of", [1, 3])
def test_a_row_is_seen_from_where_it_would_be_found_at_its_share_of_the_level_on_both_sides(of):
    """By scipy's noncentral t: three rows of recovery share 5 %, on two sides, with the rows of the other exits."""
    made, m = audits(np.random.default_rng(0), 8), 8
    rows = {row["name"]: [v["value"] for v in row["values"]["retrained"]] for entry in made for row in entry["rows"]}
    for r in reaches(made, of):
        spread = np.std(rows[r.name], ddof=1) * (1 + 1 / m) ** 0.5
        assert stats.nct.sf(stats.t.isf(0.05 / (2 * of * 3), m - 1), m - 1, (r.seen - r.mean) / spread) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("m", [2, 5, 8])
@pytest.mark.parametrize("knows", [1, -1])
def test_a_prediction_from_retrained_models_is_that_of_a_t_test(m, knows):
    rng = np.random.default_rng(m)
    for floor in (0.0, 3.0):
        models, x = rng.normal(size=m), float(rng.normal())
        spread = max(models.std(ddof=1), floor) * (1 + 1 / m) ** 0.5
        assert beyond(x, list(models), knows, floor) == pytest.approx(stats.t.sf(knows * (x - models.mean()) / spread, m - 1))


def test_of_honest_models_none_is_found_in_turn_and_one_that_knows_is():
    rng = np.random.default_rng(1)
    # Closer to each other than a row's smallest spread: none can be found by chance.
    assert set(in_turn(audits(rng, 8, spread=0.002))) <= {"NO_RESIDUE", "INCONCLUSIVE"}
    assert in_turn(audits(rng, 4)) == []
    codes = in_turn(audits(rng, 8, known=1, spread=0.01))
    assert codes[-1] == "RESIDUE"
    assert not {"RESIDUE", "UNLIKE"} & set(codes[:-1])


def test_honest_models_in_turn_are_found_no_oftener_than_a_verdict_alarms():
    """Normal rows, three of them at 5 % together over both sides: at most the binomial bound of .05 of 1,600 that depend on each other in eights."""
    rng = np.random.default_rng(2)
    codes = [code for _ in range(60) for code in in_turn(audits(rng, 8))]
    assert sum(code in ("RESIDUE", "UNLIKE") for code in codes) <= stats.binom.ppf(0.999, len(codes), 0.07)


def test_of_a_list_each_honest_model_takes_its_turn_before_the_rank_tests():
    """One that a rank test finds is found, by the name of the verdict on a list; where classes are asked after, the same row says nothing."""
    ps = [0.9, 0.8, 0.7, 0.6, 0.5, 1e-9]
    values = {"unlearned": [{"value": 0.5, "p": 1.0, "least": 0.1}], "retrained": [{"value": 0.8 if p < 0.05 else 0.5, "p": p, "least": 0.1} for p in ps]}
    filled = {column: [{"low": 0.4, "high": 0.9, "n": 200, "beyond": False} | value for value in found] for column, found in values.items()}
    asked = [{"name": "membership", "skipped": None, "figures": [], "rows": [{"name": "membership", "unit": "share", "knows": 1, "values": filled}]}]
    assert in_turn(asked, count=200) == [*["INCONCLUSIVE"] * 5, "RESIDUE"]
    assert in_turn(asked) == ["INCONCLUSIVE"] * 6
    record = json.loads((Path(__file__).parent / "golden" / "record.json").read_text())
    page = str(reach(record | {"audits": asked, "request": record["request"] | {"classes": [], "names": [], "count": 200}}))
    assert "1 of these 6 honest models was found" in page


def test_the_page_tells_it_where_there_are_retrained_models():
    record = json.loads((Path(__file__).parent / "golden" / "record.json").read_text())
    page = str(reach(record | {"audits": audits(np.random.default_rng(0), 6, spread=0.002)}))
    assert "What could have been seen" in page
    assert "0 of these 6 honest models were found" in page
    assert "found in 8 of 10 cases from" in page
    assert str(reach(record | {"audits": audits(np.random.default_rng(0), 1)})) == ""
