"""The verdict of a record, and what rank tests against a hold-out say of a list of samples. Imports no torch.

Of classes the verdict is that of `verdict.judge`, of a bias that of `biased`. Of single samples no retrained model shows by one row what was left of
them; samples of their kind that no model was trained on do, with a null that is exact.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from untrain.evidence.biased import of_a_bias
from untrain.evidence.compared import honest
from untrain.evidence.verdict import SENTENCES, in_tests, judge, what

TESTS = (
    ("membership", "membership"),
    ("membership", "membership, calibrated"),
    ("dormant", "membership after training on the retained"),
    ("dormant", "plausibility after training on the retained"),
    ("splitrelearn", "membership after relearning half"),
    ("exposure", "LiRA"),
    ("exposure", "U-LiRA"),
    ("canary", "coins guessed"),
)
"""The rows that are judged of a list, each as the audit's name and its own; .5 means no trace in each, and each null is exact. Where there are coins, no other."""

COINS = "coins guessed"
"""The row that compares with coins, and with no hold-out."""

LEVEL = 0.05
"""The chance that one of them is found in a model that never saw the samples; Holm's correction keeps it, half of it on each side."""

MARGIN = 0.05
"""How near to one half an AUC has to lie for a trace to be called small."""

BRING = 75
"""Samples of a hold-out below which hardly anything could be seen."""


WORST = ("UNCHANGED", "COLLAPSED", "RESIDUE", "UNLIKE", "SUPPRESSED", "INCONCLUSIVE", "NO_RESIDUE")
"""Verdicts on exits, the one that counts for the whole network first."""


def judged(record: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict of a record, from its audits; of a network with exits that of the worst of them, and why, exit by exit."""
    exits = record.get("exits") or []
    if not exits:
        return _judged(record["audits"], record, 1)
    found = {exit["name"]: judged_exit(exit["audits"], record) for exit in exits} | {"the last exit": judged_exit(record["audits"], record)}
    code = min((verdict["code"] for verdict in found.values()), key=WORST.index)
    with_it = {name: verdict for name, verdict in found.items() if verdict["code"] == code}
    reasons = [f"{name}: {reason}" for name, verdict in with_it.items() for reason in verdict["reasons"]]
    worst: dict[str, Any] = next(iter(with_it.values()))
    sentence = SENTENCES[code].format(what=what(record["request"]), reasons="; ".join(reasons), m=worst["retrained"], tests=in_tests(worst))
    flagged = list(dict.fromkeys(row for verdict in with_it.values() for row in verdict["flagged"]))
    return worst | {"sentence": sentence, "reasons": reasons, "flagged": flagged}


def judged_exit(audits: list[dict[str, Any]], record: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on one exit of a record's network, from what its audits found; the levels are shared among its exits."""
    return _judged(audits, record, answers(record))


def answers(record: Mapping[str, Any]) -> int:
    """How many exits of a record's network are judged beside each other, the last among them."""
    return 1 + len(record.get("exits") or [])


def _judged(audits: list[dict[str, Any]], record: Mapping[str, Any], of: int) -> dict[str, Any]:
    request = record["request"]
    if "bias" in request:
        return of_a_bias(audits, record["run"]["marks"], request)
    if request["classes"]:
        return judge(audits, record["run"]["marks"], what(request), of)
    return of_a_list(judge(audits, record["run"]["marks"], what(request), of, TESTS), audits, request, of)


def judge_list(audits: list[dict[str, Any]], count: int, marks: Sequence[str] = (), name: str = "a list") -> dict[str, Any]:
    """The verdict on single samples, of what `audit` found; for classes there is `judge`.

    Args:
        audits: What `audit` gave.
        count: How many samples were to be forgotten.
        marks: Those of the run.
        name: What they are called in the sentence.

    >>> judge_list([], 5)["reasons"][0]
    'membership was not asked; bring 75 samples or more of the same kind that no model was trained on (--holdout)'
    """
    request = {"forget": name, "classes": [], "names": [], "count": count}
    return of_a_list(judge(audits, marks, what(request), aside=TESTS), audits, request)


def of_a_list(found: dict[str, Any], audits: list[dict[str, Any]], request: Mapping[str, Any], of: int = 1) -> dict[str, Any]:
    """A verdict on single samples: that of `judge`, and beside it what the rank tests found.

    A list can be found wanting and is not declared clean: where nothing is found the reasons say what would have been, and
    how many samples a statement takes.

    Args:
        found: The verdict of `judge`, the rank tests set aside.
        audits: The `audits` of a record.
        request: Its `request`.
        of: How many exits are judged beside each other, and share the level.
    """
    from untrain.evidence.statistics import holm_on_side

    rows = _rows(audits)
    tests = tested_list(audits)
    unfit = [] if COINS in tests else [name for name, values in rows.items() if _honest(values)[0]]
    hit = differing_in_list(tests, of)
    sees = holm_on_side({n: (t["p_original"], "more" if t["original"] > 0.5 else "less") for n, t in tests.items() if t["p_original"] is not None}, "more", LEVEL / of)
    more, less = ([n for n in hit if tests[n]["side"] == side] for side in ("more", "less"))
    code, reasons, flagged = found["code"], list(found["reasons"]), list(found["flagged"])
    if code in ("RESIDUE", "UNLIKE", "INCONCLUSIVE", "NO_RESIDUE") and more:
        reasons = (reasons if code == "RESIDUE" else []) + [_said(n, rows[n], tests[n]) for n in more]
        code, flagged = "RESIDUE", [*(flagged if code == "RESIDUE" else []), *more]
    elif code in ("UNLIKE", "INCONCLUSIVE", "NO_RESIDUE") and less:
        reasons = (reasons if code == "UNLIKE" else []) + [_said(n, rows[n], tests[n]) for n in less]
        code, flagged = "UNLIKE", [*(flagged if code == "UNLIKE" else []), *less]
    elif code in ("INCONCLUSIVE", "NO_RESIDUE"):
        code, reasons = "INCONCLUSIVE", [*_open(audits, rows, tests, unfit, int(request.get("count") or 0), of), *(reasons if code == "INCONCLUSIVE" else [])]
    return found | {
        "code": code,
        "reasons": reasons,
        "flagged": flagged,
        "tests": found["tests"] | tests,
        "without_power": sorted({*found["without_power"], *unfit, *(n for n in tests if n not in sees)}),
        "sentence": SENTENCES[code].format(what=what(request), reasons="; ".join(reasons), m=found["retrained"], tests=len(found["tests"]) + len(tests)),
    }


def tested_list(audits: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The test of each row of TESTS that has one, by its name, but for those that find honest models too.

    Where there are coins, they alone: canaries have wrong labels, and so are not alike to samples of a hold-out, not even to a model that never saw any of both.
    """
    rows = _rows(audits)
    tests = {name: test for name, values in rows.items() if (test := _test(values)) is not None}
    return {COINS: tests[COINS]} if COINS in tests else {name: test for name, test in tests.items() if not _honest(rows[name])[0]}


def _rows(audits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values of each row of TESTS, by its name."""
    return {row["name"]: row["values"] for entry in audits for row in entry["rows"] if (entry["name"], row["name"]) in TESTS}


def _honest(values: Mapping[str, Any]) -> tuple[int, int]:
    return honest(values.get("retrained", ()))


def differing_in_list(tests: Mapping[str, Mapping[str, Any]], of: int = 1) -> list[str]:
    """Which of them find something, on either side, by Holm's correction."""
    from untrain.evidence.statistics import holm_on_side

    sided = {name: (test["p"], test["side"]) for name, test in tests.items()}
    return holm_on_side(sided, "more", LEVEL / of) + holm_on_side(sided, "less", LEVEL / of)


def _test(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a row's test says, as the tests of a verdict are told; None where it has none."""
    own, before = (next(iter(values.get(column, ())), None) for column in ("unlearned", "original"))
    if own is None or own.get("p") is None:
        return None
    return {
        "p": own["p"],
        "side": "more" if own["value"] >= 0.5 else "less",
        "p_original": before.get("p") if before else None,
        "mean": 0.5,
        "limit": None if own.get("least") is None else min(1.0, 0.5 + own["least"]),
        "original": before["value"] if before else None,
    }


def _said(name: str, values: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    own = values["unlearned"][0]
    before = "" if test["original"] is None else f", the original has {test['original']:.2f}"
    if name == COINS:
        return f"{own['value']:.2f} of {own['n']:,} coins are guessed by how sure it is of canaries (95 % {own['low']:.2f} to {own['high']:.2f}), where chance guesses .50{before}"
    return f"{name} tells them from samples never seen: AUC {own['value']:.2f} (95 % {own['low']:.2f} to {own['high']:.2f}), where .50 means no trace{before}"


def _open(audits: list[dict[str, Any]], rows: Mapping[str, Any], tests: Collection[str], unfit: Sequence[str], count: int, of: int) -> list[str]:
    """Why nothing is said of samples in which nothing was found, and what to bring."""
    if unfit:
        why = "so that it says nothing here: the hold-out is of another kind than these samples, or they were trained on copies of them"
        told = ["{} finds {} of {} retrained models too, {}".format(name, *_honest(rows[name]), why) for name in unfit]
        return told + (_open(audits, rows, tests, (), count, of) if tests else [f"no test is left; bring {BRING} samples or more that were chosen as these were (--holdout)"])
    if not tests:
        why = next((entry["skipped"] for entry in audits if entry["name"] == "membership" and entry["skipped"]), "membership was not asked")
        lacks = "there is no hold-out" if "holdout" in why else why
        return [f"{lacks}; bring {BRING} samples or more of the same kind that no model was trained on (--holdout)"]
    if COINS in tests:
        return [_coins(rows[COINS]["unlearned"][0], of), "no list is declared clean by such a test alone; training anew without them is the sure way"]
    asked = [(_shift(rows[name]["unlearned"][0], len(tests) * of), rows[name]["unlearned"][0]["n"]) for name in tests]
    least, n = min(asked, key=lambda one: (one[0] is None, one))
    found = "its rank test against the hold-out" if len(tests) == 1 else f"{len(tests)} rank tests against the hold-out"
    few, takes = "one sample" if count == 1 else f"{count:,} samples", needed(MARGIN)
    enough = takes is not None and n >= takes
    clean = "no list is declared clean by such tests alone" if enough else f"{few} can be found wanting but not declared clean: it takes {takes:,}, and as many never seen"
    seen = "could hardly have seen any shift" if least is None else f"would have seen a shift of the AUC by {least:.2f} in 8 of 10 cases"
    return [
        f"{found} found nothing, and {seen} (n = {n:,})",
        f"{clean}{'' if enough else f', to say that no shift above {MARGIN:g} is left'}; training anew without them is the sure way",
    ]


def _coins(own: Mapping[str, Any], of: int) -> str:
    least = _shift(own, of)
    seen = "hardly any share would have been found" if least is None else f"{0.5 + least:.2f} would have been found in 8 of 10 cases"
    return f"{own['value']:.2f} of {own['n']:,} coins are guessed, where chance guesses .50, and {seen}"


def _shift(own: Mapping[str, Any], tests: int) -> float | None:
    """The smallest shift from one half that is found in 8 of 10 cases where so many tests share the level, whatever the others find; None where none is.

    What a value tells is asked at the level alone, and is lengthened as a normal test's is.
    """
    from scipy import special

    alone, shared = (float(special.ndtri(1 - LEVEL / (2 * k)) + special.ndtri(0.8)) for k in (1, tests))
    least = None if own.get("least") is None else float(own["least"]) * shared / alone
    # What is cut off at .5 is known to be no less, and no more than that.
    return None if least is None or (tests > 1 and least >= 0.5) else min(0.5, least)


def needed(margin: float, k: int | None = None) -> int | None:
    """Samples that it takes to say, with 80 % power where nothing is left, that an AUC lies within one half plus or minus the margin (two one-sided tests at 5 %).

    Args:
        margin: The margin.
        k: Samples of the hold-out; as many where it is None.

    Returns:
        None where no number is enough beside so few.

    >>> needed(0.05, 2000), needed(0.05), needed(0.05, 100)
    (334, 572, None)
    """
    # (n + k + 1) / (12 n k) is the variance where all are alike; 1.6449 and 1.2816 are the normal quantiles of .95 and .9.
    allowed = 12 * (margin / (1.6449 + 1.2816)) ** 2
    if k is None:
        return math.ceil((1 + math.sqrt(1 + allowed)) / allowed)
    return math.ceil((k + 1) / (allowed * k - 1)) if allowed * k > 1 else None
