"""Which samples a figure names by their place in the data: a few, chosen by one model and shown of all."""

from __future__ import annotations

from untrain.core.audit import Finding


def leave_most(findings: dict[str, list[Finding]], name: str, shown: int) -> None:
    """Leave, of each finding's bars of this name, those that are highest in the unlearned model, in that order.

    Args:
        findings: By column; changed in place.
        name: The figure's.
        shown: How many places are left.
    """
    bars = [finding.bars[name] for found in findings.values() for finding in found]
    mine = findings["unlearned"][0].bars[name]
    top = sorted(mine, key=lambda place: -mine[place])[:shown]
    for bar in bars:
        kept = {place: bar[place] for place in top}
        bar.clear()
        bar.update(kept)
