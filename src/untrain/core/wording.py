"""Text of others' making, as it can stand in a line: in a terminal, in a message, on a page. Imports no torch."""

from __future__ import annotations

import unicodedata
from pathlib import Path

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Kinds of characters that are not shown as they are: control, format and private ones, halves of pairs, other ends of lines."""


def plain(text: object, keep: str = "") -> str:
    r"""Text with invisible, direction-changing and control characters written out.

    Args:
        text: The text.
        keep: Characters that stay.

    >>> plain("a\u202eb\x1b[2J"), plain("a\nb", keep="\n")
    ('a\\u202eb\\u001b[2J', 'a\nb')
    """
    return "".join(c if c in keep or unicodedata.category(c) not in UNSEEN else f"\\u{ord(c):04x}" for c in str(text))


def said(error: BaseException) -> str:
    """The first line of what an error says; its kind, where it says nothing or that cannot be had."""
    try:
        lines = str(error).splitlines()
    except Exception:  # the text of a stranger's error is a stranger's code
        lines = []
    return lines[0][:200] if lines and lines[0].strip() else type(error).__name__


def told(error: BaseException) -> str:
    """An error in a few words: its kind, and what it says.

    >>> told(KeyError("x")), told(ValueError())
    ("KeyError: 'x'", 'ValueError')
    """
    kind, fact = type(error).__name__, said(error)
    return kind if fact == kind else f"{kind}: {fact}"


def called(place: Path) -> str:
    """What a place is called in a line: its name, or where it has none what stands for it.

    >>> called(Path("runs/one")), called(Path(".")), called(Path("/"))
    ('one', '.', '/')
    """
    return place.name or str(place)
