"""SalUn, broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from mutants.breaking import bent, breaks, turned
from untrain.checks.of import salun as laws
from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import Trace
from untrain.methods import salun
from untrain.methods.salun import SalUn


def _minimized(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    real = salun.minimize
    return mock.patch.object(salun, "minimize", lambda *args, **how: real(*args, **change(how)))


@breaks(laws.check_what_is_not_salient_stays_to_the_bit)
@dataclass(frozen=True)
class MaskIgnored(SalUn):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _minimized(lambda how: how | {"mask": None}):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_what_is_not_salient_stays_to_the_bit)
@dataclass(frozen=True)
class MaskInverted(SalUn):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _minimized(lambda how: how | {"mask": [~m for m in how["mask"]]}):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_what_is_not_salient_stays_to_the_bit)
@dataclass(frozen=True)
class WeightDecayLeaksPastTheMask(SalUn):
    """The gradient is masked, as published code did for two years; decay is not."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = salun.minimize

        def leaking(loss: Any, parameters: Any, batches: Any, *, mask: Any, **how: Any) -> Any:
            handles = [p.register_hook(lambda g, m=m: g * m) for p, m in zip(parameters, mask, strict=True)]
            try:
                return real(loss, parameters, batches, **how)
            finally:
                for handle in handles:
                    handle.remove()

        with mock.patch.object(salun, "minimize", leaking):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_what_is_not_salient_stays_to_the_bit)
@dataclass(frozen=True)
class SalientForTheRetained(SalUn):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        real = salun.gradients
        with mock.patch.object(salun, "gradients", lambda network, loss, samples, **how: real(network, loss, retain, **how)):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_relabelling_is_the_naive_loop)
@dataclass(frozen=True)
class TrueLabelsForWrongOnes(SalUn):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with mock.patch.object(salun, "others", lambda y, among: y):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_relabelling_is_the_naive_loop)
@dataclass(frozen=True)
class RelabelsTheRetained(SalUn):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return super().__call__(model, forget=retain, retain=forget)


@breaks(laws.check_the_relabelling_is_the_naive_loop)
@dataclass(frozen=True)
class SalUnTurnedRound(SalUn):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with bent("cross_entropy", turned):
            return super().__call__(model, forget=forget, retain=retain)


@breaks(laws.check_the_relabelling_is_the_naive_loop)
@dataclass(frozen=True)
class SalUnWithoutWeightDecay(SalUn):
    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        with _minimized(lambda how: how | {"weight_decay": 0.0}):
            return super().__call__(model, forget=forget, retain=retain)
