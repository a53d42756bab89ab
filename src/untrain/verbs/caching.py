"""`untrain cache`: what is kept of data between calls, listed and cleared."""

from __future__ import annotations

from typing import Any

from untrain.sources import cache


def kept(*, clear: bool = False) -> dict[str, Any]:
    """What the cache holds of data; models that were trained for comparison are no part of it.

    Args:
        clear: Remove it.

    Returns:
        `files`: each with `kind`, `bytes` and `name`, which is a hash; `bytes` in all, and whether they were `cleared`.
    """
    found = cache.clear() if clear else cache.listed()
    told = [{"kind": entry.kind, "bytes": entry.bytes, "name": entry.path.name} for entry in found]
    return {"files": told, "bytes": sum(entry.bytes for entry in found), "cleared": clear}
