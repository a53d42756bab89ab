"""What every rank runs, and what one process runs to compare: UNSIR on small networks. Not a test by itself; tests/test_ranks.py starts it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from untrain.audits.accuracy import Accuracy
from untrain.core.audit import audit
from untrain.core.data import CropFlip, Samples, Split
from untrain.core.engine import Engine, join_ranks
from untrain.core.errors import UntrainError
from untrain.core.unlearn import unlearn
from untrain.methods.unsir import UNSIR

METHOD = UNSIR(noise=0.5, copies=4, noise_steps=8, impair_epochs=2, repair_epochs=2, batch=21)
"""A batch of 21 falls into 11 and 10; two epochs of each step."""


def network(batchnorm: bool, dtype: torch.dtype) -> nn.Module:
    """A small convolutional network with or without BatchNorm."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), *([nn.BatchNorm2d(4)] if batchnorm else []), nn.Tanh(), nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3)]
    return nn.Sequential(*layers).to(dtype)


def split() -> Split:
    """Small pictures of three classes, with an augmentation."""
    g = torch.Generator().manual_seed(1)
    y = torch.arange(93) % 3
    x = torch.randn(93, 1, 4, 4, generator=g) + torch.randn(3, 1, 4, 4, generator=g)[y]
    samples = Samples(x, y, augment=CropFlip(1))
    return Split.by_class(samples, samples, forget=[1])


def results() -> dict[str, torch.Tensor]:
    """Weights and losses that come out, under names that say of which run."""
    out = {}
    for name, batchnorm, dtype in (("fp32", False, torch.float32), ("fp64", False, torch.float64), ("batchnorm", True, torch.float32)):
        result = unlearn(network(batchnorm, dtype), split(), METHOD)
        out |= {f"{name}/{key}": value.clone() for key, value in result.model.state_dict().items()}
        out |= {f"losses-{name}/{phase}": torch.tensor(p.losses, dtype=torch.float64) for phase, p in result.trace.items()}
        out[f"passes-{name}"] = torch.tensor(result.passes)
        out[f"ranks-{name}"] = torch.tensor(result.engine["ranks"])
    return out


def said_of_sharded() -> list[str]:
    """What unlearn and audit say to a module that its user sharded, before its first forward and after, and to weights that are DTensors."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import distribute_tensor

    sharded, used, tensors = (network(False, torch.float32) for _ in range(3))
    fully_shard(sharded)
    fully_shard(used)
    used(torch.zeros(2, 1, 4, 4))
    tensors[3].weight = nn.Parameter(distribute_tensor(tensors[3].weight.detach(), init_device_mesh("cpu", (2,))))
    said = []
    for module in (sharded, used, tensors):
        for refused in (lambda m: unlearn(m, split(), METHOD), lambda m: audit(m, split(), [Accuracy()])):
            try:
                refused(module)
            except UntrainError as error:
                said.append(str(error))
    return said


if __name__ == "__main__":
    joined = join_ranks()
    if not joined or join_ranks():
        sys.exit("join_ranks joins once, and only once")
    engine = Engine()
    save_file(results(), Path(sys.argv[1]) / f"rank-{engine.rank}.safetensors")
    (Path(sys.argv[1]) / f"sharded-{engine.rank}.json").write_text(json.dumps(said_of_sharded()), encoding="utf-8")
    torch.distributed.destroy_process_group()
