"""Folders of the repository that a copy may lack: a source distribution holds the tests, and neither docs nor attacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def folder(name: str) -> Path:
    """A folder of the repository; a copy without it skips the tests that stand on it, but in CI that is a failure."""
    found = ROOT / name
    if not found.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not there, and in CI every test runs", pytrace=False)
        pytest.skip(f"{name} is not in this copy", allow_module_level=True)
    return found
