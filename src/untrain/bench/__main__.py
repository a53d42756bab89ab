"""`python -m untrain.bench run SCENARIO.toml [--shard i/n]`, and `table SCENARIO.toml --into PAGE`."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

app = App(name="python -m untrain.bench", help="Run a grid of cells, and draw tables from their records.")


@app.command
def run(scenario: Path, *, shard: str = "0/1") -> None:
    """Run the cells that have no record yet.

    Args:
        scenario: A scenario, TOML.
        shard: `i/n`: every n-th cell from the i-th.
    """
    from untrain.bench import grid

    i, n = (int(part) for part in shard.split("/"))
    grid.run(grid.Scenario.read(scenario), shard=(i, n))


@app.command
def reference(scenario: Path, *, classes: str, seed: int = 0) -> None:
    """Retrain one model without some classes.

    Args:
        scenario: A scenario, TOML.
        classes: Class numbers, with commas between.
        seed: Its seed.
    """
    from untrain.bench import grid

    print(grid.reference(grid.Scenario.read(scenario), tuple(int(c) for c in classes.split(",")), seed).name)


@app.command
def table(scenario: Path, *, into: Path) -> None:
    """Draw the tables of a scenario into a page that has their markers.

    Args:
        scenario: A scenario, TOML.
        into: A page of Markdown.
    """
    from untrain.bench import table as draw

    name = scenario.stem
    found = draw.read(scenario.parent / "records" / name)
    draw.into(into, f"{name}-class", draw.by_class(found, ("unsir", "unsir:paper"), draw.TUNED_ON.get(name, ())))
    for classes in ([3], [5]):
        draw.into(into, f"{name}-{classes[0]}", draw.by_method(found, classes))


if __name__ == "__main__":
    app()
