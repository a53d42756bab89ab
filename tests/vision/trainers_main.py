"""What every rank runs inside a Fabric and inside an Accelerator, and without either. Not a test by itself; test_trainers.py starts it."""

from __future__ import annotations

import sys
from pathlib import Path

from untrain.core.vision import import_torchvision

import_torchvision()

import torch  # noqa: E402
from accelerate import Accelerator  # noqa: E402
from lightning.fabric import Fabric  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

import ranks_main  # noqa: E402
from untrain.core.unlearn import unlearn  # noqa: E402


def fresh() -> nn.Module:
    """The network that is unlearned."""
    return ranks_main.network(batchnorm=True, dtype=torch.float32)


def results(fabric: Fabric, accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """Weights that come out, by the way they were made, and how many ranks there were."""
    split, method = ranks_main.split(), ranks_main.METHOD
    runs = {
        "plain": unlearn(fresh(), split, method),
        "fabric": unlearn(fabric.setup_module(fresh()), split, method, fabric=fabric),
        "accelerator": unlearn(accelerator.prepare_model(fresh()), split, method, accelerator=accelerator),
    }
    out = {f"ranks-{name}": torch.tensor(result.engine["ranks"]) for name, result in runs.items()}
    for name, result in runs.items():
        own = {"plain": lambda m: m, "fabric": lambda m: m.module, "accelerator": accelerator.unwrap_model}[name](result.model)
        out |= {f"{name}/{key}": value.clone() for key, value in own.state_dict().items()}
    return out


if __name__ == "__main__":
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    save_file(results(fabric, Accelerator(cpu=True)), Path(sys.argv[1]) / f"rank-{fabric.global_rank}.safetensors")
    torch.distributed.destroy_process_group()
