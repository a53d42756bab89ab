"""How often do the rank tests alarm, and what do they see? On a network that learns its samples by heart: what docs/membership.md is drawn from.

    python benchmarks/membership_truth.py            # some minutes on one thread; CIFAR-10 in the folder that UNTRAIN_DATA names
    python benchmarks/membership_truth.py --further  # split-relearn and class-instance alone, into the record that is there
    python benchmarks/membership_truth.py --steps    # what fewer steps of dormant see, on other images and networks: what its number of steps was chosen by
    python benchmarks/membership_truth.py --scores   # what other scores of a sample see, on other images and networks again: what dormant's two were chosen by

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
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.audits.classinstance import ClassInstance
from untrain.audits.dormant import Dormant, plausible
from untrain.audits.splitrelearn import SplitRelearn
from untrain.core.audit import Subject, audit
from untrain.core.data import Norm, Samples, Split
from untrain.core.engine import seeded
from untrain.core.files import write
from untrain.core.network import Network
from untrain.core.train import fit, predict
from untrain.core.unlearn import unlearn
from untrain.evidence import record
from untrain.evidence.statistics import holm
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggradplus import NegGradPlus
from untrain.methods.randomlabel import RandomLabel
from untrain.methods.salun import SalUn
from untrain.methods.scrub import SCRUB
from untrain.methods.unsir import UNSIR
from untrain.metrics.membership import calibrated, plausibility, scaled_confidence
from untrain.metrics.ranked import Ranked, ranked
from untrain.zoo.sets import load

OUT = Path(__file__).parent / "records" / "membership-truth.json"
CHOICE, TRIED = OUT.with_name("tuning-dormant.json"), OUT.with_name("tuning-membership.json")
HONEST, DRAWS, POWER, SIZES = 5, 400, 100, (10, 20, 50)
TRAINING = {"epochs": 40, "lr": 1e-3, "batch": 100}
SHOWN, TRAININGS, SPLITS = 100, 8, 40
"""Of split-relearn: samples shown where alarms are counted, trainings of each honest network for that, and lists of each size where a trace is looked for (of other scores too)."""
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
ELSEWHERE, KEPT = (11, 12), 4500
"""Where dormant's scores were chosen: seeds of networks, and of images that are none of the table's, which are the first so many of its order."""
TESTS = ("membership", "membership, calibrated", "membership after training on the retained", "plausibility after training on the retained")
SHARED = {"dormant": TESTS[2:], "verdict": TESTS}
"""Tests that share a level: the two of an audit, and all that a verdict on a list looks at here."""


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


class Said(NamedTuple):
    """Logits on the pool: as the model is, and after training on the retained; and what the latter are to be multiplied by to fit these best."""

    plain: Tensor
    woken: Tensor
    sharp: float


def said(model: nn.Module, pool: Samples, retain: Samples, asked: Dormant | None = None) -> Said:
    """What a model says of each sample of the pool."""
    asked = asked or Dormant()
    with seeded(0):
        woken = asked.woken(Subject(model), retain)
        sharp = asked.sharp(woken, retain)
    return Said(predict(Network(model), pool)[0], predict(woken, pool)[0], sharp)


def compared(values: Tensor, hard: Tensor | None, mine: Tensor, others: Tensor, labels: Tensor) -> Ranked:
    """The rank test on these places of the pool, calibrated where it is said how hard each is."""
    both = torch.cat([mine, others])
    taken = values[both] if hard is None else calibrated(values[both], hard[both])
    found = ranked(taken[: len(mine)], taken[len(mine) :], (labels[mine], labels[others]))
    assert found is not None
    return found


def mean_confidence(others: list[Tensor], labels: Tensor) -> Tensor:
    """How hard each sample is: the mean score of these logits."""
    return torch.stack([scaled_confidence(z, labels) for z in others]).mean(0)


def ps(found: Said, others: list[Tensor], mine: Tensor, unseen: Tensor, labels: Tensor) -> dict[str, float]:
    """p of the tests, on these places of the pool, beside the logits of retrained models."""
    both, n = torch.cat([mine, unseen]), len(mine)
    beside, y = [z[both] for z in others], labels[both]
    hard, strata = mean_confidence(beside, y), (labels[mine], labels[unseen])
    plain, woken = scaled_confidence(found.plain[both], y), scaled_confidence(found.woken[both] * found.sharp, y)
    asked = (plain, calibrated(plain, hard), calibrated(woken, hard), plausible(found.woken[both], beside))
    return {name: told.p for name, values in zip(TESTS, asked, strict=True) if (told := ranked(values[:n], values[n:], strata)) is not None}


def hits(p: dict[str, float], level: float) -> list[bool]:
    """Which tests find something, each by itself, and whether those that share a level do."""
    return [*(p[name] <= level for name in TESTS), *(bool(holm({n: p[n] for n in names}, level)) for names in SHARED.values())]


def cases(seed: int = 0, *, apart: bool = False) -> tuple[Any, ...]:
    """The data: places of all images, the split, and what both groups are drawn from; `apart` from the images of the table."""
    data = load("cifar10").train
    places = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    if apart:
        places = places[~torch.isin(places, torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:KEPT])]
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
                hard = torch.stack([p for j, p in enumerate(plain) if j != i]).mean(0)
                found = scaled_confidence(said(model, pool, split.retain, asked).woken, labels)
                for _ in range(POWER):
                    order = torch.randperm(1000, generator=g)
                    alarms += compared(found, hard, order[:200], order[200:500], labels).p <= 0.05
            made["alarms"].append({"seed": seed, "schedule": name, "0.05": alarms / (POWER * HONEST)})
            print(made["alarms"][-1], flush=True)
        hard = torch.stack(plain[:4]).mean(0)
        for kind, model in (fakes(original, split) | {"retrained, held out": honest[4]}).items():
            for name, asked in SCHEDULES.items():
                found, g = scaled_confidence(said(model, pool, split.retain, asked).woken, labels), torch.Generator().manual_seed(seed)
                auc = compared(found, hard, torch.arange(500), torch.arange(500, 1000), labels).auc
                hits = sum(compared(found, hard, torch.randperm(500, generator=g)[:OFTEN], torch.arange(500, 1000), labels).p <= 0.05 for _ in range(POWER))
                made["models"].append({"seed": seed, "model": kind, "schedule": name, "auc": round(auc, 4), "found": hits / POWER})
                print(made["models"][-1], flush=True)
        write(CHOICE, record.dumps(record.finite(made)))


def candidates(found: Said, others: list[Tensor], labels: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Scores of each sample that were tried, each with what it is calibrated by, of a model as it is and after training on the retained."""
    mean = torch.stack([z.double().softmax(1) for z in others]).mean(0)

    def wrong(z: Tensor) -> Tensor:
        return scaled_confidence(z, z.scatter(1, labels[:, None], -torch.inf).argmax(1))

    def unsure(z: Tensor) -> Tensor:
        return plausibility(z, z.double().softmax(1))

    def off(z: Tensor) -> Tensor:
        return (mean * (mean.log() - z.double().log_softmax(1))).sum(1)

    def spread(z: Tensor) -> Tensor:
        return z.double().std(1)

    plain, woken = found.plain, found.woken
    ways = {"confidence in the label": lambda z: scaled_confidence(z, labels), "confidence in another class": wrong, "minus the entropy": unsure, "spread of the logits": spread}
    made = {}
    for when, z in (("as it is", plain), ("after", woken)):
        for name, score in ways.items():
            made[f"{name}, {when}"] = score(z), torch.stack([score(o) for o in others]).mean(0)
        made[f"divergence of the retrained from it, {when}"] = off(z), torch.stack([off(o) for o in others]).mean(0)
        made[f"plausibility, {when}"] = plausibility(z, mean), plausibility(mean.log(), mean)
    made["confidence in the label at the fitted temperature, after"] = scaled_confidence(woken * found.sharp, labels), mean_confidence(others, labels)
    made["confidence in the label, after less as it is"] = scaled_confidence(woken, labels) - scaled_confidence(plain, labels), mean_confidence(others, labels)
    return made


def tried() -> None:
    """What other scores see, away from the images and networks of the table."""
    made: dict[str, Any] = {"schema": "untrain.tuning-membership/1", "n": OFTEN, "draws": SPLITS, "seeds": list(ELSEWHERE), "models": []}
    runs = {
        "random labels": RandomLabel(epochs=5, lr=0.01),
        "drawn once": RandomLabel(redraw=False, epochs=5, lr=0.01),
        "drawn once, 3 epochs at .005": RandomLabel(redraw=False),
        "SalUn": SalUn(),
    }
    for seed in ELSEWHERE:
        _, _, train, unseen, split = cases(2000 + seed, apart=True)
        pool = split.forget + unseen
        original = trained(train, 7000 + seed)
        honest = [trained(split.retain, 8000 + 10 * seed + i) for i in range(HONEST)]
        others = [predict(Network(m), pool)[0] for m in honest[:4]]
        models = {name: unlearn(original, split, method, seed=0).model for name, method in runs.items()}
        for kind, model in (models | {"temperature 10": cooled(original), "retrained, held out": honest[4]}).items():
            found = {}
            for name, (values, hard) in candidates(said(model, pool, split.retain), others, pool.y).items():
                g, never = torch.Generator().manual_seed(seed), torch.arange(500, 1000)
                auc = compared(values, hard, torch.arange(500), never, pool.y).auc
                seen = sum(compared(values, hard, torch.randperm(500, generator=g)[:OFTEN], never, pool.y).p <= 0.05 for _ in range(SPLITS))
                found[name] = {"auc": round(auc, 4), "found": seen / SPLITS}
            made["models"].append({"seed": seed, "model": kind, "scores": found})
            print(kind, found, flush=True)
        write(TRIED, record.dumps(record.finite(made)))


def main() -> None:
    _, _, train, unseen, split = cases()
    pool, labels = split.forget + unseen, torch.cat([split.forget.y, unseen.y])
    original = trained(train, 100)
    honest = [trained(split.retain, seed) for seed in range(HONEST)]
    print("trained", flush=True)
    known = [said(m, pool, split.retain) for m in honest]
    g = torch.Generator().manual_seed(1)
    heads = [*TESTS, *SHARED]
    alarms = {level: [0] * len(heads) for level in (0.05, 0.01)}
    for i, found in enumerate(known):
        others = [k.plain for j, k in enumerate(known) if j != i]
        for _ in range(DRAWS):
            order = torch.randperm(1000, generator=g)
            p = ps(found, others, order[:200], order[200:500], labels)
            for level, counts in alarms.items():
                for t, hit in enumerate(hits(p, level)):
                    counts[t] += hit
    print(alarms, flush=True)
    others = [k.plain for k in known[:4]]
    seen: list[dict[str, Any]] = []
    for name, model in (fakes(original, split) | {"retrained, held out": honest[4]}).items():
        found = said(model, pool, split.retain)
        accuracy = [float((predict(Network(model), part)[0].argmax(1) == part.y).double().mean()) for part in (split.forget, split.retain, unseen)]
        power = {}
        for n in SIZES:
            counts = [0] * len(heads)
            for _ in range(POWER):
                mine = torch.randperm(500, generator=g)[:n]
                for t, hit in enumerate(hits(ps(found, others, mine, torch.arange(500, 1000), labels), 0.05)):
                    counts[t] += hit
            power[str(n)] = [c / POWER for c in counts]
        seen.append({"model": name, "forgotten": accuracy[0], "retained": accuracy[1], "unseen": accuracy[2], "found": power})
        print(seen[-1], flush=True)
    before = json.loads(OUT.read_text(encoding="utf-8")) if OUT.is_file() else {}
    made = {
        "schema": "untrain.membership-truth/1",
        "tests": list(TESTS),
        "shared": {name: list(names) for name, names in SHARED.items()},
        "training": TRAINING,
        "counts": {"train": 4000, "forget": 500, "unseen": 500, "honest": HONEST},
        "alarms": {"draws": HONEST * DRAWS, "n": 200, "k": 300, **{str(level): [c / (HONEST * DRAWS) for c in counts] for level, counts in alarms.items()}},
        "power": {"draws": POWER, "k": 500, "references": 4, "models": seen},
        "environment": {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine(), "threads": torch.get_num_threads()},
    }
    # What --further measures hangs on none of this.
    write(OUT, record.dumps(record.finite(made | {name: before[name] for name in ("split", "instances") if name in before})))


if __name__ == "__main__":
    {"--further": further, "--steps": steps, "--scores": tried}.get(" ".join(sys.argv[1:]), main)()
