"""What a request tells a record when it may name a person: its kind, the column, and a keyed hash. Imports no torch."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

MARK = "keyed-"
"""What a keyed hash begins with."""


def keyed(forget: str, key: bytes) -> str:
    """A request without the value or the list's name that it was made by; classes and random shares are told as they are.

    A plain hash of a name would be found by hashing names. This one can be made again by whoever has the key and the name, and by no other.

    >>> keyed("where:who=Ann", b"key") == keyed("where:who=Ann", b"key") != keyed("where:who=Bob", b"key")
    True
    >>> keyed("where:who=Ann", b"key").partition("-")[0], keyed("class:cat", b"key")
    ('where:who=keyed', 'class:cat')
    """
    kind, _, what = forget.partition(":")
    if kind == "where":
        column, _, value = what.partition("=")
        return f"where:{column.strip()}={hashed(value.strip(), key)}"
    return f"{kind}:{hashed(what, key)}" if kind in ("files", "index") else forget


def hashed(text: str, key: bytes) -> str:
    """HMAC-SHA256 of a text, of which 64 bits are shown."""
    return MARK + hmac.new(key, text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:16]


def numbered(classes: Sequence[int]) -> str:
    """A request for classes by number alone.

    >>> numbered((3, 5))
    'class:3,5'
    """
    return f"class:{','.join(map(str, classes))}"
