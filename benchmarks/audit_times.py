"""How long do the audits take, forward passes aside? On CIFAR-10 with our ResNet-20: what docs/verdict.md says of it.

    python benchmarks/audit_times.py           # ten minutes on one quiet thread; CIFAR-10 in the folder that UNTRAIN_DATA names
    python benchmarks/audit_times.py relearn   # those that are named alone, into the record that is there
    python benchmarks/audit_times.py --page    # draws the table from the record that is there

Class 3, the mask on the head as what is judged, and half of the test images as a hold-out, so that every audit of the quick tier has what it asks for of a class.
What a model says of a part is computed once for all audits (the forward passes) and measured apart. Seconds are of the processor and of one thread: the clock of a machine of
two quiet cores shows fewer.
"""

from __future__ import annotations

import copy
import json
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from asked import placed

import untrain
from untrain.core.audit import Audit, Subject
from untrain.core.data import Split
from untrain.core.discover import lookup, name_of, usual
from untrain.core.engine import seeded
from untrain.core.files import load_weights, write
from untrain.core.unlearn import environment, prepared
from untrain.evidence import record

HERE = Path(__file__).parent
OUT, PAGE, REFERENCES = HERE / "records" / "audit-times.json", HERE.parent / "docs" / "verdict.md", HERE / "references" / "cifar10"

LABEL, BESIDE = 3, 5
"""The class to forget, and retrained models of the standard tier."""

WITHIN = {"quick": 60, "standard": 180}
"""Seconds that each tier should take on two cores, forward passes and the training of retrained models aside."""

RETAINED = 9000
"""Retained training images that are at hand, drawn by chance: what trains sees fewer, and the passes over them are not counted."""

QUICK = ("accuracy", "predictions", "weights", "graft", "membership", "dormant", "classinstance")
"""Asked of a class without a retrained model; the standard tier is what is asked where nothing is named, of these and of the retrained models."""


class Clock:
    """Processor seconds of what is asked, those of forward passes apart."""

    def __init__(self) -> None:
        self.passes = 0.0

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Count what is said of a part as forward passes, where it is said for the first time."""
        whole = Subject.on

        def on(subject: Subject, samples: Any) -> Any:
            began = time.process_time()
            try:
                return whole(subject, samples)
            finally:
                self.passes += time.process_time() - began

        Subject.on = on  # type: ignore[method-assign]
        try:
            yield
        finally:
            Subject.on = whole  # type: ignore[method-assign]


def measured(models: dict[str, Subject], split: Split, audits: list[Audit]) -> dict[str, dict[str, float]]:
    """Seconds of each audit on each model, and of the forward passes that it was the first to ask for."""
    clock, out = Clock(), dict[str, dict[str, float]]()
    given: dict[str, Any] = {**split.parts, "classes": split.classes, "original": models["original"], "retrained": (models["retrained"],)}
    with clock.apart():
        for asked in audits:
            evidence, first = {n: given[n] for n in (*asked.needs, *asked.wants) if n in given}, clock.passes
            of = out[name_of(asked)] = dict[str, float]()
            # A retrained model stands beside, and is taken to take as long as the one that is judged.
            for name in ("original", "unlearned"):
                subject, began, before = models[name], time.process_time(), clock.passes
                with seeded(0, engine=subject.engine, network=subject.network):
                    found = asked(subject, **evidence)
                if found.skipped:
                    raise SystemExit(f"{name_of(asked)} was skipped: {found.skipped}")
                of[name] = round(time.process_time() - began - (clock.passes - before), 3)
            of["passes"] = round(clock.passes - first, 1)
            print(name_of(asked), of, flush=True)
    return out


def main(named: list[str]) -> None:
    """Measure, and draw."""
    data = untrain.load("cifar10")
    even = torch.arange(len(data.test)) % 2 == 0
    original = untrain.load_model("resnet20")
    models = {"original": original, "unlearned": copy.deepcopy(original), "retrained": copy.deepcopy(original)}
    for name, file in (("original", "original_s0"), ("unlearned", "original_s0"), ("retrained", f"retrain_{LABEL}_s0")):
        models[name].load_state_dict(load_weights(REFERENCES / f"{file}.safetensors"))
    untrain.Network(models["unlearned"]).head.mask([LABEL])
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    gone, kept = (order[(data.train.y[order] == LABEL) == whether] for whether in (True, False))
    split = prepared(original, Split(data.train[gone], data.train[kept[:RETAINED]], data.test[even], (LABEL,), holdout=data.test[~even]))
    subjects = {name: Subject(model, width=10) for name, model in models.items()}
    for subject in subjects.values():
        subject.network.locate(split.test.batch(torch.arange(2))[0])
    known = json.loads(OUT.read_text(encoding="utf-8"))["audits"] if named else {}
    found = measured(subjects, split, [lookup("audits", name)() for name in named or dict.fromkeys([*QUICK, *usual()])])
    made = {"schema": "untrain.audit-times/1", "class": LABEL, "retained": RETAINED, "beside": BESIDE, "quick": QUICK, "standard": usual(), "audits": known | found}
    made["environment"] = environment(subjects["original"].engine.report()) | {"machine": platform.machine(), "threads": torch.get_num_threads()}
    write(OUT, record.dumps(record.finite(made)))
    page()


def tier(found: dict[str, Any], name: str) -> float:
    """Seconds of a tier: on the original and the model that is judged, and in the standard one on retrained models, which take as long as that."""
    models = 1 + (found["beside"] if name == "standard" else 0)
    return sum(of["original"] + models * of["unlearned"] for of in (found["audits"][asked] for asked in found[name] if asked in found["audits"]))


def table(found: dict[str, Any]) -> str:
    """What the page shows."""
    lines = ["| audit | original | judged | forward passes of both | quick | standard |", "|---" * 6 + "|"]
    for name, of in sorted(found["audits"].items(), key=lambda item: -item[1]["unlearned"]):
        cells = (f"{of['original']:.2f}", f"{of['unlearned']:.2f}", f"{of['passes']:.1f}", *("yes" if name in found[which] else "" for which in WITHIN))
        lines.append("| " + " | ".join([f"`{name}`", *cells]) + " |")
    quick, standard = (
        f"{(taken := tier(found, name)):.0f}, {'more' if taken > 2 * within else 'no more'} than the {2 * within} that two cores have in {within // 60} minute{'s' * (within > 60)}"
        for name, within in WITHIN.items()
    )
    absent = ", ".join(f"`{name}`" for name in found["standard"] if name not in found["audits"])
    standard = f"of these {absent} are not measured yet" if absent else f"it takes {standard}"
    return "\n".join(lines) + (
        f"\n\nSeconds of the processor on one thread, of class {found['class']} of CIFAR-10, {found['retained']:,} retained images and a ResNet-20. "
        "What a model says of a part is computed once for all audits, "
        "by the first that asks, and stands apart: these are the forward passes. "
        f"The quick tier is what asks a class for no retrained model, of the original and of what is judged: it takes {quick}. "
        f"The standard one is what is asked where nothing is named, beside {found['beside']} retrained models, "
        f"which are taken to take as long as what is judged: {standard}.\n"
    )


def page() -> None:
    """Draw the table from the record."""
    found = json.loads(OUT.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(placed(text, "truth times", table(found)), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    page() if sys.argv[1:] == ["--page"] else main(sys.argv[1:])
