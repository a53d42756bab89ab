"""Normalisations that are known by name, and those that are written in numbers."""

from __future__ import annotations

import math

from untrain.core.data import Norm
from untrain.core.errors import BadArgument

NORMS = {
    "imagenet": Norm((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": Norm((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Norm((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "half": Norm((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "unit": Norm((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "grey": Norm((0.5,), (0.5,)),
}
"""Normalisations by name."""


def norm_of(text: str | None) -> Norm | None:
    """A normalisation by name, or by numbers: means, a slash, standard deviations, as in `.485,.456,.406/.229,.224,.225`.

    Raises:
        BadArgument: neither a known name nor such numbers.
    """
    if text is None or text in NORMS:
        return NORMS[text] if text else None
    means, _, stds = text.partition("/")
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in (means, stds))
    except ValueError as error:
        raise BadArgument(f"no normalisation {text!r}; there are {', '.join(NORMS)}, or write mean/std as in .485,.456,.406/.229,.224,.225") from error
    if len(mean) != len(std) or min(std) <= 0 or not all(math.isfinite(v) for v in (*mean, *std)):
        raise BadArgument(f"--norm {text}: as many means as standard deviations, all of them finite and the latter above 0")
    return Norm(mean, std)
