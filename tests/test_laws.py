"""Every method and preset keeps every law, and every broken method is caught by the law that it names."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file

from mutants import MUTANTS
from mutants.forgetting import Relabels
from sometimes import one_in
from untrain import checks
from untrain.checks import LAWS, Case, LawBroken, check_method, golden, nets, running
from untrain.checks.case import STORED, case_made_anew
from untrain.checks.fields import OF_A_COMMAND
from untrain.checks.own import laws_in, rooms
from untrain.checks.running import contents
from untrain.cli.app import app
from untrain.core.data import Samples
from untrain.core.discover import every_setting, found
from untrain.core.engine import Run, seeded
from untrain.core.method import Method, Move
from untrain.core.network import Network
from untrain.core.train import Trace, minimize
from untrain.methods.finetune import FineTune
from untrain.methods.neggrad import NegGrad
from untrain.verbs.inputs import Inputs
from untrain.zoo.sets import digits

SETTINGS = every_setting()


EVERY_LAW = {*LAWS, *(law for room in rooms().values() for law in laws_in(room))}


NAMES = list(found("methods"))


def tenth(name: str) -> list[checks.Law]:
    """A tenth of the laws of all methods, and its numbers on record: another tenth for the next method but one, since every other is asked where time is short."""
    place = NAMES.index(name) // 2
    return [law for i, law in enumerate(LAWS) if (i + place) % 10 == 0 or law is checks.check_its_numbers_are_those_on_record]


@pytest.mark.parametrize("name", one_in(2, NAMES))
def test_every_method_keeps_its_own_laws_and_a_tenth_of_all(name):
    check_method(SETTINGS[name], laws=tenth(name))


def test_no_method_takes_more_than_the_whole():
    """A law so quick that all are asked here."""
    for name in NAMES:
        checks.check_a_share_is_at_most_the_whole(SETTINGS[name])


PRESETS = [name for name in SETTINGS if name not in NAMES]


def third(name: str) -> list[checks.Law]:
    """Of a preset, which is a method with other numbers, a third of the laws of all methods: another third for the next."""
    return [law for i, law in enumerate(LAWS) if (i + PRESETS.index(name)) % 3 == 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_every_method_keeps_every_law(name):
    """What the test above leaves out, and of presets their own and a third of all. Of a method that is being written all: `pytest tests/test_laws.py -m '' -k NAME`."""
    check_method(SETTINGS[name], laws=[law for law in LAWS if law not in tenth(name)] if name in NAMES else third(name))


def test_three_presets_in_a_row_meet_every_law():
    for first in range(len(PRESETS) - 2):
        assert {law for name in PRESETS[first : first + 3] for law in third(name)} == {*LAWS}


def test_ten_methods_that_are_asked_meet_every_law():
    asked = NAMES[::2]
    for first in range(len(asked) - 9):
        assert {law for name in asked[first : first + 10] for law in tenth(name)} == {*LAWS}


def test_an_exception_that_is_not_made_use_of_breaks_the_law(monkeypatch):
    monkeypatch.setattr(rooms()["unsir"], "EXCEPTIONS", {"paper": {checks.check_the_repr_is_python: "for no reason"}})
    with pytest.raises(LawBroken, match="though it is excused \\(for no reason\\); strike it"):
        check_method(SETTINGS["unsir:paper"])


def test_a_law_of_ones_own_is_run_with_the_others():
    def check_it_is_called_halve(method: Method, case: Case | None = None) -> None:
        raise LawBroken(check_it_is_called_halve, method, "is not")

    with pytest.raises(LawBroken, match="it is called halve"):
        check_method(SETTINGS["nothing"], check_it_is_called_halve)


def test_an_error_within_a_law_names_the_law():
    @dataclass(frozen=True)
    class Stumbles(FineTune):
        def __call__(self, model: Network, *, retain: Samples) -> Trace:
            raise KeyError("a column")

    with pytest.raises(LawBroken, match=r"the weights move: .*Stumbles.* ended in KeyError"):
        checks.ask(checks.check_the_weights_move, Stumbles())


@pytest.mark.parametrize("name", one_in(8, MUTANTS))
def test_a_mutant_is_caught_by_the_law_that_it_names(name):
    mutant = MUTANTS[name]
    case = Case.fresh(lazy=mutant.lazy)
    method = mutant.make(case)
    with pytest.raises(LawBroken) as caught:
        checks.ask(mutant.law, method, case)
    assert caught.value.law is mutant.law
    assert caught.value.method == method or type(caught.value.method) is type(method)
    assert checks.sentence(mutant.law) in str(caught.value)
    assert type(method).__name__ in str(caught.value) or mutant.law is checks.check_the_repr_is_python


BREAKS = {
    "the teacher is the student": [
        "DistilsFromItself",
        "ScrubTeacherAliased",
        "TeacherAliased",
        "TheStudentTeachesItself",
        "FollowsItself",
        "TeacherIsTheDamaged",
        "TopOfTheStudent",
    ],
    "the teacher shares the student's weights": ["DistilsFromSharedWeights", "ScrubTeacherSharesWeights", "TeacherSharesWeights", "TeacherIsAShallowCopy"],
    "a sign is turned": ["DistilsUpwards", "MaxTurnedRound", "MinTurnedRound", "BothTurnedRound", "SalUnTurnedRound"],
    "weight decay is forgotten": ["DistilsWithDecay", "ScrubWithoutWeightDecay", "SalUnWithoutWeightDecay"],
    "weight decay leaks past the mask": ["WeightDecayLeaksPastTheMask"],
    "what is not named is read": ["reads_a_global", "ReachesBehindItsPart"],
    "nothing moves": ["NothingThatMoves"],
    "a tensor is nudged": ["nudges_a_weight_on_group_norm", "ShakesTheWeightsFirst"],
    "forget and retain are exchanged": ["ScrubPartsExchanged", "MeasuresForgetForRetain", "ForgetAndRetainSwapped", "TakesOutTheRetained", "SalientForTheRetained"],
    "the target keeps the label": ["TargetKeepsTheLabel", "TeachesTheLabel"],
    "evaluation mode for training mode": ["DistilsInEvaluationMode", "ScrubInEvaluationMode", "ExpandsInEvaluationMode"],
    "the mask is ignored, or inverted": ["MaskIgnored", "MaskInverted"],
    "true labels are trained": ["TrueLabelsForWrongOnes", "ExpandsOnTrueLabels", "BargainsOverTrueLabels"],
    "a plain sum, weights exchanged, one gradient off": ["PlainSum", "WeightsSwapped", "ForgetGradientOff"],
    "the old head is put back, or a row is left": ["PutsTheOldHeadBack", "KeepsTheAddedRow"],
    "hooks are left": ["HooksLeft", "LeavesAHook", "LeavesAHookOnAWeight"],
    "importances are inverted, or of means of batches": ["ImportanceInverted", "SquaresTheMeanOfABatch", "ImportancesOfBatchMeans", "SquaresMeansOfBatches"],
    "a rule for layers matches nothing": ["TheNameMatchesNothing", "MatchesNoLayer"],
    "a target is not detached": ["LearnsThroughTheWeights", "RetainedAnswersMoveToo", "TargetMovesToo"],
    "an exhausted loader gives no more": ["FirstForgottenBatchAlone"],
    "statistics of frozen layers run on": ["StatisticsOfFrozenLayersRunOn", "StatisticsOfStandingLayersRunOn"],
    "the true label is among those drawn at random": ["DrawsTheTrueLabel"],
    "an accuracy is rounded where it decides": ["RoundsTheAccuracy"],
    "gradients are never cleared": ["NeverClearsItsGradients"],
    "an attack goes the other way": ["DescendsInsteadOfClimbing", "StepsAwayFromTheOther"],
    "a batch is divided by the size that others have": ["DividesByTheSizeOfWholeBatches", "WeighsASmallBatchLess"],
    "the first samples are taken for some of each class": ["TakesTheFirst"],
    "what the model says is taken for the label, or the other way about": [
        "RulesOutWhatTheOriginalSays",
        "LeavesOutWhatTheModelSays",
        "TakesTheShareOffTheLabel",
        "SureOfAnyClass",
    ],
    "one forgotten class of two is masked": ["MasksOneClassOfTwo", "ProjectsOneClassOfTwo"],
}
"""What goes wrong in code for unlearning, most of it met in public packages, and the mutants that do it: that each is caught is tested above."""


@pytest.mark.parametrize("fault", BREAKS)
def test_each_known_way_to_go_wrong_is_a_mutant(fault):
    assert set(BREAKS[fault]) <= set(MUTANTS)


def test_the_list_of_laws_is_whole():
    written = {law for found in pkgutil.iter_modules(checks.__path__, "untrain.checks.") for law in laws_in(importlib.import_module(found.name))}
    of_methods = {law for law in written if next(iter(inspect.signature(law).parameters)) == "method"}
    assert set(LAWS) == of_methods | set(nets.LAWS_OF_KINDS)
    assert len(LAWS) == len(set(LAWS))


def test_no_law_is_without_a_mutant():
    assert {mutant.law for mutant in MUTANTS.values()} == EVERY_LAW


def test_laws_of_one_method_are_named_as_a_method_is():
    assert set(rooms()) <= {*found("methods"), *found("audits")}


def test_flags_that_a_law_keeps_from_fields_are_those_of_a_methods_command():
    """Retrain has no field of its own and names the recipe: its command has the flags that all have."""
    command = app(("unlearn", "retrain"))["unlearn"]["retrain"]
    flags = {name.removeprefix("--").replace("-", "_") for argument in command.assemble_argument_collection() for name in argument.names if name.startswith("--")}
    assert {name for name in flags if not name.startswith("no_")} == {*OF_A_COMMAND, *(f.name for f in dataclasses.fields(Inputs))}


def test_a_new_method_is_recorded_once_and_then_held_to_its_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(golden, "ROWS", tmp_path / "golden.csv")
    for method in (SETTINGS["neggrad"], SETTINGS["headonly"]):
        with pytest.raises(LawBroken, match="recorded now, run again"):
            golden.check_its_numbers_are_those_on_record(method)
        golden.check_its_numbers_are_those_on_record(method)
    text = (tmp_path / "golden.csv").read_text()
    assert [line.partition(",")[0] for line in text.splitlines()] == ["setting", "headonly", "neggrad"]
    (tmp_path / "golden.csv").write_text(text.replace("neggrad,8", "neggrad,9"))
    with pytest.raises(LawBroken, match="if this is meant, delete the row neggrad"):
        golden.check_its_numbers_are_those_on_record(SETTINGS["neggrad"])


def test_each_row_of_numbers_is_of_a_setting_that_there_is():
    """Settings that are the same once they are small have one row."""
    rows = {line.partition(",")[0] for line in golden.ROWS.read_text().splitlines()[1:]}
    assert rows == {golden.golden_name(running.shrunk(method)) for method in SETTINGS.values()} <= set(SETTINGS)


def test_the_stored_case_is_what_training_makes_of_the_digits():
    """Images and labels to the bit; weights as far as another processor's rounding lets them be."""
    made = case_made_anew(digits().train)
    stored = load_file(STORED)
    assert made.keys() == stored.keys()
    for name, value in stored.items():
        if name.startswith("weights."):
            torch.testing.assert_close(made[name], value, rtol=1e-2, atol=1e-2)
        else:
            assert torch.equal(made[name], value)


@pytest.mark.parametrize("method", [Relabels(), NegGrad(lr=0.003)], ids=["relabels", "neggrad"])
def test_what_is_broken_or_excused_forgets_in_other_settings(method):
    checks.check_it_forgets_what_it_is_told_to(method)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_spoilt_case_is_mended(lazy):
    case = Case.fresh(lazy=lazy)
    before = contents(case)
    with case.spoilt(but=("retain",)):
        y = case.split.forget.y
        assert not torch.isin(y, torch.tensor(checks.GONE)).any()
        assert case.split.retain.y.tolist() == Case.fresh().split.retain.y.tolist()
    assert contents(case) == before
    assert case.split.classes == checks.GONE


@dataclass(frozen=True)
class Elsewhere(Method):
    """Pull the head's answers to forgotten samples towards nothing.

    Args:
        lr: Learning rate.
        epochs: Passes over the forget set.
    """

    moves: ClassVar = {"level": Move(+1)}
    # It levels what it answers to the others as well.
    forgets: ClassVar = False

    lr: float = 0.01
    epochs: int = 2

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        """Level."""
        model.eval()

        def loss(x: Any, y: torch.Tensor) -> torch.Tensor:
            return model(x).square().mean()

        return Trace.of(minimize(loss, model.parameters(), forget.batches(16, epochs=self.epochs), phase="level", lr=self.lr))


def test_a_method_that_lives_elsewhere_keeps_them_too():
    check_method(Elsewhere())


# The house itself, broken: laws hold `unlearn` to them as well as methods.


def test_an_unlearn_that_does_not_copy_is_caught(monkeypatch):
    monkeypatch.setattr("untrain.core.host.copy", SimpleNamespace(deepcopy=lambda model, memo=None: model))
    with pytest.raises(LawBroken, match="the given model is left alone"):
        checks.check_the_given_model_is_left_alone(FineTune())


def test_an_unlearn_that_seeds_the_caller_is_caught(monkeypatch):
    @contextlib.contextmanager
    def careless(seed: int, **how: Any) -> Iterator[Run]:
        with seeded(seed, **how) as run:
            yield run
        torch.manual_seed(seed)

    monkeypatch.setattr("untrain.core.unlearn.seeded", careless)
    with pytest.raises(LawBroken, match="moved the caller's random state of torch"):
        checks.check_the_random_state_of_the_caller_is_neither_used_nor_moved(FineTune())


def test_an_unlearn_that_leaves_modes_is_caught(monkeypatch):
    monkeypatch.setattr("untrain.core.unlearn.put_back", lambda *a: None)
    with pytest.raises(LawBroken, match="left the mode of"):
        checks.check_nothing_is_left_behind(FineTune())


def test_an_unlearn_that_thaws_a_frozen_model_is_caught(monkeypatch):
    unlearn = running.unlearn

    def thawing(*args: Any, **how: Any) -> Any:
        result = unlearn(*args, **how)
        result.model.requires_grad_(True)
        return result

    monkeypatch.setattr(running, "unlearn", thawing)
    with pytest.raises(LawBroken, match="left requires_grad of"):
        checks.check_nothing_is_left_behind(FineTune())
