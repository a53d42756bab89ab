"""A record is checked against its own schema without a library; the library is the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrain.evidence import record as records
from untrain.evidence.fitting import WORDS, misfit

RECORDS = sorted((Path(__file__).parent.parent / "benchmarks" / "records").rglob("*.json"))
GOLDEN = next(found for path in RECORDS if isinstance(found := json.loads(path.read_bytes()), dict) and found.get("schema") == records.SCHEMA and found.get("verdict"))
ORACLE = jsonschema.Draft202012Validator(records.schema())

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3), st.just([]), st.just({}), st.just({"value": 1})
)


def words(schema: Any) -> set[str]:
    """The words of a schema; what stands under `properties` and `$defs` are names."""
    if isinstance(schema, list):
        return {word for one in schema for word in words(one)}
    if not isinstance(schema, dict):
        return set()
    inner = [value if name not in ("properties", "$defs") else list(value.values()) for name, value in schema.items() if name not in ("enum", "const", "required")]
    return set(schema) | {word for one in inner for word in words(one)}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for name, one in inner for place in places(one, (*at, name)))]


PLACES = [place for place in places(GOLDEN) if place]


def test_the_schema_has_no_word_that_is_not_understood() -> None:
    assert words(records.schema()) <= WORDS


@settings(max_examples=60, deadline=None)
@given(place=st.sampled_from(PLACES), value=ODD, way=st.sampled_from(["put", "drop", "add"]))
def test_what_does_not_fit_is_what_the_oracle_refuses(place: tuple[Any, ...], value: Any, way: str) -> None:
    record: Any = json.loads(json.dumps(GOLDEN))
    inner = record
    for name in place[:-1]:
        inner = inner[name]
    if way == "put":
        inner[place[-1]] = value
    elif way == "drop":
        del inner[place[-1]]
    elif isinstance(inner, dict):
        inner["more"] = value
    # A whole number with a point, 2.0, is an integer to the one and none to the other.
    if not (isinstance(value, float) and value.is_integer()):
        assert (misfit(record, records.schema()) is None) == ORACLE.is_valid(record)


def test_every_record_that_was_published_fits() -> None:
    found = [json.loads(path.read_bytes()) for path in RECORDS]
    told = [misfit(record, records.schema()) for record in found if isinstance(record, dict) and record.get("schema") == records.SCHEMA]
    assert len(told) > 100
    assert set(told) == {None}


@pytest.mark.parametrize(
    ("schema", "value", "said"), [({"minimum": 1}, 0, "out of range"), ({"minLength": 1}, "", "empty"), ({"enum": [1]}, True, "none of"), ({"pattern": "^a$"}, "b", "form")]
)
def test_what_is_wrong_is_said(schema: dict[str, Any], value: Any, said: str) -> None:
    assert said in str(misfit(value, schema))
