"""The same budget for every method: twelve trials each on held-out digits 1 and 7, and what was best kept as a file of settings.

    python benchmarks/equal.py try NAME ...    # trials that are missing, a line each in records/equal-digits.json; needs optuna, `pip install untrain[tune]`
    python benchmarks/equal.py keep            # settings/digits/NAME.toml for each method whose trials are whole, which `untrain unlearn NAME --settings FILE` reads
    python benchmarks/equal.py draw            # the two tables of docs/results.md

The network is that of `tune.py`, of which every fifth training image was held out; no test image is read, and digit 3, which the kept settings then run on once
(`tuned-digits.toml`), has no part in it. What is searched follows from a method's own fields: each learning rate from a tenth to ten times its default, and one
strength, the first knob that the method states for where it remembers and that is neither a rate nor a count of steps, over the same range; of a strength between a half and 1
its distance from 1. The first trial is the default. The others are drawn by Optuna's tree of Parzen estimators from a seed that is the trial's number.

The score of a trial is the lower one of its two classes': retained accuracy less the share of the class that is still named, both held out, and where more than a tenth is named
(a guess among ten) minus that share alone. Where the first class leaves a trial below the best so far, the second is not run, since it cannot lift it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from asked import add, placed, read
from tune import Ground

from untrain.bench import table
from untrain.core import discover, disk
from untrain.core.errors import BadArgument, Diverged
from untrain.core.settings import read_settings, written
from untrain.report.words import values

HERE = Path(__file__).parent
RECORD, KEPT, PAGE = HERE / "records" / "equal-digits.json", HERE / "settings" / "digits", HERE.parent / "docs" / "results.md"
TRIALS, RANDOM, NAMED = 12, 5, 0.1
"""Trials of a method, how many of them are drawn blindly, and the share of a class that may still be named."""

LEFT_OUT = {
    "retrain": "the reference",
    "sisa": "has to be there when the original is trained",
    "certifiedremoval": "has to be there when the original is trained",
    "gkt": "a run of the length that it asks for is out of reach here",
    "match": "asks for samples that were never trained on, and has its own scenario",
    "rum": "is made of others, at their settings",
    "l2ul": "takes three to thirty times the passes of the others",
} | dict.fromkeys(table.CONTROLS, "a control")


def rates(method: Any) -> list[str]:
    """Names of its learning rates."""
    return [f.name for f in dataclasses.fields(method) if re.fullmatch(r"lr|lr_\w+|\w+_lr", f.name) and getattr(method, f.name)]


def space(method: Any) -> dict[str, tuple[float, float, bool]]:
    """By field what is searched: from, to, and whether that is its distance from 1."""
    knobs = [name for name in method.knobs.get("remembers", {}) if name not in rates(method) and not re.search(r"(^|_)(epochs|steps|floor)$", name) and getattr(method, name)]
    out = {}
    for name in [*rates(method), *knobs[:1]]:
        value = getattr(method, name)
        near = name not in rates(method) and 0.5 < value < 1
        at = round(1 - value, 10) if near else value
        out[name] = (short(at / 10), min(short(at * 10), 1.0) if near or (name not in rates(method) and value < 1) else short(at * 10), near)
    return out


def short(value: float) -> float:
    """Two digits of a number, so that a file of settings can be read."""
    return float(f"{value:.2g}")


def set_to(method: Any, found: dict[str, float]) -> Any:
    """The method at a point of its space."""
    near = {name: flipped for name, (_, _, flipped) in space(method).items()}
    exact = {name: round(1 - value, 10) if near[name] else value for name, value in found.items()}
    return dataclasses.replace(method, **{name: max(1, round(v)) if isinstance(getattr(method, name), int) else v for name, v in exact.items()})


def asked(name: str, before: list[dict[str, Any]]) -> dict[str, float]:
    """The next point: the default, and then what Optuna draws, which depends on the trials before and their number alone."""
    method = discover.settings(name)
    ranges = space(method)
    if not before:
        return {field: short(1 - getattr(method, field)) if near else getattr(method, field) for field, (_, _, near) in ranges.items()}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=len(before), n_startup_trials=RANDOM, multivariate=len(ranges) > 1))
    where = {field: optuna.distributions.FloatDistribution(low, high, log=True) for field, (low, high, _) in ranges.items()}
    for line in before:
        study.add_trial(optuna.trial.create_trial(params=line["at"], distributions=where, value=line["score"]))
    return {field: min(max(short(value), ranges[field][0]), ranges[field][1]) for field, value in study.ask(where).params.items()}


def score(line: dict[str, Any]) -> float:
    """What a class is worth: kept less named, and minus what is named where that is more than a guess."""
    gone, kept = line["forgotten"], line["retained"]
    return float(-gone if gone > NAMED else kept - gone)


def trial(ground: Ground, name: str, found: dict[str, float], best: float) -> dict[str, Any]:
    """Run a point on the tuning classes, one after the other, until it cannot be the best."""
    line: dict[str, Any] = {"at": found, "classes": {}, "method": name, "passes": 0, "score": 1.0, "seconds": 0.0}
    method = set_to(discover.settings(name), found)
    for label in ground.classes:
        try:
            result, rows = ground.run(method, label, ["accuracy"])
        except (BadArgument, Diverged) as error:
            return line | {"score": -1.0, "ended in": str(error)}
        said = {part: round(rows[f"{part}, test"]["unlearned"][0]["value"], 4) for part in ("forgotten", "retained")}
        line["classes"][str(label)] = said
        line |= {"passes": line["passes"] + result.passes, "seconds": round(line["seconds"] + result.seconds, 1), "score": round(min(line["score"], score(said)), 4)}
        if line["score"] <= best:
            break
    return line


def whole() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Methods whose trials have all been run, with these."""
    lines = read(RECORD)["lines"]
    for name in dict.fromkeys(line["method"] for line in lines):
        mine = [line for line in lines if line["method"] == name]
        if len(mine) == TRIALS:
            yield name, mine


def best(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The best of some trials, the earliest of equal ones."""
    return max(lines, key=lambda line: line["score"])


def run(*names: str) -> None:
    """Run the trials that are missing."""
    ground = Ground.of("digits", HERE / "references" / "tuning" / "digits_s10.safetensors")
    for name in names:
        if name in LEFT_OUT or not space(discover.settings(name)):
            print(f"{name}: {LEFT_OUT.get(name, 'has no rate and states no strength')}", flush=True)
            continue
        while len(before := [line for line in read(RECORD)["lines"] if line["method"] == name]) < TRIALS:
            line = trial(ground, name, asked(name, before), max((b["score"] for b in before), default=-math.inf))
            add(RECORD, line)
            print(json.dumps(line), flush=True)


def keep() -> None:
    """Write the settings that were best."""
    for name, lines in whole():
        disk.write(KEPT / f"{name}.toml", written(set_to(discover.settings(name), best(lines)["at"])).encode())


def drawn() -> str:
    """Each method on digit 3, at its default and as it was chosen."""
    plain, tuned = ({r["method"]["name"]: r for r in table.read(HERE / "records" / name) if _default(r) or name == "tuned-digits"} for name in ("methods-digits", "tuned-digits"))
    heads = ["method", "what was chosen (default)", "held out: 1, 7", "forgotten", "tuned", "retained", "tuned", "one-shot prototype", "tuned", "recall, row reset", "tuned"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    rows = (("forgotten, test", "{:.1%}"), ("retained, test", "{:.2%}"), ("one-shot prototype", "{:.3f}"), ("relearning recall, row reset", "{:.3f}"))
    for name, trials in sorted(whole()):
        if name not in plain or name not in tuned:
            continue
        method, chosen = discover.settings(name), read_settings(KEPT / f"{name}.toml")
        moved = [f"{f} {getattr(chosen, f):g} ({getattr(method, f):g})" for f in space(method) if getattr(chosen, f) != getattr(method, f)]
        seen = ", ".join(f"{c['forgotten']:.0%} / {c['retained']:.1%}" for c in best(trials)["classes"].values())
        cells = [table.shown(values(side[name], row, "unlearned"), form) for row, form in rows for side in (plain, tuned)]
        lines.append("| " + " | ".join([f"`{name}`", ", ".join(moved) or "the default", seen, *cells]) + " |")
    done = dict(whole())
    left = [f"`{name}`" for name in discover.found("methods") if name not in done and name not in LEFT_OUT and space(discover.settings(name))]
    return "\n".join(lines) + "\n" + (f"\nNot searched yet: {', '.join(left)}.\n" if left else "")


def _default(found: dict[str, Any]) -> bool:
    return found["method"]["preset"] == "default" and found["seed"] == 0


def draw() -> None:
    """Draw what the page says."""
    text = PAGE.read_text()
    PAGE.write_text(placed(text, "equal budgets", drawn()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"try": run, "keep": keep, "draw": draw}[sys.argv[1]](*sys.argv[2:])
