"""Class-instance: on networks that learned a class by heart, beside scipy and numpy, and on networks that never saw it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special, stats

from blobs import blobs, masked_at, taught
from untrain.audits.classinstance import NAMES, ClassInstance
from untrain.core.audit import audit
from untrain.core.data import Samples, Split
from untrain.evidence.verdict import judge

GONE, ANY = 2, "instances by any signal"


@pytest.fixture(scope="module")
def split():
    return Split.by_class(blobs(500, 0), blobs(500, 1), forget=[GONE])


@pytest.fixture(scope="module")
def original(split):
    return taught(split.forget + split.retain, 0)


@pytest.fixture(scope="module")
def retrained(split):
    return [taught(split.retain, 10 + i) for i in range(2)]


@pytest.fixture(scope="module")
def masked(original):
    return masked_at(original, GONE)


@pytest.fixture(scope="module")
def table(split, original, retrained, masked):
    (entry,) = audit(masked, split, [ClassInstance()], original=original, retrained=retrained)
    assert entry["skipped"] is None
    return {row["name"]: row["values"] for row in entry["rows"]}


def by_hand(model, part):
    """Logits and features of a part's images of the class, by numpy."""
    x, y = part.batch(torch.arange(len(part)))
    x = x[y == GONE].double().numpy()
    w = [p.detach().double().numpy() for p in model.parameters()]
    hidden = np.maximum(x @ w[0].T + w[1], 0)
    return hidden @ w[2].T + w[3], hidden


def test_answers_are_ranked_as_scipy_ranks_them(split, original, masked, table):
    for model, column in ((masked, "unlearned"), (original, "original")):
        z = [by_hand(model, part)[0] for part in (split.forget, split.test)]
        others = [np.delete(v, GONE, 1) for v in z]
        signals = {
            "confidence": [v[:, GONE] - special.logsumexp(o, axis=1) for v, o in zip(z, others, strict=True)],
            "best other class": [special.log_softmax(o, axis=1).max(1) for o in others],
            "energy": [special.logsumexp(v, axis=1) for v in z],
        }
        for name, (mine, theirs) in signals.items():
            told, found = stats.mannwhitneyu(mine, theirs, method="asymptotic"), table[f"instances by {name}"][column][0]
            assert found["value"] == pytest.approx(told.statistic / len(mine) / len(theirs), abs=2e-3), name
            assert found["p"] == pytest.approx(told.pvalue, rel=0.1, abs=1e-9), name
            assert found["n"] == len(mine)


def test_what_knows_them_is_seen_and_a_mask_on_the_class_hides_them_from_one_signal_and_not_from_all(table):
    assert table["instances by confidence"]["original"][0]["value"] > 0.65
    assert table["instances by confidence"]["original"][0]["p"] < 1e-4
    assert table[ANY]["unlearned"][0]["p"] < 1e-3


def test_who_never_saw_the_class_tells_its_images_apart_by_no_signal(table):
    assert set(table) == {*(f"instances by {name}" for name in NAMES), ANY}
    assert all(value["p"] > 0.05 / 2 for value in table[ANY]["retrained"])
    for column, values in table.items():
        for value in values["retrained"]:
            assert abs(value["value"] - 0.5) < 0.17, column


def test_any_signal_is_the_clearest_and_its_p_is_times_their_number(table):
    for column in ("original", "unlearned", "retrained"):
        single = [table[f"instances by {name}"][column][0] for name in NAMES]
        clearest = min(single, key=lambda value: value["p"])
        assert table[ANY][column][0]["p"] == pytest.approx(min(1.0, len(NAMES) * clearest["p"]))
        assert table[ANY][column][0]["value"] in [value["value"] for value in single if value["p"] == clearest["p"]]


def test_where_nothing_was_seen_any_signal_alarms_no_oftener_than_it_says(split, original, retrained):
    """Draws of which unseen images of the class were the trained ones: at most the binomial 99.95 % bound of 5 %, which Bonferroni stays below; each signal near it."""
    pool = split.forget + split.test[split.test.y == GONE]
    g, subjects, alarms = torch.Generator().manual_seed(0), {}, dict.fromkeys(("confidence", "distance to a class", "any signal"), 0)
    for _ in range(120):
        order = torch.randperm(len(pool), generator=g)
        drawn = Split(pool[order[:100]], split.retain, pool[order[100:]], [GONE])
        (entry,) = audit(retrained[0], drawn, [ClassInstance()], original=original, subjects=subjects)
        for name in alarms:
            alarms[name] += next(row for row in entry["rows"] if row["name"] == f"instances by {name}")["values"]["unlearned"][0]["p"] <= 0.05
    low, high = stats.binom.ppf((0.0005, 0.9995), 120, 0.05)
    assert alarms["any signal"] <= high
    assert all(low <= alarms[name] <= high for name in ("confidence", "distance to a class"))


def test_whose_body_is_the_originals_and_whose_head_never_saw_the_class_tells_its_images_apart_by_no_signal(split):
    """As where both were made of one pretrained network: the original's head knows these images on that body, and is no signal."""
    body = taught(blobs(400, 7), 7, steps=1, width=256)

    def headed(part, seed):
        model, (x, y) = copy.deepcopy(body), part.batch(torch.arange(len(part)))
        torch.manual_seed(seed)
        model[-1].reset_parameters()
        optimizer = torch.optim.Adam(model[-1].parameters(), lr=1e-2)
        for _ in range(200):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        return model

    (entry,) = audit(headed(split.retain, 1), split, [ClassInstance()], original=headed(split.forget + split.retain, 0))
    found = next(row["values"] for row in entry["rows"] if row["name"] == ANY)
    assert found["original"][0]["p"] < 1e-3
    assert found["unlearned"][0]["p"] > 0.05


def test_how_its_units_are_written_is_nothing_to_it(split, original, masked, table):
    other, g = copy.deepcopy(masked), torch.Generator().manual_seed(3)
    scale, order = 2.0 ** torch.randint(-6, 7, (64,), generator=g), torch.randperm(64, generator=g)
    with torch.no_grad():
        other[0].weight.copy_((other[0].weight * scale[:, None])[order])
        other[0].bias.copy_((other[0].bias * scale)[order])
        other[2].weight.copy_((other[2].weight / scale)[:, order])
    (entry,) = audit(other, split, [ClassInstance()], original=original)
    for row in entry["rows"]:
        assert row["values"]["unlearned"][0]["value"] == pytest.approx(table[row["name"]]["unlearned"][0]["value"], abs=5e-3), row["name"]


def test_images_of_two_classes_are_ranked_each_within_its_own(retrained):
    """Three of four training images are of the one class and three of four test images of the other; to each signal the classes may lie apart."""
    data, (many, few) = blobs(500, 5), (60, 20)
    rows = [(data.y == c).nonzero().flatten() for c in (1, 3)]
    gone, unseen = data[torch.cat([rows[0][:many], rows[1][:few]])], data[torch.cat([rows[0][many : many + few], rows[1][few : few + many]])]
    (entry,) = audit(retrained[0], Split(gone, data[(data.y == 0).nonzero().flatten()], unseen, (1, 3)), [ClassInstance()])
    values = {row["name"]: row["values"]["unlearned"][0] for row in entry["rows"]}
    energy = [special.logsumexp(retrained[0](part.batch(torch.arange(len(part)))[0]).detach().double().numpy(), axis=1) for part in (gone, unseen)]
    above = sum(stats.mannwhitneyu(energy[0][(gone.y == c).numpy()], energy[1][(unseen.y == c).numpy()]).statistic for c in (1, 3))
    assert values["instances by energy"]["value"] == pytest.approx(above / (2 * many * few), abs=2e-3)


class Times(torch.nn.Module):
    """Half as much again of what another answers, so that no layer gives the answers."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 1.5 * self.inner(x)


def test_of_a_model_of_which_no_layer_gives_the_answers_the_answers_are_ranked_alone(split, original, masked):
    (entry,) = audit(Times(masked), split, [ClassInstance()], original=original)
    told = {row["name"] for row in entry["rows"] if row["values"]["unlearned"]}
    assert told == {"instances by confidence", "instances by best other class", "instances by energy", ANY}


def said(module, split, original, retrained):
    entries = audit(module, split, [ClassInstance()], original=original, retrained=retrained)
    return judge(entries, [], "it")


def test_the_verdict_finds_a_mask_on_what_was_learned_by_heart_and_no_retrained_model(split, original, retrained, masked):
    found = said(masked, split, original, retrained)
    assert (found["code"], found["flagged"], found["without_power"]) == ("RESIDUE", [ANY], [])
    honest = said(retrained[0], split, original, retrained[1:])
    assert (honest["code"], list(honest["tests"]), honest["without_power"]) == ("INCONCLUSIVE", [ANY], [])
    alone = said(masked, split, original, [])
    assert (alone["code"], alone["tests"]) == ("INCONCLUSIVE", {})
    assert any(reason.startswith(ANY) and "none is at hand" in reason for reason in alone["reasons"])


def test_twenty_retrained_models_are_found_no_oftener_than_by_chance(split, original):
    honest = [taught(split.retain, 30 + i, steps=40) for i in range(20)]
    found = [said(one, split, original, [honest[i - 1]])["flagged"] for i, one in enumerate(honest)]
    assert sum(map(bool, found)) <= stats.binom.ppf(0.9995, 20, 0.01)


def test_test_images_of_another_kind_are_a_difference_in_every_model_and_no_finding(split, retrained):
    """All that was trained on is brighter than what is tested: whoever never saw the class tells both apart."""
    shifted = split.replaced(test=Samples(split.test.batch(torch.arange(len(split.test)))[0] + 0.8, split.test.y, names=split.test.names))
    original = taught(split.forget + split.retain, 0)
    for beside in ([retrained[1]], []):
        entries = audit(retrained[0], shifted, [ClassInstance()], original=original, retrained=beside)
        row = next(row["values"] for row in entries[0]["rows"] if row["name"] == ANY)
        assert row["unlearned"][0]["p"] < 1e-3
        assert judge(entries, [], "it")["code"] == "INCONCLUSIVE"
    assert said(retrained[0], shifted, original, [retrained[1]])["without_power"] == [ANY]


def test_it_is_told_where_it_is_named_and_one_row_of_it_is_judged(split, original):
    assert ClassInstance.by_name
    assert [name for name, row in ClassInstance.rows.items() if row.judged] == [ANY]
    (entry,) = audit(original, split, [ClassInstance()])
    assert {row["name"] for row in entry["rows"]} == {*(f"instances by {name}" for name in NAMES), ANY}
    bare = split.replaced(test=split.test[split.test.y != GONE])
    assert "no test image" in audit(original, bare, [ClassInstance()])[0]["skipped"]
