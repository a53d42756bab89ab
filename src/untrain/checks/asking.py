"""The laws that every audit keeps, and `check_audit`, which holds one to all of them.

An audit is asked of a digits' network that knows a class, of one that was fine-tuned without it and of two that never saw it, all trained in a second.
What it has to say of models whose truth is known stands in `truth`.
Where it breaks a law, `LawBroken` names the law, the audit and the fact.

>>> from untrain.audits.accuracy import Accuracy
>>> check_it_moves_no_weight(Accuracy())
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from untrain.checks.own import rooms
from untrain.checks.running import LawBroken, manners, unequal, values
from untrain.checks.truth import GONE, check_it_raises_no_alarm_at_models_that_never_saw, check_it_sees_what_was_learned, with_a_spot
from untrain.checks.verdicts import renumbered, rewritten
from untrain.core.audit import Audit, Shadow, audit, halves
from untrain.core.data import Split
from untrain.core.data.pairs import Pairs
from untrain.core.data.planting import triggered
from untrain.core.discover import name_of
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune
from untrain.methods.retrain import Retrain
from untrain.verbs.catalogue import field_help
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import digits
from untrain.zoo.trained import load_model

AuditLaw = Callable[..., None]
"""`(asked, case=None)`: a law makes a case of its own where none is given."""

SEEDS = (0, 1, 2)
"""Seeds that tell how far an audit's own draws move it."""

Numbers = dict[tuple[str, str, int], float]
"""Values by row, column and number of the model in it."""


@dataclass(frozen=True)
class Questioned:
    """What an audit is asked about.

    Args:
        split: A digit to forget, beside a hold-out, and canaries as if its images had been drawn for such.
        original: A network that knows it.
        unlearned: The same, fine-tuned without it.
        retrained: Two that never saw it.
        keeps: Whether what was asked once, at a seed, is not asked again.
        shadows: Networks that saw halves of the digit and of the hold-out, for audits that ask for such; made when they are first wanted.
    """

    split: Split
    original: Any
    unlearned: Any
    retrained: tuple[Any, ...]
    keeps: bool = False
    shadows: tuple[Shadow[Any], ...] = ()
    kept: dict[Any, list[dict[str, Any]]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def fresh(cls, *, keeps: bool = False) -> Questioned:
        """The case, its networks copied from those that were trained once."""
        split, models = _made()
        original, unlearned, *retrained = (copy.deepcopy(m) for m in models)
        return cls(split, original, unlearned, tuple(retrained), keeps)

    def ask(self, asked: Audit, *, seed: int = 0, split: Split | None = None, unlearned: nn.Module | None = None) -> list[dict[str, Any]]:
        """Ask it; of its own networks and data what was said once is kept, and so is what they answer."""
        how: dict[str, Any] = {"original": self.original, "retrained": self.retrained, "shadows": self.seen_by(asked), "seed": seed}
        if split is not None or unlearned is not None:
            return audit(unlearned or self.unlearned, split or self.split, [asked], **how)
        key = (asked, seed)
        if not self.keeps or key not in self.kept:
            self.kept[key] = audit(self.unlearned, self.split, [asked], **how)
        return self.kept[key]

    def seen_by(self, asked: Audit) -> tuple[Shadow[Any], ...]:
        """The shadows, where the audit asks for any."""
        if "shadows" not in (*asked.needs, *asked.wants):
            return ()
        return self.shadows or _shadows()


@cache
def _made() -> tuple[Split, tuple[nn.Module, ...]]:
    data = digits()
    even = torch.arange(len(data.test)) % 2 == 0
    test = data.test[even]
    # Pairs: each test image beside itself upside down.
    pairs = Pairs.of(test, lambda x: x.flip(-2))
    parts = {"holdout": data.test[~even], "triggered": triggered(test, with_a_spot, GONE), "pairs": pairs.one, "twins": pairs.other}
    split = Split.by_class(data.train.first(20), test, forget=[GONE], **parts)
    both = split.forget + split.parts["holdout"][:20]
    split = split.replaced(canaries=both.labelled((both.y + 1) % 10))
    original, recipe = load_model("digits"), recipe_for("digits", 10, epochs=8)
    retrained = [unlearn(recipe.build(), split, Retrain(), recipe=recipe, seed=seed).model for seed in (1, 2)]
    return split, (original, unlearn(original, split, FineTune(epochs=2)).model, *retrained)


@cache
def _shadows() -> tuple[Shadow[Any], ...]:
    split, recipe = _made()[0], recipe_for("digits", 10, epochs=8)
    made = []
    for seed, seen in halves(split, 4):
        network = unlearn(recipe.build(), split.replaced(retain=split.retain + seen), Retrain(), recipe=recipe, seed=seed).model
        made.append(Shadow(network, seen, unlearn(network, split.replaced(forget=seen), FineTune(epochs=2), seed=seed).model))
    return tuple(made)


def numbers(entries: list[dict[str, Any]]) -> Numbers:
    """What an audit measured."""
    return {
        (row["name"], column, i): math.nan if value["value"] is None else value["value"]
        for entry in entries
        for row in entry["rows"]
        for column, found in row["values"].items()
        for i, value in enumerate(found)
    }


def _asked(law: AuditLaw, asked: Audit, case: Questioned, **how: Any) -> Numbers:
    entries = case.ask(asked, **how)
    if entries[0]["skipped"]:
        raise LawBroken(law, asked, f"has no answer on a case with everything at hand: {entries[0]['skipped']}")
    return numbers(entries)


def _same(law: AuditLaw, asked: Audit, before: Numbers, after: Numbers, what: str, allowed: Callable[[tuple[str, str, int]], float]) -> None:
    apart = unequal(dict.fromkeys(before), dict.fromkeys(after))  # type: ignore[arg-type]
    if apart:
        raise LawBroken(law, asked, f"has other rows {what}: {apart[0]}")
    for key, value in before.items():
        if abs(after[key] - value) > allowed(key) + 1e-5 * (1 + abs(value)):
            raise LawBroken(law, asked, f"says {after[key]:.6g} in place of {value:.6g} of {key[0]!r} ({key[1]}) {what}")


def _draws(law: AuditLaw, asked: Audit, case: Questioned) -> tuple[Numbers, Callable[[tuple[str, str, int]], float]]:
    """What it says at the first seed, and how far its own draws move each row: twice the widest range of one of its numbers over a few seeds."""
    every = [_asked(law, asked, case, seed=seed) for seed in SEEDS]
    rows = dict.fromkeys((name for name, _, _ in every[0]), 0.0)
    for key in every[0]:
        rows[key[0]] = max(rows[key[0]], 2 * (max(v[key] for v in every) - min(v[key] for v in every)))
    return every[0], lambda key: rows[key[0]]


# The laws


def check_every_row_and_field_is_told_of(asked: Audit, case: Questioned | None = None) -> None:
    """It has a question, each row says what it is, and each field is documented."""
    law = check_every_row_and_field_is_told_of
    silent = [name for name, row in asked.rows.items() if not row.what] + [f["name"] for f in field_help(type(asked)) if not f["help"]]
    if not asked.question or silent:
        raise LawBroken(law, asked, f"does not say what {silent[0] if silent else 'it asks'} is")
    if not all(isinstance(getattr(asked, f.name), int | float | bool | str) for f in fields(asked)):
        raise LawBroken(law, asked, "has a field that is no plain number or word, which a record could not hold")


def check_it_moves_no_weight(asked: Audit, case: Questioned | None = None) -> None:
    """Weights, modes, gradients and hooks of every model are what they were."""
    case = case or Questioned.fresh()
    models = {"original": case.original, "unlearned": case.unlearned, **{f"retrained {i}": m for i, m in enumerate(case.retrained)}}
    models |= {f"shadow {i}": s.model for i, s in enumerate(case.seen_by(asked))}
    before = {name: values(m) | manners(m) for name, m in models.items()}
    case.ask(asked)
    for name, module in models.items():
        moved = unequal(before[name], values(module) | manners(module))
        if moved:
            raise LawBroken(check_it_moves_no_weight, asked, f"moved {moved[0]} of the {name} model")


def check_it_moves_no_random_state(asked: Audit, case: Questioned | None = None) -> None:
    """Torch's, numpy's and Python's generators stand where they stood, and do not matter to it."""
    case, law = case or Questioned.fresh(), check_it_moves_no_random_state
    first = _asked(law, asked, case)
    with _stirred():
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
        second = _asked(law, asked, case)
        after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    if not torch.equal(before[0], after[0]) or before[1:] != after[1:]:
        raise LawBroken(law, asked, "moved the random state of its caller")
    _same(law, asked, first, second, "where the caller's random state is another", lambda _: 0.0)


def check_its_numbers_are_such_as_its_rows_say(asked: Audit, case: Questioned | None = None) -> None:
    """Shares and p lie in 0..1, counts and distances are not below 0, intervals hold their value, and no value is of a row that it does not have."""
    case, law = case or Questioned.fresh(), check_its_numbers_are_such_as_its_rows_say
    with _listening(type(asked)) as heard:
        entries = case.ask(asked)
    strange = sorted({name for finding in heard for name in finding.values} - set(asked.rows))
    strange += sorted({name for finding in heard for name in (*finding.curves, *finding.bars)} - set(asked.axes))
    if strange:
        raise LawBroken(law, asked, f"measures {strange[0]!r}, of which neither rows nor axes speak")
    if not entries[0]["rows"] and not entries[0]["figures"]:
        raise LawBroken(law, asked, f"measures nothing with everything at hand ({entries[0]['skipped']})")
    for row in entries[0]["rows"]:
        for value in (v for found in row["values"].values() for v in found):
            wrong = _wrong(row["unit"], value)
            # Differences of shares may lie below 0.
            if wrong and not (wrong == "share" and value["low"] is not None and -1 <= value["value"] <= 1):
                raise LawBroken(law, asked, f"says {value['value']} of {row['name']!r}, which is no {wrong}")


def _wrong(unit: str, value: dict[str, Any]) -> str:
    number, low, high = value["value"], value["low"], value["high"]
    if number is None:
        return ""
    if unit == "share" and not 0 <= number <= 1:
        return "share"
    if unit in ("steps", "count") and number < 0:
        return unit
    if (low is not None and low > number + 1e-9) or (high is not None and high < number - 1e-9):
        return f"value within its interval, {low} to {high}"
    if not 0 <= value.get("p", 0.5) <= 1:
        return f"value of a p that is a chance, {value['p']}"
    return ""


def check_the_same_seed_gives_the_same_numbers(asked: Audit, case: Questioned | None = None) -> None:
    """Asked twice, it says the same to the bit."""
    case, law = case or Questioned.fresh(), check_the_same_seed_gives_the_same_numbers
    first, second = _asked(law, asked, case), _asked(law, asked, case)
    if any(first[key] != second[key] for key in first):
        key = next(key for key in first if first[key] != second[key])
        raise LawBroken(law, asked, f"says {first[key]!r} and then {second[key]!r} of {key[0]!r}")


def check_the_order_of_samples_is_nothing_to_it(asked: Audit, case: Questioned | None = None) -> None:
    """Parts in another order, pairs in the same, move no number further than the audit's own draws do."""
    case, law = case or Questioned.fresh(), check_the_order_of_samples_is_nothing_to_it
    before, allowed = _draws(law, asked, case)
    g = torch.Generator().manual_seed(0)
    orders = {n: torch.randperm(n, generator=g) for n in sorted({len(part) for part in case.split.parts.values()})}
    mixed = case.split.replaced(**{name: part[orders[len(part)]] for name, part in case.split.parts.items()})
    _same(law, asked, before, _asked(law, asked, case, split=mixed), "with the samples in another order", allowed)


def check_the_size_of_batches_is_nothing_to_it(asked: Audit, case: Questioned | None = None) -> None:
    """Predictions of 7 images at a time say what those of 500 do."""
    case, law = case or Questioned.fresh(), check_the_size_of_batches_is_nothing_to_it
    before = _asked(law, asked, case)
    with mock.patch("untrain.core.train._at_once", return_value=7):
        after = _asked(law, asked, case)
    _same(law, asked, before, after, "with batches of 7", lambda _: 1e-3)


def check_the_number_of_threads_is_nothing_to_it(asked: Audit, case: Questioned | None = None) -> None:
    """One thread says what two do."""
    case, law = case or Questioned.fresh(), check_the_number_of_threads_is_nothing_to_it
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(_asked(law, asked, case))
    finally:
        torch.set_num_threads(threads)
    _same(law, asked, found[0], found[1], "with two threads", lambda _: 1e-3)


def check_how_the_network_is_written_is_nothing_to_it(asked: Audit, case: Questioned | None = None) -> None:
    """Units in another order, and larger or smaller by powers of two: the same function, and so the same numbers but of weights."""
    case, law = case or Questioned.fresh(), check_how_the_network_is_written_is_nothing_to_it
    kept = {name for name, row in asked.rows.items() if row.looks != "weights"}
    if not kept:
        return
    before, allowed = _draws(law, asked, case)
    after = _asked(law, asked, case, unlearned=rewritten(case.unlearned, 1))
    own = [{k: v for k, v in found.items() if k[0] in kept and k[1] == "unlearned"} for found in (before, after)]
    _same(law, asked, own[0], own[1], "where its units are written otherwise", lambda key: allowed(key) + 0.03)


def check_the_numbers_of_classes_are_nothing_to_it(asked: Audit, case: Questioned | None = None) -> None:
    """Class c called 9 - c, in data and head: the same question, and the same numbers to within the audit's own draws."""
    case, law = case or Questioned.fresh(), check_the_numbers_of_classes_are_nothing_to_it
    before, allowed = _draws(law, asked, case)
    order = list(range(9, -1, -1))
    made = [renumbered(m, case.split, order) for m in (case.original, case.unlearned, *case.retrained)]
    shadows = tuple(Shadow(renumbered(s.model, case.split, order)[0], s.seen, renumbered(s.after or s.model, case.split, order)[0]) for s in case.seen_by(asked))
    other = Questioned(made[0][1], made[0][0], made[1][0], tuple(m for m, _ in made[2:]), shadows=shadows)
    _same(law, asked, before, _asked(law, asked, other), "where classes have other numbers", allowed)


AUDIT_LAWS: tuple[AuditLaw, ...] = (
    check_every_row_and_field_is_told_of,
    check_it_moves_no_weight,
    check_it_moves_no_random_state,
    check_its_numbers_are_such_as_its_rows_say,
    check_the_same_seed_gives_the_same_numbers,
    check_the_order_of_samples_is_nothing_to_it,
    check_the_size_of_batches_is_nothing_to_it,
    check_the_number_of_threads_is_nothing_to_it,
    check_how_the_network_is_written_is_nothing_to_it,
    check_the_numbers_of_classes_are_nothing_to_it,
    check_it_sees_what_was_learned,
    check_it_raises_no_alarm_at_models_that_never_saw,
)
"""The laws of all audits, the quick ones first."""


COMPARING = (
    check_the_order_of_samples_is_nothing_to_it,
    check_how_the_network_is_written_is_nothing_to_it,
    check_the_numbers_of_classes_are_nothing_to_it,
)
"""Laws that compare something else with what it says of the plain case, which they share."""


def check_audit(asked: Audit, *more: AuditLaw) -> None:
    """Run every law on an audit, wherever it lives, and these.

    An audit of ours may be excused from a law with a sentence (`AUDIT_EXCEPTIONS` in `checks/of/NAME.py`); one that it keeps all the same is struck from there.

    Args:
        asked: An audit with its settings; give it few steps, where it takes many.
        more: Laws of your own, functions of `(asked, case=None)` that raise `LawBroken`.

    Raises:
        LawBroken: the first law that it breaks.
    """
    excused, kept = excuses(asked), Questioned.fresh(keeps=True)
    for law in (*AUDIT_LAWS, *more):
        try:
            law(asked, kept if law in COMPARING else None)
        except LawBroken:
            if law not in excused:
                raise
        else:
            if law in excused:
                raise LawBroken(law, asked, f"keeps it, though it is excused ({excused[law]}); strike it from the exceptions")


def excuses(asked: Audit) -> dict[AuditLaw, str]:
    """The laws that an audit may break, each with the reason."""
    room = rooms().get(name_of(asked)) if type(asked).__module__.startswith("untrain.audits.") else None
    return dict(getattr(room, "AUDIT_EXCEPTIONS", {}))


@contextlib.contextmanager
def _stirred() -> Iterator[None]:
    """Another random state than before, put back afterwards."""
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        torch.manual_seed(987)
        np.random.seed(987)
        random.seed(987)
        yield
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])
        random.setstate(kept[2])


@contextlib.contextmanager
def _listening(cls: type[Audit]) -> Iterator[list[Any]]:
    """What an audit gives back for each model, before rows that it does not have are left out."""
    heard: list[Any] = []
    call = cls.__call__

    def called(self: Audit, *arguments: Any, **given: Any) -> Any:
        heard.append(call(self, *arguments, **given))
        return heard[-1]

    with mock.patch.object(cls, "__call__", called):
        yield heard
