"""How far the last two layers of a biased network could go, and all of them, where they are trained until little changes.

UNTRAIN_DATA=DIR python benchmarks/debias_reach.py mnist-.985 10   # a record in benchmarks/records/debias/, measured on training digits alone
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from debias import RECORDS, coloured, trained, whole
from torch import Tensor, nn

from untrain.core.fmd import FMD, debias
from untrain.core.unlearn import environment
from untrain.evidence import record as records


def reach(name: str, seed: int) -> dict[str, Any]:
    """How far the pairs, or the training samples beside their counterfactuals, lead where they are gone over until little changes: measured on training digits alone."""
    torch.set_num_threads(1)
    case = coloured(float(name.rpartition("-")[2]), seed, held=True)
    pairs, both = whole(case.steps.one + case.steps.other), whole(case.training.one + case.training.other)
    measured, (x, y) = [whole(side)[0] for side in (case.measured.one, case.measured.other)], whole(case.test)
    against = torch.tensor([int(c) for c in case.test.columns["group"]]) != y
    found: list[dict[str, Any]] = []

    def made(title: str, function: Callable[[], nn.Module]) -> nn.Module:
        began = time.process_time()
        model = function()
        took = time.process_time() - began
        with torch.no_grad():
            right = (model(x).argmax(1) == y)[against].double().mean()
            p, q = (model(side).softmax(1).gather(1, case.measured.one.y[:, None]) for side in measured)
        found.append({"title": title, "bias": float((p - q).abs().mean()), "accuracy, bias-conflicting": float(right), "seconds": took})
        print(found[-1], flush=True)
        return model

    def fresh() -> nn.Module:
        torch.manual_seed(seed)
        return case.build()

    original = made("original", lambda: trained(fresh(), *whole(case.train), case.epochs, seed))

    def copied() -> nn.Module:
        model = case.build()
        model.load_state_dict(original.state_dict())
        return model.eval()

    def two_layers(x: Tensor, y: Tensor, epochs: int) -> nn.Module:
        model: Any = copied()
        with torch.no_grad():
            read = torch.cat([model[:5](some) for some in x.split(1000)])
        trained(model[5:], read, y, epochs, seed)
        return model.eval()  # type: ignore[no-any-return]

    made("retrained on balanced data", lambda: trained(fresh(), *whole(case.balanced or case.train), case.epochs, seed))
    made("FMD", lambda: debias(original, case.steps, method=FMD(), seed=seed).model)
    for epochs in (3, 30):
        made(f"the last two layers, on the pairs, {epochs} passes", lambda epochs=epochs: two_layers(*pairs, epochs))  # type: ignore[misc]
    for epochs in (3, 20):
        made(f"all layers, on the pairs, {epochs} passes", lambda epochs=epochs: trained(copied(), *pairs, epochs, seed))  # type: ignore[misc]
    made("the last two layers, on the training samples and their counterfactuals, 8 passes", lambda: two_layers(*both, 8))
    counts = {"train": len(case.train), "pairs": len(case.steps), "measured": len(case.measured)}
    return {"case": name, "seed": seed, "counts": counts, "models": found, "environment": environment({"device": "cpu", "threads": 1})}


if __name__ == "__main__":
    name, seed = sys.argv[1:]
    (RECORDS / f"reach-{name}-s{seed}.json").write_bytes(records.dumps(reach(name, int(seed))))
