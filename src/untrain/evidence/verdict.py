"""What the measurements allow to be said, and no more. Sentences come from codes.

Imports no torch, and scipy only where something is judged: sentences and exit codes are wanted where neither is at hand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from untrain.core.errors import FAILED
from untrain.evidence.compared import Comparison, Counts, Distance, Exact, Odds, Spread, honest, mean_of
from untrain.evidence.rows import Table, numbered, too_few
from untrain.evidence.weighed import UNMOVED, same_answers, strange_weights, unmoved

SENTENCES = {
    "UNCHANGED": "Nothing was changed: weights and answers are those of the original.",
    "COLLAPSED": "The model was ruined: its retained accuracy is below half of the original's.",
    "SUPPRESSED": "The model no longer answers with {what}, but outside its head it is the original, to within rounding. What it learned is still inside.",
    "RESIDUE": "Traces of {what} remain: {reasons}.",
    "UNLIKE": "The model is unlike one that never saw {what}: {reasons}. What was hidden may still be inside.",
    "NO_RESIDUE": "No trace of {what} was found beyond what {m} retrained models show by chance, in {tests} tests that do see it in the original: {reasons}. "
    "Smaller traces are possible.",
    "INCONCLUSIVE": "Nothing can be said yet about {what}: {reasons}.",
    "BIAS_GONE": "A tenth or less of the bias over {what} was measured after: {reasons}. On other pairs it may be more.",
    "BIAS_LESS": "More than a tenth of the bias over {what} was measured after, and less than before: {reasons}.",
    "BIAS_LEFT": "The bias over {what} was not found to be less: {reasons}.",
}
"""One sentence for each verdict. None says more than was measured."""

EXIT = {"NO_RESIDUE": 0, "RESIDUE": 3, "UNLIKE": 3, "SUPPRESSED": 3, "UNCHANGED": 3, "COLLAPSED": 4, "INCONCLUSIVE": 4, "BIAS_GONE": 0, "BIAS_LESS": 3, "BIAS_LEFT": 3}
"""Exit codes of `untrain audit`: 0 nothing found, 3 something was found, 4 inconclusive; of `untrain debias`: 0 gone, 3 not."""


@dataclass(frozen=True)
class Family:
    """Rows that are judged together.

    Args:
        rows: The rows, each as the audit's name and its own.
        level: The chance that one of them is found in a model that never saw what is asked after; Holm's correction keeps it, half of it on each side.
        by: How a model is told from the retrained ones.
        clears: Whether that they find nothing can say that no trace is left: not where a mask on the head is enough for that.
        caps: Whether what they find is no finding by itself and only forbids NO_RESIDUE.
        expected: Whether that an audit was not asked is said of every record; else only where it was left out by hand.
    """

    rows: tuple[tuple[str, str], ...]
    level: float
    by: Comparison
    clears: bool = True
    caps: bool = False
    expected: bool = True


FAMILIES = {
    "recovery": Family(
        (("prototype", "one-shot prototype"), ("prototype", "head-reset relearning"), ("relearn", "relearning recall, row reset"), ("strangeness", "strangeness")), 0.05, Spread()
    ),
    "relearning": Family((("relearn", "relearning recall"),), 0.02, Odds(), clears=False),
    "answers": Family((("accuracy", "forgotten, test"), ("accuracy", "forgotten, training")), 0.01, Counts(), clears=False),
    "company": Family((("predictions", "distance of answers"),), 0.02, Distance(), clears=False, expected=False),
    "exact": Family(
        (("classinstance", "instances by any signal"), ("splitrelearn", "membership after relearning half"), ("graft", "graft, forgotten")),
        0.01,
        Exact(),
        clears=False,
        expected=False,
    ),
    "descent": Family((("descent", "unlike the original, halfway"),), 0.01, Spread(), clears=False, caps=True),
}
"""What is judged, and nothing else is: the row of another audit joins by being written here.

None of the rows of recovery reads the forgotten rows of the head, so a mask on them is to all four what the original is. What reads them, answers and relearning with
the head as it is, can find a trace and not clear: a mask, or a low bias, is enough for it to find none. Most retrained models relearn nothing with the head as it is and a
few much, so that on the scale of shares several times as many honest models of the digits are found as is asked, and on that of the logarithm of the odds no more than
are (docs/verdict.md). How images of the class are answered, its own rows aside, tells models that were pushed off from those that never learned, and not
what is left in them: that is being unlike, and no trace. What has a chance of its own needs no spread of retrained models, and one of them at least to show that it
holds here: that a class's training and test images are of one kind, and that the original's head does not work on features of any model. A model whose lower half is the
original's far more than any retrained model's is may hide the class above it, where the last layer shows none; that is no trace, but forbids to say that there is none.
Relearning times are told and not judged, since one that ran out of steps is no value.
"""

ANSWERED = "forgotten, test"
"""The row of the accuracy audit that says what is still answered."""

ENOUGH = 5
"""Retrained models that it takes to say that no trace was found."""

NAMED = 0.05
"""Share of a forgotten class's test images, at the lower end of its interval, above which it is still named: no retrained model is needed to see that."""

CLOSE = 0.25
"""Share of what retrained models leave untold of the original's features, below which a model's lower half is still the original's.

Chosen on the digits, classes 5 and 6, four originals: beside 16 retrained models of other seeds, models retrained from the original's very seed, and so from its
first weights, leave .45 to .63 of what these do (n = 8); fakes and cheats that were tuned on from the original at most .10 (n = 32).
"""


def judge(audits: list[dict[str, Any]], marks: Sequence[str], what: str, of: int = 1, aside: Collection[tuple[str, str]] = ()) -> dict[str, Any]:
    """A verdict from the audits of a record.

    The rows of `FAMILIES`, and no others, are compared with a prediction from the retrained models, on both sides, with Holm's correction within each
    family and side, or found by a chance of their own. What knows more than they do is RESIDUE; what knows less, answers otherwise or has what training does not leave
    in its weights is UNLIKE. NO_RESIDUE needs five of them, six test images, a row that is not about answers and that sees the original by the very same
    procedure, and a model that is not still the original in its lower half. A forgotten class that is plainly still named is residue whatever stands beside
    it: a model that was trained without a class has no sample to learn its name from.

    Args:
        audits: The `audits` of a record.
        marks: `unchanged` or `collapsed`, where the run was.
        what: What was to be forgotten, for the sentence.
        of: How many exits of the network are judged beside each other: each family's level is shared among them.
        aside: Rows that are judged elsewhere.
    """
    table = Table(audits, aside)
    tests, more, less, seeing = tested(table, of)
    m, doubtful, capped = table.retrained, _doubtful(table), _capped(table, tests, of)
    unmeasured, unfit, left_out = _unmeasured(table, audits), _unfit(table), _left_out(audits)
    named = _named(table.value(("accuracy", ANSWERED), "unlearned"))
    hidden = unmoved(table, marks)
    answers = [n for n in more if n in _names("answers")]
    strange = strange_weights(table)
    reasons, flagged = list[str](), list[str]()
    if hidden == "unchanged" and same_answers(table):
        code = "UNCHANGED"
    elif "collapsed" in marks:
        code = "COLLAPSED"
    elif hidden == "head" and _silent(table) and not named and not answers:
        code = "SUPPRESSED"
    elif more or named or hidden:
        code, flagged = "RESIDUE", more
        if named and ANSWERED not in flagged:
            flagged = [ANSWERED, *flagged]
            reasons.append(_still(table.value(("accuracy", ANSWERED), "unlearned")))
        reasons += [_said(table, tests, name) for name in more]
        if hidden:
            reasons.append(UNMOVED[hidden])
    elif less or strange:
        code, flagged = "UNLIKE", less
        reasons = [_said(table, tests, name, "only ") for name in less] + strange
    elif m >= ENOUGH and not doubtful and not unmeasured and not capped and any(n in _clearing() for n in seeing):
        code = "NO_RESIDUE"
        reasons = [_would(table, tests, name) for name in seeing if name in _clearing()] + [*unfit.values(), *left_out]
    else:
        code, reasons = "INCONCLUSIVE", [*capped, *_too_little(table, seeing, tests), *_alone(table, of), *doubtful, *unmeasured, *unfit.values(), *left_out]
    blind = sorted({*unfit, *(n for n in tests if n not in seeing)})
    found = {"code": code, "reasons": reasons, "flagged": flagged, "retrained": m, "tests": tests, "without_power": blind}
    return found | {"sentence": SENTENCES[code].format(what=what, reasons="; ".join(reasons), m=m, tests=in_tests(found))}


def in_tests(verdict: Mapping[str, Any]) -> int:
    """How many tests of a verdict see the original; what only caps, or finds a model unlike others, is none, since it finds no trace."""
    no_trace = {name for family in FAMILIES.values() if family.caps or "more" not in family.by.sides for _, name in family.rows}
    return len(set(verdict["tests"]) - set(verdict["without_power"]) - no_trace)


def what(request: Mapping[str, Any]) -> str:
    """What was to be forgotten, or over what a bias was to be removed, in words.

    >>> what({"forget": "class:3", "classes": [3, 5], "names": ["cat", "dog"]}), what({"forget": "class:3", "classes": [3], "names": ["3"]})
    ('classes 3 (cat), 5 (dog)', 'class 3')
    >>> what({"forget": "index:a.txt", "classes": [], "names": [], "count": 40}), what({"forget": "where:who=Ann", "classes": [], "names": [], "count": 1})
    ('40 samples (index:a.txt)', '1 sample (where:who=Ann)')
    """
    if "bias" in request:
        return str(request["bias"])
    numbers, names = request["classes"], request["names"]
    if not numbers:
        count = request.get("count")
        return str(request["forget"]) if count is None else f"{count:,} sample{'s' if count != 1 else ''} ({request['forget']})"
    named = dict(zip(numbers, names, strict=False))
    shown = [str(c) if named.get(c, "") in ("", str(c)) else f"{c} ({named[c]})" for c in numbers[:12]]
    return f"class{'es' if len(numbers) > 1 else ''} {', '.join(shown)}{', ...' if len(numbers) > 12 else ''}"


def _names(family: str) -> tuple[str, ...]:
    return tuple(name for _, name in FAMILIES[family].rows)


def _clearing() -> set[str]:
    """Rows that can say that no trace was found."""
    return {name for family in FAMILIES.values() if family.clears for _, name in family.rows}


def tested(table: Table, of: int) -> tuple[dict[str, dict[str, Any]], list[str], list[str], list[str]]:
    """Each judged row's test; the rows found to know more, and less, than the retrained models; and those that would find the original."""
    from untrain.evidence.statistics import holm_on_side

    tests: dict[str, dict[str, Any]] = {}
    more: list[str] = []
    less: list[str] = []
    seeing: list[str] = []
    for family in FAMILIES.values():
        level, by = family.level / of, family.by
        whole = {key[1]: key for key in family.rows if table.value(key, "unlearned") and by.fits(table, key)}
        mine, before = ({name: _told(by.sides, by.ps(table, key, column)) for name, key in whole.items() if table.value(key, column)} for column in ("unlearned", "original"))
        if not family.caps:
            more += holm_on_side(mine, "more", level)
            less += holm_on_side(mine, "less", level)
        # The original is judged as the unlearned model is: beside the same rows, at the same level. A row that would let it pass cannot clear another.
        sees = holm_on_side(before, by.sides[0], level)
        seeing += [n for n in whole if n in sees]
        for name, key in whole.items():
            original = table.value(key, "original")
            tests[name] = {
                "p": mine[name][0],
                "side": mine[name][1],
                "p_original": before[name][0] if name in before else None,
                "mean": mean_of(table, key),
                "limit": by.limit(table, key, level / len(whole)),
                "original": original["value"] if original else None,
            }
    return tests, more, less, seeing


def _told(sides: Sequence[str], ps: Sequence[float]) -> tuple[float, str]:
    """Of all sides the smallest p, as many times as there are sides, and which side that is."""
    return min(1.0, len(ps) * min(ps)), sides[ps.index(min(ps))]


# What is said of answers.


def _named(value: Mapping[str, Any] | None) -> bool:
    """Whether a forgotten class is named in more of its test images than chance explains."""
    return value is not None and (value.get("low") or 0.0) > NAMED


def _silent(table: Table) -> bool:
    """Whether the forgotten are hardly named: a class in its test images; of single samples nothing can be said without retrained models."""
    value = table.number(("accuracy", ANSWERED), "unlearned")
    if value is not None:
        return value <= NAMED
    return bool(table.value(("accuracy", "forgotten, training"), "unlearned")) and table.retrained >= 2


def _still(value: Mapping[str, Any] | None) -> str:
    return "" if value is None else f"still named rightly in {value['value']:.1%} of {value['n']:,} test images"


# What stands in the way of a verdict.


def _capped(table: Table, tests: Mapping[str, Mapping[str, Any]], of: int) -> list[str]:
    """What forbids to say that nothing was found, though it is no trace: a lower half that is still the original's."""
    out = []
    for family in (f for f in FAMILIES.values() if f.caps):
        for key in (k for k in family.rows if k[1] in tests):
            left, test = table.numbers(key, "unlearned")[0], tests[key[1]]
            if test["side"] == "more" and test["p"] <= family.level / (of * len(family.rows)) and left <= CLOSE * test["mean"]:
                leaves, others = (_amount(value, table.rows[key]["unit"]) for value in (left, test["mean"]))
                out.append(
                    f"halfway through, the model is still the original: its features there leave {leaves} of the original's untold (retrained {others}), "
                    "so that what was learned may lie below the last layer, where no test looks"
                )
    return out


def _doubtful(table: Table) -> list[str]:
    """Retrained models that seem to know what they should never have seen, each with the reason."""
    from untrain.evidence.statistics import floor_of

    out = []
    answered = table.values(("accuracy", ANSWERED), "retrained")
    for i in range(table.retrained):
        if i < len(answered) and _named(answered[i]):
            out.append(f"retrained model {i + 1} names what it should never have seen in {answered[i]['value']:.1%} of {answered[i]['n']:,} test images")
            continue
        pairs = [(table.values(key, "retrained"), table.number(key, "original"), floor_of(table.rows[key]["unit"])) for key in FAMILIES["recovery"].rows if key in table.rows]
        gaps = [abs(values[i]["value"] - before) <= floor / 2 for values, before, floor in pairs if before is not None and i < len(values)]
        if gaps and all(gaps):
            out.append(f"retrained model {i + 1} recovers it as the original does, so it may have seen it")
    return out


def _unfit(table: Table) -> dict[str, str]:
    """Rows whose own chance does not hold here, since retrained models are found by it too, each in words."""
    found = {key[1]: honest(table.values(key, "retrained")) for key in FAMILIES["exact"].rows}
    return {name: f"{name} finds {k} of {m} retrained models too, so that it says nothing here" for name, (k, m) in found.items() if k}


def _alone(table: Table, of: int) -> list[str]:
    """What would be found by its own chance, were there a retrained model to show that it holds here."""
    from untrain.evidence.statistics import holm

    family = FAMILIES["exact"]
    own = {key: table.value(key, "unlearned") or {} for key in family.rows if not table.values(key, "retrained")}
    hits = holm({key[1]: value["p"] for key, value in own.items() if value.get("p") is not None}, family.level / of)
    told = {key[1]: _amount(value["value"], table.rows[key]["unit"]) for key, value in own.items() if key[1] in hits}
    return [f"{name} {told[name]} would be a trace if a retrained model showed none by it, and none is at hand" for name in hits]


def _unmeasured(table: Table, audits: list[dict[str, Any]]) -> list[str]:
    """What was asked, is judged, and has no number, or of hardly any image: audits that failed, and rows without a value."""
    failed = [f"{entry['name']} has no answer, since {entry['skipped']}" for entry in audits if entry.get("name") in _LOOKED and _failed(entry)]
    keys = [key for family in FAMILIES.values() for key in family.rows if key in table.rows]
    empty = [key[1] for key in keys if not all(numbered(v) for values in table.rows[key]["values"].values() for v in values)]
    return failed + [f"{name} has no value for one of the models" for name in empty] + too_few(table.value(("accuracy", ANSWERED), "unlearned"))


_LOOKED = {audit for family in FAMILIES.values() for audit, _ in family.rows} | {"weights"}
"""Audits that the verdict looks at."""


def _failed(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("skipped") or "").startswith(FAILED)


def _left_out(audits: list[dict[str, Any]]) -> list[str]:
    """Audits that the verdict looks at and that were not asked, with why where that is known.

    One that is not expected is named where it was left out, and not where it could not be asked or is absent, as in older records.
    """
    free = {audit for family in FAMILIES.values() if not family.expected for audit, _ in family.rows}
    skipped = [entry for entry in audits if entry.get("name") in _LOOKED and entry.get("skipped") and not _failed(entry)]
    told = [f"{e['name']} was not asked: {e['skipped']}" for e in skipped if e["name"] not in free or not e["skipped"].startswith("needs ")]
    absent = {audit for family in FAMILIES.values() for audit, _ in family.rows} - free - {entry.get("name") for entry in audits}
    return told + [f"{name} was not asked" for name in sorted(absent)]


def _too_little(table: Table, seeing: Sequence[str], tests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why nothing can be said, where nothing was found."""
    m = table.retrained
    if m < ENOUGH:
        has = "no retrained model is at hand" if m == 0 else f"{m} retrained model{'s' if m > 1 else ''} beside it"
        return [f"{has}, and a statement needs {ENOUGH}"]
    if any(n in _clearing() for n in seeing):
        return []
    deep = [test for name, test in tests.items() if name in _clearing()]
    if not deep:
        return ["nothing looked behind the answers, and these prove nothing by themselves"]
    if all(test["p_original"] is None for test in deep):
        return ["the original is not at hand, so no test is known to see what it learned"]
    return ["none of the tests that look behind the answers sees the original, so none could have seen a trace"]


def _amount(value: float, unit: str) -> str:
    return {"share": f"{value:.1%}", "ratio": f"{value:.2f}", "distance": f"{value:.3f}"}.get(unit, f"{value:.0f} {unit}")


def _key(name: str) -> tuple[str, str]:
    return next(key for family in FAMILIES.values() for key in family.rows if key[1] == name)


def _said(table: Table, tests: Mapping[str, Mapping[str, Any]], name: str, less: str = "") -> str:
    """A row's finding in words and numbers; `less` stands before what lies below."""
    key = _key(name)
    row = table.rows[key]
    word = less if row["knows"] else ""
    return f"{name} {word}{_amount(table.numbers(key, 'unlearned')[0], row['unit'])} (retrained {_amount(tests[name]['mean'], row['unit'])})"


def _would(table: Table, tests: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """From where on a row would have told, and what the original has."""
    unit, test = table.rows[_key(name)]["unit"], tests[name]
    return f"{name} would have been found from {_amount(test['limit'], unit)} on, the original has {_amount(test['original'], unit)}"
