"""Do the audits hold their word on two hundred honest models? Alarms, and what is said where nothing was forgotten: a table of docs/verdict.md is drawn from it.

    python benchmarks/audit_proof.py WORK [EACH]   # what `make audit-proof` runs: EACH models of each class, a hundred where it is not said: half an hour on one thread
    python benchmarks/audit_proof.py --page        # draws the table from the record that is there

A hundred networks of the digits are trained without each of two classes, and forty on all; every audit that a verdict looks at is asked of each
(relearn, which takes longest by far, of one class alone; splitrelearn, which needs a hold-out, of none). An honest model is judged beside eight of the
other ninety-nine and an original. The same eight then stand beside that original, of which nothing was forgotten, and beside another one in its place,
which no comparison of weights or answers takes for it.
WORK keeps each network under the hash of its recipe, its samples and its seed, and each answer under that of all that it hangs on, so that what was killed goes on.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import audit_truth as truth
from torch import nn

from untrain.audits.accuracy import Accuracy
from untrain.audits.classinstance import ClassInstance
from untrain.audits.descent import Descent
from untrain.audits.graft import Graft
from untrain.audits.predictions import Predictions
from untrain.audits.prototype import Prototype
from untrain.audits.relearn import Relearn
from untrain.audits.strangeness import Strangeness
from untrain.audits.weights import Weights
from untrain.core.audit import Audit
from untrain.core.data import Samples
from untrain.core.data.overlap import raw_digests
from untrain.core.engine import Engine
from untrain.core.files import weights_hash
from untrain.core.unlearn import environment
from untrain.evidence.record import finite
from untrain.evidence.statistics import holm, interval
from untrain.evidence.verdict import FAMILIES
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import digits

RECORD = Path(__file__).parent / "records" / "audit-proof.json"

CLASSES, EACH, ORIGINALS, BESIDE, DRAWS = (3, 8), 100, 40, (5, 8), 20
"""Classes to forget; networks without each; those that know all; how many retrained ones stand beside one; and how often these are drawn for the share of all draws."""

WHOM = ("retrained", "nothing done", "trained on everything anew")
"""Models that are judged."""

OFTEN = f"retrained, {DRAWS} draws of {BESIDE[-1]}"
"""Honest models once more, beside others that are drawn often; of these rows alone that hang on no original."""

MOST = {200: 21}
"""Of so many honest models, how many may be found at most: the 99.9 % bound of a binomial at 5 %."""

ALONE: tuple[Audit, ...] = (Predictions(), Prototype(), Strangeness(), ClassInstance())
"""Asked of a model by itself; where it is asked of a class, relearn too."""

PAIRED: tuple[Audit, ...] = (Accuracy(), Weights(), Descent(), Graft())
"""Asked beside an original."""


def digest(*what: Any) -> str:
    """Hash of what a network or an answer hangs on."""
    return hashlib.sha256(repr(what).encode()).hexdigest()[:24]


def network(work: Path, samples: Samples, seed: int) -> nn.Module:
    """A network of the digits, out of its file where it is there."""
    known = hashlib.sha256(b"".join(raw_digests(samples)) + samples.y.numpy().tobytes()).hexdigest()
    return truth.kept(work / f"{digest(recipe_for('digits', 10), known, seed)}.safetensors", samples, seed)


class Answers:
    """What audits say of models, read back where the same was asked before."""

    def __init__(self, work: Path) -> None:
        self.file = work / "answers.jsonl"
        self.known: dict[str, truth.Measured] = {}
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else ():
            try:
                self.known.update(json.loads(line))
            except json.JSONDecodeError:
                # The last line, of a run that was killed while it wrote.
                continue
        self.hashes: dict[int, str] = {}

    def ask(self, looks: truth.Looks, module: nn.Module, original: nn.Module, *audits: Audit) -> truth.Measured:
        """Each row's value of a model, beside an original."""
        keys = [digest(looks.setting.label, self.hashed(module), self.hashed(original), asked) for asked in audits]
        absent = {key: asked for key, asked in zip(keys, audits, strict=True) if key not in self.known}
        if absent:
            entries = looks.at(module, original, *absent.values())
            new = {key: {name: rows} for key, (name, rows) in zip(absent, entries.items(), strict=True)}
            self.known |= new
            with self.file.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps(new))
        return {name: rows for key in keys for name, rows in self.known[key].items()}

    def hashed(self, module: nn.Module) -> str:
        """Hash of a model that stays in memory."""
        if id(module) not in self.hashes:
            self.hashes[id(module)] = weights_hash(module.state_dict())
        return self.hashes[id(module)]


def found(verdict: Mapping[str, Any], family: str, level: float) -> bool:
    """Whether a family alone finds something at this level."""
    return bool(holm({name: verdict["tests"][name]["p"] for _, name in FAMILIES[family].rows if name in verdict["tests"]}, level))


def _told(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Codes, which rows were found, and how often recovery alone finds something."""
    codes, flagged = Counter(v["code"] for v in verdicts), Counter(name for v in verdicts for name in v["flagged"])
    recovery = {str(level): sum(found(v, "recovery", level) for v in verdicts) for level in (0.05, 0.01)}
    return {"verdicts": len(verdicts), "codes": dict(sorted(codes.items())), "near": truth.near(verdicts), "flagged": dict(sorted(flagged.items())), "recovery": recovery}


def judged(label: int, originals: list[nn.Module], honest: list[nn.Module], looks: truth.Looks, answers: Answers) -> dict[str, Any]:
    """All verdicts of a class."""
    each, of, most = len(honest), len(originals), max(BESIDE)
    alone = (*ALONE, *([Relearn()] if label in truth.RELEARNED else []))
    before = [answers.ask(looks, original, original, *alone, *PAIRED) for original in originals]
    # How soon it relearns is told against an original; no row that is judged is.
    rows = [answers.ask(looks, module, originals[0], *alone) for module in honest]
    verdicts: dict[str, list[dict[str, Any]]] = {f"{who}, m = {m}": [] for who in WHOM for m in BESIDE}
    often = []
    for i, module in enumerate(honest):
        original, other = originals[i % of], originals[(i + 1) % of]
        rng, others = random.Random(f"{label} {i}"), [j for j in range(each) if j != i]
        drawn = rng.sample(others, most)
        company = [{**rows[j], **answers.ask(looks, honest[j], original, *PAIRED)} for j in drawn]
        models = (
            {**rows[i], **answers.ask(looks, module, original, *PAIRED)},
            before[i % of],
            {**before[(i + 1) % of], **answers.ask(looks, other, original, *PAIRED)},
        )
        for m in BESIDE:
            for who, model in zip(WHOM, models, strict=True):
                verdicts[f"{who}, m = {m}"].append(truth.judged(model, before[i % of], company[:m]))
        # What is judged by itself alone: recovery, and relearning.
        often += [truth.judged(rows[i], before[i % of], [rows[j] for j in rng.sample(others, most)]) for _ in range(DRAWS)]
        print(label, i, {name: v[-1]["code"] for name, v in verdicts.items()}, flush=True)
    return {name: _told(v) for name, v in verdicts.items()} | {OFTEN: _told(often)}


def run(work: Path, each: int) -> dict[str, Any]:
    """Train, ask and judge; goes on where it was ended."""
    data, cells = digits(), {}
    rests = {label: data.train[data.train.y != label] for label in CLASSES}
    originals = [network(work, data.train, seed) for seed in range(min(each, ORIGINALS))]
    honest: dict[int, list[nn.Module]] = {label: [] for label in CLASSES}
    for i in range(each):
        # In turns, so that what was trained before an end is as much of each class.
        for label in CLASSES:
            honest[label].append(network(work, rests[label], 100 * (1 + label) + i))
        print("trained", i + 1, flush=True)
    answers = Answers(work)
    for label in CLASSES:
        cells[str(label)] = judged(label, originals, honest[label], truth.Looks(truth.Setting(label, data, originals, honest[label])), answers)
    made: dict[str, Any] = finite(
        {
            "schema": "untrain.audit-proof/1",
            "each": each,
            "originals": len(originals),
            "families": {name: family.level for name, family in FAMILIES.items()},
            "classes": cells,
            "environment": environment(Engine().report()),
        }
    )
    return made


# The page.


def flagged(cell: Mapping[str, Any]) -> int:
    """How many verdicts are a finding."""
    return sum(cell["codes"].get(code, 0) for code in truth.FOUND)


def both(made: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A cell of all classes together."""
    cells = [about[name] for about in made["classes"].values()]
    codes, near = Counter[str](), Counter[str]()
    for cell in cells:
        codes.update(cell["codes"])
        near.update(cell["near"])
    recovery = {level: sum(cell["recovery"][level] for cell in cells) for level in cells[0]["recovery"]}
    return {"verdicts": sum(cell["verdicts"] for cell in cells), "codes": dict(codes), "near": dict(near), "recovery": recovery}


def _drawn(made: Mapping[str, Any], row: str) -> str:
    """In how many of all draws a row finds an honest model, by class."""
    cells = {label: about[OFTEN] for label, about in made["classes"].items()}
    shares = {label: cell["flagged"].get(row, 0) / cell["verdicts"] for label, cell in cells.items()}
    return " and ".join(f"{share:.1%} of draws of class {label}" for label, share in shares.items())


def table(made: Mapping[str, Any]) -> str:
    """Of so many, how many were found, and what was said."""
    lines = ["| model | class | judged | a finding | recovery alone, at 5 % | at 1 % | NO_RESIDUE | of these near by all, some, none | said |", "|---" * 9 + "|"]
    for name in next(iter(made["classes"].values())):
        for label in (*(made["classes"] if name.startswith("retrained") else ()), "both"):
            cell = both(made, name) if label == "both" else made["classes"][label][name]
            n = cell["verdicts"]
            said = ", ".join(f"{code} {k}" for code, k in sorted(cell["codes"].items(), key=lambda item: -item[1]))
            row = [f"{k} ({k / n:.1%})" for k in (flagged(cell), *cell["recovery"].values())]
            clear = str(cell["codes"].get("NO_RESIDUE", 0))
            near = ", ".join(f"{cell['near'][kind]}" for kind in truth.NEAR) if clear != "0" else ""
            lines.append("| " + " | ".join([name, label, f"{n:,}", *row, clear, near, said.replace(f"NO_RESIDUE {clear}, ", "")]) + " |")
    honest, nothing = both(made, f"retrained, m = {BESIDE[-1]}"), [both(made, f"{who}, m = {m}") for who in ("nothing done", "trained on everything anew") for m in BESIDE]
    k, n = flagged(honest), honest["verdicts"]
    low, high = interval(k, n)
    most = f", where at most {MOST[n]} are let pass" if n in MOST else ""
    often = made["classes"][str(truth.RELEARNED[0])][OFTEN]
    relearned = often["flagged"].get("relearning recall", 0)
    cleared, of = sum(cell["codes"].get("NO_RESIDUE", 0) for cell in nothing), sum(cell["verdicts"] for cell in nothing)
    return "\n".join(lines) + (
        f"\n\nBeside eight retrained models {k} of {n} honest ones are found (Clopper-Pearson {low:.1%} to {high:.1%}){most}. "
        f"Where nothing was forgotten NO_RESIDUE is said in {cleared} of {of} verdicts, on {made['originals']} originals. "
        f"Of class {truth.RELEARNED[0]} relearning with the head as it is finds {relearned:,} of {often['verdicts']:,} draws ({relearned / often['verdicts']:.1%}), "
        f"where {made['families']['relearning']:.0%} is asked. "
        f"Of the {honest['codes']['NO_RESIDUE']} that are said to have no residue beside eight, {honest['near']['all']} are shown by every row that says so to be nearer "
        f"to the retrained models than to the original, {honest['near']['some']} by some and {honest['near']['none']} by none: a verdict that asked for one such row "
        "would be silent on the last. "
        f"How it is answered, asked at {made['families']['company']:.0%}, finds {_drawn(made, 'distance of answers')}.\n"
    )


if __name__ == "__main__":
    truth.called(run, table, record=RECORD, mark="proof", each=EACH, work="audit-proof")
