"""Draws docs/deep.md from the record that benchmarks/deep.py writes.

python benchmarks/deep_page.py
"""

from __future__ import annotations

from typing import Any

from asked import read
from deep import CASES, DEEP, HERE, RECORD, beside

from untrain.evidence.statistics import limit

PAGE = HERE.parent / "docs" / "deep.md"

COLUMNS = {
    "retained, held out": "retained",
    "one-shot prototype": "one-shot",
    "head-reset relearning": "head-reset",
    "relearning recall": "relearning",
    "relearning recall, row reset": "row reset",
    "worst relearning recall": "worst attack",
    "worst relearning recall, row drawn": "worst, row drawn",
}
JUDGED = tuple(COLUMNS)[1:]


def band(values: list[float]) -> tuple[float, float] | None:
    """What retrained models leave for one more of them, 95 % of the time; None of one or two, which say next to nothing of their spread."""
    return (limit(values, -1, level=0.025), limit(values, +1, level=0.025)) if len(values) > 2 else None


def mean(lines: list[dict[str, Any]], row: str, column: str = "unlearned") -> float:
    """Mean over the lines' models."""
    found = [v for line in lines for v in line["rows"].get(row, {}).get(column, [])]
    return sum(found) / len(found)


def cell(values: list[float], within: tuple[float, float] | None) -> str:
    """The mean of some values, and their range; with an arrow where one of them lies outside."""
    above, below = (within is not None and bool(out) for out in ([v for v in values if within and v > within[1]], [v for v in values if within and v < within[0]]))
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.3f}{spread}{' ↑' * above}{' ↓' * below}"


def table(lines: list[dict[str, Any]]) -> str:
    """A class's ladder: the original, the retrained, and each setting, mean over its seeds."""
    heads = ["setting", "seeds", *COLUMNS.values(), "barrier", "turned", "passes", "seconds"]
    first = [max(lines, key=lambda line: len(beside(line)))]
    bands = {row: band(first[0]["rows"].get(row, {}).get("retrained", [])) for row in JUDGED}
    far = ("loss barrier to the original", "filters turned from the original's")

    def row(name: str, seeds: str, some: list[dict[str, Any]], column: str, cost: list[str]) -> str:
        measured = {r: [v for line in some for v in line["rows"].get(r, {}).get(column, [])] for r in (*JUDGED, *far)}
        shown = [f"{mean(some, 'retained, held out', column):.1%}", *(cell(measured[r], None if column == "retrained" else bands[r]) if measured[r] else "" for r in JUDGED)]
        return f"| {' | '.join([name, seeds, *shown, *(f'{mean(some, r, column):.2f}' if measured[r] else '' for r in far), *cost])} |"

    spread = [f"{max(0.0, b[0]):.3f} to {min(1.0, b[1]):.3f}" if b else "" for b in bands.values()]
    drawn = [f"| their band | | | {' | '.join(spread)} | | | | |"] if any(spread) else []
    shown = [
        row("original", "", first, "original", ["", ""]),
        row(f"retrained, mean of {len(first[0]['rows'][JUDGED[0]]['retrained'])}", "", first, "retrained", ["", ""]),
        *drawn,
    ]
    for text in dict.fromkeys(line["setting"] for line in lines):
        mine = [line for line in lines if line["setting"] == text]
        cost = [f"{sum(line['passes'] for line in mine) / len(mine):,.0f}", f"{sum(line['seconds'] for line in mine) / len(mine):.1f}"]
        # A word at a time, so that a long setting breaks into lines.
        words = " ".join(f"`{word}`" for word in text.split()) + (" (`unsir:deep`)" if text == DEEP else "")
        shown.append(row(words, str(len(mine)), mine, "unlearned", cost))
    return "\n".join([f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *shown]) + "\n"


COLOURS = {"retained, held out": "#777777", "relearning recall": "#1f77b4", "relearning recall, row reset": "#d62728", "one-shot prototype": "#2ca02c"}
WIDE, HIGH, LEFT, BELOW = 340, 210, 40, 46
SAID = "Retained accuracy and what comes back, against alpha; shaded, the band of the retrained models"


def panel(title: str, under: str, ticks: list[tuple[float, str]], lines: dict[str, list[tuple[float, float]]], bands: dict[str, tuple[float, float] | None], at: int) -> str:
    """One picture: a line for each row over x in 0..1, y in 0..1, with the bands of the retrained models."""

    def x(v: float) -> float:
        return at + LEFT + v * (WIDE - LEFT - 16)

    def y(v: float) -> float:
        return 24 + (1 - v) * (HIGH - 24 - BELOW)

    out = [f'<text x="{at + WIDE / 2:.0f}" y="14" text-anchor="middle" font-size="12">{title}</text>']
    for v in (0, 0.25, 0.5, 0.75, 1):
        out.append(f'<line x1="{x(0):.1f}" x2="{x(1):.1f}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{x(0) - 5:.1f}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>')
    out += [f'<text x="{x(v):.1f}" y="{y(0) + 14:.1f}" text-anchor="middle">{word}</text>' for v, word in ticks]
    out.append(f'<text x="{at + (WIDE + LEFT) / 2:.0f}" y="{y(0) + 30:.1f}" text-anchor="middle">{under}</text>')
    for row, points in lines.items():
        if within := bands.get(row):
            low, high = max(0.0, within[0]), min(1.0, within[1])
            out.append(f'<rect x="{x(0):.1f}" width="{x(1) - x(0):.1f}" y="{y(high):.1f}" height="{y(low) - y(high):.1f}" fill="{COLOURS[row]}" opacity="0.12"/>')
        if points:
            path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in sorted(points))
            out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[row]}" stroke-width="2"/>')
            out += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.5" fill="{COLOURS[row]}"/>' for a, b in points]
    return "".join(out)


def figure(lines: list[dict[str, Any]], base: str, long: str) -> str:
    """Retained accuracy and recovery against alpha, for the usual repair and a longer one, and against passes at one alpha; "" where there are too few lines."""
    most = max(lines, key=lambda line: len(beside(line)))
    bands = {row: band(most["rows"][row]["retrained"]) for row in COLOURS if row != "retained, held out"}

    def alpha(text: str) -> float:
        return float(text.partition("shrink=")[2].split()[0]) if "shrink=" in text else 0.0

    def ladder(tail: str) -> list[str]:
        return [t for t in dict.fromkeys(line["setting"] for line in lines) if (t + " ").replace(f" shrink={alpha(t)}", "").strip() == tail]

    def points(texts: list[str], place: Any) -> dict[str, list[tuple[float, float]]]:
        return {row: [(place(t), mean([line for line in lines if line["setting"] == t], row)) for t in texts] for row in COLOURS}

    ticks = [(a, f"{a:g}") for a in (0.0, 0.3, 0.5, 0.7, 0.9)]
    panels = []
    for tail in (base, long):
        if len(texts := ladder(tail)) > 1:
            passes = max(line["passes"] for line in lines if line["setting"] in texts)
            panels.append((f"{tail}, {passes:,} passes", "α", ticks, points(texts, alpha)))
    if not panels:
        return ""
    drawn = "".join(panel(*some, bands, i * WIDE) for i, some in enumerate(panels))
    key = "".join(
        f'<rect x="{10 + 172 * i}" y="{HIGH - 8}" width="10" height="10" fill="{colour}"/><text x="{24 + 172 * i}" y="{HIGH + 1}">{row.replace(", held out", "")}</text>'
        for i, (row, colour) in enumerate(COLOURS.items())
    )
    size = f'style="max-width: 100%" viewBox="0 0 {max(WIDE * len(panels), 690)} {HIGH + 10}"'
    return f'<div><svg {size} font-family="sans-serif" font-size="10" fill="currentColor" role="img" aria-label="{SAID}">{drawn}{key}</svg></div>\n'


def page() -> str:
    """The page, from the record."""
    found = read(RECORD)["lines"]
    judged = verdict([line for line in found if (line["case"], line["setting"]) == ("cifar10-test", DEEP)])
    parts = [OPENING.replace("{the verdict}", judged).replace("{elsewhere}", elsewhere())]
    for name, case in CASES.items():
        for label in case.classes:
            lines = [line for line in found if (line["case"], line["class"]) == (name, label)]
            if not lines:
                continue
            parts.append(f"## {case.title[0].upper()}{case.title[1:]}, class {label}\n")
            if drawn := figure(lines, *case.ladders):
                parts.append(drawn)
            parts.append(table(lines))
    return "\n".join(parts)


def verdict(lines: list[dict[str, Any]]) -> str:
    """What the chosen setting left of the test classes, and what it cost."""
    asked, inside, told = JUDGED[:4], 0, []
    for line in lines:
        bands = [band(line["rows"][row]["retrained"]) for row in asked]
        inside += all(b is not None and b[0] <= v <= b[1] for row, b in zip(asked, bands, strict=True) for v in line["rows"][row]["unlearned"])
    for label in sorted({line["class"] for line in lines}):
        mine = [line for line in lines if line["class"] == label]
        kept, had, others = (mean(some, "retained, held out", column) for some, column in ((mine, "unlearned"), (mine[:1], "original"), (mine[:1], "retrained")))
        told.append(f"of class {label} {100 * (had - kept):.1f} points less than the original and {100 * (others - kept):.1f} less than the retrained models")
    return f"{inside} of {len(lines)} runs lie within the band in all four rows; they keep {' and '.join(told)}"


PRESET = "unsir:deep"
"""What the chosen setting is called where it has its name."""

ELSEWHERE = {
    "inputs": {"adult-mlp": "Adult, a perceptron", "adult-ft": "Adult, an FT-Transformer", "agnews": "AG News, a BERT", "digits": "digits"},
    "sizes": {"small": "images of three colours", "digits": "digits"},
}
"""Records of other pages that have both settings: what their networks are called here."""

AGREES = 0.02
"""How far means over the same retrained models may differ by rounding on another machine."""


def elsewhere() -> str:
    """The default and the chosen setting side by side on other data and on few images, beside two retrained models a cell."""
    heads = ["network and data", "setting", "seeds", "forgotten", "retained, less the original", "less the retrained", "one-shot", "head-reset", "relearning", "row reset"]
    rows = []
    for page, cases in ELSEWHERE.items():
        lines = read(HERE / "records" / page / f"{page}.json")["lines"]
        for case, images in dict.fromkeys((line["case"], line.get("images")) for line in lines if line["case"] in cases and line["setting"] == PRESET):
            # A value comes with the number of samples that it is of.
            both = {
                setting: [
                    {"rows": {row: {c: [v for v, _ in vs] for c, vs in columns.items()} for row, columns in line["rows"].items()}}
                    for line in lines
                    if (line["case"], line.get("images"), line["setting"]) == (case, images, setting)
                ]
                for setting in ("unsir", PRESET)
            }
            for setting, mine in both.items():
                kept, had, others = (mean(mine, "retained, test", column) for column in ("unlearned", "original", "retrained"))
                shown = [f"{mean(mine, 'forgotten, test'):.1%}", f"{100 * (kept - had):+.1f}", f"{100 * (kept - others):+.1f}"]
                # The retrained models are the same, so that audits of which these come out otherwise were others.
                same = all(abs(mean(mine, row, "retrained") - mean(both[PRESET], row, "retrained")) < AGREES for row in JUDGED[:4])
                shown += [f"{mean(mine, row):.2f} / {mean(mine, row, 'retrained'):.2f}" if same else "" for row in JUDGED[:4]]
                rows.append([f"[{cases[case]}{f', {images} of each class' if images else ''}]({page}.md)", f"`{setting}`", str(len(mine)), *shown])
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])


OPENING = """# As hard to relearn as retraining

<!-- drawn by benchmarks/deep_page.py from benchmarks/records/deep/ladder.json; do not edit -->

UNSIR's default takes a class from the answers, and fine-tuning brings it back faster than it comes to a model that never
saw it. What would make it as hard to relearn, and what does that cost? A ladder of changes, beside models that
the same recipe trained without the class: on the small network of digits and on the ResNet-20 of CIFAR-10 that settings are chosen on,
of which training images that were held out are scored, no test image is read, and neither classes nor seeds are those of a verdict.
What was chosen there is the preset `deep`, and it was then run on two other classes of another network (*test images*).

**How to read it.** A value is the mean over seeds of the method, with their range. The band is what five retrained models
leave for one more of them, 95 % of the time; fewer than three have none. An arrow says that a seed lies above it, where the class comes back more
easily, or below it, where it comes back less than to a model that never saw it: over-scrubbed. Where the original itself lies
within the band a row cannot tell, and on digits, where any network learns a class within some dozen steps, several do: for
1 the rows with the head's row started anew, for 7 all but those with the row as it is. *Worst attack* is the
[attack](audits.md#attack) that brings back most of six. *Barrier* is the loss on the straight way to the original, *turned*
the angle of the filters to its own (1 less the cosine). Seconds are of the processor. Many lines are of one seed, and bands of
five models are wide: a line within says that nothing was found, and not that nothing is there.

**What was found**, on digits 1 and 7:

- The default leaves more than retrained models do, in relearning with the row as it is, of 7 by both seeds and of 1 by one of
  the two.
- **Shrink and perturb** (`--shrink`, after [UNDO](methods.md#undo)) works where it replaces most. At α = .8 and .9 the 1 lies
  within the band in every row, of both seeds, with retained accuracy 1.6 and 2.7 points below the original's, and 1.1 and 2.2
  below the retrained models'. At .5 the features still hold it: a trained filter is much larger than a new one, so that it turns by
  .15 only. For 7 even .9 leaves relearning with the row as it is above the band.
- **A longer repair** gives retained accuracy back and brings relearning with it: of 1, 2,000 steps in place of 350 raise relearning
  with the row as it is at each α that both were run at (of one seed; α = .9 of two, of which one then lies above the band).
  A repair of one cycle at three times the rate gives 1.2 points back to α = .9 at no more passes, and stays within the band.
- **The rate of the impair step** does as much at no cost in passes. At the paper's 0.02, ten times the default's, plain noise
  leaves 1 and 7 within the band in every row, of both seeds, at 1.4 and 0.8 points below the original. No noise at all leaves
  less still in relearning with the row as it is, and costs 0.6 points and none; 7 then lies within the band in every row, and 1 in all but
  the one-shot prototype. **The learned
  noise does no better there**: at the same rate relearning with the row as it is brings back more than after plain noise or none,
  on average; of 1 the two seeds lie far apart, and the lower is as after plain noise. At 0.05, of 1 alone,
  one of two networks is ruined and the other loses 21 points.
- What did little for relearning, of 1 and of one seed: larger steps in the repair (.45 to .58, where the default leaves .53 on
  that seed), distance as a term of the repair (`away`), two milder rounds (`twice`), images moved towards the class (`aimed`),
  distortion by .02. Distortion by .2 takes the class from the features, and not from relearning, at 4.5 points of accuracy.
- **Resetting the weights that the noise scores highest** (`scored`), 1, 3 and 10 % of them, of 1, does no more for relearning
  with the row as it is than resetting as many at random. With the row drawn anew the worst attack brings back less after
  it, at each share, of one seed.
- UNDO at α = .9 falls below the band in two rows of each class: over-scrubbed, and at 6.5 and 7.9 points of accuracy.
- No barrier is needed: what lies within the band by the rate of the impair has next to none, and its filters are turned by
  .3, where retrained models lie behind a barrier of 1.6, on average, and share no direction with the original.

**What was found on CIFAR-10**, class 8, one seed, beside two retrained models (of which one had the held-out images of the other
classes among its training images, so that their mean says too much of what is retained):

- What seems to decide is **how many steps are taken at a high rate on how many retained images**. With 4,500 of them the rate 0.02 ruined the network
  (`benchmarks/records/tuning.json`); with 20,000 and more and a repair of one cycle, 0.01 without noise takes the
  class from the features nearly as far as retraining does. 0.02 takes it little farther and costs several times the accuracy.
- **Shrinking by a half costs no accuracy and leaves more** than the rate does: the features still tell the class.
- **Plain noise** in that impair does not help: everything comes back more easily than without it.
- **The repair by distillation leaves a network that a new row takes over quickly**: with the head's row drawn anew the class comes to it
  faster than to retrained models, and on the two test classes as fast as to the original, or faster. Repaired by labels, at
  no more passes, it does not; that repair keeps more too. So the preset `deep` repairs by labels, as the paper does.
- **A longer repair buys accuracy with features**: after five passes by labels in place of two (656,100 passes in all) the network keeps as much as the original, a single
  image recalls two thirds more, and head-reset relearning lies twice as far above the retrained models. At these two lengths what the one gains the other loses.
- **Sgd as the network was trained by** (`momentum`), in place of Adam in the repair, is worse at the same passes: after the same impair it keeps 1.4 points less than `deep` and
  leaves no less. Without any impair, with three passes of it at the highest rate of the training, the network keeps what the original has, and a single image recalls five times
  what it does after `deep`: so it may be the impair that takes the class out of the features. Rate and passes of the repair differ between the two as well.

**On the test classes**, each run once for each of three seeds: {the verdict}. The aim of half a point of the retrained models' is
missed: that is the price, at less than a fifth of the passes that training anew takes.

**On CIFAR-100** it is dearer: run once for class 23, one seed, test images, it keeps four points less than the original and than the one model that was retrained,
and the class comes back to one image somewhat more than to that one. A single retrained model gives no band. The setting was chosen on ten classes, of which it is
shown some thousands of images each; here it is shown 333 of each.

**Why it is not the default.** On CIFAR-10 the default keeps more than the original does, and this costs a point; it also asks for what the default does not, some
thousands of retained images of each class. On other data, which nothing of it was chosen on (values are *unlearned / retrained*, means; points of retained test accuracy; blank
where the default was asked by earlier audits):

{elsewhere}

So on whole data sets it comes back less than after the default there too, and of texts no more than retraining leaves; of few digits it comes back about as fast. It costs
nothing on rows of numbers and on digits; of texts it keeps some seven points less than the default. Of images of three colours, which any network knows at a glance,
it leaves the class named in one network of three at 12 of each class and at 120, where the default does at 120 alone. Whoever fears fine-tuning more than a lost point takes
`deep`; for everybody the default stays.

**What was not done.** One class and one seed are few to choose by. How `deep` does on persons and on speech was not measured, nor on twenty classes of CIFAR-100. The worst of six
attacks was not asked on CIFAR-10. That the repair's kind decides what a new row relearns was seen on the ladder and on seed 0 of both test classes
in one sitting; the setting with labels was on the ladder before.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
