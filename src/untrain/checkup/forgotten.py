"""What will be forgotten, is there a hold-out, and what cannot be said without one?"""

from __future__ import annotations

from collections import Counter
from typing import Any

from untrain.core.data import Split
from untrain.core.discover import found


def forgotten(split: Split) -> dict[str, Any]:
    """How many samples are to be forgotten, of all and by class."""
    gone, kept = Counter(split.forget.y.tolist()), Counter(split.retain.y.tolist())
    names = split.test.names or split.retain.names
    rows = [
        {"class": c, "name": names[c] if c < len(names) else str(c), "forget": n, "of": n + kept[c], "share": n / (n + kept[c]), "whole": kept[c] == 0}
        for c, n in sorted(gone.items())
    ]
    total = len(split.forget) + len(split.retain)
    return {"count": len(split.forget), "of": total, "share": len(split.forget) / total, "by_class": rows, "as": "classes" if split.classes else "list"}


def holdout(split: Split) -> dict[str, Any]:
    """Samples of the hold-out, and for each audit the evidence that it lacks here and now."""
    have = {name for name, part in split.parts.items() if len(part)} | {"original"} | ({"classes"} if split.classes else set())
    rows = []
    for name, entry in found("audits").items():
        cls = entry.load()
        needed, wanted = [n for n in cls.needs if n not in have], [n for n in cls.wants if n not in have]
        if needed or wanted:
            rows.append({"audit": name, "question": cls.question, "impossible": bool(needed), "lacks": needed or wanted})
    return {"count": len(split.parts.get("holdout", ())), "lacking": rows}
