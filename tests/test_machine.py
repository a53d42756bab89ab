"""A run folder under anything that may befall it, in any order: killed, started twice, its state damaged or taken away, its weights rotting."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from counted import trying
from test_chaos import RUN, fail_at
from untrain.cli import main
from untrain.core import files
from untrain.zoo import sets, trained

WEIGHTS = Path(trained.__file__).parent / "weights" / "digits.safetensors"
SHARE = st.floats(0, 0.999)


class RunFolder(RuleBasedStateMachine):
    """Whatever came before, the command gives the bytes that an undisturbed run gives, or says why not, and inputs stay.

    Args:
        sha256: Hash of the weights that an undisturbed run writes.
        calls: How many file calls such a run makes.
        given: Hash of the weights that the run starts from.
    """

    sha256, calls, given = "", 0, ""

    @initialize()
    def begin(self) -> None:
        with trying("an order of events on a run's folder"):
            pass
        self.place = Path(tempfile.mkdtemp())
        self.run = self.place / "run"

    def teardown(self) -> None:
        shutil.rmtree(self.place)

    def whole(self) -> bool:
        return (self.run / "record.json").is_file() and not (self.run / ".state").is_dir()

    def one_of_state(self, which: float) -> list[Path]:
        """One of the files of training state; none where there are none, which hangs on how far a run came, so no rule may hang on it."""
        state = sorted(p for p in (self.run / ".state").rglob("*") if p.is_file()) if self.run.is_dir() else []
        return state[int(which * len(state)) :][:1]

    @rule(share=SHARE)
    def killed(self, share: float) -> None:
        if self.whole():
            return
        child = os.fork()
        if child == 0:
            with fail_at(int(share * self.calls), self.place, None):
                main([*RUN, "--out", str(self.run)])
            os._exit(0)
        os.waitpid(child, 0)

    @rule()
    def started(self) -> None:
        due = 2 if self.whole() else 0
        assert main([*RUN, "--out", str(self.run)]) == due
        assert files.sha256(self.run / "model.safetensors") == self.sha256
        assert sorted(p.name for p in self.run.iterdir()) == ["model.safetensors", "record.json"]

    @rule()
    def started_while_another_writes(self) -> None:
        if not self.run.is_dir():
            return
        before = {p: p.read_bytes() for p in self.run.rglob("*") if p.is_file() and p.name != ".lock"}
        with (self.run / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            code = main([*RUN, "--out", str(self.run)])
        assert code in ((2, 8) if self.whole() else (8,))
        assert before == {p: p.read_bytes() for p in self.run.rglob("*") if p.is_file() and p.name != ".lock"}

    @rule(which=SHARE, where=SHARE, bit=st.integers(0, 7))
    def state_rots(self, which: float, where: float, bit: int) -> None:
        for path in self.one_of_state(which):
            held = bytearray(path.read_bytes())
            if held:
                held[int(where * len(held))] ^= 1 << bit
                path.write_bytes(held)

    @rule(which=SHARE, share=SHARE)
    def state_is_cut(self, which: float, share: float) -> None:
        for path in self.one_of_state(which):
            os.truncate(path, int(share * path.stat().st_size))

    @rule(which=SHARE)
    def state_is_taken_away(self, which: float) -> None:
        for path in self.one_of_state(which):
            path.unlink()

    @rule(where=SHARE, bit=st.integers(0, 7))
    def weights_rot(self, where: float, bit: int) -> None:
        if not self.whole():
            return
        path = self.run / "model.safetensors"
        good = path.read_bytes()
        held = bytearray(good)
        held[int(where * len(held))] ^= 1 << bit
        path.write_bytes(held)
        assert main(["verify", str(self.run)]) != 0
        path.write_bytes(good)
        assert main(["verify", str(self.run)]) == 0

    @invariant()
    def what_it_started_from_stands(self) -> None:
        assert files.sha256(WEIGHTS) == self.given


Tried = Callable[[int, int], None]


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tried:
    """Tries so many orders of so many events, with the digits read once."""
    monkeypatch.setattr(sets, "digits", cache(sets.digits))
    with fail_at(-1, tmp_path, None) as made:
        assert main([*RUN, "--out", str(tmp_path / "run")]) == 0
    monkeypatch.setattr(RunFolder, "sha256", files.sha256(tmp_path / "run" / "model.safetensors"))
    monkeypatch.setattr(RunFolder, "calls", len(made))
    monkeypatch.setattr(RunFolder, "given", files.sha256(WEIGHTS))

    def these(examples: int, steps: int) -> None:
        how = settings(max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        run_state_machine_as_test(RunFolder, settings=how)

    return these


def test_a_run_folder_comes_through_whatever_befalls_it(tried: Tried) -> None:
    """F01, F02, F05 and F14: some orders of kills, second calls and damage."""
    tried(2, 6)


@pytest.mark.slow
def test_a_run_folder_comes_through_many_orders_of_what_may_befall_it(tried: Tried) -> None:
    """F01, F02, F05 and F14: thirty orders of sixteen events."""
    tried(30, 16)
