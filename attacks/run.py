"""Run attacks on our own audits, and show what is said of each: `python attacks/run.py [FILE ...]`."""

import importlib.util
import sys
from pathlib import Path

import torch

import untrain
from untrain.core.unlearn import correct, prepared

HERE = Path(__file__).parent
LABEL = 8
ASKED = ("Accuracy", "Weights", "Prototype", "Strangeness", "Descent")


def loaded(file):
    """An attack's file, as a module."""
    spec = importlib.util.spec_from_file_location(f"attack_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files():
    """Every attack of this folder."""
    return sorted(path for path in HERE.glob("*.py") if path.name != "run.py")


def ran(attack, retrained=()):
    """What comes of an attack on the bundled digits' network, which is to forget a class.

    Args:
        attack: The module of its file.
        retrained: Models that never saw the class, where there are any.

    Returns:
        `code` and `sentence` of the verdict; how often the class is named before, after, and once it is `unhidden`; and what is `retained`.
    """
    data, original = untrain.load("digits"), untrain.load_model("digits")
    split = untrain.Split.by_class(data.train, data.test, forget=[LABEL])
    with untrain.seeded(0):
        fake = attack.attack(original, split)
    test = prepared(original, split).test
    gone = test.y == LABEL
    asked = [getattr(untrain, name)() for name in ASKED]
    entries = untrain.audit(fake, split, asked, original=original, retrained=retrained)
    verdict = untrain.judge(entries, (), f"class {LABEL}")
    named = {"before": original, "after": fake, "unhidden": attack.unhide(fake, original)}
    return {"code": verdict["code"], "sentence": verdict["sentence"], "retained": correct(fake, test[~gone])} | {name: correct(m, test[gone]) for name, m in named.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for path in [Path(name) for name in sys.argv[1:]] or files():
        attack = loaded(path)
        found = ran(attack)
        print(f"{path.name}: class {LABEL} is named in {found['before']:.0%} of its images before, {found['after']:.0%} after, {found['unhidden']:.0%} unhidden")
        print(f"  {found['sentence']}")
        print(f"  {'as expected' if found['code'] in attack.EXPECTED else 'NOT as expected: ' + ', '.join(attack.EXPECTED)}")
