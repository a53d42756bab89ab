"""Audits on models whose truth is known, the verdict drawn from them, and the numbers behind both against independent formulas."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from untrain.audits.accuracy import Accuracy
from untrain.audits.predictions import Predictions
from untrain.audits.prototype import Prototype
from untrain.audits.relearn import Relearn
from untrain.audits.weights import Weights
from untrain.core.audit import Subject, audit, counted
from untrain.core.data import Samples, Split
from untrain.core.discover import found
from untrain.core.errors import BadArgument
from untrain.core.files import weights_hash
from untrain.core.unlearn import unlearn
from untrain.evidence import verdict
from untrain.evidence.statistics import beyond, interval
from untrain.evidence.verdict import judge
from untrain.methods.headonly import HeadOnly
from untrain.methods.retrain import Retrain
from untrain.metrics.recovery import prototype_recall, relative_distance, total_variation
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import digits

law = settings(deadline=None, max_examples=60)
GONE = 3


# Numbers


@law
@given(n=st.integers(1, 3000), data=st.data())
def test_an_interval_is_clopper_and_pearsons(n, data):
    k = data.draw(st.integers(0, n))
    low, high = interval(k, n)
    assert low == pytest.approx(stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0, abs=1e-9)
    assert high == pytest.approx(stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0, abs=1e-9)
    assert low <= k / n <= high


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(BadArgument):
        interval(0, 0)


@law
@given(hits=st.lists(st.booleans(), min_size=1, max_size=50))
def test_a_counted_share_is_counted(hits):
    value = counted(torch.tensor(hits))
    assert (value.value, value.n) == (sum(hits) / len(hits), len(hits))
    assert (value.low, value.high) == interval(sum(hits), len(hits))


@law
@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.floats(0, 1), st.sampled_from([-1, 1]))
def test_beyond_is_the_t_test_of_one_more_value(references, value, knows):
    """Student's two-sample test with one sample of size one is the prediction test."""
    if np.std(references, ddof=1) < 0.011:
        return
    wanted = stats.ttest_ind([value], references, alternative="greater" if knows > 0 else "less").pvalue
    assert beyond(value, references, knows) == pytest.approx(float(wanted), rel=1e-6, abs=1e-12)


def test_beyond_takes_a_spread_no_smaller_than_its_floor():
    spread = 0.02 * math.sqrt(1 + 1 / 3)
    assert beyond(0.53, [0.5, 0.5, 0.5], +1, floor=0.02) == pytest.approx(float(stats.t.sf(0.03 / spread, 2)))
    assert beyond(0.53, [0.5, 0.5, 0.5], -1, floor=0.02) == pytest.approx(float(stats.t.cdf(0.03 / spread, 2)))


@pytest.mark.parametrize("m", [2, 5, 8])
def test_beyond_alarms_falsely_as_often_as_it_says(m):
    """m + 1 draws of one normal distribution: p below .05 in 5 % of 4,000, within the binomial 99.9 % bound."""
    rng = np.random.default_rng(0)
    alarms = sum(beyond(float(v[0]), v[1:].tolist(), +1) < 0.05 for v in rng.normal(0.5, 0.2, (4000, m + 1)))
    assert stats.binom.ppf(0.0005, 4000, 0.05) <= alarms <= stats.binom.ppf(0.9995, 4000, 0.05)


@law
@given(seed=st.integers(0, 2**30), d=st.integers(1, 5), classes=st.integers(1, 4), shots=st.integers(1, 4), probes=st.integers(1, 9))
def test_prototype_recall_is_what_a_loop_says(seed, d, classes, shots, probes):
    g = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(classes).repeat(2), torch.randint(classes, (5,), generator=g)])
    retained, one, seen = (torch.randn(n, d, generator=g, dtype=torch.float64) for n in (len(labels), shots, probes))
    got = prototype_recall(one, seen, retained, labels)
    r = retained.numpy()
    mean, std = r.mean(0), r.std(0, ddof=1)
    scaled = [(f.numpy() - mean) / std for f in (one, seen, retained)]
    means = [scaled[2][labels.numpy() == c].mean(0) for c in range(classes)]
    for shot, share in zip(scaled[0], got, strict=True):
        near = [np.linalg.norm(p - shot) < min(np.linalg.norm(p - m) for m in means) for p in scaled[1]]
        assert float(share) == pytest.approx(np.mean(near))


@law
@given(seed=st.integers(0, 2**30), n=st.integers(1, 9))
def test_distances_are_what_loops_say(seed, n):
    rng = np.random.default_rng(seed)
    p, q = (rng.dirichlet(np.ones(n)) for _ in range(2))
    assert total_variation(torch.tensor(p), torch.tensor(q)) == pytest.approx(max(sum(max(0.0, a - b) for a, b in zip(p, q, strict=True)), 0.0))
    a, b = rng.normal(size=n), rng.normal(size=n)
    wanted = math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True))) / math.sqrt(sum(y * y for y in b))
    assert relative_distance(torch.tensor(a), torch.tensor(b)) == pytest.approx(wanted)


def test_distances_at_their_ends():
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert total_variation(one, one) == 0
    assert total_variation(one, other) == 1
    assert relative_distance(one, one) == 0
    assert relative_distance(0 * one, 0 * one) == 0
    assert relative_distance(one, 0 * one) == math.inf


# Models whose truth is known


@pytest.fixture(scope="module")
def split():
    data = digits()
    return Split.by_class(data.train, data.test, forget=[GONE])


@pytest.fixture(scope="module")
def original(split):
    """Trained on all digits."""
    data = digits()
    everything = Split(data.train, data.train, data.test)
    return unlearn(recipe_for("digits", 10).build(), everything, Retrain(), seed=100, recipe=recipe_for("digits", 10)).model


@pytest.fixture(scope="module")
def retrained(split):
    """Eight that never saw the digit."""
    recipe = recipe_for("digits", 10)
    return [unlearn(recipe.build(), split, Retrain(), seed=seed, recipe=recipe).model for seed in range(8)]


@pytest.fixture(scope="module")
def mask(original, split):
    return unlearn(original, split, HeadOnly()).model


@pytest.fixture(scope="module")
def moved_mask(mask):
    """The head mask, with all other weights moved by a ten-thousandth of themselves: no longer a change of the head alone."""
    module = copy.deepcopy(mask)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not name.startswith("linear."):
                parameter.mul_(1 + 1e-4)
    return module


@pytest.fixture(scope="module")
def subjects():
    """Each model is made ready, and measured, once."""
    return {}


@pytest.fixture(scope="module")
def asked():
    return [entry.load()() for entry in found("audits").values()]


@pytest.fixture(scope="module")
def judged(split, original, subjects, asked):
    def judged(module, references, marks=()):
        out = audit(module, split, asked, original=original, retrained=references, subjects=subjects)
        return judge(out, list(marks), "digit 3")

    return judged


@pytest.fixture(scope="module")
def table(split, original, retrained, mask, moved_mask, subjects, asked):
    """All rows by name, of the original, a held-out retrained model, five others, and the fakes."""
    out = audit(retrained[5], split, asked, original=original, retrained=retrained[:5], controls={"mask": mask, "moved": moved_mask}, subjects=subjects)
    return {row["name"]: {c: [v["value"] for v in vs] for c, vs in row["values"].items()} for entry in out for row in entry["rows"]}


def test_accuracy_cannot_tell_the_mask_from_retraining(table):
    for column in ("mask", "unlearned", "retrained"):
        assert max(table["forgotten, test"][column]) == 0
        assert min(table["retained, test"][column]) > 0.97
    assert min(table["forgotten, test"]["original"] + table["forgotten, training"]["original"]) > 0.9


def test_a_mask_changes_nothing_that_prototype_and_reset_rows_see(table):
    """The masked model and the original have the same features, and the audits start the forgotten rows anew in both."""
    for row in ("one-shot prototype", "head-reset relearning", "relearn time, row reset", "relearning recall, row reset"):
        assert table[row]["mask"] == table[row]["original"], row


def test_the_features_tell_the_fakes_and_the_original_from_a_retrained_model(table):
    for row in ("one-shot prototype", "head-reset relearning"):
        references = table[row]["retrained"]
        for fake in ("original", "mask", "moved"):
            assert beyond(table[row][fake][0], references, +1) < 0.05, (row, fake)
        assert beyond(table[row]["unlearned"][0], references, +1) > 0.05, row


def test_a_masked_row_looks_forgotten_to_relearning_until_it_is_reset(table, split, original, mask, subjects):
    assert table["relearn time"]["original"] == [0]
    assert table["relearn time"]["mask"][0] >= min(table["relearn time"]["retrained"])
    assert table["relearn time, row reset"]["mask"][0] < table["relearn time"]["mask"][0]
    (entry,) = audit(mask, split, [Relearn()], original=original, subjects=subjects)
    figures = {f["name"]: f["series"] for f in entry["figures"]}
    assert figures["relearning, row reset"]["unlearned"] == figures["relearning, row reset"]["original"]
    rows = {r["name"]: r["values"] for r in entry["rows"]}
    for column in ("unlearned", "original"):
        for how in ("", ", row reset"):
            assert rows[f"relearning recall{how}"][column][0]["value"] == pytest.approx(np.mean(figures[f"relearning{how}"][column][0]["y"]), abs=1e-6)
    assert rows["relearning recall"]["unlearned"][0]["value"] < 0.8 * rows["relearning recall"]["original"][0]["value"]
    assert rows["relearning recall, row reset"]["unlearned"] == rows["relearning recall, row reset"]["original"]


def test_relearning_recall_tells_where_every_time_has_run_out(split, original, retrained):
    """Too few steps for any to reach the goal: the times are all alike, and the area under the curve still tells the original from retrained models."""
    few = replace(Relearn(), steps=4, every=1, alpha=-0.05)
    (entry,) = audit(original, split, [few], original=original, retrained=retrained[:5])
    rows = {r["name"]: {c: [v["value"] for v in vs] for c, vs in r["values"].items()} for r in entry["rows"]}
    assert {v for vs in rows["relearn time"].values() for v in vs} == {4.0}
    assert beyond(rows["relearning recall"]["original"][0], rows["relearning recall"]["retrained"], +1) < 0.05
    # And the verdict, which takes the side from the row itself.
    (alone,) = (r for r in entry["rows"] if r["name"] == "relearning recall")
    assert judge([{"rows": [alone]}], [], "it")["code"] == "RESIDUE"


def test_identical_models_are_at_no_distance(split, original, retrained):
    twin = copy.deepcopy(retrained[0])
    weights, predictions = audit(retrained[0], split, [Weights(), Predictions()], original=twin, retrained=[twin, copy.deepcopy(twin)])
    values = {row["name"]: row["values"] for entry in (weights, predictions) for row in entry["rows"]}
    bias = values.pop("bias of the forgotten rows")
    assert len({v["value"] for column in bias.values() for v in column}) == 1
    for name, columns in values.items():
        assert [v["value"] for column in columns.values() for v in column] == [0.0] * 4, name
    for figure in weights["figures"]:
        assert all(height == 0 for column in figure["series"].values() for bars in column for height in bars.values())


def test_the_distance_of_weights_is_that_of_a_loop(split, original, mask, retrained, table):
    def distance(a, b, keep=lambda name: True):
        pairs = [(p.detach(), q.detach()) for (n, p), q in zip(a.named_parameters(), b.parameters(), strict=True) if keep(n)]
        gap = sum(float((p.double() - q.double()).square().sum()) for p, q in pairs)
        return math.sqrt(gap / sum(float(q.double().square().sum()) for _, q in pairs))

    body = lambda name: not name.startswith("linear.")  # noqa: E731
    assert table["outside the head, from the original"]["mask"] == [0]
    assert table["outside the head, from the original"]["moved"][0] == pytest.approx(1e-4, rel=1e-3)
    for i, module in enumerate(retrained[:5]):
        assert table["outside the head, from the original"]["retrained"][i] == pytest.approx(distance(module, original, body), rel=1e-6)
        assert table["all weights, from the original"]["retrained"][i] == pytest.approx(distance(module, original), rel=1e-6)
        nearest = min(distance(module, other) for j, other in enumerate(retrained[:5]) if j != i)
        assert table["all weights, from a retrained model"]["retrained"][i] == pytest.approx(nearest, rel=1e-6)


def test_a_silenced_row_shows_in_its_bias(table, original, mask):
    for column, module in (("original", original), ("mask", mask)):
        bias = module.linear.bias.detach().double().numpy()
        wanted = bias[GONE] - np.delete(bias, GONE).mean()
        assert table["bias of the forgotten rows"][column][0] == pytest.approx(wanted, rel=1e-5)
    assert abs(table["bias of the forgotten rows"]["original"][0]) < 1 < 1000 < -table["bias of the forgotten rows"]["mask"][0]


def test_retained_accuracy_is_paired_with_the_retrained_by_image(split, original, retrained):
    values = audit(original, split, [Accuracy()], original=original, retrained=retrained[:2])[0]["rows"]
    row = next(r for r in values if r["name"] == "retained, less the retrained")["values"]
    x, y = split.test.prepared(original.norm).batch(torch.arange(len(split.test)))
    with torch.no_grad():
        hits = [(m.eval()(x).argmax(1) == y)[y != GONE].numpy().astype(float) for m in (original, *retrained[:2])]
    gaps = hits[0] - (hits[1] + hits[2]) / 2
    found, half = row["unlearned"][0], 1.96 * stats.sem(gaps)
    assert (found["value"], found["low"], found["high"], found["n"]) == pytest.approx((gaps.mean(), gaps.mean() - half, gaps.mean() + half, len(gaps)), abs=1e-6)
    assert row["retrained"][0]["value"] == pytest.approx((hits[1] - hits[2]).mean(), abs=1e-6)


def test_the_verdict_on_each_known_truth(judged, original, retrained, mask, moved_mask):
    five, held_out = retrained[:5], retrained[5]
    assert judged(original, five, ["unchanged"])["code"] == "UNCHANGED"
    assert judged(mask, five)["code"] == "SUPPRESSED"
    residue = judged(moved_mask, five)
    assert residue["code"] == "RESIDUE"
    assert any("one-shot prototype" in reason for reason in residue["reasons"])
    clean = judged(held_out, five)
    assert clean["code"] == "NO_RESIDUE"
    assert (clean["retrained"], clean["reasons"]) == (5, [])
    for few, said in ((0, "no retrained model is at hand"), (1, "1 retrained model beside it"), (4, "4 retrained models beside it")):
        got = judged(held_out, retrained[:few])
        assert got["code"] == "INCONCLUSIVE", few
        assert said in got["sentence"]
        assert "a statement needs 5" in got["sentence"]


def test_retrained_models_beside_each_other_are_seldom_flagged(judged, retrained):
    """Leave-one-out over eight retrained models. At a false-alarm rate of 5 % and independent draws, three or more are
    flagged with probability .0058 (binomial, n = 8), so more than two are an error in the audits, the test or the verdict."""
    assert stats.binom.sf(2, 8, 0.05) < 0.006
    codes = [judged(module, [r for r in retrained if r is not module])["code"] for module in retrained]
    assert codes.count("RESIDUE") <= 2
    assert set(codes) <= {"RESIDUE", "NO_RESIDUE"}


def test_a_finding_does_not_depend_on_the_column_or_on_who_stands_beside(split, original, retrained, table):
    alone = audit(retrained[2], split, [Accuracy(), Prototype(), Relearn()], original=original)
    for entry in alone:
        for row in entry["rows"]:
            assert [v["value"] for v in row["values"]["unlearned"]] == [table[row["name"]]["retrained"][2]]


def test_the_seed_decides_what_audits_draw(split, original):
    def ask(seed):
        return audit(original, split, [Prototype()], seed=seed)[0]["rows"]

    assert ask(1) == ask(1) != ask(2)


# What an audit leaves, and what it does without


def test_audits_leave_weights_modes_gradients_and_random_state(split, original, retrained, asked):
    models = [copy.deepcopy(m) for m in (original, *retrained[:2])]
    for m in models:
        m.train()
        m.conv1.requires_grad_(False)
    before = [(weights_hash(m.state_dict()), [(x.training, len(x._forward_pre_hooks)) for x in m.modules()], [(p.requires_grad, p.grad) for p in m.parameters()]) for m in models]
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    made = {}
    audit(models[1], split, asked, original=models[0], retrained=models[2:], subjects=made)
    assert [
        (weights_hash(m.state_dict()), [(x.training, len(x._forward_pre_hooks)) for x in m.modules()], [(p.requires_grad, p.grad) for p in m.parameters()]) for m in models
    ] == before
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])
    # Nor does one audit leave anything on the copy that the next one looks at.
    assert sorted(weights_hash(s.state()) for s in made.values()) == sorted(b[0] for b in before)
    assert torch.is_grad_enabled()


def test_the_order_of_samples_does_not_change_accuracy(split, original):
    def values(split):
        return audit(original, split, [Accuracy()])[0]["rows"]

    g = torch.Generator().manual_seed(0)
    shuffled = split.replaced(**{name: part[torch.randperm(len(part), generator=g)] for name, part in split.parts.items()})
    assert values(shuffled) == values(split)


def test_accuracy_is_counted_and_not_a_mean_of_batches():
    """701 samples in batches of 500 and 201, all of the second wrong: a mean of batch means would say .5."""
    x = torch.cat([torch.tensor([[1.0, 0.0]]).repeat(500, 1), torch.tensor([[0.0, 1.0]]).repeat(201, 1)])
    module = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
    samples = Samples(x, torch.zeros(701, dtype=torch.long))
    one = Samples(x[:1], [0])
    (entry,) = audit(module, Split(one, one, samples), [Accuracy()])
    value = next(r for r in entry["rows"] if r["name"] == "retained, test")["values"]["unlearned"][0]
    assert (value["value"], value["n"]) == (500 / 701, 701)


def test_accuracies_by_class_are_what_the_whole_is_made_of(split, original):
    (entry,) = audit(original, split, [Accuracy()])
    values = {r["name"]: r["values"]["unlearned"][0] for r in entry["rows"]}
    (by_class,) = entry["figures"][0]["series"]["unlearned"]
    counts = np.bincount(split.test.y.numpy(), minlength=10)
    shares = np.array([by_class[name] for name in split.test.names])
    assert shares[GONE] == values["forgotten, test"]["value"]
    kept = np.arange(10) != GONE
    assert (shares * counts)[kept].sum() / counts[kept].sum() == pytest.approx(values["retained, test"]["value"])


def test_a_split_by_index_skips_what_needs_classes_and_says_so(original, retrained, asked):
    data = digits()
    single = Split.by_index(data.train, data.test, forget=range(0, 200, 7))
    entries = {e["name"]: e for e in audit(original, single, asked, original=original, retrained=retrained[:2])}
    for name in ("predictions", "prototype", "relearn"):
        assert entries[name]["skipped"] == "needs classes, which is not at hand"
        assert entries[name]["rows"] == entries[name]["figures"] == []
    assert entries["accuracy"]["skipped"] is None
    assert {r["name"] for r in entries["accuracy"]["rows"]} == {"retained, test", "forgotten, training", "retained, training", "retained, less the retrained"}


def test_without_an_original_what_needs_it_is_skipped(split, retrained, asked):
    entries = {e["name"]: e["skipped"] for e in audit(retrained[0], split, asked)}
    assert entries["relearn"] == entries["weights"] == "needs original, which is not at hand"
    assert entries["accuracy"] is entries["prototype"] is None


# What is computed once is that model's, and that data's


def constant(answer):
    module = nn.Linear(2, 3)
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.eye(3)[answer])
    return module


def retained(entries):
    return entries[0]["rows"][0]["values"]["unlearned"][0]["value"]


def test_models_that_come_and_go_are_never_taken_for_each_other():
    samples = Samples(torch.zeros(6, 2), [0, 0, 0, 1, 1, 2])
    split, shared = Split(samples, samples, samples), {}
    for answer in (0, 1, 2) * 5:
        assert retained(audit(constant(answer), split, [Accuracy()], subjects=shared)) == [3 / 6, 2 / 6, 1 / 6][answer]


def test_the_same_pixels_with_other_labels_are_other_data():
    x, module, shared = torch.zeros(4, 2), constant(0), {}
    for labels, share in (([0, 0, 0, 1], 0.75), ([0, 1, 1, 1], 0.25)):
        samples = Samples(x, torch.tensor(labels))
        assert retained(audit(module, Split(samples, samples, samples), [Accuracy()], subjects=shared)) == share
    subject = Subject(module)
    assert subject.on(Samples(x, torch.tensor([0, 0, 1, 1])))[1].tolist() == [0, 0, 1, 1]
    assert subject.on(Samples(x, torch.tensor([2, 2, 1, 1])))[1].tolist() == [2, 2, 1, 1]


def test_what_is_said_beside_some_models_is_not_said_beside_others(split, original, retrained, subjects):
    def names(references):
        (entry,) = audit(retrained[0], split, [Relearn()], original=original, retrained=references, subjects=subjects)
        return {row["name"] for row in entry["rows"]}

    assert "anamnesis index" in names(retrained[:2])
    assert "anamnesis index" not in names([])


# The verdict, from rows made by hand


def row(name, unlearned, original, retrained, knows=+1, unit="share"):
    wrap = lambda values: [{"value": v} for v in values]  # noqa: E731
    return {"name": name, "knows": knows, "unit": unit, "values": {"unlearned": wrap([unlearned]), "original": wrap([original]), "retrained": wrap(retrained)}}


def said(*rows, marks=()):
    return judge([{"rows": list(rows)}], list(marks), "it")


REFERENCES = [0.20, 0.22, 0.24, 0.26, 0.28]


def test_a_verdict_is_from_rows_that_see_the_original_alone():
    blind = row("blind", 0.9, 0.24, REFERENCES)
    got = said(blind)
    assert (got["code"], got["without_power"]) == ("INCONCLUSIVE", ["blind"])
    assert "none of the tests sees the original" in got["sentence"]
    assert said(row("seeing", 0.24, 0.9, REFERENCES), blind)["code"] == "NO_RESIDUE"
    assert said(row("seeing", 0.5, 0.9, REFERENCES), blind)["code"] == "RESIDUE"
    assert said(replace_row(blind, knows=0))["without_power"] == []


def replace_row(row, **changes):
    return {**row, **changes}


def test_the_side_that_knows_more_is_the_one_that_counts():
    slow, fast = [40, 45, 50, 50, 55], 5
    assert said(row("relearn", fast, 5, slow, knows=-1, unit="steps"))["code"] == "RESIDUE"
    assert said(row("relearn", 300, 5, slow, knows=-1, unit="steps"))["code"] == "NO_RESIDUE"
    assert said(row("recall", 0.0, 0.9, REFERENCES))["code"] == "NO_RESIDUE"


def test_many_tests_are_corrected_as_holm_did():
    """Each of ten p of about .03 is below 5 % and none is below 5 % / 10."""
    edge = next(v / 1000 for v in range(240, 500) if beyond(v / 1000, REFERENCES, +1) < 0.03)
    assert said(row("one", edge, 0.9, REFERENCES))["code"] == "RESIDUE"
    assert said(*(row(f"{i}", edge, 0.9, REFERENCES) for i in range(10)))["code"] == "NO_RESIDUE"
    strong = next(v / 1000 for v in range(240, 990) if beyond(v / 1000, REFERENCES, +1) < 0.004)
    got = said(row("strong", strong, 0.9, REFERENCES), *(row(f"{i}", 0.24, 0.9, REFERENCES) for i in range(9)))
    assert got["code"] == "RESIDUE"
    assert got["reasons"] == [f"strong {strong:.1%} (retrained 24.0%)"]


@law
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_procedure_is_that_of_its_definition(ps):
    """Reject the hypotheses whose p, multiplied by how many are at least as large and made monotone, is at most 5 %."""
    names = {f"t{i}": p for i, p in enumerate(ps)}
    rejected, largest = set(), 0.0
    for i, (name, p) in enumerate(sorted(names.items(), key=lambda item: item[1])):
        largest = max(largest, (len(ps) - i) * p)
        if largest <= 0.05:
            rejected.add(name)
    assert set(verdict._holm(names)) == rejected


def test_marks_come_before_tests_and_the_head_before_residue():
    rows = [row("seeing", 0.9, 0.9, REFERENCES), {**row("outside the head, from the original", 0.0, 0.0, [1.0] * 5), "knows": 0}]
    assert said(*rows)["code"] == "SUPPRESSED"
    assert said(*rows, marks=["unchanged"])["code"] == "UNCHANGED"
    assert said(*rows, marks=["collapsed"])["code"] == "COLLAPSED"
    assert said()["code"] == "INCONCLUSIVE"


@given(st.integers(20, 5000), st.floats(0, 1))
def test_a_class_that_is_plainly_still_named_is_residue_without_retrained_models(n, share):
    """Against scipy's exact binomial test: residue where a share of 5 % or less is refuted at 2.5 %, and not otherwise."""
    hits = round(share * n)
    interval = stats.binomtest(hits, n).proportion_ci(0.95, "exact")
    named = row("forgotten, test", hits / n, 0.9, [])
    named["values"]["unlearned"][0] |= {"low": interval.low, "high": interval.high, "n": n}
    refuted = stats.binomtest(hits, n, 0.05, alternative="greater").pvalue < 0.025
    got = said(named)
    assert got["code"] == ("RESIDUE" if refuted else "INCONCLUSIVE")
    if refuted:
        assert got["reasons"] == [f"still named rightly in {hits / n:.1%} of {n:,} test images"]
        assert got["flagged"] == ["forgotten, test"]
        assert said(named, marks=["unchanged"])["code"] == "UNCHANGED"
    # Beside retrained models the row is tested against them, as every other.
    beside = replace_row(named, values=named["values"] | {"retrained": [{"value": hits / n}] * 5})
    assert said(beside)["flagged"] == []


def test_the_original_beside_no_retrained_model_is_still_named(split, original):
    entries = audit(original, split, [Accuracy()], original=original)
    assert verdict.ANSWERED in {r["name"] for r in entries[0]["rows"]}
    assert judge(entries, [], "it")["flagged"] == [verdict.ANSWERED]


def test_every_verdict_has_a_sentence_and_an_exit_code():
    assert verdict.SENTENCES.keys() == verdict.EXIT.keys()
    assert {c for c, e in verdict.EXIT.items() if e == 0} == {"NO_RESIDUE"}


def test_settings_of_an_audit_stand_in_its_entry(split, original):
    (entry,) = audit(original, split, [replace(Accuracy(), train=20)])
    assert entry["settings"] == {"train": 20}
    counts = {r["name"]: r["values"]["unlearned"][0]["n"] for r in entry["rows"]}
    assert counts["forgotten, training"] == 20
    assert counts["retained, training"] == 9 * (20 // 9)
