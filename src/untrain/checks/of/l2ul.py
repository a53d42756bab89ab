"""Laws of `L2UL`: what its images are, which weights are free, that a run is a plain loop, and when it ends."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import Case
from untrain.checks.plain import cross_entropy, hold, stepped, stepper_of, steps_of
from untrain.checks.running import LawBroken, several_batches
from untrain.core.engine import seeded
from untrain.core.network import Network


def _inputs(case: Case) -> tuple[Tensor, Tensor]:
    x, y = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    assert isinstance(x, Tensor)
    return x, y


def _free(module: nn.Module, case: Case) -> list[Tensor]:
    """How much each weight matters, sample by sample, from 0 to 1 within each tensor."""
    module, (x, _) = copy.deepcopy(module).double().eval(), _inputs(case)
    weights, sums = list(module.parameters()), [torch.zeros_like(p) for p in module.parameters()]
    for one in x.double():
        for total, g in zip(sums, torch.autograd.grad((module(one[None]) ** 2).sum(), weights), strict=True):
            total += g.detach() ** 2
    sizes = [(total / len(x)) ** 0.5 for total in sums]
    return [((s - s.min()) / (s.max() - s.min())).detach() for s in sizes]


def check_its_images_are_near_and_named_otherwise(method: Any, case: Case | None = None) -> None:
    """So many for each forgotten sample, within the radius of it, under labels that are not its own, and likelier to be named so than it is."""
    law, case = check_its_images_are_near_and_named_otherwise, case or Case.fresh()
    method, (x, y), network = replace(method, copies=3, radius=2.0), _inputs(case), Network(copy.deepcopy(case.model))
    with seeded(0, network=network):
        made = method.images(network, case.prepared.forget)
    images, labels = made.batch(torch.arange(len(made)))
    assert isinstance(images, Tensor)
    start, own = x.repeat(3, 1, 1, 1), y.repeat(3)
    if images.shape != start.shape or bool((labels == own).any()):
        raise LawBroken(
            law, method, f"makes {len(images)} images, {int((labels == own).sum()) if len(labels) == len(own) else 0} of them under their own label, where {len(start)} are due"
        )
    far = float((images - start).flatten(1).norm(dim=1).max())
    if far > method.radius * 1.0001 or far == 0:
        raise LawBroken(law, method, f"leads an image {far:.3g} away, where {method.radius} are allowed")
    with torch.no_grad():
        model = copy.deepcopy(case.model).eval()
        before, after = (torch.log_softmax(model(some), 1).gather(1, labels[:, None]) for some in (start, images))
    if not float((after > before).double().mean()) > 0.95:
        raise LawBroken(law, method, "leads images away from the label that they are given")


def check_the_unlearning_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """On the same images in each epoch a plain loop in evaluation mode, with weights found sample by sample, comes to the same weights and buffers, to 1e-5 of each norm."""
    law, case = check_the_unlearning_is_the_naive_loop, case or Case.fresh()
    # At a rate by which the first of two epochs leaves some of the forgotten named.
    method = replace(several_batches(method), epochs=2, lr=method.lr / 4, hold=2.0)
    student = copy.deepcopy(case.model).double()
    left, steps, _ = steps_of(method, case, module=student, streams=2)
    each = len(steps) // 2
    images = [torch.cat([step.x.flatten(1).sum(1) for step in part]).sort().values for part in (steps[:each], steps[each:])]
    if len(images[0]) != method.copies * len(case.split.forget) or not torch.equal(*images):
        raise LawBroken(law, method, f"is shown {[len(part) for part in images]} images in two epochs, or others in the second")
    free, old = _free(student, case), [w.detach().clone() for w in student.parameters()]
    weights, m = list(student.eval().parameters()), method.copies
    for number, step in enumerate(steps):
        if number % each == 0:
            stepper = stepper_of(method, weights)
        gone, true = step.others[0]
        pull = sum(((1 - w) * (now - then) ** 2).sum() for w, now, then in zip(free, student.parameters(), old, strict=True))
        loss = (m * cross_entropy(student, step.x, step.y) - cross_entropy(student, gone, true)) / (1 + m) + method.hold / 2 * pull
        stepped(stepper, loss)
    hold(law, method, left, student)


def check_what_matters_most_is_free(method: Any, case: Case | None = None) -> None:
    """Of each tensor the weight that matters most to the forgotten is not held, and the one that matters least is held whole."""
    law, case = check_what_matters_most_is_free, case or Case.fresh()
    network = Network(copy.deepcopy(case.model).eval())
    with seeded(0, network=network):
        found, _ = method.importance(network, case.prepared.forget)
    for name, w, due in zip(dict(case.model.named_parameters()), found, _free(case.model, case), strict=True):
        if abs(float(w.max()) - 1) > 1e-6 or float(w.min()) != 0 or not torch.allclose(w.double(), due, atol=1e-3):
            raise LawBroken(law, method, f"lets the weights of {name} go from {float(w.min()):.3g} to {float(w.max()):.3g}, or others than those that matter")


def check_it_ends_when_all_are_misnamed(method: Any, case: Case | None = None) -> None:
    """An epoch less leaves one named, and it takes none where none is named at the start."""
    law, case = check_it_ends_when_all_are_misnamed, case or Case.fresh()
    method, (x, y) = replace(method, epochs=12, lr=0.01), _inputs(case)
    _, steps, _ = steps_of(method, case, module=case.model, streams=2)
    each = len(steps_of(replace(method, epochs=1), case, module=case.model, streams=2)[1])
    taken = len(steps) // each

    def named(epochs: int) -> int:
        left = steps_of(replace(method, epochs=epochs), case, module=case.model, streams=2)[0].eval()
        with torch.no_grad():
            return int((left(x).argmax(1) == y).sum())

    if not (taken < method.epochs and named(taken) == 0 < named(taken - 1)):
        raise LawBroken(law, method, f"takes {taken} epochs, after which {named(taken)} are named, and {named(taken - 1)} an epoch before")
