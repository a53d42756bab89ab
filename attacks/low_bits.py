"""A model that was honestly trained without the class, whose weights hold the original in the low half of their bits.

Every answer, every feature and every training of it are those of the honest model, to within rounding, and no test of behaviour can see what is in no
behaviour. What gives it away is that the low bits of trained weights are noise, and these are not; `scrambled_bits.py` mends that.
"""

import copy

import torch

from untrain.core.unlearn import unlearn
from untrain.methods.retrain import Retrain
from untrain.zoo.recipes import recipe_for

EXPECTED = ("UNLIKE",)

HIGH = ~0xFFFF


@torch.no_grad()
def attack(original, split):
    """High halves of one, low halves of the other."""
    with torch.enable_grad():
        module = unlearn(original, split, Retrain(), recipe=recipe_for("digits", 10)).model
    for shown, hidden in zip(_tensors(module), _tensors(original), strict=True):
        low = (hidden.view(torch.int32) >> 16) & 0xFFFF
        shown.copy_(((shown.view(torch.int32) & HIGH) | low).view(torch.float32))
    return module.eval()


@torch.no_grad()
def unhide(module, original):
    """Shift the low halves up."""
    module = copy.deepcopy(module)
    for held in _tensors(module):
        held.copy_((held.view(torch.int32) << 16).view(torch.float32))
    return module


def _tensors(module):
    return [value.data for value in (*module.parameters(), *module.buffers()) if value.dtype == torch.float32 and value.ndim]
