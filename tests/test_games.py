"""RULI's two games and IAM: densities beside scikit-learn's and scipy's, groups whose truth is known, and networks that learn their samples by heart."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.neighbors import KernelDensity

from blobs import blobs, taught
from untrain.audits.exposure import Exposure
from untrain.audits.iam import IAM
from untrain.core.audit import Shadow, audit, halves
from untrain.core.data import Split
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune
from untrain.metrics.ranked import ranked
from untrain.metrics.shadow import gumbel_signal, iam, kernel_ratio

seeds = st.integers(0, 2**16)
law = settings(max_examples=25, deadline=None)


@law
@given(seed=seeds, s=st.integers(2, 8), r=st.integers(2, 8), h=st.sampled_from([0.5, 1.0]))
def test_the_ratio_of_densities_is_that_of_scikit_learns(seed, s, r, h):
    rng = np.random.default_rng(seed)
    own, one, other = rng.normal(size=3), rng.normal(size=(s, 3)), 2 + rng.normal(size=(r, 3))
    inside, outside = rng.random((s, 3)) < 0.5, rng.random((r, 3)) < 0.5
    inside[0], outside[0] = True, True
    got = kernel_ratio(*map(torch.tensor, (own, one, inside, other, outside)), h)
    for i in range(3):
        logs = [KernelDensity(bandwidth=h).fit(m[w[:, i], i][:, None]).score_samples(own[i : i + 1, None])[0] for m, w in ((one, inside), (other, outside))]
        assert float(got[i]) == pytest.approx(logs[0] - logs[1], abs=1e-9)


@pytest.mark.parametrize("d", [0.5, 1.0, 2.0])
def test_of_two_normal_groups_d_apart_the_game_has_the_auc_that_theory_has(d):
    rng, n, s = np.random.default_rng(1), 1500, 200
    hard = 3 * rng.normal(size=2 * n)
    member = rng.random((s, 2 * n)) < 0.5
    shadows = torch.tensor(hard + d * member + rng.normal(size=(s, 2 * n)))
    own = torch.tensor(hard + d * (np.arange(2 * n) < n) + rng.normal(size=2 * n))
    found = kernel_ratio(own, shadows, torch.tensor(member), shadows, torch.tensor(~member))
    wanted = stats.norm.cdf(d / math.sqrt(2))
    assert abs(ranked(found[:n], found[n:]).auc - wanted) < 3 * math.sqrt(wanted * (1 - wanted) / n)


@law
@given(seed=seeds, m=st.integers(1, 4), n=st.integers(2, 6), points=st.sampled_from([2, 5, 100]), certain=st.booleans())
def test_iam_is_a_weighted_mean_of_scipys_gumbel_distribution(seed, m, n, points, certain):
    rng = np.random.default_rng(seed)
    own, unseen, fitted = rng.random(n), rng.random((m, n)), np.ones(n) if certain else rng.random(n)

    def signal(p):
        return -np.log(0.01 - np.log(p + 1e-5))

    got = iam(torch.tensor(own), torch.tensor(unseen), None if certain else torch.tensor(fitted), points)
    steps, told = np.linspace(0, 1, points), np.zeros(n)
    for alpha, weight in pairwise(steps):
        between = (1 - alpha) * signal(unseen) + alpha * signal(fitted)
        for i in range(n):
            mean, beta = between[:, i].mean(), np.sqrt(6) * between.std() / np.pi
            with np.errstate(over="ignore"):
                told[i] += weight * stats.gumbel_r.cdf(signal(own[i]), mean - np.euler_gamma * beta, beta)
    assert got.numpy() == pytest.approx(1 - told / steps[1:].sum(), abs=1e-9)
    assert gumbel_signal(torch.tensor(own)).numpy() == pytest.approx(signal(own))


def test_one_shadow_sees_more_than_the_population_and_of_models_alike_nothing():
    """Samples of unequal difficulty; those forgotten are .8 surer than a model that never saw them, whose one shadow errs as much as the model does."""
    rng, n = np.random.default_rng(0), 1000
    hard, noise = 2 * rng.normal(size=2 * n), lambda: 0.5 * rng.normal(size=2 * n)
    logit = torch.tensor(hard + noise())
    unseen = torch.tensor(hard + noise()).sigmoid()[None]
    known = torch.where(torch.arange(2 * n) < n, logit + 0.8, logit)

    def auc(of, shadows=unseen):
        told = -iam(of.sigmoid(), shadows)
        return ranked(told[:n], told[n:]).auc

    population = ranked(known[:n], known[n:]).auc
    best = stats.norm.cdf(0.8 / (0.5 * 2))
    assert population + 0.05 < auc(known) < best + 0.02
    assert abs(auc(logit) - 0.5) < 3 * math.sqrt(1 / 12 * 2 / n)
    # The very same samples on both sides: one half, to the last digit.
    twice = torch.cat([logit[:n], logit[:n]])
    assert auc(twice, torch.cat([unseen[:, :n], unseen[:, :n]], 1)) == 0.5


def test_samples_that_are_like_the_hold_out_are_found_no_oftener_than_is_said():
    """600 draws of forgotten and never seen alike, by one shadow; binomial bounds of 99.9 %."""
    rng, n, k, draws, hits = np.random.default_rng(3), 25, 30, 600, {0.05: 0, 0.01: 0}
    for _ in range(draws):
        hard = 2 * rng.normal(size=n + k)
        told = -iam(torch.tensor(hard + rng.normal(size=n + k)).sigmoid(), torch.tensor(hard + rng.normal(size=n + k)).sigmoid()[None], points=10)
        p = ranked(told[:n], told[n:]).p
        for level in hits:
            hits[level] += p <= level
    for level, count in hits.items():
        assert count <= stats.binom.ppf(0.9995, draws, level)
    assert hits[0.05] >= stats.binom.ppf(0.0005, draws, 0.04)


# The audits, on networks that learn their samples by heart.


@pytest.fixture(scope="module")
def told():
    split = Split.by_index(blobs(400, 0), blobs(300, 1), forget=range(60), holdout=blobs(160, 2))
    shadows = []
    for seed, seen in halves(split, 8):
        model = taught(split.retain + seen, seed)
        shadows.append(Shadow(model, seen, unlearn(model, split.replaced(forget=seen), FineTune(epochs=1, lr=0.001), seed=seed).model))
    original = taught(split.forget + split.retain, 100)
    tuned = unlearn(original, split, FineTune(epochs=1, lr=0.001)).model
    retrained = [taught(split.retain, 200 + i) for i in range(3)]
    entries = audit(tuned, split, [Exposure(), IAM()], original=original, retrained=retrained, shadows=shadows)
    (lone,) = audit(tuned, split, [IAM()], original=original, retrained=retrained[:1])
    (alone,) = audit(tuned, split, [Exposure()], retrained=retrained[:1], shadows=shadows)
    return {**{row["name"]: row["values"] for entry in entries for row in entry["rows"]}, "lone": lone["rows"], "alone": [row["name"] for row in alone["rows"]]}


def test_both_games_see_the_original_and_what_was_hardly_forgotten_and_no_retrained_model(told):
    game = told["RULI, privacy"]
    assert game["original"][0]["p"] < 1e-4
    assert game["unlearned"][0]["p"] < 0.01
    assert all(value["p"] > 0.005 for value in game["retrained"])
    game = told["RULI, efficacy"]
    assert min(game[column][0]["low"] for column in ("original", "unlearned")) > 0.6
    assert max(value["value"] for value in game["retrained"]) < 0.6 < 0.7 < game["original"][0]["value"]
    # Two models are compared, so that no order of the samples is as likely as another.
    assert all("p" not in value for values in game.values() for value in values)
    assert "RULI, efficacy" not in told["alone"]
    assert "RULI, privacy" in told["alone"]


def test_iam_sees_the_original_by_one_retrained_model_and_measures_those_by_the_others(told):
    assert told["IAM"]["original"][0]["p"] < 1e-4
    assert all(value["p"] > 0.005 for value in told["IAM"]["retrained"])
    score = {column: [value["value"] for value in values] for column, values in told["IAM, unlearned"].items()}
    assert score["original"][0] < 0.5 < min(score["retrained"])
    assert score["original"][0] <= score["unlearned"][0] < min(score["retrained"])
    alone = {row["name"]: row["values"] for row in told["lone"]}
    assert alone["IAM"]["original"][0]["p"] < 1e-4
    assert alone["IAM"]["retrained"] == []
