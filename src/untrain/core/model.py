"""A trained model that was given: the module, where it came from, what it reads, and how to write another like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from untrain.core.data import Norm
from untrain.core.preparing import Preparation


@dataclass(frozen=True)
class Expects:
    """What a model says of the images or texts that it reads; known before it is built and before data are read.

    Args:
        norm: Its normalisation, where its library or its folder names one.
        size: Height and width of the images it was made for, in pixels.
        fixed: Whether it reads no other size.
        crop: Share of the resized image that a centre crop keeps, along each side; 1 where nothing is cropped.
        interpolation: How images are resized: `bilinear`, `bicubic`, `nearest`, `lanczos`.
        names: Names of its classes in the order of its logits, where it knows them.
        tokens: Folder of the tokenizer that it brings, where it reads texts.
        longest: Tokens of a text that it reads at most.
    """

    norm: Norm | None = None
    size: tuple[int, int] | None = None
    fixed: bool = False
    crop: float = 1.0
    interpolation: str = "bilinear"
    names: tuple[str, ...] = ()
    tokens: Path | None = None
    longest: int | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, and what is needed to write another like it.

    Args:
        name: How a command names it, without the way to a folder: `resnet20`, `timm:vit_tiny_patch16_224`, `hf:folder`.
        module: The network, in evaluation mode.
        origin: `published checkpoint`, `bundled`, the name of the file or folder, or that a function made it.
        sha256: Hash of the file's bytes; of the weights, where a function made them.
        kept: Names in the file, and the type of each.
        expects: What it says of its images.
        prefix: What each name in the file begins with and the module's own do not, such as `module.`.
        notes: What a user should be told of it, a sentence each.
        beside: Further files of the folder that it came in, to be written beside the weights, by name.
        told: A module's weights under the names that its library writes, where these are not the module's own.
        prepared: How it was prepared for a method that had to be there when it was trained; None of what was trained like any other.
    """

    name: str
    module: nn.Module
    origin: str
    sha256: str
    kept: dict[str, torch.dtype]
    expects: Expects = field(default_factory=Expects)
    prefix: str = ""
    notes: tuple[str, ...] = ()
    beside: dict[str, Path] = field(default_factory=dict)
    told: Callable[[nn.Module], dict[str, Tensor]] | None = None
    prepared: Preparation | None = None

    @property
    def norm(self) -> Norm | None:
        """Its normalisation, where one is known."""
        return self.expects.norm

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the images it was made for, where they are known."""
        return self.expects.size

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """A network's weights under the names and in the types of the file that was given."""
        state = self.told(module) if self.told is not None else module.state_dict()
        return {name: state[name.removeprefix(self.prefix)].to(dtype) for name, dtype in self.kept.items()}
