"""Cut and repair: draw anew the weights that some samples hang on most, then mend on others, and never against the way that forgetting went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.data import Batches, Inputs, Samples
from untrain.core.depth import layers
from untrain.core.errors import BadArgument
from untrain.core.fresh import fresh
from untrain.core.gather import gradients
from untrain.core.network import Network
from untrain.core.trace import Phase, phase
from untrain.core.train import minimize


def project(slope: Sequence[Tensor], way: Sequence[Tensor], margin: float) -> list[Tensor]:
    """A gradient that does not oppose another: g where <g, w> >= 0, and else g + v w, the v from the margin up that is closest to taking the conflict out.

    >>> project([torch.tensor([1.0, -1.0])], [torch.tensor([0.0, 1.0])], 0.5)
    [tensor([1., 0.])]
    """
    both, length = (sum((a.double() * b.double()).sum() for a, b in zip(one, way, strict=True)) for one in (slope, way))
    both, length = torch.as_tensor(both), torch.as_tensor(length)
    v = torch.where(both < 0, (-both / length.clamp(min=1e-30)).clamp(min=margin), 0.0)
    return [g + v.to(g) * w for g, w in zip(slope, way, strict=True)]


def later_weights(model: Network, samples: Samples, later: float) -> list[nn.Parameter]:
    """The weights of two dimensions and more of this share of the layers, counted from the head in the order in which they run on some samples.

    Raises:
        BadArgument: there is none that may move.
    """
    run = layers(model, samples)
    names = [name for some in run[len(run) - round(later * len(run)) :] for name in some]
    held = {id(w) for name in names for w in model.module.get_submodule(name).parameters()}
    found = [w for w in model.trainable() if id(w) in held and w.ndim > 1]
    if not found:
        raise BadArgument(f"later={later} reaches no weight of {len(run)} layers that may move; raise it")
    return found


@torch.no_grad()
def cut(model: Network, reached: Sequence[nn.Parameter], slopes: Sequence[Tensor], share: float) -> None:
    """Draw anew, as in a new layer, this share of the reached weights: those where |weight times slope| is among the largest.

    Args:
        model: The network.
        reached: Weights that may be drawn anew.
        slopes: A gradient for each of `model.trainable()`.
        share: Of the reached weights together.
    """
    slope_of = {id(w): slope for w, slope in zip(model.trainable(), slopes, strict=True)}
    scores = torch.cat([(w * slope_of[id(w)]).abs().reshape(-1) for w in reached])
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    chosen[scores.argsort(descending=True, stable=True)[: round(share * len(scores))]] = True
    for weight, part in zip(reached, torch.split(chosen, [w.numel() for w in reached]), strict=True):
        weight.copy_(torch.where(part.view_as(weight), fresh(weight), weight))


def cut_and_repair(
    model: Network,
    reached: Sequence[nn.Parameter],
    shown: Samples,
    kept: Batches,
    *,
    answer: Callable[[Inputs], Tensor],
    projected: Callable[[Sequence[Tensor], Sequence[Tensor]], list[Tensor]],
    share: float,
    lam: float,
    batch: int,
    augment: bool,
    **how: Any,
) -> list[Phase]:
    """Score weights on what is shown, cut, and repair: CE of the kept less lam times that of the shown, each gradient projected by the way of forgetting on the cut model.

    Args:
        model: The network.
        reached: Weights that may be drawn anew.
        shown: What stands for the forgotten: they themselves, or noise.
        kept: Batches of the retained, over all epochs.
        answer: Logits of a batch of what is shown.
        projected: Makes a step's gradient one that does not oppose the way of forgetting.
        share: Share of the reached weights that is drawn anew.
        lam: Weight of the loss of what is shown.
        batch: Batch size of what is shown.
        augment: Whether what is shown uses the random change that it carries.
        how: As `minimize` takes it.
    """

    def away(x: Inputs, y: Tensor) -> Tensor:
        return -F.cross_entropy(answer(x), y)

    def losses(x: Any, y: Any) -> tuple[Tensor, Tensor]:
        (mine, gone), (label, true) = x, y
        up = -lam * F.cross_entropy(answer(gone), true)
        # The retained batch goes last, so that BatchNorm ends each step with it.
        return F.cross_entropy(model(mine), label), up

    model.eval()
    slopes, scored = gradients(model, away, shown, phase="score", batch=batch)
    with phase("cut") as done:
        cut(model, reached, slopes, share)
    way, looked = gradients(model, away, shown, phase="way", batch=batch)
    model.train()
    repaired = minimize(
        losses,
        model.trainable(),
        kept.beside(shown.batches(batch, augment=augment)),
        phase="repair",
        combine=lambda both: projected([a + b for a, b in zip(*both, strict=True)], way),
        **how,
    )
    return [scored, done, looked, repaired]
