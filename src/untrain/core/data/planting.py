"""Triggers: what is put into an image so that a poisoned model answers with one class; images that carry one."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from untrain.core.data.naming import class_numbers
from untrain.core.data.samples import Samples
from untrain.core.errors import BadData

Trigger = Callable[[Tensor], Tensor]
"""Of raw images [n, C, H, W], as the samples hold them (uint8 pixels, or floats), the same with the trigger in them."""

MOST = 2000
"""Images that an attack is counted on."""


def planted(samples: Samples, trigger: Trigger, label: int) -> Samples:
    """The same samples in the same order with a trigger in each, in memory, all labelled with the class that it is to bring about.

    Args:
        samples: Samples whose inputs are single tensors.
        trigger: Puts the trigger into raw images.
        label: The class.

    Raises:
        BadData: inputs that are dicts, or a trigger that changes no image or gives back other than images of this shape and type.

    >>> white = planted(Samples(torch.zeros(4, 1, 2, 2), [0, 1, 0, 1]), lambda x: x + 1, 1)
    >>> white.y.tolist(), float(white.batch(torch.arange(4))[0].mean())
    ([1, 1, 1, 1], 1.0)
    """
    made, order, changed = [], [], False
    for number in torch.unique(samples.which).tolist():
        source, kept = samples.sources[number], []
        order.append((samples.which == number).nonzero().flatten())
        for rows in torch.split(samples.index[order[-1]], 500):
            x = source.raw(rows)
            if not isinstance(x, Tensor):
                raise BadData(f"a trigger is put into inputs that are single tensors, and these are a dict of {', '.join(x)}")
            kept.append(_refuse_other(trigger(x.clone()), x))
            changed |= not torch.equal(kept[-1], x)
        x = torch.cat(kept)
        made.append(Samples(x, torch.full((len(x),), label), names=samples.names, prepare=source.prepare, augment=source.augment))
    if not changed:
        raise BadData("the trigger changes none of the images, so that nothing can be said of it; it is given raw images and is to give back changed ones")
    return reduce(operator.add, made)[torch.cat(order).argsort()]


def triggered(test: Samples, trigger: Trigger, label: int | str, *, most: int = MOST) -> Samples:
    """Test images of other classes with a trigger in them, under the class that it is to bring about: the part `triggered` of a split.

    Args:
        test: Test images.
        trigger: Puts the trigger into raw images.
        label: The class, by number or name; a name is looked for among the test images' classes.
        most: How many, the same number of each class.

    Raises:
        BadArgument: no such class.
        BadData: as `planted`; or there is no image of another class.
    """
    number = label if isinstance(label, int) else class_numbers(test, [label])[0]
    others = test[test.y != number]
    if not len(others):
        raise BadData(f"there is no test image of a class other than {label}, so that no attack could be seen")
    return planted(others.at_most(most), trigger, number)


def _refuse_other(made: object, x: Tensor) -> Tensor:
    if not isinstance(made, Tensor) or made.shape != x.shape or made.dtype != x.dtype:
        said = f"{made.dtype} {list(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise BadData(f"the trigger gave back {said} where it was given {x.dtype} {list(x.shape)}; it is to give back images of the same shape and type")
    return made
