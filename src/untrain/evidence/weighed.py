"""What the weights and the answers say by themselves, beside the original's and those of retrained models. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from untrain.evidence.rows import Table

ROUNDING = 4e-3
"""Relative distance of weights that a change of their type leaves: bfloat16 keeps eight bits."""

ALIKE = 1e-3
"""Total variation of answers that rounding leaves; ten times as much is plainly another function."""

WRITTEN = 1 / 16
"""What share of the 16 low bits of weights is no noise from which on somebody wrote there: weights that were multiplied by round numbers or averaged come to a third of a bit."""

UNMOVED = {
    "head": "outside its head the model is the original, to within rounding",
    "statistics": "outside its head each weight is the original's, to within rounding, and only running statistics were moved",
    "answers": "test images of it are answered, among the classes that stay, as the original answers them, to within rounding",
    "unchanged": "its weights are those of the original",
}
"""What `unmoved` says, in words."""

_REST = ("accuracy", "answers of the rest, from the original")
_BODY, _RUNNING, _OTHER = (("weights", name) for name in ("outside the head, from the original", "statistics, from the original", "layers unlike the original's"))


def unmoved(table: Table, marks: Sequence[str]) -> str | None:
    """What is still the original's, of `UNMOVED`; no matter where it is so of retrained models too, as on a frozen backbone."""
    if "unchanged" in marks:
        return "unchanged"
    return _same_weights(table) or _same_function(table)


def _same_weights(table: Table) -> str | None:
    others = table.numbers(_BODY, "retrained")
    if any(gap <= ROUNDING for gap in others):
        return None
    body, running = table.number(_BODY, "unlearned"), table.number(_RUNNING, "unlearned") or 0.0
    if body is None or body > ROUNDING or table.number(_OTHER, "unlearned"):
        return None
    if running > ROUNDING:
        # Where no retrained model shows that the body is trained at all, it may be one that was frozen for the original too.
        return "statistics" if others else None
    return "unchanged" if table.number(("weights", "all weights, from the original"), "unlearned") == body == running == 0 else "head"


def _same_function(table: Table) -> str | None:
    """Whether a silenced class is all that was changed, however the weights are written: retrained models must be plainly apart from the original in that."""
    mine, others = table.number(_REST, "unlearned"), table.numbers(_REST, "retrained")
    return "answers" if mine is not None and mine <= ALIKE and others and min(others) > 10 * ALIKE else None


def strange_weights(table: Table) -> list[str]:
    """What no model that was trained as the original was has in its weights, in words: layers of its own, and low bits that were written."""
    out = []
    other, others = table.number(_OTHER, "unlearned") or 0.0, table.numbers(_OTHER, "retrained")
    if other and not (others and min(others) > 0):
        out.append(f"it has {other:.0f} layer{'s' if other > 1 else ''} that the original has not, or in another shape")
    low = ("weights", "told by the low bits")
    told = table.number(low, "unlearned") or 0.0
    compared = table.numbers(low, "original") + table.numbers(low, "retrained")
    if compared and told >= WRITTEN > max(compared):
        out.append(f"{16 * told:.1f} of the 16 low bits of its weights, which are noise where training left them, are none")
    return out


def same_answers(table: Table) -> bool:
    """Whether the model answers as the original does: image by image, or in number where a record tells no more."""
    apart = table.number(("accuracy", "answers unlike the original's"), "unlearned")
    if apart is not None:
        return apart == 0
    rows = [key for key in table.rows if key[0] == "accuracy" and table.rows[key]["unit"] == "share" and table.value(key, "original")]
    alike = [table.number(key, "unlearned") == table.number(key, "original") for key in rows if key[1] != "retained, less the retrained"]
    return bool(alike) and all(alike)
