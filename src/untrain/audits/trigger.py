"""Trigger: does what was planted in the data still decide the answer?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrain.core.audit import Audit, Finding, Row, Subject, counted
from untrain.core.data import Samples


@dataclass(frozen=True)
class Trigger(Audit):
    """The share of test images of other classes that are called the trigger's class once it is put into them, and the accuracy without it.

    Gu et al., BadNets, 2017, arXiv:1708.06733. A model that never saw the trigger calls some of them so too, where they look like the class or
    the patch hides what they are: the measure is a retrained model's share, or, where there is none, the same images without the trigger. It
    sees the trigger that it is given and no other, and joins no verdict.
    """

    question = "Does the trigger still decide the answer?"
    by_name: ClassVar = True
    rows: ClassVar = {
        "attack success": Row("as retrained", "share", +1, "test images of other classes that are called the trigger's class with the trigger in them"),
        "clean accuracy": Row("high", "share", 0, "test images without a trigger named rightly"),
        "called so without it": Row("as retrained", "share", 0, "test images of other classes that are called the trigger's class without it"),
    }

    def __call__(self, model: Subject, *, test: Samples, triggered: Samples) -> Finding:
        """Count."""
        logits, labels, _ = model.on(triggered)
        plain, true, _ = model.on(test)
        said, target = plain.argmax(1), labels[0]
        return Finding(
            {
                "attack success": counted(logits.argmax(1) == labels),
                "clean accuracy": counted(said == true),
                "called so without it": counted(said[true != target] == target),
            }
        )
