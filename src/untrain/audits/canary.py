"""Canary: does the model still tell which of the canaries a coin had put into its training?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.counting import interval
from untrain.core.data import Samples
from untrain.core.data.overlap import places
from untrain.core.errors import BadArgument
from untrain.metrics.coins import coin_p, epsilon_at_least, guesses, least_share
from untrain.metrics.membership import scaled_confidence


@dataclass(frozen=True)
class Canary(Audit):
    """The canaries that the model is surest of, under their wrong labels, are guessed to have been inside, those that it is least sure of outside.

    Whether a canary was inside was decided by the throw of a fair coin before the training (`draw_canaries`), so that to a model that knows nothing of the coins
    the number of right guesses is binomial with one half: an exact null, whatever the model, the data and the method are. Of a model that was trained on them and
    made to forget those inside, more right guesses are a trace; fewer, that they stand out the other way.

    Args:
        guessed: How many are guessed, an even number, half on either side; 0 for all. To be chosen before anything is seen.

    Raises:
        BadArgument: `guessed` is no such number.
    """

    question = "Does it still tell which canaries were in its training?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "coins guessed": Row("as retrained", "share", +1, "coins guessed rightly from how sure it is of each canary's wrong label; .5 means no trace", "membership"),
        "epsilon at least": Row("low", "distance", +1, "lower bound of the epsilon of differential privacy that is compatible with so many, at 95 %", "membership"),
    }

    guessed: int = 0

    def __post_init__(self) -> None:
        """Refuse a number that has no half."""
        if self.guessed < 0 or self.guessed % 2:
            raise BadArgument(f"guessed={self.guessed}: half are said to be inside and half outside, so it takes an even number; 0 guesses all")

    def __call__(self, model: Subject, *, forget: Samples, canaries: Samples) -> Finding:
        """Guess."""
        known = set(places(forget))
        inside = torch.tensor([place in known for place in places(canaries)])
        if int(inside.sum()) != len(forget):
            return Finding(
                skipped=f"{len(forget)} samples are to be forgotten, and {int(inside.sum())} of the canaries are among them; forget the canaries that are inside and nothing else"
            )
        logits, labels, _ = model.on(canaries)
        right, n = guesses(scaled_confidence(logits, labels), inside, self.guessed or None)
        if not n:
            return Finding(skipped="a single canary has no other to be told from; draw more of them (200 by default)")
        share = Value(right / n, *interval(right, n), n, p=coin_p(right, n), least=least_share(n))
        return Finding({"coins guessed": share, "epsilon at least": Value(epsilon_at_least(right, n), n=n)})
