"""What the docs say of the tests is so."""

from __future__ import annotations

import re

from held import FAILURES, NAMED, held, there


def test_every_test_that_is_named_is_there() -> None:
    known = there()
    assert [name for names in NAMED.values() for name in names if name not in known] == []


def test_every_way_to_fail_has_a_number_and_a_test() -> None:
    assert list(FAILURES) == [f"F{n:02}" for n in range(1, 60)]
    assert NAMED.keys() <= FAILURES.keys()
    assert [number for number, found in held().items() if not found] == []


def test_every_fault_of_the_border_has_a_test_of_its_number() -> None:
    said = " ".join(f"{name} {doc}" for name, (_, doc) in there().items())
    mended = {int(n) for pair in re.findall(r"[Ff]aults?[_ ](\d+)(?: and (\d+))?", said) for n in pair if n}
    assert mended >= {24, 27, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 70, 71}
