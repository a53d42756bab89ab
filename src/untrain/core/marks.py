"""What a run is marked by: that nothing moved, that too much did, that what was to be forgotten is named as before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from untrain.core.data import Samples
from untrain.core.network import Network
from untrain.core.train import predict

REMEMBERED = 0.95
"""Share of the forgotten samples once named rightly that still are, from which on a run is said to remember."""


def marked(original: nn.Module, changed: nn.Module, retain: Samples, head: str | None = None) -> tuple[str, ...]:
    """`unchanged` or `collapsed`, where nothing moved, or retained accuracy, on up to 2,000 samples, fell below half of the original's."""
    before, after = _values(original), _values(changed)
    if before.keys() == after.keys() and all(torch.equal(value.cpu(), after[name].cpu()) for name, value in before.items()):
        return ("unchanged",)
    if not len(retain):
        return ()
    was, now = (correct(m, retain.at_most(2000), head) for m in (original, changed))
    return ("collapsed",) if now < was / 2 else ()


def _values(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a state dict; a module may keep other things there."""
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def correct(module: nn.Module, samples: Samples, head: str | None = None) -> float:
    """Share of samples that a model names rightly; of one with several answers by the head that is named, the last where several are."""
    view = Network(module, head=head)
    if head is not None:
        view.locate(samples.batch(torch.arange(min(2, len(samples))), device=view.device)[0])
    logits, labels, _ = predict(view, samples)
    return float((logits.argmax(1) == labels).double().mean())
