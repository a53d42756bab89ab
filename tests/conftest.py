"""What several tests stand on."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import counted

# They run in an environment of their own: `make test-vision`.
collect_ignore = [] if find_spec("torchvision") else ["vision"]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that UNTRAIN_DATA names; without it a test is skipped, but in CI that is a failure."""
    named = os.environ.get("UNTRAIN_DATA")
    if named and Path(named).is_dir():
        return Path(named)
    if os.environ.get("CI"):
        pytest.fail("UNTRAIN_DATA names no folder, and in CI every test runs")
    pytest.skip("UNTRAIN_DATA names no folder with the data")


@pytest.fixture(autouse=True)
def no_module_of_a_test_stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A file that one test wrote and imported is not what the next gets, in which order they ever run: many write a nets.py."""
    before = set(sys.modules)
    yield
    root = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(root):
            del sys.modules[name]


def pytest_collection_finish() -> None:
    """What stands now stays to the end: laws that look for what is left behind need not walk over it each time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """What was counted is kept, where it is asked for."""
    counted.written()
