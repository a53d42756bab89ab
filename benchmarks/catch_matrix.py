"""Which fake is seen by which row? Many of each, and honest models beside them: a table of docs/verdict.md is drawn from it.

    python benchmarks/catch_matrix.py WORK [EACH]   # EACH of every kind, forty where it is not said: a quarter of an hour on one thread; WORK keeps what was found
    python benchmarks/catch_matrix.py --page        # draws the table from the record that is there

Class 3 of the digits, the fakes and cheats of `audit_truth.py`, each made of another original and judged beside 8 of 24 retrained models that are drawn anew
for each. A row sees a fake where Holm's correction in its family leaves it; relearn, which takes longest by far, is not asked.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import audit_truth as truth
import torch

from untrain.audits.accuracy import Accuracy
from untrain.audits.classinstance import ClassInstance
from untrain.audits.descent import Descent
from untrain.audits.graft import Graft
from untrain.audits.predictions import Predictions
from untrain.audits.prototype import Prototype
from untrain.audits.strangeness import Strangeness
from untrain.audits.weights import Weights
from untrain.core.engine import Engine
from untrain.core.unlearn import environment
from untrain.evidence.record import finite
from untrain.evidence.statistics import holm_on_side, interval
from untrain.evidence.verdict import FAMILIES
from untrain.zoo.sets import digits

RECORD = Path(__file__).parent / "records" / "catch-matrix.json"

LABEL, EACH, REFERENCES, TEACHERS, BESIDE, WANTED = 3, 40, 24, 8, 8, 0.9
"""The class; fakes of each kind; retrained models to stand beside them; those that fakes are made of; how many are drawn; and what share is to be caught."""

LEFT_OUT = ("UNSIR", "FineTune", "NegGrad", "HeadOnly", "BatchNorm", "fine-tuned, 200", "copies moved by a pixel left in, 5", "head mask of int8", "head mask in bf16")
"""Fakes that are methods of ours, or nearly another: `audit_truth.py` has a few of each."""

COLUMNS = {
    "forgotten, test": "answers, test",
    "forgotten, training": "answers, training",
    "one-shot prototype": "one-shot prototype",
    "head-reset relearning": "head-reset relearning",
    "strangeness": "strangeness",
    "distance of answers": "distance of answers (UNLIKE)",
    "unlike the original, halfway": "original halfway (no finding)",
    "graft, forgotten": "graft",
    "instances by any signal": "instances",
}


def seen(found: dict[str, Any]) -> list[str]:
    """Rows that are found, each family by itself, as the verdict finds them."""
    out: list[str] = []
    for family in FAMILIES.values():
        sided = {name: (found["tests"][name]["p"], found["tests"][name]["side"]) for _, name in family.rows if name in found["tests"]}
        out += [name for side in ("more", "less") for name in holm_on_side(sided, side, family.level)]
    return out


def run(work: Path, each: int) -> dict[str, Any]:
    """Train, make, measure and judge; goes on where it was ended."""
    data = digits()
    rest = data.train[data.train.y != LABEL]
    originals = [truth.kept(work / f"original-{seed}.safetensors", data.train, seed) for seed in range(each)]
    honest = [truth.kept(work / f"without-{LABEL}-{seed}.safetensors", rest, seed) for seed in range(400, 400 + REFERENCES + TEACHERS)]
    references, teachers = honest[:REFERENCES], honest[REFERENCES:]
    setting = truth.Setting(LABEL, data, originals, [teachers[i % TEACHERS] for i in range(each)])
    looks, most = truth.Looks(setting), (Accuracy(), Predictions(), Prototype(), Strangeness(), Weights(), ClassInstance())
    file = work / "matrix.json"
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"honest": [], "fakes": {}}
    kinds = {name: make for name, (make, _) in truth.kinds(work).items() if not name.startswith(LEFT_OUT)}
    alone = [looks.at(module, originals[0], *most) for module in honest]
    for i, original in enumerate(originals):
        if all(len(told["fakes"].get(name, [])) > i for name in kinds):
            continue
        drawn = random.Random(i).sample(range(REFERENCES), BESIDE)
        beside = [{**alone[j], **looks.at(references[j], original, Descent(), Graft())} for j in drawn]
        before = looks.at(original, original, *most, Descent(), Graft())
        if i < len(honest):
            others = random.Random(100 + i).sample([j for j in range(len(honest)) if j != i], BESIDE)
            one, *company = [{**alone[j], **looks.at(honest[j], original, Descent(), Graft())} for j in (i, *others)]
            found = truth.judged(one, before, company)
            told["honest"] = [*told["honest"][:i], {"code": found["code"], "seen": seen(found)}]
        for name, make in kinds.items():
            torch.manual_seed(i)
            found = truth.judged(looks.at(make(setting, i).eval(), original, *most, Descent(), Graft()), before, beside)
            told["fakes"][name] = [*told["fakes"].get(name, [])[:i], {"code": found["code"], "seen": seen(found)}]
        file.write_text(json.dumps(told), encoding="utf-8")
        print(i, flush=True)
    made: dict[str, Any] = finite(
        {
            "schema": "untrain.catch-matrix/1",
            "class": LABEL,
            "each": each,
            "references": {"trained": REFERENCES, "beside": BESIDE},
            "honest": _counted(told["honest"][:each]),
            "fakes": {name: _counted(entries[:each]) for name, entries in told["fakes"].items()},
            "environment": environment(Engine().report()),
        }
    )
    return made


def _counted(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "n": len(entries),
        "codes": dict(sorted(Counter(e["code"] for e in entries).items())),
        "seen": {name: sum(name in e["seen"] for e in entries) for name in COLUMNS},
    }


def caught(cell: dict[str, Any]) -> int:
    """How many were a finding."""
    return sum(cell["codes"].get(code, 0) for code in truth.FOUND)


def table(found: dict[str, Any]) -> str:
    """The matrix: of so many, how many each row sees and how many the verdict finds."""
    columns = [row for row in COLUMNS if row in found["honest"]["seen"]]
    lines = ["| model | verdict: a finding | " + " | ".join(COLUMNS[row] for row in columns) + " | said |", "|---" * (len(columns) + 3) + "|"]
    for name, cell in {**found["fakes"], "*retrained, held out*": found["honest"]}.items():
        said = ", ".join(f"{code} {n}" for code, n in sorted(cell["codes"].items(), key=lambda item: -item[1]))
        hits = caught(cell)
        mark = f"**{hits}**" if name in found["fakes"] and hits < WANTED * cell["n"] else str(hits)
        lines.append("| " + " | ".join([name, f"{mark} of {cell['n']}", *(str(cell["seen"][row]) for row in columns), said]) + " |")
    low, high = interval(caught(found["honest"]), found["honest"]["n"])
    reached = sum(caught(cell) >= WANTED * cell["n"] for cell in found["fakes"].values())
    return "\n".join(lines) + (
        f"\n\n{reached} of {len(found['fakes'])} kinds are found in {WANTED:.0%} of {found['each']} or more; those below stand in bold. "
        f"Alarms at honest models: {caught(found['honest'])} of {found['honest']['n']} (Clopper-Pearson {low:.1%} to {high:.1%}).\n"
    )


if __name__ == "__main__":
    truth.called(run, table, record=RECORD, mark="matrix", each=EACH, work="audit-truth")
