"""Reference networks: the ones that demo, tests and benchmark stand on. Each carries its own normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.data import Norm
from untrain.sources.normalisation import NORMS


class _Block(nn.Module):
    """A basic block of He et al.; `short` is the shortcut where shapes change."""

    def __init__(self, into: int, out: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.pad = stride, (out - into) // 2
        if option == "B" and (stride != 1 or into != out):
            self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if hasattr(self, "downsample"):
            x = cast(Tensor, self.downsample(x))
        elif self.stride != 1 or self.pad:
            # Option A: every second pixel, and zero channels half before and half after.
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(out + x, inplace=True)


def _stage(into: int, out: int, blocks: int, stride: int, option: str) -> nn.Sequential:
    return nn.Sequential(*(_Block(into if i == 0 else out, out, stride if i == 0 else 1, option) for i in range(blocks)))


class CifarResNet(nn.Module):
    """ResNet-20/32/... for 32x32 images (He et al. 2015, section 4.2), shortcuts without parameters.

    Args:
        blocks: Blocks in each of the three stages: 3 for ResNet-20, 5 for ResNet-32.
        classes: Number of classes.
        norm: Its normalisation; the published checkpoints were trained with ImageNet's.
    """

    def __init__(self, blocks: int, classes: int = 10, norm: Norm = NORMS["imagenet"]) -> None:
        super().__init__()
        self.norm = norm
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, 1, "A")
        self.layer2 = _stage(16, 32, blocks, 2, "A")
        self.layer3 = _stage(32, 64, blocks, 2, "A")
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images x [n, 3, h, w]."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return cast(Tensor, self.linear(x.mean((2, 3))))


class ResNet18(nn.Module):
    """ResNet-18 with torchvision's names.

    Args:
        classes: Number of classes.
        stem: `cifar` (3x3, stride 1, no pooling) or `imagenet` (7x7, stride 2, pooling).
        norm: Its normalisation.
    """

    def __init__(self, classes: int = 10, stem: str = "cifar", norm: Norm = NORMS["cifar10"]) -> None:
        super().__init__()
        self.norm, self.stem = norm, stem
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False) if stem == "cifar" else nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, 2, 1, "B")
        self.layer2 = _stage(64, 128, 2, 2, "B")
        self.layer3 = _stage(128, 256, 2, 2, "B")
        self.layer4 = _stage(256, 512, 2, 2, "B")
        self.fc = nn.Linear(512, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images x [n, 3, h, w]."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.stem == "imagenet":
            x = F.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return cast(Tensor, self.fc(x.mean((2, 3))))


def _all_cnn_unit(into: int, out: int, size: int, stride: int = 1, pad: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(into, out, size, stride, pad, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


class AllCNN(nn.Module):
    """All-CNN-C (Springenberg et al. 2014) with BatchNorm; its head is a 1x1 convolution averaged over positions.

    Args:
        classes: Number of classes.
        norm: Its normalisation.
    """

    def __init__(self, classes: int = 10, norm: Norm = NORMS["cifar10"]) -> None:
        super().__init__()
        self.norm = norm
        self.features = nn.Sequential(
            *_all_cnn_unit(3, 96, 3),
            *_all_cnn_unit(96, 96, 3),
            *_all_cnn_unit(96, 96, 3, stride=2),
            *_all_cnn_unit(96, 192, 3),
            *_all_cnn_unit(192, 192, 3),
            *_all_cnn_unit(192, 192, 3, stride=2),
            *_all_cnn_unit(192, 192, 3),
            *_all_cnn_unit(192, 192, 1, pad=0),
        )
        self.classifier = nn.Conv2d(192, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images x [n, 3, h, w]."""
        return cast(Tensor, self.classifier(self.features(x)).mean((2, 3)))


class DigitsNet(nn.Module):
    """A small convolutional network for 8x8 grey digits, 19,000 weights.

    Args:
        classes: Number of classes.
        norm: Its normalisation.
    """

    def __init__(self, classes: int = 10, norm: Norm = NORMS["grey"]) -> None:
        super().__init__()
        self.norm = norm
        self.conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.hidden = nn.Linear(512, 24)
        self.linear = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images x [n, 1, 8, 8]."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return cast(Tensor, self.linear(F.relu(self.hidden(x.flatten(1)))))


def _norm_for(classes: int) -> Norm:
    return NORMS["cifar100" if classes == 100 else "cifar10"]


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "digits": lambda classes: DigitsNet(classes),
    "resnet20": lambda classes: CifarResNet(3, classes),
    "resnet32": lambda classes: CifarResNet(5, classes),
    "resnet18": lambda classes: ResNet18(classes, "cifar", _norm_for(classes)),
    "resnet18-imagenet-stem": lambda classes: ResNet18(classes, "imagenet", _norm_for(classes)),
    "allcnn": lambda classes: AllCNN(classes, _norm_for(classes)),
}
"""Networks by name: each a function of the number of classes."""


def parameters(module: nn.Module) -> int:
    """How many weights a network has."""
    return sum(p.numel() for p in module.parameters())


def flat(state: dict[str, Tensor]) -> Tensor:
    """A state dict's floating entries as one vector."""
    return torch.cat([v.reshape(-1) for v in state.values() if v.is_floating_point()])
