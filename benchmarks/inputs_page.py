"""What `benchmarks/inputs.py` draws of its record: the page docs/inputs.md and its pictures."""

from __future__ import annotations

from typing import Any

from untrain.evidence.statistics import interval

TITLES = {"adult-mlp": "Adult, a perceptron", "adult-ft": "Adult, an FT-Transformer", "agnews": "AG News, a BERT of transformers", "digits": "digits, the zoo's network"}
RECOVERY = ("one-shot prototype", "head-reset relearning", "relearning recall", "relearning recall, row reset")
COLUMNS = ("setting", "seeds", "forgotten, original", "forgotten, unlearned", "retained, original", "change", *RECOVERY)

Lines = list[dict[str, Any]]


def pooled(lines: Lines, row: str, column: str) -> tuple[int, int]:
    """Samples named rightly, of how many, over the seeds."""
    found = [value for line in lines for value in line["rows"][row].get(column, [])]
    return sum(round(v * n) for v, n in found), sum(n for _, n in found)


def mean(lines: Lines, row: str, column: str) -> float:
    """Mean of a row over seeds and models."""
    found = [v for line in lines for v, _ in line["rows"][row].get(column, [])]
    return sum(found) / len(found)


def share(lines: Lines, row: str, column: str) -> str:
    """A share of samples over the seeds."""
    k, n = pooled(lines, row, column)
    return f"{k / n:.1%}"


def line_of(text: str, lines: Lines) -> str:
    """A setting's line of the table."""
    k, n = pooled(lines, "forgotten, test", "unlearned")
    change = mean(lines, "retained, test", "unlearned") - mean(lines, "retained, test", "original")
    beside = [f"{mean(lines, row, 'unlearned'):.2f} / {mean(lines, row, 'retrained'):.2f}" for row in RECOVERY]
    cells = [f"`{text}`", len(lines), share(lines, "forgotten, test", "original"), f"{k / n:.1%} (at most {interval(k, n)[1]:.1%})", share(lines, "retained, test", "original")]
    return "| " + " | ".join(map(str, [*cells, f"{100 * change:+.1f}", *beside])) + " |"


def met(lines: Lines) -> str:
    """Whether the bars are met: at most 1 % of the forgotten class named, the rest within a point of the original."""
    k, n = pooled(lines, "forgotten, test", "unlearned")
    change = 100 * (mean(lines, "retained, test", "unlearned") - mean(lines, "retained, test", "original"))
    told = [
        f"{'at most 1 %' if k <= 0.01 * n else 'more than 1 %'} of the class is named",
        f"the rest loses {'no more than' if change >= -1 else 'more than'} a point",
    ]
    return f"{' and '.join(told)} ({100 * k / n:.1f} %, {change:+.1f} points)"


def page(record: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The page, and its pictures by the names of their files."""
    pictures: dict[str, str] = {}
    cases: dict[str, dict[str, Lines]] = {}
    for line in record["lines"]:
        cases.setdefault(line["case"], {}).setdefault(line["setting"], []).append(line)
    parts = [OPENING]
    for name, title in TITLES.items():
        if name not in cases:
            continue
        settings = cases[name]
        one = next(iter(settings.values()))[0]
        where = f"the output of `{one['site']}`" if one["site"] else "the input"
        counts = one["counts"]
        lead = (
            f"Noise goes in at {where}, {' x '.join(map(str, one['shape']))} numbers for a sample. Forgotten: {one['name']}, one of {one['classes']} classes; "
            f"{counts['forget']:,} samples of it and {counts['retain']:,} others to train on, {counts['test']:,} to test on."
        )
        if "unsir" in settings:
            lead += f" With the default, {met(settings['unsir'])}."
        rows = [line_of(text, lines) for text, lines in settings.items()]
        parts.append(f"## {title[0].upper()}{title[1:]} {{#{name}}}\n\n{lead}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n" + "\n".join(rows) + "\n")
        drawn = next((line for line in settings.get("unsir", []) if "seen" in line), None)
        if drawn:
            pictures[f"inputs-{name}.svg"] = picture(drawn)
            parts.append(
                f"![Test samples by class, and the noise](inputs-{name}.svg)\n\nWhat stands there, in the two directions in which test samples vary most: those of "
                f"{one['name']} (red), those of the other classes (pale), and the learned noise (crosses){', each a mean over its places' if len(one['shape']) == 2 else ''}.\n"
            )
    return "\n".join(parts), pictures


COLOURS = ("#4878a8", "#6aa56a", "#b08cc8", "#c8a050", "#70b0b0", "#909090", "#a87878", "#587898", "#98a858", "#b07898")


def picture(line: dict[str, Any]) -> str:
    """What stands at the site, in two dimensions: samples by class, the forgotten one darker, and the noise."""
    seen = line["seen"]
    points = [point for some in seen.values() for point in some]
    low, high = ([f(p[i] for p in points) for i in (0, 1)] for f in (min, max))
    width, height, edge = 560, 300, 12

    def at(point: list[float]) -> tuple[float, float]:
        x, y = ((point[i] - low[i]) / ((high[i] - low[i]) or 1) for i in (0, 1))
        return round(edge + x * (width - 2 * edge), 1), round(height - edge - y * (height - 2 * edge), 1)

    marks = []
    others = [name for name in seen if name not in ("noise", str(line["label"]))]
    for number, name in enumerate(others):
        marks += [f'<circle cx="{x}" cy="{y}" r="2.5" fill="{COLOURS[number % len(COLOURS)]}" fill-opacity="0.45"/>' for x, y in map(at, seen[name])]
    marks += [f'<circle cx="{x}" cy="{y}" r="3" fill="#d62728" fill-opacity="0.7"/>' for x, y in map(at, seen[str(line["label"])])]
    marks += [f'<path d="M{x - 4} {y - 4}l8 8m0 -8l-8 8" stroke="#222" stroke-width="1.5" fill="none"/>' for x, y in map(at, seen["noise"])]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><rect width="{width}" height="{height}" fill="#fff"/>{"".join(marks)}</svg>\n'


OPENING = """# Noise for any input

<!-- drawn by benchmarks/inputs.py from benchmarks/records/inputs/inputs.json; do not edit -->

UNSIR learns noise that a network errs on. An image can be such noise; a word or a category cannot, for there is none between two of them.
So the noise goes to the input where that is one tensor of floats, and else to the output of a layer: it is learned there, of the shape of
what the layer gives, and in the impair step it stands in one batch with retained samples that run through the whole network. The layers
ahead of it learn from the retained samples alone. On a network whose first layer hands on what it is given, the weights that come out are
to the bit those of noise at the input.

| input | where noise goes in |
|---|---|
| one tensor of floats (images, spectrograms, rows of numbers) | the input |
| token ids, numbers and categories, a dict | the first layer whose output decides the answer by itself, whatever the samples: the embedding, or what puts columns together |
| a long waveform (4,000 numbers or more in a row) | the output of the convolutions that encode it, where these are one module; else the input |

`--site NAME` (`UNSIR(site=...)`) names another; one that is not there is refused, with some that would do. A layer will do that answers once in a
pass with one float tensor for each sample. What noise cannot be, the masks of attention and the lengths, it has from retained samples, evenly from all.

```
untrain train --model nets.py:net --data rows.csv --recipe nets.py:recipe --out trained
untrain unlearn unsir --model nets.py:net --data rows.csv --weights trained/model.safetensors --forget class:fir --out gone
```

How rows and texts are read says [Your model, your data](yours.md#rows-and-texts).

A long waveform is shown on another page: [a digit is forgotten in an encoder of raw waves](speech.md#raw-waves),
its noise at the output of the convolutions, beside two retrained models.

Of Adult the network tells a person's relationship in the family from all other columns, of the first 8,000 and 2,000 lines of its two parts;
AG News is the test part of that data set, 4,000 texts to train on and 1,200 to test on, of 32 words at most, under a vocabulary of the training texts.

What follows was run by `benchmarks/inputs.py` at UNSIR's defaults, which were chosen on images; nothing was tuned. The seed trains the original and two models
without the class, and runs the method. Shares of test samples are pooled over the seeds, with the upper end of the 95 % interval; *change* is
that of the retained ones, in points: it can be above nought, since with a class gone there is one less to take a sample for. The last four columns are
what comes back, of the unlearned / of the retrained models.

With the default no test sample of a class is named in any of the four, and what is retained loses no more than a point. Without noise
(`no-noise`) it is nearly the same: retained samples alone take the class from the answers here. So the tables show that noise can be
learned and met at a layer, and not that it is what forgets. On texts more of the class comes back than in the models that never saw it,
as on digits. On Adult a few samples hardly tell the class in the original either, so that what features hold is not seen there.
"""
