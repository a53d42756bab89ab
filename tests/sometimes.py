"""Which of many alike `make test` meets; `make test-slow` meets the others, and CI both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_in(of: int, all_of: Iterable[Any]) -> list[Any]:
    """All as parameters, the first of so many as it is and the others slow."""
    return [pytest.param(one, marks=[pytest.mark.slow] * (i % of > 0)) for i, one in enumerate(all_of)]
