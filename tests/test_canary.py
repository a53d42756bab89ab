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
from untrain.metrics.coins import GUESSED, coin_p, epsilon_at_least, epsilon_between, guesses, least_share

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


@law
@given(seed=st.integers(0, 2**16), n=st.integers(1, 150), shift=st.sampled_from([0.0, 1.0, 4.0]))
def test_the_bound_between_two_groups_is_the_best_of_several_numbers_of_guesses_each_at_its_share_of_the_level(seed, n, shift):
    """By scipy's binomial and a search for the largest epsilon that is refused; scores are all different, and as many on either side, so that nothing is drawn."""
    rng = np.random.default_rng(seed)
    mine, others = shift + rng.normal(size=n), rng.normal(size=n)
    ranked = sorted([*((v, True) for v in mine), *((v, False) for v in others)], reverse=True)
    numbers = {r for r in GUESSED if r < 2 * n} | {2 * n}
    best = 0.0
    for r in numbers:
        right = sum(inside for _, inside in ranked[: r // 2]) + sum(not inside for _, inside in ranked[len(ranked) - r // 2 :])
        eps = np.linspace(0, 6, 1201)
        best = max([best, *eps[stats.binom.sf(right - 1, r, np.exp(eps) / (1 + np.exp(eps))) < 0.05 / len(numbers)]])
    label = torch.zeros(n)
    found, drawn = epsilon_between(torch.tensor(mine), torch.tensor(others), (label, label))
    assert drawn == 2 * n
    assert found == pytest.approx(best, abs=0.006)


@pytest.mark.parametrize("counts", [(40, 40), (15, 300), (300, 15)])
def test_groups_that_are_alike_have_a_bound_above_nothing_no_oftener_than_is_said(counts):
    """Two classes whose scores differ, and scores that are often the same; binomial bound of 99.9 %."""
    g, draws = torch.Generator().manual_seed(0), 1000
    labels = [torch.arange(n) % 3 == 0 for n in counts]
    torch.manual_seed(0)
    above = 0
    for _ in range(draws):
        scores = [torch.randn(n, generator=g).mul(2).round() + 5 * label for n, label in zip(counts, labels, strict=True)]
        above += epsilon_between(*scores, tuple(labels))[0] > 0
    assert above <= stats.binom.ppf(0.9995, draws, 0.05)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_where_answers_are_randomised_the_bound_lies_below_their_epsilon_and_not_far(epsilon):
    """Randomised response: each sample tells the truth of itself with chance e^eps / (1 + e^eps), and so no attack has more than eps. Binomial bound of 99.9 %."""
    rng, draws, n = np.random.default_rng(0), 400, 400
    label = torch.zeros(n)
    torch.manual_seed(0)
    truth = np.arange(2 * n) < n
    found = []
    for _ in range(draws):
        said = truth == (rng.random(2 * n) < np.exp(epsilon) / (1 + np.exp(epsilon)))
        score = torch.tensor(said + 0.01 * rng.normal(size=2 * n))
        found.append(epsilon_between(score[:n], score[n:], (label, label))[0])
    assert sum(e > epsilon for e in found) <= stats.binom.ppf(0.9995, draws, 0.05)
    assert np.median(found) > 0.5 * epsilon


def test_a_draw_and_a_tie_hang_neither_on_the_order_of_samples_nor_on_who_comes_first():
    g = torch.Generator().manual_seed(0)
    mine, others = torch.randn(30, generator=g).round() + 1, torch.randn(200, generator=g).round()
    one, other = torch.arange(30) % 2, torch.arange(200) % 2

    def bound(first, second):
        torch.manual_seed(1)
        return epsilon_between(mine[first], others[second], (one[first], other[second]))

    plain = bound(torch.arange(30), torch.arange(200))
    # As many of either side in each of both classes.
    assert plain[1] == 60
    assert epsilon_between(mine, others, (one, (torch.arange(200) >= 3).long()))[1] == 2 * (3 + 15)
    assert {bound(torch.randperm(30, generator=g), torch.randperm(200, generator=g)) for _ in range(10)} == {plain}
    torch.manual_seed(0)
    assert epsilon_between(torch.ones(200), torch.ones(200), (torch.zeros(200), torch.zeros(200)))[0] == 0
    # A label that one side alone has compares nobody.
    assert epsilon_between(torch.ones(5), torch.zeros(5), (torch.zeros(5), torch.ones(5))) == (0.0, 0)


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
