"""Laws of GKT: its student is new, no image that the filter holds back reaches it, and generator and student pull against each other."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from untrain.checks.case import CLASSES, GONE, Case, KnownRecipe
from untrain.checks.forgetting import check_it_forgets_what_it_is_told_to
from untrain.checks.nets import OF_KINDS
from untrain.checks.plain import steps_of
from untrain.checks.running import Law, LawBroken, left_by, watched
from untrain.core.engine import current, seeded
from untrain.core.network import Network


def check_no_filtered_image_reaches_the_student(method: Any, case: Case | None = None) -> None:
    """Of all images that go through the student, to none does the original give the forgotten classes more than the threshold, and the filter holds some back."""
    law, case = check_no_filtered_image_reaches_the_student, case or Case.fresh()
    module, seen, made = copy.deepcopy(case.model), list[Tensor](), list[Tensor]()

    def note(part: nn.Module, given: tuple[Any, ...]) -> None:
        # The teacher is a copy that carries this hook too, and is frozen; what it sees is what the generator made.
        (seen if any(p.requires_grad for p in part.parameters()) else made).append(given[0].detach().clone())

    module.register_forward_pre_hook(note)
    watched(method, case, module=module)
    if not seen:
        raise LawBroken(law, method, "shows its student no image")
    # Two images: of one the forgotten classes together have more than the threshold, and each alone has not.
    p = torch.full((2, CLASSES), (1 - method.threshold) / (CLASSES - len(GONE)))
    p[:, list(GONE)] = method.threshold * torch.tensor([0.6, 0.4])[:, None]
    if method.passes(Network(nn.Identity()), p.log(), GONE).tolist() != [False, True]:
        raise LawBroken(law, method, "asks of each forgotten class alone whether the original sees it, and not of all together")
    teacher = copy.deepcopy(case.model).eval()
    with torch.no_grad():
        most, all_of_them = (torch.softmax(teacher(torch.cat(xs)), 1)[:, list(GONE)].sum(1) for xs in (seen, made))
    if float(most.max()) > method.threshold + 1e-5:
        raise LawBroken(
            law, method, f"shows its student {int((most > method.threshold + 1e-5).sum())} images in which the original sees the forgotten, up to {float(most.max()):.2f}"
        )
    if not bool((all_of_them > method.threshold).any()):
        raise LawBroken(law, method, "makes no image in which the original sees the forgotten, so that the filter is not tried")


def check_without_turns_it_is_the_network_as_built(method: Any, case: Case | None = None) -> None:
    """Without turns it leaves exactly `recipe.build()` at that seed."""
    law, case = check_without_turns_it_is_the_network_as_built, case or Case.fresh()
    for seed in (0, 1):
        left = left_by(law, replace(method, turns=0), case, seed=seed).state_dict()
        with seeded(seed):
            built = case.recipe.build().state_dict()
        odd = [name for name, value in built.items() if not torch.equal(left[name], value)]
        if odd:
            raise LawBroken(law, method, f"begins with another {odd[0]} than recipe.build() gives at seed {seed}")


def check_generator_and_student_pull_against_each_other(method: Any, case: Case | None = None) -> None:
    """They take turns. The generator's loss is minus what the two differ by, never above 0; the student's is that and its attention, never below 0; alone, the student's falls."""
    law, case = check_generator_and_student_pull_against_each_other, case or Case.fresh()
    _, steps, trace = steps_of(method, case, module=case.model)
    due = (["generator"] * method.generator_steps + ["student"] * method.student_steps) * method.turns
    if [step.phase for step in steps] != due:
        raise LawBroken(law, method, f"takes the steps {[step.phase for step in steps]}, where {due} are due")
    if max(trace["generator"].losses) > 0:
        raise LawBroken(law, method, f"has its generator minimise {max(trace['generator'].losses):.3g}, where it is to be paid for each difference")
    if min(trace["student"].losses) < 0:
        raise LawBroken(law, method, f"has its student minimise {min(trace['student'].losses):.3g}, below which no difference is")
    alone = watched(replace(method, turns=1, generator_steps=0, student_steps=30, attention=0.0), case)[1]["student"].losses
    if not sum(alone[-5:]) < sum(alone[:5]):
        raise LawBroken(law, method, f"has a student that in 30 steps on the same images goes from {sum(alone[:5]) / 5:.3g} to {sum(alone[-5:]) / 5:.3g}")


def check_the_generator_climbs_by_the_slopes_of_both(method: Any, case: Case | None = None) -> None:
    """Its first step goes, weight by weight, where the two networks differ more, by a plain computation whose slope runs through the original's answers too."""
    law, case, recipe = check_the_generator_climbs_by_the_slopes_of_both, case or Case.fresh(), KnownRecipe()
    z, begun = torch.randn(method.batch, 128, generator=torch.Generator().manual_seed(0)), list[nn.Module]()

    def generator(networks: Any) -> Any:
        return next(network.module for network in networks if type(network.module).__name__ == "Generator")

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        begun.append(copy.deepcopy(generator(current().networks)))

    with mock.patch.object(torch, "randn", return_value=z):
        _, _, run = watched(replace(method, turns=1, generator_steps=1, student_steps=0, threshold=1.0), case, recipe=recipe, watch=watch)
    x = begun[0].train()(z).view(-1, *case.prepared.retain.shape)
    p, q = (torch.log_softmax(network(x), 1) for network in (copy.deepcopy(case.model).eval(), copy.deepcopy(recipe.module).train()))
    slopes = torch.autograd.grad((p.exp() * (p - q)).sum(), list(begun[0].parameters()))
    wrong = total = 0
    for slope, old, new in zip(slopes, begun[0].parameters(), generator(run.networks).parameters(), strict=True):
        # Adam's first step tells which way; a slope that is next to nothing may be rounding.
        felt = slope.abs() > 1e-2 * slope.abs().max()
        wrong, total = wrong + int(((new - old) * slope <= 0)[felt].sum()), total + int(felt.sum())
    if wrong > total / 100:
        raise LawBroken(law, method, f"moves {wrong} of {total} weights of its generator to where the networks differ less, or not at all")


def check_the_student_follows_answers_and_attention(method: Any, case: Case | None = None) -> None:
    """The loss of a student's first step is a plain computation's: KL from the original, mean over images and classes, and beta times what their maps differ by."""
    law, case, recipe = check_the_student_follows_answers_and_attention, case or Case.fresh(), KnownRecipe()
    module, seen = copy.deepcopy(case.model), list[Tensor]()

    def note(part: nn.Module, given: tuple[Any, ...]) -> None:
        if any(p.requires_grad for p in part.parameters()):
            seen.append(given[0].detach().clone())

    module.register_forward_pre_hook(note)
    _, trace, _ = watched(replace(method, turns=1, generator_steps=0, student_steps=1), case, module=module, recipe=recipe)
    (said, own), (told, wanted) = (_maps(copy.deepcopy(network).train(mode), seen[0]) for network, mode in ((recipe.module, True), (case.model, False)))
    p = torch.softmax(told, 1)
    due = float((p * (p.log() - torch.log_softmax(said, 1))).mean() + method.attention * sum((a - b).pow(2).mean() for a, b in zip(own, wanted, strict=True)))
    if not abs(trace["student"].losses[0] - due) < 1e-3 * due:
        raise LawBroken(law, method, f"has its student minimise {trace['student'].losses[0]:.4g}, where {due:.4g} is due")


def check_each_step_of_the_generator_has_noise_of_its_own(method: Any, case: Case | None = None) -> None:
    """At next to no rate, three steps of the generator make three batches of images, and the student's step behind them makes the last again."""
    law, case = check_each_step_of_the_generator_has_noise_of_its_own, case or Case.fresh()
    module, made = copy.deepcopy(case.model), list[Tensor]()

    def note(part: nn.Module, given: tuple[Any, ...]) -> None:
        # The teacher's filter looks at all that is made, which what it lets through is a part of.
        if not any(p.requires_grad for p in part.parameters()) and len(given[0]) == method.batch:
            made.append(given[0].detach().clone())

    module.register_forward_pre_hook(note)
    watched(replace(method, turns=1, generator_steps=3, student_steps=1, lr=1e-9), case, module=module)
    others = list[Tensor]()
    for x in made:
        if all(float((x - y).norm()) > 0.1 * float(x.norm()) for y in others):
            others.append(x)
    if len(others) != 3:
        raise LawBroken(law, method, f"makes {len(others)} batches of images in three steps of its generator and one of its student")


@torch.no_grad()
def _maps(module: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Answers, and of each convolution the mean over channels of its squares, of length 1 for each image."""
    outs = list[Tensor]()
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, out: outs.append(out))
    answers = module(x)
    rows = [(out**2).sum(1).flatten(1) for out in outs]
    return answers, [row / row.norm(dim=1, keepdim=True) for row in rows]


EXCEPTIONS: dict[str, dict[Law, str]] = {
    "*": {
        OF_KINDS["dicts_in_and_out"]: "its generator makes images, and of inputs by name it does not know which",
        check_it_forgets_what_it_is_told_to: "two turns leave a network that is nearly as it was built, and knows no class yet, whatever it was told to forget",
    }
}
