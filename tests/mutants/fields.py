"""Broken documentation, fields, knobs and reprs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from mutants.breaking import MUTANTS, breaks
from untrain import checks
from untrain.checks import Case
from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggrad import NegGrad
from untrain.methods.retrain import Retrain


@breaks(checks.check_every_field_is_documented)
@dataclass(frozen=True)
class FieldUndocumented(NegGrad):
    """Climb.

    Args:
        lr: Learning rate.
    """

    clip: float = 1.0


@breaks(checks.check_every_field_is_documented)
@dataclass(frozen=True)
class PhantomDocumented(FineTune):
    """Train on.

    Args:
        momentum: Of sgd.
    """


@breaks(checks.check_a_share_is_at_most_the_whole)
@dataclass(frozen=True)
class ShareBeyondTheWhole(NegGrad):
    """Climb.

    Args:
        most: Share of the forgotten samples that is used.
    """

    most: float = 0.5


@breaks(checks.check_the_knobs_that_it_names_are_its_own)
@dataclass(frozen=True)
class KnobOfAnother(NegGrad):
    knobs: ClassVar = {"collapsed": {"impair_lr": -1}}


@breaks(checks.check_the_knobs_that_it_names_are_its_own)
@dataclass(frozen=True)
class KnobWithoutAWay(NegGrad):
    knobs: ClassVar = {"collapsed": {"lr": 0}}


@breaks(checks.check_the_knobs_that_it_names_are_its_own)
@dataclass(frozen=True)
class KnobForNoFailure(NegGrad):
    knobs: ClassVar = {"slow": {"lr": +1}}


@breaks(checks.check_the_knobs_that_it_names_are_its_own)
@dataclass(frozen=True)
class KnobThatIsAWord(NegGrad):
    knobs: ClassVar = {"collapsed": {"optimizer": -1}}


@breaks(checks.check_no_field_is_named_as_a_flag_that_all_methods_have)
@dataclass(frozen=True)
class FieldCalledSize(NegGrad):
    """Climb.

    Args:
        size: Batch size.
    """

    size: int = 256


@breaks(checks.check_no_field_is_named_as_a_flag_that_all_methods_have)
@dataclass(frozen=True)
class EpochsBesideTheRecipes(Retrain):
    """Retrain.

    Args:
        epochs: Passes.
    """

    epochs: int = 1


@breaks(checks.check_the_repr_is_python)
@dataclass(frozen=True)
class FieldHiddenFromRepr(HeadOnly):
    low: float = field(default=-1e4, repr=False)

    def __post_init__(self) -> None:
        """Refuse nothing."""


@breaks(checks.check_the_repr_is_python)
def field_hidden_and_set(case: Case) -> Method:
    return replace(FieldHiddenFromRepr(), low=-10.0)


MUTANTS.pop("FieldHiddenFromRepr")  # in its default settings, nothing is hidden


@breaks(checks.check_the_repr_is_python)
@dataclass(frozen=True, repr=False)
class ReprInWords(NegGrad):
    def __repr__(self) -> str:
        return f"<NegGrad at {self.lr}>"


@breaks(checks.check_every_field_is_used)
@dataclass(frozen=True)
class RateNeverRead(NegGrad):
    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        return NegGrad(epochs=self.epochs, batch=self.batch, optimizer=self.optimizer)(model, forget=forget)


@breaks(checks.check_every_field_is_used)
@dataclass(frozen=True)
class FieldThatOnlyGrew(HeadOnly):
    strength: float = 1.0
