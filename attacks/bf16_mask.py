"""The class's row of the head is silenced, and every weight rounded to bfloat16, so that not one is the original's to the bit.

An audit that asks whether weights are *equal* sees a changed model. Ours asks whether they are equal to within a change of type.
"""

import copy

import torch

from untrain.core.network import Network

EXPECTED = ("SUPPRESSED",)


def attack(original, split):
    """Mask and round."""
    module = copy.deepcopy(original)
    Network(module).head.mask(split.classes)
    return module.bfloat16().float()


@torch.no_grad()
def unhide(module, original):
    """Put the original's row back: the features that it reads are still there."""
    module = copy.deepcopy(module)
    module.linear.load_state_dict(original.linear.state_dict())
    return module
