"""Laws of UNSIR: what its noise is, how much of it there is, and what its repair does."""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.checks.case import CLASSES, GONE, Case
from untrain.checks.forgetting import check_it_forgets_what_it_is_told_to
from untrain.checks.nets import EarlyExit
from untrain.checks.plain import hold_replaced
from untrain.checks.running import Law, LawBroken, bits_of, left_by, raw, several_batches, unequal, values, watched
from untrain.checks.sited import Ahead, Tokens, tokens, told_apart
from untrain.core.data import mix
from untrain.core.engine import seeded
from untrain.core.network import Network
from untrain.core.site import VALUES, site_of
from untrain.core.train import Phase, rate
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune


@dataclass
class Noise:
    """Noise as a method learns it, and the samples it stands beside.

    Args:
        x: Noise images, or what stands in their place at a layer.
        y: Their labels.
        batch: The noise as the network is handed it.
        phases: What learning them did.
    """

    x: Tensor
    y: Tensor
    batch: Any
    phases: list[Phase] = field(default_factory=list)


def _learns(method: Any) -> bool:
    """Whether its noise is learned to maximize the error, as the paper's; its controls' is not."""
    return bool(method.noise > 0 and method.noise_steps > 0 and method.kind == "maximizing")


def _noise(method: Any, case: Case, **change: Any) -> Noise:
    """What the method learns at seed 0, with some fields changed."""
    method = replace(method, **change)
    network, kept = Network(copy.deepcopy(case.model)), case.prepared.retain.at_most(method.samples)
    with seeded(0, network=network):
        made, phases = method.learn_noise(site_of(network, kept, method.site), kept, GONE)
    x, y = made.batch(torch.arange(len(made)))
    return Noise(x[VALUES] if isinstance(x, dict) else x, y, x, phases)


def _error(method: Any, case: Case, batch: Any, y: Tensor, x: Tensor | None = None) -> Tensor:
    """Cross-entropy of each sample, in evaluation mode, the original model answering; of x in the place of the batch's noise, where it is given."""
    network = Network(copy.deepcopy(case.model).eval())
    if x is not None:
        batch = batch | {VALUES: x} if isinstance(batch, dict) else x
    return F.cross_entropy(site_of(network, case.prepared.retain, method.site)(batch), y, reduction="none")


def check_learned_noise_is_what_the_model_errs_on(method: Any, case: Case | None = None) -> None:
    """Learned noise has a higher cross-entropy than the noise it began as and than the forgotten images, and a lower objective than at first."""
    law, case = check_learned_noise_is_what_the_model_errs_on, case or Case.fresh()
    if not _learns(method):
        return
    began, learned = _noise(method, case, noise_steps=0), _noise(method, case)
    images, labels = case.prepared.forget.batch(torch.arange(len(case.split.forget)))
    scale = method.penalty * min(1.0, 3072 / began.x[0].numel())
    with torch.no_grad():
        for label in GONE:
            first, last, seen = (float(_error(method, case, x, y)[y == label].mean()) for x, y in ((began.batch, began.y), (learned.batch, learned.y), (images, labels)))
            if not last > max(first, seen):
                raise LawBroken(law, method, f"learned noise {label} with a cross-entropy of {last:.3f}; it began at {first:.3f}, and the forgotten images have {seen:.3f}")
        start, end = (float(scale * n.x.square().flatten(1).sum(1).mean() - _error(method, case, n.batch, n.y).mean()) for n in (began, learned))
    told = [value for phase in learned.phases for value in phase.losses]
    if not (end < start and told and told[-1] < told[0]):
        raise LawBroken(law, method, f"began learning noise at an objective of {start:.3f} and ended at {end:.3f}")


def check_a_control_of_the_noise_is_what_it_says(method: Any, case: Case | None = None) -> None:
    """Noise of the kind `minimizing` has a lower cross-entropy than it began with, and noise of the kind `black` is zero."""
    law, case = check_a_control_of_the_noise_is_what_it_says, case or Case.fresh()
    if method.noise == 0 or method.kind == "maximizing":
        return
    made = _noise(method, case)
    if method.kind == "black" and bool(made.x.any()):
        raise LawBroken(law, method, f"is black, but its noise reaches {float(made.x.abs().max()):.3f}")
    if method.kind == "minimizing":
        began = _noise(method, case, noise_steps=0)
        with torch.no_grad():
            first, last = (float(_error(method, case, n.batch, n.y).mean()) for n in (began, made))
        if not last < first:
            raise LawBroken(law, method, f"learned class-like noise with a cross-entropy of {last:.3f}; it began at {first:.3f}")


def check_noise_carries_the_class_that_it_was_learned_for(method: Any, case: Case | None = None) -> None:
    """The first step of learning goes where the objective falls for the label that each image carries, and impairing meets it under that label."""
    law, case = check_noise_carries_the_class_that_it_was_learned_for, case or Case.fresh()
    if not _learns(method):
        return
    began, step = (_noise(method, case, copies=1, noise_steps=n) for n in (0, 1))
    if not torch.equal(began.y, step.y):
        raise LawBroken(law, method, "labels noise by how long it is learned")
    x = began.x.clone().requires_grad_()
    scale = method.penalty * min(1.0, 3072 / x[0].numel())
    objective = scale * x.square().flatten(1).sum(1) - _error(method, case, began.batch, began.y, x)
    (slope,) = torch.autograd.grad(objective.sum(), x)
    agree = ((step.x - began.x).sign() == -slope.sign()).double().flatten(1).mean(1)
    for label in GONE:
        share = float(agree[began.y == label].mean())
        if not share >= 0.98:
            raise LawBroken(law, method, f"labels noise {label} that is not learned for {label}: of its pixels {share:.0%} go where the objective for {label} falls")
    learned = _noise(method, case)
    met = _met_in_impair(law, method, case)
    if met != Counter({(_key(x), int(y)): n * method.impair_epochs for (x, y), n in _tally(learned).items()}):
        raise LawBroken(law, method, "impairs on other noise, or under other labels, than it learned")


def check_the_count_of_noise_is_right(method: Any, case: Case | None = None) -> None:
    """Beside each retained sample stands `noise` noise images in all, shared evenly, the remainder to the lowest classes; none more than `copies` times."""
    law, case = check_the_count_of_noise_is_right, case or Case.fresh()
    # 8.7 images: rounded, not cut, and an odd number for two classes, so that there is a remainder.
    for asked in [method, replace(method, samples=24), replace(method, noise=8.7 / 48), replace(method, noise=8.7 / 48, copies=2)]:
        met, kept = _met_in_impair(law, asked, case), case.split.retain.at_most(asked.samples)
        total = round(asked.noise * len(kept))
        due = {label: total // len(GONE) + (i < total % len(GONE)) if asked.impair_epochs else 0 for i, label in enumerate(GONE)}
        seen = Counter[int]()
        for (_, label), n in met.items():
            seen[label] += n
        if {k: n / max(1, asked.impair_epochs) for k, n in seen.items() if n} != {k: n for k, n in due.items() if n}:
            raise LawBroken(law, asked, f"impairs with {dict(seen)} noise images in {asked.impair_epochs} epoch(s), where {due} are due in each")
        often = max(met.values(), default=0) / max(1, asked.impair_epochs)
        if often > asked.copies and asked.kind != "black":
            raise LawBroken(law, asked, f"shows a noise image {often:.0f} times in an epoch")


def _key(x: Tensor) -> bytes:
    return raw(x) or b""


def _tally(noise: Noise) -> Counter[tuple[Any, Any]]:
    met: dict[tuple[bytes, int], tuple[Tensor, Tensor]] = {(_key(x), int(y)): (x, y) for x, y in zip(noise.x, noise.y, strict=True)}
    counts = Counter((_key(x), int(y)) for x, y in zip(noise.x, noise.y, strict=True))
    return Counter({met[k]: n for k, n in counts.items()})


def _met_in_impair(law: Law, method: Any, case: Case) -> Counter[tuple[bytes, int]]:
    """How often each noise image was met in the impair step, under which label; the rest must be each retained sample, once an epoch."""
    kept = case.prepared.retain.at_most(method.samples)
    known = Counter((_key(x), int(y)) for x, y in zip(*kept.batch(torch.arange(len(kept))), strict=True))
    met = Counter[tuple[bytes, int]]()

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase == "impair":
            met.update((_key(image), int(label)) for image, label in zip(told_apart(x), y, strict=True))

    watched(method, case, watch=watch)
    for image, n in known.items():
        if met.pop(image, 0) != n * method.impair_epochs:
            raise LawBroken(law, method, "does not impair on each of its retained samples once in each epoch")
    return met


def check_the_noise_step_leaves_the_model_alone(method: Any, case: Case | None = None) -> None:
    """When impairing begins, no buffer and no weight has moved, and no gradient was left."""
    law, case = check_the_noise_step_leaves_the_model_alone, case or Case.fresh()
    if not _learns(method):
        return
    moved: list[list[str]] = []
    before = values(case.model)

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase == "impair" and not moved:
            gradients = [f"the gradient of {name}" for name, p in network.named_parameters().items() if p.grad is not None]
            moved.append(unequal(before, values(network.module)) + gradients)

    watched(method, case, watch=watch)
    if not moved:
        raise LawBroken(law, method, "never impairs")
    if moved[0]:
        raise LawBroken(law, method, f"moved {', '.join(moved[0][:3])} while it learned noise")


def check_without_noise_it_is_two_finetunes(method: Any, case: Case | None = None) -> None:
    """With no noise image, repair by labels at a constant rate without augmentation, and the old row: two `FineTune`s by Adam in one run, bit for bit."""
    law, case = check_without_noise_it_is_two_finetunes, case or Case.fresh()
    plainest = replace(method, noise=0.0, repair="labels", schedule="constant", augment=False, new_row=False)
    # Besides the law's own case: several batches of some of the samples, and the method's own schedule and augmentation.
    settings: list[Any] = [plainest, replace(several_batches(plainest), samples=24), replace(plainest, schedule=method.schedule, augment=method.augment)]
    for plain in settings:
        network, retain = Network(copy.deepcopy(case.model)), case.prepared.retain
        common: dict[str, Any] = {"samples": plain.samples, "batch": plain.batch, "optimizer": "adam", "weight_decay": 0.0}
        with seeded(0, network=network):
            FineTune(lr=plain.impair_lr, epochs=plain.impair_epochs, schedule="constant", augment=False, **common)(network, retain=retain)
            FineTune(lr=plain.repair_lr, epochs=plain.repair_epochs, schedule=plain.schedule, augment=plain.augment, **common)(network, retain=retain)
        left = watched(plain, case)[0]
        other = unequal(values(network.module), values(left))
        if other:
            raise LawBroken(law, plain, f"is not the two fine-tunings that it should be: {len(other)} tensors differ, {other[0]} first")


def check_the_distilled_repair_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """From where repair begins, a plain loop whose teacher was copied before the run comes to the same weights, to 1e-5 of each tensor's norm."""
    law, case = check_the_distilled_repair_is_the_naive_loop, case or Case.fresh()
    if method.repair != "distill":
        return
    # fp64: a bias before BatchNorm has no gradient but rounding, which Adam would blow up to full steps in fp32.
    module, method = copy.deepcopy(case.model).double(), several_batches(method)
    teacher, begun = copy.deepcopy(module).eval(), list[nn.Module]()

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase == "repair" and not begun:
            begun.append(copy.deepcopy(network.module))

    left, _, run = watched(method, case, module=module, watch=watch)
    if not begun:
        raise LawBroken(law, method, "takes no step of repair")
    student, stay = begun[0].train(), [c for c in range(CLASSES) if c not in GONE]
    kept, t = case.prepared.retain.at_most(method.samples), method.temperature
    batches = kept.batches(method.batch, epochs=method.repair_epochs, augment=method.augment)
    adam = torch.optim.Adam(student.parameters(), lr=method.repair_lr)
    for step, (x, _, _) in enumerate(batches.run(mix(0, run.calls))):
        assert isinstance(x, Tensor)
        share = 0.5 * (1 + math.cos(math.pi * step / len(batches))) if method.schedule == "cosine" else rate(method.schedule, step, len(batches))
        adam.param_groups[0]["lr"] = method.repair_lr * share
        x = x.double()
        with torch.no_grad():
            p = torch.softmax(teacher(x)[:, stay] / t, 1)
        log_q = torch.log_softmax(student(x) / t, 1)[:, stay]
        loss = t**2 * (p * (p.log() - log_q)).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    for name, value in student.state_dict().items():
        apart = float((left.state_dict()[name].double() - value.double()).norm())
        if apart > 1e-5 * float(value.double().norm()):
            raise LawBroken(law, method, f"repairs {name} to {apart:.1e} off what a plain loop makes of it, at a norm of {float(value.double().norm()):.1e}")


def check_few_samples_are_gone_over_until_the_floor(method: Any, case: Case | None = None) -> None:
    """A floor of steps beyond those asked for is reached, a sixth of it by the impair, with each retained sample met equally often; one that is reached anyway changes no bit."""
    law, case = check_few_samples_are_gone_over_until_the_floor, case or Case.fresh()
    if not method.repair_epochs:
        return
    asked = replace(method, floor=90, augment=False)
    met = {"impair": Counter[bytes](), "repair": Counter[bytes]()}

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase in met:
            met[phase].update(_key(image) for image, label in zip(x, y, strict=True) if int(label) not in GONE)

    _, trace, _ = watched(asked, case, watch=watch)
    kept = case.prepared.retain.at_most(asked.samples)
    known = Counter(_key(x) for x in cast(Tensor, kept.batch(torch.arange(len(kept)))[0]))
    for phase, least in {"impair": 15 if asked.impair_epochs else 0, "repair": 90}.items():
        if trace[phase].steps < least:
            raise LawBroken(law, asked, f"takes {trace[phase].steps} steps of {phase}, where {least} are the floor")
        times = {met[phase][image] / n for image, n in known.items()}
        if len(times) != 1:
            raise LawBroken(law, asked, f"meets some retained samples {max(times):.0f} times in its {phase}, and others {min(times):.0f} times")
    reached = len(kept) * method.repair_epochs // min(method.batch, 64)
    if bits_of(law, replace(method, floor=reached), case) != bits_of(law, replace(method, floor=0), case):
        raise LawBroken(law, method, f"leaves other bits under a floor of {reached} steps, which it reaches without one")


def check_the_body_is_shrunk_between_impair_and_repair(method: Any, case: Case | None = None) -> None:
    """At its share alpha the body's weights are (1 - alpha) of themselves and alpha of a new layer's, after the impair and before the repair.

    The head and all vectors stay, and BatchNorm's statistics are the mean over batches of retained samples as the new weights see them.
    """
    law, case = check_the_body_is_shrunk_between_impair_and_repair, case or Case.fresh()
    before, head = case.model.state_dict(), Network(case.model).head.name
    body = [name for name, p in case.model.named_parameters() if p.ndim > 1 and not name.startswith(f"{head}.")]
    rest = [name for name, p in case.model.named_parameters() if name not in body]
    for alpha in (0.5, 1.0):
        still = replace(method, shrink=alpha, noise=0.0, impair_epochs=0, repair_epochs=0, floor=0, new_row=False)
        left = left_by(law, still, case)
        hold_replaced(law, method, before, left.state_dict(), body, alpha)
        if moved := [name for name in rest if not torch.equal(before[name], left.state_dict()[name])]:
            raise LawBroken(law, method, f"moves {moved[0]} where the body alone is shrunk")
        x = cast(Tensor, case.prepared.retain.at_most(still.samples).batch(torch.arange(len(case.prepared.retain.at_most(still.samples))))[0])
        first, ahead = (next(part for part in left.modules() if isinstance(part, kind)) for kind in (nn.BatchNorm2d, nn.Conv2d))
        means = torch.stack([ahead(some).mean((0, 2, 3)) for some in torch.split(x, still.batch)]).mean(0)
        if not torch.allclose(cast(Tensor, first.running_mean), means, atol=1e-5):
            raise LawBroken(law, method, "leaves statistics that are not those of the weights as they are shrunk")
    seen: dict[str, dict[str, Tensor]] = {}

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase not in seen:
            seen[phase] = {name: value.clone() for name, value in network.module.state_dict().items()}

    watched(replace(method, shrink=1.0), case, watch=watch)
    if "impair" in seen and any(not torch.equal(before[name], seen["impair"][name]) for name in body):
        raise LawBroken(law, method, "shrinks weights before they are impaired")
    hold_replaced(law, method, before, seen["repair"], body, 1.0)


def check_every_exit_loses_its_rows_and_is_repaired(method: Any, case: Case | None = None) -> None:
    """Of a network with exits the forgotten rows of each head are drawn anew, and no others; and the repair moves each head."""
    case = case or Case.fresh()
    law, given, head = check_every_exit_loses_its_rows_and_is_repaired, EarlyExit(case.model), ",".join(EarlyExit.heads)

    def rows(**change: Any) -> dict[str, set[int]]:
        asked = replace(method, noise=0.0, impair_epochs=0, floor=0, **change)
        left = dict(unlearn(given, case.prepared, asked, head=head).model.named_parameters())
        moved = {name: left[f"{name}.weight"] != p for name in given.heads for p in [dict(given.named_parameters())[f"{name}.weight"]]}
        return {name: set(where.any(1).nonzero().flatten().tolist()) for name, where in moved.items()}

    for name, drawn in rows(repair_epochs=0).items():
        if drawn != (set(GONE) if method.new_row else set()):
            raise LawBroken(law, method, f"draws the rows {sorted(drawn)} of {name} anew, and {list(GONE)} are to be forgotten")
    for name, repaired in rows(repair_epochs=1, new_row=False).items():
        if not repaired:
            raise LawBroken(law, method, f"leaves the head {name} as it was in its repair")


def check_noise_at_a_layer_that_hands_on_is_noise_at_the_input(method: Any, case: Case | None = None) -> None:
    """Ahead of the network stands a layer that hands on what it is given: noise that goes in there leaves the very weights that noise at the input leaves."""
    law, case = check_noise_at_a_layer_that_hands_on_is_noise_at_the_input, case or Case.fresh()
    ahead = replace(case, model=Ahead(case.model))
    inside, outside = (bits_of(law, replace(method, site=site), ahead) for site in ("door", None))
    if inside != outside:
        raise LawBroken(law, method, "leaves other weights where its noise goes in at a layer that hands on what it is given than where it goes in at the input")


def check_noise_of_token_ids_is_learned_and_met_at_their_embedding(method: Any, case: Case | None = None) -> None:
    """On a network of token ids the noise is of the shape of their embeddings, and keeps the laws of noise there; learning it moves neither a weight nor the table."""
    law, case = check_noise_of_token_ids_is_learned_and_met_at_their_embedding, case if case is not None and isinstance(case.model, Tokens) else tokens()
    if method.notebook:
        return
    if not method.noise:
        # That it runs without any.
        bits_of(law, method, case)
        return
    made = _noise(method, case)
    if made.x.shape[1:] != (64, 3):
        raise LawBroken(law, method, f"learns noise of shape {list(made.x.shape[1:])}, where the embeddings of a sample are of [64, 3]")
    for each in (
        check_learned_noise_is_what_the_model_errs_on,
        check_a_control_of_the_noise_is_what_it_says,
        check_noise_carries_the_class_that_it_was_learned_for,
        check_the_count_of_noise_is_right,
        check_the_noise_step_leaves_the_model_alone,
    ):
        try:
            each(method, case)
        except LawBroken as error:
            raise LawBroken(law, method, f"{error.fact}, on token ids") from error


EXCEPTIONS: dict[str, dict[Law, str]] = {
    "paper": {check_it_forgets_what_it_is_told_to: "at its rates 48 images leave a network that names no class well, whatever it was told to forget"},
    "benchmarks": {check_it_forgets_what_it_is_told_to: "its rates are 200 times lower than the paper's: on 48 images they move next to nothing"},
    "notebook": {
        check_learned_noise_is_what_the_model_errs_on: "the official notebook's faults, reproduced: it learns noise in training mode",
        check_noise_carries_the_class_that_it_was_learned_for: "the notebook labels all noise with the first of the forgotten classes",
        check_the_count_of_noise_is_right: "the notebook keeps 3 images of 256, each 20 times, whatever the number of samples",
        check_the_noise_step_leaves_the_model_alone: "the notebook's noise overwrites BatchNorm's running statistics",
    },
}
