"""Which layers of a network are the last ones."""

from __future__ import annotations

import pytest
import torch

from untrain.checks.nets import KINDS, case_of
from untrain.core.data import Samples
from untrain.core.depth import last, layers
from untrain.core.network import Network
from untrain.zoo.networks import NETWORKS

BODY = [["body.0", "body.1"], ["body.3", "body.4"], ["body.7"]]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("group_norm", [*BODY, ["head"]]),
        ("weight_norm", [*BODY, ["head"]]),
        ("tied_weights", [*BODY, ["one"], ["two"], ["head"]]),
        ("a_layer_behind_the_head", [*BODY, ["head"]]),
        ("a_convolution_as_head", [["body.0", "body.1"], ["body.3", "body.4"], ["head"]]),
        ("attention_and_layer_norm", [["patches", "before"], ["attention", "after"], ["between"], ["head"]]),
    ],
)
def test_layers_are_found_in_the_order_in_which_they_run(kind, found):
    module = KINDS[kind].build(5)
    assert layers(Network(module), Samples(torch.randn(3, 1, 8, 8), torch.zeros(3, dtype=torch.long))) == found


def test_a_resnet20_has_twenty():
    module = NETWORKS["resnet20"](10)
    network, samples = Network(module), Samples(torch.randn(2, 3, 32, 32), torch.zeros(2, dtype=torch.long))
    found = layers(network, samples)
    assert len(found) == 20
    assert found[0] == ["conv1", "bn1"]
    assert found[-1] == ["linear"]
    part = last(network, samples, 2)
    assert sum(w.numel() for w in part.weights) == sum(p.numel() for m in part.parts.values() for p in m.parameters())


def test_a_model_that_is_one_layer_has_one():
    part = last(Network(torch.nn.Linear(4, 3)), Samples(torch.randn(2, 4), torch.zeros(2, dtype=torch.long)), 1)
    assert list(part.parts) == [""]
    assert len(part.weights) == 2


def test_what_is_frozen_is_not_among_the_weights():
    case = case_of("a_frozen_body")
    part = last(Network(case.model), case.split.retain, 3)
    assert list(part.parts) == ["head"]


def test_a_weight_that_an_earlier_layer_shares_is_not_among_them():
    module = KINDS["tied_weights"].build(5)
    assert module.two.weight is module.one.weight
    weights = {id(w) for w in last(Network(module), Samples(torch.randn(2, 1, 8, 8), torch.zeros(2, dtype=torch.long)), 2).weights}
    assert id(module.head.weight) in weights
    assert id(module.one.weight) not in weights


def test_all_are_the_last_where_there_are_no_more():
    module = KINDS["group_norm"].build(5)
    samples = Samples(torch.randn(2, 1, 8, 8), torch.zeros(2, dtype=torch.long))
    assert len(last(Network(module), samples, 99).weights) == len(list(module.parameters()))
