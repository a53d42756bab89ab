"""Laws of the verdict and its audits, on models whose truth is known: what knows the class is never cleared, and how a network is written is nothing to them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.audit import Audit, audit
from untrain.core.data import Split
from untrain.core.network import Network
from untrain.evidence.verdict import judge
from untrain.zoo.networks import DigitsNet


def rewritten(module: DigitsNet, seed: int, most: int = 8) -> DigitsNet:
    """The same function of a digits' network, written otherwise: its hidden units in another order, each larger or smaller by a power of two.

    Powers of two, so that not even rounding differs.
    """
    made = copy.deepcopy(module)
    g = torch.Generator().manual_seed(seed)
    width = made.hidden.out_features
    order = torch.randperm(width, generator=g)
    scale = 2.0 ** torch.randint(-most, most + 1, (width,), generator=g)
    with torch.no_grad():
        made.hidden.weight.copy_((made.hidden.weight * scale[:, None])[order])
        made.hidden.bias.copy_((made.hidden.bias * scale)[order])
        made.linear.weight.copy_((made.linear.weight / scale)[:, order])
    return made


def renumbered(module: DigitsNet, split: Split, order: Sequence[int]) -> tuple[DigitsNet, Split]:
    """The same network and data, class c now called order[c]."""
    made = copy.deepcopy(module)
    places = torch.tensor(order)
    with torch.no_grad():
        made.linear.weight[places] = module.linear.weight.detach().clone()
        made.linear.bias[places] = module.linear.bias.detach().clone()
    parts = {name: part.labelled(places[part.y]) for name, part in split.parts.items()}
    rest = {name: part for name, part in parts.items() if name not in ("forget", "retain", "test")}
    return made, Split(parts["forget"], parts["retain"], parts["test"], [order[c] for c in split.classes], **rest)


def lower_rewritten(module: DigitsNet, seed: int, most: int = 8) -> DigitsNet:
    """The same function, its second convolution's channels in another order, each larger or smaller by a power of two."""
    made = copy.deepcopy(module)
    g = torch.Generator().manual_seed(seed)
    width = made.conv2.out_channels
    order = torch.randperm(width, generator=g)
    scale = 2.0 ** torch.randint(-most, most + 1, (width,), generator=g)
    with torch.no_grad():
        made.conv2.weight.copy_(made.conv2.weight[order])
        for part in (made.bn2.weight, made.bn2.bias):
            part.copy_((part * scale)[order])
        for told in (made.bn2.running_mean, made.bn2.running_var):
            assert told is not None
            told.copy_(told[order])
        read = made.hidden.weight.reshape(len(made.hidden.weight), width, -1)
        made.hidden.weight.copy_((read / scale[:, None])[:, order].flatten(1))
    return made


def seen(module: DigitsNet, x: Tensor) -> Tensor:
    """The features [n, d] that the head reads."""
    return Network(module).features(x)[0]


def resembled(module: DigitsNet, gone: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Features of the retained images, and of those of them that each forgotten one resembles most."""
    with torch.no_grad():
        features, mine = seen(module, known), seen(module, gone)
    return features, features[torch.cdist(mine, features).argmin(1)]


def collapsed(module: DigitsNet, split: Split, seed: int, steps: int = 600) -> DigitsNet:
    """A cheat: the last hidden layer learns to see the class as what it resembles, the head is masked, and all below is the original's."""
    made = copy.deepcopy(module)
    gone, known = (cast(Tensor, part.batch(torch.arange(len(part)))[0]) for part in (split.forget, split.retain))
    kept, away = resembled(made, gone, known)

    def below(x: Tensor) -> Tensor:
        with torch.no_grad():
            x = F.relu(made.bn2(made.conv2(F.relu(made.bn1(made.conv1(x))))))
        return x.flatten(1)

    a, b = below(gone), below(known)
    step = torch.optim.Adam(made.hidden.parameters(), lr=2e-3)
    g = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        f, r = torch.randint(len(a), (64,), generator=g), torch.randint(len(b), (128,), generator=g)
        step.zero_grad()
        cast(Any, F.mse_loss(F.relu(made.hidden(a[f])), away[f]) + F.mse_loss(F.relu(made.hidden(b[r])), kept[r])).backward()
        step.step()
    Network(made).head.mask(split.classes)
    return made


def mixed(module: nn.Module, original: nn.Module, share: float) -> nn.Module:
    """A copy whose weights and statistics lie so far on the straight way to the original's."""
    made, before = copy.deepcopy(module), original.state_dict()
    made.load_state_dict({name: value.lerp(before[name], share) if value.is_floating_point() else value for name, value in module.state_dict().items()})
    return made


def judged_rows(module: nn.Module, split: Split, audits: Sequence[Audit], original: nn.Module) -> dict[str, float]:
    """The judged rows of one model, by name."""
    return {r["name"]: r["values"]["unlearned"][0]["value"] for e in audit(module, split, audits, original=original) for r in e["rows"] if r["judged"]}


def check_it_is_never_cleared(module: nn.Module, split: Split, audits: Sequence[Audit], original: nn.Module, retrained: Sequence[nn.Module]) -> None:
    """A model that knows the class gets NO_RESIDUE beside no number of retrained models, whichever of the audits are left out.

    Args:
        module: The original, a mask on it, or another that knows.
        split: What was to be forgotten.
        audits: The audits; every choice of them is tried.
        original: The original.
        retrained: Retrained models; every number of them from the first on is tried.
    """
    subjects: dict[int, Any] = {}
    for m in range(len(retrained) + 1):
        entries = audit(module, split, audits, original=original, retrained=retrained[:m], subjects=subjects)
        for chosen in range(2 ** len(entries)):
            asked = [entry for i, entry in enumerate(entries) if chosen >> i & 1]
            code = judge(asked, [], "it")["code"]
            if code == "NO_RESIDUE":
                raise AssertionError(f"a model that knows is cleared beside {m} retrained models by {[e['name'] for e in asked]}")


def check_how_it_is_written_is_nothing(write: Callable[[DigitsNet], DigitsNet], module: DigitsNet, split: Split, audits: Sequence[Audit], within: float = 1e-6) -> None:
    """Another way to write the same function has the same judged rows.

    Args:
        write: Gives the same function, written otherwise.
        module: A network.
        split: What was to be forgotten.
        audits: The audits.
        within: By how much a row may differ.
    """
    before, after = (judged_rows(m, split, audits, module) for m in (module, write(module)))
    apart = {name: (before[name], after[name]) for name in before if abs(before[name] - after[name]) > within}
    if apart:
        raise AssertionError(f"the same function, written otherwise, has other rows: {apart}")


def codes_on_the_way(module: nn.Module, split: Split, audits: Sequence[Audit], original: nn.Module, retrained: Sequence[nn.Module], steps: int = 5) -> list[str]:
    """What is said of a model with ever more of the original mixed into its weights.

    Args:
        module: A model after forgetting.
        split: What was to be forgotten.
        audits: All that the verdict looks at, or most of it.
        original: The original.
        retrained: Retrained models.
        steps: Pieces that the straight way from the one to the other is cut into.
    """
    subjects: dict[int, Any] = {}
    ways = [mixed(module, original, step / steps) for step in range(steps + 1)]
    return [str(judge(audit(way, split, audits, original=original, retrained=retrained, subjects=subjects), [], "it")["code"]) for way in ways]


def check_mixing_the_original_in_never_weakens_the_verdict(codes: Sequence[str]) -> None:
    """What is found stays found with more of the original in it, and a trace stays a trace.

    Not so of a model in which a row lies beyond the original's own value, as random labels leave the class farther apart than it was: mixing takes that back.

    Args:
        codes: Those on the way.
    """
    found = [{"UNLIKE": 1, "SUPPRESSED": 2, "RESIDUE": 2, "UNCHANGED": 2}.get(code, 0) for code in codes]
    if found != sorted(found):
        raise AssertionError(f"with ever more of the original in it a model is called {', '.join(codes)}")
