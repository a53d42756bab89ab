"""The digits' test images in halves: what `match` is shown, since the bundled network was trained on every training image, and what it is judged on."""

from __future__ import annotations

from untrain.core.data import Samples
from untrain.zoo.sets import digits


def shown() -> Samples:
    """Every other test image."""
    return digits().test[1::2]


def judged() -> Samples:
    """The others."""
    return digits().test[::2]
