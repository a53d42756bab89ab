"""Laws of `DUCK`: whose centroid a sample is moved to, that a run is a plain loop, and when it ends."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.nets import OF_KINDS
from untrain.checks.plain import hold, stepped, stepper_of, steps_of
from untrain.checks.running import Law, LawBroken, several_batches
from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.network import Network

EXCEPTIONS: dict[str, dict[Law, str]] = {"*": {OF_KINDS["a_frozen_body"]: "it moves features, and where all of them are frozen it says so"}}


def _read(module: nn.Module, x: Tensor) -> Tensor:
    """What the last layer reads of inputs."""
    seen: list[Tensor] = []
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    handle = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module(x)
    handle.remove()
    return seen[0]


def _inputs(samples: Samples) -> tuple[Tensor, Tensor]:
    x, y = samples.batch(torch.arange(len(samples)))
    assert isinstance(x, Tensor)
    return x.double(), y


def _goals(module: nn.Module, case: Case) -> Tensor:
    """Each forgotten sample's centroid, one by one: the nearest by cosine of the retained classes other than its own."""
    module = copy.deepcopy(module).double().eval()
    (x, y), (gone, own) = _inputs(case.prepared.retain), _inputs(case.prepared.forget)
    with torch.no_grad():
        read, mine = _read(module, x), _read(module, gone)
    centroids = {c: torch.stack([row for row, label in zip(read, y.tolist(), strict=True) if label == c]).mean(0) for c in set(y.tolist())}
    found = []
    for row, label in zip(mine, own.tolist(), strict=True):
        cosines = {c: float(row @ v / (row.norm() * v.norm())) for c, v in centroids.items() if c != label}
        found.append(centroids[max(cosines, key=lambda c: cosines[c])])
    return torch.stack(found)


def check_the_moving_is_the_naive_loop_towards_the_nearest_other_centroid(method: Any, case: Case | None = None) -> None:
    """A plain loop of two epochs towards centroids of the original that are found one by one comes to the same weights and buffers, to 1e-5 of each norm."""
    law, case = check_the_moving_is_the_naive_loop_towards_the_nearest_other_centroid, case or Case.fresh()
    # A weight of 1 would hide what it stands at.
    method = replace(several_batches(method), epochs=2, until=0.0, pull=0.7)
    student = copy.deepcopy(case.model).double()
    goals = _goals(student, case)
    left, steps, _ = steps_of(method, case, module=student, streams=2)
    weights, each = list(student.train().parameters()), len(steps) // 2
    for number, step in enumerate(steps):
        if number % each == 0:
            stepper = stepper_of(method, weights)
        gone, places = step.others[0]
        rows, due = _read(student, gone), goals[places]
        cosine = (rows * due).sum(1) / (rows.norm(dim=1) * due.norm(dim=1))
        kept = -torch.log_softmax(student(step.x) / method.temperature, 1).gather(1, step.y[:, None]).mean()
        stepped(stepper, method.pull * (1 - cosine).mean() + method.keep * kept)
    hold(law, method, left, student)


def check_no_sample_goes_to_its_own_class(method: Any, case: Case | None = None) -> None:
    """Of single samples whose class is retained, none is moved to the centroid of its own class."""
    law, case = check_no_sample_goes_to_its_own_class, (case or Case.fresh()).misnamed()
    some = torch.arange(len(case.split.retain)) % 4 == 0
    case.split = case.split.replaced(forget=case.split.retain[some], retain=case.split.retain[~some])
    network = Network(copy.deepcopy(case.model))
    with seeded(0, network=network):
        found = method.goals(network, case.prepared.forget, case.prepared.retain)
    due = _goals(case.model, case)
    if found.shape != due.shape or not torch.allclose(found.double(), due, rtol=1e-4, atol=1e-5):
        raise LawBroken(law, method, "moves samples to a centroid that is not the nearest of the other classes")


def check_the_nearest_centroid_is_so_by_its_angle(method: Any, case: Case | None = None) -> None:
    """Of what is read as it is, a sample is moved to the class in whose direction it lies, and not to one that is far out, or close by on another side."""
    law, network = check_the_nearest_centroid_is_so_by_its_angle, Network(nn.Linear(2, 3))
    kept = Samples(torch.tensor([[8.0, 0.0], [12.0, 0.0], [0.2, 0.2], [0.4, 0.4]]), torch.tensor([0, 0, 1, 1]))
    gone = Samples(torch.tensor([[5.0, 4.0], [0.3, 0.02]]), torch.tensor([2, 2]))
    with seeded(0, network=network):
        found = method.goals(network, gone, kept)
    if not torch.allclose(found, torch.tensor([[0.3, 0.3], [10.0, 0.0]])):
        raise LawBroken(law, method, f"moves what is read as (5, 4) and (.3, .02) to {found.tolist()}, where (.3, .3) and (10, 0) lie in their directions")


def check_it_ends_when_the_forgotten_are_named_no_more(method: Any, case: Case | None = None) -> None:
    """It takes no epoch where as many may be named as are, all where none may and some are still, and stops between."""
    law, case = check_it_ends_when_the_forgotten_are_named_no_more, case or Case.fresh()
    counts = {until: len(steps_of(replace(method, until=until, epochs=8), case, module=case.model, streams=2)[1]) for until in (1.0, 0.7, 0.0)}
    each = len(case.split.retain.at_most(method.samples).batches(method.batch))
    if counts[1.0] or not 0 < counts[0.7] <= counts[0.0] or any(n % each for n in counts.values()):
        raise LawBroken(law, method, f"takes {counts} steps where so much may still be named")
    x, y = _inputs(case.prepared.forget)
    shares = []
    for epochs in (counts[0.7] // each - 1, counts[0.7] // each):
        left = steps_of(replace(method, until=0.0, epochs=epochs), case, module=case.model, streams=2)[0].double().eval()
        with torch.no_grad():
            shares.append(float((left(x).argmax(1) == y).double().mean()))
    if not shares[1] <= 0.7 < shares[0]:
        raise LawBroken(law, method, f"ends with {shares[1]:.2f} named, and an epoch before that with {shares[0]:.2f}, where 0.7 may be")
