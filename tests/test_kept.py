"""What a model cost, paired by image with the original: Tango's interval beside other ways to it, and what is said of what was to be kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from untrain.audits.accuracy import Accuracy
from untrain.core.counting import paired
from untrain.core.data import Samples
from untrain.core.errors import BadArgument
from untrain.evidence.kept import MARGIN, kept
from untrain.evidence.listed import judged
from untrain.report.figures import figure
from untrain.report.page import render

law = settings(deadline=None, max_examples=40)


@pytest.mark.parametrize(
    ("counts", "level", "wanted", "places"),
    [
        ((1, 7, 21), 0.95, (-0.517, -0.026), 3),  # airway hyper-responsiveness, Fagerland et al., 2014, Statistics in Medicine 33:2850
        ((28, 25, 618), 0.9, (-0.0148, 0.0247), 4),  # PropCIs::scoreci.mp(25, 28, 618, .9) of R
    ],
)
def test_the_interval_is_that_of_published_examples(counts, level, wanted, places):
    assert tuple(round(end, places) for end in paired(*counts, level)) == wanted


@law
@given(n=st.integers(2, 200), b=st.integers(0, 40), c=st.integers(0, 40))
def test_its_ends_are_where_the_score_test_finds_the_difference(n, b, c):
    """The nuisance parameter by the likelihood's largest value, searched for, in place of the root of a quadratic; both ends lie at z."""
    b, c = min(b, n), min(c, n - min(b, n))

    def z(d):
        def less(lost):
            parts = [(b, lost + d), (c, lost), (n - b - c, 1 - d - 2 * lost)]
            return -sum(k * np.log(max(p, 1e-300)) for k, p in parts if k)

        low, high = max(0.0, -d), (1 - d) / 2
        lost = optimize.minimize_scalar(less, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
        return ((b - c) / n - d) / np.sqrt(max((2 * lost + d - d * d) / n, 1e-300))

    low, high = paired(b, c, n)
    assert -1 <= low <= (b - c) / n <= high <= 1
    wanted = stats.norm.isf(0.025)
    if low > -1 + 1e-6:
        assert z(low) == pytest.approx(wanted, rel=2e-3)
    if high < 1 - 1e-6:
        assert z(high) == pytest.approx(-wanted, rel=2e-3)


@law
@given(n=st.integers(1, 300), b=st.integers(0, 300), c=st.integers(0, 300))
def test_who_gains_and_who_loses_change_places(n, b, c):
    b, c = min(b, n), min(c, n - min(b, n))
    assert paired(b, c, n) == pytest.approx(tuple(-end for end in reversed(paired(c, b, n))), abs=1e-12)


@pytest.mark.parametrize("n", [1, 20, 5000])
def test_of_identical_answers_the_ends_are_those_of_a_closed_form(n):
    square = stats.norm.isf(0.025) ** 2
    assert paired(0, 0, n) == pytest.approx((-square / (n + square), square / (n + square)), abs=1e-9)
    with pytest.raises(BadArgument, match="no samples"):
        paired(0, 0, 0)


@pytest.mark.parametrize(("n", "b", "c"), [(400, 0.01, 0.03), (100, 0.05, 0.05), (1000, 0.0, 0.02), (60, 0.2, 0.1)])
def test_it_holds_the_difference_about_as_often_as_it_says(n, b, c):
    rng = np.random.default_rng(n)
    ends = [paired(int(g), int(lost), n) for g, lost, _ in rng.multinomial(n, [b, c, 1 - b - c], 2000)]
    assert 0.93 < np.mean([low <= b - c <= high for low, high in ends]) < 0.985


def test_what_is_worse_by_the_margin_is_seldom_shown_to_be_kept():
    """At the margin itself one end of a 95 % interval lies on the wrong side in 2.5 %; binomial bound of 99.9 %, and the interval's own error beside it."""
    rng, n, draws = np.random.default_rng(0), 2000, 2000
    counts = rng.multinomial(n, [0.01, 0.01 + MARGIN, 0.98 - MARGIN], draws)
    told = ({"audits": [{"name": "accuracy", "rows": [row("retained", int(b), int(c), n)]}]} for b, c, _ in counts)
    shown = sum("is shown to be named as well as" in kept(one) for one in told)
    assert stats.binom.ppf(0.0005, draws, 0.015) <= shown <= stats.binom.ppf(0.9995, draws, 0.03)


# The audit.


class Says:
    """A model that answers each sample, a number, with the logits that stand in a list."""

    def __init__(self, logits):
        self.logits = logits

    def on(self, samples):
        return self.logits[samples.batch(torch.arange(len(samples)))[0][:, 0].long()], samples.y, None


@pytest.fixture(scope="module")
def cost():
    """300 images of each of 5 classes, class 4 forgotten; the original is wrong on 30 of each, the model on 30 others of class 1 too, and on 60 more of class 3."""
    labels = torch.arange(5).repeat_interleave(300)
    test = Samples(torch.arange(1500)[:, None].float(), labels, names=["a", "b", "c", "d", "e"])
    right = torch.arange(1500) % 300 >= 30
    before = torch.nn.functional.one_hot(torch.where(right, labels, (labels + 1) % 4), 5) * 9.0
    # What it sees in the forgotten, themselves aside: most of all class 3, then 1.
    before[1200:, :4] += torch.tensor([0.0, 2.0, 1.0, 3.0])
    right[0:30] = True
    right[300:330], right[330:360] = True, False
    right[930:990] = False
    after = torch.nn.functional.one_hot(torch.where(right, labels, (labels + 1) % 4), 5) * 9.0
    return Accuracy()(Says(after), test=test, retain=test, classes=(4,), original=Says(before)), test, Says(before)


def test_what_it_cost_is_told_of_all_that_is_kept_of_the_neighbours_and_class_by_class(cost):
    found = cost[0]
    kept_all, near = (found.values[f"{name}, less the original"] for name in ("retained", "neighbours"))
    # Class 0 gains 30, class 1 gains 30 and loses as many, class 3 loses 60.
    assert (kept_all.value, kept_all.low, kept_all.high, kept_all.n) == (-30 / 1200, *paired(60, 90, 1200), 1200)
    assert (near.value, near.low, near.high, near.n) == (-60 / 600, *paired(30, 90, 600), 600)
    assert found.bars["less the original, by class"] == {"a": 0.1, "b": 0.0, "c": 0.0, "d": -0.2}
    assert found.bars["less the original, neighbours"] == {"d": -0.2, "b": 0.0}
    assert (found.values["classes named worse"].value, found.values["classes named worse"].n) == (1.0, 4)


@pytest.mark.parametrize("lost", range(4, 12))
def test_a_class_counts_as_worse_from_where_mcnemar_and_holm_say_so(cost, lost):
    """Each of four classes loses as many as another, but one that loses nothing: p is compared with a quarter of 5 %."""
    _, test, original = cost
    after = original.logits.clone()
    for c in range(3):
        after[torch.arange(30, 30 + lost) + 300 * c] = -after[torch.arange(30, 30 + lost) + 300 * c]
    found = Accuracy()(Says(after), test=test, retain=test, classes=(4,), original=original)
    wanted = 3.0 if stats.binomtest(0, lost).pvalue <= 0.05 / 4 else 0.0
    assert found.values["classes named worse"].value == wanted


def test_the_same_model_is_worse_nowhere_and_the_original_is_not_beside_itself(cost):
    _, test, original = cost
    same = Accuracy()(Says(original.logits.clone()), test=test, retain=test, classes=(4,), original=original).values
    assert {same[name].value for name in ("retained, less the original", "neighbours, less the original", "classes named worse")} == {0.0}
    itself = Accuracy()(original, test=test, retain=test, classes=(4,), original=original)
    assert not {name for name in (*itself.values, *itself.bars) if "less the original" in name or name == "classes named worse"}


def test_where_two_classes_or_no_more_are_kept_or_samples_are_forgotten_nothing_is_told_of_neighbours(cost):
    _, test, original = cost
    other = Says(original.logits.clone())
    for classes in ((2, 3, 4), ()):
        values = Accuracy()(other, test=test, retain=test, classes=classes, original=original).values
        assert "retained, less the original" in values
        assert "neighbours, less the original" not in values


# What is said.


def row(name, gained, lost, n):
    """What it cost, as a record has it."""
    low, high = paired(gained, lost, n)
    value = {"value": (gained - lost) / n, "low": low, "high": high, "n": n, "beyond": False}
    return {"name": f"{name}, less the original", "ideal": "high", "unit": "share", "knows": 0, "what": "", "values": {"unlearned": [value]}}


def record(*retained, near=None):
    """The golden record, and in it what it cost."""
    made = json.loads((Path(__file__).parent / "golden" / "record.json").read_text())
    rows = next(audit["rows"] for audit in made["audits"] if audit["name"] == "accuracy")
    rows += [row("retained", *retained)] + ([row("neighbours", *near)] if near else [])
    return made


def test_each_of_three_things_is_said_where_the_interval_shows_it():
    good = "what it was to keep is shown to be named as well as by the original, to within 2 points (+0.0, 95 % -0.1 to +0.1, n = 9,000)"
    assert kept(record(10, 12, 9000)) == good
    assert "is shown to be named worse than by the original, by more than 2 points (-5.0," in kept(record(0, 450, 9000))
    assert "is not shown to be named as well as by the original, to within 2 points (-2.0," in kept(record(0, 2, 100))
    # Worse than the original, and not known whether by so much.
    assert "is not shown to be named as well as by the original, to within 2 points (-3.0, 95 % -4.5 to -1.7" in kept(record(10, 40, 1000))
    near = "; the two kept classes nearest to what was forgotten are shown to be named worse than by the original, by more than 2 points (-15.0,"
    assert kept(record(10, 12, 9000, near=(5, 305, 2000))).startswith(good + near)


@pytest.mark.parametrize("counts", [(10, 12, 9000), (0, 450, 9000), (0, 2, 100)])
def test_it_stands_on_the_page_and_no_verdict_hangs_on_it(counts):
    told = record(*counts)
    before = json.loads((Path(__file__).parent / "golden" / "record.json").read_text())
    assert judged(told) == judged(before)
    assert kept(told)[1:] + ". No verdict hangs on it." in render(told)
    assert kept(before) == ""
    assert "No verdict hangs on it" not in render(before)
    assert "No verdict hangs on it" not in render(told, ["its seal does not fit"])


def test_a_value_without_an_interval_shows_nothing():
    told = record(10, 12, 9000)
    value = next(row for audit in told["audits"] for row in audit["rows"] if row["name"] == "retained, less the original")["values"]["unlearned"][0]
    value["low"] = None
    assert kept(told) == ""


@pytest.mark.parametrize(("heights", "wanted"), [((-0.5, 0.25), (-0.54, 0.27)), ((-0.5, -0.25), (-0.54, 0.0)), ((0.5, 0.25), (0.0, 0.54)), ((0.0, 0.0), (0.0, 1.0))])
def test_bars_of_many_classes_reach_below_nothing_where_there_is_less(heights, wanted):
    bars = {str(i): heights[i % 2] for i in range(40)}
    raw = {"name": "less", "kind": "bars", "x": "class", "y": "test accuracy less the original's", "series": {"unlearned": [bars]}}
    assert figure(raw, {"unlearned": "unlearned"}).spec["layout"]["yaxis"]["range"] == pytest.approx(wanted)
