"""The law that a method forgets: more of what it is told to than of what it is not."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from untrain.checks.case import CLASSES, OTHERS, Case, SmallRecipe
from untrain.checks.running import LawBroken, left_by
from untrain.core.data import Samples, Split
from untrain.core.method import Method
from untrain.core.network import Network

MARGIN = 2
"""How many times the twin's loss. Training mode alone makes up to 1.7: BatchNorm's statistics drift to the samples that are seen, whatever is learned of them."""

GUESSING = math.log(CLASSES)
"""Loss of a network that guesses. Where the twin is as bad as that, it is the whole network that is gone, and no more can be asked."""


def check_it_forgets_what_it_is_told_to(method: Method, case: Case | None = None) -> None:
    """It raises the loss of the forget set, to twice that of a twin which was told to forget others: retained samples, or other classes."""
    law, case = check_it_forgets_what_it_is_told_to, case or Case.fresh()
    if not method.forgets:
        return
    recipe = SmallRecipe(epochs=6)
    before = _loss(case.model, case.prepared.forget)
    told, twin = (_loss(left_by(law, method, case, split=split, recipe=recipe), case.prepared.forget) for split in (case.split, twin_of(method, case)))
    if not told > before:
        raise LawBroken(law, method, f"lowers the loss of the forget set from {before:.4f} to {told:.4f}")
    if not told > MARGIN * min(twin, GUESSING):
        raise LawBroken(law, method, f"raises the loss of the forget set from {before:.4f} to {told:.4f}, and to {twin:.4f} where it is told to forget others")


def twin_of(method: Method, case: Case) -> Split:
    """The split with retained samples in the forget set's place and other classes to forget; one that names neither retains the forget set in their place."""
    retain = case.split.retain
    elsewhere = torch.isin(retain.y, torch.tensor(OTHERS))
    parts = {**case.split.parts, "forget": retain[elsewhere]}
    if not {"forget", "classes"} & set(method.needs):
        parts["retain"] = retain[~elsewhere] + case.split.forget
    return Split(**parts, classes=OTHERS)


def _loss(module: nn.Module, samples: Samples) -> float:
    x, y = samples.batch(torch.arange(len(samples)))
    with torch.no_grad():
        return float(F.cross_entropy(Network(copy.deepcopy(module).double().eval())(x), y))
