"""Laws of what a method sees: what it names, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import GONE, OTHERS, Case, Closed, SmallRecipe
from untrain.checks.fields import documented
from untrain.checks.running import LawBroken, bits_of, raw, watched
from untrain.core.data import Samples, Split
from untrain.core.files import weights_hash
from untrain.core.method import Method

T = TypeVar("T")


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
    met = _shown(method, case, closed)
    if met:
        raise LawBroken(law, method, f"shows a network images of {met[0]}, {len(met)} in all, though it names {list(method.needs)} alone")


def check_it_takes_as_many_of_each_class_as_a_field_says(method: Method, case: Case | None = None) -> None:
    """Where a field says that it takes the same number of each class, its networks are shown as many of each of retained samples that stand class after class."""
    law, case = check_it_takes_as_many_of_each_class_as_a_field_says, case or Case.fresh()
    told, retain = documented(type(method)), case.prepared.retain
    retain, each = retain[retain.y.argsort(stable=True)], 2
    known, few = _middles(retain), each * len(retain.classes) + 1
    for name in [name for name, entry in told.items() if "the same number of each class" in entry]:
        # So many samples, or as large a share of a part.
        of = case.split.forget if "for each forgotten one" in told[name] else retain
        asked = replace(method, **{name: few if isinstance(getattr(method, name), int) else few / len(of)})
        met = retain.y[sorted(set(_shown(asked, case, known, retain=retain)))].tolist()
        if met != [c for c in retain.classes for _ in range(each)]:
            raise LawBroken(law, asked, f"is shown retained samples of the classes {met}, where {name} asks for {each} of each")


def _middles(part: Samples) -> dict[bytes | None, int]:
    """What stays of each image under the case's augmentation, shifts by a pixel, once its border is cut off; and the place of the image."""
    x, _ = part.batch(torch.arange(len(part)))
    assert isinstance(x, Tensor)
    x = F.pad(x, (1, 1, 1, 1))
    return {raw(middle): i for down in range(3) for across in range(3) for i, middle in enumerate(x[:, :, 1 + down : 7 + down, 1 + across : 7 + across])}


def _shown(method: Method, case: Case, known: Mapping[bytes | None, T], **exchanged: Any) -> list[T]:
    """What is known of the images that the model and its copies are shown, image by image."""
    met: list[T] = []

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        for x in args:
            if isinstance(x, Tensor) and x.ndim == 4 and x.shape[-1] == 8:
                met.extend(known[key] for key in map(raw, x[:, :, 1:-1, 1:-1].detach().float()) if key in known)

    module = copy.deepcopy(case.model)
    module.register_forward_pre_hook(look)
    watched(method, case, module=module, **exchanged)
    return met


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
