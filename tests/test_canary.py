"""Canaries: coins that fall before the training, an exact null for whoever knows nothing of them, and networks whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import untrain
from blobs import blobs, taught
from untrain.audits.canary import Canary
from untrain.core.audit import audit
from untrain.core.canary import draw_canaries
from untrain.core.data.overlap import places
from untrain.core.errors import BadArgument
from untrain.metrics.coins import coin_p, epsilon_at_least, guesses, least_share

law = settings(max_examples=40, deadline=None)


@law
@given(seed=st.integers(0, 2**16), n=st.integers(20, 80))
def test_canaries_are_taken_out_mislabelled_and_put_back_by_coins(seed, n):
    train = blobs(n, seed)
    drawn = draw_canaries(train, 10, seed=seed)
    assert len(drawn.every) == 10
    mine, there = places(drawn.every), places(drawn.train)
    assert [place in set(there) for place in mine] == drawn.inside.tolist()
    assert len(set(there)) == len(there) == n - 10 + int(drawn.inside.sum())
    right = dict(zip(places(train), train.y.tolist(), strict=True))
    assert all(right[place] != label for place, label in zip(mine, drawn.every.y.tolist(), strict=True))
    assert all((right[place] == label) == (place not in set(mine)) for place, label in zip(there, drawn.train.y.tolist(), strict=True))
    assert [places(draw_canaries(train, 10, seed=seed).every), draw_canaries(train, 10, seed=seed).inside.tolist()] == [mine, drawn.inside.tolist()]
    if int(drawn.inside.sum()) > 0:
        split = drawn.split(blobs(10, 1))
        assert sorted(places(split.forget)) == sorted(place for place, inside in zip(mine, drawn.inside.tolist(), strict=True) if inside)


def test_coins_are_fair_and_independent_of_samples_and_labels():
    train = blobs(400, 0)
    inside = torch.stack([draw_canaries(train, 200, seed=seed).inside for seed in range(50)]).double()
    assert abs(float(inside.mean()) - 0.5) < 3.3 * 0.5 / 100
    drawn = [draw_canaries(train, 200, seed=seed) for seed in range(50)]
    each = [(float(d.inside[d.every.y == c].double().mean()), int((d.every.y == c).sum())) for d in drawn for c in range(4)]
    assert stats.chi2.sf(sum((share - 0.5) ** 2 * 4 * n for share, n in each), len(each)) > 0.001


@law
@given(right=st.integers(0, 60), more=st.integers(0, 60))
def test_p_and_the_bound_are_scipys(right, more):
    n = right + more
    if n:
        assert coin_p(right, n) == pytest.approx(stats.binomtest(right, n).pvalue, rel=1e-9)
        low = stats.binomtest(right, n, alternative="greater").proportion_ci(0.95).low
        assert epsilon_at_least(right, n) == pytest.approx(max(0.0, np.log(low / (1 - low)) if low > 0 else 0.0), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("n", [20, 100, 200, 1000])
def test_the_least_share_is_found_in_eight_of_ten_cases(n):
    q = 0.5 + least_share(n)
    found = sum(stats.binom.pmf(c, n, q) for c in range(n + 1) if stats.binomtest(c, n).pvalue <= 0.05 and c > n / 2)
    assert found == pytest.approx(0.8, abs=1e-6)


def test_whoever_knows_nothing_of_the_coins_is_flagged_no_oftener_than_is_said():
    """Any scores at all; binomial bounds of 99.9 %, and the null is that of scipy's binomial."""
    rng, draws = np.random.default_rng(0), 4000
    scores = torch.tensor(rng.standard_cauchy(60))
    found = [guesses(scores, torch.tensor(rng.random(60) < 0.5))[0] for _ in range(draws)]
    wanted = stats.binom.pmf(range(61), 60, 0.5) * draws
    counts = np.bincount(found, minlength=61)
    many = wanted > 5
    assert stats.chisquare([*counts[many], counts[~many].sum()], [*wanted[many], wanted[~many].sum()]).pvalue > 0.001
    hits = sum(coin_p(c, 60) <= 0.05 for c in found)
    assert hits <= stats.binom.ppf(0.9995, draws, 0.05)


def test_half_of_those_that_are_guessed_are_said_to_be_inside():
    scores, inside = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0]), torch.tensor([True, True, False, False, True])
    assert guesses(scores, inside) == (3, 4)
    assert guesses(scores, inside, 2) == (1, 2)
    assert guesses(torch.zeros(1), torch.tensor([True])) == (0, 0)


# A network that learns its samples by heart


@pytest.fixture(scope="module")
def drawn():
    return draw_canaries(blobs(400, 0), 120, seed=7)


def test_a_model_that_was_trained_on_them_tells_the_coins_and_one_that_was_not_does_not(drawn):
    split = drawn.split(blobs(200, 1))
    original = taught(drawn.train, 0)
    retrained = [taught(split.retain, seed) for seed in (1, 2, 3)]
    (entry,) = audit(original, split, [Canary()], original=original, retrained=retrained)
    rows = {row["name"]: row["values"] for row in entry["rows"]}
    own = rows["coins guessed"]["unlearned"][0]
    assert own["value"] > 0.9
    assert own["p"] < 1e-6
    assert own["low"] < own["value"] < own["high"]
    assert rows["epsilon at least"]["unlearned"][0]["value"] > 1.5
    assert all(value["p"] > 0.005 and value["least"] < 0.15 for value in rows["coins guessed"]["retrained"])
    assert max(value["value"] for value in rows["epsilon at least"]["retrained"]) < 0.6


def test_canaries_of_another_request_are_not_judged(drawn):
    split = drawn.split(blobs(200, 1))
    other = split.replaced(forget=split.retain[:50])
    (entry,) = audit(taught(split.retain, 0, steps=2), other, [Canary()])
    assert "0 of the canaries are among them" in entry["skipped"]


@pytest.mark.parametrize("guessed", [1, 3, -2])
def test_a_number_to_guess_that_has_no_half_is_refused(guessed):
    with pytest.raises(BadArgument, match=f"guessed={guessed}: half are said to be inside"):
        Canary(guessed=guessed)


def test_so_many_are_guessed_as_is_asked_for_and_a_single_one_is_not(drawn):
    split = drawn.split(blobs(200, 1))
    model = taught(split.retain, 0, steps=2)
    (entry,) = audit(model, split, [Canary(guessed=40)])
    assert entry["rows"][0]["values"]["unlearned"][0]["n"] == 40
    lone = split.replaced(forget=split.forget[:1], canaries=split.forget[:1])
    (entry,) = audit(model, lone, [Canary()])
    assert "a single canary has no other to be told from" in entry["skipped"]


@pytest.mark.parametrize(("m", "said"), [(9, "draw 10 or more"), (21, "at most half")])
def test_numbers_of_canaries_that_make_no_sense_are_refused(m, said):
    with pytest.raises(BadArgument, match=said):
        draw_canaries(blobs(40, 0), m)
    with pytest.raises(BadArgument, match="one class"):
        draw_canaries(blobs(400, 0)[blobs(400, 0).y == 1], 10)
    assert untrain.draw_canaries is draw_canaries
