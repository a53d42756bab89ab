"""Dormant, split-relearn and graft: on networks whose truth is known, what only hides is seen and what never saw is not."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

import untrain
from blobs import CLASSES, blobs, masked_at, taught
from untrain.audits import splitrelearn
from untrain.audits.dormant import Dormant, plausible
from untrain.audits.graft import Graft
from untrain.audits.membership import Membership
from untrain.audits.splitrelearn import SplitRelearn
from untrain.core.audit import audit
from untrain.core.data import Split
from untrain.core.data.overlap import places
from untrain.core.files import weights_hash
from untrain.core.network import Network
from untrain.core.relearning import by_size
from untrain.core.train import predict
from untrain.core.unlearn import unlearn
from untrain.evidence import listed
from untrain.evidence.verdict import judge
from untrain.methods.randomlabel import RandomLabel
from untrain.methods.retrain import Retrain
from untrain.metrics.membership import scaled_confidence
from untrain.metrics.ranked import ranked
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import digits


@pytest.fixture(scope="module")
def split():
    return Split.by_index(blobs(400, 0), blobs(300, 1), forget=range(60), holdout=blobs(600, 2))


@pytest.fixture(scope="module")
def original(split):
    return taught(split.forget + split.retain, 0)


@pytest.fixture(scope="module")
def retrained(split):
    return [taught(split.retain, 10 + i) for i in range(4)]


@pytest.fixture(scope="module")
def relabelled(split, original):
    """What was to be forgotten, trained on other labels until its accuracy on them is that of chance: it hides."""
    other = split.forget.labelled((split.forget.y + 1 + torch.arange(len(split.forget)) % (CLASSES - 1)) % CLASSES)
    return taught(other + split.retain, 0, steps=40, begin=original)


def rows(entries):
    assert [e["skipped"] for e in entries if e["skipped"]] == []
    return {row["name"]: row["values"] for entry in entries for row in entry["rows"]}


@pytest.fixture(scope="module")
def scattered(split, original):
    """What was to be forgotten, trained on a label that is drawn anew each time."""
    return unlearn(original, split, RandomLabel(epochs=30, lr=0.02), seed=0).model


@pytest.fixture(scope="module")
def cooled(original):
    made = copy.deepcopy(original)
    with torch.no_grad():
        for p in made[-1].parameters():
            p.mul_(0.1)
    return made


@pytest.fixture(scope="module")
def table(split, original, retrained, relabelled, scattered, cooled):
    shown = {"relabelled": relabelled, "scattered": scattered, "cooled": cooled}
    return rows(audit(retrained[0], split, [Membership(), Dormant(), SplitRelearn()], original=original, retrained=retrained[1:], controls=shown))


ROW, LIKELY = "membership after training on the retained", "plausibility after training on the retained"


def test_training_on_the_retained_brings_back_what_was_hidden_and_not_what_was_never_there(table):
    assert table[ROW]["original"][0]["value"] > 0.7
    assert table[ROW]["original"][0]["p"] < 1e-4
    assert table[ROW]["relabelled"][0]["value"] > max(0.6, table["membership, calibrated"]["relabelled"][0]["value"])
    assert table[ROW]["relabelled"][0]["p"] < 0.01
    # Four honest models: all p above .05 / 4 but with a chance of .05.
    assert min(v["p"] for column in ("unlearned", "retrained") for v in table[ROW][column]) > 0.05 / 4


def test_a_temperature_over_the_answers_hides_nothing(table):
    plain = table["membership, calibrated"]
    assert plain["cooled"][0]["value"] < plain["original"][0]["value"] - 0.02
    assert table[ROW]["cooled"][0]["value"] == pytest.approx(table[ROW]["original"][0]["value"], abs=0.01)


def test_labels_drawn_at_random_leave_answers_that_no_retrained_model_would_give(table, split, retrained, scattered):
    values = table[LIKELY]
    assert values["scattered"][0]["value"] < 0.2
    assert values["scattered"][0]["p"] < 1e-10
    assert min(v["p"] for column in ("unlearned", "retrained") for v in values[column]) > 0.05 / 4
    (entry,) = audit(scattered, split, [Dormant()], retrained=retrained)
    alone = [{**entry, "rows": [row for row in entry["rows"] if row["name"] == LIKELY]}]
    found = listed.judge_list(alone, 60)
    assert (found["code"], found["flagged"]) == ("UNLIKE", [LIKELY])
    # Nobody to say what is likely.
    assert set(rows(audit(scattered, split, [Dormant(epochs=2, steps=1)]))) == {ROW}


@pytest.mark.slow
def test_answers_of_an_honest_model_are_as_plausible_on_one_part_as_on_another(split, retrained):
    """2,000 draws of which samples are the forgotten: p up to .05 in 5 % and up to .01 in 1 %, within the binomial 99.9 % bounds."""
    pool, g = split.forget + split.parts["holdout"], torch.Generator().manual_seed(4)
    mine, *others = (predict(Network(m), pool)[0] for m in retrained)
    ps = []
    for _ in range(2000):
        order = torch.randperm(len(pool), generator=g)
        one, two = order[:40], order[40:240]
        both = torch.cat([one, two])
        likely = plausible(mine[both], [z[both] for z in others])
        ps.append(ranked(likely[:40], likely[40:], (pool.y[one], pool.y[two])).p)
    for level in (0.05, 0.01):
        assert stats.binom.ppf(0.0005, 2000, level) <= sum(p <= level for p in ps) <= stats.binom.ppf(0.9995, 2000, level)


def test_it_joins_the_verdict_on_a_list(split, original, retrained, relabelled):
    entries = audit(relabelled, split, [Dormant()], original=original, retrained=retrained)
    found = listed.judged({"audits": entries, "run": {"marks": []}, "request": {"forget": "index:l.txt", "classes": [], "names": [], "count": 60}})
    assert (found["code"], found["flagged"]) == ("RESIDUE", [ROW])


@pytest.mark.slow
def test_where_nothing_is_left_it_alarms_as_often_as_it_says(split):
    """One network that never saw either, and 200 draws of which samples are the forgotten: p up to .05 in 5 %, within the binomial 99.9 % bounds."""
    model, pool = taught(split.retain, 20, steps=60), split.forget + split.parts["holdout"]
    alarms, g = 0, torch.Generator().manual_seed(0)
    few = [Dormant(epochs=2, batch=100, steps=1)]
    for _ in range(200):
        order = torch.randperm(len(pool), generator=g)
        drawn = Split(pool[order[:60]], split.retain[:200], split.test[:10], holdout=pool[order[60:260]])
        alarms += rows(audit(model, drawn, few))[ROW]["unlearned"][0]["p"] <= 0.05
    assert stats.binom.ppf(0.0005, 200, 0.05) <= alarms <= stats.binom.ppf(0.9995, 200, 0.05)


def test_units_written_larger_learn_the_same(split, original):
    other = copy.deepcopy(original)
    g = torch.Generator().manual_seed(3)
    scale, order = 2.0 ** torch.randint(-6, 7, (64,), generator=g), torch.randperm(64, generator=g)
    with torch.no_grad():
        other[0].weight.copy_((other[0].weight * scale[:, None])[order])
        other[0].bias.copy_((other[0].bias * scale)[order])
        other[2].weight.copy_((other[2].weight / scale)[:, order])
    few = [replace(Dormant(), epochs=2)]
    one, two = (rows(audit(m, split, few))[ROW]["unlearned"][0] for m in (original, other))
    assert two["value"] == pytest.approx(one["value"], abs=2e-3)


@pytest.mark.parametrize("larger", [0.25, 8.0])
def test_a_step_goes_by_the_size_of_a_weight(larger):
    """Of a weight written larger the gradient is as much smaller, and its step is to be larger."""
    weight, gradient = torch.tensor([2.0, -0.5, 0.0]), torch.tensor([1.0, 3.0, 5.0])
    (plain,), (other,) = by_size([weight])([[gradient]]), by_size([larger * weight])([[gradient / larger]])
    assert plain.tolist() == [4.0, 0.75, 0.0]
    assert other.tolist() == (larger * plain).tolist()


def test_it_trains_a_copy_and_is_asked_where_it_is_named(split, original):
    before = weights_hash(original.state_dict())
    audit(original, split, [replace(Dormant(), epochs=2)])
    assert weights_hash(original.state_dict()) == before
    assert Dormant.by_name
    assert not Graft.by_name


def test_no_more_steps_than_allowed_are_taken_and_faster_ones_where_some_are_left_out(split, original, monkeypatch):
    taken = []
    monkeypatch.setattr("untrain.audits.dormant.minimize", lambda loss, weights, batches, **how: taken.append((len(batches), how["lr"])))
    # 340 retained samples: 102 steps of ten in three passes.
    audit(original, split, [Dormant(batch=10, steps=9), Dormant(batch=10, steps=102), Dormant(batch=10, steps=68), Dormant(batch=10, steps=9, faster=1.0)])
    whole, some = [(102, 0.03), (102, 0.003)], [(9, 0.03), (9, 0.003)]
    assert taken == [(9, 0.06), (9, 0.006), *whole, (69, pytest.approx(0.045)), (69, pytest.approx(0.0045)), *some]


# Split-relearn


HALF = "membership after relearning half"


def test_half_brings_back_the_other_half_of_what_was_hidden_and_not_of_what_was_never_there(table):
    assert table[HALF]["original"][0]["value"] > 0.7
    assert table[HALF]["original"][0]["p"] < 1e-3
    assert table[HALF]["relabelled"][0]["value"] > 0.6
    assert table[HALF]["relabelled"][0]["p"] < 0.05
    # Four honest models: all p above .05 / 4 but with a chance of .05.
    assert min(v["p"] for column in ("unlearned", "retrained") for v in table[HALF][column]) > 0.05 / 4


def test_half_of_it_joins_the_verdict_on_a_list_and_on_classes_once(split, original, retrained, relabelled):
    entries = audit(original, split, [SplitRelearn()], original=original, retrained=retrained)
    found, clean = listed.judge_list(entries, 60), listed.judge_list(audit(retrained[0], split, [SplitRelearn()], original=original, retrained=retrained[1:]), 60)
    assert (found["code"], found["flagged"], found["retrained"], len(found["reasons"])) == ("RESIDUE", [HALF], 4, 1)
    assert (clean["code"], list(clean["tests"]), clean["retrained"]) == ("INCONCLUSIVE", [HALF], 3)
    of_class = judge(entries, [], "it")
    assert (of_class["code"], of_class["flagged"]) == ("RESIDUE", [HALF])


def test_the_half_that_is_ranked_is_not_the_half_that_is_shown(split, original, monkeypatch):
    shown, ranked_ = [], []
    reminded = SplitRelearn.reminded
    monkeypatch.setattr(SplitRelearn, "reminded", lambda self, model, some, retain: shown.append(some) or reminded(self, model, some, retain))
    monkeypatch.setattr("untrain.audits.splitrelearn._scores", lambda network, samples, width: ranked_.append(samples) or torch.randn(len(samples)).double())
    audit(original, split, [SplitRelearn(epochs=1, retained=100)])
    mine, others, forgotten = set(places(shown[0])), set(places(ranked_[0])), set(places(split.forget))
    assert (len(mine), len(others), mine & others, mine | others) == (30, 30, set(), forgotten)
    assert places(ranked_[1]) == places(split.parts["holdout"])
    lone = split.replaced(forget=split.forget[:1])
    assert "has no other half" in audit(original, lone, [SplitRelearn()])[0]["skipped"]


def test_how_hard_a_sample_is_is_never_told_by_the_model_that_is_asked(split, original, retrained, monkeypatch):
    """With one retrained model there is none beside that one itself."""
    calls = []
    monkeypatch.setattr("untrain.audits.splitrelearn.calibrated", lambda mine, hard: calls.append(hard) or mine)
    audit(original, split, [SplitRelearn(epochs=1, retained=50)], retrained=retrained[:1])
    monkeypatch.undo()
    plain = scaled_confidence(*predict(Network(retrained[0]), split.parts["holdout"])[:2])
    (hard,) = calls
    assert torch.equal(hard[30:], plain)


def test_each_of_the_other_half_is_ranked_within_its_class(split, original, monkeypatch):
    """Of scores that say the class and no more nothing is told, however many of each class there are on either side."""
    monkeypatch.setattr("untrain.audits.splitrelearn._scores", lambda network, samples, width: samples.y.double())
    some = split.forget[split.forget.y < 2] + split.forget[split.forget.y >= 2][:4]
    (entry,) = audit(original, split.replaced(forget=some), [SplitRelearn(epochs=1, retained=50)])
    assert (entry["rows"][0]["values"]["unlearned"][0]["value"], entry["rows"][0]["values"]["unlearned"][0]["p"]) == (0.5, 1.0)


def test_answers_beyond_the_datas_classes_are_not_scored(split, original):
    other = copy.deepcopy(original)
    other[-1] = nn.Linear(64, CLASSES + 1)
    with torch.no_grad():
        other[-1].weight[:CLASSES].copy_(original[-1].weight)
        other[-1].bias[:CLASSES].copy_(original[-1].bias)
    assert torch.allclose(splitrelearn._scores(Network(other), split.forget, CLASSES), splitrelearn._scores(Network(original), split.forget, None))


def test_where_nothing_is_left_half_of_it_brings_back_nothing_as_often_as_is_said(split):
    """Draws of which samples are the forgotten, and of which half of them is shown: p up to .05 in 5 %, within the binomial 99.9 % bounds."""
    model, pool = taught(split.retain, 20, steps=60), split.forget + split.parts["holdout"]
    alarms, g = 0, torch.Generator().manual_seed(1)
    for seed in range(120):
        order = torch.randperm(len(pool), generator=g)
        drawn = Split(pool[order[:60]], split.retain, split.test[:10], holdout=pool[order[60:260]])
        alarms += rows(audit(model, drawn, [SplitRelearn(epochs=1, retained=40)], seed=seed))[HALF]["unlearned"][0]["p"] <= 0.05
    assert stats.binom.ppf(0.0005, 120, 0.05) <= alarms <= stats.binom.ppf(0.9995, 120, 0.05)


def test_each_of_the_half_is_shown_as_often_as_is_said_beside_so_many_retained(split, original, monkeypatch):
    taken = []
    monkeypatch.setattr("untrain.audits.splitrelearn.minimize", lambda loss, weights, batches, **how: taken.append((batches, how["lr"])))
    audit(original, split, [SplitRelearn(shown=3, retained=50, epochs=2, batch=70)])
    (batches, lr), seen = taken[0], Counter(places(taken[0][0].samples))
    assert (lr, batches.size, batches.epochs, sum(seen.values())) == (0.03, 70, 2, 50 + 3 * 30)
    assert sorted(count for place, count in seen.items() if place in set(places(split.forget))) == [3] * 30


# Graft


@pytest.fixture(scope="module")
def digit():
    data = digits()
    return Split.by_class(data.train, data.test, forget=[3])


def test_a_mask_is_seen_through_by_the_head_that_was_there_before(digit):
    before = untrain.load_model("digits")
    mask = copy.deepcopy(before)
    with torch.no_grad():
        mask.linear.bias[3] = -1e4
        mask.linear.weight[3] = 0
    anew = copy.deepcopy(before)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for part in anew.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    found = rows(audit(mask, digit, [Graft()], original=before, controls={"anew": anew}))
    x, y = digit.test.prepared(before.norm).batch(torch.arange(len(digit.test)))
    with torch.no_grad():
        right = (before(x).argmax(1) == y).numpy()
    gone = (y == 3).numpy()
    for name, here in (("graft, forgotten", gone), ("graft, retained", ~gone)):
        assert found[name]["unlearned"] == found[name]["original"]
        assert found[name]["unlearned"][0]["value"] == pytest.approx(np.mean(right[here]))
    assert found["graft, retained"]["anew"][0]["value"] < 0.5


GRAFT = "graft, forgotten"


def test_a_head_works_on_models_of_its_own_first_weights_and_names_no_class_that_these_never_saw(digit):
    """What is tuned on from the original shares its coordinates; so does who began where it began, and to share them is no trace."""
    recipe = recipe_for("digits", 10, epochs=8)
    for seed in (1, 2, 3):
        before, never = (unlearn(recipe.build(), part, Retrain(), recipe=recipe, seed=seed).model for part in (digit.replaced(retain=digit.retain + digit.forget), digit))
        found = rows(audit(never, digit, [Graft()], original=before))
        assert found["graft, retained"]["unlearned"][0]["value"] > 0.5
        assert found[GRAFT]["unlearned"][0]["p"] > 0.5


@pytest.fixture(scope="module")
def kinds():
    return Split.by_class(blobs(1000, 0), blobs(1000, 1), forget=[2])


@pytest.fixture(scope="module")
def knows(kinds):
    return taught(kinds.forget + kinds.retain, 0, steps=30)


@pytest.fixture(scope="module")
def honest(kinds):
    return [taught(kinds.retain, 10 + i, steps=30) for i in range(20)]


@pytest.fixture(scope="module")
def distilled(kinds, knows, honest):
    """The original's body under a head that says what a retrained model says."""
    made, (x, _) = copy.deepcopy(knows), (kinds.forget + kinds.retain).batch(torch.arange(len(kinds.forget) + len(kinds.retain)))
    with torch.no_grad():
        wanted = honest[-1](x).softmax(1)
    optimizer = torch.optim.Adam(made[-1].parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(made(x), wanted).backward()
        optimizer.step()
    return made


def grafted(model, split, original, retrained):
    entries = audit(model, split, [Graft()], original=original, retrained=retrained)
    return rows(entries)[GRAFT], judge(entries, [], "it")


def test_the_original_head_finds_a_mask_and_a_head_taught_by_a_retrained_model(kinds, knows, honest, distilled):
    for fake in (masked_at(knows, 2), distilled):
        assert float((predict(Network(fake), kinds.test)[0].argmax(1) == 2).double().mean()) < 0.02
        _, found = grafted(fake, kinds, knows, honest[:1])
        assert (found["code"], found["flagged"], found["without_power"]) == ("RESIDUE", [GRAFT], [])


def test_twenty_retrained_models_are_found_by_it_no_oftener_than_by_chance(kinds, knows, honest):
    found = [grafted(one, kinds, knows, [honest[i - 1]])[1]["flagged"] for i, one in enumerate(honest)]
    assert sum(map(bool, found)) <= stats.binom.ppf(0.9995, 20, 0.01)


def test_a_head_that_works_on_features_of_models_that_never_saw_the_class_says_nothing(kinds, knows):
    """As on a pretrained body that was frozen for all: the original's head names the class on each."""
    anew = []
    for seed in (1, 2):
        model = copy.deepcopy(knows)
        torch.manual_seed(seed)
        torch.nn.init.normal_(model[-1].weight)
        anew.append(model)
    values, found = grafted(anew[0], kinds, knows, anew[1:])
    assert values["unlearned"][0]["p"] < 1e-6
    assert (found["code"], found["tests"], found["without_power"]) == ("INCONCLUSIVE", {}, [GRAFT])


@pytest.mark.parametrize(("share", "chance"), [(0.2, 2 / CLASSES), (0.7, 0.7)])
def test_it_tells_scipys_binomial_p_where_the_head_still_names_half_of_what_is_retained(kinds, knows, honest, share, chance):
    found = rows(audit(masked_at(knows, 2), kinds, [Graft(share=share)], original=knows, retrained=honest[:1]))
    value, retained = found[GRAFT]["unlearned"][0], {column: values[0]["value"] for column, values in found["graft, retained"].items()}
    p = stats.binomtest(round(value["value"] * value["n"]), value["n"], chance, alternative="greater").pvalue
    assert value["p"] == pytest.approx(min(1.0, 2 * p), rel=1e-9)
    assert (value["p"] <= 0.05) == (value["low"] > chance)
    assert retained["retrained"] < retained["original"] / 2
    assert "p" not in found[GRAFT]["retrained"][0]


def test_heads_that_read_other_features_are_not_set_upon_each_other(digit):
    def net(width):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    torch.manual_seed(0)
    prepared = untrain.load_model("digits").norm
    entry = audit(net(8), digit, [Graft()], original=net(12), norm=prepared)[0]
    assert "reads 12 features and one of the models has 8" in entry["skipped"]
