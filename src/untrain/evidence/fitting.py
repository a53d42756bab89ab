"""Whether plain JSON fits a JSON Schema, of the few words that ours is written in. Imports no torch, and needs no library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

KINDS: dict[str, type | tuple[type, ...]] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": (int, float)}
"""Types by their names in a schema; a whole number is written without a point here."""

WORDS = {
    "$ref", "type", "const", "enum", "pattern", "required", "properties", "additionalProperties", "items", "oneOf", "minLength", "minimum", "maximum",
    "title", "description", "$schema", "$defs",
}  # fmt: skip
"""What is understood; a schema with another word is refused by the tests."""


def misfit(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, at: str = "") -> str | None:
    """What does not fit, in words; None where all does.

    Args:
        value: Plain JSON.
        schema: What it is to fit.
        root: The whole schema, which holds the definitions.
        at: Where the value stands.

    >>> misfit({"n": ["1"]}, {"properties": {"n": {"type": "array", "items": {"type": "integer"}}}})
    'n[0] is no integer'
    """
    root, here = root if root is not None else schema, at or "it"
    if "$ref" in schema:
        return misfit(value, _found(schema["$ref"], root), root, at)
    if "oneOf" in schema:
        each = [misfit(value, one, root, at) for one in schema["oneOf"]]
        # What is said of the last is most to the point: the first is null in ours.
        return None if each.count(None) == 1 else each[-1] or f"{here} fits several forms"
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_is(value, kind) for kind in kinds):
            return f"{here} is no {' or '.join(kinds)}"
    if "const" in schema and value != schema["const"]:
        return f"{here} is not {schema['const']!r}"
    if "enum" in schema and not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in schema["enum"]):
        return f"{here} is none of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return f"{here} is not of the form {schema['pattern']}"
        if len(value) < schema.get("minLength", 0):
            return f"{here} is empty"
    if isinstance(value, int | float) and not isinstance(value, bool) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{here} is out of range"
    if isinstance(value, dict):
        return _of_object(value, schema, root, at)
    if isinstance(value, list) and "items" in schema:
        return next((told for i, one in enumerate(value) if (told := misfit(one, schema["items"], root, f"{at}[{i}]")) is not None), None)
    return None


def _of_object(value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> str | None:
    known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    missing = next((name for name in schema.get("required", ()) if name not in value), None)
    if missing is not None:
        return f"{at or 'it'} lacks {missing!r}"
    for name, one in value.items():
        if name not in known and more is False:
            return f"{at or 'it'} has {name[:40]!r}, which is none of its fields"
        wanted = known.get(name, more)
        told = misfit(one, wanted, root, f"{at}.{name[:40]}".lstrip(".")) if isinstance(wanted, dict) else None
        if told is not None:
            return told
    return None


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _found(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)
