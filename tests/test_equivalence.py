"""Two one-sided tests: beside scipy's t, on truths that are known, and without a say in the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from untrain.evidence.equivalence import equivalences, in_words, within, within_half
from untrain.evidence.listed import judged, needed

law = settings(deadline=None, max_examples=40)


@law
@given(seed=st.integers(0, 2**16), m=st.integers(2, 9), share=st.sampled_from([0.25, 0.5, 1.0]))
def test_the_tests_are_t_tests_of_the_distance_to_both_edges(seed, m, share):
    rng = np.random.default_rng(seed)
    references, original, x = rng.normal(size=m), rng.normal(), rng.normal()
    mean, s, way = references.mean(), references.std(ddof=1), abs(original - references.mean())
    sign = 1 if original >= mean else -1
    toward = stats.t.cdf((sign * (x - mean) - share * way) / (s * np.sqrt(1 + (1 - share) ** 2 / m)), m - 1)
    away = stats.t.cdf((-sign * (x - mean) - share * way) / (s * np.sqrt(1 + (1 + share) ** 2 / m)), m - 1)
    assert within(x, list(references), original, share, floor=0.0) == pytest.approx(max(toward, away), abs=1e-9)


@pytest.mark.parametrize("m", [2, 5, 8])
@pytest.mark.parametrize("edge", [0.5, -0.5, 0.9])
def test_a_model_at_the_edge_or_beyond_is_shown_near_no_oftener_than_the_level_says(m, edge):
    """Retrained models are drawn, the original stands at 8 of their deviations; at the edge itself the level is reached, within binomial bounds of 99.9 %."""
    rng, draws, way = np.random.default_rng(m), 4000, 8.0
    shown = sum(within(float(x), list(r), way, floor=0.0) <= 0.05 for x, r in zip(edge * way + rng.normal(size=draws), rng.normal(size=(draws, m)), strict=True))
    assert shown <= stats.binom.ppf(0.9995, draws, 0.05)
    if abs(edge) == 0.5 and m > 2:
        assert shown >= stats.binom.ppf(0.0005, draws, 0.05)


def test_models_that_agree_by_chance_show_no_more_than_the_smallest_spread_lets_them():
    assert within(0.4, [0.4] * 6, 0.44) > 0.05 > within(0.4, [0.4] * 6, 0.5)
    (near,) = equivalences(record(0.4, original=0.44, spread=0.0))
    assert not near.shown


def test_an_honest_model_is_mostly_shown_near_where_the_original_is_far_and_seldom_where_it_is_not():
    rng, draws, m = np.random.default_rng(0), 1000, 8
    near = [np.mean([within(float(rng.normal()), list(rng.normal(size=m)), way, floor=0.0) <= 0.05 for _ in range(draws)]) for way in (12.0, 4.0)]
    assert near[0] > 0.9
    assert near[1] < 0.5


@pytest.mark.parametrize("margin", [0.05, 0.1])
def test_of_as_many_samples_as_are_said_to_be_needed_eight_of_ten_are_shown_near_one_half(margin):
    """The formula that a verdict on a list tells, and AUCs of samples that are alike; and of such whose true AUC lies at the margin at most one in twenty."""
    rng, k, draws = np.random.default_rng(1), 2000, 1500
    n = needed(margin, k)
    se = np.sqrt((n + k + 1) / (12 * n * k))
    power = np.mean([within_half(auc, se, margin) <= 0.05 for auc in 0.5 + se * rng.normal(size=draws)])
    assert power == pytest.approx(0.8, abs=0.035)
    wrong = sum(within_half(auc, se, margin) <= 0.05 for auc in 0.5 + margin + se * rng.normal(size=draws))
    assert wrong <= stats.binom.ppf(0.9995, draws, 0.05)
    assert within_half(0.5, 0.0) == 1.0


# Records.


def value(number, n=100, **more):
    return {"value": number, "low": None, "high": None, "n": n, "beyond": False, **more}


def record(unlearned, *, original=0.9, spread=0.01, m=6, classes=(3,), rows=()):
    rng = np.random.default_rng(0)
    honest = [value(0.4 + spread * float(x)) for x in rng.normal(size=m)]
    row = {"name": "strangeness", "ideal": "as retrained", "unit": "share", "knows": 1, "what": "", "looks": "features", "judged": True}
    audits = [{"name": "strangeness", "question": "", "settings": {}, "figures": [], "skipped": None, "rows": []}]
    audits[0]["rows"] = [row | {"values": {"original": [value(original)], "unlearned": [value(unlearned)], "retrained": honest}}]
    audits += [{**audits[0], "name": "membership", "rows": [row | {"name": "membership", "values": {"unlearned": [v]}} for v in rows]}]
    golden = json.loads((Path(__file__).parent / "golden" / "record.json").read_text())
    made = golden | {"audits": audits, "request": {"forget": "x", "classes": list(classes), "names": [], "count": 60, "sha256": ""}, "run": golden["run"] | {"marks": []}}
    return made | {"verdict": judged(made)}


def test_rows_are_shown_near_only_not_seen_to_differ_or_found():
    (near,) = equivalences(record(0.4))
    assert near.shown
    assert near.margin == pytest.approx(0.25, abs=0.01)
    assert "nearer to retrained models than to the original, on either side: strangeness" in in_words(record(0.4))
    # Retrained models that differ among themselves show nothing of one that lies among them.
    wide = record(0.4, spread=0.4)
    (only,) = equivalences(wide)
    assert not only.shown
    assert not only.found
    assert in_words(wide) == "not seen to differ, and not shown to be as near: strangeness"
    # A little that is found is not shown near, though it lies well within the margin.
    (found,) = equivalences(record(0.5, spread=0.005))
    assert found.p < 0.05
    assert found.found
    assert not found.shown
    assert in_words(record(0.5, spread=0.005)) == ""
    assert equivalences(record(0.4, original=0.35)) == []
    assert equivalences(record(0.4, m=1)) == []
    # To an original without a number there is no way of which a half could be told.
    assert equivalences(record(0.4, original=None)) == []


def test_what_a_test_finds_is_not_called_unseen_whatever_the_verdict_names_first():
    """Of a ruined model no row is flagged, and RESIDUE names those that know more alone."""
    told = record(0.9)
    told["run"] = told["run"] | {"marks": ["collapsed"]}
    told["verdict"] = judged(told)
    assert (told["verdict"]["code"], told["verdict"]["flagged"]) == ("COLLAPSED", [])
    assert [(e.name, e.found, e.shown) for e in equivalences(told)] == [("strangeness", True, False)]
    assert in_words(told) == ""
    # On the side of knowing less too, beside an answer that is still given.
    told = record(0.2)
    named = {"name": "forgotten, test", "values": {"unlearned": [value(0.9, low=0.8, high=0.97)]}}
    told["audits"].append({**told["audits"][0], "name": "accuracy", "rows": [told["audits"][0]["rows"][0] | named]})
    told["verdict"] = judged(told)
    assert told["verdict"]["flagged"] == ["forgotten, test"]
    assert next(e for e in equivalences(told) if e.name == "strangeness").found
    told = record(0.4, classes=(), rows=[value(0.7, low=0.6, high=0.8, p=1e-4, least=0.1)])
    told["run"] = told["run"] | {"marks": ["collapsed"]}
    told["verdict"] = judged(told)
    assert [(e.name, e.found) for e in equivalences(told)] == [("strangeness", False), ("membership", True)]


def test_a_list_is_asked_whether_it_lies_near_one_half():
    told = record(0.4, classes=(), rows=[value(0.51, low=0.47, high=0.55, p=0.6, least=0.05)])
    (auc,) = (e for e in equivalences(told) if e.name == "membership")
    assert auc.p == pytest.approx(stats.norm.cdf((0.51 - 0.55) / (0.04 / stats.norm.ppf(0.975))), rel=1e-6)
    assert auc.shown
    # Each row is said to be near what it was compared with.
    assert in_words(told) == (
        "shown at 5 % to be nearer to retrained models than to the original, on either side: strangeness; shown at 5 % to be no trace (within 0.05 of one half): membership"
    )
    # Of an interval that was cut off the longer side counts.
    (cut,) = (e for e in equivalences(record(0.4, classes=(), rows=[value(0.5, low=0.46, high=0.52, p=0.6, least=0.05)])) if e.name == "membership")
    assert cut.p == pytest.approx(stats.norm.cdf(-0.05 / (0.04 / stats.norm.ppf(0.975))), rel=1e-6)
    # What the verdict on a list says is what it said: none is declared clean.
    assert told["verdict"]["code"] == "INCONCLUSIVE"
    for number, low, high in ((0.56, 0.52, 0.60), (0.5, 0.3, 0.7), (1.0, 0.94, 1.0), (0.0, 0.0, 0.06), (0.97, 0.92, 1.0)):
        found = equivalences(record(0.4, classes=(), rows=[value(number, low=low, high=high, p=0.5, least=0.1)]))
        assert not next(e for e in found if e.name == "membership").shown


@pytest.mark.parametrize("knows", [1, -1])
def test_a_row_is_asked_to_lie_within_half_of_the_way_whichever_side_knows_more(knows):
    """A row on which less is more knowledge has its original below the retrained models, and a way as long."""
    made = record(0.4 * knows, original=0.9 * knows, spread=0.0)
    for entry in made["audits"]:
        for row in entry["rows"]:
            row["knows"] = knows
            for values in row["values"]["retrained"]:
                values["value"] = 0.4 * knows
    (asked,) = equivalences(made)
    assert (asked.near, asked.margin) == (pytest.approx(0.4 * knows), pytest.approx(0.25))
    assert asked.shown
