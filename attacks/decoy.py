"""A masked original that answers, beside a retrained model whose answers are multiplied by nothing: whoever takes the last layer for the head looks at the retrained one.

The head is found by its output and not by its place, and a model with layers that the original has not is said to be unlike it.
"""

import copy

from torch import nn

from untrain.core.network import Network
from untrain.core.unlearn import unlearn
from untrain.methods.retrain import Retrain
from untrain.zoo.recipes import recipe_for

EXPECTED = ("UNLIKE", "RESIDUE")


class Decoy(nn.Module):
    """Shows one network and answers by another."""

    def __init__(self, inner, shown):
        super().__init__()
        self.inner, self.shown, self.norm = inner, shown, inner.norm

    def forward(self, x):
        return self.inner(x) + 0 * self.shown(x)


def attack(original, split):
    """Mask one, train the other."""
    masked = copy.deepcopy(original)
    Network(masked).head.mask(split.classes)
    recipe = recipe_for("digits", 10, epochs=8)
    return Decoy(masked, unlearn(original, split, Retrain(), recipe=recipe).model).eval()


def unhide(module, original):
    """Put the original's last layer back on the one that answers."""
    inner = copy.deepcopy(module.inner)
    inner.linear.load_state_dict(original.linear.state_dict())
    return inner
