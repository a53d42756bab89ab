"""Laws of Match: whose answers it comes to, when it ends, and what it refuses."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from untrain.checks.case import GONE, Case
from untrain.checks.plain import Step as Step
from untrain.checks.plain import cross_entropy, follow, hold, stepper_of, steps_of
from untrain.checks.running import LawBroken, left_by, several_batches
from untrain.core.data import Samples, Split
from untrain.core.engine import seeded
from untrain.core.errors import BadData
from untrain.core.network import Network

DRAWS = 50


def check_forgotten_and_unseen_come_nearer_than_two_halves_of_the_unseen(method: Any, case: Case | None = None) -> None:
    """Where it ends by its test, the mean answer on the forgotten lies nearer to the original's on the unseen than those on halves of these mostly do to each other."""
    law, case = check_forgotten_and_unseen_come_nearer_than_two_halves_of_the_unseen, case or Case.fresh()
    left = left_by(law, replace(method, level=0.5, epochs=40, target="any", distance="energy"), case)
    unseen = case.prepared.parts["unseen"]
    q = _said(case.model, unseen[~torch.isin(unseen.y, torch.tensor(GONE))])
    found, g = _bits(_said(left, case.prepared.forget), q), torch.Generator().manual_seed(0)
    halves = [_bits(*(q[part] for part in torch.randperm(len(q), generator=g).chunk(2))) for _ in range(DRAWS)]
    middle = float(torch.tensor(halves).median())
    if not found < middle:
        raise LawBroken(law, method, f"ends with the forgotten {found:.4f} bits from the unseen, where half of the unseen mostly lies {middle:.4f} bits from the other")


def check_it_ends_where_its_test_tells_nothing_apart(method: Any, case: Case | None = None) -> None:
    """Where the forgotten are answered as the unseen are, it takes no step; at a level of 1 it takes all of them."""
    law, case = check_it_ends_where_its_test_tells_nothing_apart, case or Case.fresh()
    few = replace(method, target="class", distance="energy", epochs=2)
    due = 2 * len(case.split.retain.at_most(round(few.share * len(case.split.retain))).batches(few.batch))
    split = case.prepared
    # Of a model that never saw them what was not trained on is answered as what is unseen: both are drawn alike.
    alike = {"forget": case.spare[torch.isin(case.spare.y, torch.tensor((1, 3, 4)))].prepared(split.retain.sources[0].prepare)}
    for level, wanted in ((0.02, 0), (1.0, due)):
        _, steps, _ = steps_of(replace(few, level=level), case, module=case.model, streams=2, **alike)
        if len(steps) != wanted:
            raise LawBroken(law, method, f"takes {len(steps)} steps at a level of {level:g}, and not {wanted}, on samples that no model saw")


def check_each_step_is_that_of_a_plain_loop(method: Any, case: Case | None = None) -> None:
    """An epoch is a plain loop: retained samples in training mode, or with BatchNorm held, forgotten ones in evaluation mode towards what the original said, to 1e-5."""
    law, case = check_each_step_is_that_of_a_plain_loop, case or Case.fresh()
    # A weight of 1 would hide what it stands at.
    method = replace(method, mu=0.7)
    forget, unseen = case.prepared.forget, case.prepared.parts["unseen"]
    for distance, target, held in (("mean", "class", False), ("each", "any", False), ("energy", "nearest", False), ("energy", "class", True), ("discriminator", "class", False)):
        module = copy.deepcopy(case.model).double()
        asked = replace(several_batches(method), epochs=1, level=1.0, augment=False, distance=distance, target=target, held=held)
        left, steps, _ = steps_of(asked, case, module=module, streams=2)
        if not steps:
            raise LawBroken(law, method, f"takes no step by the distance {distance}, and ends at once on samples that were learned")
        stays = ~torch.isin(unseen.y, torch.tensor(GONE))
        due = _said(module, unseen[stays])
        nearest = _features(module, forget)[:, None].sub(_features(module, unseen[stays])[None]).square().sum(2).argmin(1)
        # A class of which nothing is retained has no unseen samples of its own.
        told = {0: due, **({label: due if target == "class" else due[nearest[forget.y == label]] for label in GONE} if target != "any" else {})}

        def loss(student: nn.Module, step: Step, distance: str = distance, told: dict[int, Tensor] = told, held: bool = held) -> Tensor:
            (x, kinds), total = step.others[0], torch.zeros((), dtype=torch.float64)
            # There is no layer here but BatchNorm that evaluation mode changes.
            known = cross_entropy(student.train(not held), step.x, step.y)
            said = torch.softmax(student.eval()(x), 1)
            for kind in torch.unique(kinds).tolist():
                p, q = said[kinds == kind], told[kind]
                total = total + len(p) / len(said) * _distance(distance, p, q)
            both: Tensor = method.mu * known + total
            return both

        student = module.train()
        follow(steps, student, stepper_of(asked, list(student.parameters())), loss)
        hold(law, method, left, student)


def check_what_it_comes_to_is_the_originals_and_carries_no_gradient(method: Any, case: Case | None = None) -> None:
    """The answers that the forgotten are held to want no gradient, and unseen samples pass through the network before the first step and not again."""
    law, case = check_what_it_comes_to_is_the_originals_and_carries_no_gradient, case or Case.fresh()
    known = {x.numpy().tobytes() for x in _x(case.prepared.parts["unseen"])}
    module, shown, steps = copy.deepcopy(case.model), list[tuple[int, bool]](), [0]
    real = torch.autograd.grad

    def counted(*args: Any, **how: Any) -> Any:
        steps[0] += 1
        return real(*args, **how)

    def look(_: nn.Module, args: tuple[Any, ...]) -> None:
        if any(x.numpy().tobytes() in known for x in args[0].detach()):
            shown.append((steps[0], torch.is_grad_enabled()))

    module.register_forward_pre_hook(look)
    with mock.patch.object(torch.autograd, "grad", counted):
        steps_of(replace(method, epochs=2, level=1.0), case, module=module, streams=2)
    if not shown or any(step or gradient for step, gradient in shown):
        what = f"shows a network unseen samples {'behind its first step' if any(step for step, _ in shown) else 'with gradients'}" if shown else "shows a network no unseen sample"
        raise LawBroken(law, method, what)


def check_samples_are_held_to_the_answers_of_their_target(method: Any, case: Case | None = None) -> None:
    """Of samples whose classes stay: `class` holds them to unseen ones of their label, `others` to those of other labels, `any` to all, `nearest` to their neighbours."""
    law, case = check_samples_are_held_to_the_answers_of_their_target, case or Case.fresh()
    retain, unseen = case.prepared.retain, case.prepared.parts["unseen"][torch.isin(case.prepared.parts["unseen"].y, torch.tensor((1, 3, 4)))]
    some, y = retain.first(3), unseen.y
    said, near = _said(case.model, unseen), _features(case.model, some)[:, None].sub(_features(case.model, unseen)[None]).norm(dim=2).argmin(1)
    for target in ("class", "others", "any", "nearest"):
        with seeded(0):
            told = replace(method, target=target).targets(Network(copy.deepcopy(case.model)), some, retain, unseen)
        whose: dict[str, Any] = {"class": lambda c: y == c, "others": lambda c: y != c, "any": lambda _: y >= 0, "nearest": lambda c: near[some.y == c]}
        due = {label: said[whose[target](label)] for label in ((0,) if target == "any" else (1, 3, 4))}
        if told.keys() != due.keys() or any(told[c].shape != q.shape or float((told[c].double() - q).abs().max()) > 1e-5 for c, q in due.items()):
            raise LawBroken(law, method, f"holds samples to other answers than those that {target!r} says")


def check_unseen_samples_that_were_seen_are_refused(method: Any, case: Case | None = None) -> None:
    """One sample of the forget or the retain set among the unseen, and it refuses, naming the part."""
    law, case = check_unseen_samples_that_were_seen_are_refused, case or Case.fresh()
    for part in ("forget", "retain"):
        split = case.split
        mixed = Split(**{**split.parts, "unseen": split.parts["unseen"] + split.parts[part][[7]]}, classes=split.classes)
        try:
            left_by(law, method, case, split=mixed)
        except BadData as error:
            if f"1 of the {len(split.parts[part])} samples of {part} are in the unseen part" in str(error):
                continue
            raise LawBroken(law, method, f"says {error}, and not that a sample of {part} is among the unseen") from error
        raise LawBroken(law, method, f"takes a sample of {part} for one that no model saw")


def _distance(distance: str, p: Tensor, q: Tensor) -> Tensor:
    mean = q.mean(0)
    if distance == "mean":
        return (mean * (mean / p.mean(0)).log()).sum()
    if distance == "each":
        return torch.stack([(mean * (mean / one).log()).sum() for one in p]).mean()
    if distance == "discriminator":
        return _told_apart(p, q)
    return _energies(p, q)


def _told_apart(p: Tensor, q: Tensor) -> Tensor:
    """What scikit-learn's logistic regression does not leave of log 2, with its penalty, at the answers p [n, C] and q [k, C]."""
    from sklearn.linear_model import LogisticRegression

    a, b = (torch.cat([x, x**2, x.new_ones(len(x), 1)], 1) for x in (p, q))
    weights = np.concatenate([np.full(len(x), 0.5 / len(x)) for x in (p, q)])
    # Its C is the weight of the loss beside |w|^2 / 2.
    fit = LogisticRegression(C=100.0, fit_intercept=False, solver="newton-cholesky", tol=1e-12)
    fit.fit(torch.cat([a, b]).detach().numpy(), [0] * len(p) + [1] * len(q), sample_weight=weights)
    w = torch.from_numpy(fit.coef_[0])
    return torch.log(torch.tensor(2.0)) + (torch.sigmoid(-(a @ w)).log().mean() + torch.sigmoid(b @ w).log().mean()) / 2 - 0.005 * (w**2).sum()


def _energies(p: Tensor, q: Tensor) -> Tensor:
    across = torch.stack([(a - b).norm() for a in p for b in q]).mean()
    within = [torch.stack([(a - b).norm() for i, a in enumerate(s) for b in s[:i]]).mean() if len(s) > 1 else s.new_zeros(()) for s in (p, q)]
    return 2 * across - within[0] - within[1]


def _bits(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon divergence of the mean answers, in bits."""
    one, two = p.mean(0), q.mean(0)
    middle = (one + two) / 2
    return float((one * (one / middle).log2() + two * (two / middle).log2()).sum() / 2)


def _x(samples: Samples) -> Tensor:
    x, _ = samples.batch(torch.arange(len(samples)))
    assert isinstance(x, Tensor)
    return x


def _said(module: nn.Module, samples: Samples) -> Tensor:
    with torch.no_grad():
        return torch.softmax(copy.deepcopy(module).double().eval()(_x(samples).double()), 1)


def _features(module: nn.Module, samples: Samples) -> Tensor:
    with torch.no_grad():
        return Network(copy.deepcopy(module).double().eval()).features(_x(samples).double())[0]
