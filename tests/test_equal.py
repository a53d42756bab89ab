"""Equal budgets: what is searched follows from a method's fields, what is kept is the best of the record, and the page says what the records say."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from untrain.core.discover import found, settings
from untrain.core.errors import Diverged
from untrain.core.settings import read_settings

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def equal(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("equal")
    for name in ("equal", "tune", "asked"):
        sys.modules.pop(name, None)


def test_what_is_searched_is_each_rate_and_one_strength_within_ten_times_the_default(equal):
    assert equal.space(settings("scrub")) == {"lr": (5e-5, 5e-3, False)}
    assert equal.space(settings("salun")) == {"lr": (6.5e-4, 6.5e-2, False), "share": (0.05, 1.0, False)}
    # Of what is near 1 the distance from it.
    assert equal.space(settings("neggradplus"))["alpha"] == (0.001, 0.1, True)
    assert equal.set_to(settings("neggradplus"), {"lr": 0.02, "alpha": 0.05}) == dataclasses.replace(settings("neggradplus"), lr=0.02, alpha=0.95)
    for name in found("methods").keys() - equal.LEFT_OUT.keys():
        method = settings(name)
        assert equal.set_to(method, equal.asked(name, [])) == method, name


def test_the_score_is_what_is_kept_less_what_is_named_or_minus_that_alone(equal):
    assert equal.score({"forgotten": 0.0, "retained": 0.9}) == pytest.approx(0.9)
    assert equal.score({"forgotten": 0.1, "retained": 0.9}) == pytest.approx(0.8)
    assert equal.score({"forgotten": 0.2, "retained": 0.9}) == pytest.approx(-0.2)


def test_a_trial_is_worth_its_worse_class_and_ends_where_it_cannot_be_the_best(equal):
    class Ground:
        classes, asked = (1, 7), []

        def run(self, method, label, audits):
            self.asked.append((method.lr, label))
            if method.lr == 0.5:
                raise Diverged("it went to NaN", "ascend")
            named, kept = {1: (0.0, 0.8), 7: (0.05, 0.9)}[label] if method.lr != 0.25 else (0.4, 0.95)
            return SimpleNamespace(passes=10, seconds=1.0), {f"{part}, test": {"unlearned": [{"value": v}]} for part, v in (("forgotten", named), ("retained", kept))}

    def told(lr, best):
        Ground.asked.clear()
        line = equal.trial(Ground(), "neggrad", {"lr": lr}, best)
        return line["score"], line["passes"], [label for _, label in Ground.asked]

    assert told(0.1, -1.0) == (0.8, 20, [1, 7])
    assert told(0.1, 0.8) == (0.8, 10, [1])
    assert told(0.25, -1.0) == (-0.4, 20, [1, 7])
    assert told(0.5, -1.0) == (-1.0, 0, [1])


def test_what_is_kept_is_the_best_of_twelve_trials(equal):
    kept = {path.stem for path in equal.KEPT.glob("*.toml")}
    assert kept == {name for name, _ in equal.whole()}
    for name, trials in equal.whole():
        top = equal.best(trials)
        assert len(top["classes"]) == 2
        assert top["score"] == pytest.approx(min(map(equal.score, top["classes"].values())), abs=1e-3)
        assert read_settings(equal.KEPT / f"{name}.toml") == equal.set_to(settings(name), top["at"])
        assert trials[0]["at"] == equal.asked(name, [])
        assert trials[0]["score"] <= top["score"]


def test_the_page_says_what_the_records_say(equal):
    text = equal.PAGE.read_text()
    assert equal.placed(text, "equal budgets", equal.drawn()) == text
