"""What is left of a class: in answers, weights, pictures, and in how fast it comes back; and what chance leaves."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from untrain.evidence.verdict import ENOUGH, FAMILIES
from untrain.report.figures import figure, slots
from untrain.report.markup import draw, name
from untrain.report.questions.asked import BASE, PLAIN, Answer, Evidence, Picture
from untrain.report.words import code, counted, images, listed, models, one, raw_figure, said, sentence, spread, steps, values


def predictions(evidence: Evidence) -> Answer:
    """What the forgotten class's test images are called."""
    needed = evidence.of(BASE)
    record = next((a.record for a in needed if a.record), None)
    raw = raw_figure(record, "predictions on the forgotten classes") if record else None
    if not record or not raw:
        return Answer(needed)
    told = []
    for column in ("original", "unlearned", "retrained"):
        bars: list[dict[str, float]] = raw["series"].get(column, [])
        if not bars:
            continue
        mean = {k: statistics.fmean(b[k] for b in bars) for k in bars[0]}
        top = max(mean, key=lambda k: mean[k])
        share = spread([{"value": b[top], "beyond": False} for b in bars], "share")
        who = models(record) if column == "retrained" else Markup("the {} model").format(column)
        verb = "call" if len(bars) > 1 else "calls"
        told.append(sentence("{who} most often {verb} them {top}: {share}.", who=who, verb=verb, top=name(top, 40), share=share))
    row = "distance of predictions"
    if values(record, row, "retrained"):
        told.append(
            sentence(
                "The unlearned model's distribution is {u} away from the mean of theirs in total variation, theirs from one another's {r}, the original's {o}.",
                u=said(one(record, row), "distance"),
                r=spread(values(record, row, "retrained"), "distance"),
                o=said(one(record, row, "original"), "distance"),
            )
        )
    return Answer(needed, told, [Picture(figure(raw, slots(record)), needed, images(record, ("forgotten, test",)))])


def layers(evidence: Evidence) -> Answer:
    """How far each layer's weights are from a retrained model's and from the original's."""
    needed = evidence.of(BASE)
    record = next((a.record for a in needed if a.record), None)
    raws = [f for t in ("distance from a retrained model", "distance from the original") if record and (f := raw_figure(record, t))]
    if not record or not raws:
        return Answer(needed)
    told = []
    row = "all weights, from a retrained model"
    if values(record, row, "retrained"):
        told.append(
            sentence(
                "All weights together, the unlearned model is {u} away from the nearest retrained one, the original {o}; two retrained models are {r} apart.",
                u=said(one(record, row), "distance"),
                o=said(one(record, row, "original"), "distance"),
                r=spread(values(record, row, "retrained"), "distance"),
            )
        )
    for raw in raws:
        mine = (raw["series"].get("unlearned") or [{}])[0]
        if mine:
            low, high = min(mine, key=lambda k: mine[k]), max(mine, key=lambda k: mine[k])
            said_of = {"t": raw["name"], "h": code(high), "hv": said(mine[high], "distance"), "l": code(low), "lv": said(mine[low], "distance")}
            told.append(sentence("The unlearned model's {t} is largest in {h} ({hv}) and smallest in {l} ({lv}).", **said_of))
    return Answer(needed, told, [Picture(figure(raw, slots(record)), needed, f"{len(record['references'])} retrained models") for raw in raws])


OTHERS = (f"{BASE}:paper", f"{BASE}:no-noise", f"{BASE}:plain-noise", "finetune", "neggrad", "headonly", "nothing")
"""What stands beside the base setting."""


def relearning(evidence: Evidence) -> Answer:
    """How fast fine-tuning brings the class back, with the head's row as it is and drawn anew."""
    needed = evidence.of(BASE, *OTHERS)
    base = next((a for a in needed if a.setting == BASE), None)
    record = base.record if base else None
    if not base or not record or not raw_figure(record, "relearning"):
        return Answer(needed)
    raws = [f for t in ("relearning", "relearning, row reset") if (f := raw_figure(record, t))]
    pictures = [Picture(figure(raw, slots(record)), [base], images(record, ("relearn time",))) for raw in raws]
    runs = [a for a in needed if a.record and values(a.record, "relearn time", "unlearned")]
    rows = {"row as it is": "relearn time", "row reset": "relearn time, row reset"}
    series = {c: [{a.setting: v for a in runs if a.record and (v := one(a.record, row)) is not None}] for c, row in rows.items()}
    bars = figure({"name": "every setting", "x": "setting", "y": "optimizer steps", "kind": "bars", "series": series}, {"row as it is": "unlearned", "row reset": "control-0"})
    longest = record["audits"] and next((a["settings"].get("steps") for a in record["audits"] if a["name"] == "relearn"), None)
    bars = replace(bars, note=f"A bar of {longest} steps is a search that ended without success: more than that." if longest else "")
    pictures.append(Picture(bars, runs, images(record, ("relearn time",))))
    told = [
        sentence(
            "{t}: unlearned {u}, {m} {r}, the original {o} steps.",
            t=title,
            u=steps(record, row),
            m=models(record),
            r=steps(record, row, "retrained"),
            o=steps(record, row, "original"),
        )
        for title, row in (("Relearn time", "relearn time"), ("With the head's row drawn anew first", "relearn time, row reset"))
        if values(record, row, "unlearned")
    ]
    told += [
        sentence(
            "The mean over these steps, {t}: unlearned {u}, {m} {r}, the original {o}.",
            t=title,
            u=said(one(record, row)),
            m=models(record),
            r=spread(values(record, row, "retrained"), "share"),
            o=said(one(record, row, "original")),
        )
        for title, row in (("the row as it is", "relearning recall"), ("drawn anew", "relearning recall, row reset"))
        if values(record, row, "unlearned")
    ]
    index = values(record, "anamnesis index", "unlearned")
    if index:
        told.append(sentence("The anamnesis index is {bound}{i}.", bound="at most " if index[0]["high"] is not None else "", i=said(index[0]["value"], "ratio")))
    return Answer(needed, told, pictures)


SPREAD = (
    ("retained, test", "exact"),
    ("one-shot prototype", "share"),
    ("head-reset relearning", "share"),
    ("relearning recall, row reset", "share"),
    ("distance of predictions", "distance"),
)
"""Rows that lie between 0 and 1, and how they are written."""


def standard(evidence: Evidence) -> Answer:
    """How far retrained models of several seeds differ among themselves."""
    needed = evidence.of(BASE)
    base = next((a for a in needed if a.record), None)
    record = base.record if base else None
    if not base or not record or not values(record, "retained, test", "retrained"):
        return Answer(needed, left=["no retrained model was beside the run"] if record else ())
    series: dict[str, list[dict[str, float]]] = {}
    for column in PLAIN:
        n = max(len(values(record, row, column)) for row, _ in SPREAD)
        series[column] = [{row: v[i]["value"] for row, _ in SPREAD if len(v := values(record, row, column)) > i} for i in range(n)]
    seeds = f"{len(record['references'])} retrained models, seeds {', '.join(str(r['about'].get('seed', '?')) for r in record['references'])}"
    share = figure({"name": "accuracy and prototypes", "x": "measure", "y": "share", "kind": "bars", "series": series}, PLAIN)
    pictures = [Picture(share, [base], f"{seeds}; {images(record)}")]
    rows = ("relearn time", "relearn time, row reset")
    timed = {c: [{row: v[i]["value"] for row in rows if len(v := values(record, row, c)) > i} for i in range(max(len(values(record, row, c)) for row in rows))] for c in PLAIN}
    if timed["unlearned"]:
        times = figure({"name": "relearn time", "x": "measure", "y": "optimizer steps", "kind": "bars", "series": timed}, PLAIN)
        pictures.append(Picture(times, [base], f"{seeds}; {images(record, ('relearn time',))}"))
    classes = raw_figure(record, "accuracy by class")
    if classes:
        pictures.append(Picture(figure(classes, slots(record)), [base], f"{seeds}; {images(record)}"))
    return Answer(
        needed, _standard_told(record), pictures, left=[] if len(record["references"]) >= ENOUGH else [f"{len(record['references'])} of {ENOUGH} retrained models are there"]
    )


def _standard_told(record: dict[str, Any]) -> list[Markup]:
    out = []
    for row, unit in (*SPREAD, ("relearn time", "steps"), ("relearn time, row reset", "steps")):
        theirs = values(record, row, "retrained")
        mine, before = values(record, row, "unlearned"), values(record, row, "original")
        if theirs and mine and before:
            low, high = min(v["value"] for v in theirs), max(v["value"] for v in theirs)
            place = "within" if low <= mine[0]["value"] <= high else "above" if mine[0]["value"] > high else "below"
            words = {"row": row, "r": spread(theirs, unit), "o": spread(before, unit), "u": spread(mine, unit), "p": place}
            out.append(sentence("{row}: retrained {r}, original {o}, unlearned {u}, which lies {p} their range.", **words))
    # A row that has a chance of its own is not told from others by how far these lie apart.
    own = {row for _, row in FAMILIES["exact"].rows}
    tests = {row: test for row, test in record["verdict"]["tests"].items() if row not in own} if record["verdict"] else {}
    parts = [Markup("{} {} ({})").format(row, said(t["p"], "p"), said(t["p_original"], "p")) for row, t in tests.items() if t.get("p_original") is not None]
    if parts:
        chance = "The chance that a retrained model lies so far from the others, on either side, for the unlearned and in brackets for the original: {t}."
        out.append(sentence(chance, t=listed(parts)))
    return out


def saliency(evidence: Evidence) -> Answer:
    """Where the class's evidence lies in a few images, before and after."""
    found = evidence.saliency
    if not found:
        return Answer((), left=["saliency.json"])
    columns = [m["column"] for m in found["models"]]
    told = []
    gone, kept = ([i for i in found["images"] if (i["label"] in found["classes"]) == side] for side in (True, False))
    for column in columns:
        right = sum(i["maps"][column]["said"]["name"] == i["truth"] for i in gone)
        seen = sum(i["maps"][column]["peak"] > 0 for i in gone)
        words = {key: counted(n, "count", str(n)) for key, n in (("right", right), ("seen", seen), ("n", len(gone)))}
        told.append(sentence("The {c} model names {right} of the {n} images of the forgotten class rightly, and sees evidence for it in {seen}.", c=column, **words))
    for column in columns[1:]:
        alike = [{"value": v, "beyond": False} for i in kept if (v := i["maps"][column]["alike"]) is not None]
        if alike:
            told.append(sentence("On images of other classes the {c} model's maps correlate with the original's by {d}.", c=column, d=spread(alike, "distance")))
    base = next((a.record for a in evidence.of(BASE) if a.record), None)
    after = next((m for m in found["models"] if m["column"] == "unlearned"), None)
    if base and after:
        same = after["sha256"] == base["output"]["sha256"]
        told.append(
            sentence(
                "The unlearned model is {s} the one of the other questions.",
                s="to the bit" if same else "not to the bit" + ("" if found["settings"] == base["method"]["settings"] else ", nor by its settings,"),
            )
        )
    more = draw("saliency", images=found["images"], columns=columns, looks={c: PLAIN.get(c, "control-0") for c in columns}, link=evidence.saliency_file, found=found)
    return Answer((), told, more=more)
