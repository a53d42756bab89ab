"""Gradients, products with the Hessian, and layers' inputs, beside plain computations of the same."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from test_train import Killed, blobs, convnet, kill_at, mlp
from untrain.core import resume
from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.errors import BadArgument, Diverged
from untrain.core.gather import gather, gradients, hvp
from untrain.core.network import Network
from untrain.core.rehearse import rehearsing


@pytest.fixture(autouse=True)
def saved_at_every_look(monkeypatch):
    monkeypatch.setattr(resume, "WORTH", 0.0)


def evaluated(module):
    network = Network(module)
    network.eval()
    return network


def loss_of(network):
    return lambda x, y: F.cross_entropy(network(x), y)


def images(n=23):
    return Samples(torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3)


def by_hand(module, samples, power):
    """Each sample's gradient, one after the other."""
    sums = [torch.zeros_like(p) for p in module.parameters()]
    for i in range(len(samples)):
        x, y = samples.batch(torch.tensor([i]))
        for total, g in zip(sums, torch.autograd.grad(F.cross_entropy(module(x), y), list(module.parameters())), strict=True):
            total += g.pow(power)
    return [s / len(samples) for s in sums]


@pytest.mark.parametrize(("build", "samples"), [(mlp, blobs(23)), (convnet, images())])
@pytest.mark.parametrize("power", [1, 2])
def test_each_samples_gradient_is_that_of_a_loop(build, samples, power):
    module = build().eval()
    with seeded(0) as run:
        network = evaluated(module)
        found, done = gradients(network, loss_of(network), samples, phase="importance", batch=10, each=True, power=power)
        assert run.passes == done.passes == 23 * 3
    for ours, naive in zip(found, by_hand(module, samples, power), strict=True):
        torch.testing.assert_close(ours, naive)
    assert (done.name, done.steps, done.losses) == ("importance", 0, [])


class Awkward(nn.Module):
    """A network that cannot run on all samples at once under vmap: it looks at a value."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        return self.linear(x if float(x.sum()) < 1e9 else -x)


def test_a_network_that_cannot_take_samples_at_once_takes_them_one_by_one():
    module = Awkward()
    with seeded(0):
        network = evaluated(module)
        found, done = gradients(network, loss_of(network), blobs(9), phase="p", batch=4, each=True, power=2)
    for ours, naive in zip(found, by_hand(module, blobs(9), 2), strict=True):
        torch.testing.assert_close(ours, naive)
    assert done.passes == 9 * 3


def test_by_batch_the_power_is_of_the_batchs_mean():
    module, samples = mlp().eval(), blobs(23)
    with seeded(0):
        network = evaluated(module)
        found, _ = gradients(network, loss_of(network), samples, phase="p", batch=10, power=2)
    naive = [torch.zeros_like(p) for p in module.parameters()]
    for a, b in ((0, 10), (10, 20), (20, 23)):
        x, y = samples.batch(torch.arange(a, b))
        for total, g in zip(naive, torch.autograd.grad(F.cross_entropy(module(x), y), list(module.parameters())), strict=True):
            total += g.square() * (b - a) / 23
    for ours, theirs in zip(found, naive, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_in_batches_of_one_the_power_is_of_each_sample():
    """The last two were one batch, so that the square of their mean stood for two squares."""
    with seeded(0):
        network = evaluated(mlp())
        found, each = (gradients(network, loss_of(network), blobs(7), phase="p", power=2, **how)[0] for how in ({"batch": 1}, {"batch": 7, "each": True}))
    for ours, theirs in zip(found, each, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_are_those_of_what_may_move_and_leave_no_trace():
    module = mlp().eval()
    module[0].requires_grad_(False)
    before = copy.deepcopy(module.state_dict())
    with seeded(0):
        network = Network(module)
        found, _ = gradients(network, loss_of(network), blobs(20), phase="p", batch=7)
    assert [g.shape for g in found] == [p.shape for p in module.parameters() if p.requires_grad]
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_one_by_one_needs_evaluation_mode():
    module = mlp().train()
    network = Network(module)
    with seeded(0), pytest.raises(BadArgument, match="evaluation mode"):
        gradients(network, loss_of(network), blobs(4), phase="p", batch=2, each=True)


def test_a_gradient_that_is_not_finite_ends_the_run():
    network = evaluated(mlp())
    with seeded(0), pytest.raises(Diverged, match="p: a gradient is NaN"):
        gradients(network, lambda x, y: F.cross_entropy(network(x), y) * float("inf"), blobs(4), phase="p", batch=2)


def test_the_hessians_product_is_that_of_the_whole_matrix():
    module, samples = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double().eval(), blobs(17)
    samples = Samples(samples.batch(torch.arange(17))[0].double(), samples.y)
    x, y = samples.batch(torch.arange(17))
    names = [n for n, _ in module.named_parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in module.parameters()])

    def value(vector):
        parts = torch.split(vector, [p.numel() for p in module.parameters()])
        state = {n: part.view_as(p) for n, part, p in zip(names, parts, module.parameters(), strict=True)}
        return F.cross_entropy(torch.func.functional_call(module, state, (x,)), y)

    H = torch.autograd.functional.hessian(value, flat)
    v = torch.randn(len(flat), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with seeded(0) as run:
        network = Network(module)
        vector = [part.view_as(p) for part, p in zip(torch.split(v, [p.numel() for p in module.parameters()]), module.parameters(), strict=True)]
        found, done = hvp(network, loss_of(network), samples, vector, phase="p", batch=5)
        assert run.passes == done.passes == 7 * 17
    torch.testing.assert_close(torch.cat([f.reshape(-1) for f in found]), H @ v)


class Attending(nn.Module):
    """Fused attention over six places."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.three, self.head = nn.Linear(1, 12), nn.Linear(4, 3)

    def forward(self, x):
        q, k, v = self.three(x[:, :, None]).unsqueeze(1).chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(q, k, v).mean((1, 2)))


def test_the_hessians_product_of_fused_attention_is_a_difference_of_slopes():
    """It has no second derivative of its own."""
    module, samples = Attending().double().eval(), blobs(9)
    samples = Samples(samples.batch(torch.arange(9))[0].double(), samples.y)
    with seeded(0):
        network = Network(module)
        start, way = [w.detach().clone() for w in network.trainable()], [torch.randn(w.shape, generator=torch.Generator().manual_seed(1)).to(w) for w in network.trainable()]
        found, _ = hvp(network, loss_of(network), samples, way, phase="p", batch=4)
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                for weight, at, along in zip(network.trainable(), start, way, strict=True):
                    weight.copy_(at + step * along)
            ends.append(gradients(network, loss_of(network), samples, phase="p", batch=4)[0])
    for product, up, down in zip(found, *ends, strict=True):
        torch.testing.assert_close(product, (up - down) / 2e-5, atol=1e-7, rtol=1e-5)


def test_layers_are_shown_with_what_goes_in_and_out():
    module, samples = convnet().train(), images()
    before = {n: p.training for n, p in module.named_modules()}
    seen = {}
    with seeded(0) as run:
        network = Network(module)
        layers = network.layers((nn.Conv2d, nn.Linear))
        assert list(layers) == ["0", "4"]
        done = gather(network, samples, layers, lambda name, x, out: seen.setdefault(name, []).append((x, out)), phase="look", batch=10)
        assert run.passes == done.passes == 23
    module.eval()
    x, _ = samples.batch(torch.arange(23))
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([a for a, _ in seen["0"]]), x)
        torch.testing.assert_close(torch.cat([b for _, b in seen["4"]]), module(x))
    module.train()
    assert before == {n: p.training for n, p in module.named_modules()}
    assert not any(part._forward_hooks for part in module.modules())
    with seeded(0), pytest.raises(BadArgument, match="no layer 'x'"):
        gather(Network(module), samples, ["x"], print, phase="look")


def moments(store, progress=None):
    with seeded(0, store=store, **({"progress": progress} if progress else {})):
        network = Network(mlp())
        sums = {"0": torch.zeros(6, 6), "4": torch.zeros(16, 16)}

        def add(name, x, out):
            sums[name] += x.T @ x

        done = gather(network, blobs(90), list(sums), add, phase="moments", batch=2, into=sums)
        found, asked = gradients(evaluated(network.module), loss_of(network), blobs(90), phase="fisher", batch=2, power=2)
    return [*sums.values(), *found], (done.passes, asked.passes)


@pytest.mark.parametrize("kill", [("moments", 25), ("fisher", 3), ("fisher", 44)])
def test_a_killed_measure_goes_on_to_the_same_bits(kill, tmp_path):
    whole, counted = moments(None)
    with pytest.raises(Killed):
        moments(tmp_path, kill_at(*kill))
    seen = []
    again, theirs = moments(tmp_path, kill_at(None, None, seen))
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    assert counted == theirs
    assert seen[0][0] == kill[0]
    assert seen[0][1] == (kill[1] - 1) // 10 * 10 + 1


def test_a_rehearsal_of_measures_counts_what_they_would_take():
    def all_of_them():
        network = evaluated(mlp())
        gradients(network, loss_of(network), blobs(90), phase="a", batch=30, each=True, power=2)
        gradients(network, loss_of(network), blobs(90), phase="b", batch=30, power=2)
        hvp(network, loss_of(network), blobs(90), [torch.ones_like(p) for p in network.trainable()], phase="c", batch=30)
        gather(network, blobs(90), ["0"], lambda *_: None, phase="d", batch=30)

    with seeded(0) as run:
        all_of_them()
        assert run.passes == 90 * (3 + 3 + 7 + 1)
    with seeded(0), rehearsing() as rehearsed:
        all_of_them()
    assert {p.name: (p.steps, p.passes) for p in rehearsed.pieces} == {"a": (3, 270), "b": (3, 270), "c": (3, 630), "d": (3, 90)}


def test_a_network_runs_from_a_layers_output_on():
    module = convnet().eval()
    x, _ = images(8).batch(torch.arange(8))
    with torch.no_grad():
        inner = module[2](module[1](module[0](x)))
        torch.testing.assert_close(Network(module).at("2", x[:1])(inner), module(x))
    noise = torch.randn(5, 4, 4, 4, requires_grad=True)
    (g,) = torch.autograd.grad(Network(module).at("2", x)(noise).sum(), noise)
    assert g.abs().sum() > 0
    assert not any(part._forward_hooks for part in module.modules())
    with pytest.raises(BadArgument, match="no layer 'x'"):
        Network(module).at("x", x)
