"""The saved state of a run: where each core call stands, so that a killed run goes on by replay."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from safetensors import safe_open
from torch import Tensor

from untrain.core import files
from untrain.core.engine import Run
from untrain.core.errors import BadData
from untrain.core.trace import Phase


def _optimizer_tensors(stepper: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {f"optimizer.{i}.{key}": value for i, entry in stepper.state_dict()["state"].items() for key, value in entry.items() if isinstance(value, Tensor)}


def keep(run: Run, number: int, parameters: Sequence[Tensor], stepper: torch.optim.Optimizer, phase: Phase) -> None:
    """Save where a core call stands, in the run's folder, if it has one; the first rank writes."""
    if run.store is None or run.engine.rank != 0:
        return
    tensors = {f"parameter.{i}": p.detach() for i, p in enumerate(parameters)}
    tensors |= {f"buffer.{i}": b for i, b in enumerate(run.network.buffers() if run.network else [])}
    tensors |= _optimizer_tensors(stepper)
    tensors["random"] = torch.get_rng_state()
    about = {"phase": vars(phase), "version": 1, "sha256": files.weights_hash(tensors)}
    files.save_weights(run.store / f"call-{number:04d}.safetensors", {k: v.contiguous() for k, v in tensors.items()}, about)


@torch.no_grad()
def resume(run: Run, number: int, parameters: Sequence[Tensor], stepper: torch.optim.Optimizer) -> Phase | None:
    """Put back where a core call stood, and say what it had done; None where nothing was saved.

    Raises:
        BadData: what was saved is broken, or of another run.
    """
    path = run.store / f"call-{number:04d}.safetensors" if run.store is not None else None
    if path is None or not path.is_file():
        return None
    saved = files.load_weights(path)
    with safe_open(path, framework="pt") as file:
        about = json.loads((file.metadata() or {}).get("untrain", "{}"))
    own = {f"parameter.{i}": p for i, p in enumerate(parameters)} | {f"buffer.{i}": b for i, b in enumerate(run.network.buffers() if run.network else [])}
    foreign = [n for n, v in own.items() if n not in saved or saved[n].shape != v.shape]
    if foreign or "phase" not in about or about.get("sha256") != files.weights_hash(saved):
        raise BadData(f"{path} does not hold what this run had saved there; delete it, and the run does that work again")
    for name, value in own.items():
        value.copy_(saved[name])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in saved.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".", 2)
            state.setdefault(int(i), {})[key] = value
    stepper.load_state_dict({"state": state, "param_groups": stepper.state_dict()["param_groups"]})
    torch.set_rng_state(saved["random"])
    return Phase(**about["phase"])
