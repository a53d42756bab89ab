"""A method that is not what it was when its numbers were recorded."""

from __future__ import annotations

from dataclasses import dataclass

from mutants.breaking import breaks
from untrain import checks
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods.neggrad import NegGrad


@breaks(checks.check_its_numbers_are_those_on_record)
def numbers_of_another(case: checks.Case) -> NegGrad:
    @dataclass(frozen=True)
    class Mutated(NegGrad):
        def __call__(self, model: Network, *, forget: Samples) -> Trace:
            return NegGrad(lr=1.1 * self.lr)(model, forget=forget)

    Mutated.__module__ = NegGrad.__module__
    return Mutated()
