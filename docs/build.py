"""Build the site of docs/ in site/: pages are copied and filled in, cards are made of what is found, every link is followed.

    python docs/build.py             # what `make docs` runs
    python docs/build.py --pages     # the pages alone

What can be read off the code is not written a second time: a page says `<!-- here: NAME -->`, and PARTS makes it.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import untrain
from untrain.cli.app import app
from untrain.core import errors
from untrain.core.discover import found
from untrain.evidence.record import schema
from untrain.evidence.verdict import EXIT, SENTENCES, what
from untrain.sources.normalisation import NORMS
from untrain.verbs.catalogue import field_help

ROOT = Path(__file__).resolve().parent.parent
DOCS, SITE = ROOT / "docs", ROOT / "site"
HERE = re.compile(r"^<!-- here: (\w+)(?: (\S+))? -->$", re.MULTILINE)


# Markdown.


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; cells are Markdown of one line."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def code(value: Any) -> str:
    """Code in a line; nothing where there is none."""
    return f"`{value}`" if value not in (None, "") else ""


def plain(text: str) -> str:
    """Text of a docstring: what it says in angle brackets is no HTML, indented formulas and examples are blocks of code."""
    out: list[str] = []
    blocks = re.split(r"\n[ \t]*\n", inspect.cleandoc(text))
    for number, block in enumerate(blocks):
        if block.startswith("    ") or block.lstrip().startswith(">>>"):
            # A formula runs on over blank lines where the next block is indented too.
            fence = "```pycon" if block.lstrip().startswith(">>>") else "```text"
            joined = out and number and blocks[number - 1].startswith("    ") and fence == "```text"
            if joined:
                out[-1] = out[-1].removesuffix("\n```") + "\n\n" + inspect.cleandoc(block) + "\n```"
            else:
                out.append(f"{fence}\n{inspect.cleandoc(block)}\n```")
        else:
            pieces = block.split("`")
            out.append("`".join(piece if i % 2 else piece.replace("<", "&lt;") for i, piece in enumerate(pieces)))
    return "\n\n".join(out)


SECTION = re.compile(r"^(Args|Returns|Raises|Yields):\n", re.MULTILINE)


def sections(doc: str | None) -> tuple[str, dict[str, list[tuple[str, str]]]]:
    """A docstring's text, and its sections: a name and what is said of it for each entry, "" for the name where there is none."""
    pieces = SECTION.split(inspect.cleandoc(doc or ""))
    text, out = pieces[0], {}
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        inside = re.match(r"(?:[ ]{4}.*\n?|\n(?=[ ]{4}))*", body)
        entries: list[tuple[str, str]] = []
        for line in (inside.group() if inside else "").splitlines():
            named = re.match(r" {4}(\*{0,2}[\w.]+): (.*)", line) if title != "Returns" else None
            if named:
                entries.append((named[1], named[2]))
            elif entries:
                entries[-1] = (entries[-1][0], f"{entries[-1][1]} {line.strip()}")
            elif line.strip():
                entries.append(("", line.strip()))
        out[title] = entries
        text += "\n" + body[inside.end() if inside else 0 :]
    return text, out


# What methods and audits say of themselves.


def loaded(kind: str) -> dict[str, type[Any]]:
    """Every method or audit, by name."""
    return {name: entry.load() for name, entry in found(kind).items()}


def takes(cls: type[Any]) -> str:
    """What a method forgets, by the data it is given."""
    if not {"forget", "retain", "classes"} & set(cls.needs):
        return "nothing"
    return "classes" if "classes" in cls.needs else "classes or a list of samples"


def settings_table(cls: type[Any], *, flags: bool) -> str:
    """The fields with their defaults and what they are."""
    rows = [(code("--" + f["name"].replace("_", "-") if flags else f["name"]), code(f["default"]), plain(f["help"])) for f in field_help(cls)]
    return table(("setting", "default", "what it is"), rows) if rows else "It has no settings.\n"


FEW = 2
"""Presets that differ in so few settings are told in words; the others have a column each."""


def presets_table(cls: type[Any]) -> str:
    """What each preset has otherwise than the default; in a table of settings a blank is as in the default."""
    default = cls()
    moved = {name: {f.name: getattr(p, f.name) for f in dataclasses.fields(cls) if getattr(p, f.name) != getattr(default, f.name)} for name, p in cls.presets.items()}
    wide = [name for name, settings in moved.items() if len(settings) > FEW]
    rows = [
        (code(f.name), code(getattr(default, f.name)), *(code(moved[name].get(f.name)) for name in wide))
        for f in dataclasses.fields(cls)
        if any(f.name in moved[name] for name in wide)
    ]
    few = [
        (code(name), ", ".join(f"{code(f'{k} = {v}')} (default {code(getattr(default, k))})" for k, v in settings.items())) for name, settings in moved.items() if name not in wide
    ]
    tables = [table(("setting", "default", *(code(name) for name in wide)), rows)] if wide else []
    return "\n".join([*tables, *([table(("preset", "differs from the default in"), few)] if few else [])])


def methods_table(_: str = "") -> str:
    """Which method is given what."""
    rows = []
    for name, cls in loaded("methods").items():
        given = ", ".join(code(n) for n in cls.needs) or "nothing"
        rows.append((f"[`{name}`](methods.md#{name})", given, takes(cls), "yes" if "forget" in cls.needs else "no", "yes" if "recipe" in cls.needs else "no"))
    return table(("method", "is given", "forgets", "sees forgotten samples", "needs the recipe"), rows)


def audits_table(_: str = "") -> str:
    """Which audit asks what, and of what."""
    rows = []
    for name, cls in loaded("audits").items():
        evidence = ", ".join([*(code(n) for n in cls.needs), *(f"({code(n)})" for n in cls.wants)])
        rows.append((f"[`{name}`](audits.md#{name})", cls.question, evidence, "no" if "classes" in cls.needs else "yes", "where it is named" if cls.by_name else "always"))
    return table(("audit", "question", "evidence (and what helps)", "answers for a list of samples", "asked"), rows)


def card_of_method(name: str, cls: type[Any]) -> str:
    """A method's card."""
    entry, (text, _) = found("methods")[name], sections(cls.__doc__)
    given = ", ".join(code(n) for n in cls.needs) or "nothing but the model"
    sight = "It is handed the forgotten samples." if "forget" in cls.needs else "It never sees a forgotten sample."
    seed = "" if cls.draws else " It draws no random numbers: every seed gives the same bits."
    presets = (
        f"### Presets of {name} {{#{name}-presets}}\n\n`--preset NAME`; flags that are given go before it. A blank is as in the default.\n\n{presets_table(cls)}"
        if cls.presets
        else ""
    )
    asked = ", ".join([f"untrain.{cls.__name__}()", "train", *(f"{n}={n}" for n in cls.prepares or () if n != "train")])
    call = (
        f"```\nuntrain unlearn {name} --model MODEL --data DATA --forget class:NAME --out run\n```"
        if cls.prepares is None
        else f"It must be there when the original is trained ([how](exact.md)), by the command below or by `untrain.prepare({asked})`:\n\n"
        f"```\nuntrain prepare {name}{' --model MODEL' * ('recipe' in (cls.prepares or ()))} --data DATA --out original\n```"
    )
    return f"""## {cls.__name__} {{#{name}}}

{plain(entry.summary)}

{call}

{plain(text)}

- From: {plain(cls.paper)}.
- Is given: {given}. {sight}
- Forgets: {takes(cls)}.{seed}

{settings_table(cls, flags=True)}
{presets}
"""


def card_of_audit(name: str, cls: type[Any]) -> str:
    """An audit's card."""
    text, _ = sections(cls.__doc__)
    knows = {1: "above the retrained models", -1: "below the retrained models", 0: ""}
    rows = [(row, about.what, about.ideal, about.unit, about.looks, knows[about.knows], "yes" if about.judged else "") for row, about in cls.rows.items()]
    wants = f" If at hand, it uses {', '.join(code(n) for n in cls.wants)} too." if cls.wants else ""
    return f"""## {cls.__name__} {{#{name}}}

{cls.question}

{plain(text)}

Needs {", ".join(code(n) for n in cls.needs)}.{wants}{f" Asked only where it is named: `untrain audit RUN --also {name}`." if cls.by_name else ""}

{table(("row", "what it is", "good is", "unit", "looks at", "a trace lies", "judged"), rows)}
{settings_table(cls, flags=False)}
"""


def methods_page() -> str:
    """Every method: a table, and a card each."""
    cards = "\n".join(card_of_method(name, cls) for name, cls in loaded("methods").items())
    return f"# Methods\n\nMade from the code: a method is a file, and its card is what the file says.\n\n{methods_table()}\n{cards}"


def audits_page() -> str:
    """Every audit: a table, and a card each."""
    cards = "\n".join(card_of_audit(name, cls) for name, cls in loaded("audits").items())
    return f"# Audits\n\nMade from the code. An audit whose evidence is not at hand is skipped, and said to be skipped.\n\n{audits_table()}\n{cards}"


# The record, the verdict, exit codes.


def verdicts_table(_: str) -> str:
    """The verdict's sentences as they stand, with the exit codes of `untrain audit`."""
    return table(("code", "sentence", "exit"), [(code(c), sentence, EXIT[c]) for c, sentence in SENTENCES.items()])


def membership_table(_: str) -> str:
    """How often the rank tests alarm and what they see, from the record."""
    found = json.loads((ROOT / "benchmarks" / "records" / "membership-truth.json").read_text(encoding="utf-8"))
    alarms, power = found["alarms"], found["power"]
    sizes, heads = list(power["models"][0]["found"]), (*found["tests"], *found["shared"])
    false = table(("false alarms", *heads), [(f"at {level}", *(f"{share:.3f}" for share in alarms[level])) for level in ("0.05", "0.01")])
    rows = []
    for m in power["models"]:
        named = (m["model"], *(f"{m[part]:.2f}" for part in ("forgotten", "retained", "unseen")))
        for n in sizes:
            rows.append((*(named if n == sizes[0] else ("",) * len(named)), n, *(f"{share:.2f}" for share in m["found"][n])))
    said = f"{alarms['draws']:,} draws on {found['counts']['honest']} retrained networks, {alarms['n']} samples against {alarms['k']}."
    how = f"n forgotten samples against {power['k']} never seen, {power['references']} retrained networks beside"
    shared = " and ".join(f"*{name}* of {len(names)}" for name, names in found["shared"].items())
    drawn = f"{said}\n\n{false}\n\nShare of {power['draws']} draws in which a trace is found at 5 %; {how}. Of tests that share the level by Holm's correction: {shared}."
    drawn += f"\n\n{table(('model', 'accuracy: forgotten', 'retained', 'never seen', 'n', *heads), rows)}"
    return "\n\n".join([drawn, *(further(found[name]) for name, further in (("split", split_relearned), ("instances", instances)) if name in found)])


def scores_table(_: str) -> str:
    """What other scores of a sample see, from the record that dormant's were chosen by."""
    found = json.loads((ROOT / "benchmarks" / "records" / "tuning-membership.json").read_text(encoding="utf-8"))
    kinds = list(dict.fromkeys(line["model"] for line in found["models"]))
    rows = []
    for score in found["models"][0]["scores"]:
        cells = [[line["scores"][score] for line in found["models"] if line["model"] == kind] for kind in kinds]
        rows.append((score, *(" / ".join(f"{c['auc']:.2f} ({c['found']:.2f})" for c in some) for some in cells)))
    drawn = f"{found['draws']} draws of {found['n']} samples"
    said = f"AUC, and in brackets the share of {drawn} in which a trace is found at 5 %, of each of {len(found['seeds'])} choices of images and networks:"
    return f"{said}\n\n{table(('score', *kinds), rows)}"


def dormant_table(_: str) -> str:
    """What dormant sees by its number of steps, from the record that its steps were chosen by."""
    found = json.loads((ROOT / "benchmarks" / "records" / "tuning-dormant.json").read_text(encoding="utf-8"))
    schedules = list(dict.fromkeys(line["schedule"] for line in found["alarms"]))

    def cells(lines: list[dict[str, Any]], told: Callable[[dict[str, Any]], str]) -> list[str]:
        return [" / ".join(told(line) for line in lines if line["schedule"] == name) for name in schedules]

    rows = []
    for kind in dict.fromkeys(line["model"] for line in found["models"]):
        rows.append((kind, *cells([line for line in found["models"] if line["model"] == kind], lambda line: f"{line['auc']:.3f} ({line['found']:.2f})")))
    rows.append(("*alarms at 5 %*", *cells(found["alarms"], lambda line: f"{line['0.05']:.3f}")))
    drawn = f"{found['draws']} draws of {found['n']} samples"
    said = f"AUC, and in brackets the share of {drawn} in which a trace is found at 5 %, of each of {len(found['seeds'])} choices of images and networks:"
    return f"{said}\n\n{table(('model', *schedules), rows)}"


def split_relearned(found: dict[str, Any]) -> str:
    """The same of split-relearn, a training for each list."""
    alarms, power = found["alarms"], found["power"]
    sizes = list(power["models"][0]["found"])
    said = f"`splitrelearn`: {alarms['0.05']:.3f} of alarms at 5 % and {alarms['0.01']:.3f} at 1 %, in {alarms['draws']:,} draws on {alarms['trainings']} trainings. "
    how = f"Share of {power['draws']} lists in which a trace is found at 5 %, one half shown and the other ranked:"
    rows = [(m["model"], *(f"{m['found'][n]:.2f}" for n in sizes)) for m in power["models"]]
    return f"{said}{how}\n\n{table(('model', *(f'n = {n}' for n in sizes)), rows)}"


def instances(found: dict[str, Any]) -> str:
    """The same of class-instance: each signal's AUC, and how often it alarms."""
    rows, counts = list(found["models"][0]["rows"]), found["counts"]
    told = [(m["model"], *(f"{m['rows'][name]['auc']:.2f} (p {m['rows'][name]['p']:.0e})" for name in rows)) for m in found["models"]]
    told.append(("*alarms at 5 %*", *(f"{found['alarms'][name]['0.05']:.3f}" for name in rows)))
    against = f"{counts['trained on']} images trained on against {counts['never seen']} never seen"
    said = f"`classinstance`, class {found['class']}: {against}; alarms in {found['alarms']['draws']:,} draws."
    return f"{said}\n\n{table(('model', *(name.removeprefix('instances by ') for name in rows)), told)}"


def exposure_table(_: str) -> str:
    """What attacks that know models with and without each sample see, from the record."""
    found = json.loads((ROOT / "benchmarks" / "records" / "exposure.json").read_text(encoding="utf-8"))
    n, parts = found["counts"], []
    heads = ("model", "accuracy: forgotten", "retained", *found["shown"], "told one by one")

    def cells(rows: dict[str, Any]) -> list[str]:
        shown = [f"{rows[name]['value']:.2f} (p {rows[name]['p']:.0e})" if rows[name]["p"] is not None else f"{rows[name]['value']:.2f}" for name in found["shown"] if name in rows]
        blank = [""] * (len(found["shown"]) - len(shown))
        return [*shown, *blank, f"{rows['told one by one']['value']:.0f}"]

    for name in ("labels as they are", "labels at random"):
        here = found[name]
        rows = [(m["model"], f"{m['forgotten']:.2f}", f"{m['retained']:.2f}", *cells(m["rows"])) for m in here["models"]]
        rows += [(method, f"{m['forgotten']:.2f}", f"{m['retained']:.2f}", *cells(m["rows"])) for method, m in here["methods"].items()]
        left = [
            (method, f"{m['left']['epsilon']:.2f}", f"{m['left']['quality']:.2f}", f"{m['left']['klom']:.2f}", f"{m['few']['LiRA']['value']:.2f}")
            for method, m in here["methods"].items()
        ]
        left.append(("*models that do not differ*", *(f"{found['chance'][k]:.2f}" for k in ("epsilon", "quality", "klom")), ""))
        known = table(("method", "median epsilon", "forgetting quality", "KLoM, 95 % below", f"LiRA by {n['few']} shadows"), left)
        parts.append(f"**{name.capitalize()}**\n\n{table(heads, rows)}\n\n{known}")
    told = f"{n['shadows']} shadows, {n['forget']} forgotten against {n['holdout']} never seen; AUC, where .5 means no trace, and its two-sided p."
    told += " The original and the retrained models have no method, and so no U-LiRA."
    return f"{told}\n\n" + "\n\n".join(parts)


def speed_table(_: str) -> str:
    """The engine beside a bare loop and UNSIR beside the notebook's loops, from the record."""
    found = json.loads((ROOT / "benchmarks" / "records" / "speed.json").read_text(encoding="utf-8"))
    about, rows = found["about"], []
    for title, told in found["found"].items():
        low, high = min(told["ratios"]), max(told["ratios"])
        memory = told["peak_memory_growth_bytes"]
        rows.append((title, f"{told['ratio']:.2f} ({low:.2f} to {high:.2f})", told["repeats"], f"{memory['ours'] / memory['theirs']:.2f}"))
    said = (
        f"Torch {about['torch'].partition('+')[0]}, {about['threads']} threads, {found['precision']}, {found['network']}, batches of {found['batch']}, {found['images']:,} images."
    )
    return f"{said}\n\n{table(('what', 'time, median (range)', 'turns', 'peak memory'), rows)}"


def floor_table(_: str) -> str:
    """Where the time of a step goes and how far it is from its floor, from the record."""
    found = json.loads((ROOT / "benchmarks" / "records" / "floor.json").read_text(encoding="utf-8"))
    kinds = list(dict.fromkeys(kind for told in found["found"].values() for kind in told["share_of_time"]))
    rows = []
    for phase, told in found["found"].items():
        shares = (f"{told['share_of_time'].get(kind, 0):.0%}" for kind in kinds)
        rates = f"{told['sums_a_second_at_best'] / 1e9:.0f}", f"{told['over_floor']:.2f}", f"{told['seconds'] / told['sums_alone_seconds']:.2f}"
        rows.append((phase, f"{told['sums'] / 1e9:.1f}", f"{told['bytes'] / 1e9:.1f}", *rates, *shares))
    heads = ("step", "10⁹ operations", "10⁹ bytes", "10⁹ operations a second, at best", "time over floor", "time over operations alone", *kinds)
    return f"A {found['network']}, {found['batch']} images, {found['precision']}, {found['about']['threads']} thread.\n\n{table(heads, rows)}"


def classes_table(_: str) -> str:
    """What UNSIR's default costs by how many classes go, from the records of the published networks."""
    rows = []
    for scenario in ("cifar10", "cifar100"):
        by: dict[int, list[int]] = {}
        for path in sorted((ROOT / "benchmarks" / "records" / scenario).glob("unsir_*_s*.json")):
            told = json.loads(path.read_text(encoding="utf-8"))
            if "=" not in path.name:
                by.setdefault(len(told["request"]["classes"]), []).append(told["run"]["passes"])
        one = sum(by[1]) / len(by[1])
        rows += [(scenario, count, len(passes), f"{sum(passes) / len(passes):,.0f}", f"{sum(passes) / len(passes) / one:.3f}") for count, passes in sorted(by.items())]
    return table(("network of", "classes that go", "runs", "passes", "times one class"), rows)


def quality_table(_: str) -> str:
    """What each method at its default takes to forget class 3 of CIFAR-10 and keep the rest, beside retraining, from the records."""
    rows = []
    for path in sorted((ROOT / "benchmarks" / "records" / "methods").glob("*_3_s0_*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        measured = {row["name"]: row["values"] for entry in told["audits"] for row in entry["rows"]}
        left, kept, had = (measured[row][column][0]["value"] for row, column in (("forgotten, test", "unlearned"), ("retained, test", "unlearned"), ("retained, test", "original")))
        anew = sum(other["about"]["passes"] for other in told["references"]) / len(told["references"])
        if told["run"]["passes"]:
            met = "yes" if left <= 0.01 and kept >= had - 0.01 else "no"
            setting = path.name.partition("_3_s0_")[0].replace("_", " ").replace("-", ":", 1)
            rows.append((told["run"]["passes"], code(setting), f"{left:.1%}", f"{kept:.1%}", met, f"{told['run']['passes']:,}", f"{anew / told['run']['passes']:.1f}"))
    rows.sort()
    heads = ("method, at its default", "forgotten", "retained", "at most 1 % and within a point", "passes", "retraining takes, times that")
    return table(heads, [row[1:] for row in rows])


def triggers_table(name: str) -> str:
    """What `match` does to planted triggers, and of digits to wrong labels and samples drawn at random, from the record: means over networks, and the range."""
    found = json.loads((ROOT / "benchmarks" / "records" / "trigger" / f"{name}.json").read_text(encoding="utf-8"))
    heads = ("to be forgotten", "samples", "model", "attack success", "clean accuracy", "forgotten named as labelled", "membership (AUC)")
    rows = []
    for kind, setting in dict.fromkeys((line["kind"], line["setting"]) for line in found):
        lines = [line for line in found if (line["kind"], line["setting"]) == (kind, setting)]
        for column in ("original", "unlearned", "retrained"):
            shares = []
            for row in ("attack success", "clean accuracy", "forgotten, training", "membership"):
                values = [line[row][column]["value"] for line in lines if row in line]
                scale, form = (1, ".2f") if row == "membership" else (100, ".1f")
                low, mean, high = (scale * v for v in (min(values), sum(values) / len(values), max(values)))
                shares.append(f"{mean:{form}}" + (f" ({low:{form}} to {high:{form}})" if len(lines) > 1 else "") + ("" if scale == 1 else " %"))
            seeds = f"seed{'s' if len(lines) > 1 else ''} {', '.join(str(line['seed']) for line in lines)}"
            first = (f"{kind}, {seeds}", str(lines[0]["counts"]["forget"])) if column == "original" else ("", "")
            rows.append((*first, {"unlearned": code(setting)}.get(column, column), *shares))
    cost = (min(line["seconds"] for line in found), max(line["seconds"] for line in found))
    steps = (min(line["steps"] for line in found), max(line["steps"] for line in found))
    runs = f"{steps[0]} to {steps[1]} steps and {cost[0]:.1f} to {cost[1]:.1f} seconds"
    said = f"For each seed an original, a model retrained without the forgotten, and one run of {runs} on a busy core. Mean, lowest and highest."
    aimed = dict.fromkeys((line["kind"], line["setting"]) for line in found if line["kind"].endswith("known"))
    if not aimed:
        return f"{said}\n\n{table(heads, rows)}"
    met = {key: [_aimed(line) for line in found if (line["kind"], line["setting"]) == key] for key in aimed}
    told = "; ".join(f"{code(setting)}, {kind}, {sum(those)} of {len(those)}" for (kind, setting), those in met.items())
    aims = "The aim is more than 90 % of attacks before, at most 5 % after, and a clean accuracy at most a point below the original's. Runs that met it:"
    return f"{said}\n\n{table(heads, rows)}\n\n{aims} {told}."


def tried_table(name: str) -> str:
    """How often each of some distances of answers finds fakes and honest models, from the record of what was tried: a row for each, its classes side by side."""
    found = json.loads((ROOT / "benchmarks" / "records" / f"tuning-{name}.json").read_text(encoding="utf-8"))
    classes = list(found["classes"].values())
    kinds = list(next(iter(classes[0].values())))
    rows = [(distance, *(" / ".join(f"{cell[distance][kind]:.{3 if kind == 'honest' else 2}f}" for cell in classes) for kind in kinds)) for distance in classes[0]]
    draws, shown = found["draws"], table(("distance", *kinds), rows)
    return f"{shown}\nShare found, class {' / class '.join(found['classes'])}; {draws['fakes']} draws of each fake and {draws['honest']} of honest models.\n"


def why_table(name: str) -> str:
    """What `match` costs with one thing changed at a time, as the network is and with BatchNorm's statistics measured anew."""
    found = json.loads((ROOT / "benchmarks" / "records" / "trigger" / f"why-{name}.json").read_text(encoding="utf-8"))
    shown = ("clean", "retained", "attack")
    rows = [("*original*", "", *(f"{100 * found['original'][part]:.1f}" for part in shown))]
    for line in found["lines"]:
        losses = ", ".join(f"{loss:.2f}" for loss in line.get("losses", ()))
        rows.append((line["changed"], losses, *(f"{100 * line['as it is'][part]:.1f} / {100 * line['measured anew'][part]:.1f}" for part in shown)))
    counts = found["counts"]
    heads = ("changed", "loss of the first two steps", f"hold-out ({counts['clean']}), %", f"retained, training ({counts['retained']}), %", f"attacks ({counts['attack']}), %")
    return f"As it is / with the statistics measured anew; in brackets how many images.\n\n{table(heads, rows)}"


def _aimed(line: dict[str, Any]) -> bool:
    """Whether a planted trigger worked, was taken out, and what is without it is answered as before."""
    (was, now), (knew, knows) = ([line[row][column]["value"] for column in ("original", "unlearned")] for row in ("attack success", "clean accuracy"))
    return was > 0.9 and now <= 0.05 and knows >= knew - 0.01


def speech_table(name: str) -> str:
    """What each exit of the speech network still names and recovers, from the record of a task."""
    folder = ROOT / "benchmarks" / "records" / "speech"
    record, heard = (json.loads((folder / f"{name}{more}.json").read_text(encoding="utf-8")) for more in ("", "-recall"))
    exits, columns, rows = {exit["name"]: exit for exit in record["exits"]}, ("original", "unlearned", "retrained"), []
    missed: list[str] = []
    # The last is the record's own.
    for exit in (*exits, *(name for name in heard["recall"]["original"][0] if name not in exits)):
        audits = exits.get(exit, record)["audits"]
        sides = {column: [_recalls(model[exit], heard["classes"]) for model in heard["recall"][column]] for column in columns}
        shares = [" / ".join(f"{100 * sum(one[side] for one in sides[c]) / len(sides[c]):.1f}" for c in columns) for side in (0, 1)]
        found = {row["name"]: row["values"] for audit in audits for row in audit["rows"]}
        deep = [" / ".join(f"{sum(v['value'] for v in found[row][c]) / len(found[row][c]):.2f}" for c in columns) for row in RECOVERED]
        alone = _recalls(heard["recall"]["the last exit alone"][0][exit], heard["classes"])[0]
        rows.append((code(exit), shares[0], f"{100 * alone:.1f}", shares[1], *deep))
        still, rest = ([sum(one[side] for one in sides[c]) / len(sides[c]) for c in ("unlearned", "retrained")] for side in (0, 1))
        if still[0] > still[1] + 0.02 or rest[0] < rest[1] - 0.015:
            missed.append(code(exit))
    said = f"{what(record['request'])}; {len(heard['recall']['retrained'])} retrained models, seed {record['seed']}; original / unlearned / mean of the retrained."
    judged = "; ".join(f"{code(exit)} {code(entry['verdict']['code'])}" for exit, entry in exits.items())
    verdict, heads = record["verdict"], ("exit", "forgotten, %", "forgotten at the last exit alone, %", "UAR of the rest, %", *RECOVERED)
    aim = "The aim is, at every exit, a share of the forgotten at most 2 points above the retrained models' and a UAR of the rest at most 1.5 below: "
    aim += f"missed at {', '.join(missed)}." if missed else "met."
    return f"{said}\n\n{table(heads, rows)}\n\n{aim}\n\nVerdict: {code(verdict['code'])} ({judged}). {verdict['sentence']}"


RECOVERED = ("one-shot prototype", "head-reset relearning", "relearning recall, row reset")


def _recalls(by_class: Sequence[float], gone: Sequence[int]) -> tuple[float, float]:
    """Mean recall of the forgotten classes, and of the rest."""
    sides = [[share for c, share in enumerate(by_class) if (c in gone) == forgotten] for forgotten in (True, False)]
    return sum(sides[0]) / len(sides[0]), sum(sides[1]) / len(sides[1])


def errors_table(_: str) -> str:
    """What can go wrong, with its exit code."""
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.UntrainError) and e is not errors.UntrainError]
    return table(("exit", "error", "what it is"), sorted((e.exit_code, code(e.__name__), plain((e.__doc__ or "").splitlines()[0])) for e in kinds))


def failures_table(_: str) -> str:
    """The known ways to fail, and the tests that hold each."""
    spec = importlib.util.spec_from_file_location("held", ROOT / "tests" / "held.py")
    assert spec is not None
    assert spec.loader is not None
    held = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(held)
    rows = [(number, plain(held.FAILURES[number]), "<br>".join(code(f"{file}: {name}") for file, name in tests)) for number, tests in held.held().items()]
    return table(("", "what fails", "held by"), rows)


def chaos_table(_: str) -> str:
    """What `make chaos` tried, and how much of it did not hold, out of its record."""
    found = json.loads((ROOT / "benchmarks" / "records" / "chaos.json").read_text(encoding="utf-8"))
    return table(("what was tried", "how often", "did not hold"), [(plain(row["what"]), f"{row['tried']:,}", row["failed"]) for row in found["rows"]])


def schema_table(_: str) -> str:
    """The record's fields."""
    return table(("field", "type", "what it is"), list(_fields(schema(), "")))


def _fields(node: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    for name, about in node.get("properties", {}).items():
        options = about.get("oneOf", [about])
        real = next((o for o in options if o.get("type") != "null"), about)
        items = real.get("items", {})
        kind = real.get("type") or ("hash" if "hash" in str(real.get("$ref")) else "constant" if "const" in real else "text")
        kind = "text" if kind == "string" else " or ".join(kind) if isinstance(kind, list) else kind
        listed = " of objects" if items.get("properties") else ""
        maybe = " or null" if len(options) > 1 else ""
        said = str(real.get("description") or about.get("description") or (f"`{real['const']}`" if "const" in real else ""))
        said = said or ("one of " + ", ".join(f"`{value}`" for value in real.get("enum", items.get("enum", []))) if "enum" in real or "enum" in items else "")
        here = f"{path}{name}"
        yield code(here), f"{kind}{listed}{maybe}", said
        yield from _fields(real, f"{here}.")
        yield from _fields(items, f"{here}[].")


def norms_table(_: str) -> str:
    """Normalisations by name."""
    return table(("name", "mean", "standard deviation"), [(code(name), ", ".join(map(str, n.mean)), ", ".join(map(str, n.std))) for name, n in NORMS.items()])


# The command line.


def _flags(verb: str, said: str, entry: Any, without: Collection[str] = ()) -> str:
    """A verb, and a table of what it is given."""
    rows = []
    for argument in entry.assemble_argument_collection():
        names = [n for n in argument.names if not n.startswith("--no-")]
        if names[0].removeprefix("--").replace("-", "_") in without:
            continue
        default = argument.field_info.default
        shown = "required" if argument.required else code("" if default is inspect.Parameter.empty or default is False or default == () else default)
        rows.append((" ".join(code(n) for n in names), shown, plain(argument.parameter.help or "")))
    return f"## {verb}\n\n{plain(said)}\n\n" + table(("argument", "default", "what it is"), rows)


def cli_page() -> str:
    """Every verb with its flags; a method's own settings stand on its card."""
    root = app(["unlearn", "unsir", "prepare", *(name for name, entry in found("methods").items() if entry.prepares)])
    parts = ["# Command line\n\nMade from the code. `untrain VERB --help` says the same. What a method adds stands on [its card](methods.md).\n"]
    for verb in (name for name in root if not name.startswith("-")):
        entry = root[verb]
        if verb == "unlearn":
            own = {f["name"] for f in field_help(loaded("methods")["unsir"])} | {"preset"}
            parts.append(_flags(verb, "Run a method: one sub-command for each, with a flag for each of its settings.", entry["unsir"], own))
        elif entry.default_command is None:
            parts.append(f"## {verb}\n\n{plain(entry.help)}\n")
            parts += [_flags(f"{verb} {name}", entry[name].help, entry[name]) for name in entry if not name.startswith("-")]
        else:
            parts.append(_flags(verb, entry.help, entry))
    return (
        "\n".join(parts)
        + f"\n## Exit codes\n\n`untrain audit` answers by its exit code what [the verdict](record.md#the-verdict) is. What goes wrong is one line on stderr:\n\n{errors_table('')}"
    )


# Python.


class _Raw(str):
    """An annotation that is shown as it is written."""

    __slots__ = ()
    __repr__ = str.__str__


def signature(name: str, function: Callable[..., Any]) -> str:
    """A signature as it would be written; long ones a line for each parameter."""
    try:
        found = inspect.signature(function)
    except ValueError:  # one of C, such as that of a dict's child
        return name
    raw = [p.replace(annotation=_Raw(p.annotation) if isinstance(p.annotation, str) else p.annotation) for p in found.parameters.values() if p.name not in ("self", "cls")]
    returns = found.return_annotation
    after = "" if returns in (inspect.Signature.empty, None) else f" -> {returns if isinstance(returns, str) else getattr(returns, '__name__', returns)}"
    text = str(inspect.Signature(raw))
    if len(name + text + after) <= 100:
        return f"{name}{text}{after}"
    star = next((i for i, p in enumerate(raw) if p.kind is p.KEYWORD_ONLY), None)
    lines = [f"    {p}," for p in raw]
    if star is not None and not any(p.kind is p.VAR_POSITIONAL for p in raw):
        lines.insert(star, "    *,")
    return "\n".join([f"{name}(", *lines, f"){after}"])


def described(doc: str | None) -> str:
    """A docstring in Markdown."""
    text, parts = sections(doc)
    out = [plain(text)]
    for title, entries in parts.items():
        heads = {"Args": ("argument", "what it is"), "Raises": ("raises", "when")}
        out.append(table(heads[title], [(code(n), plain(t)) for n, t in entries]) if title in heads else f"Returns: {' '.join(plain(t) for _, t in entries)}")
    return "\n\n".join(out) + "\n"


def api_page() -> str:
    """Every public name. Examples in it run as tests."""
    parts = [
        f"# Python\n\nMade from the docstrings of the {len(untrain.__all__)} public names; their examples run as tests. Methods and audits go by their class: `untrain.UNSIR()`, "
        "`untrain.Accuracy()`; [methods](methods.md) and [audits](audits.md) have a card each.\n"
    ]
    for name in untrain.__all__:
        thing = getattr(untrain, name)
        shown = thing if inspect.isclass(thing) or inspect.isfunction(thing) else type(thing)
        parts.append(f"## {name} {{#{name}}}\n\n```python\n{'class ' if inspect.isclass(shown) else ''}{signature(f'untrain.{name}', shown)}\n```\n\n{described(shown.__doc__)}")
        if inspect.isclass(shown):
            parts += [f"**`{name}.{member}`**\n\n{said}" for member, said in members(name, shown)]
    return "\n".join(parts)


def members(name: str, cls: type[Any]) -> Iterator[tuple[str, str]]:
    """A class's own public functions and properties."""
    for member, thing in vars(cls).items():
        bound = getattr(thing, "__func__", thing)
        got = getattr(thing, "fget", None) or getattr(thing, "func", None)
        if member.startswith("_") or not (inspect.isfunction(bound) or got) or not (got or bound).__doc__:
            continue
        shown = "" if got else f"```python\n{signature(f'{name}.{member}', bound)}\n```\n\n"
        yield member, f"{shown}{described((got or bound).__doc__)}"


# Results and notebooks.


def peers_table(_: str) -> str:
    """Methods of other toolkits and the laws that each breaks, from the record."""
    told = json.loads((ROOT / "benchmarks" / "records" / "peers.json").read_text(encoding="utf-8"))
    rows = []
    for row in told["rows"]:
        broken = "<br>".join(f"*{b['law']}*: {b['fact']}" for b in row["broken"])
        rows.append((code(row["name"]), row["version"], row["method"], len(row["asked"]), broken or "none"))
    heads = ("method, as it is called there", "version", "which is", "laws asked", "laws it breaks")
    return f"Asked on {told['date']}, with torch {told['torch'].partition('+')[0]}.\n\n" + table(heads, rows)


def measured(_: str) -> str:
    """What README says was measured, whose tables are drawn from records."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = readme.partition("## What was measured\n")[2].partition("\n## ")[0]
    more = "More questions, each answered from records, stand on [a page of their own](questions.html).\n" if (DOCS / "questions.html").is_file() else ""
    return more + told.replace("](docs/", "](").replace("](benchmarks/README.md)", "](benchmarks.md)")


def benchmarks_page() -> str:
    """Every scenario's tables, and how settings were chosen."""
    return (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def notebooks_page() -> str | None:
    """The notebooks as text, with the files beside."""
    files = sorted((DOCS / "notebooks").glob("*.ipynb"))
    parts = ["# Notebooks\n\nThey are executed by the tests.\n"]
    for file in files:
        parts.append(f"[{file.name}](notebooks/{file.name})\n")
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            shown = re.sub(r"^#", "##", text, flags=re.MULTILINE) if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
            told = ["".join(out.get("text", out.get("data", {}).get("text/plain", ""))) for out in cell.get("outputs", [])]
            parts += [shown, *(f"```text\n{out.rstrip()}\n```" for out in told if out)]
    return "\n\n".join(parts) + "\n" if files else None


# Putting it together.

PARTS: dict[str, Callable[[str], str]] = {
    "presets": lambda name: presets_table(loaded("methods")[name]),
    "settings": lambda name: settings_table(loaded("methods")[name], flags=True),
    "methods": methods_table,
    "audits": audits_table,
    "verdicts": verdicts_table,
    "errors": errors_table,
    "failures": failures_table,
    "chaos": chaos_table,
    "schema": schema_table,
    "norms": norms_table,
    "membership": membership_table,
    "dormant": dormant_table,
    "scores": scores_table,
    "exposure": exposure_table,
    "speed": speed_table,
    "floor": floor_table,
    "classes": classes_table,
    "quality": quality_table,
    "triggers": triggers_table,
    "why": why_table,
    "tried": tried_table,
    "measured": measured,
    "peers": peers_table,
    "speech": speech_table,
}

MADE: dict[str, Callable[[], str | None]] = {
    "methods.md": methods_page,
    "audits.md": audits_page,
    "cli.md": cli_page,
    "api.md": api_page,
    "benchmarks.md": benchmarks_page,
    "notebooks.md": notebooks_page,
}


def filled(text: str) -> str:
    """A page with what stands at its marks."""

    def made(mark: re.Match[str]) -> str:
        if mark[1] not in PARTS:
            raise SystemExit(f"no part {mark[1]!r}; there are {', '.join(PARTS)}")
        return PARTS[mark[1]](mark[2] or "")

    return HERE.sub(made, text)


def pages(into: Path) -> None:
    """Write every page, and what lies beside them."""
    shutil.copytree(DOCS, into, ignore=shutil.ignore_patterns("*.py", "__pycache__", ".ipynb_checkpoints"))
    for file in into.glob("*.md"):
        file.write_text(filled(file.read_text(encoding="utf-8")), encoding="utf-8")
    for name, make in MADE.items():
        if (text := make()) is not None:
            (into / name).write_text(text, encoding="utf-8")


def configured(text: str, there: set[str]) -> str:
    """The configuration without the entries that stand for pages that may be absent, and are."""
    lines = [line for line in text.splitlines() if not line.endswith("# where it is there") or any(f'"{name}"' in line for name in there)]
    return "\n".join(lines) + "\n"


class _Links(HTMLParser):
    """What a page links to, loads, and can be linked to at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.loads = {""}, list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element has."""
        given = dict(attrs)
        self.ids |= {v for v in (given.get("id"), given.get("name") if tag == "a" else None) if v}
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in ("script", "img", "iframe") and given.get("src"):
            self.loads.append(str(given["src"]))
        if tag == "link" and given.get("href") and given.get("rel") in ("stylesheet", "icon", "preconnect", "preload"):
            self.loads.append(str(given["href"]))


def with_records(html: Path) -> None:
    """The records that the page of questions links to, beside it in the site."""
    page = html / "questions.html"
    if not page.is_file():
        return
    text = page.read_text(encoding="utf-8")
    for name in {unquote(link) for link in re.findall(r'href="\.\./benchmarks/records/([^"#?]+)"', text)}:
        to = html / "records" / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "benchmarks" / "records" / name, to)
    page.write_text(text.replace('href="../benchmarks/records/', 'href="records/'), encoding="utf-8")


def broken(html: Path) -> list[str]:
    """Links of a built site that lead nowhere, and what it would load from elsewhere, a line each.

    Args:
        html: Its folder. The page for lost addresses is not looked at, since it does not know where it will stand.
    """
    read = {file: _Links(file.read_text(encoding="utf-8")) for file in sorted(html.rglob("*.html")) if file.name != "404.html"}
    out = []
    for file, page in read.items():
        name = file.relative_to(html).as_posix()
        for link in dict.fromkeys([*page.links, *page.loads]):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    out.append(f"{name} loads {link}, which it does not bring")
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                out.append(f"{name} links to {link}, which is not there")
            elif target in read and unquote(parts.fragment) not in read[target].ids and not parts.fragment.startswith("__"):
                out.append(f"{name} links to {link}, and there is no such place on that page")
    return out


def unlisted(config: dict[str, Any], there: set[str]) -> list[str]:
    """Pages that no entry of the navigation names, and entries that name no page, a line each."""

    def names(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for inner in entry.values() if isinstance(entry, dict) else entry:
                yield from names(inner)

    listed = set(names(config["project"]["nav"]))
    return [f"{name} is in no nav; add it to zensical.toml" for name in sorted(there - listed)] + [
        f"zensical.toml names {name}, which is not there" for name in sorted(listed - there)
    ]


def main(arguments: Sequence[str]) -> int:
    """Build, and say what is wrong."""
    shutil.rmtree(SITE, ignore_errors=True)
    pages(SITE / "pages")
    there = {file.name for file in (SITE / "pages").glob("*.md")}
    text = configured((ROOT / "zensical.toml").read_text(encoding="utf-8"), there)
    (SITE / "zensical.toml").write_text(text, encoding="utf-8")
    wrong = unlisted(tomllib.loads(text), there)
    if "--pages" not in arguments:
        built = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "-f", str(SITE / "zensical.toml")], check=False)
        if built.returncode:
            wrong.append("zensical refuses the pages, see above")
        else:
            with_records(SITE / "html")
            wrong += broken(SITE / "html")
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(SITE / ("pages" if "--pages" in arguments else "html/index.html"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
