"""Bias: does the answer hang on what is flipped within a counterfactual pair, and whom does it serve badly?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrain.core.audit import Audit, Finding, Row, Subject, Value, counted
from untrain.core.data import Samples
from untrain.core.data.pairs import Pairs
from untrain.core.errors import BadArgument
from untrain.metrics.bias import bootstrapped, conflicting, opportunity, parity, shifts, worst


@dataclass(frozen=True)
class Bias(Audit):
    """The counterfactual bias of pairs, and accuracy by group, where the data say which group a sample is of.

    A model that answers the same whatever it is shown has no counterfactual bias: read it beside the accuracies.

    Args:
        group: The column of the data that says which group a sample is of; without it no row on groups is measured.
        draws: Draws of the bootstrap behind the interval of the counterfactual bias.
    """

    question = "Does the answer hang on what is flipped?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "counterfactual bias": Row("low", "share", 0, "mean over pairs of |P(y | one side) - P(y | the other)|, y the true class; bootstrap interval"),
        "pairs with two answers": Row("low", "share", 0, "pairs whose two sides are called differently"),
        "accuracy, other side": Row("high", "share", 0, "other sides of the pairs named rightly"),
        "accuracy, test": Row("high", "share", 0, "test samples named rightly"),
        "accuracy, bias-conflicting": Row("high", "share", 0, "of test samples whose group is not the one that stands out for their class in the training data"),
        "accuracy, worst group": Row("high", "share", 0, "of the class and group that is named rightly least often in the test samples"),
        "demographic parity difference": Row("low", "share", 0, "how far the share that is given an answer lies apart between groups; of several answers the farthest"),
        "equal opportunity difference": Row("low", "share", 0, "how far recall lies apart between groups: of class 1 of two, of more classes the farthest"),
    }

    group: str = ""
    draws: int = 1000

    def __call__(self, model: Subject, *, pairs: Samples, twins: Samples, test: Samples | None = None, retain: Samples | None = None) -> Finding:
        """Count.

        Raises:
            BadData: the two parts do not pair.
        """
        both = Pairs(pairs, twins)
        (one, labels, _), (other, _, _) = model.on(both.one), model.on(both.other)
        found = shifts(one, other, labels)
        low, high = bootstrapped(found, self.draws)
        values = {
            "counterfactual bias": Value(float(found.mean()), low, high, len(found)),
            "pairs with two answers": counted(one.argmax(1) != other.argmax(1)),
            "accuracy, other side": counted(other.argmax(1) == labels),
        }
        if test is not None:
            values |= self.of_groups(model, test, retain)
        return Finding(values)

    def of_groups(self, model: Subject, test: Samples, retain: Samples | None) -> dict[str, Value]:
        """Accuracy on the test samples, and by group where they have one.

        Raises:
            BadArgument: a group is named that the data have no column for.
        """
        logits, labels, _ = model.on(test)
        answers = logits.argmax(1)
        right = answers == labels
        values = {"accuracy, test": counted(right)}
        if not self.group:
            return values
        if self.group not in test.columns:
            raise BadArgument(f"no column {self.group!r} says which group a test sample is of; there are {sorted(test.columns)}")
        groups = [str(g) for g in test.columns[self.group]]
        if retain is not None and self.group in retain.columns:
            against = conflicting(labels, groups, retain.y, [str(g) for g in retain.columns[self.group]])
            values |= {"accuracy, bias-conflicting": counted(right[against])} if bool(against.any()) else {}
        n = len(labels)
        return values | {
            "accuracy, worst group": counted(worst(right, labels, groups)),
            "demographic parity difference": Value(parity(answers, groups), n=n),
            "equal opportunity difference": Value(opportunity(answers, labels, groups), n=n),
        }
