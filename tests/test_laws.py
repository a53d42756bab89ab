"""Every method and preset keeps every law, and every broken method is caught by the law that it names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from mutants import MUTANTS
from untrain import checks
from untrain.checks import LAWS, Case, LawBroken, check_method
from untrain.core.data import Inputs, Samples
from untrain.core.discover import every_setting
from untrain.core.engine import Run, seeded
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace, minimize
from untrain.methods.finetune import FineTune

SETTINGS = every_setting()


BROKEN_ON_PURPOSE = {
    "unsir:notebook": {
        checks.check_learned_noise_is_what_the_model_errs_on,
        checks.check_noise_carries_the_class_that_it_was_learned_for,
        checks.check_the_count_of_noise_is_right,
        checks.check_the_noise_step_leaves_the_model_alone,
    }
}
"""The official notebook's faults, reproduced: the laws that say what noise is, what it is called, how much there is, and that it leaves no trace."""


@pytest.mark.parametrize("name", SETTINGS)
def test_every_method_keeps_every_law(name):
    if name not in BROKEN_ON_PURPOSE:
        check_method(SETTINGS[name])
        return
    broken = set()
    for law in LAWS:
        try:
            law(SETTINGS[name])
        except LawBroken:
            broken.add(law)
    assert broken == BROKEN_ON_PURPOSE[name]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_by_the_law_that_it_names(name):
    mutant = MUTANTS[name]
    case = Case.fresh(lazy=mutant.lazy)
    method = mutant.make(case)
    with pytest.raises(LawBroken) as caught:
        mutant.law(method, case)
    assert caught.value.law is mutant.law
    assert caught.value.method == method or type(caught.value.method) is type(method)
    assert checks.sentence(mutant.law) in str(caught.value)
    assert type(method).__name__ in str(caught.value) or mutant.law is checks.check_the_repr_is_python


def test_the_list_of_laws_is_whole():
    written = {value for name, value in vars(checks).items() if name.startswith("check_") and name != "check_method"}
    assert set(LAWS) == written
    assert len(LAWS) == len(written)


def test_no_law_is_without_a_mutant():
    assert {mutant.law for mutant in MUTANTS.values()} == set(LAWS)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_spoilt_case_is_mended(lazy):
    case = Case.fresh(lazy=lazy)
    before = checks._data(case)
    with case.spoilt(but=("retain",)):
        y = case.split.forget.y
        assert not torch.isin(y, torch.tensor(checks.GONE)).any()
        assert case.split.retain.y.tolist() == Case.fresh().split.retain.y.tolist()
    assert checks._data(case) == before
    assert case.split.classes == checks.GONE


@dataclass(frozen=True)
class Elsewhere(Method):
    """Pull the head's answers to forgotten samples towards nothing.

    Args:
        lr: Learning rate.
        epochs: Passes over the forget set.
    """

    moves: ClassVar = {"level": +1}

    lr: float = 0.01
    epochs: int = 2

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        """Level."""
        model.eval()

        def loss(x: Inputs, y: torch.Tensor) -> torch.Tensor:
            return model(x).square().mean()

        return Trace.of(minimize(loss, model.parameters(), forget.batches(16, epochs=self.epochs), phase="level", lr=self.lr))


def test_a_method_that_lives_elsewhere_keeps_them_too():
    check_method(Elsewhere())


# The house itself, broken: laws hold `unlearn` to them as well as methods.


def test_an_unlearn_that_does_not_copy_is_caught(monkeypatch):
    monkeypatch.setattr("untrain.core.host.copy", SimpleNamespace(deepcopy=lambda model: model))
    with pytest.raises(LawBroken, match="the given model is left alone"):
        checks.check_the_given_model_is_left_alone(FineTune())


def test_an_unlearn_that_seeds_the_caller_is_caught(monkeypatch):
    @contextlib.contextmanager
    def careless(seed: int, **how: Any) -> Iterator[Run]:
        with seeded(seed, **how) as run:
            yield run
        torch.manual_seed(seed)

    monkeypatch.setattr("untrain.core.run.seeded", careless)
    with pytest.raises(LawBroken, match="moved the caller's random state of torch"):
        checks.check_the_random_state_of_the_caller_is_neither_used_nor_moved(FineTune())


def test_an_unlearn_that_leaves_modes_is_caught(monkeypatch):
    monkeypatch.setattr("untrain.core.run.zip", lambda *a, **k: iter(()), raising=False)
    with pytest.raises(LawBroken, match="left the mode of"):
        checks.check_nothing_is_left_behind(FineTune())


def test_an_unlearn_that_thaws_a_frozen_model_is_caught(monkeypatch):
    unlearn = checks.unlearn

    def thawing(*args: Any, **how: Any) -> Any:
        result = unlearn(*args, **how)
        result.model.requires_grad_(True)
        return result

    monkeypatch.setattr(checks, "unlearn", thawing)
    with pytest.raises(LawBroken, match="left requires_grad of"):
        checks.check_nothing_is_left_behind(FineTune())
