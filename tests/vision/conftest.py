"""What the tests of the second environment stand on: `make test-vision` runs them, where every extra is installed."""

# First of all, since timm and transformers import torchvision themselves, which beside a CPU torch fails without it.
from untrain.core.vision import import_torchvision

import_torchvision()

import os  # noqa: E402
from collections.abc import Generator  # noqa: E402

import pytest  # noqa: E402

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def _refuse_skip(report: pytest.CollectReport | pytest.TestReport) -> None:
    """Everything is installed here, so a skip is a failure; only the data may be wanting, and not in CI."""
    said = str(report.longrepr)
    if report.skipped and not hasattr(report, "wasxfail") and (os.environ.get("CI") or "UNTRAIN_DATA" not in said):
        report.outcome = "failed"
        report.longrepr = f"skipped, and in the second environment every test runs: {said}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture(autouse=True)
def _no_accelerator_of_another_test():
    """Accelerate keeps its state in the process; a test begins without another's."""
    state = pytest.importorskip("accelerate.state")
    state.AcceleratorState._reset_state(reset_partial_state=True)
