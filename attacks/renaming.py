"""A module around the original that says something else where it would name the class: not one weight is touched, and answers look well.

Behaviour alone cannot tell it from a model that never names the class; its layers are not those of the original, and that is said.
"""

import copy

import torch
from torch import nn

EXPECTED = ("UNLIKE", "RESIDUE")


class Renaming(nn.Module):
    """Answers with the second best where the class would win."""

    def __init__(self, inner, label):
        super().__init__()
        self.inner, self.norm, self.label = inner, inner.norm, label

    def forward(self, x):
        out = self.inner(x)
        wins = out.argmax(1, keepdim=True) == self.label
        return torch.where(wins & (torch.arange(out.shape[1]) == self.label), torch.full_like(out, -1e4), out)


def attack(original, split):
    """Put it around."""
    return Renaming(copy.deepcopy(original), split.classes[0]).eval()


def unhide(module, original):
    """Take it off."""
    return module.inner
