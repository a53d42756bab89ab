"""Relearn: how many steps of fine-tuning bring the forgotten classes back, with the head's rows as they are and drawn anew."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import ClassVar

import torch

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Samples
from untrain.core.relearning import Rows, places, relearned
from untrain.core.train import predict


@dataclass(frozen=True)
class Relearn(Audit):
    """Relearn time: the fewest optimizer steps after which forgotten test accuracy reaches (1 - alpha) of the original's.

    Fine-tuning runs on forgotten and retained training samples, a fixed share of each in every batch, in training mode.
    Sgd with momentum moves each weight in proportion to its size, w = w0 + |w0| u: a network whose units are written larger, smaller
    or in another order, and that answers the same, relearns the same. A learning rate that is the same for all weights
    would make a forgotten class of a rescaled layer.
    The anamnesis index is relearn time over the mean of the retrained models': 1 is ideal, far below 1 the class is
    still known. With a masked row the logit cannot rise and the curve looks forgotten, so the same is done with the
    forgotten rows started anew, as the mean of the others, which any attacker can do.

    A time says nothing where all run out of steps, so beside each time stands the mean of its curve: relearning recall.

    Args:
        alpha: Share of the original's accuracy that may be missing; 0.05 in Chundawat et al.
        steps: Steps at most; a model that is not there by then is said to be beyond them.
        every: Steps between two looks.
        batch: Batch size.
        share: Share of forgotten samples in every batch.
        lr: Learning rate of u.
        forgotten: Forgotten training samples, of each forgotten class.
        retained: Retained training samples, of each retained class.
        probes: Forgotten test samples looked at, in all.
    """

    question = "How fast does it come back?"
    rows: ClassVar = {
        "relearn time": Row("as retrained", "steps", -1, "steps until forgotten test accuracy reaches 95 % of the original's", "relearning"),
        "relearn time, row reset": Row("as retrained", "steps", -1, "the same, with the head's forgotten rows started anew", "relearning"),
        "relearning recall": Row("as retrained", "share", +1, "forgotten test accuracy, mean over the steps of fine-tuning", "relearning", True),
        "relearning recall, row reset": Row("as retrained", "share", +1, "the same, with the head's forgotten rows started anew", "relearning", True),
        "anamnesis index": Row("as retrained", "ratio", 0, "relearn time over the retrained models' mean, 1 where they are alike", "relearning"),
    }
    axes: ClassVar = {"relearning": ("optimizer steps", "forgotten test accuracy"), "relearning, row reset": ("optimizer steps", "forgotten test accuracy")}

    alpha: float = 0.05
    steps: int = 60
    every: int = 5
    batch: int = 64
    share: float = 10 / 64
    lr: float = 0.03
    forgotten: int = 200
    retained: int = 200
    probes: int = 500

    def __call__(self, model: Subject, *, forget: Samples, retain: Samples, test: Samples, classes: tuple[int, ...], original: Subject) -> Finding:
        """Fine-tune copies and look."""
        if not model.headed:
            return Finding(skipped="no layer of one of the models gives its logits, so no row of a head can be started anew")
        gone, known = forget.first(self.forgotten), retain.first(self.retained)
        probes = test[torch.isin(test.y, torch.tensor(classes))].at_most(self.probes)
        if not len(probes):
            return Finding(skipped="there is no test image of what was to be forgotten")
        logits, labels, _ = predict(original.network, probes)
        goal = (1 - self.alpha) * float((logits.argmax(1) == labels).double().mean())
        values, curves = {}, {}
        begins: tuple[tuple[Rows, str], ...] = (("kept", ""), ("mean", ", row reset"))
        for rows, how in begins:
            order = places(len(gone), len(known), steps=self.steps, batch=self.batch, share=self.share)
            curve = relearned(model.copy(), gone + known, order, probes, classes, rows=rows, every=self.every, lr=self.lr, optimizer="sgd")
            there = [step for step, share in curve if share >= goal]
            values[f"relearn time{how}"] = Value(float(there[0] if there else self.steps), n=len(probes), beyond=not there)
            values[f"relearning recall{how}"] = Value(statistics.fmean(share for _, share in curve), n=len(probes))
            curves[f"relearning{how}"] = ([float(s) for s, _ in curve], [a for _, a in curve])
        return Finding(values, curves)

    def beside(self, findings: dict[str, list[Finding]]) -> None:
        """The anamnesis index needs the retrained models' relearn times.

        Where one of theirs ran out of steps the index is at most its value, from 0 up; where the model's own did as well, there is none.
        """
        times = [f.values["relearn time"] for f in findings["retrained"]]
        mean = sum(t.value or 0.0 for t in times) / len(times) if times else 0.0
        late = any(t.beyond for t in times)
        for finding in (f for column in findings.values() for f in column if mean):
            own = finding.values["relearn time"]
            index = (own.value or 0.0) / mean
            if not (own.beyond and late):
                finding.values["anamnesis index"] = Value(index, 0.0 if late else None, index if late else None, beyond=own.beyond)
