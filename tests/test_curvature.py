"""Products with the Gauss-Newton matrix beside the matrix itself, and what is solved by them beside torch's own solver."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, jacrev

from untrain.checks.nets import Attention
from untrain.core.curvature import exact, gauss_newton, influence, lissa, solve
from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.errors import BadArgument, Diverged
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


def _logistic(answers, y):
    """One column against the rest."""
    return F.binary_cross_entropy_with_logits(answers, F.one_hot(y, answers.shape[1]).to(answers), reduction="none").sum(1).mean()


def _squares(answers, y):
    return (answers - F.one_hot(y, answers.shape[1]).to(answers)).square().sum(1).mean() / 2


LOSSES = [F.cross_entropy, _logistic, _squares]


def _headed(bias=True):
    """A network whose head alone wants a gradient."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3, bias=bias)).double().eval()
    module[0].requires_grad_(False)
    return module, Samples(torch.randn(40, 5, dtype=torch.float64), torch.arange(40) % 3)


def _hessian(module, loss, samples):
    """Row by row, by torch's own second derivative of the whole loss."""
    x, y = samples.batch(torch.arange(len(samples)))
    head = dict(module[-1].named_parameters())
    shapes = [p.shape for p in head.values()]

    def value(flat):
        parts = torch.split(flat, [s.numel() for s in shapes])
        return loss(functional_call(module, {f"{len(module) - 1}.{n}": p.view(s) for n, p, s in zip(head, parts, shapes, strict=True)}, (x,)), y)

    return torch.autograd.functional.hessian(value, _flat([p.detach() for p in head.values()]))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_hessian_of_a_linear_head_is_torchs_own(loss, bias):
    module, samples = _headed(bias)
    network = Network(module)
    v = [torch.randn_like(p) for p in network.trainable()]
    with seeded(0):
        solved = exact(network, loss, samples, damping=0.1, phase="hessian", batch=7)[0](v)
    H = _hessian(module, loss, samples)
    torch.testing.assert_close(_flat(solved), torch.linalg.solve(H + 0.1 * torch.eye(len(H), dtype=H.dtype), _flat(v)))


def test_conjugate_gradients_and_lissa_find_what_the_exact_form_gives():
    module, samples = _headed()
    network = Network(module)
    v = [torch.randn_like(p) for p in network.trainable()]
    with seeded(0):
        whole = _flat(exact(network, F.cross_entropy, samples, damping=0.2, phase="hessian", batch=40)[0](v))
        steps, _ = solve(network, F.cross_entropy, samples, v, damping=0.2, steps=50, phase="solve", batch=40)
        drawn, looked = lissa(network, F.cross_entropy, samples, v, damping=0.2, steps=30, scale=1.0, phase="lissa", batch=30)
    torch.testing.assert_close(_flat(steps), whole, rtol=1e-4, atol=1e-7)
    assert float((_flat(drawn) - whole).norm() / whole.norm()) < 0.1
    assert looked.passes == 30 * 30 * 7


@pytest.mark.slow
def test_lissa_draws_its_batches_from_all_samples_and_its_scale_divides_out():
    """The first of the samples lie elsewhere than the rest: what goes by them alone solves for another matrix."""
    module, samples = _headed()
    x, y = samples.batch(torch.arange(40))
    samples, network = Samples(torch.cat([x[:10] * 0.01, x[10:]]), y), Network(module)
    v = [torch.randn_like(p) for p in network.trainable()]
    with seeded(0):
        whole = _flat(exact(network, F.cross_entropy, samples, damping=0.2, phase="hessian", batch=40)[0](v))
        draws = [_flat(lissa(network, F.cross_entropy, samples, v, damping=0.2, steps=60, scale=3.0, phase="lissa", batch=10)[0]) for _ in range(20)]
    assert float((torch.stack(draws).mean(0) - whole).norm() / whole.norm()) < 0.05


@pytest.mark.parametrize("share", [0.01, 0.4, 0.9])
def test_lissa_with_too_small_a_scale_says_that_it_runs_away_and_by_what(share):
    """By no more than the largest eigenvalue of any sample, and so early that nothing is infinite yet."""
    module, samples = _headed()
    network = Network(module)
    x, _ = samples.batch(torch.arange(40))
    read = torch.cat([module[:2](x), torch.ones(40, 1, dtype=torch.float64)], 1).detach()
    largest = float(torch.linalg.eigvalsh(read.T @ read / 40)[-1]) + 0.001
    v = [torch.outer(torch.ones(3).double(), torch.linalg.eigh(read.T @ read)[1][:-1, -1]), torch.linalg.eigh(read.T @ read)[1][-1, -1].expand(3).clone()]
    with seeded(0), pytest.raises(Diverged, match=rf"runs away, as a batch curves by {largest:.3g} along it and the scale is .*; give a scale above {largest:.2g}"):
        lissa(network, _squares, samples, v, damping=0.001, steps=100, scale=share * largest, phase="lissa", batch=40)
    with seeded(0), pytest.raises(Diverged, match="runs away"):
        lissa(network, _squares, samples, [torch.randn_like(p) for p in network.trainable()], damping=0.001, steps=300, scale=0.4 * largest, phase="lissa", batch=40)


def test_lissa_of_all_samples_converges_to_the_dense_solution():
    """numpy's, of I (x) A, as under squares; at a scale just above the largest eigenvalue, and it is 0 where v is."""
    module, samples = _headed()
    network = Network(module)
    x, _ = samples.batch(torch.arange(40))
    a = np.hstack([module[:2](x).detach().numpy(), np.ones((40, 1))])
    G = a.T @ a / 40 + 0.1 * np.eye(5)
    v = [torch.randn_like(p) for p in network.trainable()]
    with seeded(0):
        found, _ = lissa(network, _squares, samples, v, damping=0.1, steps=400, scale=1.01 * np.linalg.eigvalsh(G)[-1], phase="lissa", batch=40)
        none, _ = lissa(network, _squares, samples, [0 * part for part in v], damping=0.1, steps=3, scale=1.0, phase="lissa", batch=40)
    due = np.linalg.solve(G, np.hstack([v[0].numpy(), v[1].numpy()[:, None]]).T).T
    np.testing.assert_allclose(np.hstack([found[0].numpy(), found[1].numpy()[:, None]]), due, rtol=1e-6, atol=1e-9)
    assert not any(part.any() for part in none)


def test_lissa_draws_alike_by_a_generator_and_leaves_the_runs_own_numbers_alone():
    module, samples = _headed()
    network = Network(module)
    v = [torch.randn_like(p) for p in network.trainable()]
    found = []
    for seed in range(2):
        with seeded(seed):
            state = torch.get_rng_state()
            drawn = torch.Generator().manual_seed(0)
            found.append(lissa(network, F.cross_entropy, samples, v, damping=0.2, steps=5, scale=3.0, phase="lissa", batch=10, generator=drawn)[0])
            assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(_flat(found[0]), _flat(found[1]))


def test_the_influence_is_the_slope_of_each_samples_own_loss():
    module, samples = _case()
    way = [torch.randn_like(p) for p in module.parameters()]
    network = Network(module.eval())
    with seeded(0) as run:
        found, phase = influence(network, F.cross_entropy, samples, way, phase="influence", batch=4)
    assert phase.passes == run.passes == 5 * 11
    for k in range(len(samples)):
        x, y = samples.batch(torch.tensor([k]))
        slopes = torch.autograd.grad(F.cross_entropy(module(x), y), list(module.parameters()), allow_unused=True, materialize_grads=True)
        torch.testing.assert_close(found[k], _flat(slopes) @ _flat(way))


def test_on_ridge_regression_it_is_leave_one_out_retraining_to_first_order():
    """f is what is answered to one more input. Leaving out is exact in closed form, and what is left of the difference falls with the sample's share."""
    torch.manual_seed(2)
    ridge, truth, asked = 0.05, torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)

    def off(n):
        x = torch.randn(n, 5, dtype=torch.float64)
        y = torch.stack([x @ truth, -(x @ truth)], 1).argmax(1)
        target = F.one_hot(y, 2).double()

        def fitted(weights):
            G = x.T @ (weights[:, None] * x) / n + ridge * torch.eye(5, dtype=torch.float64)
            return torch.linalg.solve(G, x.T @ (weights[:, None] * target) / n).T

        layer = nn.Linear(5, 2, bias=False, dtype=torch.float64)
        layer.weight.data.copy_(fitted(torch.ones(n, dtype=torch.float64)))
        network, samples = Network(nn.Sequential(layer)), Samples(x, y)
        f = torch.zeros(2, 5, dtype=torch.float64)
        f[0] = asked
        with seeded(0):
            solved, _ = exact(network, _squares, samples, damping=ridge, phase="hessian", batch=n)
            gains, _ = influence(network, _squares, samples, [-way for way in solved([f])], phase="influence", batch=n)
        before, due = layer.weight[0].detach() @ asked, []
        for k in range(n):
            left = torch.ones(n, dtype=torch.float64)
            left[k] = 0
            due.append(fitted(left)[0] @ asked - before)
        due = torch.stack(due)
        return float((-gains / n - due).norm() / due.norm())

    far, near = off(50), off(800)
    assert far < 0.2
    # Sixteen times the samples, a sixteenth of the share, and about a sixteenth of the error.
    assert near < far / 8


class Cosine(nn.Module):
    """A head whose answers are the angles to its rows."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(5, 4), nn.Linear(4, 3, bias=False)

    def forward(self, x):
        return 5 * F.normalize(self.head(self.body(x)), dim=1)


def test_a_head_that_is_not_linear_has_no_exact_hessian():
    network = Network(Cosine().eval(), head="head")
    with seeded(0), pytest.raises(BadArgument, match=r"not a linear function of what the head 'head' reads .* solve by cg or lissa"):
        exact(network, F.cross_entropy, Samples(torch.randn(8, 5), torch.arange(8) % 3), damping=0.1, phase="hessian", batch=8)


def test_a_head_that_is_too_wide_is_refused_before_memory_is_taken():
    network = Network(nn.Sequential(nn.Linear(900, 10)).eval())
    with seeded(0), pytest.raises(BadArgument, match="has 9,010 weights, and its Hessian is held whole up to 8,192"):
        exact(network, F.cross_entropy, Samples(torch.randn(8, 900), torch.arange(8) % 10), damping=0.1, phase="hessian", batch=8)


def test_a_head_of_flat_curvature_needs_damping():
    network = Network(nn.Sequential(nn.Linear(3, 2)).eval())
    with seeded(0), pytest.raises(Diverged, match="has no inverse; raise the damping"):
        exact(network, F.cross_entropy, Samples(torch.ones(4, 3), torch.arange(4) % 2), damping=-0.1, phase="hessian", batch=4)


def test_where_nothing_curves_the_products_need_damping():
    """A softmax that is sure of a wrong class has a slope, and in floats no curvature."""
    module = nn.Linear(2, 2).eval()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1e4, 0.0], [0.0, 0.0]]))
        module.bias.zero_()
    samples, v = Samples(torch.ones(4, 2), torch.ones(4, dtype=torch.long)), [torch.ones(2, 2), torch.ones(2)]
    with seeded(0):
        with pytest.raises(Diverged, match="nothing curves; raise the damping"):
            solve(Network(module), F.cross_entropy, samples, v, damping=0.0, steps=3, phase="solve", batch=4)
        found, _ = solve(Network(module), F.cross_entropy, samples, v, damping=0.5, steps=3, phase="solve", batch=4)
    assert all(torch.equal(w, 2 * u) for w, u in zip(found, v, strict=True))
