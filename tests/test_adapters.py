"""Adapters of trainers that are not installed say which extra brings them; the rest is tested where they are, in tests/vision."""

from __future__ import annotations

import sys

import pytest
import torch

from untrain import Accuracy, Samples, Split, lightning_audit, trainer_audit
from untrain.core.errors import MissingExtra

SAMPLES = Samples(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))


@pytest.mark.parametrize(("made", "package", "extra"), [(lightning_audit, "lightning.pytorch", "lightning"), (trainer_audit, "transformers", "hf")])
def test_what_is_not_installed_is_named_with_its_extra(made, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"not installed: pip install 'untrain\[{extra}\]'"):
        made(Split.by_class(SAMPLES, SAMPLES, forget=[1]), [Accuracy()])
