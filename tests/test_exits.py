"""Exits: each is found by its head, fit and UNSIR reach all of them, and one that still knows is caught."""

import copy
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import untrain
from untrain.audits.accuracy import Accuracy
from untrain.core.audit import audit
from untrain.core.data import Samples, Split
from untrain.core.engine import seeded
from untrain.core.errors import BadArgument
from untrain.core.network import Network
from untrain.core.train import fit, predict
from untrain.evidence import record as records
from untrain.evidence import seal
from untrain.evidence.listed import judged, judged_exit
from untrain.evidence.verdict import FAMILIES, judge
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.unsir import UNSIR
from untrain.report.markup import chance
from untrain.report.page import render
from untrain.report.sections import said, table
from untrain.sources.card import found
from untrain.verbs import auditing
from untrain.verbs.inputs import Inputs
from untrain.verbs.training import train
from untrain.verbs.unlearning import unlearn


class Exits(nn.Module):
    """Two early exits and a deep one, that answer in a tuple or a dict, in the order of their registration or not."""

    def __init__(self, kind: str = "tuple") -> None:
        super().__init__()
        self.kind = kind
        self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 16)
        self.deep, self.exit1 = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        first = self.one(x).relu()
        early, deep = self.exit1(first), self.deep(self.two(first).relu())
        return {"tuple": (early, deep), "list": [deep, early], "dict": {"a": early, "b": deep}}[self.kind]


def samples(n: int = 200, seed: int = 0) -> Samples:
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 4
    return Samples(torch.randn(n, 8, generator=g) * 0.5 + 3 * torch.eye(4, 8)[y], y)


HEADS = "exit1,deep"


def trained(seed: int, data: Samples, kind: str = "tuple") -> Exits:
    with seeded(seed):
        network = Network(Exits(kind), head=HEADS)
        network.locate(data.batch(torch.arange(2))[0])
        fit(network, data, phase="train", lr=0.01, epochs=15, batch=32)
    return network.module.eval()


@pytest.fixture(scope="module")
def split() -> Split:
    return Split.by_class(samples(), samples(80, 1), forget=[3])


@pytest.fixture(scope="module")
def original(split) -> Exits:
    return trained(1, split.retain + split.forget)


def recall(module: nn.Module, head: str, part: Samples) -> float:
    view = Network(module, head=head)
    view.locate(part.batch(torch.arange(2))[0])
    out, y, _ = predict(view, part)
    return float((out.argmax(1) == y).double().mean())


@pytest.mark.parametrize("kind", ["tuple", "list", "dict"])
def test_each_exit_is_found_by_its_head_however_it_is_answered(kind):
    module, x = Exits(kind).eval(), samples(6).batch(torch.arange(6))[0]
    network = Network(module, head=HEADS)
    assert network.locate(x) == 4
    early, deep = network.answers(x)
    first = module.one(x).relu()
    assert early.equal(module.exit1(first))
    assert deep.equal(module.deep(module.two(first).relu()))
    assert network(x).equal(deep)
    assert [head.name for head in network.heads] == ["exit1", "deep"]
    # What is copied keeps them, and the last name is the one that counts.
    assert network.teacher().answers(x)[0].equal(early)
    other = Network(module, head="deep,exit1")
    other.locate(x)
    assert other(x).equal(early)


def test_a_network_without_exits_has_one_answer():
    x = torch.randn(3, 8)
    network = Network(nn.Sequential(nn.Linear(8, 4)))
    (only,) = network.answers(x)
    assert only.equal(network(x))
    assert network.heads == (network.head,)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("exit1,nope", "no linear layer or convolution 'nope'"),
        ("one,deep", "the layer 'one' gives none of the model's 2 answers; an exit is"),
        ("deep,deep", "the layer 'deep' is named twice"),
        (None, "of exits that answer the same question all of them, with commas between"),
    ],
)
def test_names_that_are_no_exits_are_refused(split, head, said):
    with pytest.raises(BadArgument) as error:
        untrain.unlearn(Exits(), split, HeadOnly(), head=head)
    assert said in str(error.value)


def test_exits_that_were_not_looked_for_are_asked_for_in_words():
    with pytest.raises(BadArgument, match=r"the exits exit1, deep are not found yet; call locate\(x\)"):
        Network(Exits(), head=HEADS).answers(torch.randn(2, 8))


def test_answers_of_several_widths_are_no_exits():
    class Two(Exits):
        def __init__(self):
            super().__init__()
            self.exit1 = nn.Linear(16, 7)

    with pytest.raises(BadArgument, match=r"7 \(exit1\), 4 \(deep\) classes"):
        Network(Two(), head=HEADS).locate(torch.randn(2, 8))


def test_fit_is_the_mean_over_exits_and_counts_one_forward(split):
    module = Exits()
    by_hand, x, y = copy.deepcopy(module), *split.retain.batch(torch.arange(32))
    out = by_hand(x)
    ((F.cross_entropy(out[0], y) + F.cross_entropy(out[1], y)) / 2).backward()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    optimizer.step()
    with seeded(0) as run:
        network = Network(module, head=HEADS)
        network.locate(x)
        run.passes = 0
        fit(network, split.retain[torch.arange(32)], phase="fit", lr=0.1, epochs=1, batch=32, optimizer="sgd", momentum=0.0)
    assert run.passes == 3 * 32
    for a, b in zip(module.parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


class Digits(nn.Module):
    """Two convolutions over digits, with an exit after each."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = untrain.Norm((0.5,), (0.5,))
        self.one = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.exit1, self.deep = nn.Linear(256, 10), nn.Linear(128, 10)

    def forward(self, x):
        first = self.one(x)
        return self.exit1(first.flatten(1)), self.deep(self.two(first).flatten(1))


@pytest.fixture(scope="module")
def digits() -> tuple[Digits, Split]:
    data = untrain.load("digits")
    split = Split.by_class(data.train.first(60), data.test, forget=[7]).prepared(Digits().norm)
    with seeded(1):
        network = Network(Digits(), head=HEADS)
        network.locate((split.retain + split.forget).batch(torch.arange(2))[0])
        fit(network, split.retain + split.forget, phase="train", lr=0.01, epochs=8, batch=64)
    return network.module.eval(), split


SMALL = UNSIR(noise_steps=10, floor=120)


@pytest.mark.parametrize("repair", ["distill", "labels"])
def test_unsir_forgets_at_every_exit_named_and_at_no_other(digits, repair):
    original, split = digits
    gone, kept = split.test[split.test.y == 7], split.test[split.test.y != 7]
    assert min(recall(original, head, gone) for head in ("exit1", "deep")) > 0.8
    both = untrain.unlearn(original, split, replace(SMALL, repair=repair), head=HEADS).model
    assert max(recall(both, head, gone) for head in ("exit1", "deep")) <= 0.05
    assert min(recall(both, head, kept) for head in ("exit1", "deep")) > 0.8
    assert not both.exit1.weight[7].equal(original.exit1.weight[7])
    # Told of the deep exit alone it leaves the early one's head as it was.
    if repair == "distill":
        one = untrain.unlearn(original, split, SMALL, head="deep").model
        assert one.exit1.weight.equal(original.exit1.weight)
        assert recall(one, "deep", gone) <= 0.05


def test_a_mask_silences_every_exit_named(split, original):
    gone = split.test[split.test.y == 3]
    masked = untrain.unlearn(original, split, HeadOnly(), head=HEADS).model
    assert max(recall(masked, head, gone) for head in ("exit1", "deep")) == 0


def test_an_exit_that_still_knows_is_caught(split, original):
    """The known truth: a retrained network whose early exit is the original's, first layer and all; its deep exit never saw the class."""
    retrained = [trained(seed, split.retain) for seed in (2, 3)]
    leaking = trained(4, split.retain)
    with torch.no_grad():
        for part in ("one", "exit1"):
            getattr(leaking, part).load_state_dict(getattr(original, part).state_dict())
    with seeded(5):
        leaking.one.requires_grad_(False)
        leaking.exit1.requires_grad_(False)
        network = Network(leaking, head="deep")
        network.locate(split.retain.batch(torch.arange(2))[0])
        fit(network, split.retain, phase="train", lr=0.01, epochs=15, batch=32)
    leaking.eval()
    some = [Accuracy()]

    def record(model):
        how = {"original": original, "retrained": retrained}
        return {
            "request": {"forget": "class:3", "classes": [3], "names": ["3"]},
            "run": {"marks": []},
            "audits": audit(model, split, some, head=HEADS, **how),
            "exits": [{"name": "exit1", "audits": audit(model, split, some, head="deep,exit1", **how)}],
        }

    found = record(leaking)
    alone = judged({k: v for k, v in found.items() if k != "exits"})
    assert alone["code"] != "RESIDUE"
    whole = judged(found)
    assert whole["code"] == "RESIDUE"
    assert whole["reasons"][0].startswith("exit1: ")
    assert judged(record(trained(6, split.retain)))["code"] != "RESIDUE"
    json.dumps(whole)


def test_levels_are_shared_among_exits():
    """Where each of four exits is judged, what was found at 5 % in one alone has to be found at 1.25 %."""
    values = {"original": [{"value": 0.9, "n": 100}], "unlearned": [{"value": 0.5, "n": 100}], "retrained": [{"value": v, "n": 100} for v in (0.1, 0.2, 0.3, 0.15)]}
    row = {"name": "one-shot prototype", "ideal": "as retrained", "unit": "share", "knows": 1, "what": "", "looks": "features", "judged": True, "values": values}
    audits = [{"name": "prototype", "question": "", "settings": {}, "rows": [row], "figures": [], "skipped": None}]
    p = judge(audits, [], "it")["tests"]["one-shot prototype"]["p"]
    assert FAMILIES["recovery"].level / 4 < p < FAMILIES["recovery"].level
    assert judge(audits, [], "it")["code"] == "RESIDUE"
    assert judge(audits, [], "it", of=4)["code"] != "RESIDUE"
    # A row sees the original at the level that the model is judged at.
    row["values"] = values | {"original": values["unlearned"], "unlearned": [{"value": 0.2, "n": 100}]}
    assert judge(audits, [], "it")["without_power"] == []
    assert judge(audits, [], "it", of=4)["without_power"] == ["one-shot prototype"]


def rows(audit, **named):
    """An entry of a record: by row's name its numbers in the original, the model and those of retrained models."""
    made = []
    for name, (original, unlearned, retrained) in named.items():
        values = {"original": [original], "unlearned": [unlearned], "retrained": retrained}
        told = {column: [{"value": v, "low": None, "high": None, "n": 100, "beyond": False} for v in found] for column, found in values.items()}
        made.append({"name": name, "ideal": "as retrained", "unit": "share", "knows": 1, "what": "", "looks": "features", "judged": True, "values": told})
    return {"name": audit, "question": "", "settings": {}, "rows": made, "figures": [], "skipped": None}


FIVE = [0.10, 0.12, 0.11, 0.13, 0.12]


def looked(prototype):
    return [rows("prototype", **{"one-shot prototype": (0.9, prototype, FIVE)}), rows("descent", **{"unlike the original, halfway": (0.9, 0.12, FIVE)})]


def of_a_class(last, *exits):
    request = {"forget": "class:3", "classes": [3], "names": ["3"]}
    return {"request": request, "run": {"marks": []}, "audits": last, "exits": [{"name": f"exit{n}", "audits": audits} for n, audits in enumerate(exits, 1)]}


def test_the_worst_of_all_exits_counts_whichever_it_is_and_whatever_is_said_of_the_others():
    clean, knows, hides, unasked = looked(0.12), looked(0.8), looked(-0.8), []
    codes = {"NO_RESIDUE": clean, "RESIDUE": knows, "UNLIKE": hides, "INCONCLUSIVE": unasked}
    assert {code: judged(of_a_class(audits))["code"] for code, audits in codes.items()} == {code: code for code in codes}
    order = ("RESIDUE", "UNLIKE", "INCONCLUSIVE", "NO_RESIDUE")
    for one, other in itertools.product(codes, codes):
        found = judged(of_a_class(codes[one], codes[other]))
        assert found["code"] == min(one, other, key=order.index), (one, other)
    assert judged(of_a_class(knows, clean))["reasons"][0].startswith("the last exit: ")


def test_what_is_said_of_exits_counts_the_tests_that_one_exit_alone_would():
    """The row that looks halfway finds no trace, and is no test that none was found in: in the record, on the page and on the card."""
    alone, whole = of_a_class(looked(0.12)), of_a_class(looked(0.12), looked(0.12))
    assert "unlike the original, halfway" in judged(alone)["tests"]
    for record in (alone, whole):
        record["verdict"] = judged(record)
        assert "in 1 tests that do see it" in record["verdict"]["sentence"]
        assert "in 1 tests that do see it" in str(said(record)[1])
        assert "in 1 tests that do see it" in found(record)


def test_the_table_of_the_last_exits_rows_tells_the_last_exits_tests():
    """Beside numbers of the last exit no p, limit or trace of another stands, though that one's verdict counts."""
    record = of_a_class(looked(0.12), looked(0.8)) | {"pictures": None}
    record["verdict"] = judged(record)
    assert (record["verdict"]["code"], record["verdict"]["flagged"]) == ("RESIDUE", ["one-shot prototype"])
    text, own = str(table(record)), judged_exit(record["audits"], record)["tests"]["one-shot prototype"]["p"]
    assert ">trace<" not in text
    assert f"p {chance(own)}" in text
    assert "shared among 2 exits" in text
    # Where it is the last one's own, it is told.
    turned = of_a_class(looked(0.8), looked(0.12)) | {"pictures": None}
    assert ">trace<" in str(table(turned | {"verdict": judged(turned)}))
    assert "shared among" not in str(table(record | {"exits": []}))


def test_a_list_and_what_forbids_a_clean_bill_share_the_level_too():
    """Of p = .03 both are something at one exit, and nothing at the third part of the level."""
    values = {column: [{"value": 0.62, "low": 0.5, "high": 0.7, "n": 90, "beyond": False, "p": 0.03, "least": 0.1}] for column in ("unlearned", "original")}
    row = {"name": "membership", "ideal": "as retrained", "unit": "share", "knows": 1, "what": "", "looks": "membership", "values": values}
    audits = [{"name": "membership", "question": "", "settings": {}, "rows": [row], "figures": [], "skipped": None}]
    request = {"forget": "index:list.txt", "classes": [], "names": [], "count": 90}
    record = {"request": request, "run": {"marks": []}, "audits": audits}
    assert judged(record)["code"] == "RESIDUE"
    assert judged(record | {"exits": [{"name": name, "audits": audits} for name in ("exit1", "exit2")]})["code"] == "INCONCLUSIVE"
    # The halfway row knows less the more it leaves untold, and lies so near the original that p is between .01 / 3 and .01.
    spread = [0.50, 0.70, 0.60, 0.80, 0.65]
    half = rows("descent", **{"unlike the original, halfway": (0.0, 0.06, spread)})
    half["rows"][0]["knows"] = -1
    both = [looked(0.12)[0], half]
    p = judge(both, [], "it")["tests"]["unlike the original, halfway"]["p"]
    assert FAMILIES["descent"].level / 3 < p < FAMILIES["descent"].level, p
    assert judge(both, [], "it")["code"] == "INCONCLUSIVE"
    assert judge(both, [], "it", of=3)["code"] == "NO_RESIDUE"


@pytest.fixture(scope="module")
def toned(tmp_path_factory) -> tuple[Inputs, Path]:
    """Tones of four classes by three speakers, and the network with exits that was trained on them."""
    folder = tmp_path_factory.mktemp("tones")
    rows = [(8000 * np.sin(2 * np.pi * (300 + 500 * (i % 4)) * np.arange(600) / 8000 + i)).astype(np.int16) for i in range(96)]
    columns = {"pcm": pa.array([r.tolist() for r in rows], pa.list_(pa.int16())), "label": [i % 4 for i in range(96)]}
    columns |= {"split": ["train"] * 48 + ["test"] * 16 + ["holdout"] * 32, "speaker": [("ann", "ben", "cid")[i % 3] for i in range(96)]}
    pq.write_table(pa.table(columns), folder / "tones.parquet")
    (folder / "nets.py").write_text("from untrain.zoo.speech import SelfDistilled\ndef recipe(classes):\n    return SelfDistilled('net', classes, epochs=6, batch=16)\n")
    asked = Inputs(model="untrain.zoo.speech:net", data=str(folder / "tones.parquet"), rate=8000, length=0.075, head="exit1,exit2,deep", forget="class:3")
    train(replace(asked, forget=None, recipe=f"{folder / 'nets.py'}:recipe"), folder / "original")
    return replace(asked, weights=folder / "original" / "model.safetensors"), folder


def test_a_speaker_is_forgotten_by_name_and_asked_about_at_every_exit(toned, tmp_path):
    """A column of the table says whose recordings they are; the classes stay, and each exit is asked whether they were trained on."""
    asked, _ = toned
    unlearn(FineTune(epochs=1, batch=16), replace(asked, forget="where:speaker=ben"), tmp_path / "run")
    record = auditing.audit(tmp_path / "run", elsewhere={"model": asked.model}, skip=("relearn", "strangeness", "descent", "predictions"))
    assert (record["request"]["forget"].partition("=")[0], record["request"]["count"]) == ("where:speaker", 16)
    assert [exit["name"] for exit in record["exits"]] == ["exit1", "exit2"]
    for audits in (record["audits"], *(exit["audits"] for exit in record["exits"])):
        (row,) = [row for a in audits if a["name"] == "membership" for row in a["rows"] if row["name"] == "membership"]
        assert row["values"]["unlearned"][0]["n"] > 0
    with pytest.raises(BadArgument, match="UNSIR"):
        unlearn(UNSIR(), replace(asked, forget="where:speaker=ben"), tmp_path / "other")


def test_a_run_is_judged_at_every_exit_in_its_record_and_on_its_page(toned, tmp_path):
    """By the verbs, on tones: a mask at one exit alone is no exit's clean bill, and the record holds together."""
    asked, _ = toned
    unlearn(HeadOnly(), asked, tmp_path / "run")
    skip = ("relearn", "strangeness", "descent", "predictions")
    record = auditing.audit(tmp_path / "run", elsewhere={"model": asked.model}, skip=skip)
    assert [exit["name"] for exit in record["exits"]] == ["exit1", "exit2"]
    assert records.read(tmp_path / "run") == record
    assert seal.edited(record) == []
    named = {exit["name"]: row["values"]["unlearned"][0]["value"] for exit in record["exits"] for a in exit["audits"] for row in a["rows"] if row["name"] == "forgotten, test"}
    assert named == {"exit1": 0.0, "exit2": 0.0}
    # A mask at every exit is a mask at each: outside of all heads the model is the original.
    assert {exit["verdict"]["code"] for exit in record["exits"]} == {record["verdict"]["code"]} == {"SUPPRESSED"}
    assert "Every exit" in render(record)
    forged = copy.deepcopy(record)
    forged["exits"][0]["audits"][0]["rows"][0]["values"]["unlearned"][0] |= {"value": 1.0, "low": 0.8, "high": 1.0}
    assert any("verdict" in fact for fact in seal.edited(seal.sealed(forged)))
    # So is what is said of one exit alone: the page repeats it.
    forged = copy.deepcopy(record)
    forged["exits"][1]["verdict"] |= {"code": "NO_RESIDUE", "reasons": []}
    assert seal.edited(seal.sealed(forged)) == ["its verdict on exit2 is not the one that the rows there give"]
    with pytest.raises(BadArgument, match="its verdict is on all of them; leave out --head"):
        auditing.audit(tmp_path / "run", elsewhere={"model": asked.model, "head": "deep"})
