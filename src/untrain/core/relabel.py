"""Labels that are not the true ones: what methods that train on wrong labels share."""

from __future__ import annotations

import torch
from torch import Tensor

from untrain.core.errors import BadData


def others(y: Tensor, among: Tensor) -> Tensor:
    """For each label another one, each of these classes but its own as likely as the next.

    Drawn on the CPU, from the random state of the moment, so that every device draws alike.

    Raises:
        BadData: there is no class but its own.

    >>> others(torch.tensor([0, 1, 0]), torch.tensor([0, 1])).tolist()
    [1, 0, 1]
    """
    own = y.cpu()
    allowed = (among[None] != own[:, None]).double()
    if not bool(allowed.any(1).all()):
        raise BadData("a sample is to be taught another label, and there is no class but its own; retain samples of two classes at least")
    return among[torch.multinomial(allowed, 1).squeeze(1)].to(y.device)
