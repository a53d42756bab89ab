"""How often do the rank tests alarm, and what do they see? On a network that learns its samples by heart: what docs/membership.md is drawn from.

    python benchmarks/membership_truth.py            # some minutes on one thread; CIFAR-10 in the folder that UNTRAIN_DATA names
    python benchmarks/membership_truth.py --further  # split-relearn and class-instance alone, into the record that is there
    python benchmarks/membership_truth.py --steps    # what fewer steps of dormant see, on other images and networks: what its number of steps was chosen by

CIFAR-10 at 8 x 8, a perceptron 192-256-128-10 on 4,000 images, of which 500 drawn by chance are to be forgotten; 500 others were never seen.
Each model is scored once; forgotten and never seen samples are then drawn from these two. To a model that was trained without
the forgotten all thousand are alike, so that any share of them can play the forgotten. Split-relearn trains on half of a list, so that each list is a
training of its own: a hundred of the thousand are shown, and the others are drawn from. For class-instance one class of the same 4,000 images is to be
forgotten, beside as many that were never seen.
"""

from __future__ import annotations

import copy
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.audits.classinstance import ClassInstance
from untrain.audits.dormant import Dormant
from untrain.audits.splitrelearn import SplitRelearn
from untrain.core.audit import Subject, audit
from untrain.core.data import Norm, Samples, Split
from untrain.core.engine import seeded
from untrain.core.files import write
from untrain.core.network import Network
from untrain.core.train import fit, predict
from untrain.core.unlearn import unlearn
from untrain.evidence import record
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggradplus import NegGradPlus
from untrain.methods.randomlabel import RandomLabel
from untrain.methods.scrub import SCRUB
from untrain.methods.unsir import UNSIR
from untrain.metrics.membership import calibrated, scaled_confidence
from untrain.metrics.ranked import Ranked, ranked
from untrain.zoo.sets import load

OUT = Path(__file__).parent / "records" / "membership-truth.json"
CHOICE = OUT.with_name("tuning-dormant.json")
HONEST, DRAWS, POWER, SIZES = 5, 400, 100, (10, 20, 50)
TRAINING = {"epochs": 40, "lr": 1e-3, "batch": 100}
SHOWN, TRAININGS, SPLITS = 100, 8, 40
"""Of split-relearn: samples shown where alarms are counted, trainings of each honest network for that, and lists of each size where a trace is looked for."""
LABEL, CLASS_DRAWS = 3, 500
"""Of class-instance: the class, and draws of which of its images were trained on."""
OTHERS, OFTEN = (1, 2), 10
"""Where dormant's steps were chosen: seeds of other images and networks than the table's, and forgotten samples of a draw."""
SCHEDULES = {
    "200 steps at each rate": Dormant(steps=200),
    "50": Dormant(steps=50, faster=1),
    "50, twice the rate": Dormant(steps=50),
    "30": Dormant(steps=30, faster=1),
}
TESTS = ("membership", "membership, calibrated", "membership after training on the retained")


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def small(samples: Samples, places: Tensor) -> Samples:
    x, y = samples[places].batch(torch.arange(len(places)))
    return Samples(F.adaptive_avg_pool2d(x.float(), 8).round().to(torch.uint8), y, names=samples.names, prepare=Norm((0.5,) * 3, (0.25,) * 3))


def trained(samples: Samples, seed: int) -> nn.Module:
    with seeded(seed):
        network = Network(perceptron())
        fit(network, samples, phase="train", optimizer="adam", **TRAINING)
    return network.module.eval()


def cooled(model: nn.Module) -> nn.Module:
    made = copy.deepcopy(model)
    with torch.no_grad():
        made[-1].weight.mul_(0.1)  # type: ignore[index, operator, union-attr]
        made[-1].bias.mul_(0.1)  # type: ignore[index, operator, union-attr]
    return made


def fakes(original: nn.Module, split: Split) -> dict[str, nn.Module]:
    runs = {
        "fine-tuned on the retained": FineTune(epochs=15),
        "random labels": RandomLabel(epochs=5, lr=0.01),
        "ascent and repair": NegGradPlus(alpha=0.95, epochs=5),
        "SCRUB": SCRUB(),
    }
    made = {"nothing done": copy.deepcopy(original), "temperature 10": cooled(original)}
    return made | {name: unlearn(original, split, method, seed=0).model for name, method in runs.items()}


def scores(model: nn.Module, pool: Samples, retain: Samples, asked: Dormant | None = None) -> tuple[Tensor, Tensor]:
    """Of each sample of the pool: as the model is, and after training on the retained."""
    with seeded(0):
        woken = (asked or Dormant()).woken(Subject(model), retain)
    return tuple(scaled_confidence(*predict(network, pool)[:2]) for network in (Network(model), woken))  # type: ignore[return-value]


def compared(values: Tensor, hard: Tensor | None, mine: Tensor, others: Tensor, labels: Tensor) -> Ranked:
    """The rank test on these places of the pool, calibrated where it is said how hard each is."""
    both = torch.cat([mine, others])
    taken = values[both] if hard is None else calibrated(values[both], hard[both])
    found = ranked(taken[: len(mine)], taken[len(mine) :], (labels[mine], labels[others]))
    assert found is not None
    return found


def ps(found: tuple[Tensor, Tensor], hard: Tensor, mine: Tensor, others: Tensor, labels: Tensor) -> list[float]:
    """p of the three tests, on these places of the pool."""
    return [compared(values, ease, mine, others, labels).p for values, ease in ((found[0], None), (found[0], hard), (found[1], hard))]


def cases(seed: int = 0) -> tuple[Any, ...]:
    """The data: places of all images, the split, and what both groups are drawn from."""
    data = load("cifar10").train
    places = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    train, unseen = small(data, places[:4000]), small(data, places[4000:4500])
    split = Split.by_index(train, unseen, forget=range(500), holdout=unseen)
    return data, places, train, unseen, split


def split_relearned(split: Split, original: nn.Module, honest: list[nn.Module]) -> dict[str, Any]:
    """Alarms and power of split-relearn."""
    asked, g = SplitRelearn(), torch.Generator().manual_seed(2)
    pool, known = split.forget + split.parts["holdout"], [Subject(m) for m in honest]
    plain = [scaled_confidence(*s.on(pool)[:2]) for s in known]
    alarms = dict.fromkeys((0.05, 0.01), 0)
    for i, subject in enumerate(known):
        hard = torch.stack([p for j, p in enumerate(plain) if j != i]).mean(0)
        for turn in range(TRAININGS):
            order = torch.randperm(1000, generator=g)
            with seeded(turn):
                copied = asked.reminded(subject, pool[order[:SHOWN]], split.retain)
            found = scaled_confidence(*predict(copied, pool)[:2])
            for _ in range(DRAWS // TRAININGS):
                rest = order[SHOWN:][torch.randperm(1000 - SHOWN, generator=g)]
                p = compared(found, hard, rest[:SHOWN], rest[SHOWN:400], pool.y).p
                for level in alarms:
                    alarms[level] += p <= level
    draws = HONEST * TRAININGS * (DRAWS // TRAININGS)
    seen = []
    for name, model in (fakes(original, split) | {"retrained, held out": honest[4]}).items():
        power, subject = {}, Subject(model)
        for n in SIZES:
            hits = 0
            for turn in range(SPLITS):
                some = split.forget[torch.randperm(500, generator=g)[:n]]
                with seeded(turn):
                    told = asked(subject, forget=some, retain=split.retain, holdout=split.parts["holdout"], retrained=tuple(known[:4]))
                p = told.values["membership after relearning half"].p
                assert p is not None
                hits += p <= 0.05
            power[str(n)] = hits / SPLITS
        seen.append({"model": name, "found": power})
        print(seen[-1], flush=True)
    told = {str(level): count / draws for level, count in alarms.items()}
    return {"alarms": {"draws": draws, "trainings": HONEST * TRAININGS, "n": SHOWN, "k": 300, **told}, "power": {"draws": SPLITS, "k": 500, "references": 4, "models": seen}}


def instances(data: Any, places: Tensor, train: Samples) -> dict[str, Any]:
    """Alarms of class-instance, and what it sees."""
    gone = train.y == LABEL
    rest = places[4500:]
    unseen = small(data, rest[data.y[rest] == LABEL][: int(gone.sum())])
    others = small(data, rest[data.y[rest] != LABEL][:1000])
    split = Split(train[gone], train[~gone], unseen + others, (LABEL,))
    original, asked, g = trained(train, 100), ClassInstance(), torch.Generator().manual_seed(3)
    honest = [trained(split.retain, 200 + seed) for seed in range(HONEST - 1)]
    made = {"nothing done": copy.deepcopy(original), "head mask": unlearn(original, split, HeadOnly()).model, "UNSIR": unlearn(original, split, UNSIR(), seed=0).model}
    made |= {f"retrained {i + 1}": m for i, m in enumerate(honest)}
    seen = []
    for name, model in made.items():
        (entry,) = audit(model, split, [asked], original=original)
        rows = {row["name"]: row["values"]["unlearned"][0] for row in entry["rows"]}
        seen.append({"model": name, "rows": {n: {"auc": round(v["value"], 4), "p": v["p"]} for n, v in rows.items()}})
        print(seen[-1], flush=True)
    pool, n, alarms = split.forget + unseen, len(split.forget), {}
    for model in honest:
        subjects: dict[int, Subject] = {}
        for _ in range(CLASS_DRAWS):
            order = torch.randperm(len(pool), generator=g)
            drawn = Split(pool[order[:n]], split.retain, pool[order[n:]], (LABEL,))
            (entry,) = audit(model, drawn, [asked], original=original, subjects=subjects)
            for row in entry["rows"]:
                counts = alarms.setdefault(row["name"], {"0.05": 0, "0.01": 0})
                for level in counts:
                    counts[level] += row["values"]["unlearned"][0]["p"] <= float(level)
    draws = len(honest) * CLASS_DRAWS
    return {
        "class": LABEL,
        "counts": {"trained on": n, "never seen": len(unseen), "honest": len(honest)},
        "alarms": {"draws": draws, **{name: {level: k / draws for level, k in counts.items()} for name, counts in alarms.items()}},
        "models": seen,
    }


def further() -> None:
    """Split-relearn and class-instance, into the record that is there."""
    data, places, train, _, split = cases()
    found = json.loads(OUT.read_text(encoding="utf-8"))
    found["instances"] = instances(data, places, train)
    write(OUT, record.dumps(record.finite(found)))
    original, honest = trained(train, 100), [trained(split.retain, seed) for seed in range(HONEST)]
    found["split"] = split_relearned(split, original, honest)
    write(OUT, record.dumps(record.finite(found)))


def steps() -> None:
    """What dormant sees and how often it alarms by its number of steps, away from the images and networks of the table."""
    made: dict[str, Any] = {"schema": "untrain.tuning-dormant/1", "n": OFTEN, "draws": POWER, "seeds": list(OTHERS), "models": [], "alarms": []}
    for seed in OTHERS:
        _, _, train, unseen, split = cases(1000 + seed)
        pool, labels = split.forget + unseen, torch.cat([split.forget.y, unseen.y])
        original = trained(train, 5000 + seed)
        honest = [trained(split.retain, 6000 + 10 * seed + i) for i in range(HONEST)]
        plain = [scaled_confidence(*predict(Network(m), pool)[:2]) for m in honest]
        for name, asked in SCHEDULES.items():
            alarms, g = 0, torch.Generator().manual_seed(seed)
            for i, model in enumerate(honest):
                found, hard = scores(model, pool, split.retain, asked)[1], torch.stack([p for j, p in enumerate(plain) if j != i]).mean(0)
                for _ in range(POWER):
                    order = torch.randperm(1000, generator=g)
                    alarms += compared(found, hard, order[:200], order[200:500], labels).p <= 0.05
            made["alarms"].append({"seed": seed, "schedule": name, "0.05": alarms / (POWER * HONEST)})
            print(made["alarms"][-1], flush=True)
        hard = torch.stack(plain[:4]).mean(0)
        for kind, model in (fakes(original, split) | {"retrained, held out": honest[4]}).items():
            for name, asked in SCHEDULES.items():
                found, g = scores(model, pool, split.retain, asked)[1], torch.Generator().manual_seed(seed)
                auc = compared(found, hard, torch.arange(500), torch.arange(500, 1000), labels).auc
                hits = sum(compared(found, hard, torch.randperm(500, generator=g)[:OFTEN], torch.arange(500, 1000), labels).p <= 0.05 for _ in range(POWER))
                made["models"].append({"seed": seed, "model": kind, "schedule": name, "auc": round(auc, 4), "found": hits / POWER})
                print(made["models"][-1], flush=True)
        write(CHOICE, record.dumps(record.finite(made)))


def main() -> None:
    _, _, train, unseen, split = cases()
    pool, labels = split.forget + unseen, torch.cat([split.forget.y, unseen.y])
    original = trained(train, 100)
    honest = [trained(split.retain, seed) for seed in range(HONEST)]
    print("trained", flush=True)
    known = [scores(m, pool, split.retain) for m in honest]
    g = torch.Generator().manual_seed(1)
    alarms = {level: [0, 0, 0] for level in (0.05, 0.01)}
    for i, found in enumerate(known):
        hard = torch.stack([k[0] for j, k in enumerate(known) if j != i]).mean(0)
        for _ in range(DRAWS):
            order = torch.randperm(1000, generator=g)
            for t, p in enumerate(ps(found, hard, order[:200], order[200:500], labels)):
                for level, counts in alarms.items():
                    counts[t] += p <= level
    hard = torch.stack([k[0] for k in known[:4]]).mean(0)
    seen: list[dict[str, Any]] = []
    for name, model in (fakes(original, split) | {"retrained, held out": honest[4]}).items():
        found = scores(model, pool, split.retain)
        accuracy = [float((predict(Network(model), part)[0].argmax(1) == part.y).double().mean()) for part in (split.forget, split.retain, unseen)]
        power = {}
        for n in SIZES:
            hits = [0, 0, 0]
            for _ in range(POWER):
                mine = torch.randperm(500, generator=g)[:n]
                for t, p in enumerate(ps(found, hard, mine, torch.arange(500, 1000), labels)):
                    hits[t] += p <= 0.05
            power[str(n)] = [h / POWER for h in hits]
        seen.append({"model": name, "forgotten": accuracy[0], "retained": accuracy[1], "unseen": accuracy[2], "found": power})
        print(seen[-1], flush=True)
    made = {
        "schema": "untrain.membership-truth/1",
        "tests": list(TESTS),
        "training": TRAINING,
        "counts": {"train": 4000, "forget": 500, "unseen": 500, "honest": HONEST},
        "alarms": {"draws": HONEST * DRAWS, "n": 200, "k": 300, **{str(level): [c / (HONEST * DRAWS) for c in counts] for level, counts in alarms.items()}},
        "power": {"draws": POWER, "k": 500, "references": 4, "models": seen},
        "environment": {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine(), "threads": torch.get_num_threads()},
    }
    write(OUT, record.dumps(record.finite(made)))
    further()


if __name__ == "__main__":
    {"--further": further, "--steps": steps}.get(" ".join(sys.argv[1:]), main)()
