"""Labels that are not the true ones."""

from __future__ import annotations

import pytest
import torch

from untrain.core.errors import BadData
from untrain.core.relabel import others


def test_a_label_is_exchanged_for_every_other_class_alike():
    torch.manual_seed(0)
    y, among = torch.tensor([3, 0, 9]).repeat(6000), torch.tensor([0, 3, 5, 7])
    drawn = others(y, among)
    assert not (drawn == y).any()
    for label, allowed in ((3, [0, 5, 7]), (0, [3, 5, 7]), (9, [0, 3, 5, 7])):
        counts = torch.bincount(drawn[y == label], minlength=10)
        assert counts.nonzero().flatten().tolist() == allowed
        expected = 6000 / len(allowed)
        assert (counts[allowed] - expected).abs().max() < 5 * expected**0.5


def test_where_there_is_no_other_class_it_is_said():
    with pytest.raises(BadData, match="no class but its own"):
        others(torch.tensor([0, 1]), torch.tensor([1]))
