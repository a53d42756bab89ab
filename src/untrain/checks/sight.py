"""Laws of what a method sees: what it names, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, OTHERS, Case, Closed, SmallRecipe
from untrain.checks.running import LawBroken, bits_of, raw, watched
from untrain.core.data import Samples, Split
from untrain.core.files import weights_hash
from untrain.core.method import Method


def check_it_sees_only_what_it_names(method: Method, case: Case | None = None) -> None:
    """With all that it does not name spoilt in place (in lazy data: raising when read), it leaves the same bits."""
    law = check_it_sees_only_what_it_names
    if "test" in method.needs:
        raise LawBroken(law, method, "names the test samples")
    left = {}
    for here in [case] if case else [Case.fresh(), Case.fresh(lazy=True)]:
        clean = bits_of(law, method, here)
        try:
            with here.spoilt(but=method.needs):
                left[clean] = bits_of(law, method, here)
        except Closed as error:
            raise LawBroken(law, method, f"read {error}, though it names {list(method.needs)} alone") from error
        if left[clean] != clean:
            raise LawBroken(law, method, f"names {list(method.needs)} alone, but leaves other bits when the rest is spoilt")
    if len(left) > 1:
        raise LawBroken(law, method, "leaves other bits when the same data are read one by one")


def check_no_image_that_it_does_not_name_passes_through_a_network(method: Method, case: Case | None = None) -> None:
    """Of the images that the model and its copies are shown none is of a part that it does not name, not even out of a cache or a copy of its own."""
    law, case = check_no_image_that_it_does_not_name_passes_through_a_network, case or Case.fresh()
    known = {name: _middles(part) for name, part in case.prepared.parts.items()}
    closed = {key: name for name, keys in known.items() if name not in method.needs for key in keys}
    for name in set(method.needs) & known.keys():
        closed = {key: part for key, part in closed.items() if key not in known[name]}
    met: list[str] = []

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        for x in args:
            if isinstance(x, Tensor) and x.ndim == 4 and x.shape[-1] == 8:
                met.extend(closed[key] for key in map(raw, x[:, :, 1:-1, 1:-1].detach().float()) if key in closed)

    module = copy.deepcopy(case.model)
    module.register_forward_pre_hook(look)
    watched(method, case, module=module)
    if met:
        raise LawBroken(law, method, f"shows a network images of {met[0]}, {len(met)} in all, though it names {list(method.needs)} alone")


def _middles(part: Samples) -> set[bytes | None]:
    """What stays of each image under the case's augmentation, shifts by a pixel, once its border is cut off."""
    x, _ = part.batch(torch.arange(len(part)))
    assert isinstance(x, Tensor)
    x = F.pad(x, (1, 1, 1, 1))
    return {raw(middle) for down in range(3) for across in range(3) for middle in x[:, :, 1 + down : 7 + down, 1 + across : 7 + across]}


def check_each_part_that_it_names_matters(method: Method, case: Case | None = None) -> None:
    """Each part that it names, exchanged for another of the same size, changes the bits; so do `classes` and `recipe`."""
    law, case = check_each_part_that_it_names_matters, case or Case.fresh()
    clean, split = bits_of(law, method, case), case.split
    for name in method.needs:
        if name == "shape":
            continue
        if name == "classes":
            bits = bits_of(law, method, case, split=Split(**{**split.parts, "classes": OTHERS}))  # type: ignore[arg-type]
        elif name == "recipe":
            bits = bits_of(law, method, case, recipe=SmallRecipe(lr=0.03, skipped=1))
        else:
            bits = bits_of(law, method, case, split=split.replaced(**{name: case.other(name)}))
        if bits == clean:
            raise LawBroken(law, method, f"names {name}, but leaves the same bits when it is exchanged for another")


def check_the_order_of_classes_is_nothing_to_it(method: Method, case: Case | None = None) -> None:
    """Classes handed to the method itself as (2, 0) and as (0, 2) leave the same bits."""
    law, case = check_the_order_of_classes_is_nothing_to_it, case or Case.fresh()
    if "classes" not in method.needs:
        return
    one, two = (weights_hash(watched(method, case, classes=classes)[0].state_dict()) for classes in (GONE, GONE[::-1]))
    if one != two:
        raise LawBroken(law, method, f"leaves other bits for the classes {GONE[::-1]} than for {GONE}")
