"""Relearn: how many steps of fine-tuning bring the forgotten classes back, with the head's rows as they are and drawn anew."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from untrain.core.audit import Audit, Finding, Row, Subject, Value
from untrain.core.data import Inputs, Samples
from untrain.core.network import Network
from untrain.core.train import minimize, predict


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
        for reset, how in ((False, ""), (True, ", row reset")):
            curve = self._curve(model, gone, known, probes, classes, reset)
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

    def _curve(self, model: Subject, gone: Samples, known: Samples, probes: Samples, classes: tuple[int, ...], reset: bool) -> list[tuple[int, float]]:
        copy = _Relative(model.copy(), classes, reset)
        copy.network.train()
        of_gone = max(1, round(self.share * self.batch))
        places = torch.cat([_cycled(len(gone), self.steps, of_gone), len(gone) + _cycled(len(known), self.steps, self.batch - of_gone)], 1)
        curve: list[tuple[int, float]] = []
        taken = iter(range(self.steps))

        def loss(x: Inputs, y: Tensor) -> Tensor:
            step = next(taken)
            if step % self.every == 0:
                curve.append((step, copy.recall(probes)))
            return F.cross_entropy(copy(x), y)

        batches = (gone + known)[places.flatten()].batches(self.batch, shuffle=False)
        minimize(loss, list(copy.moved.values()), batches, phase="relearn", lr=self.lr, optimizer="sgd")
        return [*curve, (self.steps, copy.recall(probes))]


class _Relative:
    """A network whose weights are w0 + s u, u beginning at nothing: s is each weight's own size, in rows that start anew the mean size of the others'.

    Args:
        network: The network; w0 are its weights.
        classes: The rows of its head that are to be relearned.
        reset: Whether these begin as the mean of the others.
    """

    def __init__(self, network: Network, classes: tuple[int, ...], reset: bool) -> None:
        network.module.requires_grad_(False)
        self.network, self.held = network, _Held(network.module)
        self.begun = {n: p.detach().clone() for n, p in network.named_parameters().items() if p.is_floating_point()}
        self.sizes = {n: p.abs() for n, p in self.begun.items()}
        rows, others = list(classes), [i for i in range(network.head.width) if i not in classes]
        for name in network.head.rows(classes) if reset else ():
            self.begun[name][rows] = self.begun[name][others].mean(0)
            self.sizes[name][rows] = self.sizes[name][others].mean(0)
        self.moved = {n: torch.zeros_like(p).requires_grad_() for n, p in self.begun.items()}

    def __call__(self, x: Inputs) -> Tensor:
        """Logits [n, C]."""
        weights = {f"inner.{n}": self.begun[n] + self.sizes[n] * u for n, u in self.moved.items()}
        out: Tensor = functional_call(self.held, weights, (x,))
        return out

    @torch.no_grad()
    def recall(self, probes: Samples) -> float:
        """Share of the probes that are named rightly now."""
        for name, p in self.network.named_parameters().items():
            if name in self.moved:
                p.copy_(self.begun[name] + self.sizes[name] * self.moved[name])
        logits, labels, _ = predict(self.network, probes)
        return float((logits.argmax(1) == labels).double().mean())


class _Held(nn.Module):
    """A network as a module whose weights can be exchanged for a call.

    Args:
        inner: The network's module.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Inputs) -> Tensor:
        """Logits [n, C]."""
        return Network(self.inner)(x)


def _cycled(n: int, steps: int, each: int) -> Tensor:
    """Places [steps, each] of n samples, in one random order after the other."""
    return torch.cat([torch.randperm(n) for _ in range(-(-steps * each // n))])[: steps * each].view(steps, each)
