"""Laws of `SVD`: what it takes out of a layer, and which pair of alphas it keeps."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.nets import with_tied_kernels
from untrain.checks.running import LawBroken, left_by, raw
from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.network import Network


def check_orthogonal_parts_are_parted(method: Any, case: Case | None = None) -> None:
    """Where what the forgotten excite is orthogonal to what the retained excite, retained answers stay and the forgotten ones become the bias."""
    law = check_orthogonal_parts_are_parted
    x = 0.1 + torch.rand(60, 8, generator=torch.Generator().manual_seed(0))
    x[:40, 4:], x[40:, :4] = 0, 0
    kept, gone = Samples(x[:40], torch.arange(40) % 2), Samples(x[40:], torch.full((20,), 2))
    module = nn.Linear(8, 3)
    before = copy.deepcopy(module)
    with seeded(0, network=Network(module)) as run:
        assert run.network is not None
        replace(method, alpha_r=1e9, alpha_f=1e9)(run.network, forget=gone, retain=kept)
    with torch.no_grad():
        moved, left = float((module(x[:40]) - before(x[:40])).abs().max()), float((module(x[40:]) - before.bias).abs().max())
    if not torch.equal(module.bias, before.bias) or moved > 1e-3:
        raise LawBroken(law, method, f"moves answers to retained samples by {moved:.2g}, though the forgotten excite other directions")
    if left > 1e-3:
        raise LawBroken(law, method, f"leaves {left:.2g} in answers to forgotten samples, though no retained one excites their directions")


def check_the_weights_are_those_of_a_plain_computation(method: Any, case: Case | None = None) -> None:
    """Each layer's weight is W P^T, P from singular vectors of its inputs in evaluation mode, to 1e-3 of its norm; nothing else moves."""
    law, case = check_the_weights_are_those_of_a_plain_computation, case or Case.fresh()
    method = replace(method, alpha_r=method.alpha_r or 30.0, alpha_f=method.alpha_f or 3.0)
    left = left_by(law, method, case).state_dict()
    module = copy.deepcopy(case.model).double().eval()
    wanted = {name: value.clone() for name, value in module.state_dict().items()}
    gone, kept = (_read(module, part.at_most(method.samples)) for part in (case.prepared.forget, case.prepared.retain))
    for name in gone:
        P = _left(method, gone[name], kept[name])
        wanted[f"{name}.weight"] = (wanted[f"{name}.weight"].flatten(1) @ P.T).view_as(wanted[f"{name}.weight"])
    for name, value in wanted.items():
        apart = float((left[name].double() - value.double()).norm())
        if apart > 1e-3 * float(value.double().norm()) + 1e-12:
            raise LawBroken(law, method, f"leaves {name} {apart:.1e} off what a plain computation gives, at a norm of {float(value.double().norm()):.1e}")


def check_one_weight_in_two_layers_loses_what_both_see(method: Any, case: Case | None = None) -> None:
    """Of two layers with one weight it is W P^T, P from singular vectors of the inputs of both together."""
    law, case = check_one_weight_in_two_layers_loses_what_both_see, with_tied_kernels(case or Case.fresh())
    method = replace(method, alpha_r=method.alpha_r or 30.0, alpha_f=method.alpha_f or 3.0)
    module = copy.deepcopy(case.model).double().eval()
    gone, kept = (torch.cat([_read(module, part.at_most(method.samples))[name] for name in ("one", "two")]) for part in (case.prepared.forget, case.prepared.retain))
    due = module.state_dict()["one.weight"].flatten(1) @ _left(method, gone, kept).T
    left = left_by(law, method, case).state_dict()["two.weight"].double().flatten(1)
    if float((left - due).norm()) > 1e-3 * float(due.norm()):
        raise LawBroken(
            law, method, f"leaves one.weight, which is two.weight too, {float((left - due).norm()):.1e} off what a plain computation gives, at a norm of {float(due.norm()):.1e}"
        )


def check_each_group_of_a_convolution_loses_what_its_own_channels_see(method: Any, case: Case | None = None) -> None:
    """Of a convolution in two groups each half of the weight is W P^T, P from singular vectors of the patches of its own channels."""
    law, draw = check_each_group_of_a_convolution_loses_what_its_own_channels_see, torch.Generator().manual_seed(0)
    method = replace(method, alpha_r=method.alpha_r or 30.0, alpha_f=method.alpha_f or 3.0)
    gone, kept = (torch.randn(9, 4, 5, 5, generator=draw) * torch.tensor(sizes).view(4, 1, 1) for sizes in ((1.0, 3.0, 0.2, 0.1), (1.0, 0.1, 0.1, 2.0)))
    layer = nn.Conv2d(4, 6, 3, groups=2, padding=1)
    before = torch.split(layer.weight.detach().double().flatten(1), 3)
    with seeded(0, network=Network(nn.Sequential(layer, nn.Flatten(), nn.Linear(150, 3)))) as run:
        assert run.network is not None
        method(run.network, forget=Samples(gone, torch.full((9,), 2)), retain=Samples(kept, torch.arange(9) % 2))
    for half, weight in enumerate(before):
        rows = [F.unfold(x[:, 2 * half : 2 * half + 2].double(), 3, padding=1).mT.flatten(0, 1) for x in (gone, kept)]
        due = weight @ _left(method, *rows).T
        off = float((layer.weight.detach()[3 * half : 3 * half + 3].double().flatten(1) - due).norm())
        if off > 1e-3 * float(due.norm()):
            raise LawBroken(law, method, f"leaves half {half} of a grouped convolution {off:.1e} off what a plain computation gives, at a norm of {float(due.norm()):.1e}")


@torch.no_grad()
def _left(method: Any, gone: Tensor, kept: Tensor) -> Tensor:
    """P, of what a layer reads of the forgotten and of the retained."""
    M = list[Tensor]()
    for rows, alpha in ((gone, method.alpha_f), (kept, method.alpha_r)):
        _, S, Vh = torch.linalg.svd(rows, full_matrices=False)
        share = S**2 / (S**2).sum()
        M.append(Vh.T @ torch.diag(alpha * share / ((alpha - 1) * share + 1)) @ Vh)
    P: Tensor = torch.eye(len(M[0]), dtype=torch.double) - (M[0] - M[0] @ M[1])
    return P


@torch.no_grad()
def _read(module: nn.Module, samples: Samples) -> dict[str, Tensor]:
    """What each layer's weight is multiplied with [n, d]."""
    seen: dict[str, Tensor] = {}
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    handles = [layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]})) for name, layer in layers.items()]
    x, _ = samples.batch(torch.arange(len(samples)))
    assert isinstance(x, Tensor)
    module(x.double())
    for handle in handles:
        handle.remove()
    out = {}
    for name, layer in layers.items():
        a = seen[name]
        if isinstance(layer, nn.Conv2d):
            assert not isinstance(layer.padding, str)
            (down, right), (high, wide), (tall, broad) = layer.stride, layer.kernel_size, layer.padding
            windows = F.pad(a, (broad, broad, tall, tall)).unfold(2, high, down).unfold(3, wide, right)
            a = windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
        out[name] = a
    return out


def check_no_pair_that_it_tries_scores_higher(method: Any, case: Case | None = None) -> None:
    """Where it looks for alpha_f, what it leaves is what the pair leaves whose (accuracy on the retained) x (1 - accuracy on the forgotten) is highest."""
    law, case = check_no_pair_that_it_tries_scores_higher, case or Case.fresh()
    if method.alpha_f:
        return
    method = replace(method, alpha_r=method.alpha_r or 30.0)
    scores = {}
    for alpha_f in (1.0, 3.0, 10.0, 30.0, 100.0):
        module = left_by(law, replace(method, alpha_f=alpha_f), case).eval()
        scores[_bytes(module)] = _named(module, case.prepared.retain.at_most(method.samples)) * (1 - _named(module, case.prepared.forget.at_most(method.samples)))
    own = _bytes(left_by(law, method, case))
    if own not in scores:
        raise LawBroken(law, method, "leaves what no pair of the published grid leaves")
    if scores[own] < max(scores.values()):
        raise LawBroken(law, method, f"keeps a pair that scores {scores[own]:.3f}, where another scores {max(scores.values()):.3f}")


def check_what_is_highest_is_the_product(method: Any, case: Case | None = None) -> None:
    """Told accuracies by which another pair has the highest sum, it leaves what the pair with the highest product leaves."""
    law, case = check_what_is_highest_is_the_product, case or Case.fresh()
    method = replace(method, alpha_r=30.0)
    # Of the forgotten and of the retained, in hundredths, for each alpha_f.
    told = iter([n for pair in ((10, 20), (0, 58), (30, 85), (100, 100), (60, 90)) for n in pair])

    def said(model: Network, part: Samples) -> tuple[Tensor, Tensor, Tensor]:
        return torch.eye(2)[(torch.arange(100) >= next(told)).long()], torch.zeros(100), torch.empty(0)

    with mock.patch("untrain.methods.svd.predict", said):
        own = _bytes(left_by(law, replace(method, alpha_f=0.0), case))
    if own != _bytes(left_by(law, replace(method, alpha_f=10.0), case)):
        raise LawBroken(law, method, "does not keep the pair whose (accuracy on the retained) x (1 - accuracy on the forgotten) is highest")


def _bytes(module: nn.Module) -> bytes:
    return b"".join(raw(value) or b"" for value in module.state_dict().values())


@torch.no_grad()
def _named(module: nn.Module, samples: Samples) -> float:
    x, y = samples.batch(torch.arange(len(samples)))
    return float((module(x).argmax(1) == y).double().mean())
