"""The saved state of a run: where each core call stands, so that a killed run goes on by replay.

One file a call, written by the first rank and whole or not at all. It holds what all ranks share (weights, the state of
optimizers, losses), what each rank has of its own (running statistics, carried tensors, random state), and a fingerprint of
the run and the call, which is compared before anything is taken up.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from untrain.core import files
from untrain.core.engine import Run
from untrain.core.errors import BadData
from untrain.core.seeds import put_back, states
from untrain.core.trace import Phase

WORTH = 50.0
"""A state is saved when so many times the seconds that the last saving took have gone by: at most 2 % of a run are spent on it."""

VERSION = 4


@dataclass
class Saving:
    """The saved state of one core call.

    Args:
        run: The run that it belongs to.
        number: Its number.
        print: Fingerprint of the call; the run's own is added.
        shared: What all ranks hold alike, by name.
        own: What each rank holds of its own, by name.
        optimizers: Optimizers, whose state is dropped when the call has ended.
    """

    run: Run
    number: int
    print: dict[str, Any]
    shared: dict[str, Tensor] = field(default_factory=dict)
    own: dict[str, Tensor] = field(default_factory=dict)
    optimizers: Sequence[torch.optim.Optimizer] = ()
    _cost: float = 0.0
    _last: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        """Add the networks of the run: their weights are the same on all ranks, their buffers each rank's."""
        known = {id(value) for value in (*self.shared.values(), *self.own.values())}
        for i, module in enumerate(self.run.saved()):
            for j, parameter in enumerate(module.parameters()):
                if id(parameter) not in known:
                    known.add(id(parameter))
                    self.shared[f"network.{i}.parameter.{j}"] = parameter
            for j, buffer in enumerate(module.buffers()):
                if id(buffer) not in known:
                    known.add(id(buffer))
                    self.own[f"network.{i}.buffer.{j}"] = buffer

    @property
    def path(self) -> Path | None:
        """Its file, where the run keeps any."""
        return None if self.run.store is None else self.run.store / f"call-{self.number:04d}.safetensors"

    def fingerprint(self) -> dict[str, Any]:
        """What tells this call of this run from any other."""
        run = self.run
        ground = {"seed": run.seed, "call": self.number, "world": run.engine.world, "device": run.engine.device.type, "precision": run.engine.precision}
        found: dict[str, Any] = json.loads(json.dumps(ground | run.told | self.print))
        return found

    def due(self, last: bool) -> bool:
        """Whether to save now: at the end of the call, and where that takes a small part of the time; all ranks say the same."""
        if self.run.store is None:
            return False
        wanted = last or time.perf_counter() - self._last >= WORTH * self._cost
        return bool(_from_first(self.run, lambda: wanted))

    @torch.no_grad()
    def keep(self, phases: Sequence[Phase], *, last: bool, now: bool = False) -> None:
        """Save where the call stands, where it is due or wanted now; the first rank writes.

        Raises:
            Resources: it could not be written.
        """
        if not self.due(last or now):
            return
        began, path = time.perf_counter(), self.path
        assert path is not None
        mine = {name: value.detach() for name, value in self.own.items()} | states(self.run.engine.device)
        mine["passes"] = torch.tensor([p.passes for p in phases])
        # Memory runs out on each rank by itself.
        mine["pieces"] = torch.tensor(self.run.pieces)
        ranks = _gathered(self.run, {name: value.cpu() for name, value in mine.items()})

        def write() -> None:
            tensors = {name: value.detach() for name, value in self.shared.items()}
            tensors |= {f"rank.{rank}.{name}": value for rank, values in enumerate(ranks) for name, value in values.items()}
            if not last:
                tensors |= {name: value for i, stepper in enumerate(self.optimizers) for name, value in _optimizer_tensors(i, stepper).items()}
            for i, phase in enumerate(phases):
                tensors[f"losses.{i}"] = torch.tensor(phase.losses, dtype=torch.float64)
                tensors |= {f"curve.{i}.{j}": torch.tensor(curve, dtype=torch.float64) for j, curve in enumerate(phase.curves)}
            tensors = {name: value.cpu().contiguous() for name, value in tensors.items()}
            done = [{"name": p.name, "steps": p.steps, "seconds": p.seconds} for p in phases]
            about = {"phases": done, "version": VERSION, "ended": last, "fingerprint": self.fingerprint(), "tensors": files.weights_hash(tensors)}
            files.save_weights(path, tensors, about | {"sha256": _seal(about)})

        _from_first(self.run, write)
        self._last = time.perf_counter()
        self._cost = self._last - began

    @torch.no_grad()
    def resume(self) -> list[Phase] | None:
        """Put back where the call stood, and say what it had done; None where nothing was saved, or what was is broken: then it is done again.

        Raises:
            BadData: what was saved is of another run (says in what).
        """
        if self.path is None:
            return None
        read: tuple[dict[str, Tensor], dict[str, Any]] | None = _from_first(self.run, self._read)
        if read is None:
            return None
        saved, about = read
        here = f"rank.{self.run.engine.rank}."
        self.run.pieces = int(saved[f"{here}pieces"])
        for name, value in self.shared.items():
            value.copy_(saved[name])
        for name, value in self.own.items():
            value.copy_(saved[here + name])
        if not about["ended"]:
            for i, stepper in enumerate(self.optimizers):
                state: dict[int, dict[str, Tensor]] = {}
                for name, value in saved.items():
                    if name.startswith(f"optimizer.{i}."):
                        _, _, place, key = name.split(".", 3)
                        state.setdefault(int(place), {})[key] = value
                stepper.load_state_dict({"state": state, "param_groups": stepper.state_dict()["param_groups"]})
        put_back({name.removeprefix(here): value for name, value in saved.items() if name.startswith(f"{here}random")}, self.run.engine.device)
        passes = saved[f"{here}passes"].tolist()
        return [
            Phase(p["name"], saved[f"losses.{i}"].tolist(), p["steps"], passes[i], p["seconds"], [saved[n].tolist() for n in _in_order(saved, f"curve.{i}.")])
            for i, p in enumerate(about["phases"])
        ]

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        path = self.path
        if path is None or not path.is_file():
            return None
        found = self._sound(path)
        if found is None:
            # That costs the work of one call: it is done again, to the same bits.
            logging.getLogger("untrain").warning("untrain: %s does not hold what this run had saved there; that work is done again", path.name)
        return found

    def _sound(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was saved, where it is whole."""
        try:
            saved, about = files.load_weights(path), files.about(path)
        except BadData:
            return None
        sealed = {name: value for name, value in about.items() if name != "sha256"}
        if about.get("version") != VERSION or about.get("sha256") != _seal(sealed) or about.get("tensors") != files.weights_hash(saved):
            return None
        ours, theirs = self.fingerprint(), about["fingerprint"]
        other = [f"{key} was {theirs.get(key)} and is {ours.get(key)}" for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
        if other:
            raise BadData(f"{path} is of another run: {', '.join(other[:2])}; name another folder, or delete it, and the run does that work again")
        wanted = {**self.shared, **{f"rank.{rank}.{n}": v for rank in range(self.run.engine.world) for n, v in self.own.items()}}
        if any(name not in saved or saved[name].shape != value.shape for name, value in wanted.items()):
            return None
        return saved, about


def _seal(about: Mapping[str, Any]) -> str:
    """Hash of what a state says of itself, the hash of its tensors among it."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _in_order(names: Mapping[str, Any], prefix: str) -> list[str]:
    return sorted((name for name in names if name.startswith(prefix)), key=lambda name: int(name.rpartition(".")[2]))


def _optimizer_tensors(number: int, stepper: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = stepper.state_dict()["state"]
    return {f"optimizer.{number}.{i}.{key}": value for i, entry in state.items() for key, value in entry.items() if isinstance(value, Tensor)}


def _from_first(run: Run, work: Callable[[], Any]) -> Any:
    """What the first rank finds; the others wait for it, and a refusal of its is everyone's."""
    if run.engine.world == 1:
        return work()
    told: list[Any] = [None, None]
    if run.engine.rank == 0:
        try:
            told[0] = work()
        except Exception as error:
            told[1] = error
    dist.broadcast_object_list(told, src=0)
    if told[1] is not None:
        raise told[1]
    return told[0]


def _gathered(run: Run, mine: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Each rank's tensors, on the first."""
    if run.engine.world == 1:
        return [mine]
    found: list[Any] | None = [None] * run.engine.world if run.engine.rank == 0 else None
    dist.gather_object(mine, found, dst=0)
    return found or []
