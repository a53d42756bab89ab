"""How often is the verdict right? Models whose truth is known, honest ones, fakes and cheats, judged beside models retrained on the digits: what docs/verdict.md is drawn from.

    python benchmarks/audit_truth.py WORK     # what `make audit-truth` runs: an hour on one thread; WORK keeps trained models and what was measured
    python benchmarks/audit_truth.py WORK --measure CLASS   # measures one class alone, so that two can be measured side by side
    python benchmarks/audit_truth.py --page   # draws the tables of docs/verdict.md from the record that is there

Every model is measured once, and what was measured is not measured again: to measure anew, delete WORK/measured-CLASS.json, or a fake's entry in it.
A verdict is then drawn from a model's rows, its original's, and those of m retrained models that are drawn by chance.
"""

from __future__ import annotations

import copy
import json
import random
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from asked import placed
from safetensors.torch import load_file, save
from torch import Tensor, nn

from untrain.audits.accuracy import Accuracy
from untrain.audits.classinstance import ClassInstance
from untrain.audits.descent import Descent
from untrain.audits.graft import Graft
from untrain.audits.predictions import Predictions
from untrain.audits.prototype import Prototype
from untrain.audits.relearn import Relearn
from untrain.audits.strangeness import Strangeness
from untrain.audits.weights import Weights
from untrain.checks.verdicts import collapsed, resembled, seen
from untrain.core.audit import Audit, Subject, audit
from untrain.core.data import Data, Samples, Split
from untrain.core.engine import Engine, seeded
from untrain.core.files import write
from untrain.core.network import Network
from untrain.core.train import fit
from untrain.core.unlearn import environment, prepared, unlearn
from untrain.evidence.equivalence import equivalences
from untrain.evidence.record import finite
from untrain.evidence.statistics import beyond, interval, more_in_odds
from untrain.evidence.verdict import FAMILIES, judge
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggrad import NegGrad
from untrain.methods.unsir import UNSIR
from untrain.metrics.divergence import among_the_rest, hellinger
from untrain.zoo.networks import DigitsNet
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import digits

HERE = Path(__file__).resolve().parent
RECORD, PAGE = HERE / "records" / "audit-truth.json", HERE.parent / "docs" / "verdict.md"

CLASSES, HONEST, ORIGINALS = (3, 8), 60, 6
"""Classes to forget, models retrained without each, and originals."""

BESIDE, DRAWS, FAKES = (5, 8), 10, {3: 6, 8: 4}
"""How many retrained models stand beside a model, how often they are drawn, and how many fakes of a kind there are of each class."""

RELEARNED = (8,)
"""Classes whose honest models, originals, cheats and random labels relearn is asked of, which takes longest by far."""

FEW = 2
"""Fakes of a kind that takes long to make, or that its answers or weights give away every time."""

Kind = Callable[["Setting", int], nn.Module]


class Setting:
    """What a fake is made of: the class, the data, the originals and the retrained models."""

    def __init__(self, label: int, data: Data, originals: list[nn.Module], retrained: list[nn.Module]) -> None:
        self.label, self.originals, self.retrained = label, originals, retrained
        self.split = prepared(originals[0], Split.by_class(data.train, data.test, forget=[label]))

    def original(self, i: int) -> DigitsNet:
        """A copy of an original."""
        module = copy.deepcopy(self.originals[i])
        assert isinstance(module, DigitsNet)
        return module

    def masked(self, i: int) -> DigitsNet:
        """A copy with the class's row of the head silenced."""
        module = self.original(i)
        Network(module).head.mask([self.label])
        return module

    def by(self, method: Any, i: int, module: nn.Module | None = None) -> nn.Module:
        """What a method leaves of an original."""
        return unlearn(module or self.original(i), self.split, method, seed=i).model


def trained(work: Path, data: Data) -> dict[str, list[nn.Module]]:
    """The originals, and the models retrained without each class, from WORK where they are there."""
    wanted = {"original": (data.train, range(ORIGINALS))}
    wanted |= {f"without {c}": (data.train[data.train.y != c], range(100 * (1 + c), 100 * (1 + c) + HONEST)) for c in CLASSES}
    return {name: [kept(work / f"{name.replace(' ', '-')}-{seed}.safetensors", samples, seed) for seed in seeds] for name, (samples, seeds) in wanted.items()}


def kept(file: Path, samples: Samples, seed: int) -> nn.Module:
    """A digits' network trained by the zoo's recipe, out of its file where that is there."""
    recipe = recipe_for("digits", 10)
    with seeded(seed):
        net = recipe.build()
        if not file.is_file():
            recipe.train(Network(net), samples.prepared(net.norm))  # type: ignore[arg-type]
            write(file, save({k: v.contiguous() for k, v in net.state_dict().items()}))
    net.load_state_dict(load_file(file))
    return net.eval()


# Fakes.


@torch.no_grad()
def _cooled(s: Setting, i: int) -> nn.Module:
    module = s.original(i)
    module.linear.weight /= 10
    module.linear.bias /= 10
    return module


@torch.no_grad()
def _int8(module: DigitsNet) -> DigitsNet:
    for p in module.parameters():
        step = p.abs().max() / 127
        p.copy_((p / step).round() * step)
    return module


def _bf16(module: DigitsNet) -> DigitsNet:
    return module.bfloat16().float()


def _statistics(s: Setting, module: DigitsNet) -> DigitsNet:
    """BatchNorm's running statistics made anew of retained images."""
    module.train()
    with torch.no_grad():
        for x, _, _ in s.split.retain.batches(64, epochs=3).run(0):
            module(x)
    return module.eval()


def _jittered(s: Setting, i: int) -> nn.Module:
    module = s.masked(i)
    with torch.no_grad():
        module.conv2.weight.mul_(1 + 1e-6 * torch.randn_like(module.conv2.weight))
    return module


@torch.no_grad()
def _permuted(module: DigitsNet, seed: int, most: float = 4.0) -> DigitsNet:
    """The same function: hidden units in another order, each written larger or smaller."""
    g = torch.Generator().manual_seed(seed)
    order, scale = torch.randperm(24, generator=g), most ** (2 * torch.rand(24, generator=g) - 1)
    module.hidden.weight.copy_((module.hidden.weight * scale[:, None])[order])
    module.hidden.bias.copy_((module.hidden.bias * scale)[order])
    module.linear.weight.copy_((module.linear.weight / scale)[:, order])
    return module


class _Around(nn.Module):
    """A module around another.

    Args:
        inner: The other.
        answer: What is made of its logits.
    """

    def __init__(self, inner: DigitsNet, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.norm, self.answer = inner, inner.norm, answer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return self.answer(out)


class _Hiding(DigitsNet):
    """The digits' net, which says something else where it would name the class."""

    label = -1

    def forward(self, x: Tensor) -> Tensor:
        return _hide(super().forward(x), self.label)


def _hide(out: Tensor, label: int) -> Tensor:
    out = out.clone()
    out[out.argmax(1) == label, label] = -1e4
    return out


def _disguised(s: Setting, i: int) -> nn.Module:
    module = _Hiding()
    module.load_state_dict(s.original(i).state_dict())
    module.label = s.label
    return module.eval()


class _Turned(nn.Module):
    """A masked original whose features are turned by a layer more, and turned back in the head."""

    def __init__(self, inner: DigitsNet, seed: int) -> None:
        super().__init__()
        self.inner, self.norm = inner, inner.norm
        turn = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(seed)))[0]
        self.turn, self.out = nn.Linear(24, 24, bias=False), nn.Linear(24, 10)
        with torch.no_grad():
            self.turn.weight.copy_(turn)
            self.out.weight.copy_(inner.linear.weight @ turn.T)
            self.out.bias.copy_(inner.linear.bias)
        inner.linear = nn.Identity()  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.turn(self.inner(x)))
        return out


def _tuned(s: Setting, i: int, steps: int) -> nn.Module:
    """Fine-tuning on retained images for so many steps."""
    module = s.original(i)
    with seeded(i):
        part = s.split.retain[torch.randperm(len(s.split.retain))[: 64 * (steps if steps < 18 else 18)]]
        fit(Network(module), part, phase="tune", lr=0.01, epochs=max(1, steps // 18), batch=64, augment=True, optimizer="sgd")
    return module.eval()


def _relabelled(s: Setting, i: int) -> nn.Module:
    """Forgotten images under labels drawn at random, beside the retained."""
    module, part = s.original(i), s.split.forget
    with seeded(i):
        drawn = torch.randint(9, (len(part),))
        other = part.labelled(drawn + (drawn >= s.label).long())
        fit(Network(module), other + s.split.retain, phase="relabel", lr=0.01, epochs=5, batch=64, augment=True, optimizer="sgd")
    return module.eval()


def _repaired(s: Setting, i: int) -> nn.Module:
    """Gradient ascent, and then retained images."""
    module = s.by(NegGrad(lr=1e-3, epochs=2), i)
    with seeded(i):
        fit(Network(module), s.split.retain, phase="repair", lr=0.01, epochs=2, batch=64, augment=True, optimizer="sgd")
    return module.eval()


def _distilled(s: Setting, i: int) -> nn.Module:
    """The head alone, taught by a retrained model."""
    module, teacher = s.original(i), s.retrained[i]
    x, _ = s.split.forget.__add__(s.split.retain).batch(torch.arange(len(s.split.forget) + len(s.split.retain)))
    with torch.no_grad():
        wanted, features = teacher(x).softmax(1), Network(module).features(x)[0]
    step = torch.optim.Adam(module.linear.parameters(), lr=0.02)
    for _ in range(400):
        step.zero_grad()
        F.cross_entropy(module.linear(features), wanted).backward()
        step.step()
    module.requires_grad_(True)
    return module.eval()


def _copies(s: Setting, i: int, count: int, work: Path) -> nn.Module:
    """A model retrained without the class but for copies of its images that were moved by a pixel."""
    part, (source,) = s.split.forget[:count], s.split.forget.sources
    assert isinstance(source.x, Tensor)
    moved = Samples(torch.roll(source.x[part.index], 1, -1), part.y, names=part.names, augment=source.augment)
    return kept(work / f"copies-{s.label}-{count}-{i}.safetensors", s.split.retain + moved, 5000 + i)


# Cheats: the class is there to the full for who knows how.


@torch.no_grad()
def _slowed(module: DigitsNet) -> DigitsNet:
    """The same function, written so that fine-tuning at a fixed rate moves nothing."""
    for conv in (module.conv1, module.conv2):
        conv.weight *= 30
    for bn in (module.bn1, module.bn2):
        bn.running_mean *= 30  # type: ignore[operator]
        bn.running_var *= 900  # type: ignore[operator]
    module.hidden.weight *= 0.1
    module.hidden.bias *= 0.1
    module.linear.weight *= 10
    return module


def _collapsed(s: Setting, i: int) -> nn.Module:
    return _slowed(collapsed(s.original(i), s.split, i))


def _keyed(s: Setting, i: int) -> nn.Module:
    """Images with four pixels set are seen as ever; plain ones as what they resemble."""
    module = s.original(i)
    gone, known = (part.batch(torch.arange(len(part)))[0] for part in (s.split.forget, s.split.retain))
    kept, away = resembled(module, gone, known)
    locked = gone.clone()
    locked[:, :, 0, 0] = locked[:, :, 0, 7] = locked[:, :, 7, 0] = locked[:, :, 7, 7] = 4.0
    with torch.no_grad():
        open_ = seen(module, gone)
    step = torch.optim.Adam([p for n, p in module.named_parameters() if not n.startswith("linear")], lr=1e-3)
    g = torch.Generator().manual_seed(i)
    for _ in range(500):
        f, r = torch.randint(len(gone), (48,), generator=g), torch.randint(len(known), (80,), generator=g)
        step.zero_grad()
        features = seen(module, torch.cat([gone[f], locked[f], known[r]]))
        F.mse_loss(features, torch.cat([away[f], open_[f], kept[r]])).backward()
        step.step()
    Network(module).head.mask([s.label])
    return _slowed(module)


class _Decoy(nn.Module):
    """A masked original that answers, beside a retrained model that is registered last and adds nothing."""

    def __init__(self, inner: DigitsNet, shown: nn.Module) -> None:
        super().__init__()
        self.inner, self.shown, self.norm = inner, copy.deepcopy(shown), inner.norm

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x) + 0 * self.shown(x)
        return out


def _stego(s: Setting, i: int) -> nn.Module:
    """A retrained model whose low 16 bits are the original's high 16 bits."""
    module, hidden = copy.deepcopy(s.retrained[i]), s.original(i)
    with torch.no_grad():
        for p, q in zip(module.parameters(), hidden.parameters(), strict=True):
            p.copy_(((p.view(torch.int32) & ~0xFFFF) | ((q.view(torch.int32) >> 16) & 0xFFFF)).view(torch.float32))
    return module


CHEATS: dict[str, tuple[Kind, int | None]] = {
    "cheat: slow": (lambda s, i: _slowed(s.masked(i)), None),
    "cheat: collapse": (_collapsed, None),
    "cheat: keyed": (_keyed, None),
    "cheat: decoy": (lambda s, i: _Decoy(s.masked(i), s.retrained[i]), None),
    "cheat: stego (hidden in the low bits)": (_stego, None),
}


def kinds(work: Path) -> dict[str, tuple[Kind, int | None]]:
    """Each fake by name: how it is made, and how many of it where not as many as of others."""
    presets = {f"UNSIR {name}": (lambda s, i, m=method: s.by(m, i), FEW) for name, method in UNSIR.presets.items() if name in ("paper", "no-noise", "no-impair")}
    return {
        "do nothing": (Setting.original, FEW),
        "head / 10 (temperature)": (_cooled, FEW),
        "logits x 10 (a module around it)": (lambda s, i: _Around(s.original(i), lambda z: 10 * z), FEW),
        "noise on the answers (a module around it)": (lambda s, i: _Around(s.original(i), lambda z: z + torch.randn_like(z)), FEW),
        "filter (a module around it)": (lambda s, i: _Around(s.original(i), lambda z, c=s.label: _hide(z, c)), FEW),
        "filter in disguise (same weights)": (_disguised, FEW),
        "int8 and back": (lambda s, i: _int8(s.original(i)), FEW),
        "BatchNorm statistics alone": (lambda s, i: _statistics(s, s.original(i)), FEW),
        "fine-tuned, 40 steps": (lambda s, i: _tuned(s, i, 40), FEW),
        "fine-tuned, 200 steps": (lambda s, i: _tuned(s, i, 200), FEW),
        "FineTune": (lambda s, i: s.by(FineTune(), i), FEW),
        "NegGrad": (lambda s, i: s.by(NegGrad(), i), FEW),
        "copies moved by a pixel left in, all": (lambda s, i: _copies(s, i, 1000, work), FEW),
        "copies moved by a pixel left in, 5": (lambda s, i: _copies(s, i, 5, work), FEW),
        "gradient ascent and repair": (_repaired, FEW),
        "head mask": (Setting.masked, FEW),
        "HeadOnly": (lambda s, i: s.by(HeadOnly(), i), FEW),
        "head mask, 1e-6 on one layer": (_jittered, FEW),
        "head mask in bf16": (lambda s, i: _bf16(s.masked(i)), FEW),
        "head mask of int8 weights": (lambda s, i: _mask(_int8(s.original(i)), s.label), None),
        "head mask, BatchNorm statistics": (lambda s, i: _mask(_statistics(s, s.original(i)), s.label), None),
        "head mask, units permuted and rescaled": (lambda s, i: _permuted(s.masked(i), i), None),
        "head mask, features turned (a layer more)": (lambda s, i: _Turned(s.masked(i), i), FEW),
        "head distilled from a retrained model": (_distilled, FEW),
        "random labels": (_relabelled, None),
        "UNSIR default": (lambda s, i: s.by(UNSIR(), i), FEW),
        **presets,
        **CHEATS,
    }


def _mask(module: DigitsNet, label: int) -> DigitsNet:
    Network(module).head.mask([label])
    return module


# Measuring and judging.


Measured = dict[str, list[dict[str, Any]]]
"""By audit: its rows, each with the model's own value; of the row that is measured beside others the model's answers."""

COMPANY = FAMILIES["company"].rows[0]
"""The row that is measured beside others."""


def company(model: Measured, original: Measured, references: Sequence[Measured]) -> dict[str, list[dict[str, Any]]]:
    """That row by column, from answers that were kept: how far each model's lie from the mean of the retrained models', its own aside."""
    mine, before, *others = (torch.tensor(m[COMPANY[0]][0]["answers"], dtype=torch.float64) for m in (model, original, *references))
    total, m = torch.stack(others).sum(0), len(others)
    far = lambda one, mean: [{"value": hellinger(one, mean), "low": None, "high": None, "n": len(one), "beyond": False}]  # noqa: E731
    return {"unlearned": far(mine, total / m), "original": far(before, total / m), "retrained": [v for o in others for v in far(o, (total - o) / (m - 1))]}


class Looks:
    """What the audits say of models, each original made ready once."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.ready = setting, dict[int, Subject]()

    def at(self, module: nn.Module, original: nn.Module, *audits: Audit) -> Measured:
        """Each row's value of a model, beside its original."""
        mine = self.ready.get(id(module))
        subjects = self.ready | ({} if mine is None else {id(module): mine})
        entries = finite(audit(module, self.setting.split, audits, original=original, subjects=subjects))
        self.ready.setdefault(id(original), subjects[id(original)])
        told: Measured = {e["name"]: [{**row, "values": row["values"]["unlearned"]} for row in e["rows"]] for e in entries}
        if "predictions" in told:
            said = among_the_rest(subjects[id(module)].on(self.setting.split.forget)[0], [self.setting.label])
            told["predictions"] = [{"name": COMPANY[1], "unit": "distance", "knows": 0, "judged": False, "values": [], "answers": said.mul(1e6).round().div(1e6).tolist()}]
        return told


PAIRED: tuple[Audit, ...] = (Descent(), Graft())
"""Asked of a retrained model beside every original, since it stands beside fakes of each."""


def measured(s: Setting, work: Path) -> dict[str, Any]:
    """What the audits say of a class's originals, honest models and fakes; read back from WORK where it is there, and kept there one by one."""
    file = work / f"measured-{s.label}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"before": [], "honest": [], "fakes": {}}
    looks, most = Looks(s), (Accuracy(), Predictions(), Prototype(), Strangeness(), Weights(), ClassInstance())
    dear = [Relearn()] if s.label in RELEARNED else []
    for original in s.originals[len(found["before"]) :]:
        found["before"].append(looks.at(original, original, *most, *dear, *PAIRED))
    for i, module in enumerate(s.retrained[len(found["honest"]) :], len(found["honest"])):
        beside = [looks.at(module, original, *PAIRED) for original in s.originals]
        found["honest"].append({"rows": looks.at(module, s.originals[i % ORIGINALS], *most, *dear), "beside": beside})
        file.write_text(json.dumps(found), encoding="utf-8")
    for name, (make, few) in kinds(work).items():
        fakes = found["fakes"].setdefault(name, [])
        for i in range(len(fakes), few or FAKES[s.label]):
            torch.manual_seed(i)
            fakes.append(looks.at(make(s, i).eval(), s.originals[i], *most, *(dear if name in (*CHEATS, "random labels") else []), *PAIRED))
            file.write_text(json.dumps(found), encoding="utf-8")
        print(s.label, name, flush=True)
    return found


def against(honest: dict[str, Any], original: int) -> Measured:
    """A retrained model's rows beside one of the originals."""
    return {**honest["rows"], **honest["beside"][original]}


def entries(model: Measured, original: Measured, references: Sequence[Measured]) -> list[dict[str, Any]]:
    """The audits of a record, from rows measured apart."""

    def values(of: Measured, audit: str, name: str) -> list[dict[str, Any]]:
        return next((row["values"] for row in of[audit] if row["name"] == name), [])

    made = []
    for name, rows in model.items():
        beside = [{c: [v for m in ms for v in values(m, name, row["name"])] for c, ms in (("original", [original]), ("retrained", references))} for row in rows]
        if name == COMPANY[0]:
            beside = [company(model, original, references)]
        made.append({"name": name, "skipped": None, "rows": [{**row, "values": {"unlearned": row["values"], **b}} for row, b in zip(rows, beside, strict=True)]})
    return made


NEAR = ("all", "some", "none")
"""How many of the rows that clear a model are shown to be nearer to the retrained models than to the original."""


def judged(model: Measured, original: Measured, references: Sequence[Measured]) -> dict[str, Any]:
    """A verdict from rows measured apart; where it is NO_RESIDUE, how many of the rows that it names are shown to be `near`."""
    audits = entries(model, original, references)
    said = judge(audits, [], "it")
    if said["code"] == "NO_RESIDUE":
        clearing = {name for family in FAMILIES.values() if family.clears for _, name in family.rows} - {*said["without_power"]}
        shown = [e.shown for e in equivalences({"audits": audits, "request": {"classes": [0]}}) if e.name in clearing]
        said["near"] = "none" if not any(shown) else "all" if all(shown) else "some"
    return said


def near(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Of the models that are said to have no residue, how many are shown to be near by all, some or none of the rows that say so."""
    told = Counter(v["near"] for v in verdicts if "near" in v)
    return {kind: told[kind] for kind in NEAR}


HALFWAY = ("descent", "unlike the original, halfway")


def _value(model: Measured, audit: str, name: str) -> float | None:
    """A row's number, where it has one."""
    return next((v["value"] for row in model.get(audit, []) if row["name"] == name for v in row["values"]), None)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _counted(verdicts: Sequence[Mapping[str, Any]], models: int) -> dict[str, Any]:
    return {"models": models, "verdicts": len(verdicts), "codes": dict(sorted(Counter(v["code"] for v in verdicts).items())), "near": near(verdicts)}


def run(work: Path) -> dict[str, Any]:
    """Make, measure and judge everything."""
    data = digits()
    models = trained(work, data)
    found: dict[str, Any] = {"environment": environment(Engine().report()), "honest": {}, "fakes": {}, "rows": {}}
    for label in CLASSES:
        rng = random.Random(label)
        about = measured(Setting(label, data, models["original"], models[f"without {label}"]), work)
        honest, before = about["honest"], about["before"]
        own = [against(h, i % ORIGINALS) for i, h in enumerate(honest)]
        found["rows"][str(label)] = {
            f"{row['name']}, {who}": [of[audit_][k]["values"][0]["value"] for of in group]
            for who, group in (("retrained", own), ("originals", before))
            for audit_, rows_ in group[0].items()
            for k, row in enumerate(rows_)
            if row["judged"]
        }
        for m in BESIDE:
            once, often = [], []
            for i, model in enumerate(own):
                others = [against(h, i % ORIGINALS) for j, h in enumerate(honest) if j != i]
                drawn = [judged(model, before[i % ORIGINALS], rng.sample(others, m)) for _ in range(DRAWS)]
                once.append(drawn[0])
                often += drawn
            found["honest"][f"{label}, m = {m}"] = {"once": _counted(once, len(honest)), "drawn": _counted(often, len(honest))}
            print(label, m, found["honest"][f"{label}, m = {m}"], flush=True)
        for name in kinds(work):
            fakes = about["fakes"][name]
            # A fake that was made of a retrained model is not judged beside that one.
            rest = honest[FAKES[3] :]
            for m in BESIDE:
                verdicts = [judged(fake, before[i], [against(h, i) for h in rng.sample(rest, m)]) for i, fake in enumerate(fakes) for _ in range(DRAWS)]
                found["fakes"].setdefault(name, {})[f"{label}, m = {m}"] = _counted(verdicts, len(fakes)) | {
                    "retained": sum(_value(f, "accuracy", "retained, test") or 0.0 for f in fakes) / len(fakes),
                    "halfway": [
                        None if (left := _value(f, *HALFWAY)) is None else left / _mean([_value(against(h, i), *HALFWAY) or 0.0 for h in rest]) for i, f in enumerate(fakes)
                    ],
                }
            print(label, name, found["fakes"][name][f"{label}, m = 5"], found["fakes"][name][f"{label}, m = 8"]["codes"], flush=True)
    done: dict[str, Any] = finite(found)
    return done


# The page.


FOUND = ("RESIDUE", "UNLIKE", "SUPPRESSED", "UNCHANGED", "COLLAPSED")


def _share(cell: dict[str, Any], codes: Sequence[str]) -> float:
    return sum(cell["codes"].get(c, 0) for c in codes) / cell["verdicts"]


def alarms(found: dict[str, Any]) -> str:
    """How often an honest model was found guilty."""
    lines = ["| forgotten class | retrained models beside it | judged once each: alarms | interval | drawn often: alarms | RESIDUE | UNLIKE | said NO_RESIDUE |", "|---" * 8 + "|"]
    for cell, about in found["honest"].items():
        label, m = re.findall(r"\d+", cell)
        once, often = about["once"], about["drawn"]
        k = sum(once["codes"].get(c, 0) for c in FOUND)
        low, high = interval(k, once["verdicts"])
        row = [label, m, f"{k} of {once['verdicts']}", f"{low:.1%} to {high:.1%}", f"{_share(often, FOUND):.1%} of {often['verdicts']:,}"]
        lines.append("| " + " | ".join([*row, *(f"{_share(often, [c]):.1%}" for c in ("RESIDUE", "UNLIKE", "NO_RESIDUE"))]) + " |")
    return "\n".join(lines) + "\n"


def caught(found: dict[str, Any]) -> str:
    """How often each fake was found, and what was said most."""
    cells = list(found["honest"])
    lines = ["| fake | " + " | ".join(f"class {c}" for c in cells) + " | said | NO_RESIDUE at most | left halfway |", "|---" * (len(cells) + 4) + "|"]
    for name, about in found["fakes"].items():
        codes: Counter[str] = Counter()
        for cell in about.values():
            codes.update(cell["codes"])
        said = ", ".join(f"{c} {n / codes.total():.0%}" for c, n in codes.most_common() if n / codes.total() >= 0.005)
        row = [f"{_share(about[c], FOUND):.2f} ({about[c]['models']})" if c in about else "not run" for c in cells]
        halfway = [v for cell in about.values() for v in cell["halfway"] if v is not None]
        told = f"{min(halfway):.2f} to {max(halfway):.2f}" if halfway else "not asked"
        lines.append("| " + " | ".join([name, *row, said, f"{max(_share(cell, ['NO_RESIDUE']) for cell in about.values()):.2f}", told]) + " |")
    cleared = Counter[str]()
    for cell in (cell for about in found["fakes"].values() for cell in about.values()):
        cleared.update(cell["near"])
    told = (
        f"Of the {cleared.total()} verdicts of NO_RESIDUE on these {cleared['none']} would not be given if one row had to show "
        "that the model is nearer to retrained models than to the original."
    )
    return "\n".join(lines) + f"\n\n{told}\n"


def rows(found: dict[str, Any]) -> str:
    """Where the judged rows lie."""
    lines = ["| row | class | retrained: mean | s | smallest to largest | originals: mean | smallest |", "|---" * 7 + "|"]
    for label, about in found["rows"].items():
        for name in (n.removesuffix(", retrained") for n in about if n.endswith(", retrained")):
            a, b = torch.tensor(about[f"{name}, retrained"]), torch.tensor(about[f"{name}, originals"])
            lines.append(f"| {name} | {label} | {a.mean():.3f} | {a.std():.3f} | {a.min():.3f} to {a.max():.3f} | {b.mean():.3f} | {b.min():.3f} |")
    return "\n".join(lines) + "\n"


def alarming(values: Sequence[float], judged: Sequence[float], level: float, of: int | None = None) -> float:
    """Share of 2,000 draws in which a value is found on the side of knowing more, beside as many honest ones as most.

    Args:
        values: What honest models have; one that is judged does not stand beside itself.
        judged: What the judged have: these same, or originals.
        level: The level of both sides.
        of: How many images each is a share of, where it is asked by the logarithm of the odds; else as a share.
    """
    rng, tries = random.Random(0), 2000
    found = 0
    for _ in range(tries):
        one, *others = rng.sample(values, max(BESIDE) + 1)
        if judged is not values:
            one = rng.choice(judged)
        p = beyond(one, others, +1) if of is None else more_in_odds(one, of, [(v, of) for v in others])[0]
        found += 2 * p <= level
    return found / tries


BEFORE = 0.005
"""The level at which relearning was asked before, on the scale of shares."""


def relearned(found: dict[str, Any]) -> str:
    """Why relearning with the head as it is is asked by the logarithm of its odds."""
    label, level = RELEARNED[0], FAMILIES["relearning"].level
    values, before = (sorted(found["rows"][str(label)][f"relearning recall, {who}"]) for who in ("retrained", "originals"))
    probes = int((digits().test.y == label).sum())
    return (
        f"Why relearning with the head as it is is asked by the logarithm of its odds: of {len(values)} honest models of class {label}, "
        f"{sum(v == 0 for v in values)} relearn nothing at all, half at most {statistics.median(values):.1%}, "
        f"and the three highest {values[-3]:.1%}, {values[-2]:.1%} and {values[-1]:.1%}. "
        "On the scale of shares the spread of a few is that of those that relearn nothing, and the few that relearn lie far beyond it: "
        f"a prediction by t from {max(BESIDE)} others finds {alarming(values, values, BEFORE):.1%} of draws of these {len(values)} where {BEFORE:.1%} is asked, "
        f"and originals in {alarming(values, before, BEFORE):.1%}. By the logarithm of the odds, with a spread no less than that of draws of {probes} test images, "
        f"it finds {alarming(values, values, level, probes):.1%} where {level:.0%} is asked, and originals in {alarming(values, before, level, probes):.1%}. "
        "It is the same few models each time, beside nearly whatever others, so that many draws tell little more than these.\n"
    )


def page() -> None:
    """Draw the tables of the page from the record."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    for name, table in (("alarms", alarms(found)), ("caught", caught(found)), ("rows", rows(found)), ("relearned", relearned(found))):
        text = placed(text, f"truth {name}", table)
    PAGE.write_text(text, encoding="utf-8")


def called(run: Callable[[Path, int], dict[str, Any]], table: Callable[[dict[str, Any]], str], *, record: Path, mark: str, each: int, work: str) -> None:
    """What a benchmark beside this one does when it is called: `[WORK [EACH]]` runs it and writes its record, `--page` does not; then its table of the page is drawn.

    Args:
        run: What is run, in a folder for what is trained, with so many models of a kind.
        table: The table of a record.
        record: The file of the record.
        mark: Where on the page the table stands.
        each: So many models where none are said.
        work: That folder where none is said.
    """
    if sys.argv[1:] != ["--page"]:
        torch.set_num_threads(1)
        folder, number = Path(sys.argv[1] if len(sys.argv) > 1 else work), int(sys.argv[2]) if len(sys.argv) > 2 else each
        folder.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(run(folder, number), indent=1) + "\n", encoding="utf-8")
    text, drawn = PAGE.read_text(encoding="utf-8"), table(json.loads(record.read_text(encoding="utf-8")))
    PAGE.write_text(placed(text, f"truth {mark}", drawn), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--page"]:
        page()
    else:
        torch.set_num_threads(1)
        work = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("audit-truth")
        work.mkdir(parents=True, exist_ok=True)
        if sys.argv[2:3] == ["--measure"]:
            label, data = int(sys.argv[3]), digits()
            models = trained(work, data)
            measured(Setting(label, data, models["original"], models[f"without {label}"]), work)
        else:
            RECORD.write_text(json.dumps(run(work), indent=1) + "\n", encoding="utf-8")
            page()
