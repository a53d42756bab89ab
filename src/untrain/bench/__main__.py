"""`python -m untrain.bench run SCENARIO.toml [--shard i/n]`, and `table PAGE...`."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

app = App(name="python -m untrain.bench", help="Run a grid of cells, and draw tables from their records.")


@app.command
def run(scenario: Path, *, shard: str = "0/1") -> None:
    """Run the cells that have no record yet.

    Args:
        scenario: A scenario, TOML.
        shard: `i/n`: every n-th cell from the i-th, the first of which is 0.
    """
    from untrain.bench import grid
    from untrain.bench.scenario import Scenario
    from untrain.core.errors import BadArgument

    i, _, n = shard.partition("/")
    if not (i.isdecimal() and n.isdecimal()):
        raise BadArgument(f"--shard {shard}: write i/n, as in 0/4 to 3/4")
    grid.run(Scenario.read(scenario), shard=(int(i), int(n)))


@app.command
def reference(scenario: Path, *, classes: str = "", listed: str = "", seed: int = 0) -> None:
    """Retrain one model without some classes, or without a list of samples.

    Args:
        scenario: A scenario, TOML.
        classes: Class numbers, with commas between.
        listed: Samples in their place, as `--forget` names them.
        seed: Its seed.
    """
    from untrain.bench import grid
    from untrain.bench.scenario import Scenario

    print(grid.reference(Scenario.read(scenario), listed or f"class:{classes}", seed).name)


@app.command
def rejudge(*places: Path) -> None:
    """Judge records again, by the verdict as it is now, from the numbers that they hold.

    Args:
        places: Records, or folders of them.
    """
    from untrain.bench import judging

    for place in places:
        for (before, now), count in sorted(judging.rejudge(place).items()):
            print(f"{count:4} {before} -> {now}")


@app.command
def table(*pages: Path, records: Path = Path("benchmarks/records")) -> None:
    """Draw the tables that pages have markers for, from the records.

    Args:
        pages: Pages of Markdown.
        records: Folder of records, a folder for each scenario in it.
    """
    from untrain.bench import table as draw

    for page in pages:
        draw.fill(page, records)


@app.command
def picture(scenario: str, *, classes: str, into: Path, records: Path = Path("benchmarks/records")) -> None:
    """Draw what methods keep against what they forget, leave and cost, from the records.

    Args:
        scenario: Name of a scenario.
        classes: The forgotten classes, with commas between.
        into: The picture, SVG.
        records: Folder of records, a folder for each scenario in it.
    """
    from untrain.bench import picture as draw

    draw.draw(records, scenario, [int(c) for c in classes.split(",")], into)


@app.command
def questions(scenario: Path, *, into: Path) -> None:
    """Draw the page of the paper's questions from the records that are there.

    Args:
        scenario: A scenario, TOML.
        into: The page, HTML.
    """
    from untrain.bench import questions_page
    from untrain.bench.scenario import Scenario

    questions_page.draw(Scenario.read(scenario), into)


if __name__ == "__main__":
    app()
