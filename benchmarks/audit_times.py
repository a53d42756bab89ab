"""How long do the audits take, forward passes aside? On CIFAR-10 with our ResNet-20: what docs/verdict.md says of it.

    python benchmarks/audit_times.py     # some minutes on one thread; CIFAR-10 in the folder that UNTRAIN_DATA names

Class 3, the mask on the head as what is judged, and half of the test images as a hold-out, so that every audit of the quick tier has what it asks for. What a model says of a part
is computed once for all audits (the forward passes) and measured apart. Seconds are of the processor and of one thread: the clock of a machine of two quiet cores shows fewer.
"""

from __future__ import annotations

import copy
import json
import platform
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

QUICK = ("accuracy", "predictions", "weights", "graft", "membership", "dormant", "splitrelearn", "classinstance")
"""Asked without a retrained model, of the original and of what is judged; the standard tier is what is asked where nothing is named, of these and of the retrained models."""


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


def measured(models: dict[str, Subject], split: Split, audits: list[Audit]) -> dict[str, Any]:
    """Seconds of each audit on each model, and of the forward passes that all of them took."""
    clock, out = Clock(), dict[str, Any]()
    given: dict[str, Any] = {**split.parts, "classes": split.classes, "original": models["original"], "retrained": (models["retrained"],)}
    with clock.apart():
        for asked in audits:
            evidence = {n: given[n] for n in (*asked.needs, *asked.wants) if n in given}
            out[name_of(asked)] = {}
            # A retrained model takes as long as the others, so that what is not of the standard tier need not be asked of it.
            for name, subject in models.items():
                if name == "retrained" and asked.by_name:
                    continue
                began, before = time.process_time(), clock.passes
                with seeded(0, engine=subject.engine, network=subject.network):
                    found = asked(subject, **evidence)
                if found.skipped:
                    raise SystemExit(f"{name_of(asked)} was skipped: {found.skipped}")
                out[name_of(asked)][name] = round(time.process_time() - began - (clock.passes - before), 3)
            print(name_of(asked), out[name_of(asked)], f"{clock.passes:.1f} s of forward passes so far", flush=True)
    return {"audits": out, "passes": round(clock.passes, 1)}


def main() -> None:
    """Measure, and draw."""
    data = untrain.load("cifar10")
    even = torch.arange(len(data.test)) % 2 == 0
    original = untrain.load_model("resnet20")
    models = {"original": original, "unlearned": copy.deepcopy(original), "retrained": copy.deepcopy(original)}
    for name, file in (("original", "original_s0"), ("unlearned", "original_s0"), ("retrained", f"retrain_{LABEL}_s0")):
        models[name].load_state_dict(load_weights(REFERENCES / f"{file}.safetensors"))
    untrain.Network(models["unlearned"]).head.mask([LABEL])
    split = prepared(original, Split.by_class(data.train, data.test[even], forget=[LABEL], holdout=data.test[~even]))
    subjects = {name: Subject(model, width=10) for name, model in models.items()}
    for subject in subjects.values():
        subject.network.locate(split.test.batch(torch.arange(2))[0])
    names = list(dict.fromkeys([*QUICK, *usual()]))
    found = measured(subjects, split, [lookup("audits", name)() for name in names])
    made = {"schema": "untrain.audit-times/1", "class": LABEL, "beside": BESIDE, "quick": QUICK, "usual": usual(), **found}
    made["environment"] = environment(subjects["original"].engine.report()) | {"machine": platform.machine(), "threads": torch.get_num_threads()}
    write(OUT, record.dumps(record.finite(made)))
    page()


def tiers(found: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the quick tier, on the original and the model that is judged; and of the standard one, on these and the retrained models."""
    each = found["audits"]
    quick = sum(each[name]["original"] + each[name]["unlearned"] for name in found["quick"])
    standard = sum(each[name]["original"] + each[name]["unlearned"] + found["beside"] * each[name]["retrained"] for name in found["usual"])
    return quick, standard


def sentence(found: dict[str, Any]) -> str:
    """What the page says."""
    quick, standard = tiers(found)
    longest = sorted(found["audits"], key=lambda name: -found["audits"][name]["unlearned"])[:3]
    most = ", ".join(f"`{name}` {found['audits'][name]['unlearned']:.1f}" for name in longest)
    without = ", ".join(f"`{name}`" for name in found["quick"])
    return (
        f"On CIFAR-10 with a ResNet-20, one thread, forward passes aside: the audits that ask for no retrained model ({without}) "
        f"take {quick:.0f} seconds of the processor for the original and the model that is judged. What is asked where nothing is named takes, "
        f"beside {found['beside']} retrained models, {standard:.0f}, the training of those aside. The longest, for one model: {most} seconds.\n"
    )


def page() -> None:
    """Draw the sentence from the record."""
    found = json.loads(OUT.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(placed(text, "truth times", sentence(found)), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
