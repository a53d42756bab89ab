"""The record of two hundred honest models holds what is promised of them, the page shows it, and the run that makes it goes on where it was ended."""

from __future__ import annotations

import functools
import importlib
import json

import pytest
import torch
from scipy import stats

from copies import folder
from untrain.audits.predictions import Predictions
from untrain.core.audit import audit

BENCHMARKS = folder("benchmarks")


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def proof(benchmark):
    return benchmark("audit_proof")


@pytest.fixture(scope="module")
def record(proof):
    return json.loads(proof.RECORD.read_text(encoding="utf-8"))


def test_of_two_hundred_honest_models_few_are_found(proof, record):
    """At most 21 of 200: the 99.9 % bound of a binomial at 5 %. Recovery alone, held at 5 %, in 3 to 6 % of all draws."""
    honest = proof.both(record, "retrained, m = 8")
    assert honest["verdicts"] == 200
    assert proof.flagged(honest) <= proof.MOST[200] == stats.binom.ppf(0.999, 200, 0.05)
    for cell in (honest, proof.both(record, proof.OFTEN)):
        assert 0.03 <= cell["recovery"]["0.05"] / cell["verdicts"] <= 0.06


def test_where_nothing_was_done_nobody_is_cleared(proof, record):
    for name in ("nothing done", "trained on everything anew"):
        for m in proof.BESIDE:
            cell = proof.both(record, f"{name}, m = {m}")
            assert cell["verdicts"] == 200
            assert cell["codes"].get("NO_RESIDUE", 0) == 0
            assert proof.flagged(cell) == 200


@pytest.mark.slow
def test_of_sixty_honest_models_trained_here_few_are_found_and_doing_nothing_clears_nobody(proof, tmp_path, monkeypatch):
    """At most 9 of 60: the 99.9 % bound of a binomial at 5 %. Eight epochs in place of twenty, five models beside each, and all that is judged but relearning, which takes long."""
    monkeypatch.setattr(proof.truth, "recipe_for", functools.partial(proof.recipe_for, epochs=8))
    monkeypatch.setattr(proof, "DRAWS", 0)
    data, label = proof.digits(), 3
    assert label not in proof.truth.RELEARNED
    originals = [proof.network(tmp_path, data.train, seed) for seed in range(2)]
    honest = [proof.network(tmp_path, data.train[data.train.y != label], 1000 + seed) for seed in range(60)]
    cells = proof.judged(label, originals, honest, proof.truth.Looks(proof.truth.Setting(label, data, originals, honest)), proof.Answers(tmp_path))
    told = [cells[f"{who}, m = 5"] for who in proof.WHOM]
    assert [cell["verdicts"] for cell in told] == [60] * 3
    assert proof.flagged(told[0]) <= stats.binom.ppf(0.999, 60, 0.05) == 9
    for nothing in told[1:]:
        assert (proof.flagged(nothing), nothing["codes"].get("NO_RESIDUE", 0)) == (60, 0)


def test_each_kind_of_fake_is_found_in_nine_of_ten_and_few_honest_models_are(benchmark):
    """At least 36 of 40 fakes, and of honest ones no more than a binomial at 5 % allows at 99.9 %; none of these fakes is cleared, and the pages are what the records give."""
    matrix, truth = benchmark("catch_matrix"), benchmark("audit_truth")
    record = json.loads(matrix.RECORD.read_text(encoding="utf-8"))
    for name, fake in record["fakes"].items():
        assert fake["n"] == sum(fake["codes"].values()) == 40, name
        assert sum(fake["codes"].get(code, 0) for code in truth.FOUND) >= 36, name
        assert "NO_RESIDUE" not in fake["codes"], name
    assert len(record["fakes"]) >= 22
    honest = record["honest"]
    assert sum(honest["codes"].get(code, 0) for code in truth.FOUND) <= stats.binom.ppf(0.999, honest["n"], 0.05)
    of_sixty = json.loads(truth.RECORD.read_text(encoding="utf-8"))["honest"]
    assert set(of_sixty) == {f"{c}, m = {m}" for c in truth.CLASSES for m in truth.BESIDE}
    for cell in of_sixty.values():
        assert cell["once"]["verdicts"] == 60
        assert sum(cell["once"]["codes"].get(code, 0) for code in truth.FOUND) <= 9
    text = truth.PAGE.read_text(encoding="utf-8")
    assert truth.placed(text, "truth matrix", matrix.table(record)) == text
    whole = json.loads(truth.RECORD.read_text(encoding="utf-8"))
    for name, drawn in (("alarms", truth.alarms), ("caught", truth.caught), ("rows", truth.rows)):
        assert truth.placed(text, f"truth {name}", drawn(whole)) == text


def test_the_page_shows_the_record(proof, record):
    text = proof.truth.PAGE.read_text(encoding="utf-8")
    assert proof.truth.placed(text, "truth proof", proof.table(record)) == text


def test_what_was_asked_is_not_asked_again_and_a_torn_line_is_left_out(proof, tmp_path):
    asked = []

    class Looks:
        class setting:  # noqa: N801
            label = 3

        def at(self, module, original, *audits):
            asked.append(audits)
            return {type(audit).__name__: [{"name": "it", "values": [{"value": 1.0}]}] for audit in audits}

    one, two = (proof.recipe_for("digits", 10).build() for _ in range(2))
    first = proof.Answers(tmp_path).ask(Looks(), one, two, *proof.ALONE)
    with (tmp_path / "answers.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"torn": {"Proto')
    again = proof.Answers(tmp_path)
    assert again.ask(Looks(), one, two, *proof.ALONE) == first
    assert len(asked) == 1
    again.ask(Looks(), one, two, *proof.ALONE, proof.Accuracy())
    again.ask(Looks(), two, two, *proof.ALONE)
    again.ask(Looks(), two, one, *proof.ALONE)
    assert [len(audits) for audits in asked] == [len(proof.ALONE), 1, *[len(proof.ALONE)] * 2]
    assert proof.Answers(tmp_path).ask(Looks(), two, two, *proof.ALONE) == first


def test_how_models_answer_beside_others_is_what_the_audit_itself_says(proof):
    truth, data = proof.truth, proof.digits()
    nets = []
    for seed in range(5):
        torch.manual_seed(seed)
        nets.append(proof.recipe_for("digits", 10).build().eval())
    original, model, *others = nets
    setting = truth.Setting(3, data, [original], others)
    looks = truth.Looks(setting)
    kept = truth.company(*(looks.at(m, original, Predictions()) for m in (model, original)), [looks.at(m, original, Predictions()) for m in others])
    (entry,) = audit(model, setting.split, [Predictions()], original=original, retrained=others)
    said = next(row["values"] for row in entry["rows"] if row["name"] == truth.COMPANY[1])
    assert {c: [v["value"] for v in vs] for c, vs in kept.items()} == {c: pytest.approx([v["value"] for v in vs], abs=1e-4) for c, vs in said.items()}


def test_nobody_stands_beside_himself_and_all_are_asked_beside_one_original(proof, monkeypatch):
    judged = []

    class Answers:
        def ask(self, looks, module, original, *audits):
            return {"model": module, "beside": original}

    monkeypatch.setattr(proof.truth, "judged", lambda *given: judged.append(given) or {"code": "NO_RESIDUE", "flagged": [], "tests": {}})
    made = proof.judged(3, ["o0", "o1"], [f"h{i}" for i in range(10)], None, Answers())
    assert {name: cell["verdicts"] for name, cell in made.items()} == dict.fromkeys(made, 10) | {proof.OFTEN: 10 * proof.DRAWS}
    for i in range(10):
        own, other = f"o{i % 2}", f"o{(i + 1) % 2}"
        turn, often = judged[:6], judged[6 : 6 + proof.DRAWS]
        del judged[: 6 + proof.DRAWS]
        asked = [(model["model"], model["beside"], original["model"], len(company)) for model, original, company in turn]
        assert asked == [(who, own, own, m) for m in proof.BESIDE for who in (f"h{i}", own, other)]
        assert {one["beside"] for _, _, company in turn for one in company} == {own}
        for _, _, company in (*turn, *often):
            assert len({f"h{i}", *(one["model"] for one in company)}) == 1 + len(company)
    assert not judged


def test_a_network_is_kept_under_what_it_was_trained_on_and_its_seed(proof, tmp_path, monkeypatch):
    monkeypatch.setattr(proof.truth, "kept", lambda file, samples, seed: file.name)
    train = proof.digits().train[:40]
    other = train.labelled((train.y + 1) % 10)
    names = [proof.network(tmp_path, samples, seed) for samples, seed in ((train, 0), (train, 1), (train[:39], 0), (other, 0), (train, 0))]
    assert names[0] == names[4]
    assert len(set(names)) == 4


def test_the_page_tells_why_relearning_is_asked_by_odds(benchmark):
    """One far value of twenty is found where it is judged, in a draw of twenty, on either scale, and originals always; values that are alike never."""
    truth = benchmark("audit_truth")
    far = [i / 1000 for i in range(19)] + [0.99]
    for of in (None, 1000):
        alarms = truth.alarming(far, far, 0.02, of)
        assert stats.binom.ppf(0.0005, 2000, 0.05) <= 2000 * alarms <= stats.binom.ppf(0.9995, 2000, 0.05)
        assert truth.alarming([0.5] * 20, [0.5] * 20, 0.02, of) == truth.alarming(far[:19], [0.005], 0.02, of) == 0
        assert truth.alarming(far[:19], [1.0], 0.02, of) == 1
    record, text = json.loads(truth.RECORD.read_text(encoding="utf-8")), truth.PAGE.read_text(encoding="utf-8")
    assert truth.placed(text, "truth relearned", truth.relearned(record)) == text


def test_the_page_tells_how_long_audits_take(benchmark):
    """A tier is what it asks of two models, and where retrained ones are asked, of these too; what is not measured is named, and the page is what the record gives."""
    times = benchmark("audit_times")
    each = {"a": {"original": 1.0, "unlearned": 2.0, "passes": 9.0}, "b": {"original": 8.0, "unlearned": 16.0, "passes": 0.0}}
    made = {"audits": each, "quick": ["a", "b"], "standard": ["a", "c"], "beside": 5, "class": 3, "retained": 10}
    assert (times.tier(made, "quick"), times.tier(made, "standard")) == (27.0, 13.0)
    assert "it takes 27, no more than the 120 that two cores have in 1 minute." in times.table(made)
    assert "of these `c` are not measured yet" in times.table(made)
    long = {"original": 0.0, "unlearned": 61.0, "passes": 0.0}
    assert "it takes 366, more than the 360 that two cores have in 3 minutes." in times.table(made | {"audits": {"c": long}, "quick": [], "standard": ["c"]})
    record = json.loads(times.OUT.read_text(encoding="utf-8"))
    assert {*record["quick"]} <= {*record["audits"]} <= {*record["quick"], *record["standard"]}
    text = times.PAGE.read_text(encoding="utf-8")
    assert times.placed(text, "truth times", times.table(record)) == text
