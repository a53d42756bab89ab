"""Places on the command line, where a shell has left something to be done. Importing it imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from untrain.core.disk import at_home
from untrain.core.errors import BadArgument

HOME = re.compile(r"((?:--?[a-z][a-z-]*=)?(?:(?:files|index|hf):)?)(~[^/:=]*)(?=/|$)")
"""A way that begins at a home, where shells leave it alone: behind a flag's =, or behind what says what it is."""

PLACES = (
    *("--out", "-o", "--weights", "--canaries", "--data-root", "--retrained", "--shadows", "--like", "--pages", "--settings", "--key", "--ledger"),
    *("--run", "--folder", "--model", "--data", "--test", "--holdout", "--unseen", "--recipe", "--pairs", "--twins", "--trigger"),
)
"""Flags that name a place, or what lies at one."""


def meant(tokens: Sequence[str]) -> list[str]:
    """The arguments with `~` as the home that it stands for.

    Raises:
        BadArgument: a place is named that is empty.

    >>> meant(["report", "run"])
    ['report', 'run']
    """
    for flag, value in [*pairwise(tokens), *(token.split("=", 1) for token in tokens if "=" in token)]:
        if value == "" and flag in PLACES:
            raise BadArgument(f"{flag} is empty, as a variable of the shell is that is not set; say what is meant, or leave the flag out")
    return [HOME.sub(lambda found: found[1] + at_home(found[2]), token, count=1) if HOME.match(token) else token for token in tokens]
