"""The official notebook's own network, trained as it trains it: ResNet-18 with the ImageNet stem on CIFAR-10 at 32x32.

    python benchmarks/notebook.py WEIGHTS

From the notebook's description: Adam at 0.01 with L2 1e-4, gradients clipped by value at 0.1, batches of 256, 40 epochs, no
augmentation, the rate halved where the *test* loss has not fallen for 3 epochs, seed 100. It prints 77.17 % on test images.
The choice by test loss is the notebook's; nothing but the comparison with its printed numbers stands on this network.
Differs: bf16 autocast.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from untrain.core import files
from untrain.core.data import Norm
from untrain.zoo.networks import NETWORKS
from untrain.zoo.sets import load

NORM = Norm((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def main(path: str, epochs: int = 40) -> None:
    """Train, print each epoch, keep the weights."""
    torch.manual_seed(100)
    data = load("cifar10")
    x, y = (NORM(data.train.batch(torch.arange(len(data.train)))[0]), data.train.y)
    tx, ty = (NORM(data.test.batch(torch.arange(len(data.test)))[0]), data.test.y)
    model = NETWORKS["resnet18-imagenet-stem"](10)
    stepper = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-4, fused=True)
    plan = torch.optim.lr_scheduler.ReduceLROnPlateau(stepper, factor=0.5, patience=3)
    told, began = [], time.perf_counter()
    for epoch in range(epochs):
        model.train()
        losses = []
        for rows in torch.randperm(len(y)).split(256):
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x[rows]).float(), y[rows])
            stepper.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(model.parameters(), 0.1)
            stepper.step()
            losses.append(loss.detach())
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            out = torch.cat([model(part).float() for part in tx.split(500)])
        plan.step(F.cross_entropy(out, ty))
        accuracy = float((out.argmax(1) == ty).double().mean())
        told.append({"epoch": epoch + 1, "loss": float(torch.stack(losses).mean()), "test": accuracy, "lr": stepper.param_groups[0]["lr"]})
        print(told[-1], f"{time.perf_counter() - began:.0f} s", flush=True)
    files.save_weights(Path(path), model.state_dict(), {"network": "resnet18", "recipe": "the official notebook's"})
    files.write(
        Path(path).with_suffix(".json"), (json.dumps({"epochs": told, "seconds": round(time.perf_counter() - began), "sha256": files.sha256(Path(path))}, indent=1) + "\n").encode()
    )


if __name__ == "__main__":
    main(sys.argv[1])
