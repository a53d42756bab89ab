"""Attacks that know models trained with and without each sample, on truths that are known, beside scipy, scikit-learn and plain loops."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from blobs import blobs, taught
from untrain.audits.exposure import Exposure
from untrain.core.audit import Shadow, audit, halves
from untrain.core.data import Samples, Split
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune
from untrain.metrics.ranked import ranked
from untrain.metrics.shadow import CAP, epsilons, forgetting_quality, interpolated, klom, lira, rmia, told_apart

seeds = st.integers(0, 2**16)
law = settings(max_examples=25, deadline=None)


def drawn(rng, s, n):
    """Which of s models saw each of n samples: a random half, and the next model the other half."""
    first = rng.random((s // 2, n)) < 0.5
    return torch.tensor(np.stack([first, ~first], 1).reshape(s, n))


@pytest.mark.parametrize("d", [0.5, 1.0, 2.0])
def test_of_two_normal_groups_d_apart_lira_has_the_auc_that_theory_has(d):
    rng, n, s = np.random.default_rng(0), 1500, 200
    hard = 3 * rng.normal(size=2 * n)
    member = drawn(rng, s, 2 * n)
    shadows = torch.tensor(hard + d * member.numpy() + rng.normal(size=(s, 2 * n)))
    truth = np.arange(2 * n) < n
    own = torch.tensor(hard + d * truth + rng.normal(size=2 * n))
    found = lira(own, shadows, member)
    auc = ranked(found[:n], found[n:]).auc
    assert auc == pytest.approx(roc_auc_score(truth, found.numpy()), abs=1e-9)
    wanted = stats.norm.cdf(d / math.sqrt(2))
    assert abs(auc - wanted) < 3 * math.sqrt(wanted * (1 - wanted) / n)
    # Without what the models know of each sample, hardly anything is seen.
    assert ranked(own[:n], own[n:]).auc < wanted - 0.05


@law
@given(seed=seeds, s=st.sampled_from([4, 10, 64]), n=st.integers(1, 5))
def test_lira_is_the_ratio_of_two_normal_densities(seed, s, n):
    rng = np.random.default_rng(seed)
    member, shadows, own = drawn(rng, s, n), rng.normal(size=(s, n)), rng.normal(size=n)
    inside = member.numpy()
    pooled = [math.sqrt(sum(np.var(shadows[w[:, i], i], ddof=1) for i in range(n)) / n) for w in (inside, ~inside)]
    got = lira(torch.tensor(own), torch.tensor(shadows), member)
    for i in range(n):
        logs = []
        for w, spread in zip((inside, ~inside), pooled, strict=True):
            side = shadows[w[:, i], i]
            logs.append(stats.norm.logpdf(own[i], side.mean(), side.std(ddof=1) if s >= 64 else spread))
        assert float(got[i]) == pytest.approx(logs[0] - logs[1], rel=1e-6, abs=1e-9)


def test_each_sample_has_a_spread_of_its_own_only_where_all_have_models_enough():
    """Of 63 models one sample was seen by 32 and another by 31: both have the spread that all share on that side."""
    rng = np.random.default_rng(0)
    shadows, own = rng.normal(size=(63, 2)) * [1, 5], rng.normal(size=2)
    inside = np.arange(63)[:, None] < [32, 31]
    got = lira(torch.tensor(own), torch.tensor(shadows), torch.tensor(inside))
    for i in range(2):
        logs = []
        for w in (inside, ~inside):
            squares = sum(np.square(shadows[w[:, j], j] - shadows[w[:, j], j].mean()).sum() for j in range(2))
            logs.append(stats.norm.logpdf(own[i], shadows[w[:, i], i].mean(), math.sqrt(squares / (w.sum() - 2))))
        assert float(got[i]) == pytest.approx(logs[0] - logs[1], rel=1e-6)


def test_models_that_do_not_differ_by_what_they_saw_tell_nothing():
    rng = np.random.default_rng(0)
    half = torch.tensor(rng.normal(size=(5, 20)))
    shadows, member = torch.cat([half, half]), torch.tensor([True] * 5 + [False] * 5)[:, None].expand(10, 20)
    assert lira(torch.tensor(rng.normal(size=20)), shadows, member).abs().max() < 1e-12
    assert klom(half, half).abs().max() == 0
    assert epsilons(half, half).abs().max() == 0
    assert forgetting_quality(epsilons(half, half), 5) == 1
    assert torch.isnan(interpolated(half[0], shadows, member)).all()


@law
@given(seed=seeds, share=st.floats(-0.5, 1.5))
def test_what_is_between_both_ends_is_told_as_that_share(seed, share):
    rng = np.random.default_rng(seed)
    member = drawn(rng, 6, 4)
    shadows = torch.tensor(rng.normal(size=(6, 4)) + 9 * member.numpy())
    ends = [np.array([shadows[(member if side else ~member)[:, i], i].mean().item() for i in range(4)]) for side in (True, False)]
    assert np.allclose(interpolated(torch.tensor(ends[0] + share * (ends[1] - ends[0])), shadows, member).numpy(), share)


def test_models_far_apart_are_told_apart_wholly():
    rng = np.random.default_rng(0)
    one = torch.tensor(rng.normal(size=(20, 3)))
    assert epsilons(one, one + 50).tolist() == [CAP] * 3
    assert epsilons(one, 1e-4 * one).tolist() == [CAP] * 3
    assert forgetting_quality(torch.full((3,), CAP), 20) == 0
    assert (klom(one, one + 50) > 8).all()


@law
@given(seed=seeds, s=st.sampled_from([2, 6]), n=st.integers(1, 5), z=st.integers(1, 7), gamma=st.sampled_from([1.0, 2.0]))
def test_rmia_counts_the_population_that_a_sample_dominates(seed, s, n, z, gamma):
    rng = np.random.default_rng(seed)
    member = drawn(rng, s, n)
    own, shadows, far, far_shadows = rng.random(n), rng.random((s, n)), rng.random(z), rng.random((s, z))
    got = rmia(*map(torch.tensor, (own, shadows)), member, *map(torch.tensor, (far, far_shadows)), gamma)
    p_in = np.array([shadows[member[:, i].numpy(), i].mean() for i in range(n)])
    p_out = np.array([shadows[~member[:, i].numpy(), i].mean() for i in range(n)])
    a = min(1.0, ((1 - p_in) @ (1 - p_out)) / ((1 - p_out) @ (1 - p_out)))
    ratio = own / ((p_in + p_out) / 2)
    theirs = far / (((1 + a) * far_shadows.mean(0) + 1 - a) / 2)
    assert np.allclose(got.numpy(), [np.mean(r >= gamma * theirs) for r in ratio])


@law
@given(seed=seeds, models=st.integers(3, 12), shift=st.sampled_from([0.0, 0.7, 2.0]), scale=st.sampled_from([0.3, 1.0]))
def test_epsilon_is_that_of_the_best_rule_found_by_trying_all(seed, models, shift, scale):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=models), shift + scale * rng.normal(size=models)
    high, low = (a, b) if np.median(a) > np.median(b) else (b, a)
    narrow, wide = (a, b) if np.ptp(a) <= np.ptp(b) else (b, a)
    at = [-math.inf, *sorted([*a, *b]), math.inf]
    rules = [(np.mean(high < t), np.mean(low >= t)) for t in at]
    rules += [(1 - np.mean((left <= narrow) & (narrow < right)), np.mean((left <= wide) & (wide < right))) for left in at for right in at if left < right]
    best = 0.0
    for fnr, fpr in rules:
        if fnr == fpr == 0:
            best = CAP
        elif fnr > 0 and fpr > 0:
            sides = [math.log(1 - 1e-5 - x) - math.log(y) for x, y in ((fpr, fnr), (fnr, fpr)) if x < 1 - 1e-5]
            best = max([best, *sides])
    assert epsilons(torch.tensor(a)[:, None], torch.tensor(b)[:, None]).item() == pytest.approx(best, abs=1e-9)


def test_the_epsilon_of_a_gaussian_mechanism_is_that_of_its_rates():
    """One threshold on normal groups d apart: the largest of log(TPR / FPR) over thresholds that a thousand models can show."""
    rng, d = np.random.default_rng(0), 1.0
    found = epsilons(torch.tensor(d + rng.normal(size=(2000, 1))), torch.tensor(rng.normal(size=(2000, 1)))).item()
    at = np.linspace(-2, 2, 200)
    assert found > 0.9 * max(math.log(stats.norm.sf(t - d) / stats.norm.sf(t)) for t in at[at < 1.5])


@law
@given(seed=seeds, models=st.integers(2, 40))
def test_klom_is_scipys_divergence_of_two_histograms(seed, models):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(models, 2)), 1 + 30 * rng.normal(size=(models, 2))
    got = klom(torch.tensor(a), torch.tensor(b))
    for i in range(2):
        ends = np.linspace(*(f([*a[:, i], *np.clip(b[:, i], -100, 100)]) for f in (min, max)), 21)
        p, q = (
            np.array([((side >= lo) & ((side < hi) | ((hi == ends[-1]) & (side <= hi)))).mean() for lo, hi in itertools.pairwise(ends)]) + 1e-5
            for side in (np.clip(b[:, i], -100, 100), a[:, i])
        )
        assert float(got[i]) == pytest.approx(stats.entropy(p, q), rel=1e-3, abs=1e-6)


@law
@given(seed=seeds, n=st.integers(1, 30), k=st.integers(1, 60))
def test_what_is_told_apart_is_what_scipys_procedure_finds(seed, n, k):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n) + 2 * (rng.random(n) < 0.5), rng.normal(size=k)
    p = np.array([(1 + (y >= v).sum()) / (k + 1) for v in x])
    assert told_apart(torch.tensor(x), torch.tensor(y)).tolist() == (stats.false_discovery_control(p) <= 0.1).tolist()


@law
@given(seed=seeds, n=st.integers(1, 30), k=st.integers(1, 60))
def test_within_labels_each_is_compared_with_its_own_and_the_rule_is_asked_of_all_together(seed, n, k):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n) + 2 * (rng.random(n) < 0.5), rng.normal(size=k)
    one, two = rng.integers(0, 3, n), rng.integers(1, 4, k)
    p = np.array([(1 + (y[two == c] >= v).sum()) / ((two == c).sum() + 1) for v, c in zip(x, one, strict=True)])
    got = told_apart(*map(torch.tensor, (x, y)), strata=(torch.tensor(one), torch.tensor(two)))
    assert got.tolist() == (stats.false_discovery_control(p) <= 0.1).tolist()


@law
@given(seed=seeds, n=st.integers(1, 10), k=st.integers(1, 30))
def test_across_labels_each_counts_as_often_as_its_label_is_forgotten(seed, n, k):
    rng = np.random.default_rng(seed)
    x, y, one, two = rng.integers(8, size=n), rng.integers(6, size=k), rng.integers(3, size=n), rng.integers(3, size=k)

    def weight(c):
        return (one == c).sum() / (two == c).sum()

    p = []
    for v, c in zip(x, one, strict=True):
        above, every = (sum(weight(d) for w, d in zip(y, two, strict=True) if d in one and w >= least) for least in (v, -1))
        p.append((weight(c) + above) / (weight(c) + every) if c in two else 1.0)
    got = told_apart(*map(torch.tensor, (x, y)), 0.3, (torch.tensor(one), torch.tensor(two)), across=True)
    assert got.tolist() == (stats.false_discovery_control(np.minimum(p, 1.0)) <= 0.3 + 1e-12).tolist()


def test_who_lies_exactly_as_high_as_those_never_seen_is_not_told_apart():
    assert not told_apart(torch.ones(5), torch.ones(40)).any()
    assert told_apart(torch.ones(5) + 1e-6, torch.ones(40)).all()


def test_one_that_never_saw_either_group_is_flagged_as_often_as_is_said():
    """Scores of any shape, shadows that saw random halves of both: the order of the two groups is as likely as any other. Binomial bounds of 99.9 %."""
    rng, draws, n, k, s = np.random.default_rng(0), 1500, 12, 25, 8
    hits = {0.05: 0, 0.01: 0}
    for _ in range(draws):
        hard = rng.standard_t(3, size=n + k)
        member = drawn(rng, s, n + k)
        shadows = torch.tensor(hard + np.exp(rng.normal(size=n + k)) * member.numpy() + rng.normal(size=(s, n + k)))
        found = lira(torch.tensor(hard + rng.normal(size=n + k)), shadows, member)
        p = ranked(found[:n], found[n:]).p
        for level in hits:
            hits[level] += p <= level
    for level, count in hits.items():
        assert count <= stats.binom.ppf(0.9995, draws, level)
    assert hits[0.05] >= stats.binom.ppf(0.0005, draws, 0.04)


def test_forgetting_halves_its_points_every_half_epsilon():
    eps = torch.tensor([0.0, 0.49, 0.5, 0.99, 1.0, 3.9, 4.2, 6.0])
    assert [forgetting_quality(e[None], 513) for e in eps] == [1, 1, 0.5, 0.5, 0.25, 0.5**7, 0.5**8, 0.5**12]
    assert forgetting_quality(torch.tensor([4.2]), 55) == 0


# The audit, on a network that learns its samples by heart.


@pytest.fixture(scope="module")
def split():
    return Split.by_index(blobs(400, 0), blobs(300, 1), forget=range(60), holdout=blobs(160, 2))


@pytest.fixture(scope="module")
def shadows(split):
    made = []
    for seed, seen in halves(split, 8):
        model = taught(split.retain + seen, seed)
        made.append(Shadow(model, seen, unlearn(model, split.replaced(forget=seen), FineTune(epochs=1, lr=0.001), seed=seed).model))
    return made


@pytest.fixture(scope="module")
def told(split, shadows):
    original = taught(split.forget + split.retain, 100)
    tuned = unlearn(original, split, FineTune(epochs=1, lr=0.001)).model
    retrained = [taught(split.retain, 200 + i) for i in range(2)]
    (entry,) = audit(tuned, split, [Exposure()], original=original, retrained=retrained, shadows=shadows)
    return entry


def test_every_second_shadow_sees_what_the_one_before_did_not(split):
    both = split.forget + split.parts["holdout"]
    member = torch.stack([Shadow(None, seen).saw(both) for _, seen in halves(split, 6)])
    assert torch.equal(member[::2], ~member[1::2])
    assert member.sum(1).tolist() == [110] * 6
    assert len({tuple(row.tolist()) for row in member}) == 6
    # More of them leave the first as they are, and labels and preparation are nothing to where a sample lies.
    assert [s.index.tolist() for _, s in halves(split, 2)] == [s.index.tolist() for _, s in halves(split, 6)][:2]
    seen = halves(split, 1)[0][1]
    assert torch.equal(Shadow(None, seen).saw(both.labelled(torch.zeros(220))), member[0])


def test_who_knows_models_with_and_without_a_sample_tells_the_forgotten_of_the_original_and_of_no_retrained_model(told):
    rows = {row["name"]: row["values"] for row in told["rows"]}
    for name in ("LiRA", "U-LiRA", "RMIA"):
        assert rows[name]["original"][0]["p"] < 1e-4, name
        assert rows[name]["original"][0]["value"] > 0.7, name
        assert rows[name]["unlearned"][0]["p"] < 0.05, name
        assert all(value["p"] > 0.005 for value in rows[name]["retrained"]), name
    way = {column: values[0]["value"] for column, values in rows["gone of the way"].items()}
    assert way["original"] < 0.4 < 0.7 < way["retrained"] < 1.3
    caught = rows["LiRA, caught at 1 % false alarms"]
    assert caught["original"][0]["value"] > 0.1 > max(v["value"] for v in caught["retrained"])
    assert rows["told one by one"]["original"][0]["value"] >= 5
    assert max(v["value"] for v in rows["told one by one"]["retrained"]) <= 2


def test_the_most_exposed_are_told_by_place_and_are_the_same_in_every_column(told):
    (figure,) = told["figures"]
    (mine,) = figure["series"]["unlearned"]
    assert len(mine) == 10
    assert all(0 <= int(place) < 60 for place in mine)
    assert list(mine.values()) == sorted(mine.values(), reverse=True)
    assert all(list(bar) == list(mine) for bars in figure["series"].values() for bar in bars)


def test_what_the_page_says_of_exposed_digits_is_in_its_record():
    found = json.loads((Path(__file__).parents[1] / "benchmarks" / "records" / "exposure.json").read_text())
    plain, wrong = found["labels as they are"], found["labels at random"]
    for here in (plain, wrong):
        original, *retrained = (m["rows"] for m in here["models"])
        assert original["LiRA"]["p"] < 1e-9
        assert all(m["LiRA"]["p"] > 0.05 for m in retrained)
        assert here["methods"]["random labels"]["rows"]["U-LiRA"]["p"] < 1e-3
    original = plain["models"][0]["rows"]
    assert original["membership"]["p"] > 0.05
    assert original["membership"]["value"] < min(original[n]["value"] for n in ("membership, calibrated", "RMIA")) < original["LiRA"]["value"]
    assert plain["methods"]["random labels"]["rows"]["LiRA"]["p"] > 0.05
    assert wrong["models"][0]["rows"]["told one by one"]["value"] > 90
    assert all(abs(m["left"]["epsilon"] - found["chance"]["epsilon"]) < 0.3 < m["left"]["klom"] - found["chance"]["klom"] for m in plain["methods"].values())


class Says:
    """A model whose score of each sample is the one that stands in a list."""

    def __init__(self, scores):
        self.scores = scores

    def on(self, samples):
        phi = self.scores[samples.batch(torch.arange(len(samples)))[0][:, 0].long()] / 2
        logits = torch.stack([phi, -phi], 1)
        return torch.where((samples.y == 0)[:, None], logits, -logits), samples.y, None


def test_of_known_scores_each_attack_goes_by_its_own_shadows_and_no_one_elses_samples():
    """60 forgotten and 60 held out of class 0, 30 held out of class 1 that no shadow was asked of, 50 that are tested on; seen samples gain 2, and lose 4 by the method."""
    g, n = torch.Generator().manual_seed(0), 200
    whole = Samples(torch.arange(n)[:, None].float(), torch.tensor([0] * 120 + [1] * 30 + [0] * 50))
    forget, holdout, rest = whole[torch.arange(60)], whole[torch.arange(60, 150)], whole[torch.arange(150, n)]
    split = Split(forget, rest, rest, (), holdout=holdout)
    shadows = []
    for _, seen in halves(split, 8):
        noise = torch.randn(n, generator=g) / 4
        gain = torch.zeros(n).index_fill_(0, seen.batch(torch.arange(len(seen)))[0][:, 0].long(), 2.0)
        shadows.append(Shadow(Says(noise + gain), seen, Says(noise - gain)))
    own = torch.randn(n, generator=g) / 4
    own[:60] += 2
    asked = {"forget": forget, "holdout": holdout, "shadows": tuple(shadows)}
    values = Exposure()(Says(own), test=rest, **asked).values
    assert values["LiRA"].value > 0.95
    assert values["U-LiRA"].value < 0.05
    assert abs(values["gone of the way"].value) < 0.2
    # Privacy goes by what the method left, as U-LiRA does; efficacy looks at the hold-out as the original has it, which is surer of it than this model is of the forgotten.
    assert values["RULI, privacy"].value < 0.05
    assert "RULI, efficacy" not in values
    assert Exposure()(Says(own), test=rest, original=Says(own + 4), **asked).values["RULI, efficacy"].value > 0.95
    # The hold-out tests nobody: named among what is tested on it is not of the population.
    assert Exposure()(Says(own), test=rest + holdout, **asked).values["RMIA"] == values["RMIA"]
    told = Exposure()(Says(own), test=rest, forget=forget, holdout=holdout[torch.arange(60)], shadows=tuple(shadows)).values
    assert told == values


def test_samples_of_a_class_whose_scores_spread_are_told_from_that_class_alone():
    """A model that never saw any of them, 90 of 100 forgotten of the class that spreads and 100 of 1,000 held out: none is a trace, and beside all that are held out many would."""
    g = torch.Generator().manual_seed(0)
    y = torch.tensor([0] * 10 + [1] * 90 + [0] * 900 + [1] * 100 + [0] * 20)
    whole = Samples(torch.arange(len(y))[:, None].float(), y)
    forget, holdout, rest = whole[torch.arange(100)], whole[torch.arange(100, 1100)], whole[torch.arange(1100, len(y))]

    def drawn(seen=None):
        gain = torch.zeros(len(y)).index_fill_(0, seen.batch(torch.arange(len(seen)))[0][:, 0].long(), 1.0) if seen is not None else 0.0
        return Says((torch.randn(len(y), generator=g) + gain) * torch.where(y == 1, 4.0, 1.0))

    shadows = tuple(Shadow(drawn(seen), seen) for _, seen in halves(Split(forget, rest, rest, (), holdout=holdout), 8))
    found = [Exposure()(drawn(), forget=forget, holdout=holdout, test=rest, shadows=shadows).values["told one by one"].value for _ in range(20)]
    # Any at all in a tenth of the cases, and 6 of 20 in one of 400.
    assert sum(value > 0 for value in found) < 6


def test_too_few_shadows_are_said(split, shadows):
    (entry,) = audit(shadows[0].model, split, [Exposure()], shadows=shadows[:3])
    assert "train 4 or more" in entry["skipped"]
    (entry,) = audit(shadows[0].model, split, [Exposure()])
    assert "needs shadows" in entry["skipped"]
