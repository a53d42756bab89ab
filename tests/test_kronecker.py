"""EK-FAC beside explicit Kronecker products in numpy, and beside the Gauss-Newton matrix that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.utils import parametrizations

from untrain.checks.nets import Attention
from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.errors import Diverged
from untrain.core.fmd import OfPairs
from untrain.core.kronecker import ekfac
from untrain.core.network import Network


def found(module, loss, samples, *, damping=0.1, batch=50, **more):
    with seeded(0) as run:
        made, phase = ekfac(Network(module.eval()), loss, samples, damping=damping, phase="curve", batch=batch, **more)
    assert phase.passes == run.passes
    return made, phase


def flat(parts):
    return torch.cat([part.reshape(len(part), -1) for part in parts], 1).detach().numpy()


def drawn(module, seed=3):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(p.shape, generator=g, dtype=torch.float64) for p in module.parameters() if p.requires_grad]


def squares(answers, y):
    return (answers - F.one_hot(y, answers.shape[1])).square().sum(1).mean() / 2


def mlp(seed=0):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    return module, Samples(torch.randn(40, 6, dtype=torch.float64) * torch.tensor([3.0, 2, 1, 1, 0.5, 0.2]).double(), torch.arange(40) % 3)


def jacobian(module, x):
    """The slopes of the answers in each weight [n, C, ...], by name."""
    weights = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    return jacrev(lambda held: functional_call(module, held, (x,)))(weights)


def whole(module, samples, names=None):
    """The Gauss-Newton matrix of cross-entropy, from whole Jacobians and p's own covariance; a layer's weight and bias by rows, as [o, i + 1]."""
    x, _ = samples.batch(torch.arange(len(samples)))
    slopes = jacobian(module, x)
    layers = dict.fromkeys(name.rpartition(".")[0] for name in (names or slopes))
    J = torch.cat(
        [torch.cat([slopes[n].flatten(3) if slopes[n].ndim > 3 else slopes[n][..., None] for n in slopes if n.rpartition(".")[0] == layer], 3).flatten(2) for layer in layers], 2
    )
    p = F.softmax(module(x).detach(), 1)
    H = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return (torch.einsum("nca,ncd,ndb->ab", J, H, J) / len(x)).numpy()


def test_of_one_layer_under_squares_it_is_the_matrix_itself():
    """G is I (x) A exactly, whatever the model answers."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3)).double()
    x = torch.randn(30, 4, dtype=torch.float64)
    made, _ = found(module, squares, Samples(x, torch.arange(30) % 3))
    a = np.hstack([x.numpy(), np.ones((30, 1))])
    v = drawn(module)
    due = np.linalg.solve(np.kron(np.eye(3), a.T @ a / 30) + 0.1 * np.eye(15), flat(v).reshape(-1))
    np.testing.assert_allclose(flat(made(v)).reshape(-1), due)


def test_of_one_sample_under_the_softmax_it_is_the_matrix_itself():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3)).double()
    x = torch.randn(1, 4, dtype=torch.float64)
    made, _ = found(module, F.cross_entropy, Samples(x, torch.tensor([1])))
    p, a = F.softmax(module(x), 1).detach().numpy()[0], np.append(x.numpy()[0], 1)
    v = drawn(module)
    due = np.linalg.solve(np.kron(np.diag(p) - np.outer(p, p), np.outer(a, a)) + 0.1 * np.eye(15), flat(v).reshape(-1))
    np.testing.assert_allclose(flat(made(v)).reshape(-1), due)


@pytest.mark.parametrize("measured", [True, False])
def test_each_layers_part_is_that_of_the_explicit_products(measured):
    """A and S from what goes in and from the slopes in the bias, their eigenvectors by numpy, the eigenvalues those of the whole block in that basis."""
    module, samples = mlp()
    made, phase = found(module, F.cross_entropy, samples, batch=7, measured=measured)
    assert phase.passes == (3 + (2 if measured else 1) * 7) * 40
    x, _ = samples.batch(torch.arange(40))
    slopes, p, v = jacobian(module, x), F.softmax(module(x).detach(), 1), drawn(module)
    H, solved = torch.diag_embed(p) - p[:, :, None] * p[:, None, :], made(v)
    for at, place in enumerate((0, 2, 4)):
        a = np.hstack([module[:place](x).detach().numpy(), np.ones((40, 1))])
        J = slopes[f"{place}.bias"]
        A, S = a.T @ a / 40, (torch.einsum("nco,ncd,ndp->op", J, H, J) / 40).numpy()
        inner, outer = np.linalg.eigh(A), np.linalg.eigh(S)
        V = np.kron(outer[1], inner[1])
        values = np.diag(V.T @ whole(module, samples, [f"{place}.weight"]) @ V) if measured else np.kron(outer[0], inner[0])
        due = V @ np.diag(1 / (values + 0.1)) @ V.T @ flat(v[2 * at : 2 * at + 2]).reshape(-1)
        np.testing.assert_allclose(flat(solved[2 * at : 2 * at + 2]).reshape(-1), due, rtol=1e-7, atol=1e-10)


def sure(seed):
    """A network that is surer of some samples than of others."""
    module, samples = mlp(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(3)
    return module, samples


@pytest.mark.parametrize("seed", range(5))
def test_of_all_matrices_with_these_eigenvectors_it_is_the_nearest(seed):
    """So it is nearer than K-FAC, layer by layer."""
    module, samples = sure(seed)
    made = [found(module, F.cross_entropy, samples, measured=measured)[0].blocks for measured in (True, False)]
    for at, (block, plain) in enumerate(zip(*made, strict=True)):
        G, V = whole(module, samples, [f"{2 * at}.weight"]), np.kron(block.outward.numpy(), block.inward.numpy())
        near, far = (np.linalg.norm(G - V @ np.diag(b.curved.numpy().reshape(-1)) @ V.T) for b in (block, plain))
        assert near < far
        off = G - V @ np.diag(np.diag(V.T @ G @ V)) @ V.T
        assert near == pytest.approx(np.linalg.norm(off))


def test_it_comes_nearer_the_exact_solution_than_kfac():
    """On small networks, of which the whole matrix is solved by, damped by a tenth: in the mean over draws at every one of five seeds."""
    for seed in range(5):
        module, samples = sure(seed)
        G, off = whole(module, samples), {True: [], False: []}
        made = {measured: found(module, F.cross_entropy, samples, damping=0.1, measured=measured)[0] for measured in off}
        for draw in range(10):
            v = drawn(module, draw)
            start, *rows = (np.concatenate([flat(parts[i : i + 2]).reshape(-1) for i in (0, 2, 4)]) for parts in (v, made[True](v), made[False](v)))
            due = np.linalg.solve(G + 0.1 * np.eye(len(G)), start)
            for measured, row in zip(off, rows, strict=True):
                off[measured].append(np.linalg.norm(row - due) / np.linalg.norm(due))
        assert np.mean(off[True]) < 0.97 * np.mean(off[False])


class Tokens(nn.Module):
    """A layer that is asked at two places of each sample, and a head that is asked at one."""

    def __init__(self):
        super().__init__()
        self.each, self.head = nn.Linear(3, 4), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(F.relu_(self.each(x)).flatten(1))


def _convolution():
    return nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1, dilation=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(3 * 9, 4, bias=False))


@pytest.mark.parametrize(("build", "shape", "classes"), [(Tokens, (2, 3), 5), (_convolution, (2, 6, 5), 4)], ids=["two places", "nine places"])
def test_of_a_layer_asked_at_several_places_the_eigenvalues_are_the_whole_blocks_own(build, shape, classes):
    torch.manual_seed(0)
    module = build().double()
    samples = Samples(torch.randn(12, *shape, dtype=torch.float64), torch.arange(12) % classes)
    made, _ = found(module, F.cross_entropy, samples, batch=5)
    names = [name for name, _ in module.named_parameters()]
    for block in made.blocks:
        V = np.kron(block.outward.numpy(), block.inward.numpy())
        np.testing.assert_allclose(V.T @ V, np.eye(len(V)), atol=1e-10)
        G = whole(module, samples, [names[place] for place in block.places])
        np.testing.assert_allclose(block.curved.numpy().reshape(-1), np.diag(V.T @ G @ V), rtol=1e-7, atol=1e-12)


def test_of_a_layer_asked_at_several_places_kfac_sums_what_goes_in_and_takes_the_mean_of_the_slopes():
    """KFC (Grosse and Martens, 2016, arXiv:1602.01407), the slopes by torch's own Jacobian in what the layer answers."""
    torch.manual_seed(0)
    module, x = Tokens().double(), torch.randn(12, 2, 3, dtype=torch.float64)
    made, _ = found(module, F.cross_entropy, Samples(x, torch.arange(12) % 5), measured=False)
    J = vmap(jacrev(lambda z: module.head(F.relu(z).flatten())))((x @ module.each.weight.T + module.each.bias).detach())
    p = F.softmax(module(x), 1)
    S = torch.einsum("nctp,ncd,ndtq->pq", J, torch.diag_embed(p) - p[:, :, None] * p[:, None, :], J) / 12 / 2
    a = torch.cat([x, torch.ones(12, 2, 1)], 2).flatten(0, 1)
    due = np.kron(np.linalg.eigvalsh(S.detach().numpy()), np.linalg.eigvalsh((a.T @ a / 12).numpy()))
    np.testing.assert_allclose(made.blocks[0].curved.numpy().reshape(-1), due, rtol=1e-6, atol=1e-12)


def test_what_curves_downwards_is_left_out():
    module, samples = mlp()
    made, _ = found(module, lambda answers, y: -F.cross_entropy(answers, y), samples)
    v = drawn(module)
    for one, other in zip(made(v), v, strict=True):
        torch.testing.assert_close(one, other / 0.1)


def test_the_eigenvectors_of_a_convolution_are_those_of_its_patches():
    torch.manual_seed(0)
    module = _convolution().double()
    x = torch.randn(12, 2, 6, 5, dtype=torch.float64)
    made, _ = found(module, F.cross_entropy, Samples(x, torch.arange(12) % 4))
    wide = F.pad(x, (1, 1, 1, 1)).numpy()
    a = np.array([np.append(wide[n, :, i : i + 3, j : j + 3].reshape(-1), 1) for n in range(12) for i in range(0, 6, 2) for j in range(0, 5, 2)])
    turned = made.blocks[0].inward.numpy().T @ (a.T @ a) @ made.blocks[0].inward.numpy()
    assert np.abs(turned - np.diag(np.diag(turned))).max() < 1e-9 * np.abs(turned).max()


@pytest.mark.parametrize("pull", [0.0, 5.0])
def test_of_pairs_it_is_that_of_both_sides_and_of_what_lies_between(pull):
    """Two rows of answers to a label: the penalty curves across the sides, which no loss of single answers does."""
    torch.manual_seed(0)
    module, loss = nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3)).double(), OfPairs(pull)
    x, y = torch.randn(20, 2, 4, dtype=torch.float64), torch.arange(20) % 3
    made, _ = found(module, loss, Samples(x, y), batch=6)
    weight, bias = (p.detach() for p in module.parameters())

    def value(rows):
        return loss(x.flatten(0, 1) @ rows.view(3, 5)[:, :4].T + rows.view(3, 5)[:, 4], y)

    G = torch.autograd.functional.hessian(value, torch.cat([weight, bias[:, None]], 1).flatten()).numpy()
    (block,) = made.blocks
    V = np.kron(block.outward.numpy(), block.inward.numpy())
    np.testing.assert_allclose(block.curved.numpy().reshape(-1), np.diag(V.T @ G @ V), rtol=1e-7, atol=1e-12)


def test_what_is_frozen_is_left_out():
    module, samples = mlp()
    module[0].requires_grad_(False)
    module[2].weight.requires_grad_(False)
    module[4].bias.requires_grad_(False)
    made, _ = found(module, F.cross_entropy, samples)
    assert [block.places for block in made.blocks] == [(0,), (1,)]
    V = np.kron(made.blocks[0].outward.numpy(), made.blocks[0].inward.numpy())
    G = whole(module, samples, ["2.bias"])
    np.testing.assert_allclose(made.blocks[0].curved.numpy().reshape(-1), np.diag(V.T @ G @ V), rtol=1e-7, atol=1e-12)
    assert [part.shape for part in made(drawn(module))] == [(4,), (3, 4)]


class Twice(nn.Module):
    """A layer is run twice; or another shares its weight with a third; or a function reads it beside the layer."""

    def __init__(self, how):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        if how == "shared":
            self.two.weight = self.one.weight
        self.how = how

    def forward(self, x):
        x = torch.tanh(self.one(x))
        if self.how == "twice":
            return self.head(self.two(x) + self.one(x))
        return self.head(self.two(x) if self.how == "shared" else self.two(x) + F.linear(x, self.one.weight))


class PlacesFirst(nn.Module):
    """A layer that is handed places ahead of samples; beside it the same as it should be."""

    def __init__(self):
        super().__init__()
        self.turned, self.straight, self.head = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(torch.cat([self.turned(x.transpose(0, 1)).transpose(0, 1), self.straight(x)], 2).tanh().flatten(1))


class Alone(nn.Module):
    """A layer that reads no sample, a weight of no layer, and a table of words."""

    def __init__(self):
        super().__init__()
        self.words, self.query, self.asks, self.head = nn.Embedding(7, 4), nn.Parameter(torch.randn(1, 3)), nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head((self.words(x) * self.asks(self.query)[0]).sum(1).tanh())


class OneByOne(nn.Module):
    """Of several samples it cannot be asked at once by torch's own way."""

    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.norm(x) if float(x.abs().sum()) > 0 else x)


def _normed():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    module[1].running_mean += torch.randn(4)
    module[1].weight.data += torch.randn(4)
    return module


def _numbers(*shape):
    return torch.randn(20, *shape, dtype=torch.float64)


OTHERS = {
    "batch norm": (_normed, _numbers(4), ["1.weight", "1.bias"]),
    "groups": (lambda: nn.Sequential(nn.Unflatten(1, (4, 1, 1)), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten(), nn.Linear(4, 3)), _numbers(4), ["1.weight", "1.bias"]),
    "shared": (lambda: Twice("shared"), _numbers(4), ["one.weight", "one.bias", "two.bias"]),
    "twice": (lambda: Twice("twice"), _numbers(4), ["one.weight", "one.bias"]),
    "by a function": (lambda: Twice("function"), _numbers(4), ["one.weight", "one.bias"]),
    "places first": (PlacesFirst, _numbers(2, 3), ["turned.weight", "turned.bias"]),
    "no sample": (Alone, torch.randint(7, (20, 2)), ["query", "words.weight", "asks.weight", "asks.bias"]),
    "one by one": (OneByOne, _numbers(4), ["norm.weight", "norm.bias"]),
    "attention": (lambda: Attention(3), _numbers(1, 8, 8), [name for name, _ in Attention(3).named_parameters() if name.partition(".")[0] not in ("patches", "between", "head")]),
    "weight norm": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), parametrizations.weight_norm(nn.Linear(4, 3))),
        _numbers(4),
        ["2.bias", "2.parametrizations.weight.original0", "2.parametrizations.weight.original1"],
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_of_what_is_no_such_layers_own_the_diagonal_is_taken(name):
    """From whole Jacobians and p's own covariance."""
    torch.manual_seed(0)
    build, x, others = OTHERS[name]
    module = build().double().eval()
    made, phase = found(module, F.cross_entropy, Samples(x, torch.arange(20) % 3), batch=7)
    names = [name for name, _ in module.named_parameters()]
    assert sorted(names[place] for place in made.others) == sorted(others)
    assert sorted(names[place] for block in made.blocks for place in block.places) == sorted(set(names) - set(others))
    assert phase.passes == (3 + 3 * 7) * 20
    p = F.softmax(module(x).detach(), 1)
    H, v = torch.diag_embed(p) - p[:, :, None] * p[:, None, :], drawn(module)
    slopes = {key: slope.detach() for key, slope in of_each(module, x).items()}
    solved = made(v)
    for place in made.others:
        J = slopes[names[place]].flatten(2)
        due = v[place].flatten() / (torch.einsum("nca,ncd,nda->a", J, H, J) / 20 + 0.1)
        torch.testing.assert_close(solved[place].flatten(), due, rtol=1e-7, atol=1e-10)


def of_each(module, x):
    """The slopes of the answers in each weight [n, C, ...], one at a time by torch's plain gradient."""
    weights = dict(module.named_parameters())
    rows = [[torch.autograd.grad(module(x[i : i + 1])[0, c], list(weights.values())) for c in range(3)] for i in range(len(x))]
    return {name: torch.stack([torch.stack([row[at] for row in one]) for one in rows]) for at, name in enumerate(weights)}


def test_of_pairs_the_diagonal_is_that_of_both_sides():
    torch.manual_seed(0)
    module, loss = nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3), nn.LayerNorm(3)).double(), OfPairs(5.0)
    x, y = torch.randn(20, 2, 4, dtype=torch.float64), torch.arange(20) % 3
    made, _ = found(module, loss, Samples(x, y), batch=6)
    assert set(made.others) == {2, 3}
    inner = F.layer_norm(module[1](x.flatten(0, 1)), (3,)).detach()
    H = torch.autograd.functional.hessian(lambda w: loss(inner * w[:3] + w[3:], y), torch.cat([module[2].weight, module[2].bias]).detach())
    torch.testing.assert_close(torch.cat([made.others[2], made.others[3]]), H.diag(), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("build", [_normed, _convolution, lambda: Twice("shared")], ids=["batch norm", "convolution", "shared"])
def test_the_size_of_a_batch_is_nothing_to_it(build):
    torch.manual_seed(0)
    module = build().double().eval()
    x = torch.randn(12, 2, 6, 5, dtype=torch.float64) if build is _convolution else torch.randn(12, 4, dtype=torch.float64)
    v, samples = drawn(module), Samples(x, torch.arange(12) % 3)
    one, *rest = (found(module, F.cross_entropy, samples, batch=batch)[0](v) for batch in (1, 5, 12))
    for other in rest:
        for part, same in zip(one, other, strict=True):
            torch.testing.assert_close(part, same, rtol=1e-9, atol=1e-12)


def test_without_damping_what_does_not_curve_has_no_inverse():
    module, samples = mlp()
    with pytest.raises(Diverged, match="has no inverse; raise the damping"):
        found(module, F.cross_entropy, samples[:2], damping=0.0, measured=False)
