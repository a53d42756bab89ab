"""Products with the Gauss-Newton matrix beside the matrix itself, and what is solved by them beside torch's own solver."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, jacrev

from untrain.checks.nets import Attention
from untrain.core.curvature import gauss_newton, solve
from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.network import Network


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.idle = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(2, 2)

    def forward(self, x):
        return self.two(torch.tanh(self.one(x)))


def _case():
    torch.manual_seed(0)
    module = Small().double()
    samples = Samples(torch.randn(11, 5, dtype=torch.float64), torch.arange(11) % 3)
    return module, samples


def _dense(module, samples):
    """G, row by row, from whole Jacobians and p's own covariance."""
    x, _ = samples.batch(torch.arange(len(samples)))
    weights = {name: p.detach() for name, p in module.named_parameters()}
    slopes = jacrev(lambda held: functional_call(module, held, (x,)))(weights)
    J = torch.cat([slopes[name].flatten(2) for name in weights], 2)
    p = F.softmax(module(x).detach(), 1)
    H = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("nca,ncd,ndb->ab", J, H, J) / len(x)


def _flat(parts):
    return torch.cat([part.reshape(-1) for part in parts])


@pytest.mark.parametrize("batch", [3, 11])
def test_a_product_is_that_of_the_matrix(batch):
    module, samples = _case()
    v = [torch.randn_like(p) for p in module.parameters()]
    with seeded(0) as run:
        network = Network(module.eval())
        found, phase = gauss_newton(network, F.cross_entropy, samples, v, phase="bend", batch=batch)
    torch.testing.assert_close(_flat(found), _dense(module, samples) @ _flat(v))
    assert phase.passes == run.passes == 7 * 11


def test_what_is_solved_is_what_torch_solves():
    module, samples = _case()
    v = [torch.randn_like(p) for p in module.parameters()]
    with seeded(0):
        found, _ = solve(Network(module.eval()), F.cross_entropy, samples, v, damping=0.1, steps=100, phase="solve", batch=4)
    G = _dense(module, samples)
    torch.testing.assert_close(_flat(found), torch.linalg.solve(G + 0.1 * torch.eye(len(G), dtype=G.dtype), _flat(v)), rtol=1e-5, atol=1e-8)


def test_it_goes_through_attention_which_is_fused_elsewhere():
    torch.manual_seed(0)
    module = Attention(3).eval()
    samples = Samples(torch.randn(4, 1, 8, 8), torch.arange(4) % 3)
    v = [torch.randn_like(p) for p in module.parameters()]
    with seeded(0):
        found, _ = gauss_newton(Network(module), F.cross_entropy, samples, v, phase="bend", batch=4)
    assert float(_flat(found) @ _flat(v)) > 0
