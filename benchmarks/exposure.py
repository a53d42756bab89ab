"""Whom do attacks see that know models with and without each sample? On digits whose truth is known: what docs/exposure.md is drawn from.

    python benchmarks/exposure.py     # some minutes on one thread

A perceptron 64-64-10 on 600 digits without augmentation, of which 100 drawn by chance are to be forgotten; 100 others of the same kind were never seen.
Once with their labels as they are, and once with wrong labels drawn for the forgotten and the never seen alike, which can only be learned by heart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrain.audits.exposure import Exposure
from untrain.audits.membership import Membership
from untrain.core.audit import Shadow, audit, halves
from untrain.core.data import Samples, Split
from untrain.core.engine import Engine, seeded
from untrain.core.files import write
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import fit
from untrain.core.unlearn import correct, environment, unlearn
from untrain.evidence import record
from untrain.methods.finetune import FineTune
from untrain.methods.neggradplus import NegGradPlus
from untrain.methods.randomlabel import RandomLabel
from untrain.verbs.shadowing import by_chance, left_by
from untrain.zoo.sets import digits

OUT = Path(__file__).parent / "records" / "exposure.json"
SHADOWS, FEW, HONEST = 64, 16, 4
TRAINING = {"epochs": 60, "lr": 3e-3, "batch": 50}
METHODS: dict[str, Method] = {
    "fine-tuned on the retained": FineTune(epochs=10, lr=0.02),
    "random labels": RandomLabel(epochs=5, lr=0.02),
    "NegGrad+": NegGradPlus(alpha=0.9, epochs=5, lr=0.02),
}
ROWS = ("membership", "membership, calibrated", "LiRA", "LiRA, caught at 1 % false alarms", "RMIA", "U-LiRA", "U-LiRA, caught at 1 % false alarms", "told one by one")


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def trained(samples: Samples, seed: int) -> nn.Module:
    with seeded(seed):
        network = Network(perceptron())
        fit(network, samples, phase="train", optimizer="adam", **TRAINING)
    return network.module.eval()


def split_of(random_labels: bool) -> Split:
    """600 digits to train on, the first 100 of them to be forgotten; 100 never seen; the rest to compare with."""
    data = digits()
    pool = data.train + data.test
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))
    x, y = pool.batch(order)
    if random_labels:
        y[:200] = (y[:200] + torch.randint(1, 10, (200,), generator=torch.Generator().manual_seed(1))) % 10
    every = Samples(x.float() / 127.5 - 1, y, names=data.train.names)
    forget, holdout, retain, test = every[:100], every[100:200], every[200:700], every[700:1200]
    return Split(forget, retain, test, (), holdout=holdout)


def values(entries: list[dict[str, Any]], column: str, number: int = 0) -> dict[str, Any]:
    """A model's rows."""
    rows = {row["name"]: row["values"].get(column, []) for entry in entries for row in entry["rows"]}
    return {name: {k: rows[name][number].get(k) for k in ("value", "low", "high", "p")} for name in ROWS if len(rows.get(name, [])) > number}


def told(split: Split) -> dict[str, Any]:
    original = trained(split.retain + split.forget, 1000)
    retrained = [trained(split.retain, 2000 + i) for i in range(HONEST)]
    plain = [(seed, seen, trained(split.retain + seen, seed)) for seed, seen in halves(split, SHADOWS)]
    print("trained", flush=True)
    found: dict[str, Any] = {"accuracy": {name: correct(original, part) for name, part in split.parts.items()}, "models": [], "methods": {}}
    asked = [Membership(), Exposure()]
    for name, method in METHODS.items():
        changed = unlearn(original, split, method, seed=0).model
        shadows = [Shadow(model, seen, unlearn(model, split.replaced(forget=seen), method, seed=seed).model) for seed, seen, model in plain]
        entries = audit(changed, split, asked, original=original, retrained=retrained, shadows=shadows)
        few = audit(changed, split, [Exposure()], original=original, retrained=retrained, shadows=shadows[:FEW])
        if not found["models"]:
            before = audit(changed, split, asked, original=original, retrained=retrained, shadows=[Shadow(model, seen) for _, seen, model in plain])
            columns = [("original", "original", 0, original)] + [(f"retrained {i + 1}", "retrained", i, model) for i, model in enumerate(retrained)]
            for called, column, i, model in columns:
                right = {name: correct(model, part) for name, part in (("forgotten", split.forget), ("retained", split.retain))}
                found["models"].append({"model": called, "rows": values(before, column, i)} | right)
        honest = [values(entries, "retrained", i) for i in range(HONEST)]
        found["methods"][name] = {
            "forgotten": correct(changed, split.forget),
            "retained": correct(changed, split.retain),
            "rows": values(entries, "unlearned"),
            "few": values(few, "unlearned"),
            "retrained": honest,
            "left": {k: v for k, v in left_by(shadows, split.forget, None, kept=(split.retain, split.test)).items() if k != "chance"},
            "most exposed": entries[-1]["figures"][0]["series"]["unlearned"][0],
        }
        print(name, {k: v["value"] for k, v in found["methods"][name]["rows"].items()}, found["methods"][name]["left"], flush=True)
    return found


def main() -> None:
    torch.set_num_threads(1)
    made = {
        "schema": "untrain.exposure/1",
        "training": TRAINING,
        "counts": {"forget": 100, "holdout": 100, "retain": 500, "test": 500, "shadows": SHADOWS, "few": FEW, "retrained": HONEST},
        "shown": ["membership", "membership, calibrated", "RMIA", "LiRA", "U-LiRA"],
        "settings": {name: record.finite(vars(method)) for name, method in METHODS.items()},
        "chance": by_chance(SHADOWS // 2),
        "labels as they are": told(split_of(False)),
        "labels at random": told(split_of(True)),
        "environment": environment(Engine().report()),
    }
    write(OUT, record.dumps(record.finite(made)))


if __name__ == "__main__":
    main()
