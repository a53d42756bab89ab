"""Memory that runs out, told by its words, whoever said them. Imports no torch."""

from __future__ import annotations

from untrain.core.wording import said

WORDS = ("out of memory", "allocate memory", "not enough memory", "create a primitive", "bad_alloc", "bad allocation")
"""What torch and its libraries say where there is no more memory."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no more memory."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(words in said(error) for words in WORDS))
