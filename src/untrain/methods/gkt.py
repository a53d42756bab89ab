"""GKT: teach a new network by images that a generator makes, and hold back those that look like the forgotten. Sees no data at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.data import Inputs, Samples
from untrain.core.method import Method, Move, Recipe
from untrain.core.network import Network
from untrain.core.train import Trace, Turn, alternate

NOISE = 128
"""Numbers that an image is made of, as in the published code."""


@dataclass(frozen=True)
class GKT(Method):
    """Distil the original, the teacher t, into a network s built anew, on images G(z), z ~ N(0, 1), that a generator learns to make.

        generator  G <- argmax  KL(t(x) || s(x))                                                        (1 step a turn)
        student    s <- argmin  KL(t(x) || s(x)) + beta sum_l mean (a_l(s, x) - a_l(t, x))^2            (10 steps a turn, the same z)

    over the images x = G(z) that pass the band-pass filter: those of which the teacher believes that they show a forgotten class
    with a probability of at most the threshold; a_l is the attention map of layer l, the mean over channels of its squared output,
    of length 1. KL is the mean over images and classes, as in the published code, and a_l that of convolutions before normalisation and
    ReLU. The student trains in training mode; the published notebook leaves it in evaluation mode, and lets the accuracy on real
    held-out images set the learning rate. Here no image is read, and the rate is constant.

    What is left is a new network: as good as the turns it had. The paper takes 4,000 (the preset `paper`); see the benchmarks for what
    the default comes to.

    Args:
        turns: Turns of generator and student; 4,000 in the published code.
        generator_steps: Generator steps in a turn; 1 in the published code.
        student_steps: Student steps in a turn; 10 in the published code.
        lr: Learning rate of Adam, of both; 1e-3 in the published code.
        batch: Images at once, before the filter; 256 in the published code.
        threshold: Largest probability of the forgotten classes together that passes; 0.01 in the published code.
        attention: beta, weight of the attention maps; 250 in the published code.
        clip: Largest norm of a gradient, 0 for none; 5 in the published code.
    """

    paper = "Chundawat et al., Zero-Shot Machine Unlearning, IEEE TIFS 2023, arXiv:2201.05629"
    moves: ClassVar = {"student": Move(-1, of="distance from original", on="retain", over="phase")}
    small: ClassVar = {"turns": 2, "student_steps": 3, "batch": 16}
    knobs: ClassVar = {"collapsed": {"turns": +1}, "remembers": {"threshold": -1}, "diverged": {"lr": -1}, "unchanged": {"turns": +1}}

    turns: int = 400
    generator_steps: int = 1
    student_steps: int = 10
    lr: float = 1e-3
    batch: int = 256
    threshold: float = 0.01
    attention: float = 250.0
    clip: float = 5.0

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """Everything: the network is built anew."""
        return dict.fromkeys(model.module.state_dict())

    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...], recipe: Recipe) -> Trace:
        """Generator and student take turns."""
        teacher = model.teacher()
        model.become(recipe.build())
        generator = Network(Generator(shape).to(model.device))
        z = torch.randn(self.batch, NOISE).to(model.device)
        layers = list(model.layers((nn.Conv1d, nn.Conv2d, nn.Conv3d)))

        def made() -> Tensor:
            images = generator(z).view(-1, *shape)
            kept: Tensor = images[self.passes(teacher, images, classes)]
            return kept

        def disagree(places: Inputs, y: Tensor) -> Tensor:
            z.copy_(torch.randn(z.shape))
            x = made()
            return -divergence(model(x), teacher(x)) if len(x) > 1 else _nothing(generator)

        def follow(places: Inputs, y: Tensor) -> Tensor:
            with torch.no_grad():
                x = made()
                told, wanted = looked(teacher, x, layers) if len(x) > 1 else (z, [])
            if len(x) < 2:
                return _nothing(model)
            said, own = looked(model, x, layers)
            return divergence(said, told) + self.attention * sum(((a - b).square().mean() for a, b in zip(own, wanted, strict=True)), torch.zeros_like(said[0, 0]))

        model.train()
        generator.train()
        # There are no samples: a step needs to know how many images to make, and no more.
        none = Samples(torch.arange(self.batch), torch.zeros(self.batch, dtype=torch.long)).batches(self.batch, shuffle=False)
        both: dict[str, Any] = {"batches": none, "lr": self.lr, "clip": self.clip or None, "carry": {"z": z}}
        return alternate(
            Turn(phase="generator", loss=disagree, parameters=generator.parameters(), steps=self.generator_steps, **both),
            Turn(phase="student", loss=follow, parameters=model.parameters(), steps=self.student_steps, **both),
            rounds=self.turns,
        )

    @torch.no_grad()
    def passes(self, teacher: Network, images: Tensor, classes: tuple[int, ...]) -> Tensor:
        """Which images [n, ...] the band-pass filter lets through: [n], true where the teacher sees next to nothing of the forgotten classes."""
        return F.softmax(teacher(images), dim=1)[:, list(classes)].sum(1) <= self.threshold


class Generator(nn.Module):
    """Noise [n, 128] to pixels [n, c * h * w] in the network's own scale: two doublings between three convolutions, as in the published code.

    Args:
        shape: Channels, height and width of an image.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, *size = shape
        quarter, half = ([-(-side // n) for side in size] for n in (4, 2))
        self.layers = nn.Sequential(
            *(nn.Linear(NOISE, 128 * quarter[0] * quarter[1]), nn.Unflatten(1, (128, *quarter)), nn.BatchNorm2d(128)),
            *(nn.Upsample(size=tuple(half)), nn.Conv2d(128, 128, 3, padding=1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2)),
            *(nn.Upsample(size=tuple(size)), nn.Conv2d(128, 64, 3, padding=1), nn.BatchNorm2d(64), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(64, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.Flatten()),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Images, flat."""
        out: Tensor = self.layers(z)
        return out


def divergence(said: Tensor, told: Tensor) -> Tensor:
    """KL of the teacher's answers (told) from the student's (said), mean over images and classes.

    >>> sure, unsure = torch.tensor([[500.0, 0.0]], requires_grad=True), torch.zeros(1, 2)
    >>> round(float(divergence(unsure, sure).detach()), 3), torch.autograd.grad(divergence(unsure, sure), sure)[0].tolist()
    (0.347, [[0.0, 0.0]])
    """
    # Both as logarithms: where a probability underflows to 0, the slope of p log p is not finite, and the generator is trained through it.
    return F.kl_div(F.log_softmax(said, dim=1), F.log_softmax(told, dim=1), reduction="batchmean", log_target=True) / said.shape[1]


def looked(network: Network, x: Tensor, layers: list[str]) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the attention map of each of these layers: the mean square over channels, as a vector of length 1 for each image."""
    parts, maps = dict(network.module.named_modules()), list[Tensor]()

    def keep(part: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        maps.append(F.normalize(out.float().square().mean(1).flatten(1)))

    handles = [parts[name].register_forward_hook(keep) for name in layers]
    try:
        return network(x), maps
    finally:
        for handle in handles:
            handle.remove()


def _nothing(network: Network) -> Tensor:
    """A loss of 0 that moves nothing, where the filter let nothing through."""
    return sum((0 * p.sum() for p in network.trainable()), torch.zeros((), device=network.device))


GKT.presets = {"paper": GKT(turns=4000)}
