"""Losses of the phases, and what they cost."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from untrain.report.figures import Figure, figure
from untrain.report.questions.asked import BASE, Answer, Asked, Evidence, Picture
from untrain.report.questions.axes import with_axis
from untrain.report.words import code, counted, listed, phase, said, sentence, spread


def noise(evidence: Evidence) -> Answer:
    """The noise's loss over its steps."""
    needed = evidence.of(BASE, f"{BASE}:paper")
    return _phase(needed, ("noise",), {"noise": "loss of the noise"}, log=False)


def impair_repair(evidence: Evidence) -> Answer:
    """The losses of the two steps that move weights."""
    needed = evidence.of(BASE, f"{BASE}:paper", f"{BASE}:no-noise", f"{BASE}:plain-noise")
    answer = _phase(needed, ("impair", "repair"), {"impair": "loss of the impair step", "repair": "loss of the repair step"}, log=True)
    learns = {a.record["method"]["settings"].get("repair") for a in needed if a.record}
    if len(learns) > 1:
        kinds = listed(code(kind) for kind in sorted(map(str, learns)))
        return replace(answer, said=[*answer.said, sentence("The repair losses are of several kinds ({kinds}), so their heights compare only within a kind.", kinds=kinds)])
    return answer


def _phase(needed: list[Asked], names: Sequence[str], titles: dict[str, str], log: bool) -> Answer:
    look = dict(zip([a.setting for a in needed], ("unlearned", "control-0", "control-1", "control-2"), strict=False))
    pictures, told = [], []
    for title in names:
        there = [(a, p) for a in needed if a.record and (p := phase(a.record, title))]
        if not there:
            continue
        series = {a.setting: [{"x": [min((i + 1) * p["every"], p["steps"]) for i in range(len(p["losses"]))], "y": p["losses"]}] for a, p in there}
        made = figure({"name": titles[title], "x": "step", "y": "loss", "kind": "curves", "series": series}, look)
        positive = all(v is not None and v > 0 for _, p in there for v in p["losses"])
        if log and positive:
            made = with_axis(made, "yaxis", type="log")
        pictures.append(Picture(made, [a for a, _ in there], f"{sum(p['steps'] for _, p in there):,} steps in all; each point the mean over a step's samples"))
        parts = [
            Markup("from {} to {} over {} steps with {}").format(said(p["losses"][0], "loss"), said(p["losses"][-1], "loss"), said(p["steps"], "steps"), code(a.setting))
            for a, p in there
        ]
        told.append(sentence("The {title} went {parts}.", title=titles[title], parts=listed(parts)))
    return Answer(needed, told, pictures)


PHASES = {"noise": "control-0", "impair": "unlearned", "repair": "control-1", "finetune": "original", "ascend": "control-2", "train": "retrained"}
"""Slots of phases, where several methods' stand in one figure."""


def costs(evidence: Evidence) -> Answer:
    """Time and passes of the phases, against retraining, fine-tuning and NegGrad."""
    needed = evidence.of(BASE, f"{BASE}:paper", f"{BASE}:no-noise", "neggrad", "finetune")
    runs = [(a, a.record) for a in needed if a.record]
    if not runs:
        return Answer(needed)
    abouts = [ref["about"] for _, r in runs[:1] for ref in r["references"] if ref["column"] == "retrained" and {"passes", "seconds"} <= ref["about"].keys()]
    again = f"retraining, mean of {len(abouts)}"
    pictures = []
    for key, y, title in (("seconds", "seconds", "execution time"), ("passes", "passes", "passes")):
        found: dict[str, dict[str, float]] = {}
        for a, r in runs:
            for p in r["run"]["phases"]:
                found.setdefault(p["name"], {})[a.setting] = p[key]
        if abouts:
            found.setdefault("train", {})[again] = statistics.fmean(about[key] for about in abouts)
        look = {n: PHASES.get(n, "control-2") for n in sorted(found, key=lambda n: list(PHASES).index(n) if n in PHASES else 9)}
        raw = {"name": title, "x": "setting", "y": y, "kind": "bars", "series": {n: [bars] for n, bars in found.items()}}
        made = figure(raw, look)
        order = [a.setting for a, _ in runs] + [again] * bool(abouts)
        made = replace(
            _ordered_bars(made, order),
            note="Phases on top of one another." + (" Clock time of machines that had other work as well; passes are not touched by that." if key == "seconds" else ""),
        )
        pictures.append(Picture(made, [a for a, _ in runs], "one run a setting" + (f", {len(abouts)} retrained models" if abouts else "")))
    return Answer(needed, _cost_told(runs, abouts), pictures)


def _ordered_bars(made: Figure, order: list[str]) -> Figure:
    """Stacked bars, their labels in this order: a label that only one column has may otherwise come first."""
    at = [[line.label for line in made.table].index(label) for label in order]
    data = [t | {k: [t[k][i] for i in at] for k in ("y", "text")} for t in made.spec["data"]]
    spec = {"data": data, "layout": made.spec["layout"] | {"barmode": "stack"}, "labels": [made.spec["labels"][i] for i in at]}
    return replace(made, spec=spec, table=tuple(made.table[i] for i in at))


def _cost_told(runs: list[tuple[Asked, dict[str, Any]]], abouts: list[dict[str, Any]]) -> list[Markup]:
    first, record = runs[0]
    parts = listed(Markup("{} {}").format(p["name"], said(p["seconds"], "time")) for p in record["run"]["phases"])
    out = [
        sentence("{s} took {t} and {n} passes ({parts}).", s=code(first.setting), t=said(record["run"]["seconds"], "time"), n=said(record["run"]["passes"], "count"), parts=parts)
    ]
    if abouts:
        ratios = {key: statistics.fmean(a[key] for a in abouts) / record["run"][key] for key in ("passes", "seconds")}
        out.append(
            sentence(
                "Retraining one model took {t} and {n} passes: in passes {p} times as much, by the clock {c} times.",
                t=spread([{"value": a["seconds"], "beyond": False} for a in abouts], "time"),
                n=spread([{"value": a["passes"], "beyond": False} for a in abouts], "count"),
                p=counted(ratios["passes"], "ratio of passes", f"{ratios['passes']:.1f}"),
                c=counted(ratios["seconds"], "ratio of seconds", f"{ratios['seconds']:.1f}"),
            )
        )
    beside = [Markup("{} {} and {} passes").format(code(a.setting), said(r["run"]["seconds"], "time"), said(r["run"]["passes"], "count")) for a, r in runs[1:]]
    if beside:
        out.append(sentence("Beside it: {b}.", b=listed(beside)))
    return out
