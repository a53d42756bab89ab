"""What the measurements allow to be said, and no more. Sentences come from codes; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

ANSWERED = "forgotten, test"
"""The row of the accuracy audit that says what is still answered."""

SENTENCES = {
    "UNCHANGED": "Nothing was changed: the weights are those of the original.",
    "COLLAPSED": "The model was ruined: its retained accuracy is below half of the original's.",
    "SUPPRESSED": "The model no longer answers with {what}, but only its head was changed. What it learned is still inside.",
    "RESIDUE": "Traces of {what} remain: {reasons}.",
    "NO_RESIDUE": "No trace of {what} was found beyond what {m} retrained models show by chance, in {tests} tests that do see it in the original. Smaller traces are possible.",
    "INCONCLUSIVE": "Nothing can be said yet about {what}: {reasons}.",
}
"""One sentence for each verdict. None says more than was measured."""

EXIT = {"NO_RESIDUE": 0, "RESIDUE": 3, "SUPPRESSED": 3, "UNCHANGED": 3, "COLLAPSED": 4, "INCONCLUSIVE": 4}
"""Exit codes of `untrain audit`: 0 nothing found, 3 residue, 4 inconclusive."""

LEVEL = 0.05
ENOUGH = 5

NAMED = 0.05
"""Share of a forgotten class's test images, at the lower end of its interval, above which it is still named: no retrained model is needed to see that."""


def judge(audits: list[dict[str, Any]], marks: list[str], what: str) -> dict[str, Any]:
    """A verdict from the audits of a record.

    Each row that can tell knowledge from ignorance is compared with a prediction from the retrained models, one-sided,
    Holm-corrected at 5 %. A row that does not see the original has no power here and is dropped by name.
    Where there are too few retrained models for that, a forgotten class that is plainly still named is residue all the same:
    a model that was trained without a class has no sample to learn its name from.

    Args:
        audits: The `audits` of a record.
        marks: `unchanged` or `collapsed`, where the run was.
        what: What was to be forgotten, for the sentence.
    """
    rows = {row["name"]: row for entry in audits for row in entry["rows"]}
    tested = {name: _test(row) for name, row in rows.items() if row["knows"]}
    m = max((len(row["values"]["retrained"]) for row in rows.values()), default=0)
    seeing = {n: t for n, t in tested.items() if t is not None and t["p_original"] is not None and t["p_original"] < LEVEL}
    blind = sorted(n for n, t in tested.items() if t is not None and n not in seeing)
    flagged = _holm({n: t["p"] for n, t in seeing.items()})
    reasons: list[str] = []
    if "unchanged" in marks or _unchanged(rows):
        code = "UNCHANGED"
    elif "collapsed" in marks:
        code = "COLLAPSED"
    elif _head_only(rows):
        code = "SUPPRESSED"
    elif flagged:
        code, reasons = "RESIDUE", [_said(rows[n]) for n in flagged]
    elif ANSWERED in rows and tested.get(ANSWERED) is None and _named(rows[ANSWERED]):
        code, flagged, reasons = "RESIDUE", [ANSWERED], [_still(rows[ANSWERED])]
    elif seeing and m >= ENOUGH:
        code = "NO_RESIDUE"
    else:
        code = "INCONCLUSIVE"
        if m < ENOUGH:
            has = "no retrained model is at hand" if m == 0 else f"{m} retrained model{'s' if m > 1 else ''} beside it"
            reasons = [f"{has}, and a statement needs {ENOUGH}"]
        else:
            reasons = ["none of the tests sees the original, so none could have seen a trace"]
    sentence = SENTENCES[code].format(what=what, reasons="; ".join(reasons), m=m, tests=len(seeing))
    return {"code": code, "sentence": sentence, "reasons": reasons, "flagged": flagged, "retrained": m, "tests": {n: t for n, t in tested.items() if t}, "without_power": blind}


def what(request: Mapping[str, Any]) -> str:
    """What was to be forgotten, in words.

    >>> what({"forget": "class:3", "classes": [3, 5], "names": ["cat", "dog"]}), what({"forget": "class:3", "classes": [3], "names": ["3"]})
    ('classes 3 (cat), 5 (dog)', 'class 3')
    >>> what({"forget": "index:a.txt", "classes": [], "names": [], "count": 40}), what({"forget": "where:who=Ann", "classes": [], "names": [], "count": 1})
    ('40 samples (index:a.txt)', '1 sample (where:who=Ann)')
    """
    numbers, names = request["classes"], request["names"]
    if not numbers:
        count = request.get("count")
        return str(request["forget"]) if count is None else f"{count:,} sample{'s' if count != 1 else ''} ({request['forget']})"
    named = dict(zip(numbers, names, strict=False))
    shown = [str(c) if named.get(c, "") in ("", str(c)) else f"{c} ({named[c]})" for c in numbers[:12]]
    return f"class{'es' if len(numbers) > 1 else ''} {', '.join(shown)}{', ...' if len(numbers) > 12 else ''}"


def _test(row: dict[str, Any]) -> dict[str, Any] | None:
    """One-sided p of the unlearned and of the original against a prediction from the retrained models."""
    from untrain.evidence.statistics import beyond

    references = [v["value"] for v in row["values"]["retrained"]]
    mine, before = row["values"]["unlearned"], row["values"]["original"]
    if len(references) < 2 or not mine:
        return None
    floor = 2.5 if row["unit"] == "steps" else 0.01
    p = beyond(mine[0]["value"], references, row["knows"], floor)
    return {"p": p, "p_original": beyond(before[0]["value"], references, row["knows"], floor) if before else None, "mean": sum(references) / len(references)}


def _holm(ps: dict[str, float]) -> list[str]:
    """Names rejected at the level, by Holm's step-down."""
    out = []
    for i, (name, p) in enumerate(sorted(ps.items(), key=lambda item: item[1])):
        if p > LEVEL / (len(ps) - i) or math.isnan(p):
            break
        out.append(name)
    return out


def _named(row: dict[str, Any]) -> bool:
    """Whether a forgotten class is named in more of its test images than chance explains."""
    return bool(row["values"]["unlearned"]) and (row["values"]["unlearned"][0].get("low") or 0.0) > NAMED


def _still(row: dict[str, Any]) -> str:
    mine = row["values"]["unlearned"][0]
    return f"still named rightly in {mine['value']:.1%} of {mine['n']:,} test images"


def _head_only(rows: dict[str, dict[str, Any]]) -> bool:
    """Whether neither weights outside the head nor running statistics moved."""
    return _moved(rows, "outside the head, from the original", absent=1.0) <= 1e-7 and _moved(rows, "statistics, from the original", absent=0.0) <= 1e-7


def _unchanged(rows: dict[str, dict[str, Any]]) -> bool:
    return _moved(rows, "all weights, from the original", absent=1.0) == 0 and _moved(rows, "statistics, from the original", absent=0.0) == 0


def _moved(rows: dict[str, dict[str, Any]], name: str, absent: float) -> float:
    values = rows[name]["values"]["unlearned"] if name in rows else []
    return absent if not values else math.inf if values[0]["value"] is None else float(values[0]["value"])


def _said(row: dict[str, Any]) -> str:
    """A row's finding in words and numbers."""
    references = [v["value"] for v in row["values"]["retrained"]]
    mine, mean = row["values"]["unlearned"][0], sum(references) / len(references)
    if row["unit"] == "share":
        return f"{row['name']} {mine['value']:.1%} (retrained {mean:.1%})"
    return f"{row['name']} {mine['value']:.0f} {row['unit']} (retrained {mean:.0f})"
