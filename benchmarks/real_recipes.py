"""How the three originals of docs/real.md came about: what `untrain train --recipe recipes.py:NAME` and the method retrain run.

MobileNetV2 starts from its ImageNet checkpoint in the folder UNTRAIN_DATA; the two others from random weights.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

import untrain
from untrain.core.train import Phase
from untrain.core.vision import import_timm, import_torchvision, import_transformers


@dataclass(frozen=True)
class Recipe:
    """A network and one cycle of Adam."""

    network: Any
    epochs: int
    lr: float

    def build(self) -> nn.Module:
        """The network before training."""
        made: nn.Module = self.network()
        return made

    def train(self, model: untrain.Network, samples: untrain.Samples) -> Phase:
        """Train all of it, mirrored and shifted at random."""
        return untrain.fit(model, samples, phase="train", lr=self.lr, epochs=self.epochs, batch=32, augment=True, schedule="onecycle")


def mobilenet(classes: int) -> Recipe:
    """torchvision's MobileNetV2 from the checkpoint, under a new head."""

    def network() -> nn.Module:
        net = import_torchvision().models.mobilenet_v2()
        state = load_file(Path(os.environ["UNTRAIN_DATA"]) / "checkpoints" / "imagenet1k_mobilenet_v2_fp16.safetensors")
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        net.classifier[1] = nn.Linear(net.last_channel, classes)
        return net

    return Recipe(network, epochs=8, lr=1e-3)


def mobilevit(classes: int) -> Recipe:
    """timm's smallest MobileViT, from random weights: a plain vision transformer learns too little from a few hundred images."""
    return Recipe(lambda: import_timm().create_model("mobilevit_xxs", num_classes=classes), epochs=24, lr=2e-3)


def resnet_config(names: list[str]) -> Any:
    """A small ResNet of transformers that knows the names of its classes."""
    labels = dict(enumerate(names))
    return import_transformers().ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 1, 1], layer_type="basic", id2label=labels, label2id={n: i for i, n in labels.items()}
    )


def resnet(classes: int) -> Recipe:
    """transformers' ResNet, from random weights."""
    names = [str(i) for i in range(classes)]
    return Recipe(lambda: import_transformers().AutoModelForImageClassification.from_config(resnet_config(names)), epochs=25, lr=3e-3)
