"""Attacks on our own audits: what is said of each is what its file says, the class seems forgotten, and it is not."""

from __future__ import annotations

import importlib.util
import re

import pytest

from copies import folder

FOLDER = folder("attacks")

_spec = importlib.util.spec_from_file_location("attacks_run", FOLDER / "run.py")
run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run)


@pytest.mark.parametrize("file", run.files(), ids=lambda path: path.stem)
def test_what_is_said_of_an_attack_is_what_its_file_says(file):
    """F51."""
    attack = run.loaded(file)
    found = run.ran(attack)
    assert found["code"] in attack.EXPECTED, found["sentence"]
    assert found["before"] > 0.9
    assert found["after"] < 0.05
    assert found["retained"] > 0.9
    assert found["unhidden"] > 0.9


def test_every_attack_is_in_the_table_with_what_is_said_of_it():
    rows = dict(re.findall(r"^\| `(\w+\.py)` \|.*\| ([^|]+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE))
    assert rows.keys() == {path.name for path in run.files()}
    for path in run.files():
        said = rows[path.name].split(":")[0]
        passes = "NO_RESIDUE" in run.loaded(path).EXPECTED
        assert said == "nothing" if passes else said in run.loaded(path).EXPECTED
