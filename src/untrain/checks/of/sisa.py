"""Laws of `SISA`: what no forgotten sample was in stays to the bit, and the rest is a training without it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from untrain.checks.case import Case, KnownRecipe
from untrain.checks.forgetting import check_it_forgets_what_it_is_told_to
from untrain.checks.running import Law, LawBroken, watched
from untrain.checks.sight import check_each_part_that_it_names_matters
from untrain.core.data import Norm, Samples, Split
from untrain.core.engine import current, seeded
from untrain.core.errors import BadArgument, BadData
from untrain.core.network import Network
from untrain.core.preparing import prepare
from untrain.core.unlearn import unlearn

_WHOLE = "other samples than it was trained on are refused, and laws of its own hold it to a training without the forgotten"
EXCEPTIONS: dict[str, dict[Law, str]] = {"*": {check_it_forgets_what_it_is_told_to: _WHOLE, check_each_part_that_it_names_matters: _WHOLE}}


class _Summed(nn.Module):
    """Answers with the sum of two inputs that go by name."""

    def forward(self, x: Tensor, more: Tensor) -> Tensor:
        """Logits."""
        return x + more


def _asked(method: Any, case: Case) -> tuple[Case, Samples, Samples]:
    """A case of this method, one forgotten sample of the last slice of a shard, and all else that it was trained on."""
    case.begun(method)
    part, rest = case.split.forget, case.split.retain
    last = (method.places(part)[1] == method.slices - 1).nonzero().flatten()[0]
    here = torch.arange(len(part)) == last
    return case, part[here], part[~here] + rest


def _same(a: nn.Module, b: nn.Module) -> list[str]:
    """Names of tensors that differ in a bit."""
    theirs = b.state_dict()
    return [name for name, value in a.state_dict().items() if isinstance(value, Tensor) and not torch.equal(value, theirs[name])]


def check_what_no_forgotten_sample_was_in_stays_to_the_bit(method: Any, case: Case | None = None) -> None:
    """When one sample of a shard's last slice goes, the other shards and all that was kept before that slice have the bits that they had, and that shard has not."""
    law = check_what_no_forgotten_sample_was_in_stays_to_the_bit
    case, gone, rest = _asked(method, case or Case.fresh())
    number, part = (int(found[0]) for found in method.places(gone)[:2])
    split = Split(gone, rest, case.split.test, ())
    moved = _same(unlearn(case.model, split, method, recipe=case.recipe).model, case.model)
    odd = [name for name in moved if name != "sums" and not name.startswith((f"members.{number}.", f"kept.{number}:{part}:"))]
    if odd:
        raise LawBroken(law, method, f"moves {odd[0]}, which the forgotten sample of shard {number}, slice {part}, was not in")
    if not any(name.startswith(f"members.{number}.") for name in moved):
        raise LawBroken(law, method, f"leaves shard {number} as the forgotten sample made it")


def check_the_rest_is_a_training_without_the_forgotten(method: Any, case: Case | None = None) -> None:
    """Weights, and all that is kept, are to the bit those of plain trainings by the recipe from what a preparation that never saw the forgotten kept, slice by slice."""
    law = check_the_rest_is_a_training_without_the_forgotten
    case, gone, rest = _asked(method, case or Case.fresh())
    own: Any = case.model
    norm = own.norm
    for forget, retain in ((gone, rest), (case.split.forget, case.split.retain)):
        case.split = Split(forget, retain, case.split.test, ())
        left = watched(method, case)[0]
        never = prepare(method, retain, recipe=case.recipe, norm=norm).model
        (shard, part, _), (whose, when, _) = method.places(forget), method.places(retain)
        kept, due = dict(left.named_buffers()), dict(never.named_buffers())
        with seeded(0):
            for number in sorted(set(shard.tolist())):
                start = min(int(p) for s, p in zip(shard, part, strict=True) if s == number)
                for early in range(start + 1):
                    before = [name for name in kept if name.startswith(f"kept.{number}:{early}:") and not torch.equal(kept[name], due[name])]
                    if before:
                        raise LawBroken(law, method, f"keeps {before[0]} of before the forgotten came in, which is not what a training that never saw them keeps")
                net = current().engine.place(case.recipe.build())
                own = net.state_dict()
                net.load_state_dict({name: due[f"kept.{number}:{start}:{name.replace('.', '/')}"] if isinstance(value, Tensor) else value for name, value in own.items()})
                for last in range(start, method.slices):
                    state = {f"kept.{number}:{last}:{name.replace('.', '/')}": value for name, value in net.state_dict().items() if isinstance(value, Tensor)}
                    odd = [name for name, value in state.items() if not torch.equal(kept[name], value)]
                    if odd:
                        raise LawBroken(law, method, f"keeps {odd[0]}, which is not what training without the forgotten had come to before that slice")
                    if any(w == number and p == last for w, p in zip(whose, when, strict=True)):
                        case.recipe.train(Network(net), retain.prepared(norm)[(whose == number) & (when <= last)])
                odd = _same(net, left.members[number])  # type: ignore[index, arg-type]
                if odd:
                    raise LawBroken(law, method, f"leaves shard {number} with another {odd[0]} than training without the forgotten has")
        for number in set(range(method.shards)) - set(shard.tolist()):
            if _same(left.members[number], case.model.members[number]):  # type: ignore[index, arg-type]
                raise LawBroken(law, method, f"moves shard {number}, which no forgotten sample was in")


def check_a_sample_has_one_place_for_good(method: Any, case: Case | None = None) -> None:
    """Its shard and slice are the same in another order, read one by one, under another label and beside a copy; and no shard or slice has far more than another."""
    law, case = check_a_sample_has_one_place_for_good, case or Case.fresh()
    part, lazy = case.split.retain, Case.fresh(lazy=True).split.retain
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))
    told = torch.stack(method.places(part))
    others = {
        "in another order": part[order],
        "one by one": lazy[order],
        "under other labels": part.labelled(1 - part.y.clamp(max=1))[order],
        "twice": (part + part)[order + len(part)],
        "beside none of another source": (part[order] + lazy)[: len(part)],
    }
    for how, some in others.items():
        if not torch.equal(torch.stack(method.places(some)), told[:, order]):
            raise LawBroken(law, method, f"gives samples another shard or slice {how}")
    noise = Samples(torch.randint(256, (1000, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)), torch.zeros(1000, dtype=torch.long))
    shard, slot, _ = method.places(noise)
    count = torch.bincount(shard * method.slices + slot, minlength=method.shards * method.slices).double()
    due = 1000 / len(count)
    if float((count - due).abs().max()) > 5 * due**0.5:
        raise LawBroken(law, method, f"puts {int(count.max())} and {int(count.min())} of 1000 samples into two slices")


def check_its_answer_is_the_mean_of_probabilities(method: Any, case: Case | None = None) -> None:
    """What it answers is the mean over shards of their probabilities, by the naive loop."""
    law, case = check_its_answer_is_the_mean_of_probabilities, (case or Case.fresh()).begun(method)
    own: Any = case.model
    x, _ = case.prepared.test.batch(torch.arange(20))
    with torch.no_grad():
        due = torch.stack([torch.exp(torch.log_softmax(member(x), 1)) for member in own.eval().members]).mean(0)
        found = own(x).softmax(1)
    if not torch.allclose(found, due, atol=1e-6):
        raise LawBroken(law, method, f"answers {float((found - due).abs().max()):.3g} off the mean")
    if not torch.allclose(type(own)([_Summed()], 1)(x=due, more=found), (due + found).log_softmax(1)):
        raise LawBroken(law, method, "loses an input by name")


def check_it_forgets_again_and_nothing_twice(method: Any, case: Case | None = None) -> None:
    """What a request leaves takes the next one, of what is left, and refuses the same again."""
    law, (case, gone, rest) = check_it_forgets_again_and_nothing_twice, _asked(method, case or Case.fresh())
    first = Split(gone, rest, case.split.test, ())
    left = unlearn(case.model, first, method, recipe=case.recipe).model
    try:
        unlearn(left, Split(rest[:1], rest[1:], case.split.test, ()), method, recipe=case.recipe)
    except BadData as error:
        raise LawBroken(law, method, f"takes no second request: {error}") from error
    try:
        unlearn(left, first, method, recipe=case.recipe)
    except BadData:
        return
    raise LawBroken(law, method, "takes a request a second time")


def check_its_model_has_the_normalisation_that_it_was_prepared_with(method: Any, case: Case | None = None) -> None:
    """The one that is given is the model's, whether the recipe's network has another or none; where none is given it is the network's."""
    law, case = check_its_model_has_the_normalisation_that_it_was_prepared_with, case or Case.fresh()
    train, recipe, other = case.split.retain, replace(case.recipe, epochs=0), Norm((0.25,), (0.75,))
    own: Any = recipe.build()
    bare = copy.deepcopy(own)
    bare.norm = None
    for module, given, due in ((own, other, other), (bare, other, other), (own, None, own.norm)):
        found: Any = prepare(method, train, recipe=KnownRecipe(epochs=0, module=module), norm=given).model
        if found.norm != due:
            raise LawBroken(law, method, f"has {found.norm}, and was prepared with {given} by a recipe whose network has {module.norm}")


def check_it_refuses_what_it_did_not_train(method: Any, case: Case | None = None) -> None:
    """A network that was trained whole is refused by name; so are other settings, and samples that are not those it was trained on."""
    law, case = check_it_refuses_what_it_did_not_train, (case or Case.fresh()).begun(method)
    whole, split = case.recipe.build(), case.split
    refused: list[tuple[str, Any, Split, Any, type[Exception], str]] = [
        ("a network that was trained whole", whole, split, method, BadArgument, type(whole).__name__),
        ("other settings", case.model, split, type(method)(method.shards + 1, method.slices), BadArgument, "shards"),
        ("a sample less", case.model, split.replaced(retain=split.retain[1:]), method, BadData, "not what SISA was trained on"),
        ("other samples to forget", case.model, split.replaced(forget=case.other("forget")), method, BadData, "not what SISA was trained on"),
    ]
    for what, model, given, asked, kind, word in refused:
        try:
            unlearn(model, given, asked, recipe=case.recipe)
        except kind as error:
            if word in str(error):
                continue
            raise LawBroken(law, method, f"refuses {what} and does not say why: {error}") from error
        raise LawBroken(law, method, f"takes {what}")
