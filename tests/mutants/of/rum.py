"""RUM, broken."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from mutants.breaking import breaks
from untrain.checks.of import rum as laws
from untrain.core.data import Samples
from untrain.core.discover import settings
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace, predict
from untrain.methods.rum import RUM


@breaks(laws.check_the_parts_are_the_forget_set_from_the_surest_to_the_least_sure)
@dataclass(frozen=True)
class TakesTheSureForMemorised(RUM):
    def memorised(self, model: Network, forget: Samples) -> Tensor:
        return 1 - super().memorised(model, forget)


@breaks(laws.check_the_parts_are_the_forget_set_from_the_surest_to_the_least_sure)
@dataclass(frozen=True)
class SortsByTheNextLabel(RUM):
    def memorised(self, model: Network, forget: Samples) -> Tensor:
        return super().memorised(model, forget.labelled((forget.y + 1) % 5))


@breaks(laws.check_the_parts_are_the_forget_set_from_the_surest_to_the_least_sure)
@dataclass(frozen=True)
class PartsOverlap(RUM):
    def parts(self, model: Network, forget: Samples) -> dict[str, Samples]:
        found = super().parts(model, forget)
        first = next(iter(found.values()))
        return {part: first[list(range(len(first)))][:1] + some[1:] for part, some in found.items()}


@breaks(laws.check_the_parts_are_the_forget_set_from_the_surest_to_the_least_sure)
@dataclass(frozen=True)
class LosesOne(RUM):
    def parts(self, model: Network, forget: Samples) -> dict[str, Samples]:
        return super().parts(model, forget[1:])


@breaks(laws.check_it_is_its_methods_one_after_the_other)
@dataclass(frozen=True)
class HighFirst(RUM):
    def parts(self, model: Network, forget: Samples) -> dict[str, Samples]:
        return dict(reversed(super().parts(model, forget).items()))


@breaks(laws.check_it_is_its_methods_one_after_the_other)
@dataclass(frozen=True)
class OneMethodForAll(RUM):
    def method(self, part: str) -> Method:
        return super().method("high")


@breaks(laws.check_it_is_its_methods_one_after_the_other)
@dataclass(frozen=True)
class RetainsAPart(RUM):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=forget, retain=retain + self.parts(model, forget)["low"])


@breaks(laws.check_where_one_part_holds_all_it_is_that_method)
@dataclass(frozen=True)
class ShufflesWhatIsOnePart(RUM):
    def parts(self, model: Network, forget: Samples) -> dict[str, Samples]:
        return {part: some[self.memorised(model, some).argsort()] for part, some in super().parts(model, forget).items()}


@breaks(laws.check_where_one_part_holds_all_it_is_that_method)
@dataclass(frozen=True)
class AlwaysKeepsALowPart(RUM):
    def parts(self, model: Network, forget: Samples) -> dict[str, Samples]:
        return RUM.parts(replace(self, low_share=max(0.1, self.low_share), high_share=min(0.9, self.high_share)), model, forget)


@breaks(laws.check_a_method_that_asks_for_more_is_refused)
@dataclass(frozen=True)
class TakesAnyMethod(RUM):
    def method(self, part: str) -> Method:
        name: str = getattr(self, part)
        return settings(name) if name == "unsir" else super().method(part)


@breaks(laws.check_the_parts_are_the_forget_set_from_the_surest_to_the_least_sure)
@dataclass(frozen=True)
class SureOfAnyClass(RUM):
    def memorised(self, model: Network, forget: Samples) -> Tensor:
        return 1 - predict(model, forget)[0].double().softmax(1).amax(1)
