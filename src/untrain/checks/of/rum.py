"""Laws of `RUM`: what its parts are, that it is its methods one after the other, and what it is where there is one part."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.running import LawBroken, bits_of, left_by, raw, watched
from untrain.core.data import Samples
from untrain.core.discover import settings
from untrain.core.engine import seeded
from untrain.core.errors import BadArgument
from untrain.core.files import weights_hash
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace

PARTS = ("low", "medium", "high")


def _sure(module: nn.Module, forget: Samples) -> Tensor:
    """How probable the model finds each sample's label, in evaluation mode."""
    x, y = forget.batch(torch.arange(len(forget)))
    with torch.no_grad():
        out = torch.log_softmax(copy.deepcopy(module).eval()(x), 1)
    return torch.tensor([float(row[label].exp()) for row, label in zip(out.double(), y, strict=True)])


def _images(samples: Samples) -> list[bytes | None]:
    """Each sample's input as bytes."""
    x, _ = samples.batch(torch.arange(len(samples)))
    assert isinstance(x, Tensor)
    return [raw(row) for row in x]


def check_the_parts_are_the_forget_set_from_the_surest_to_the_least_sure(method: Any, case: Case | None = None) -> None:
    """Its methods are given parts that have no sample in common and are the whole together, each of its share, and no sample of a later part is surer than one of an earlier."""
    law, case = check_the_parts_are_the_forget_set_from_the_surest_to_the_least_sure, (case or Case.fresh()).misnamed()
    forget = case.prepared.forget
    place, sure = {image: at for at, image in enumerate(_images(forget))}, _sure(case.model, forget)
    seen: list[list[int]] = []

    @dataclass(frozen=True)
    class Looks(Method):
        def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
            seen.append([place[image] for image in _images(forget)])
            return Trace()

    for low, high in ((0.25, 0.5), (method.low_share, method.high_share), (0.0, 0.3), (0.5, 0.5)):
        seen.clear()
        with mock.patch("untrain.methods.rum.settings", return_value=Looks()):
            watched(replace(method, low_share=low, high_share=high), case)
        n = len(forget)
        sizes = [round(low * n), n - round(low * n) - round(high * n), round(high * n)]
        if [len(part) for part in seen] != [size for size in sizes if size]:
            raise LawBroken(law, method, f"makes parts of {[len(part) for part in seen]} of {n} samples, where shares of {low:.3g} and {high:.3g} are {sizes}")
        if sorted(at for part in seen for at in part) != list(range(n)):
            raise LawBroken(law, method, "makes parts that have samples in common, or leave some out")
        for earlier, later in itertools.pairwise(seen):
            if float(sure[later].max()) > float(sure[earlier].min()) + 1e-9:
                raise LawBroken(law, method, f"has a sample named with {float(sure[later].max()):.4f} in a later part than one with {float(sure[earlier].min()):.4f}")


def check_it_is_its_methods_one_after_the_other(method: Any, case: Case | None = None) -> None:
    """To the bit what is left where each method is called by hand on its part and the retained, low, medium, high."""
    law, case = check_it_is_its_methods_one_after_the_other, case or Case.fresh()
    forget = case.prepared.forget
    third = len(forget) // 3
    order = _sure(case.model, forget).argsort(descending=True, stable=True)
    rows = dict(zip(PARTS, (order[:third], order[third : len(order) - third], order[len(order) - third :]), strict=True))
    for names in (("nothing", "finetune", "salun"), ("neggradplus", "salun", "randomlabel")):
        asked = replace(method, **dict(zip(PARTS, names, strict=True)), low_share=third / len(forget), high_share=third / len(forget))
        network = Network(copy.deepcopy(case.model))
        with seeded(0, network=network):
            for part, name in zip(PARTS, names, strict=True):
                given = {"forget": forget[rows[part].sort().values], "retain": case.prepared.retain}
                due = settings(name)
                due(network, **{key: given[key] for key in due.needs})
        left, _, _ = watched(asked, case)
        if weights_hash(left.state_dict()) != weights_hash(network.module.state_dict()):
            raise LawBroken(law, method, f"leaves other weights than {', then '.join(names)}, each called on its part")


def check_where_one_part_holds_all_it_is_that_method(method: Any, case: Case | None = None) -> None:
    """With all samples in one part it leaves what that part's method leaves, to the bit."""
    law, case = check_where_one_part_holds_all_it_is_that_method, case or Case.fresh()
    for part, (low, high) in zip(PARTS, ((1.0, 0.0), (0.0, 0.0), (0.0, 1.0)), strict=True):
        one = replace(method, **{part: "salun"}, low_share=low, high_share=high)
        if bits_of(law, one, case) != bits_of(law, settings("salun"), case):
            raise LawBroken(law, method, f"is not salun where the {part} part holds all, and salun is to forget it")


def check_a_method_that_asks_for_more_is_refused(method: Any, case: Case | None = None) -> None:
    """A part's method that names more than the forgotten and the retained, has to be there at the training, or is none is refused before any step."""
    law, case = check_a_method_that_asks_for_more_is_refused, case or Case.fresh()
    for name in ("unsir", "sisa", "certifiedremoval", "nosuch", "salun:nosuch"):
        try:
            left_by(law, replace(method, high=name, high_share=0.0), case)
        except BadArgument:
            continue
        raise LawBroken(law, method, f"takes {name} as a method of a part")
