"""Scores: the field's sums of accuracies and of an attack on membership, told for comparison with papers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from untrain.core.audit import Audit, Finding, Row, Subject, Value, counted
from untrain.core.data import Samples
from untrain.metrics.summary import aus, interclass_confusion, nomus, tug_of_war


@dataclass(frozen=True)
class Scores(Audit):
    """Tug-of-war, NoMUS, AUS, SVC membership and interclass confusion, as papers define them; none of them decides a verdict.

    All are made of answers, which a mask on the head changes at will. SVC membership is SalUn's (Fan et al., 2023, arXiv:2310.12508): a support vector
    machine (C = 3) told retained from test samples by the probability of their label, and the share of the forgotten that it calls not seen. It
    is popular and weak: retained and test samples differ in more than membership, so that it is to be compared with a retrained model's and not
    with 1. NoMUS's attack is a logistic regression on losses, forgotten against test samples, five-fold; below one half it fails as well as above.
    Interclass confusion is told where the forgotten samples have two labels, as where labels were swapped. Accuracies of test
    samples are of the classes that stay.

    Args:
        most: Samples of each part looked at, the same number of each class.
        fitted: Samples of each kind that the two attacks are fitted to.
    """

    question = "What do the field's summary scores say?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "tug-of-war": Row("high", "share", 0, "product of 1 less the gaps in accuracy to the retrained models, on forget, retain and test set; 1 where all are alike"),
        "NoMUS": Row("as retrained", "share", 0, "half test accuracy, half how near an attack by losses comes to guessing"),
        "AUS": Row("as retrained", "share", 0, "adaptive unlearning score: test accuracy kept, over 1 and what is answered of the forgotten, of classes in test images"),
        "SVC membership": Row("as retrained", "share", 0, "forgotten samples that a support vector machine calls not seen (SalUn's MIA)"),
        "interclass confusion": Row("low", "share", 0, "test samples of the two forgotten labels that are called the other"),
    }

    most: int = 5000
    fitted: int = 1000

    def __call__(
        self,
        model: Subject,
        *,
        forget: Samples,
        retain: Samples,
        test: Samples,
        classes: tuple[int, ...] = (),
        original: Subject | None = None,
        retrained: tuple[Subject, ...] = (),
    ) -> Finding:
        """Sum up."""
        parts = {"forget": forget.at_most(self.most), "retain": retain.at_most(self.most), "test": test[~torch.isin(test.y, torch.tensor(classes, dtype=torch.long))]}
        if not all(len(part) for part in parts.values()):
            return Finding(skipped="a part has no sample of what is to be compared")
        right = {name: _accuracy(model, part) for name, part in parts.items()}
        values: dict[str, Value] = {}
        others = [r for r in retrained if r is not model]
        if others:
            theirs = [statistics.fmean(_accuracy(r, part) for r in others) for part in parts.values()]
            values["tug-of-war"] = Value(tug_of_war(list(right.values()), theirs))
        if original is not None:
            # Of classes the authors' code asks test images, where the forget set is of training images.
            left = test[torch.isin(test.y, torch.tensor(classes))] if classes else parts["forget"]
            values |= {"AUS": Value(aus(right["test"], _accuracy(original, parts["test"]), _accuracy(model, left), classes=bool(classes)))} if len(left) else {}
        alike = test[torch.isin(test.y, torch.unique(forget.y))]
        if min(len(alike), len(parts["forget"])) >= 10:
            values["NoMUS"] = Value(nomus(right["test"], _attack(_losses(model, _few(parts["forget"], len(alike))), _losses(model, _few(alike, len(parts["forget"]))))))
        values["SVC membership"] = self._svc(model, parts)
        pair = torch.unique(forget.y).tolist()
        if not classes and len(pair) == 2 and len(alike):
            hits, n = interclass_confusion(model.on(alike)[0].argmax(1), alike.y, (pair[0], pair[1]))
            values["interclass confusion"] = counted(torch.arange(n) < hits)
        return Finding(values)

    def _svc(self, model: Subject, parts: dict[str, Samples]) -> Value:
        from sklearn.svm import SVC

        size = min(self.fitted, len(parts["retain"]), len(parts["test"]))
        sides = [_sure(model, _few(parts[name], size)) for name in ("retain", "test")]
        told = [1] * len(sides[0]) + [0] * len(sides[1])
        machine: Any = SVC(C=3, gamma="auto").fit(torch.cat(sides)[:, None].numpy(), told)
        return counted(torch.tensor(machine.predict(_sure(model, parts["forget"])[:, None].numpy()) == 0))


def _few(samples: Samples, n: int) -> Samples:
    """At most n of them, spread evenly over their order."""
    return samples if len(samples) <= n else samples[torch.arange(n) * len(samples) // n]


def _accuracy(model: Subject, samples: Samples) -> float:
    logits, labels, _ = model.on(samples)
    return float((logits.argmax(1) == labels).double().mean())


def _sure(model: Subject, samples: Samples) -> Tensor:
    logits, labels, _ = model.on(samples)
    return logits.double().softmax(1).gather(1, labels[:, None])[:, 0]


def _losses(model: Subject, samples: Samples) -> Tensor:
    logits, labels, _ = model.on(samples)
    # Of a class that is answered with minus infinity it is infinite, to which nothing can be fitted: no number of 64 bits has a smaller logarithm.
    return -logits.double().log_softmax(1).gather(1, labels[:, None])[:, 0].clamp(min=-745.0)


def _attack(mine: Tensor, others: Tensor) -> float:
    """Accuracy of a logistic regression that tells the two by their losses, each sample by a fit without it (five folds)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    told = [1] * len(mine) + [0] * len(others)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(LogisticRegression(), torch.cat([mine, others])[:, None].numpy(), told, cv=folds).mean())
