"""What holds a record together: a seal over its bytes, its verdict made again from its rows, and the hashes of records before it.

A seal finds damage and edits by whoever does not know it. Who does can make another: that it is the one that was made, a signature says.
Imports no torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from untrain.evidence.listed import judged, judged_exit
from untrain.evidence.record import dumps, finite

EDITED = "EDITED"
"""Stands in the verdict's place where a record is not what it was made as."""

SENTENCE = "This record is not what its run and its audits made it: {facts}. What it says of {what} is not to be relied on."
"""What is said then."""

ALIKE = 1e-5
"""Relative difference of numbers that another version of a library of statistics may make; a record holds seven digits."""


def digest(record: Mapping[str, Any]) -> str:
    """Hash of a record's canonical bytes: that of its file."""
    return hashlib.sha256(dumps(dict(record))).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the hash of the rest of it.

    >>> sealed({"b": 1}) == sealed({"b": 1, "seal": "of before"})
    True
    """
    rest = {name: value for name, value in record.items() if name != "seal"}
    return rest | {"seal": digest(rest)}


def edited(record: Mapping[str, Any], data: bytes | None = None) -> list[str]:
    """What in a record is not as untrain wrote it, a fact each; none where all stands.

    Args:
        record: The record. One that was written before there were seals has none, and its verdict alone is looked at.
        data: The bytes that it was read from, which are to be canonical.
    """
    facts = []
    if data is not None and dumps(dict(record)) != data:
        facts.append("its bytes are not the canonical ones")
    if "seal" in record and sealed(record)["seal"] != record["seal"]:
        facts.append("its seal is not that of what it holds")
    made = _misjudged(record)
    old = " (a record without a seal may have been judged by an earlier version: audit it again)"
    return facts + [fact if "seal" in record else fact + old for fact in made]


def _misjudged(record: Mapping[str, Any]) -> list[str]:
    """How its verdict, and those on each exit, differ from the ones that its own rows give."""
    try:
        found = record["verdict"]
        again = None if found is None and not record["audits"] else finite(judged(record))
        others = [exit["name"] for exit in record.get("exits") or () if not alike(exit["verdict"], finite(judged_exit(exit["audits"], record)))]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError):
        return ["its rows are not such that a verdict could be made of them"]
    if again is None or alike(found, again):
        return [f"its verdict on {', '.join(str(name)[:40] for name in others)} is not the one that the rows there give"] if others else []
    if found is None:
        return [f"it has no verdict, and its rows give {again['code']}"]
    if found.get("code") != again["code"]:
        return [f"its verdict says {str(found.get('code'))[:40]}, and its rows give {again['code']}"]
    return [f"its verdict is not the one that its rows give (in {', '.join(k for k in again if not alike(found.get(k), again[k]))})"]


def alike(a: Any, b: Any) -> bool:
    """Whether two pieces of JSON are the same, but for the last digits of fractions.

    >>> alike({"p": [0.1234567]}, {"p": [0.1234568]}), alike({"p": 1}, {"p": True}), alike([1], [1, 2])
    (True, False, False)
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float) and isinstance(b, float | int) and not isinstance(b, bool):
        return math.isclose(a, b, rel_tol=ALIKE, abs_tol=1e-300)
    return type(a) is type(b) and bool(a == b)


# Records before this one.


def link(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a later record says of this one: its hash, and what it found."""
    return {"record": digest(record), "output": record["output"]["sha256"], "method": record["method"]["name"], "seed": record["seed"], "verdict": _code(record)}


def before_audit(record: Mapping[str, Any]) -> dict[str, Any]:
    """The chain of a record that is about to be audited (again): what it was until now joins it."""
    chain = chained(record)
    return chain | {"audits": [*chain["audits"], {"record": digest(record), "verdict": _code(record)}]}


def chained(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record's chain; one of before there were chains has an empty one."""
    return {"attempts": [], "requests": [], "audits": []} | dict(record.get("chain") or {})


def attempts(record: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Links to those of other records that were made for the same request on the same model and data, and to those that they know of.

    Args:
        record: The record that is being made.
        others: Records that are at hand.
    """
    known: dict[str, dict[str, Any]] = {}
    for other in others:
        if asked(other) == asked(record):
            # A record that lies here itself tells the newest of it.
            known = {entry["output"]: entry for entry in chained(other)["attempts"]} | known | {other["output"]["sha256"]: link(other)}
    return sorted(known.values(), key=lambda entry: (entry["output"], entry["record"]))


def asked(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a record's run was asked: to forget what, or to remove which bias, from which model and data."""
    request = record["request"]
    # By which pairs a bias is removed, the seed draws.
    which = ("bias", request["bias"]) if "bias" in request else ("list", request.get("sha256"))
    return record["model"]["sha256"], record["data"]["sha256"], tuple(request["classes"]), which


def requests(parent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The requests that were carried out before a run whose original is what another run wrote, the first one first.

    Args:
        parent: The record of that other run.
    """
    request = parent["request"]
    own = {"record": digest(parent), "data": parent["data"]["sha256"], "classes": request["classes"], "names": request["names"], "verdict": _code(parent)}
    own |= {name: request[name] for name in ("count", "sha256", "bias") if name in request}
    return [*chained(parent)["requests"], own]


def _code(record: Mapping[str, Any]) -> str | None:
    verdict = record["verdict"]
    return None if verdict is None else EDITED if edited(record) else str(verdict["code"])
