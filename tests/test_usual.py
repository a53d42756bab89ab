"""The field's usual numbers: formulas against loops and other libraries, known truths, and the audits that tell them."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.svm import SVC
from torch import nn

from blobs import CLASSES, masked_at, taught
from untrain.audits.divergence import Divergence
from untrain.audits.likeness import Likeness
from untrain.audits.nearby import Nearby
from untrain.audits.scores import Scores
from untrain.core.audit import audit
from untrain.core.data import Samples, Split
from untrain.core.discover import found, lookup, usual
from untrain.core.errors import BadArgument
from untrain.evidence.verdict import judge
from untrain.metrics.divergence import activation_distance, completeness, entropy, js_compat, js_divergence, largest_gap, rf_jsd, zrf
from untrain.metrics.likeness import information, information_difference, linear_cka, neighbour_percentile
from untrain.metrics.summary import aus, interclass_confusion, nomus, tug_of_war

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**30)
USUAL = (Divergence(), Scores(), Nearby(), Likeness())


def simplex(rng, n, c):
    return torch.tensor(rng.dirichlet(np.full(c, 0.4), n))


# Formulas


@law
@given(seed=seeds, n=st.integers(1, 6), c=st.integers(2, 8))
def test_the_divergence_is_scipys(seed, n, c):
    rng = np.random.default_rng(seed)
    p, q = simplex(rng, n, c), simplex(rng, n, c)
    wanted = jensenshannon(p.numpy(), q.numpy(), base=2, axis=1) ** 2
    assert js_divergence(p, q).numpy() == pytest.approx(wanted, abs=1e-9)
    assert zrf(p, q) == pytest.approx(1 - wanted.mean(), abs=1e-9)
    assert rf_jsd(p, q) == pytest.approx(jensenshannon(p.numpy().mean(0), q.numpy().mean(0), base=2) ** 2, abs=1e-9)
    assert entropy(p).numpy() == pytest.approx(stats.entropy(p.numpy(), base=2, axis=1), abs=1e-9)


@pytest.mark.parametrize("c", [2, 10, 1000])
def test_alike_is_nothing_and_disjoint_is_one_bit_whatever_the_number_of_classes(c):
    one, other = torch.eye(c)[:1], torch.eye(c)[1:2]
    assert (js_divergence(one, one).item(), js_divergence(one, other).item()) == (0.0, 1.0)
    assert (zrf(one, one), zrf(one, other)) == (1.0, 0.0)
    assert activation_distance(one, one) == 0
    assert activation_distance(one, other) == pytest.approx(math.sqrt(2))
    assert entropy(torch.full((1, c), 1 / c)).item() == pytest.approx(math.log2(c))


def test_the_published_form_falls_with_the_number_of_classes_and_the_right_one_does_not():
    """Sure answers against nearly even ones."""
    g = torch.Generator().manual_seed(0)
    published, right = [], []
    for c in (10, 100, 1000):
        p = F.softmax(12 * F.one_hot(torch.zeros(200, dtype=torch.long), c).double() + torch.randn(200, c, generator=g), 1)
        q = F.softmax(0.1 * torch.randn(200, c, generator=g).double(), 1)
        m = (p + q) / 2
        with pytest.warns(UserWarning, match="divides the total loss"):
            naive = 0.5 * F.kl_div(p.log(), m) + 0.5 * F.kl_div(q.log(), m)
        assert js_compat(p, q) == pytest.approx(float(naive), rel=1e-9)
        published.append(js_compat(p, q))
        right.append(float(js_divergence(p, q).mean()))
    assert published == sorted(published, reverse=True)
    assert right[2] > right[0] > 0.7
    assert published[0] > 20 * published[2]


@law
@given(seed=seeds, n=st.integers(1, 30), k=st.integers(1, 30))
def test_the_largest_gap_is_kolmogorovs_and_smirnovs(seed, n, k):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 9, n), rng.integers(2, 11, k)
    assert largest_gap(torch.tensor(a), torch.tensor(b)) == pytest.approx(stats.ks_2samp(a, b).statistic)


@law
@given(seed=seeds, n=st.integers(3, 20), d=st.integers(1, 5), e=st.integers(1, 5))
def test_cka_is_what_its_kernels_say_and_a_rotation_is_nothing_to_it(seed, n, d, e):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, e))
    h = np.eye(n) - 1 / n
    k, m = h @ x @ x.T @ h, h @ y @ y.T @ h
    assert linear_cka(torch.tensor(x), torch.tensor(y)) == pytest.approx((k * m).sum() / math.sqrt((k * k).sum() * (m * m).sum()))
    turned = x @ np.linalg.qr(rng.normal(size=(d, d)))[0] * 3 + 5
    assert linear_cka(torch.tensor(x), torch.tensor(turned)) == pytest.approx(1)
    assert linear_cka(torch.tensor(x), torch.ones(n, 2)) == 0


def test_information_is_bounded_by_what_gaussians_tell():
    """Two normal distributions two apart tell .486 bits of which a sample is from (by quadrature); a fitted critic says no more, and nearly as much."""
    rng = np.random.default_rng(0)
    y = torch.arange(4000) % 2
    x = torch.tensor(rng.normal(size=4000)) + 2 * y
    at = np.linspace(-8, 10, 20_001)
    one, two = stats.norm.pdf(at), stats.norm.pdf(at, 2)
    mixed = (one + two) / 2
    truth = sum(np.trapezoid(f * np.log2(f / mixed), at) for f in (one, two)) / 2
    assert truth - 0.05 < information(x[:, None], y) < truth + 0.02
    assert information(torch.tensor(rng.normal(size=(400, 3))), y[:400]) < 0.02


@law
@given(shares=st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_sums_of_accuracies_are_what_their_papers_write(shares):
    f, r, t, g, s, u = shares
    assert tug_of_war([f, r, t], [g, s, u]) == pytest.approx((1 - abs(f - g)) * (1 - abs(r - s)) * (1 - abs(t - u)))
    assert tug_of_war([f, r, t], [f, r, t]) == 1
    assert nomus(t, f) == pytest.approx(0.5 * t + 0.5 * (1 - 2 * abs(f - 0.5)))
    assert aus(t, u, f, classes=True) == pytest.approx((1 - (u - t)) / (1 + f))
    assert aus(t, u, f, classes=False) == pytest.approx((1 - (u - t)) / (1 + abs(t - f)))


@law
@given(seed=seeds, n=st.integers(1, 30))
def test_confusion_between_two_classes_is_counted(seed, n):
    rng = np.random.default_rng(seed)
    said, labels = rng.integers(0, 4, n), rng.integers(0, 4, n)
    wanted = [(s, y) for s, y in zip(said, labels, strict=True) if y in (1, 2)]
    assert interclass_confusion(torch.tensor(said), torch.tensor(labels), (1, 2)) == (sum({s, y} == {1, 2} for s, y in wanted), len(wanted))
    assert completeness(torch.tensor(said), torch.tensor(labels)) == pytest.approx((said == labels).mean())


@law
@given(seed=seeds, n=st.integers(2, 6), k=st.integers(2, 8))
def test_the_forgotten_neighbours_percentile_is_what_a_loop_says(seed, n, k):
    rng = np.random.default_rng(seed)
    gone, stay = rng.normal(size=(n, 3)), rng.normal(size=(k, 3)) + 1

    def like(a, b):
        a, b = a - stay.mean(0), b - stay.mean(0)
        return a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12)

    wanted = []
    for i in range(n):
        nearest = max(like(gone[i], gone[j]) for j in range(n) if j != i)
        wanted.append(np.mean([like(gone[i], s) < nearest for s in stay]))
    assert neighbour_percentile(torch.tensor(gone), torch.tensor(stay)).numpy() == pytest.approx(wanted)


def test_forgotten_samples_that_lie_together_have_a_percentile_of_one_and_those_that_lie_apart_among_the_retained_of_nothing():
    axes = torch.eye(8)
    together = torch.stack([axes[0] + 0.01 * axes[i] for i in range(1, 5)])
    apart = axes[1:5]
    retained = torch.cat([apart + 0.01 * axes[5:6], apart - 0.01 * axes[5:6], -apart, -apart])
    assert neighbour_percentile(together, retained).min() == 1
    assert neighbour_percentile(apart, retained).max() < 0.9
    assert neighbour_percentile(together.repeat_interleave(2, 0), together).max() == pytest.approx(7 / 8)


def test_an_information_difference_has_its_ends():
    assert information_difference(0.3, 0.3, 0.1) == 1
    assert information_difference(0.1, 0.3, 0.1) == 0
    assert information_difference(0.0, 0.3, 0.1) == pytest.approx(-0.5)
    assert information_difference(0.2, 0.1, 0.1) is None


# The audits that tell them


DIM, GONE = 16, 2


def blobs(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    centres = torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(7))
    return Samples(centres[y] + 0.7 * torch.randn(n, DIM, generator=g), y, names=[str(c) for c in range(CLASSES)])


@pytest.fixture(scope="module")
def split():
    return Split.by_class(blobs(240, 0), blobs(120, 1), forget=[GONE])


@pytest.fixture(scope="module")
def original(split):
    return taught(split.forget + split.retain, 0, steps=60, width=24)


@pytest.fixture(scope="module")
def retrained(split):
    return [taught(split.retain, 10 + i, steps=60, width=24) for i in range(3)]


def told(entries):
    assert [e["skipped"] for e in entries if e["skipped"]] == []
    return {row["name"]: {c: [v["value"] for v in vs] for c, vs in row["values"].items()} for e in entries for row in e["rows"]}


@pytest.fixture(scope="module")
def table(split, original, retrained):
    return told(audit(retrained[0], split, USUAL, original=original, retrained=retrained[1:]))


@pytest.mark.parametrize("classes", [True, False])
def test_of_classes_the_adaptive_score_asks_test_images_and_of_samples_the_forgotten_themselves(split, classes):
    """As the authors' code has it: a network knows what it was trained on by heart, and the score would be that of memory."""
    model = taught(split.forget + split.retain, 0, steps=4, width=24)
    some = split if classes else Split.by_index(split.forget + split.retain, split.test, forget=range(20))

    def share(model, samples):
        x, y = samples.batch(torch.arange(len(samples)))
        return float((model(x).argmax(1) == y).double().mean())

    kept = some.test[some.test.y != GONE] if classes else some.test
    left = share(model, some.test[some.test.y == GONE]) if classes else abs(share(model, kept) - share(model, some.forget))
    found = told(audit(model, some, [Scores()], original=model))["AUS"]
    assert found["unlearned"] == [pytest.approx(1 / (1 + left))]
    assert left != share(model, some.forget)


def test_the_original_lies_farther_from_retrained_models_than_these_among_themselves(table, split, original):
    for name in ("JS divergence", "activation distance", "information difference"):
        honest = table[name]["unlearned"] + table[name]["retrained"]
        assert table[name]["original"][0] > max(honest), name
    for name in ("tug-of-war", "completeness", "AUS"):
        assert table[name]["original"][0] < min(table[name]["unlearned"] + table[name]["retrained"]), name
    assert table["CKA with the original"]["original"] == [pytest.approx(1)]
    assert max(table["CKA with the original"]["unlearned"] + table["CKA with the original"]["retrained"]) < 1
    assert table["information difference"]["original"] == [pytest.approx(1)]
    # It needs no other model.
    alone = told(audit(original, split, [Likeness()]))
    assert {name: values["unlearned"] for name, values in alone.items()} == {"forgotten neighbour's percentile": table["forgotten neighbour's percentile"]["original"]}


def test_what_the_limits_say_of_the_order_of_methods_is_in_the_record():
    record = json.loads((Path(__file__).parents[1] / "benchmarks" / "records" / "information.json").read_text())
    told = {(c["class"], c["original"], c["method"]): c["information difference"] for c in record["cells"]}
    cases = [[told[label, seed, method] for method in record["order"]] for label in (5, 6) for seed in range(3)]
    assert not any(case == sorted(case, reverse=True) for case in cases)
    assert all(case[0] == pytest.approx(1) for case in cases)


def test_identical_models_are_at_the_ends_of_every_number(split, original, monkeypatch):
    # Which `audit` refuses as retrained models, and the formulas must not.
    monkeypatch.setattr("untrain.core.audit._refuse_references", lambda *_: None)
    found = told(audit(original, split, USUAL, original=copy.deepcopy(original), retrained=[copy.deepcopy(original)]))
    for name, wanted in {"JS divergence": 0, "activation distance": 0, "completeness": 1, "tug-of-war": 1, "CKA with a retrained model": 1, "residual knowledge": 1}.items():
        assert found[name]["unlearned"] == [pytest.approx(wanted, abs=1e-9)], name


def test_residual_knowledge_is_the_ratio_of_two_shares(split, original, retrained):
    """A network beside another that gives the label half as often near the forgotten has twice as much."""
    with torch.no_grad():
        always, half = (nn.Linear(DIM, CLASSES) for _ in range(2))
        for net in (always, half):
            net.weight.zero_()
            net.bias.copy_(torch.eye(CLASSES)[GONE])
        # By the sign of a mirrored input: every other sample.
        half.weight[0, 0] = 1e6
    x = torch.cat([torch.full((10, DIM), 1.0), torch.full((10, DIM), -1.0)])
    one = split.replaced(forget=Samples(x, torch.full((20,), GONE)))
    found = told(audit(always, one, [Nearby()], retrained=[half]))
    assert found["residual knowledge"]["unlearned"] == [pytest.approx(2)]


def test_over_unlearning_is_nothing_where_the_original_is_masked(split, original):
    found = told(audit(masked_at(original, GONE), split, [Nearby()], original=original))["over-unlearning"]
    assert found["unlearned"][0] < 1e-6 < 0.1 < found["original"][0]


def test_svc_membership_is_scikit_learns(split, original):
    found = told(audit(original, split, [Scores()]))["SVC membership"]["unlearned"][0]

    def sure(samples):
        x, y = samples.batch(torch.arange(len(samples)))
        with torch.no_grad():
            return original(x).double().softmax(1)[torch.arange(len(y)), y].numpy()[:, None]

    kept = split.test[split.test.y != GONE]
    spread = split.retain[torch.arange(len(kept)) * len(split.retain) // len(kept)]
    machine = SVC(C=3, gamma="auto").fit(np.vstack([sure(spread), sure(kept)]), [1] * len(spread) + [0] * len(kept))
    assert found == pytest.approx((machine.predict(sure(split.forget)) == 0).mean())


def test_a_list_of_two_labels_has_its_confusion_and_other_lists_have_none(split, original):
    data, test = split.forget + split.retain, split.test
    pair = (data.y == 0) | (data.y == 1)
    two = Split(data[pair][:20], data[20:], test)
    found = told(audit(original, two, [Scores()], original=original))
    alike = test[torch.isin(test.y, torch.unique(two.forget.y))]
    x, y = alike.batch(torch.arange(len(alike)))
    with torch.no_grad():
        said = original(x).argmax(1)
    a, b = torch.unique(two.forget.y).tolist()
    assert found["interclass confusion"]["unlearned"][0] == pytest.approx(float((((y == a) & (said == b)) | ((y == b) & (said == a))).double().mean()))
    assert "interclass confusion" not in told(audit(original, split, [Scores()]))


def test_none_of_them_is_asked_unless_it_is_named_nor_decides_anything(split, original, retrained):
    names = {type(a).__name__.lower() for a in USUAL}
    assert names <= set(found("audits")) - set(usual())
    assert names <= set(usual(also=sorted(names)))
    assert not names & set(usual(also=sorted(names), without=sorted(names)))
    with pytest.raises(BadArgument, match="no audit 'nosuch'"):
        usual(also=["nosuch"])
    assert not any(row.judged for name in names for row in lookup("audits", name).rows.values())
    entries = audit(original, split, USUAL, original=original, retrained=retrained)
    assert judge(entries, [], "it")["tests"] == {}
