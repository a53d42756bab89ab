"""Canaries in a file: what was drawn is trained on and forgotten again by it, it fits no other data, and the verdict on a list goes by the coins."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from blobs import blobs, taught
from untrain.audits.canary import Canary
from untrain.audits.membership import Membership
from untrain.cli import main
from untrain.core.audit import audit
from untrain.core.canary import draw_canaries
from untrain.core.data import Data
from untrain.core.data.overlap import places
from untrain.core.errors import BadArgument, BadData
from untrain.evidence.listed import judge_list
from untrain.metrics.coins import coin_p, guesses, least_share
from untrain.sources.drawn import with_canaries, written
from untrain.sources.request import split
from untrain.verbs.inputs import Inputs


@pytest.fixture
def data():
    return Data("clouds", blobs(120, 0), blobs(40, 1), "0" * 64)


@pytest.fixture
def file(data, tmp_path):
    path = tmp_path / "coins.json"
    path.write_bytes(written(data, draw_canaries(data.train, 30, seed=3)))
    return path


def test_the_data_are_those_that_the_coins_made_and_what_is_forgotten_are_those_inside(data, file):
    drawn, read = draw_canaries(data.train, 30, seed=3), with_canaries(data, file)
    for mine, theirs in ((read.train, drawn.train), (read.canaries, drawn.every)):
        assert places(mine) == places(theirs)
        assert torch.equal(mine.y, theirs.y)
    asked = split(read, "canaries")
    wanted = drawn.split(data.test)
    assert {name: places(part) for name, part in asked.parts.items()} == {name: places(part) for name, part in wanted.parts.items()}
    assert torch.equal(asked.forget.y, wanted.forget.y)
    assert read.sha256 != data.sha256
    with pytest.raises(BadArgument, match="by --canaries"):
        split(data, "canaries")


def test_a_class_that_a_model_numbers_otherwise_is_found_by_its_name(file):
    plain = blobs(120, 0)
    other = plain.labelled(3 - plain.y)
    other.names = ("3", "2", "1", "0")
    read, mine = with_canaries(Data("clouds", other, other[:5], "1" * 64), file), draw_canaries(plain, 30, seed=3)
    assert torch.equal(3 - read.canaries.y, mine.every.y)


def changed(told, **fields):
    told["canaries"][0] |= fields
    return told


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda told: told | {"schema": "another"}, "holds no canaries"),
        (lambda told: [told], "holds no canaries"),
        (lambda told: changed(told, place=told["canaries"][1]["place"]), "a place twice"),
        (lambda told: changed(told, place=-1), "a place twice, or one that is not there"),
        (lambda told: changed(told, place=120), "one that is not there"),
        (lambda told: changed(told, place=told["canaries"][0]["place"] + 0.5), "one that is not there"),
        (lambda told: changed(told, place=True), "one that is not there"),
        (lambda told: told | {"canaries": []}, "or none"),
        (lambda told: changed(told, given=told["canaries"][0]["label"]), "its own label"),
        (lambda told: changed(told, label=told["canaries"][0]["given"]), "tells another of it than it has"),
        (lambda told: changed(told, inside="true"), "neither true nor false"),
        (lambda told: changed(told, inside=1), "neither true nor false"),
        (lambda told: changed(told, given="nobody"), "is not as it should be"),
        (lambda told: changed(told, given=4), "is not as it should be"),
        (lambda told: told | {"canaries": 3}, "is not as it should be"),
        (lambda told: told | {"canaries": [3]}, "is not as it should be"),
    ],
)
def test_what_untrain_did_not_write_is_refused(data, file, edit, said):
    file.write_text(json.dumps(edit(json.loads(file.read_text()))))
    with pytest.raises(BadData, match=said):
        with_canaries(data, file)


def test_files_are_told_by_their_names_and_order(data, tmp_path):
    """What lies in a file need not be read for it: images of a folder may be many."""
    path, train = tmp_path / "coins.json", blobs(120, 0)

    def called(names, of=train):
        made = of[torch.arange(len(of))]
        made.columns = {"path": names}
        return replace(data, train=made)

    names = [f"{i}.png" for i in range(120)]
    drawn = called(names)
    path.write_bytes(written(drawn, draw_canaries(drawn.train, 30, seed=3)))
    told = json.loads(path.read_text())["canaries"]
    assert [row["file"] for row in told] == [names[row["place"]] for row in told]
    assert len(with_canaries(called(names, blobs(120, 0).labelled(train.y)), path).canaries) == 30
    for other in (["other.png", *names[1:]], [names[1], names[0], *names[2:]]):
        with pytest.raises(BadData, match="other training samples"):
            with_canaries(called(other), path)


def test_an_edited_coin_makes_other_data(data, file):
    """So that no run is audited by a file that was edited since: its data are told by this hash."""
    told = json.loads(file.read_text())
    before = with_canaries(data, file)
    told["canaries"][0]["inside"] = not told["canaries"][0]["inside"]
    file.write_text(json.dumps(told))
    after = with_canaries(data, file)
    assert abs(len(after.train) - len(before.train)) == 1
    assert after.sha256 != before.sha256


def test_a_seed_of_too_many_bits_is_refused(data):
    for seed in (2**63, -(2**63) - 1, 2**64, 10**30):
        with pytest.raises(BadArgument, match="more than 63 bits"):
            draw_canaries(data.train, 10, seed=seed)
    assert len(draw_canaries(data.train, 10, seed=2**63 - 1).every) == 10


def test_a_hold_out_under_right_labels_says_nothing_of_canaries_under_wrong_ones(data, tmp_path):
    """An honest model is far surer of the one than of the other: beside coins no rank test is judged, and a request for canaries has no hold-out."""
    file, whole = tmp_path / "coins.json", replace(data, train=blobs(400, 0), holdout=blobs(200, 2))
    drawn = draw_canaries(whole.train, 100, seed=3)
    file.write_bytes(written(whole, drawn))
    assert split(with_canaries(whole, file), "canaries").parts.get("holdout") is None
    assert split(with_canaries(whole, file), "random:10%").parts["holdout"] is not None
    asked = drawn.split(whole.test, holdout=whole.holdout)
    entries = audit(taught(asked.retain, 5), asked, [Membership(), Canary()])
    ranks = entries[0]["rows"][0]["values"]["unlearned"][0]
    assert ranks["p"] < 1e-6
    assert ranks["value"] < 0.3
    found = judge_list(entries, len(asked.forget))
    assert found["code"] == "INCONCLUSIVE"
    assert list(found["tests"]) == ["coins guessed"]
    assert judge_list(entries[:1], len(asked.forget))["code"] == "UNLIKE"


def test_other_samples_another_order_and_other_labels_are_refused(data, file):
    others = (blobs(120, 5), data.train[torch.arange(119, -1, -1)], data.train[:100], data.train.labelled((data.train.y + 1) % 4))
    for train in others:
        with pytest.raises(BadData, match="other training samples"):
            with_canaries(replace(data, train=train), file)
    with pytest.raises(BadData, match="cannot be read"):
        with_canaries(data, file.parent / "none.json")


def test_the_command_line_draws_forgets_audits_and_verifies_by_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))
    told = json.loads((main(["canaries", "--data", "digits", "-m", "60", "-o", "coins.json", "--json"]), capsys.readouterr().out)[1])
    assert told["canaries"] == 60
    assert told["least"] == pytest.approx(least_share(60))
    assert (tmp_path / "coins.json").stat().st_mode & 0o777 == 0o600
    assert main(["canaries", "--data", "digits", "-o", "coins.json"]) == 2
    assert "what was drawn before would be lost" in capsys.readouterr().err
    # No seed is given, and none is written: two calls draw apart.
    main(["canaries", "--data", "digits", "-m", "60", "-o", "others.json"])
    assert json.loads((tmp_path / "coins.json").read_text())["canaries"] != json.loads((tmp_path / "others.json").read_text())["canaries"]
    asked = ["--model", "digits", "--data", "digits", "--canaries", "coins.json", "--forget", "canaries"]
    assert main(["unlearn", "finetune", *asked, "--epochs", "1", "--out", "run"]) == 0
    assert main(["audit", "run", "--skip", "weights"]) in (3, 4)
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    inside = sum(row["inside"] for row in json.loads((tmp_path / "coins.json").read_text())["canaries"])
    assert (record["request"]["forget"], record["request"]["count"], record["data"]["counts"]["canaries"]) == ("canaries", inside, 60)
    (entry,) = (entry for entry in record["audits"] if entry["name"] == "canary")
    assert entry["rows"][0]["values"]["unlearned"][0]["n"] == 60
    assert "of 60 coins are guessed" in record["verdict"]["sentence"]
    assert "coins guessed" in record["verdict"]["tests"]
    # Which they are stands in no file of the run.
    assert not any(str(tmp_path) in path.read_text() or '"inside"' in path.read_text() for path in (tmp_path / "run").glob("*.json"))
    capsys.readouterr()
    assert main(["verify", "run"]) == 0
    assert "same: data: sha256" in capsys.readouterr().out
    opened = Inputs(model="digits", data="digits", forget="canaries", device="cpu").open()
    with pytest.raises(BadArgument, match="by --canaries"):
        opened.fit()


def entries(right, n, original=None):
    """What the audit says of a model that guesses so many coins."""

    def value(k):
        return {"value": k / n, "low": 0.4, "high": 0.6, "n": n, "p": coin_p(k, n), "least": least_share(n), "beyond": False}

    values = {"unlearned": [value(right)], "original": [] if original is None else [value(original)]}
    return [{"name": "canary", "skipped": None, "rows": [{"name": "coins guessed", "unit": "share", "knows": 1, "values": values}]}]


def test_the_verdict_on_a_list_goes_by_the_coins_and_never_declares_it_clean():
    n = 200
    least = next(k for k in range(100, n) if stats.binomtest(k, n).pvalue <= 0.05)
    said = {k: judge_list(entries(k, n), 100)["code"] for k in range(n + 1)}
    assert {k for k, code in said.items() if code == "RESIDUE"} == set(range(least, n + 1))
    assert {k for k, code in said.items() if code == "UNLIKE"} == set(range(n - least + 1))
    assert "NO_RESIDUE" not in said.values()
    found = judge_list(entries(150, n, original=190), 100)
    assert "0.75 of 200 coins are guessed" in found["sentence"]
    assert "the original has 0.95" in found["sentence"]
    assert found["without_power"] == []
    assert judge_list(entries(100, n, original=104), 100)["without_power"] == ["coins guessed"]
    assert "bring 75" not in judge_list(entries(100, n), 100)["sentence"]
    assert "and 0.60 would have been found in 8 of 10 cases" in judge_list(entries(100, n), 100)["sentence"]
    # An original that guesses them wrongly shows no power to see what it knows.
    assert judge_list(entries(100, n, original=40), 100)["without_power"] == ["coins guessed"]
    # Canaries have wrong labels, and a hold-out right ones: where there are coins nothing else is asked.
    told = {"value": 0.9, "low": 0.8, "high": 0.95, "n": n, "p": 1e-9, "least": 0.1}
    other = {"name": "membership", "skipped": None, "rows": [{"name": "membership", "unit": "share", "knows": 1, "values": {"unlearned": [told]}}]}
    beside = judge_list([other, *entries(100, n)], 100)
    assert (beside["code"], set(beside["tests"])) == ("INCONCLUSIVE", {"coins guessed"})
    # Of four coins not even all that are guessed rightly are found.
    assert "hardly any share would have been found" in judge_list(entries(4, 4), 100)["sentence"]


def test_who_knows_nothing_of_the_coins_is_found_no_oftener_than_the_level_says():
    rng, draws = np.random.default_rng(0), 1000
    found = 0
    for _ in range(draws):
        right, n = guesses(torch.tensor(rng.normal(size=100)), torch.tensor(rng.random(100) < 0.5))
        found += judge_list(entries(right, n), 50)["code"] in ("RESIDUE", "UNLIKE")
    # Of 100 coins the level that is reached is that of the binomial tails, .035.
    level = sum(stats.binom.pmf(k, 100, 0.5) for k in range(101) if stats.binomtest(k, 100).pvalue <= 0.05)
    assert stats.binom.ppf(0.0005, draws, level) <= found <= stats.binom.ppf(0.9995, draws, level)
