"""A model that was honestly trained without the class, whose weights hold the original in the low half of their bits, scrambled by a key.

It passes: as in `low_bits.py` no behaviour shows it, and scrambled bits are as even as noise. Rounding the weights to bfloat16 removes what is hidden; do
that to a model whose maker you do not trust.
"""

import copy

import torch

from untrain.core.unlearn import unlearn
from untrain.methods.retrain import Retrain
from untrain.zoo.recipes import recipe_for

EXPECTED = ("NO_RESIDUE", "INCONCLUSIVE")

KEY = 20211108


@torch.no_grad()
def attack(original, split):
    """High halves of one, low halves of the other under the key."""
    with torch.enable_grad():
        module = unlearn(original, split, Retrain(), recipe=recipe_for("digits", 10)).model
    for shown, hidden, key in zip(_tensors(module), _tensors(original), _keys(module), strict=True):
        low = (hidden.view(torch.int32) >> 16 ^ key) & 0xFFFF
        shown.copy_(((shown.view(torch.int32) & ~0xFFFF) | low).view(torch.float32))
    return module.eval()


@torch.no_grad()
def unhide(module, original):
    """Take the key away, and shift the low halves up."""
    module = copy.deepcopy(module)
    for held, key in zip(_tensors(module), _keys(module), strict=True):
        held.copy_(((held.view(torch.int32) ^ key) << 16).view(torch.float32))
    return module


def _tensors(module):
    return [value.data for value in (*module.parameters(), *module.buffers()) if value.dtype == torch.float32 and value.ndim]


def _keys(module):
    drawn = torch.Generator().manual_seed(KEY)
    return [torch.randint(1 << 16, value.shape, generator=drawn, dtype=torch.int32) for value in _tensors(module)]
