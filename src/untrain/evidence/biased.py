"""The verdict on a bias that was to be removed, from the rows of the audit `bias`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from untrain.evidence.rows import Table
from untrain.evidence.verdict import SENTENCES, what

GONE = 0.1
"""Share of the bias before that may be left where it is called gone."""

BIAS = ("bias", "counterfactual bias")
"""The row that is judged."""

COSTS = (("bias", "accuracy, test"), ("bias", "accuracy, bias-conflicting"), ("bias", "accuracy, worst group"))
"""Rows that say what it cost, and whom it served."""


def of_a_bias(audits: list[dict[str, Any]], marks: Sequence[str], request: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict on a bias: gone, less, or still there, by the counterfactual bias before and after; and what the accuracies are.

    Less is said where the interval after lies below the one before, gone where moreover a tenth of it or less is left.

    Args:
        audits: The `audits` of a record.
        marks: Those of the run.
        request: Its `request`.
    """
    table = Table(audits)
    before, after = table.value(BIAS, "original"), table.value(BIAS, "unlearned")
    reasons = [_said(table, key) for key in (BIAS, *COSTS) if table.value(key, "unlearned")]
    if "unchanged" in marks:
        code = "UNCHANGED"
    elif "collapsed" in marks:
        code = "COLLAPSED"
    elif before is None or after is None:
        code, reasons = "INCONCLUSIVE", ["the counterfactual bias was not measured before and after"]
    elif not after["high"] < before["low"]:
        code = "BIAS_LEFT"
    else:
        code = "BIAS_GONE" if after["value"] <= GONE * before["value"] else "BIAS_LESS"
    return {
        "code": code,
        "sentence": SENTENCES[code].format(what=what(request), reasons="; ".join(reasons), m=table.retrained, tests=1),
        "reasons": reasons,
        "flagged": [BIAS[1]] if code in ("BIAS_LESS", "BIAS_LEFT") else [],
        "retrained": table.retrained,
        "tests": {},
        "without_power": [],
    }


def _said(table: Table, key: tuple[str, str]) -> str:
    now, was = table.value(key, "unlearned"), table.value(key, "original")
    assert now is not None
    return f"{key[1]} {_share(now)}" + ("" if was is None else f", before {_share(was)}")


def _share(value: Mapping[str, Any]) -> str:
    between = "" if value["low"] is None else f" (95 % {100 * value['low']:.1f} to {value['high']:.1%})"
    return f"{value['value']:.1%}{between}"
