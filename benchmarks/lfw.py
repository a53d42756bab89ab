"""The LFW networks: MobileNetV2 from its ImageNet checkpoint, fine-tuned on 100 persons at 112 px, with all of them or without some.

    python benchmarks/lfw.py                  # the original
    python benchmarks/lfw.py 94               # retrained without these persons, by the same recipe from the same checkpoint
    python benchmarks/lfw.py 94 --seed 1

Weights (14 MB each) go to the cache, and what is known of them to references/lfw100/. Needs the `vision` extra.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrain.bench.scenario import kept
from untrain.core import files
from untrain.core.audit import counted
from untrain.core.data import CropFlip, Norm, Samples, Split
from untrain.core.engine import Engine, seeded
from untrain.core.network import Network
from untrain.core.train import Phase, fit, predict
from untrain.core.vision import import_torchvision
from untrain.zoo.sets import data_root, parquet

NORM = Norm((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class FineTuned:
    """MobileNetV2 from its ImageNet checkpoint under a new head; BatchNorm's statistics move slowly, as few images feed them."""

    classes: int = 100
    epochs: int = 14
    lr: float = 0.02
    batch: int = 64
    weight_decay: float = 1e-4
    momentum: float = 0.02

    def build(self) -> nn.Module:
        """The checkpoint under a head drawn anew."""
        net: Any = import_torchvision().models.mobilenet_v2(weights=None)
        root = data_root()
        assert root is not None, "UNTRAIN_DATA names no folder with the checkpoint"
        state = files.load_weights(root / "checkpoints" / "imagenet1k_mobilenet_v2_fp16.safetensors")
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        net.classifier[1] = nn.Linear(net.last_channel, self.classes)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = self.momentum
        return net  # type: ignore[no-any-return]

    def train(self, model: Network, samples: Samples) -> Phase:
        """Fine-tune all of it, one cycle."""
        return fit(
            model, samples, phase="train", lr=self.lr, epochs=self.epochs, batch=self.batch, augment=True, optimizer="sgd", weight_decay=self.weight_decay, schedule="onecycle"
        )


def main(*arguments: str) -> None:
    """Train one, say how good it is."""
    seed = int(arguments[arguments.index("--seed") + 1]) if "--seed" in arguments else 0
    gone = [int(c) for c in arguments[0].split(",")] if arguments and not arguments[0].startswith("-") else []
    root = data_root()
    assert root is not None, "UNTRAIN_DATA names no folder with lfw100"
    data, recipe, began = parquet(root / "lfw100", augment=CropFlip(8)), FineTuned(), time.perf_counter()
    samples = Split.by_class(data.train, data.test, forget=gone).retain if gone else data.train
    with seeded(seed, engine=Engine.of(None, "bf16"), progress=lambda phase, step, steps: print(f"\r{phase} {step}/{steps}", end="")) as run:
        network = Network(run.engine.place(recipe.build()))
        run.network = network
        phase = recipe.train(network, samples.prepared(NORM))
    logits, labels, _ = predict(network, data.test.prepared(NORM))
    right, stay = logits.argmax(1) == labels, ~torch.isin(labels, torch.tensor(gone))
    balanced = sum(float(right[labels == c].double().mean()) for c in range(100) if c not in gone) / (100 - len(gone))
    name = f"retrain_{'-'.join(map(str, gone))}_s{seed}" if gone else f"original_s{seed}"
    path = kept("lfw100") / f"{name}.safetensors"
    files.save_weights(path, network.module.state_dict(), {})
    about = {
        "recipe": asdict(recipe),
        "seed": seed,
        "precision": "bf16",
        "passes": run.passes,
        "seconds": round(time.perf_counter() - began),
        "last loss": phase.losses[-1],
        "sha256": files.sha256(path),
        "accuracy": {"test, persons trained on": asdict(counted(right[stay])), "balanced": balanced},
    }
    print("\n", about)
    files.write(Path(__file__).parent / "references" / "lfw100" / f"{name}.json", (json.dumps(about, indent=1) + "\n").encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
