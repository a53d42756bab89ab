"""The record: plain JSON that everything shown is drawn from. Imports no torch.

Canonical bytes: sorted keys, two-space indent, no NaN, a newline at the end. It holds no path of a machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from untrain.core import disk
from untrain.core.errors import BadData
from untrain.core.wording import told
from untrain.evidence.fitting import misfit

SCHEMA = "untrain.record/1"
"""Name and version of the format; `schema()` is the JSON Schema."""

ELSEWHERE = "made elsewhere"
"""The method of a record whose model was handed in, so that nothing is known of how it was made."""

LARGEST = 2**28
"""Bytes beyond which a file is no record."""

DEEPEST = 64
"""Levels beyond which JSON is taken for an attack on whoever reads it."""

NOT_CLAIMED = (
    "Approximate unlearning is not a proof of deletion.",
    "This covers one file of weights: not backups, logs, embeddings, nor earlier or derived models.",
    "It assumes that the lists of what to forget and what to retain were complete and true; a near-copy left among the retained is not found here.",
    "The tests are those of today. An attack that is not listed was not tried.",
)
"""What no record claims, whatever it found."""


def compose(
    described: dict[str, Any],
    *,
    command: list[str],
    request: dict[str, Any],
    model: dict[str, Any],
    data: dict[str, Any],
    output: dict[str, Any],
    code: Mapping[str, str] = {},
) -> dict[str, Any]:
    """A record of a run that no audit has looked at yet.

    Args:
        described: A result's own part: `method`, `run`, `seed`, `environment`.
        command: Arguments that reproduce it, after `untrain`; no paths of a machine.
        request: What was to be forgotten: `forget` (as given), `classes` and their `names`.
        model: `name`, `origin`, `sha256` of its weights, `parameters`, `norm`.
        data: `name`, `sha256`, `counts` by part.
        output: `file` and `sha256` of what was written.
        code: Hashes of the files of the user's functions, by the flag that named them.
    """
    made: dict[str, Any] = finite(
        {
            "schema": SCHEMA,
            **described,
            "command": command,
            "request": request,
            "model": model,
            "data": data,
            "output": output,
            "references": [],
            "audits": [],
            "verdict": None,
            "not_claimed": list(NOT_CLAIMED),
            "pictures": None,
            **({"code": dict(code)} if code else {}),
        }
    )
    return made


@cache
def schema() -> dict[str, Any]:
    """The published JSON Schema of a record."""
    found: dict[str, Any] = json.loads(files("untrain.evidence").joinpath("record.schema.json").read_text(encoding="utf-8"))
    return found


def dumps(record: dict[str, Any]) -> bytes:
    r"""Canonical bytes.

    >>> dumps({"b": 1, "a": 2.0})
    b'{\n  "a": 2.0,\n  "b": 1\n}\n'
    """
    # Half of a pair, as in a file's name that is not UTF-8, is written as JSON's own escape.
    return (json.dumps(record, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def loads(data: bytes, origin: str = "record.json") -> dict[str, Any]:
    """Read a record.

    Raises:
        BadData: not JSON, not a record of this version, or not as the published schema says (the first field that is not).
    """
    record = plain_json(data, origin)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BadData(f"{origin} is not a record of the format {SCHEMA}; make it anew with this version")
    wrong = misfit(record, schema())
    if wrong is not None:
        raise BadData(f"{origin} is not as a record is ({wrong}); make it anew")
    return record


def plain_json(data: bytes, origin: str) -> Any:
    """JSON of others' making: no NaN, no number that a float cannot hold, not nested without end.

    Raises:
        BadData: it is not that.
    """
    try:
        found = json.loads(data, parse_constant=_no_number, parse_int=_whole, parse_float=_fraction)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{origin} is not JSON ({told(error)}); make it anew") from error
    level, deep = [found], 0
    while level:
        deep += 1
        if deep > DEEPEST:
            raise BadData(f"{origin} is nested more than {DEEPEST} deep; make it anew")
        level = [inner for one in level if isinstance(one, dict | list) for inner in (one.values() if isinstance(one, dict) else one)]
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _whole(text: str) -> int:
    if len(text) > 19:
        raise ValueError("a number of more than 19 digits")
    return int(text)


def _fraction(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text[:20]} is larger than any number")
    return value


def read(folder: Path) -> dict[str, Any]:
    """The record in a run's folder, or the file itself.

    Raises:
        BadData: there is none.
    """
    path = folder / "record.json" if folder.is_dir() else folder
    if not path.is_file():
        raise BadData(f"no record.json in {folder.name or folder}; give the folder that a run was written to")
    try:
        data = disk.read(path, LARGEST)
    except OSError as error:
        raise BadData(f"{path.name} of {folder.name or folder} cannot be read ({error.strerror or error}); give a whole record") from error
    return loads(data, path.name)


def finite(value: Any) -> Any:
    """The same data with numbers rounded to seven digits and infinities as None, which JSON has no word for."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if value - value == 0 else None
    return value
