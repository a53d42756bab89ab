"""Every audit keeps every law of audits, and each law catches an audit that breaks it on purpose."""

from __future__ import annotations

import contextlib
import gc
import itertools
import random
import tempfile
import weakref
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from untrain.audits.accuracy import Accuracy
from untrain.audits.graft import Graft
from untrain.audits.prototype import Prototype
from untrain.checks import asking
from untrain.checks.asking import AUDIT_LAWS, Questioned, check_audit, excuses
from untrain.checks.own import rooms
from untrain.checks.running import LawBroken
from untrain.checks.truth import GONE, check_it_raises_no_alarm_at_models_that_never_saw, check_it_sees_what_was_learned
from untrain.core import train
from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.discover import found, lookup
from untrain.core.files import weights_hash

FEW = {
    "relearn": {"steps": 6, "every": 3, "lr": 0.1, "forgotten": 40, "retained": 20, "probes": 40},
    "attack": {"steps": 6, "every": 3, "rates": 1, "sgd": 0.2, "forgotten": 40, "retained": 20, "probes": 40, "points": 2},
    "dormant": {"steps": 2, "epochs": 2, "batch": 50},
    "splitrelearn": {"epochs": 1, "retained": 60, "batch": 50},
    "prototype": {"repeats": 4},
    "likeness": {"most": 30},
}
"""Settings under which audits that take long are held to the laws."""


LONG = ("accuracy", "attack", "bias", "canary", "dormant", "exposure", "iam", "likeness", "relearn", "scores", "splitrelearn")
"""Audits that take several seconds each, and are held to the laws where there is time (`make test-slow`)."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in found("audits")])
def test_every_audit_keeps_every_law(name):
    check_audit(lookup("audits", name)(**FEW.get(name, {})))


@dataclass(frozen=True)
class Says(Audit):
    """Says one number."""

    question = "What does it say?"
    rows: ClassVar = {"it": Row("low", "count", 0, "a number", "features")}

    def number(self, model, test):
        return 1.0

    def __call__(self, model, *, test):
        return Finding({"it": Value(float(self.number(model, test)), n=1)})


class Silent(Says):
    rows: ClassVar = {"it": Row("low", "count", 0, "", "features")}


class Moves(Says):
    def number(self, model, test):
        with torch.no_grad():
            next(model.given.parameters()).add_(1)
        return 1


class Below(Says):
    def number(self, model, test):
        return -1


class Unnamed(Says):
    def __call__(self, model, *, test):
        return Finding({"another": Value(1.0)})


class Counts(Says):
    calls = itertools.count()

    def number(self, model, test):
        return next(self.calls)


class First(Says):
    def number(self, model, test):
        return test.y[0]


class Batch(Says):
    def number(self, model, test):
        return train._at_once(test)


class Threads(Says):
    def number(self, model, test):
        return torch.get_num_threads()


class Lengths(Says):
    def number(self, model, test):
        return model.on(test)[2].norm(dim=1).mean()


class Names(Says):
    def number(self, model, test):
        return test.y.double().square().mean()


@pytest.mark.parametrize(
    ("broken", "law", "said"),
    [
        (Silent, asking.check_every_row_and_field_is_told_of, "does not say what it is"),
        (Moves, asking.check_it_moves_no_weight, "moved conv1.weight"),
        (Below, asking.check_its_numbers_are_such_as_its_rows_say, "says -1.0 of 'it', which is no count"),
        (Unnamed, asking.check_its_numbers_are_such_as_its_rows_say, "measures 'another'"),
        (Counts, asking.check_the_same_seed_gives_the_same_numbers, "says"),
        (First, asking.check_the_order_of_samples_is_nothing_to_it, "in another order"),
        (Batch, asking.check_the_size_of_batches_is_nothing_to_it, "with batches of 7"),
        (Threads, asking.check_the_number_of_threads_is_nothing_to_it, "with two threads"),
        (Lengths, asking.check_how_the_network_is_written_is_nothing_to_it, "units are written otherwise"),
        (Names, asking.check_the_numbers_of_classes_are_nothing_to_it, "classes have other numbers"),
    ],
)
def test_a_law_catches_an_audit_that_breaks_it(broken, law, said):
    with pytest.raises(LawBroken, match=said):
        law(broken())
    law(Says())


def test_an_audit_that_draws_from_its_callers_stream_is_caught(monkeypatch):
    """Which `audit` itself keeps from them, so that its guard is taken away here."""
    law = asking.check_it_moves_no_random_state
    law(Prototype(repeats=2))
    monkeypatch.setattr("untrain.core.audit.seeded", lambda *_, **__: contextlib.nullcontext())
    with pytest.raises(LawBroken, match="random state"):
        law(Prototype(repeats=2))


class Turned(Prototype):
    rows: ClassVar = {name: replace(row, knows=-row.knows) for name, row in Prototype.rows.items()}


class Claims(Says):
    """Says one number, and that more of it is a trace."""

    rows: ClassVar = {"it": Row("as retrained", "share", +1, "a share", "features")}


class Noise(Claims):
    def number(self, model, test):
        return random.Random(weights_hash(model.state())).random()


class Answers(Claims):
    def number(self, model, test):
        logits, labels, _ = model.on(test)
        return (logits.argmax(1) == labels)[labels == GONE].double().mean()


class Everything(Claims):
    def __call__(self, model, *, test):
        return Finding({"it": Value(1.0, p=1e-9)})


class Favours(Claims):
    """Looks at who is called retrained."""

    def __call__(self, model, *, retrained):
        return Finding({"it": Value(float(model not in retrained))})


class Guesses(Claims):
    """A p that is no chance: small nine times in ten."""

    def __call__(self, model, *, test):
        return Finding({"it": Value(0.5, p=0.01 if Noise.number(self, model, test) < 0.9 else 0.5)})


SEES, ALARMS = check_it_sees_what_was_learned, check_it_raises_no_alarm_at_models_that_never_saw


@pytest.mark.parametrize(
    ("broken", "law", "said"),
    [
        (Turned, SEES, "does not tell a model that learned it from 9"),
        (Noise, SEES, "does not tell"),
        (Claims, SEES, "does not tell a model that learned it"),
        (Answers, SEES, "does not tell one that learned it and has a mask on its head"),
        (Everything, SEES, "does not tell a model that learned it"),
        (Everything, ALARMS, "finds 9 of 9 models that never saw it by 'it', each at 5%"),
        (Favours, ALARMS, "finds 9 of 9 models"),
        (Guesses, ALARMS, "of 9 models that never saw it"),
    ],
)
def test_an_audit_that_is_blind_or_cries_wolf_is_caught(broken, law, said):
    with pytest.raises(LawBroken, match=said):
        law(broken())
    law(Prototype(repeats=4))
    # Of what only describes nothing of the kind is asked.
    law(Says())


def test_each_law_has_an_audit_that_breaks_it():
    tests = (test_a_law_catches_an_audit_that_breaks_it, test_an_audit_that_is_blind_or_cries_wolf_is_caught)
    tested = {law for test in tests for mark in test.pytestmark for _, law, _ in mark.args[1]}
    assert tested | {asking.check_it_moves_no_random_state} == set(AUDIT_LAWS)


def test_an_exception_must_be_made_use_of_and_a_law_of_ones_own_is_run(monkeypatch):
    assert set(excuses(Graft())) == {asking.check_how_the_network_is_written_is_nothing_to_it, SEES}
    assert excuses(Says()) == {}
    monkeypatch.setattr(asking, "AUDIT_LAWS", (asking.check_every_row_and_field_is_told_of,))
    monkeypatch.setattr(rooms()["graft"], "AUDIT_EXCEPTIONS", {asking.check_every_row_and_field_is_told_of: "for no reason"})
    with pytest.raises(LawBroken, match="though it is excused \\(for no reason\\); strike it"):
        check_audit(Graft())

    def check_it_is_called_otherwise(asked: Audit, case: Questioned | None = None) -> None:
        raise LawBroken(check_it_is_called_otherwise, asked, "is not")

    with pytest.raises(LawBroken, match="it is called otherwise"):
        check_audit(Accuracy(), check_it_is_called_otherwise)


def test_what_is_trained_to_look_is_written_nowhere(tmp_path, monkeypatch):
    """Audits that bring the class back in a copy leave no file, and no model that knows the class outlives them."""
    monkeypatch.chdir(tmp_path)
    for name in ("UNTRAIN_CACHE", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(tempfile, "tempdir", None)
    kept, built = Questioned.fresh(), Subject.copy
    made = []

    def copied(self):
        network = built(self)
        made.append(weakref.ref(network.module))
        return network

    monkeypatch.setattr(Subject, "copy", copied)
    for name in ("relearn", "attack", "dormant", "splitrelearn"):
        (entry,) = kept.ask(lookup("audits", name)(**FEW[name]))
        assert entry["skipped"] is None
    gc.collect()
    assert len(made) > 12
    assert [one() for one in made if one() is not None] == []
    assert tempfile.gettempdir() == str(tmp_path / "TMPDIR")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
