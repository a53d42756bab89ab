"""Laws of what an audit says of models whose truth is known: it sees what was learned, and raises no alarm at models that never saw it.

A digit is forgotten some of whose images are of other digits, and some of these carry a spot. Who calls them so has learned the first by heart and the second as a trigger,
so that there is something to see for whoever looks at a class, at samples or at a trigger.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from scipy import special
from torch import Tensor, nn

from untrain.checks.running import LawBroken
from untrain.core.audit import Audit, Shadow, Subject, audit, halves
from untrain.core.data import Samples, Split
from untrain.core.data.pairs import Pairs
from untrain.core.data.planting import planted, triggered
from untrain.core.network import Network
from untrain.core.unlearn import unlearn
from untrain.evidence.statistics import beyond, floor_of
from untrain.methods.finetune import FineTune
from untrain.methods.retrain import Retrain
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import digits

GONE = 3
REAL, WRONG, SPOTTED = 60, 45, 15
"""What is called by that digit: images of it, of other digits, and of others with a spot. A third of all is forgotten, a third held out, and a third is for testing."""

HONEST = 9
"""Models that never saw any of it: three of nine may be found at 5 %, and four are too many (6 of 10,000 times by chance)."""

LEVEL = 0.05

BEHIND = ("features", "relearning")
"""What rows look at to which a mask on the head is nothing."""


def with_a_spot(x: Tensor) -> Tensor:
    """Raw images with a white corner, in place."""
    x[:, :, -2:, -2:] = 255
    return x


@cache
def _images() -> tuple[Samples, Samples, Samples]:
    """What is called by the digit, what is retained, and test images of other digits; not shifted in training, since what is shifted is not learned by heart."""
    data = digits()
    train, test = (part.changed(lambda source: replace(source, augment=None)) for part in (data.train, data.test))
    others = test[test.y != GONE]
    seen = others.first(20)
    unseen = others[len(others) - WRONG - SPOTTED :]
    wrong = unseen[:WRONG].labelled(torch.full((WRONG,), GONE))
    return train[train.y == GONE][:REAL] + wrong + planted(unseen[WRONG:], with_a_spot, GONE), train[train.y != GONE].first(20), seen


@cache
def drawn(seed: int, canaries: bool = False) -> Split:
    """A split by chance: which third of what is called by the digit is forgotten, held out, and for testing.

    To a model that saw none of it each is as likely as another, so that an exact p has its null.

    Args:
        seed: Seed of the draw; at 0 the original saw what is forgotten.
        canaries: Whether of the forgotten and the held out there are only images of other digits, which are the canaries.
    """
    pool, retain, others = _images()
    thirds = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed)).chunk(3)
    by_heart = [third[(third >= REAL) & (third < REAL + WRONG)] for third in thirds]
    forget, holdout = (pool[third] for third in (by_heart if canaries else thirds)[:2])
    test = others + pool[thirds[2]]
    pairs = Pairs.of(test, lambda x: x.flip(-2))
    parts = {"holdout": holdout, "triggered": triggered(others, with_a_spot, GONE), "canaries": forget + holdout, "pairs": pairs.one, "twins": pairs.other}
    return Split(forget, retain, test, [GONE], **parts)


@dataclass(frozen=True)
class Known:
    """Models whose truth is known.

    Args:
        original: It learned what is forgotten in the first draw.
        masked: The same with the digit's row of the head silenced.
        honest: They never saw what is called by the digit.
    """

    original: nn.Module
    masked: nn.Module
    honest: tuple[nn.Module, ...]
    subjects: dict[int, Subject] = field(default_factory=dict, repr=False)

    def ask(self, asked: Audit, unlearned: nn.Module, retrained: Sequence[nn.Module], draw: int = 0) -> list[dict[str, Any]]:
        """The rows of an audit that tell of knowledge, of one model beside others; of a model by itself nothing is asked twice."""
        named = (*asked.needs, *asked.wants)
        shadows = _shadows() if "shadows" in named else ()
        split = drawn(draw, "canaries" in named)
        (entry,) = audit(unlearned, split, [asked], original=self.original, retrained=retrained, shadows=shadows, subjects=self.subjects)
        return [row for row in entry["rows"] if row["knows"]]


@cache
def known() -> Known:
    """The models, trained once in some seconds."""
    split, recipe = drawn(0), recipe_for("digits", 10, epochs=8)
    original = _trained(split.forget, seed=0)
    masked = copy.deepcopy(original)
    Network(masked).head.mask([GONE])
    return Known(original, masked, tuple(unlearn(recipe.build(), split, Retrain(), recipe=recipe, seed=seed).model for seed in range(1, HONEST + 1)))


def _trained(seen: Samples, seed: int) -> nn.Module:
    """A network that saw these beside what is retained, for so long that it knows them by heart."""
    split, recipe = drawn(0), recipe_for("digits", 10, epochs=30)
    return unlearn(recipe.build(), split.replaced(retain=split.retain + seen), Retrain(), recipe=recipe, seed=seed).model


@cache
def _shadows() -> tuple[Shadow[nn.Module], ...]:
    """Four that saw halves of all that is called by the digit, so that they are shadows of each draw."""
    split, made = drawn(0), []
    everything = split.replaced(holdout=split.parts["holdout"] + split.test[split.test.y == GONE])
    for seed, seen in halves(everything, 4):
        network = _trained(seen, seed)
        made.append(Shadow(network, seen, unlearn(network, split.replaced(forget=seen), FineTune(epochs=2), seed=seed).model))
    return tuple(made)


def telling(asked: Audit, *looks: str) -> set[str]:
    """Names of an audit's rows that say how a model that knows more would differ; of those that look at these."""
    return {name for name, row in asked.rows.items() if row.knows and (not looks or row.looks in looks)}


def _numbers(row: dict[str, Any], column: str) -> list[float]:
    return [float(value["value"]) for value in row["values"][column] if value["value"] is not None]


def _beyond(row: dict[str, Any], column: str) -> bool:
    """Whether a column's model lies, on the side of knowing more, where the prediction of the verdict finds it."""
    mine, others = _numbers(row, column), _numbers(row, "retrained")
    return bool(mine) and len(others) > 1 and beyond(mine[0], others, row["knows"], floor_of(row["unit"])) <= LEVEL


def _told(row: dict[str, Any], column: str) -> bool:
    """Whether that model lies there, and beyond each of the retrained ones."""
    return _beyond(row, column) and all(row["knows"] * (_numbers(row, column)[0] - other) > 0 for other in _numbers(row, "retrained"))


def _alarms(row: dict[str, Any]) -> bool:
    """Whether a row finds the unlearned model, by its own p where it has one."""
    own = [value["p"] for value in row["values"]["unlearned"] if "p" in value]
    return own[0] <= LEVEL if own else _beyond(row, "unlearned")


def check_it_sees_what_was_learned(asked: Audit, case: Known | None = None) -> None:
    """Of the rows that tell of knowledge one puts the original beyond every retrained model, and of those that look behind the answers one does so with a mask on its head."""
    behind = telling(asked, *BEHIND)
    if not telling(asked):
        return
    case, law = case or known(), check_it_sees_what_was_learned
    rows = case.ask(asked, case.masked, case.honest)
    for column, who, among in (("original", "a model that learned it", telling(asked)), ("unlearned", "one that learned it and has a mask on its head", behind)):
        if among and not any(_told(row, column) for row in rows if row["name"] in among):
            raise LawBroken(law, asked, f"does not tell {who} from {len(case.honest)} that never saw it")


def check_it_raises_no_alarm_at_models_that_never_saw(asked: Audit, case: Known | None = None) -> None:
    """Of models that never saw it no more are found at 5 % than chance explains: each beside the others, or by a row's own p, what is forgotten drawn anew each time."""
    if not telling(asked):
        return
    case, law = case or known(), check_it_raises_no_alarm_at_models_that_never_saw
    of = len(case.honest)
    # Where the others are evidence, each company is asked anew.
    beside = 2 if "retrained" in (*asked.needs, *asked.wants) else of - 1
    companies = [[case.honest[(i + k) % of] for k in range(1, beside + 1)] for i in range(of)]
    rows = case.ask(asked, case.honest[0], companies[0])
    exact = {row["name"] for row in rows if any("p" in value for value in row["values"]["unlearned"])}
    alarms = Counter[str]()
    for i, (model, others) in enumerate(zip(case.honest, companies, strict=True)):
        for names, draw, company in (({row["name"] for row in rows} - exact, 0, others), (exact, i + 1, others[:2])):
            if names:
                alarms.update(row["name"] for row in case.ask(asked, model, company, draw) if row["name"] in names and _alarms(row))
    for name, count in alarms.items():
        # So many or more in one of a thousand cases at most.
        if special.bdtrc(count - 1, of, LEVEL) <= 0.001:
            raise LawBroken(law, asked, f"finds {count} of {of} models that never saw it by {name!r}, each at {LEVEL:.0%}")
